package status

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/storemanager"
)

func TestStoresComeInPages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Ensure(t, "store-1", "store-2", "store-3")
	var ids []string
	path := "/stores?limit=2"
	for range 2 {
		got := f.Get(t, path).JSON(t)
		for _, st := range got["stores"].([]any) {
			ids = append(ids, st.(map[string]any)["id"].(string))
		}
		require.Len(t, got["orchestrator"].(map[string]any)["monitoredStoreIds"], len(got["stores"].([]any)))
		require.Contains(t, got, "reconciliation")
		require.Contains(t, got, "manualReconcile")
		next, _ := got["nextCursor"].(string)
		path = "/stores?limit=2&cursor=" + next
	}
	require.Equal(t, []string{"store-1", "store-2", "store-3"}, ids)
	require.Equal(t, "/stores?limit=2&cursor=", path, "the last page has no nextCursor")
}

func TestStoresRefusesBadPages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, limit := range []string{"0", "-1", "1001", "ten", "1.5"} {
		resp := f.Get(t, "/stores?limit="+limit)
		require.Equal(t, 400, resp.Status, limit)
		edgetest.RequireError(t, resp, "limit must be a whole number from 1 to 1000")
	}
	resp := f.Get(t, "/stores?cursor=..%2F..")
	require.Equal(t, 400, resp.Status)
	edgetest.RequireError(t, resp, "cursor must be the nextCursor of the page before")
}

func TestAStoreIsShownAsItIs(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Ensure(t, storeA)
	_, err := f.Registry.Hold(t.Context(), storeA, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "customer asked", Actor: "ops"}})
	require.NoError(t, err)
	got := f.Get(t, "/stores").JSON(t)["stores"].([]any)[0].(map[string]any)
	require.Equal(t, "not_configured", got["status"])
	for _, never := range []string{"connectedAt", "lastConnectedAt", "lastDisconnectedAt", "lastActivity"} {
		require.Contains(t, got, never)
		require.Nil(t, got[never], never)
	}
	require.Equal(t, []any{}, got["statusHistory"])
	require.Equal(t, map[string]any{"isConnected": false}, got["networkStatus"])
	require.InDelta(t, 0, got["errorCount"], 0)
	require.InDelta(t, 0, got["reconnectAttempts"], 0)
	require.Equal(t, false, got["pinned"])
	require.Equal(t, "customer asked", got["hold"].(map[string]any)["reason"])
	orchestrated := got["orchestrator"].(map[string]any)
	require.Equal(t, storeA, orchestrated["storeId"])
	require.Equal(t, "monitoring", orchestrated["status"])
	require.NotNil(t, orchestrated["firstMonitoredAt"])
	require.Nil(t, orchestrated["lastStoppedAt"])
}

func TestOneStoreIsShownWithWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Ensure(t, storeA)
	got := f.Get(t, "/stores/"+storeA).JSON(t)
	require.Equal(t, "monitored", got["state"])
	require.Contains(t, got, "lifecycle")
	require.Nil(t, got["lifecycle"], "nothing is under way")
	require.NotContains(t, got, "lifecycleError")

	f.Temporal.Lifecycle = &contract.LifecycleStatus{InstanceID: storeA, State: contract.StateDeletionPending}
	got = f.Get(t, "/stores/"+storeA).JSON(t)
	require.Equal(t, "deletion_pending", got["lifecycle"].(map[string]any)["state"])

	f.Temporal.Lifecycle = nil
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = true })
	resp := f.Get(t, "/stores/"+storeA)
	require.Equal(t, 200, resp.Status, "what the registry knows is shown all the same")
	require.Equal(t, "Temporal or its workers can't be reached", resp.JSON(t)["lifecycleError"])
}

func TestAStoppedStoreIsShownAsATombstone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	_, err := f.Registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: storeA, At: time.Now(), DeleteAt: time.Now(), Owner: "run",
	})
	require.NoError(t, err)
	got := f.Get(t, "/stores/"+storeA).JSON(t)
	require.Equal(t, "stopped", got["state"])
	require.Equal(t, "stopped", got["orchestrator"].(map[string]any)["status"])
}

func TestADeletionThatIsDueSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Auth.Err = edgetest.ErrDown })
	f.Ensure(t, storeA)
	_, err := f.Registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: storeA, At: time.Now(), DeleteAt: time.Now().Add(50 * time.Millisecond), Owner: "run",
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return f.condition(t, api.ConditionDeletionPending)["reason"] == "Recheck"
	}, 5*time.Second, 20*time.Millisecond)
	due := f.condition(t, api.ConditionDeletionPending)
	require.Nil(t, due["nextAttempt"])
	require.Contains(t, due["message"], "the re-check waits: the Auth Worker can't be reached")
	require.Equal(t, true, f.condition(t, api.ConditionDrifted)["unknown"])
}

func TestAStoreThatIsNotThereIsSaidSo(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Equal(t, 404, f.Get(t, "/stores/never-seen").Status)
	for _, id := range []string{"ab", "a%20b", "..%2F..", "-abc"} {
		require.Equal(t, 400, f.Get(t, "/stores/"+id).Status, id)
	}
	require.NoError(t, f.Registry.Close())
	for _, path := range []string{"/stores", "/stores/never-seen"} {
		resp := f.Get(t, path)
		require.Equal(t, 503, resp.Status)
		require.Equal(t, "5", resp.Header.Get("Retry-After"))
		edgetest.RequireError(t, resp, "The store manager can't be asked")
	}
}
