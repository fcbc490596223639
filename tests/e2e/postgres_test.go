package e2e_test

import (
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/postgrestest"
	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
)

func TestOnPostgreSQLADeletionAndTheScheduleGoOnAfterTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	cluster := postgrestest.Start(t, "fsync=off")
	dir, settings := t.TempDir(), []string{"DELETION_GRACE_PERIOD=6s", "TEMPORAL_DB=" + cluster.URL("temporal"), "WORKSPACE_RECONCILE_INTERVAL_MS=1000"}
	first := startChild(t, dir, settings...)
	user := first.SignUp()
	id := user.Create()
	first.Eventually("monitored", func() bool { return first.Monitored(id) })
	user.Delete(id)
	first.Eventually("pending", func() bool { return first.Edge(http.MethodGet, "/stores/"+id).JSON("deletion") != nil })
	deleteAt, err := time.Parse(time.RFC3339, first.Edge(http.MethodGet, "/stores/"+id).JSON("deletion.deleteAt").(string))
	require.NoError(t, err)
	first.kill()

	second := startChild(t, dir, settings...)
	had := second.scheduledRuns()
	second.Eventually("stopped", func() bool {
		return second.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.status") == "stopped"
	})
	stopped, err := time.Parse(time.RFC3339, second.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.lastStoppedAt").(string))
	require.NoError(t, err)
	require.False(t, stopped.Before(deleteAt), "stopped at %s, the grace period ended at %s", stopped, deleteAt)
	second.Eventually("a scheduled run has succeeded again", func() bool { return second.scheduledRuns() > had+1 })
}

// scheduledRuns counts the runs that the schedule has started and that have succeeded.
func (c *child) scheduledRuns() (n int) {
	runs, _ := c.Edge(http.MethodGet, "/admin/reconcile/runs").JSON("runs").([]any)
	for _, run := range runs {
		r, _ := run.(map[string]any)
		report, _ := r["report"].(map[string]any)
		if report["trigger"] == contract.TriggerSchedule && r["error"] == nil {
			n++
		}
	}
	return n
}

func TestWhilePostgreSQLIsAwayEventsAreRefusedAtOnceAndAReconcileFollowsItsReturn(t *testing.T) {
	t.Parallel()
	cluster := postgrestest.Start(t, "fsync=off")
	in := harness.StartWith(t, standalone.Options{DataDir: t.TempDir()}, "TEMPORAL_DB="+cluster.URL("temporal"), "WEBHOOK_WAIT=30s")
	before := in.SignUp().Default
	in.Eventually("monitored", func() bool { return in.Monitored(before) })

	cluster.Stop()
	in.Eventually("health says so", func() bool {
		r := in.Edge(http.MethodGet, "/health")
		return r.Code == http.StatusServiceUnavailable && r.JSON("checks.temporal.error") == "Temporal can't use its database"
	})
	require.Equal(t, http.StatusServiceUnavailable, in.Do(http.MethodGet, in.EdgeURL+"/readyz", "").Code)
	id := in.SignUpSilently()
	began := time.Now()
	r := in.Webhook("workspace.created", id, time.Now())
	require.Equal(t, http.StatusServiceUnavailable, r.Code, r.Body)
	require.NotEmpty(t, r.Header.Get("Retry-After"))
	require.Less(t, time.Since(began), 10*time.Second, "it does not wait for what can't come")
	require.True(t, in.Monitored(before), "what is monitored stays so")

	require.NoError(t, cluster.Start(t.Context()))
	in.Eventually("the refused workspace is found without anybody asking", func() bool { return in.Monitored(id) })
	in.Eventually("healthy", func() bool { return in.Edge(http.MethodGet, "/health").Code == http.StatusOK })
	other := uuid.NewString()
	require.Equal(t, http.StatusOK, in.Webhook("workspace.created", other, time.Now()).Code)
	require.NotContains(t, in.Logs.String(), "only for tests")
}

func TestAnInstallationEndsWhenItsPostgreSQLIsNoLongerItsOwn(t *testing.T) {
	t.Parallel()
	cluster := postgrestest.Start(t, "fsync=off")
	c := startChild(t, t.TempDir(), "TEMPORAL_DB="+cluster.URL("temporal"))
	require.NoError(t, cluster.Exec(t.Context(), "temporal", "UPDATE schema_version SET curr_version = '1.18'",
		"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
	late := time.AfterFunc(harness.Patience, func() { _ = c.process.Process.Kill() }) // which is no exit code
	defer late.Stop()
	var exit *exec.ExitError
	require.ErrorAs(t, c.process.Wait(), &exit)
	require.Equal(t, 1, exit.ExitCode(), exit.String())
}
