package status

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// nodeServers are the names in the answers of a Node multi-store server (docs/contracts/multi-store-server.md), which dashboards read.
var nodeServers = map[string][]string{
	"/stores": {
		"stores.id", "stores.status", "stores.connectedAt", "stores.lastConnectedAt", "stores.lastDisconnectedAt", "stores.statusHistory",
		"stores.lastActivity", "stores.errorCount", "stores.reconnectAttempts", "stores.networkStatus.isConnected",
		"stores.orchestrator.storeId", "stores.orchestrator.status", "stores.orchestrator.firstMonitoredAt", "stores.orchestrator.lastEnsuredAt",
		"stores.orchestrator.lastStoppedAt", "manualReconcile",
	},
	"/health": {"status"},
}

// nodeServersBoth are in both answers.
var nodeServersBoth = []string{
	"orchestrator.monitoredStoreIds", "orchestrator.lastProvisionedAt", "orchestrator.lastDeprovisionedAt", "orchestrator.totalProvisioned",
	"orchestrator.totalDeprovisioned", "orchestrator.stores",
	"reconciliation.enabled", "reconciliation.intervalMs", "reconciliation.isRunning", "reconciliation.lastRunStartedAt",
	"reconciliation.lastRunCompletedAt", "reconciliation.lastSuccessAt", "reconciliation.lastDurationMs",
	"reconciliation.totals.runs", "reconciliation.totals.successes", "reconciliation.totals.failures",
	"reconciliation.lastResult.added", "reconciliation.lastResult.removed", "reconciliation.lastResult.failedAdds",
	"reconciliation.lastResult.failedRemovals", "reconciliation.lastResult.authoritativeCount", "reconciliation.lastResult.monitoredCount",
	"reconciliation.lastResult.driftCount", "reconciliation.lastError.timestamp", "reconciliation.lastError.message",
}

func TestDashboardsOfTheNodeServerFindTheirNames(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/contracts/multi-store-server.md")
	require.NoError(t, err)
	f := setup(t)
	f.Ensure(t, "store-1")
	f.Record(t, "run-1", "", contract.ReconcileReport{CompletedAt: f.started})
	f.Record(t, "run-2", "it failed", contract.ReconcileReport{CompletedAt: f.started})
	for path, names := range nodeServers {
		answer := f.Get(t, path).JSON(t)
		for _, name := range append(names, nodeServersBoth...) {
			parts := strings.Split(name, ".")
			require.Contains(t, string(page), parts[len(parts)-1], "the contract knows it")
			var at any = answer
			for _, part := range parts {
				if list, ok := at.([]any); ok {
					at = list[0]
				}
				require.Contains(t, at, part, "%s of %s", name, path)
				at = at.(map[string]any)[part]
			}
		}
	}
}

func TestAPageOfStoresSaysThatItIsOneAndHowManyThereAre(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Ensure(t, "store-1", "store-2", "store-3")
	_, err := f.Registry.Hold(t.Context(), "store-2", storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "audit", Actor: "bob"}})
	require.NoError(t, err)

	first := f.Get(t, "/stores?limit=2&state=not_configured")
	got := first.JSON(t)
	require.Equal(t, []any{2.0, 3.0, "store-2"}, []any{got["count"], got["total"], got["nextCursor"]})
	require.Equal(t, "/stores?cursor=store-2&limit=2&state=not_configured", got["next"], "it asks for the same")
	require.Equal(t, `</stores?cursor=store-2&limit=2&state=not_configured>; rel="next"`, first.Header.Get("Link"))
	last := f.Get(t, got["next"].(string))
	got = last.JSON(t)
	require.Equal(t, []any{1.0, 3.0}, []any{got["count"], got["total"]})
	require.NotContains(t, got, "next")
	require.NotContains(t, got, "nextCursor")
	require.Empty(t, last.Header.Get("Link"))

	for query, total := range map[string]any{
		"": 3.0, "?state=held": 1.0, "?state=pinned": 0.0, "?state=deletion_pending": 0.0, "?state=connected": 0.0, "?state=held,pinned": nil,
	} {
		require.Equal(t, total, f.Get(t, "/stores"+query).JSON(t)["total"], query)
	}
}
