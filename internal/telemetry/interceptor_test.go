package telemetry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"storekeeper/internal/telemetry"
	"storekeeper/tests/proctest"
	"storekeeper/tests/sentrytest"
)

// storeInput is an argument that says what it is for.
type storeInput struct{ ID string }

func (i storeInput) TelemetryStoreID() string { return i.ID }
func (i storeInput) TelemetryPhase() string   { return "provision" }

// bundle is an interceptor and all that it tells.
type bundle struct {
	worker  worker.Options
	metrics *telemetry.Metrics
	sentry  *telemetry.Sentry
	fake    *sentrytest.Fake
	log     *proctest.Log
}

func setup(t *testing.T) bundle {
	t.Helper()
	log, out := newLogger(t)
	metrics, err := telemetry.NewMetrics(log)
	require.NoError(t, err)
	sentry, fake := newSentry(t)
	return bundle{
		worker: worker.Options{Interceptors: []interceptor.WorkerInterceptor{
			telemetry.NewWorkerInterceptor(log, sentry, metrics),
		}},
		metrics: metrics, sentry: sentry, fake: fake, log: out,
	}
}

func (b bundle) events(t *testing.T) []sentrytest.Event {
	t.Helper()
	return sent(t, b.sentry, b.fake)
}

// newWorkflowEnv returns an environment that can run w as the workflow "W" and ensure, if any, as the activity "EnsureStore".
func (b bundle) newWorkflowEnv(ensure, w any) *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(telemetry.SDKLogger(zap.NewNop()))
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(b.worker)
	env.RegisterWorkflowWithOptions(w, workflow.RegisterOptions{Name: "W"})
	if ensure != nil {
		env.RegisterActivityWithOptions(ensure, activity.RegisterOptions{Name: "EnsureStore"})
	}
	return env
}

// runActivity is a workflow that is no more than one activity.
func runActivity(policy temporal.RetryPolicy) func(workflow.Context, storeInput) error {
	return func(ctx workflow.Context, in storeInput) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &policy})
		return workflow.ExecuteActivity(ctx, "EnsureStore", in).Get(ctx, nil)
	}
}

func TestAnActivityThatSucceedsIsCountedAndReportedNowhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	env := b.newWorkflowEnv(func(context.Context, storeInput) error { return nil }, runActivity(temporal.RetryPolicy{}))
	env.ExecuteWorkflow("W", storeInput{"abc"})
	require.NoError(t, env.GetWorkflowError())

	require.Contains(t, scrape(t, b.metrics), `storekeeper_operations_total{operation="EnsureStore",outcome="succeeded"} 1`+"\n")
	require.Empty(t, b.events(t))
	require.Empty(t, b.log.String())
}

func TestLocalActivityIsToldOfToo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ensure := func(context.Context, storeInput) error { return nil }
	env := b.newWorkflowEnv(ensure, func(ctx workflow.Context, in storeInput) error {
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
		return workflow.ExecuteLocalActivity(ctx, "EnsureStore", in).Get(ctx, nil)
	})
	env.ExecuteWorkflow("W", storeInput{"abc"})
	require.NoError(t, env.GetWorkflowError())
	require.Contains(t, scrape(t, b.metrics), `storekeeper_operations_total{operation="EnsureStore",outcome="succeeded"} 1`+"\n")
}

