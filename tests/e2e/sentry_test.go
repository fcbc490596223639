package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"storekeeper/internal/demo"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
	"storekeeper/tests/harness"
	"storekeeper/tests/sentrytest"
)

// told is an installation that tells a fake of Sentry.
type told struct {
	*harness.Installation
	sentry *sentrytest.Fake
}

func startTold(t *testing.T, settings ...string) told {
	t.Helper()
	fake := sentrytest.Start(t)
	return told{harness.Start(t, append(settings, "SENTRY_DSN="+fake.DSN)...), fake}
}

// events are those that were taken so far. That a workflow takes too long without a pause is left out: on a slow machine any may.
func (in told) events() []sentrytest.Event {
	return slices.DeleteFunc(in.sentry.Events(), func(e sentrytest.Event) bool { return strings.HasSuffix(e.Issue(), "| deadlock") })
}

// texts are those of all events, each with its issue, when nothing more can come.
func (in told) texts() []string {
	in.T.Helper()
	in.Stop() // and flush
	var all []string
	for _, event := range in.events() {
		all = append(all, event.Issue()+": "+event.Text())
	}
	return all
}

func TestAnOutageOfAllStoresIsOneEventInSentryAndItsEndAnother(t *testing.T) {
	t.Parallel()
	in := startTold(t)
	const stores = 12
	for range stores {
		in.SignUp()
	}
	connected := func() bool {
		o, err := in.Stores.Overview(t.Context())
		return err == nil && o.Connections[storemanager.ConnectionConnected] == stores
	}
	in.Eventually("all are connected", connected)
	in.Sync.SetFault(demo.SyncFaultRefuse)
	in.Sync.DropConnections()
	in.Eventually("the outage is told", func() bool { return len(in.events()) == 1 })
	require.Equal(t, http.StatusOK, in.Reconcile().Code, "what goes on meanwhile changes nothing")
	in.Sync.SetFault(demo.SyncFaultNone)
	in.Eventually("its end is told", func() bool { return len(in.events()) == 2 })
	in.Eventually("all are connected again", connected)

	events := in.texts()
	require.Len(t, events, 2, events)
	require.Contains(t, events[0], "sync_backend_outage |  | away: the sync backend")
	require.Contains(t, events[0], fmt.Sprintf("with %d of its %d stores", stores, stores))
	require.Contains(t, events[1], "sync_backend_outage |  | over: the sync backend")
	require.Contains(t, events[1], fmt.Sprintf("it concerned %d stores", stores))
}

func TestAnOutageOfTheAuthWorkerIsOneEventHoweverManyRunsAndDeletionsFailOfIt(t *testing.T) {
	t.Parallel()
	in := startTold(t, "DELETION_GRACE_PERIOD=0s")
	const stores = 3
	var users []*harness.User
	for range stores {
		user := in.SignUp()
		in.Eventually("monitored", func() bool { return in.Monitored(user.Default) })
		users = append(users, user)
	}
	in.Auth.SetFault(demo.FaultFailing)
	for _, user := range users {
		require.Equal(t, 2, in.Webhook("workspace.deleted", user.Default, time.Now()).Code/100)
	}
	for range 3 {
		require.NotEqual(t, http.StatusOK, in.Reconcile().Code)
	}
	in.Eventually("the outage is told", func() bool { return len(in.events()) == 1 })
	in.Eventually("all deletions have failed of it", func() bool {
		failed := 0
		for _, user := range users {
			if strings.Contains(in.Logs.String(), `"operation":"ConfirmAbsent","phase":"deletion","storeId":"`+user.Default) {
				failed++
			}
		}
		return failed == stores
	})
	in.Auth.SetFault(demo.FaultNone)
	require.Equal(t, http.StatusOK, in.Reconcile().Code)
	in.Eventually("its end is told", func() bool { return len(in.events()) == 2 })

	events := in.texts()
	require.Len(t, events, 2, events)
	require.Contains(t, events[0], "auth_worker_outage |  | away: the auth worker fails: ")
	require.Contains(t, events[1], "auth_worker_outage |  | over: the auth worker does its part again after ")
	require.Contains(t, events[1], fmt.Sprintf("it concerned %d stores", stores))
}

// failing is the input of an activity that fails.
type failing struct{ ID string }

func (f failing) TelemetryStoreID() string { return f.ID }
func (failing) TelemetryPhase() string     { return "provision" }

// work starts a worker of its own beside the installation's, as that is made: the same client, and the same interceptor.
func (in told) work(queue string, register func(worker.Worker)) (stop func()) {
	in.T.Helper()
	sentry, err := telemetry.NewSentry(telemetry.SentryOptions{DSN: in.sentry.DSN})
	require.NoError(in.T, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(in.T, err)
	w := worker.New(in.Temporal, queue, worker.Options{
		Interceptors: []interceptor.WorkerInterceptor{telemetry.NewWorkerInterceptor(zap.NewNop(), sentry, metrics)},
	})
	register(w)
	require.NoError(in.T, w.Start())
	return func() {
		w.Stop()
		require.True(in.T, sentry.Flush(30*time.Second))
		sentry.Close()
	}
}

func (in told) begin(queue, id string, w any) client.WorkflowRun {
	in.T.Helper()
	run, err := in.Temporal.ExecuteWorkflow(in.T.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: queue}, w)
	require.NoError(in.T, err)
	return run
}

