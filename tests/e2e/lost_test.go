package e2e_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"storekeeper/contract"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/demo"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/harness"
)

// lose removes a database with all that SQLite has beside it.
func lose(t *testing.T, dir, database string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, database+"*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		require.NoError(t, os.Remove(file))
	}
}

// deletion is the pending deletion of a store as the registry has it, and as its lifecycle does; nil for none.
func deletion(in *harness.Installation, id string) (registry, lifecycle any) {
	r := in.Edge(http.MethodGet, "/stores/"+id)
	return r.JSON("deletion.deleteAt"), r.JSON("lifecycle.deletion.deleteAt")
}

func TestPendingDeletionsGoOnAtTheirOwnTimeWhenTemporalsDatabaseIsLost(t *testing.T) {
	t.Parallel()
	o := standalone.Options{DataDir: t.TempDir()}
	first := harness.StartWith(t, o, "DELETION_GRACE_PERIOD=8s")
	user := first.SignUp()
	id := user.Create()
	first.Eventually("monitored", func() bool { return first.Monitored(id) })
	user.Delete(id)
	var due any
	first.Eventually("pending", func() bool {
		registry, lifecycle := deletion(first, id)
		due = registry
		return registry != nil && lifecycle != nil
	})
	first.Stop()
	lose(t, o.DataDir, "temporal.db")

	second := harness.StartWith(t, o, "DELETION_GRACE_PERIOD=24h") // which a new deletion would get
	second.Eventually("it goes on", func() bool {
		registry, lifecycle := deletion(second, id)
		return registry == nil || registry == due && lifecycle != nil
	})
	second.Eventually("stopped", func() bool {
		return second.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.status") == "stopped"
	})
	deleteAt, err := time.Parse(time.RFC3339Nano, due.(string))
	require.NoError(t, err)
	stopped, err := time.Parse(time.RFC3339Nano, second.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.lastStoppedAt").(string))
	require.NoError(t, err)
	require.False(t, stopped.Before(deleteAt), "stopped at %s, due at %s", stopped, deleteAt)
}

func TestADatabaseOfAnotherVersionOfTemporalIsReplacedAndNothingIsLost(t *testing.T) {
	t.Parallel()
	o := standalone.Options{DataDir: t.TempDir()}
	settings := []string{"DELETION_GRACE_PERIOD=1h", "TEMPORAL_RETENTION=5h", "RECONCILE_MODE=observe"} // so that reconciliation repairs nothing
	first := harness.StartWith(t, o, settings...)
	user := first.SignUp()
	id := user.Create()
	first.Eventually("monitored", func() bool { return first.Monitored(id) })
	require.Equal(t, "deletion_scheduled", first.Webhook("workspace.deleted", id, time.Now()).JSON("status"))
	due, _ := deletion(first, id)
	admin := func(in *harness.Installation, method, path, body string) harness.Response {
		return in.Do(method, in.EdgeURL+path, body, "Content-Type", "application/json", "Authorization", "Bearer "+standalone.DemoBypassToken)
	}
	require.Equal(t, http.StatusOK, admin(first, http.MethodPut, "/admin/pause", `{"reason":"an upgrade","actor":"ann"}`).Code)
	// One that was answered 202, and had no outcome when the process ended.
	event, err := json.Marshal(contract.Event{
		DeliveryID: "evt_1", Type: contract.WorkspaceCreated, InstanceID: "accepted-1", Timestamp: time.Now(), Source: contract.SourceWebhook,
	})
	require.NoError(t, err)
	require.NoError(t, first.Stores.KeepAccepted(t.Context(), deliveries.AcceptedEvent{
		DeliveryID: "evt_1", StoreID: "accepted-1", EventAt: time.Now(), Event: event,
	}))
	first.Stop()
	db, err := sql.Open("sqlite", filepath.Join(o.DataDir, "temporal.db"))
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "UPDATE _storekeeper_engine SET server_version = '1.99.0'")
	require.NoError(t, err)
	require.NoError(t, db.Close())

	for start := range 2 {
		in := harness.StartWith(t, o, settings...)
		in.Eventually("the event without an outcome has one", func() bool { return in.Monitored("accepted-1") })
		in.Eventually("the pending deletion goes on at its own time", func() bool {
			registry, lifecycle := deletion(in, id)
			return registry == due && lifecycle == due
		})
		health := in.Edge(http.MethodGet, "/health")
		require.Equal(t, http.StatusOK, health.Code, health.Body)
		require.Contains(t, fmt.Sprint(health.JSON("warnings")), "temporal: its database was of another version (1.99.0)")
		require.Contains(t, fmt.Sprint(health.JSON("warnings")), "the old one is temporal-1.99.0-")
		require.Equal(t, "an upgrade", health.JSON("reconciliation.pauses.all.reason"), health.Body)
		require.Equal(t, start == 0, strings.Contains(in.Logs.String(), "so it was set aside and a new one begun"), "said once")
		schedule, err := in.Orchestrator.ReconcileSchedule(t.Context())
		require.NoError(t, err)
		require.Equal(t, 24*time.Hour, schedule.Every)
		namespace, err := in.Temporal.WorkflowService().DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: "default"})
		require.NoError(t, err)
		require.Equal(t, 5*time.Hour, namespace.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration())
		in.Stop()
	}
	aside, err := filepath.Glob(filepath.Join(o.DataDir, "temporal-1.99.0-*.db"))
	require.NoError(t, err)
	require.Len(t, aside, 1)
}

