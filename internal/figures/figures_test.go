package figures_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/figures"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"
)

// scraping returns what scrapes the figures.
func scraping(t *testing.T, manager figures.StoreManager, temporal *orchestrator.Client) func() string {
	t.Helper()
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	figures.Register(metrics, manager, temporal)
	return func() string {
		w := httptest.NewRecorder()
		metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		return w.Body.String()
	}
}

func TestMetricsOfReconciliationSayWhetherTheNewestListWasBelieved(t *testing.T) {
	t.Parallel()
	stores := storetest.Open(t, storetest.Settings{})
	scrape := scraping(t, stores, nil)
	at := time.Unix(1_700_000_000, 0)
	record := func(failure, report string) {
		at = at.Add(time.Minute)
		require.NoError(t, stores.RecordReconcile(t.Context(), storemanager.ReconcileRun{
			RunID: at.String(), StartedAt: at, CompletedAt: at, Error: failure, Report: []byte(report),
		}))
	}
	for _, unknown := range []string{"reconcile_implausible", "reconcile_drift", "reconcile_failing", "reconcile_last_success"} {
		require.NotContains(t, scrape(), unknown, "nothing is known of it yet")
	}
	record("", `{"missing":3,"orphaned":1,"firstSightings":1,"quarantinedCount":1,"failedAdds":3,"failedRemovals":1}`)
	body := scrape()
	for _, want := range []string{
		`storekeeper_reconcile_drift{kind="missing"} 3`,
		`storekeeper_reconcile_drift{kind="orphaned"} 2`,
		`storekeeper_reconcile_drift{kind="quarantined"} 1`,
		`storekeeper_reconcile_failing_stores 4`,
		`storekeeper_reconcile_implausible 0`,
		`storekeeper_reconcile_last_success_timestamp_seconds 1.70000006e+09`,
	} {
		require.Contains(t, body, want+"\n")
	}
	for _, step := range []struct{ failure, report, want string }{
		{"the workspace list is damaged: 3 entries where 4 were promised", `{}`, "1"},
		{"the auth worker took too long", `{}`, "1"}, // no list came
		{"", `{}`, "0"},
		{"", `{"guard":"the list is empty"}`, "1"},
		{"", `{}`, "0"},
		{"", `{"guard":"7 removals are too many","guardVerdict":"held"}`, "1"},
		{"the auth worker took too long", `{}`, "1"},
		{"", `{}`, "0"},
		{"the auth worker took too long", `{}`, "0"},
		{"the auth worker answered with status 502: the workspace list is damaged", `{}`, "0"}, // no list came
	} {
		record(step.failure, step.report)
		require.Contains(t, scrape(), "storekeeper_reconcile_implausible "+step.want+"\n", "%+v", step)
	}
	require.Contains(t, scrape(), `storekeeper_reconcile_drift{kind="missing"} 0`+"\n")
	require.Contains(t, scrape(), `storekeeper_reconcile_recorded_runs_total{outcome="failed"} 5`+"\n")
	require.Contains(t, scrape(), fmt.Sprintf("storekeeper_reconcile_last_run_timestamp_seconds %g\n", float64(at.Unix())))
}

func TestFiguresOfTheRegistryArePartsThatMakeAWhole(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	b := storetest.Open(t, storetest.Settings{Now: clock.Now})
	ctx := t.Context()
	for _, id := range []string{"pending", "overdue", "held-and-pinned", "plain", "stopped"} {
		_, err := b.Ensure(ctx, storemanager.EnsureRequest{StoreID: id, At: storetest.At(1)})
		require.NoError(t, err)
	}
	clock.Set(storetest.At(10))
	begin := func(id string, due int) {
		_, err := b.BeginDeletion(ctx, storemanager.DeletionRequest{StoreID: id, At: clock.Now(), DeleteAt: storetest.At(due), Owner: "o"})
		require.NoError(t, err)
	}
	begin("stopped", 20)
	clock.Set(storetest.At(20))
	_, err := b.Stop(ctx, storemanager.StopRequest{StoreID: "stopped", Owner: "o", AbsentAt: clock.Now()})
	require.NoError(t, err)
	begin("overdue", 30)
	clock.Set(storetest.At(1000))
	begin("pending", 9000)
	_, err = b.Hold(ctx, "held-and-pinned", storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a"}})
	require.NoError(t, err)
	require.NoError(t, b.SetPins(ctx, []string{"held-and-pinned"}))
	for i, scope := range []string{"plain", "", "pending"} {
		clock.Set(storetest.At(1001 + i))
		_, err = b.Pause(ctx, storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: scope, Reason: "r", Actor: "a"}})
		require.NoError(t, err)
	}

	body := scraping(t, b, nil)()
	for _, want := range []string{
		`registry_stores{state="monitored"} 4`, `registry_stores{state="tombstone"} 1`,
		`store_deletions{deletion="none"} 2`, `store_deletions{deletion="pending"} 1`, `store_deletions{deletion="overdue"} 1`,
		`stores_held 1`, `stores_pinned 1`, `store_connections{connection="not_configured"} 4`, `store_connections{connection="stuck"} 0`,
		`stores_provisioned_total 5`, `stores_stopped_total 1`,
		`pauses{of="all_stores"} 1`, `pauses{of="store"} 2`,
		fmt.Sprintf(`pause_oldest_timestamp_seconds{of="all_stores"} %g`, float64(storetest.At(1002).Unix())),
		fmt.Sprintf(`pause_oldest_timestamp_seconds{of="store"} %g`, float64(storetest.At(1001).Unix())),
		fmt.Sprintf(`deletion_oldest_timestamp_seconds %g`, float64(storetest.At(20).Unix())),
		fmt.Sprintf(`deletion_due_timestamp_seconds %g`, float64(storetest.At(30).Unix())),
		`store_manager_reachable 1`,
	} {
		require.Contains(t, body, "storekeeper_"+want+"\n")
	}
	require.NotContains(t, body, "temporal_reachable", "this process knows of no Temporal")
	require.NotContains(t, body, `of="schedule"`)
}

func TestARefusedTokenIsCounted(t *testing.T) {
	t.Parallel()
	scrape := scraping(t, refusing{storetest.Open(t, storetest.Settings{})}, nil)
	require.Contains(t, scrape(), "storekeeper_store_manager_reachable 0\n")
	require.Contains(t, scrape(), `storekeeper_token_refusals_total{by="store_manager"} `)
	require.NotContains(t, scrape(), `storekeeper_token_refusals_total{by="store_manager"} 0`)
}

// refusing is a store manager that refuses the token.
type refusing struct{ figures.StoreManager }

func (refusing) Overview(context.Context) (storemanager.Overview, error) {
	return storemanager.Overview{}, fmt.Errorf("overview: %w", storemanager.ErrUnauthorized)
}