func TestFailingActivityIsCapturedOnce(t *testing.T) {
	t.Parallel()
	invalid := temporal.NewNonRetryableApplicationError("no store id", "InvalidStoreID", nil)
	refused := errors.New("refused")
	always := func(err error) func(int32) error { return func(int32) error { return err } }
	tests := []struct {
		name         string
		policy       temporal.RetryPolicy
		fail         func(attempt int32) error
		wantAttempts int      // that failed
		wantCaptured []string // operations
	}{
		{
			name: "at once when it may not be retried, and not again by the workflow that fails of it",
			fail: always(invalid), wantAttempts: 1, wantCaptured: []string{"EnsureStore"},
		},
		{
			name: "not at all when it recovers before the fifth attempt",
			fail: func(attempt int32) error {
				if attempt < 5 {
					return refused
				}
				return nil
			},
			wantAttempts: 4,
		},
		{
			name: "at the fifth attempt, and not again when a later one may not be retried",
			fail: func(attempt int32) error {
				if attempt < 7 {
					return refused
				}
				return invalid
			},
			wantAttempts: 7, wantCaptured: []string{"EnsureStore"},
		},
		{
			name:   "by the workflow that fails of it when the attempts run out before the fifth",
			policy: temporal.RetryPolicy{MaximumAttempts: 3},
			fail:   always(refused), wantAttempts: 3, wantCaptured: []string{"W"},
		},
		{
			name:         "at the fifth attempt when it panics",
			policy:       temporal.RetryPolicy{MaximumAttempts: 6},
			fail:         func(int32) error { panic("nil map") },
			wantAttempts: 6, wantCaptured: []string{"EnsureStore", "W"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			env := b.newWorkflowEnv(func(ctx context.Context, _ storeInput) error {
				return tt.fail(activity.GetInfo(ctx).Attempt)
			}, runActivity(tt.policy))
			env.ExecuteWorkflow("W", storeInput{"abc"})

			warnings := 0
			for _, entry := range logged(t, b.log) {
				if entry["msg"] != "activity failed" {
					continue
				}
				warnings++
				require.Equal(t, "warn", entry["level"])
				require.Equal(t, "EnsureStore", entry["operation"])
				require.Equal(t, "provision", entry["phase"])
				require.Equal(t, "abc", entry["storeId"])
				require.EqualValues(t, warnings, entry["attempt"])
				require.Contains(t, entry, "durationMs")
				require.NotEmpty(t, entry["workflowId"])
				require.NotEmpty(t, entry["runId"])
				require.NotEmpty(t, entry["error"])
			}
			require.Equal(t, tt.wantAttempts, warnings)

			events := b.events(t)
			require.Len(t, events, len(tt.wantCaptured))
			for i, want := range tt.wantCaptured {
				require.Equal(t, map[string]string{"storeId": "abc", "operation": want, "phase": "provision"}, events[i].Tags)
				require.NotEmpty(t, events[i].Breadcrumbs)
				require.Equal(t, "failed", events[i].Breadcrumbs[0].Data["outcome"])
			}
		})
	}
}

func TestCancelledActivityIsNoFailure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	env := b.newWorkflowEnv(func(context.Context, storeInput) error {
		return temporal.NewCanceledError()
	}, runActivity(temporal.RetryPolicy{MaximumAttempts: 1}))
	env.ExecuteWorkflow("W", storeInput{"abc"})
	require.Error(t, env.GetWorkflowError())

	require.Contains(t, scrape(t, b.metrics), `storekeeper_operations_total{operation="EnsureStore",outcome="cancelled"} 1`+"\n")
	require.NotContains(t, b.log.String(), "activity failed")
	require.Empty(t, b.events(t))
}