func TestTenThousandEqualFailuresOfActivitiesAreOneIssueInSentry(t *testing.T) {
	t.Parallel()
	in := startTold(t)
	const failures, atOnce = 10_000, 500
	stop := in.work("failing", func(w worker.Worker) {
		w.RegisterActivityWithOptions(func(_ context.Context, f failing) error {
			return temporal.NewNonRetryableApplicationError("store "+f.ID+" can't be ensured", "Invalid", nil)
		}, activity.RegisterOptions{Name: "FailingActivity"})
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
			ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
			for begun := 0; begun < failures; begun += atOnce {
				var batch []workflow.Future
				for i := range atOnce {
					batch = append(batch, workflow.ExecuteLocalActivity(ctx, "FailingActivity", failing{fmt.Sprintf("store-%d", begun+i)}))
				}
				for _, one := range batch {
					if one.Get(ctx, nil) == nil {
						return errors.New("it did not fail")
					}
				}
			}
			return nil
		}, workflow.RegisterOptions{Name: "Failing"})
	})
	require.NoError(t, in.begin("failing", "failing", "Failing").Get(t.Context(), nil))
	stop()
	events := in.sentry.Of("FailingActivity")
	count := 0
	for _, event := range events {
		require.Equal(t, "FailingActivity | provision | Invalid", event.Issue())
		require.Equal(t, "workspace_orchestration", event.Breadcrumbs[0].Category)
		count += event.Count()
	}
	require.Equal(t, failures, count)
	require.LessOrEqual(t, len(events), 5, "one at once, then one a window")
}

// waiting is a workflow that waits for a timer and a signal. Its other version does something else instead of the timer.
func waiting(other bool) func(workflow.Context) error {
	return func(ctx workflow.Context) error {
		if other {
			ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
			workflow.ExecuteActivity(ctx, "Something")
		} else {
			workflow.NewTimer(ctx, time.Hour)
		}
		defer workflow.GetLogger(ctx).Debug("also runs when the cache evicts the workflow")
		workflow.GetSignalChannel(ctx, "go on").Receive(ctx, nil)
		return nil
	}
}

func TestWorkflowCodeThatPanicsOrDoesNotFitItsHistoryIsOneEventInSentry(t *testing.T) {
	t.Parallel()
	in := startTold(t)
	store := uuid.NewString()
	v1 := in.work("code", func(w worker.Worker) {
		w.RegisterWorkflowWithOptions(waiting(false), workflow.RegisterOptions{Name: "Changed"})
	})
	changed := in.begin("code", "workspace/"+store, "Changed")
	in.Eventually("it waits", func() bool {
		d, err := in.Temporal.DescribeWorkflowExecution(t.Context(), changed.GetID(), "")
		return err == nil && d.GetWorkflowExecutionInfo().GetHistoryLength() >= 5
	})
	v1()
	require.Empty(t, in.events(), "the end of a worker evicts its workflows, and is no failure of theirs")

	v2 := in.work("code", func(w worker.Worker) {
		w.RegisterWorkflowWithOptions(waiting(true), workflow.RegisterOptions{Name: "Changed"})
		w.RegisterWorkflowWithOptions(func(workflow.Context) error { panic("at store " + store) }, workflow.RegisterOptions{Name: "Panics"})
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
			workflow.Go(ctx, func(workflow.Context) { panic("beside it") })
			return workflow.Sleep(ctx, time.Hour)
		}, workflow.RegisterOptions{Name: "PanicsBeside"})
	})
	require.NoError(t, in.Temporal.SignalWorkflow(t.Context(), changed.GetID(), "", "go on", nil))
	in.begin("code", "panics", "Panics")
	in.begin("code", "panics-beside", "PanicsBeside")
	for _, name := range []string{"Changed", "Panics", "PanicsBeside"} {
		in.Eventually("the task of "+name+" is tried again", func() bool {
			tried := 0
			for line := range strings.Lines(in.Logs.String()) {
				if strings.Contains(line, `"Failed to process workflow task."`) && strings.Contains(line, `"workflowType":"`+name+`"`) {
					tried++
				}
			}
			return tried >= 2
		})
	}
	v2()
	events := in.texts()
	require.Len(t, events, 3, events)
	found := in.sentry.Of("Changed")
	require.Len(t, found, 1)
	require.Equal(t, "Changed | workflow_task | nondeterminism", found[0].Issue())
	require.Equal(t, store, found[0].Tags["storeId"])
	require.Equal(t, changed.GetRunID(), found[0].Contexts["workflow"]["runId"])
	for name, text := range map[string]string{"Panics": "at store " + store, "PanicsBeside": "beside it"} {
		found = in.sentry.Of(name)
		require.Len(t, found, 1)
		require.Contains(t, found[0].Issue(), name+" | workflow_task | panic in storekeeper/tests/e2e_test.TestWorkflowCode")
		require.Contains(t, found[0].Text(), text)
		require.Contains(t, found[0].Contexts["workflow"]["stack"], "sentry_test.go")
	}
}
