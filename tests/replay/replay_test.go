// Package replay_test replays golden histories with today's workflow code: a change that a running workflow could not
// survive fails here. `make golden` records them anew; do that for new behaviour only, and never to silence a failure.
package replay_test

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/encoding/protojson"

	"storekeeper/contract"
	"storekeeper/internal/demo"
	"storekeeper/internal/standalone"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/tracing/export"
	"storekeeper/internal/tracing/temporaltrace"
	storekeeper "storekeeper/internal/worker"
	"storekeeper/tests/harness"

	"go.uber.org/zap"
)

var record = flag.Bool("record", false, "record the golden histories anew")

// scenarios are the golden histories: each drives an installation and names the workflow whose last run is kept. Where that run continues
// another one, the other one is kept, too, under the same name and "-from".
var scenarios = map[string]func(in *harness.Installation) (workflowID string){
	"lifecycle-created": func(in *harness.Installation) string {
		id := uuid.NewString()
		require.Equal(in.T, "monitoring_started", in.Webhook("workspace.created", id, time.Now()).JSON("status"))
		return contract.LifecycleID(id)
	},
	"lifecycle-created-by-signal": func(in *harness.Installation) string {
		id := uuid.NewString()
		require.NoError(in.T, in.Orchestrator.Signal(in.T.Context(), event(contract.WorkspaceCreated, id)))
		in.Eventually("monitored", func() bool { return in.Monitored(id) })
		return contract.LifecycleID(id)
	},
	"lifecycle-deleted-after-grace": func(in *harness.Installation) string {
		id := created(in)
		apply(in, event(contract.WorkspaceDeleted, id), contract.StatusDeletionScheduled)
		apply(in, event(contract.WorkspaceDeleted, id), contract.StatusDeletionAlreadyScheduled)
		in.Eventually("stopped", func() bool { return !in.Monitored(id) })
		return contract.LifecycleID(id)
	},
	"lifecycle-deleted-at-once": func(in *harness.Installation) string {
		id := created(in)
		ev := event(contract.WorkspaceDeleted, id)
		ev.GracePeriod = new(time.Duration)
		apply(in, ev, contract.StatusMonitoringStopped)
		return contract.LifecycleID(id)
	},
	"lifecycle-cancelled-by-signal": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(contract.WorkspaceDeleted, id)), contract.StatusDeletionScheduled)
		result, err := in.Orchestrator.CancelDeletion(in.T.Context(), id, contract.Cancellation{Reason: "golden", Actor: "test"})
		require.NoError(in.T, err)
		require.Equal(in.T, contract.StatusDeletionCancelled, result.Status)
		return contract.LifecycleID(id)
	},
	"lifecycle-cancelled-by-creation": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(contract.WorkspaceDeleted, id)), contract.StatusDeletionScheduled)
		apply(in, event(contract.WorkspaceCreated, id), contract.StatusDeletionCancelled)
		return contract.LifecycleID(id)
	},
	"lifecycle-kept-because-listed": func(in *harness.Installation) string {
		user := in.SignUp()
		in.Eventually("monitored", func() bool { return in.Monitored(user.Default) })
		ev := event(contract.WorkspaceDeleted, user.Default)
		ev.GracePeriod = new(time.Duration)
		apply(in, ev, contract.StatusDeletionCancelled)
		return contract.LifecycleID(user.Default)
	},
	"lifecycle-pending": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(contract.WorkspaceDeleted, id)), contract.StatusDeletionScheduled)
		return contract.LifecycleID(id)
	},
	"lifecycle-held-and-released": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(contract.WorkspaceDeleted, id)), contract.StatusDeletionScheduled)
		hold := event(contract.StoreHold, id)
		hold.Hold = &contract.Cancellation{Reason: "golden", Actor: "test"}
		apply(in, hold, contract.StatusDeletionCancelled)
		return contract.LifecycleID(id)
	},
	"lifecycle-listed-again": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(contract.WorkspaceDeleted, id)), contract.StatusDeletionScheduled)
		require.NoError(in.T, in.Orchestrator.ReportListed(in.T.Context(), id, contract.Sighting{At: time.Now()}))
		result, err := in.Orchestrator.LifecycleEnd(in.T.Context(), id)
		require.NoError(in.T, err)
		require.Contains(in.T, result.Detail, "listed again")
		return contract.LifecycleID(id)
	},
	"lifecycle-resumed": func(in *harness.Installation) string {
		id := unattended(in)
		apply(in, event(contract.DeletionResume, id), contract.StatusDeletionResumed)
		apply(in, event(contract.DeletionResume, id), contract.StatusDeletionAlreadyScheduled)
		return contract.LifecycleID(id)
	},
	"reconcile-resumes-and-keeps": func(in *harness.Installation) string {
		unattended(in)
		user := in.SignUp()
		in.Eventually("monitored", func() bool { return in.Monitored(user.Default) })
		apply(in, long(event(contract.WorkspaceDeleted, user.Default)), contract.StatusDeletionScheduled)
		require.Equal(in.T, 1, reconcile(in, "").Resumed)
		require.Equal(in.T, 1, reconcile(in, "").ListedAgain)
		return contract.ReconcileID
	},
	"resume-deletions": func(in *harness.Installation) string {
		unattended(in)
		require.NoError(in.T, in.Orchestrator.ResumeDeletions(in.T.Context()))
		require.NoError(in.T, in.Temporal.GetWorkflow(in.T.Context(), contract.ResumeDeletionsID, "").Get(in.T.Context(), nil))
		return contract.ResumeDeletionsID
	},
	"reconcile-repairs": func(in *harness.Installation) string {
		in.Auth.SetWebhooksLost(true)
		defer in.Auth.SetWebhooksLost(false)
		in.SignUp()
		created(in) // an orphan, for the Auth Worker never heard of it
		in.Reconcile()
		require.Equal(in.T, http.StatusOK, in.Reconcile().Code)
		return contract.ReconcileID
	},
	"reconcile-trips-and-adds": func(in *harness.Installation) string {
		trip(in)
		return contract.ReconcileID
	},
	"reconcile-approved": func(in *harness.Installation) string {
		report := reconcile(in, trip(in).PlanHash)
		require.Equal(in.T, 12, report.Removed)
		return contract.ReconcileID
	},
	"reconcile-refused": func(in *harness.Installation) string {
		_, err := tryReconcile(in, "another plan")
		require.ErrorContains(in.T, err, "another plan was approved")
		return contract.ReconcileID
	},
	"reconcile-fails": func(in *harness.Installation) string {
		in.Auth.SetFault(demo.FaultGarbage)
		defer in.Auth.SetFault(demo.FaultNone)
		require.Equal(in.T, http.StatusInternalServerError, in.Reconcile().Code)
		return contract.ReconcileID
	},
	"reconcile-of-several-rounds": severalRounds,
	"reconcile-continued":         severalRounds,
	"plan": func(in *harness.Installation) string {
		in.SignUpSilently()
		created(in) // an orphan, for the Auth Worker never heard of it
		run, err := in.Temporal.ExecuteWorkflow(in.T.Context(), startPlan(), contract.TypePlanReconcile)
		require.NoError(in.T, err)
		var plan contract.Plan
		require.NoError(in.T, run.Get(in.T.Context(), &plan))
		require.Equal(in.T, 1, plan.MissingCount)
		require.Equal(in.T, 1, plan.FirstSightings)
		return run.GetID()
	},
	"lifecycle-continued": func(in *harness.Installation) string {
		id := created(in)
		deletion := long(event(contract.WorkspaceDeleted, id))
		apply(in, deletion, contract.StatusDeletionScheduled)
		first := currentRun(in, contract.LifecycleID(id))
		in.Eventually("the lifecycle continues as new", func() bool {
			apply(in, event(contract.WorkspaceDeleted, id), contract.StatusDeletionAlreadyScheduled)
			return currentRun(in, contract.LifecycleID(id)) != first
		})
		apply(in, deletion, contract.StatusDeletionScheduled) // delivered to the run before
		apply(in, event(contract.WorkspaceCreated, id), contract.StatusDeletionCancelled)
		return contract.LifecycleID(id)
	},
	"scheduled-reconcile": func(in *harness.Installation) string {
		run, err := in.Temporal.ExecuteWorkflow(in.T.Context(), startScheduled(), contract.TypeScheduledReconcile)
		require.NoError(in.T, err)
		require.NoError(in.T, run.Get(in.T.Context(), nil))
		return run.GetID()
	},
}