func TestAWorkflowsFailureIsCapturedOnce(t *testing.T) {
	t.Parallel()

	t.Run("is captured once", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		env := b.newWorkflowEnv(nil, func(workflow.Context, string) error { return errors.New("stuck") })
		env.ExecuteWorkflow("W", "abc")
		require.Error(t, env.GetWorkflowError())

		events := b.events(t)
		require.Len(t, events, 1)
		require.Equal(t, map[string]string{"operation": "W", "phase": "workflow"}, events[0].Tags)
		entries := logged(t, b.log)
		require.Len(t, entries, 1)
		require.Equal(t, "workflow failed", entries[0]["msg"])
	})

	t.Run("is captured when its activity timed out, which saw no end", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		ensure := func(context.Context, storeInput) error { return nil }
		env := b.newWorkflowEnv(ensure, runActivity(temporal.RetryPolicy{MaximumAttempts: 1}))
		// The mock takes the place of the interceptor too, like a worker that died with the activity.
		env.OnActivity("EnsureStore", mock.Anything, mock.Anything).
			Return(temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_START_TO_CLOSE, nil))
		env.ExecuteWorkflow("W", storeInput{"abc"})
		require.Error(t, env.GetWorkflowError())
		events := b.events(t)
		require.Len(t, events, 1)
		require.Equal(t, map[string]string{"storeId": "abc", "operation": "W", "phase": "provision"}, events[0].Tags)
	})

	for name, end := range map[string]func(workflow.Context) error{
		"is none when it was cancelled":    func(workflow.Context) error { return temporal.NewCanceledError() },
		"is none when it continues as new": func(ctx workflow.Context) error { return workflow.NewContinueAsNewError(ctx, "W") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			env := b.newWorkflowEnv(nil, end)
			env.ExecuteWorkflow("W")
			require.Error(t, env.GetWorkflowError())
			require.Empty(t, b.events(t))
			require.Empty(t, b.log.String())
		})
	}

	t.Run("of a child is captured by the child alone", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		env := b.newWorkflowEnv(nil, func(ctx workflow.Context) error {
			return workflow.ExecuteChildWorkflow(ctx, "Child").Get(ctx, nil)
		})
		env.RegisterWorkflowWithOptions(func(workflow.Context) error { return errors.New("stuck") }, workflow.RegisterOptions{Name: "Child"})
		env.ExecuteWorkflow("W")
		require.Error(t, env.GetWorkflowError())
		events := b.events(t)
		require.Len(t, events, 1)
		require.Equal(t, "Child", events[0].Tags["operation"])
	})
}

func TestReplayTellsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Interceptors: b.worker.Interceptors})
	require.NoError(t, err)
	ran := 0
	replayer.RegisterWorkflowWithOptions(func(workflow.Context, storeInput) error {
		ran++
		return errors.New("stuck")
	}, workflow.RegisterOptions{Name: "W"})

	log, _ := newLogger(t)
	require.NoError(t, replayer.ReplayWorkflowHistory(telemetry.SDKLogger(log), failedHistory(t)))
	require.Positive(t, ran, "the workflow must have failed again for its silence to mean something")
	require.Empty(t, b.events(t))
	require.Empty(t, b.log.String())
}

// failedHistory is what a server keeps of a workflow "W" that failed in its first task.
func failedHistory(t *testing.T) *historypb.History {
	t.Helper()
	input, err := converter.GetDefaultDataConverter().ToPayloads(storeInput{"abc"})
	require.NoError(t, err)
	queue := &taskqueuepb.TaskQueue{Name: "q"}
	return &historypb.History{Events: []*historypb.HistoryEvent{
		{EventId: 1, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
			WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{
				WorkflowType: &commonpb.WorkflowType{Name: "W"}, TaskQueue: queue, Input: input,
			},
		}},
		{EventId: 2, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{
			WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{TaskQueue: queue},
		}},
		{EventId: 3, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{
			WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{ScheduledEventId: 2},
		}},
		{EventId: 4, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, Attributes: &historypb.HistoryEvent_WorkflowTaskCompletedEventAttributes{
			WorkflowTaskCompletedEventAttributes: &historypb.WorkflowTaskCompletedEventAttributes{ScheduledEventId: 2, StartedEventId: 3},
		}},
		{EventId: 5, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED, Attributes: &historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes{
			WorkflowExecutionFailedEventAttributes: &historypb.WorkflowExecutionFailedEventAttributes{
				WorkflowTaskCompletedEventId: 4,
				Failure: &failurepb.Failure{Message: "stuck", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
					ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "errorString"},
				}},
			},
		}},
	}}
}
