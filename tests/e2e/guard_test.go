package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/sdk/v1"

	"storekeeper/contract"
	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
	"storekeeper/tests/proctest"
)

func TestATrippedGuardShowsEverywhereAndIsReleasedByItsPlanAlone(t *testing.T) {
	t.Parallel()
	sent := &proctest.Log{}
	sentry := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(sent, r.Body) }))
	t.Cleanup(sentry.Close)
	in := harness.Start(t, "DELETION_GRACE_PERIOD=0s", "SENTRY_DSN="+strings.Replace(sentry.URL, "http://", "http://key@", 1)+"/1")
	for range 2 { // or the list would be that of another installation
		known := in.SignUp().Default
		in.Eventually("monitored", func() bool { return in.Monitored(known) })
	}
	listed := in.SignUpSilently()
	for range 12 {
		setMonitored(t, in.Stores, uuid.NewString(), true)
	}
	const metric, holds = "storekeeper_reconcile_guard_tripped ", "holds removals back"
	metrics := func() string { return in.Do(http.MethodGet, in.EdgeURL+"/metrics", "").Body }
	report, err := reconcile(in, "")
	require.NoError(t, err)
	require.Equal(t, 12, report.FirstSightings)
	require.Contains(t, report.Guard, "lacks 12 of 14 stores", "so many are not believed even at first sight")
	require.Empty(t, report.PlanHash, "and there is nothing to approve yet")

	missing := in.SignUpSilently()
	report, err = reconcile(in, "")
	require.NoError(t, err)
	require.Zero(t, report.Removed)
	require.Equal(t, 1, report.Added, "it still adds")
	require.True(t, in.Monitored(missing))
	require.Contains(t, report.Guard, "lacks 12 of 15 stores")
	in.Eventually("/health", func() bool { return strings.Contains(in.Edge(http.MethodGet, "/health").Body, report.Guard) })
	require.Contains(t, metrics(), metric+"1")
	require.Contains(t, in.Logs.String(), `"reconcile guard tripped"`)
	require.Contains(t, in.Logs.String(), report.PlanHash)
	in.Eventually("Sentry", func() bool { return strings.Contains(sent.String(), holds) })
	value, err := in.Temporal.QueryWorkflow(t.Context(), contract.ReconcileID, "", "__temporal_workflow_metadata")
	require.NoError(t, err)
	var shown sdk.WorkflowMetadata
	require.NoError(t, value.Get(&shown))
	require.Contains(t, shown.GetCurrentDetails(), holds, "the Temporal Web UI")
	require.Contains(t, shown.GetCurrentDetails(), report.Guard)

	again, err := reconcile(in, "")
	require.NoError(t, err)
	require.Contains(t, again.Guard, "lacks 12 of 16 stores", "no later run gets past it")
	require.Contains(t, in.Edge(http.MethodGet, "/health").Body, "the guard holds back removals since")
	require.Equal(t, report.PlanHash, again.PlanHash)
	removed, hash := 0, again.PlanHash
	for removed < 12 {
		approved := reconcileInput
		approved.ApprovedPlan = hash
		run, err := in.Orchestrator.JoinReconcile(t.Context(), approved)
		require.NoError(t, err)
		released, err := run.Wait(t.Context())
		require.NoError(t, err)
		if removed += released.Removed; released.FailedRemovals > 0 { // Temporal was slow: what is left is another plan
			rest, err := reconcile(in, "")
			require.NoError(t, err)
			removed, hash = removed+rest.Removed, rest.PlanHash
		}
	}
	require.Contains(t, metrics(), metric+"0")
	in.Eventually("the orphans go", func() bool { return len(monitored(t, in.Stores)) == 4 })
	require.True(t, in.Monitored(listed) && in.Monitored(missing))
}

func TestAFirstSightingSurvivesTheRestartOfWorkerAndStoreManager(t *testing.T) {
	t.Parallel()
	o := standalone.Options{DataDir: t.TempDir()}
	first := harness.StartWith(t, o)
	listed, orphan := first.SignUpSilently(), uuid.NewString()
	setMonitored(t, first.Stores, orphan, true)
	report, err := reconcile(first, "")
	require.NoError(t, err)
	require.Equal(t, 1, report.FirstSightings)
	require.Zero(t, report.Removed)
	sighted := monitored(t, first.Stores)[orphan].UnlistedSince
	require.NotNil(t, sighted)
	first.Stop()

	second := harness.StartWith(t, o)
	// Not one of the run that the edge has asked for at its start.
	require.Equal(t, sighted, monitored(t, second.Stores)[orphan].UnlistedSince)
	report, err = reconcile(second, "")
	require.NoError(t, err)
	require.Zero(t, report.FirstSightings, "it was sighted before the restart")
	require.Equal(t, 1, report.Removed)
	second.Eventually("its grace period runs", func() bool { return second.Edge(http.MethodGet, "/stores/"+orphan).JSON("deletion") != nil })
	require.True(t, second.Monitored(listed))
}