// historyLimits are after how many events the workflows of a scenario are asked to continue as new, where that is its story.
var historyLimits = map[string]int{"lifecycle-continued": 16, "reconcile-continued": 10}

func golden(name string) string { return filepath.Join("testdata", name+".json") }

func TestGoldenHistoriesReplay(t *testing.T) {
	t.Parallel()
	// The interceptors are those of a worker.
	_, err := export.Start(t.Context(), export.Options{Service: "test"})
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	files, err := filepath.Glob(golden("*"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), len(scenarios), "every scenario has its golden history; `make golden` records them")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Interceptors: []interceptor.WorkerInterceptor{
				temporaltrace.New(), telemetry.NewWorkerInterceptor(zap.NewNop(), nil, metrics),
			}})
			require.NoError(t, err)
			storekeeper.RegisterWorkflows(replayer)
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(telemetry.SDKLogger(zap.NewNop()), file))
		})
	}
}

// TestRecordGoldenHistories records all of them anew, each of an installation of its own, and only with -record. What -run
// leaves out stays as it is.
func TestRecordGoldenHistories(t *testing.T) { //nolint:paralleltest // it writes what the other test reads
	if !*record {
		t.Skip("records only with -record (make golden)")
	}
	for name, run := range scenarios { //nolint:paralleltest // as above
		t.Run(name, func(t *testing.T) {
			in := harness.StartWith(t, standalone.Options{Ephemeral: true, TemporalHistoryLimit: historyLimits[name]},
				"DELETION_GRACE_PERIOD=1s", "WEBHOOK_WAIT=30s")
			id := run(in)
			before := keep(in, golden(name), id, "")
			if historyLimits[name] > 0 {
				require.NotEmpty(t, before, "no run was continued")
				keep(in, golden(name+"-from"), id, before)
			}
		})
	}
}

// keep writes the history of a run, "" for the workflow's last, and returns the id of the run that it continues; "" for none.
func keep(in *harness.Installation, file, workflowID, runID string) (continues string) {
	in.T.Helper()
	history := &historypb.History{}
	events := in.Temporal.GetWorkflowHistory(in.T.Context(), workflowID, runID, false, 0)
	for events.HasNext() {
		ev, err := events.Next()
		require.NoError(in.T, err)
		history.Events = append(history.Events, ev)
	}
	text, err := protojson.MarshalOptions{Multiline: true, Indent: " "}.Marshal(history)
	require.NoError(in.T, err)
	require.NoError(in.T, os.WriteFile(file, append(text, '\n'), 0o600))
	return history.Events[0].GetWorkflowExecutionStartedEventAttributes().GetContinuedExecutionRunId()
}