// As after a power loss, which may take what nobody was told, or a backup that was put back.
func TestATemporalThatHasGoneBackInTimeIsCaughtUpWith(t *testing.T) {
	t.Parallel()
	for name, files := range map[string][]string{
		"all of it":           {"temporal.db", "temporal-visibility.db"},
		"without its lists":   {"temporal.db"},
		"and its lists alone": {"temporal-visibility.db"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testBackInTime(t, files)
		})
	}
}

func testBackInTime(t *testing.T, files []string) {
	t.Helper()
	o := standalone.Options{DataDir: t.TempDir()}
	first := harness.StartWith(t, o, "DELETION_GRACE_PERIOD=1s")
	user := first.SignUp()
	gone, pending := user.Create(), user.Create()
	first.Eventually("monitored", func() bool { return first.Monitored(gone) && first.Monitored(pending) })
	first.Stop()
	backup := map[string][]byte{}
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(o.DataDir, name))
		require.NoError(t, err)
		backup[name] = content
	}

	second := harness.StartWith(t, o, "DELETION_GRACE_PERIOD=1s")
	later := user.At(second).Create()
	second.Eventually("monitored", func() bool { return second.Monitored(later) })
	user.At(second).Delete(gone)
	status := func(in *harness.Installation, id string) any {
		return in.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.status")
	}
	second.Eventually("stopped", func() bool { return status(second, gone) == "stopped" })
	user.At(second).Delete(pending)
	second.Eventually("its deletion is known", func() bool {
		registry, _ := deletion(second, pending)
		return registry != nil || status(second, pending) == "stopped"
	})
	second.Stop()
	for name, content := range backup {
		lose(t, o.DataDir, name)
		require.NoError(t, os.WriteFile(filepath.Join(o.DataDir, name), content, 0o600))
	}

	third := harness.StartWith(t, o, "DELETION_GRACE_PERIOD=1s")
	third.Eventually("the deletion that it has never heard of goes on", func() bool { return status(third, pending) == "stopped" })
	require.True(t, third.Monitored(later))
	require.Equal(t, "stopped", status(third, gone))
	third.Eventually("healthy", func() bool { return third.Edge(http.MethodGet, "/health").Code == http.StatusOK })
}

func TestAFullDiskRefusesEventsUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=40m"); err != nil {
		t.Skip("a disk of its own takes root's rights: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	in := harness.StartWith(t, standalone.Options{DataDir: filepath.Join(dir, "data")})
	t.Cleanup(in.Stop) // before the disk goes
	before := uuid.NewString()
	require.Equal(t, "monitoring_started", in.Webhook("workspace.created", before, time.Now()).JSON("status"))

	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	require.NoError(t, err)
	_, err = io.Copy(f, zeros{})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	in.Eventually("events are refused", func() bool {
		return in.Webhook("workspace.created", uuid.NewString(), time.Now()).Code == http.StatusServiceUnavailable
	})
	in.Eventually("and health says so", func() bool { return in.Edge(http.MethodGet, "/health").Code == http.StatusServiceUnavailable })

	require.NoError(t, os.Remove(ballast))
	in.Eventually("events are taken again", func() bool {
		id := uuid.NewString()
		return in.Webhook("workspace.created", id, time.Now()).Code < 300 && in.Monitored(id)
	})
	in.Eventually("healthy", func() bool { return in.Edge(http.MethodGet, "/health").Code == http.StatusOK })
	require.True(t, in.Monitored(before))
}

// zeros is what a disk can be filled with.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestARunHasPendingDeletionsGoOnThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	in := harness.Start(t)
	id := in.SignUp().Default
	in.Eventually("monitored", func() bool { return in.Monitored(id) })
	begun, err := in.Stores.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: id, At: time.Now(), DeleteAt: time.Now().Add(time.Hour), Owner: "a run that is no more",
	})
	require.NoError(t, err)
	require.Equal(t, storemanager.DeletionScheduled, begun.Outcome)
	report, err := reconcile(in, contract.ModeObserve)
	require.NoError(t, err)
	require.Equal(t, 1, report.Resumed)
	in.Eventually("its lifecycle waits", func() bool {
		registry, lifecycle := deletion(in, id)
		return registry != nil && lifecycle == registry
	})
}

