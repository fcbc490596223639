package telemetry

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"
)

// captureAttempt is the attempt at which a failing activity is captured. With the SDK's default back-off it starts some 15 s after the
// first one: late enough to pass over a hiccup of the network, and early enough to matter. An activity is captured once, however long it
// goes on failing.
const captureAttempt = 5

// StoreIdentifier names the store that an activity or workflow is for. The first argument implements it, with a value receiver.
type StoreIdentifier interface{ TelemetryStoreID() string }

// Phaser names the phase that the work belongs to. The same argument may implement it; otherwise the phase is "activity" or "workflow".
type Phaser interface{ TelemetryPhase() string }

// Recorder is for workflows whose own last activity records how they ended, and captures their failures. The first argument implements it.
type Recorder interface{ TelemetryRecorded() }

func isRecorded(arg any) bool {
	_, ok := arg.(Recorder)
	return ok
}

// NewWorkerInterceptor returns an interceptor for worker.Options. It reports every activity, local ones included, with a metric, a
// breadcrumb, and a warning if it failed. A failing activity is captured once: when it may not be retried, or at its fifth attempt. A
// workflow is captured when it fails itself; nothing is reported during replay. What another side is to blame for (Blame) is captured as an outage of
// that side, if it is watched (Sentry.Watch). sentry may be nil.
func NewWorkerInterceptor(log *zap.Logger, sentry *Sentry, metrics *Metrics) interceptor.WorkerInterceptor {
	return &workerInterceptor{log: log, sentry: sentry, metrics: metrics}
}

type workerInterceptor struct {
	interceptor.WorkerInterceptorBase
	log     *zap.Logger
	sentry  *Sentry
	metrics *Metrics
}

// InterceptActivity implements interceptor.WorkerInterceptor.
func (w *workerInterceptor) InterceptActivity(
	_ context.Context, next interceptor.ActivityInboundInterceptor,
) interceptor.ActivityInboundInterceptor {
	i := &activityInterceptor{worker: w}
	i.Next = next
	return i
}

// InterceptWorkflow implements interceptor.WorkerInterceptor.
func (w *workerInterceptor) InterceptWorkflow(
	_ workflow.Context, next interceptor.WorkflowInboundInterceptor,
) interceptor.WorkflowInboundInterceptor {
	i := &workflowInterceptor{worker: w}
	i.Next = next
	return i
}

type activityInterceptor struct {
	interceptor.ActivityInboundInterceptorBase
	worker *workerInterceptor
}

// ExecuteActivity runs one attempt of an activity.
func (i *activityInterceptor) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	info := activity.GetInfo(ctx)
	op := operation(info.ActivityType.Name, "activity", in.Args)
	started := time.Now()
	defer func() {
		// A panic is a failure like any other. The SDK makes a retryable error of it, so it is passed on.
		if p := recover(); p != nil {
			op.Duration = time.Since(started)
			i.worker.activityEnded(ctx, info, op, newPanicked(p))
			panic(p)
		}
	}()
	result, err := i.Next.ExecuteActivity(ctx, in)
	op.Duration = time.Since(started)
	i.worker.activityEnded(ctx, info, op, err)
	return result, err
}

func (w *workerInterceptor) activityEnded(ctx context.Context, info activity.Info, op Operation, err error) {
	switch {
	case err == nil, benign(err):
		op.Outcome = OutcomeSucceeded
	case cancelled(ctx, err):
		op.Outcome = OutcomeCancelled
	default:
		op.Outcome = OutcomeFailed
	}
	w.metrics.Operation(op)
	w.sentry.Breadcrumb(op)
	if op.Outcome != OutcomeFailed {
		return
	}
	w.log.Warn("activity failed",
		zap.String(KeyOperation, op.Name), zap.String(KeyPhase, op.Phase), zap.String(KeyStoreID, op.StoreID),
		zap.Int32(KeyAttempt, info.Attempt), zap.Duration(KeyDurationMs, op.Duration),
		zap.String(KeyWorkflowID, info.WorkflowExecution.ID), zap.String(KeyRunID, info.WorkflowExecution.RunID),
		zap.Error(err))
	worthAnEvent := captureActivity(info.Attempt, err)
	if !w.sentry.blame(err, op, worthAnEvent) && worthAnEvent {
		w.sentry.Capture(ctx, err, op)
	}
}

// captureActivity says whether this attempt of a failing activity is the one to capture. A refused token is captured at once, because no attempt mends it.
func captureActivity(attempt int32, err error) bool {
	if blameOf(err).Refused {
		return attempt == 1
	}
	return attempt == captureAttempt || attempt < captureAttempt && nonRetryable(err)
}

// benign says whether the error is a normal answer and no fault. Whoever made the error marked it so.
func benign(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.Category() == temporal.ApplicationErrorCategoryBenign
}

func nonRetryable(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.NonRetryable()
}

type workflowInterceptor struct {
	interceptor.WorkflowInboundInterceptorBase
	worker *workerInterceptor
}

// ExecuteWorkflow runs a workflow. It is part of the workflow's deterministic code: it reads no clock and blocks on nothing (Sentry only
// queues). It defers nothing, because a deferred call would also run when the cache evicts the workflow.
func (i *workflowInterceptor) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	result, err := i.Next.ExecuteWorkflow(ctx, in)
	if err == nil || workflow.IsReplaying(ctx) || temporal.IsCanceledError(err) || workflow.IsContinueAsNewError(err) || benign(err) {
		return result, err
	}
	info := workflow.GetInfo(ctx)
	op := operation(info.WorkflowType.Name, "workflow", in.Args)
	op.Outcome = OutcomeFailed
	i.worker.log.Error("workflow failed",
		zap.String(KeyOperation, op.Name), zap.String(KeyPhase, op.Phase), zap.String(KeyStoreID, op.StoreID),
		zap.String(KeyWorkflowID, info.WorkflowExecution.ID), zap.String(KeyRunID, info.WorkflowExecution.RunID),
		zap.Error(err))
	recorded := len(in.Args) > 0 && isRecorded(in.Args[0]) && blameOf(err).Side != SideStoreManager // which may not have kept the record
	if !i.worker.sentry.blame(err, op, true) && !capturedBelow(err) && !recorded {
		i.worker.sentry.Capture(context.Background(), err, op) //nolint:forbidigo // a workflow has no context.Context
	}
	return result, err
}

// capturedBelow says whether err is the failure of an activity or child workflow that was captured already. One that ended otherwise (timed
// out, terminated, out of attempts) may never have known of its failure.
func capturedBelow(err error) bool {
	if child, ok := errors.AsType[*temporal.ChildWorkflowExecutionError](err); ok {
		switch child.Unwrap().(type) { //nolint:errorlint // only the direct cause says how the child itself ended
		case *temporal.ApplicationError, *temporal.ActivityError, *temporal.ChildWorkflowExecutionError:
			return true
		default:
			return false
		}
	}
	var act *temporal.ActivityError
	return errors.As(err, &act) && nonRetryable(act)
}

// operation describes the work that has these arguments.
func operation(name, phase string, args []any) Operation {
	op := Operation{Name: name, Phase: phase}
	if len(args) == 0 {
		return op
	}
	if s, ok := args[0].(StoreIdentifier); ok {
		op.StoreID = s.TelemetryStoreID()
	}
	if p, ok := args[0].(Phaser); ok {
		op.Phase = p.TelemetryPhase()
	}
	return op
}
