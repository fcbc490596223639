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
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/encoding/protojson"

	"storekeeper/internal/demo"
	"storekeeper/internal/telemetry"
	storekeeper "storekeeper/internal/worker"
	"storekeeper/tests/harness"
	"storekeeper/workflows"

	"go.uber.org/zap"
)

var record = flag.Bool("record", false, "record the golden histories anew")

// scenarios are the golden histories: each drives an installation and names the workflow whose last run is kept.
var scenarios = map[string]func(in *harness.Installation) (workflowID string){
	"lifecycle-created": func(in *harness.Installation) string {
		id := uuid.NewString()
		require.Equal(in.T, "monitoring_started", in.Webhook("workspace.created", id, time.Now()).JSON("status"))
		return workflows.LifecycleID(id)
	},
	"lifecycle-created-by-signal": func(in *harness.Installation) string {
		id := uuid.NewString()
		require.NoError(in.T, in.Orchestrator.Signal(in.T.Context(), event(workflows.WorkspaceCreated, id)))
		in.Eventually("monitored", func() bool { return in.Monitored(id) })
		return workflows.LifecycleID(id)
	},
	"lifecycle-deleted-after-grace": func(in *harness.Installation) string {
		id := created(in)
		apply(in, event(workflows.WorkspaceDeleted, id), workflows.StatusDeletionScheduled)
		apply(in, event(workflows.WorkspaceDeleted, id), workflows.StatusDeletionAlreadyScheduled)
		in.Eventually("stopped", func() bool { return !in.Monitored(id) })
		return workflows.LifecycleID(id)
	},
	"lifecycle-deleted-at-once": func(in *harness.Installation) string {
		id := created(in)
		ev := event(workflows.WorkspaceDeleted, id)
		ev.GracePeriod = new(time.Duration)
		apply(in, ev, workflows.StatusMonitoringStopped)
		return workflows.LifecycleID(id)
	},
	"lifecycle-cancelled-by-signal": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(workflows.WorkspaceDeleted, id)), workflows.StatusDeletionScheduled)
		result, err := in.Orchestrator.CancelDeletion(in.T.Context(), id, workflows.Cancellation{Reason: "golden", Actor: "test"})
		require.NoError(in.T, err)
		require.Equal(in.T, workflows.StatusDeletionCancelled, result.Status)
		return workflows.LifecycleID(id)
	},
	"lifecycle-cancelled-by-creation": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(workflows.WorkspaceDeleted, id)), workflows.StatusDeletionScheduled)
		apply(in, event(workflows.WorkspaceCreated, id), workflows.StatusDeletionCancelled)
		return workflows.LifecycleID(id)
	},
	"lifecycle-kept-because-listed": func(in *harness.Installation) string {
		user := in.SignUp()
		in.Eventually("monitored", func() bool { return in.Monitored(user.Default) })
		ev := event(workflows.WorkspaceDeleted, user.Default)
		ev.GracePeriod = new(time.Duration)
		apply(in, ev, workflows.StatusDeletionCancelled)
		return workflows.LifecycleID(user.Default)
	},
	"lifecycle-pending": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(workflows.WorkspaceDeleted, id)), workflows.StatusDeletionScheduled)
		return workflows.LifecycleID(id)
	},
	"lifecycle-held-and-released": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(workflows.WorkspaceDeleted, id)), workflows.StatusDeletionScheduled)
		hold := event(workflows.StoreHold, id)
		hold.Hold = &workflows.Cancellation{Reason: "golden", Actor: "test"}
		apply(in, hold, workflows.StatusDeletionCancelled)
		return workflows.LifecycleID(id)
	},
	"lifecycle-listed-again": func(in *harness.Installation) string {
		id := created(in)
		apply(in, long(event(workflows.WorkspaceDeleted, id)), workflows.StatusDeletionScheduled)
		require.NoError(in.T, in.Orchestrator.ReportListed(in.T.Context(), id, time.Now()))
		result, err := in.Orchestrator.LifecycleEnd(in.T.Context(), id)
		require.NoError(in.T, err)
		require.Contains(in.T, result.Detail, "listed again")
		return workflows.LifecycleID(id)
	},
	"lifecycle-resumed": func(in *harness.Installation) string {
		id := unattended(in)
		apply(in, event(workflows.DeletionResume, id), workflows.StatusDeletionResumed)
		apply(in, event(workflows.DeletionResume, id), workflows.StatusDeletionAlreadyScheduled)
		return workflows.LifecycleID(id)
	},
	"reconcile-resumes-and-keeps": func(in *harness.Installation) string {
		unattended(in)
		user := in.SignUp()
		in.Eventually("monitored", func() bool { return in.Monitored(user.Default) })
		apply(in, long(event(workflows.WorkspaceDeleted, user.Default)), workflows.StatusDeletionScheduled)
		require.Equal(in.T, 1, reconcile(in, "").Resumed)
		require.Equal(in.T, 1, reconcile(in, "").ListedAgain)
		return workflows.ReconcileID
	},
	"resume-deletions": func(in *harness.Installation) string {
		unattended(in)
		require.NoError(in.T, in.Orchestrator.ResumeDeletions(in.T.Context()))
		require.NoError(in.T, in.Temporal.GetWorkflow(in.T.Context(), workflows.ResumeDeletionsID, "").Get(in.T.Context(), nil))
		return workflows.ResumeDeletionsID
	},
	"reconcile-repairs": func(in *harness.Installation) string {
		in.Auth.SetWebhooksLost(true)
		defer in.Auth.SetWebhooksLost(false)
		in.SignUp()
		created(in) // an orphan, for the Auth Worker never heard of it
		in.Reconcile()
		require.Equal(in.T, http.StatusOK, in.Reconcile().Code)
		return workflows.ReconcileID
	},
	"reconcile-trips-and-adds": func(in *harness.Installation) string {
		trip(in)
		return workflows.ReconcileID
	},
	"reconcile-approved": func(in *harness.Installation) string {
		report := reconcile(in, trip(in).PlanHash)
		require.Equal(in.T, 12, report.Removed)
		return workflows.ReconcileID
	},
	"reconcile-refused": func(in *harness.Installation) string {
		_, err := tryReconcile(in, "another plan")
		require.ErrorContains(in.T, err, "another plan was approved")
		return workflows.ReconcileID
	},
	"reconcile-fails": func(in *harness.Installation) string {
		in.Auth.SetFault(demo.FaultGarbage)
		defer in.Auth.SetFault(demo.FaultNone)
		require.Equal(in.T, http.StatusInternalServerError, in.Reconcile().Code)
		return workflows.ReconcileID
	},
	"scheduled-reconcile": func(in *harness.Installation) string {
		run, err := in.Temporal.ExecuteWorkflow(in.T.Context(), startScheduled(), workflows.TypeScheduledReconcile)
		require.NoError(in.T, err)
		require.NoError(in.T, run.Get(in.T.Context(), nil))
		return run.GetID()
	},
}

func golden(name string) string { return filepath.Join("testdata", name+".json") }

func TestGoldenHistoriesReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(golden("*"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), len(scenarios), "every scenario has its golden history; `make golden` records them")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			replayer := worker.NewWorkflowReplayer()
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
			in := harness.Start(t, "DELETION_GRACE_PERIOD=1s", "WEBHOOK_WAIT=30s")
			history := &historypb.History{}
			events := in.Temporal.GetWorkflowHistory(t.Context(), run(in), "", false, 0)
			for events.HasNext() {
				ev, err := events.Next()
				require.NoError(t, err)
				history.Events = append(history.Events, ev)
			}
			text, err := protojson.MarshalOptions{Multiline: true, Indent: " "}.Marshal(history)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(golden(name), append(text, '\n'), 0o600))
		})
	}
}