func TestNothingIsStoppedAfterTheRegistryIsLostUntilAnOperatorAgrees(t *testing.T) {
	t.Parallel()
	o := standalone.Options{DataDir: t.TempDir()}
	first := harness.StartWith(t, o, "DELETION_GRACE_PERIOD=5s")
	user := first.SignUp()
	stays, goes := user.Create(), user.Create()
	first.Eventually("monitored", func() bool { return first.Monitored(stays) && first.Monitored(goes) })
	user.Delete(goes)
	first.Eventually("pending", func() bool {
		registry, lifecycle := deletion(first, goes)
		return registry != nil && lifecycle != nil
	})
	first.Stop()
	lose(t, o.DataDir, "stores.db")

	second := harness.StartWith(t, o, "DELETION_GRACE_PERIOD=5s")
	second.Eventually("the list has given back what it has", func() bool { return second.Monitored(user.Default) && second.Monitored(stays) })
	second.Eventually("the lifecycle has put its deletion back", func() bool {
		registry, lifecycle := deletion(second, goes)
		return registry != nil && registry == lifecycle
	})
	health := second.Edge(http.MethodGet, "/health")
	require.Equal(t, http.StatusServiceUnavailable, health.Code)
	require.Contains(t, fmt.Sprint(health.JSON("reasons")), "the registry is new, though one with")
	second.Eventually("the grace period is over, and it is not stopped", func() bool {
		return strings.Contains(second.Edge(http.MethodGet, "/stores/"+goes).Body, "no store is stopped before the loss of the registry is acknowledged")
	})
	require.True(t, second.Monitored(goes))

	r := second.Do(http.MethodPost, second.EdgeURL+"/admin/acknowledge-loss", `{"reason":"the disk was replaced","actor":"ann"}`,
		"Content-Type", "application/json", "Authorization", "Bearer "+standalone.DemoBypassToken)
	require.Less(t, r.Code, 300, r.Body)
	second.Eventually("healthy", func() bool { return second.Edge(http.MethodGet, "/health").Code == http.StatusOK })
	require.Contains(t, second.Logs.String(), "the disk was replaced")
}

func TestADeletionEndsWhenTwoListsHaveTheWorkspaceAgainAndTheNextHasAWholeGracePeriod(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "DELETION_GRACE_PERIOD=1h")
	id := in.SignUp().Default
	in.Eventually("monitored", func() bool { return in.Monitored(id) })
	require.Equal(t, "deletion_scheduled", in.Webhook("workspace.deleted", id, time.Now()).JSON("status"))
	require.Equal(t, http.StatusOK, in.Reconcile().Code)
	shown := in.Edge(http.MethodGet, "/stores/"+id)
	require.NotNil(t, shown.JSON("listedSince"), shown.Body)
	require.Contains(t, shown.Body, "if the next one has it too the deletion ends")
	run := in.Reconcile()
	require.EqualValues(t, 1, run.JSON("result.listedAgain"), run.Body)
	in.Eventually("it has ended", func() bool {
		registry, lifecycle := deletion(in, id)
		return registry == nil && lifecycle == nil
	})
	require.Contains(t, in.Edge(http.MethodGet, "/stores/"+id).Body, "listed again")

	began := time.Now()
	again := in.Webhook("workspace.deleted", id, began)
	require.Equal(t, "deletion_scheduled", again.JSON("status"), again.Body)
	deleteAt, err := time.Parse(time.RFC3339Nano, again.JSON("deleteAt").(string))
	require.NoError(t, err)
	require.False(t, deleteAt.Before(began.Add(time.Hour)), "%s", deleteAt)
}

func TestADeletionGoesOnSoonAfterTheOnlyWorkerIsKilledInItsReCheck(t *testing.T) {
	t.Parallel()
	s := startSplit(t, "DELETION_GRACE_PERIOD=0s", "WEBHOOK_WAIT=30s")
	kill := s.startWorkerProcess(t, "DELETION_GRACE_PERIOD=0s")
	user := s.SignUp()
	id := user.Create()
	s.Eventually("monitored", func() bool { return s.Monitored(id) })
	s.Auth.SetFault(demo.FaultSlow)
	user.Delete(id)
	s.Eventually("the re-check is under way", func() bool {
		desc, err := s.client.DescribeWorkflowExecution(t.Context(), contract.LifecycleID(id), "")
		return err == nil && slices.ContainsFunc(desc.GetPendingActivities(), func(a *workflow.PendingActivityInfo) bool {
			return a.GetActivityType().GetName() == "ConfirmAbsent" && a.GetState() == enums.PENDING_ACTIVITY_STATE_STARTED
		})
	})
	kill()
	s.Auth.SetFault(demo.FaultNone)
	s.startWorker(t)
	s.Eventually("stopped", func() bool { return s.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.status") == "stopped" })
}
