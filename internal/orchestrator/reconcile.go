package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/types/known/timestamppb"

	"storekeeper/contract"
)

// repair is the priority of all reconciliation. Activities and child workflows without a priority of their own have that of their
// workflow. So a run that waits for a worker is told from an event that waits, and Backlog leaves it out.
var repair = temporal.Priority{PriorityKey: contract.PriorityRepair}

// ReconcileRun is a reconcile run that has been started or joined.
type ReconcileRun struct{ run client.WorkflowRun }

// ID is the run id.
func (r ReconcileRun) ID() string { return r.run.GetRunID() }

// Wait returns the report of the run. A *temporal.WorkflowExecutionError if the run failed, timed out, or was cancelled or terminated; it
// wraps a *temporal.ApplicationError of contract.ErrTypePlanChanged if the plan was not the approved one. After any other error the run goes on,
// and only the wait has ended: with ctx, or because Temporal can't be reached.
func (r ReconcileRun) Wait(ctx context.Context) (contract.ReconcileReport, error) {
	var report contract.ReconcileReport
	err := r.run.Get(ctx, &report)
	return report, err
}

// StartReconcile starts a run; ErrReconcileRunning if there is one.
func (c *Client) StartReconcile(ctx context.Context, in contract.ReconcileInput) (ReconcileRun, error) {
	return c.reconcile(ctx, in, enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL)
}

// JoinReconcile starts a run, or joins the one under way.
func (c *Client) JoinReconcile(ctx context.Context, in contract.ReconcileInput) (ReconcileRun, error) {
	return c.reconcile(ctx, in, enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)
}

// RequestReconcile starts a run whose lists are fetched after this call. If a run is under way, it waits for the end of that run first.
// ErrUnavailable if Temporal can't be asked, or ctx ended before.
func (c *Client) RequestReconcile(ctx context.Context, in contract.ReconcileInput) error {
	for {
		_, err := c.StartReconcile(ctx, in)
		if !errors.Is(err, ErrReconcileRunning) {
			return err
		}
		// It does not matter how that run ends, only that it does.
		_ = c.temporal.GetWorkflow(ctx, contract.ReconcileID, "").Get(ctx, nil)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-time.After(50 * time.Millisecond): // its end may show here before a new run may start
		}
	}
}

// ReconcileProgress is what the run's activity under way tells; nil without an error when none tells anything. ErrUnavailable if Temporal
// can't be asked.
func (c *Client) ReconcileProgress(ctx context.Context, run ReconcileRun) (*contract.Progress, error) {
	return c.progress(ctx, run.run.GetID())
}

func (c *Client) progress(ctx context.Context, workflowID string) (*contract.Progress, error) {
	desc, err := c.temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, a := range desc.GetPendingActivities() {
		var p contract.Progress
		details := a.GetHeartbeatDetails()
		if details != nil && converter.GetDefaultDataConverter().FromPayloads(details, &p) == nil {
			return &p, nil
		}
	}
	return nil, nil //nolint:nilnil // documented: nothing is told
}

func (c *Client) reconcile(ctx context.Context, in contract.ReconcileInput, conflict enumspb.WorkflowIdConflictPolicy) (ReconcileRun, error) {
	run, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       contract.ReconcileID,
		TaskQueue:                                contract.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy:                 conflict,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		Priority:                                 repair,
	}, contract.TypeReconcileWorkspaces, in)
	switch {
	case temporal.IsWorkflowExecutionAlreadyStartedError(err):
		return ReconcileRun{}, ErrReconcileRunning
	case err != nil:
		return ReconcileRun{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return ReconcileRun{run: run}, nil
}

// UnderWay is a reconcile run that has not ended. All zero when there is none.
type UnderWay struct {
	StartedAt time.Time
	// LastSign is when the run last showed that it goes on: a step was scheduled, or begun, or told its progress.
	LastSign time.Time
	// List is nil as long as the run has no news of its list.
	List *ListAttempt
}

// ReconcileRunning returns the run under way. ErrUnavailable if Temporal can't be asked.
func (c *Client) ReconcileRunning(ctx context.Context) (UnderWay, error) {
	desc, err := c.temporal.DescribeWorkflowExecution(ctx, contract.ReconcileID, "")
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return UnderWay{}, nil // none ever ran, or the last is past its retention
	case err != nil:
		return UnderWay{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	info := desc.GetWorkflowExecutionInfo()
	if info.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return UnderWay{}, nil
	}
	run := UnderWay{StartedAt: info.GetStartTime().AsTime()}
	run.LastSign = latest(run.StartedAt, desc.GetPendingWorkflowTask().GetScheduledTime().AsTime())
	for _, a := range desc.GetPendingActivities() {
		for _, at := range []*timestamppb.Timestamp{a.GetScheduledTime(), a.GetLastStartedTime(), a.GetLastHeartbeatTime()} {
			run.LastSign = latest(run.LastSign, at.AsTime())
		}
		if list := listAttempt(a); list != nil { // one activity at a time
			run.List = list
		}
	}
	if first := info.GetFirstRunId(); first != "" && first != info.GetExecution().GetRunId() { // a long run goes on under a new run id
		if desc, err := c.temporal.DescribeWorkflowExecution(ctx, contract.ReconcileID, first); err == nil {
			run.StartedAt = desc.GetWorkflowExecutionInfo().GetStartTime().AsTime()
		}
	}
	return run, nil
}

// ListAttempt is what a run under way tells of the list that it asked the Auth Worker for last. A run is recorded at its end only, which
// may be minutes after an attempt that failed.
type ListAttempt struct {
	// EndedAt is when the attempt ended. Failure says why there is nothing to compare, be it the list or another side; "" when there was a
	// list, and it is being repaired.
	EndedAt time.Time
	Failure string
	// NextAt is when it tries again; zero when it tries now.
	NextAt time.Time
}

// listAttempt is what an activity under way tells of the list; nil when it tells nothing.
func listAttempt(a *workflowpb.PendingActivityInfo) *ListAttempt {
	switch a.GetActivityType().GetName() {
	case contract.ActivityCompareLists:
		if a.GetLastFailure() == nil {
			return nil
		}
		attempt := &ListAttempt{EndedAt: a.GetLastAttemptCompleteTime().AsTime(), Failure: a.GetLastFailure().GetMessage()}
		if next := a.GetNextAttemptScheduleTime(); next != nil {
			attempt.NextAt = next.AsTime()
		}
		return attempt
	case contract.ActivityResumeDeletions, contract.ActivityEndDeletions, contract.ActivityEnsureMissing, contract.ActivityRequestDeletions:
		return &ListAttempt{EndedAt: a.GetScheduledTime().AsTime()}
	}
	return nil
}
