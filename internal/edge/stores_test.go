package edge

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

func TestWhatShowsIDsOrActsWantsTheToken(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.temporal.run = finished(contract.ReconcileReport{}, nil) })
	f.ensure(t, storeA)
	for _, target := range [][2]string{
		{http.MethodGet, "/stores"},
		{http.MethodGet, "/stores/" + storeA},
		{http.MethodPost, "/admin/reconcile"},
		{http.MethodGet, "/admin/reconcile/runs"},
		{http.MethodPut, "/admin/pause"},
		{http.MethodDelete, "/admin/pause"},
		{http.MethodPut, "/stores/" + storeA + "/pause"},
		{http.MethodDelete, "/stores/" + storeA + "/pause"},
	} {
		for name, headers := range map[string][]string{
			"none":            {},
			"a wrong one":     {"Authorization", "Bearer wrong"},
			"an empty one":    {"Authorization", "Bearer "},
			"another scheme":  {"Authorization", "Basic " + token},
			"without scheme":  {"Authorization", token},
			"a wrong server":  {"X-Server-Token", "wrong"},
			"the webhook's":   {"X-Server-Token", secret},
			"in another name": {"X-Webhook-Secret", token},
		} {
			resp := f.do(t, target[0], target[1], "", headers...)
			require.Equal(t, 401, resp.status, "%v with %s", target, name)
			requireError(t, resp, "Unauthorized")
		}
	}
	for _, headers := range [][]string{
		{"Authorization", "Bearer " + token},
		{"Authorization", "bearer " + token},
		{"X-Server-Token", token},
	} {
		require.Equal(t, 200, f.do(t, http.MethodGet, "/stores", "", headers...).status, headers[0])
	}
}

func TestStoresComeInPages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.ensure(t, "store-1", "store-2", "store-3")
	var ids []string
	path := "/stores?limit=2"
	for range 2 {
		got := f.get(t, path).json(t)
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
		resp := f.get(t, "/stores?limit="+limit)
		require.Equal(t, 400, resp.status, limit)
		requireError(t, resp, "limit must be a whole number from 1 to 1000")
	}
	resp := f.get(t, "/stores?cursor=..%2F..")
	require.Equal(t, 400, resp.status)
	requireError(t, resp, "cursor must be the nextCursor of the page before")
}

func TestAStoreIsShownAsItIs(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.ensure(t, storeA)
	_, err := f.registry.Hold(t.Context(), storeA, storemanager.Hold{Reason: "customer asked", Actor: "ops"})
	require.NoError(t, err)
	got := f.get(t, "/stores").json(t)["stores"].([]any)[0].(map[string]any)
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
	f.ensure(t, storeA)
	got := f.get(t, "/stores/"+storeA).json(t)
	require.Equal(t, "monitored", got["state"])
	require.Contains(t, got, "lifecycle")
	require.Nil(t, got["lifecycle"], "nothing is under way")
	require.NotContains(t, got, "lifecycleError")

	f.temporal.lifecycle = &contract.LifecycleStatus{InstanceID: storeA, State: contract.StateDeletionPending}
	got = f.get(t, "/stores/"+storeA).json(t)
	require.Equal(t, "deletion_pending", got["lifecycle"].(map[string]any)["state"])

	f.temporal.lifecycle = nil
	f.temporal.set(func(o *fakeOrchestrator) { o.down = true })
	resp := f.get(t, "/stores/"+storeA)
	require.Equal(t, 200, resp.status, "what the registry knows is shown all the same")
	require.Equal(t, "Temporal or its workers can't be reached", resp.json(t)["lifecycleError"])
}

func TestAStoppedStoreIsShownAsATombstone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	_, err := f.registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: storeA, At: time.Now(), DeleteAt: time.Now(), Owner: "run",
	})
	require.NoError(t, err)
	got := f.get(t, "/stores/"+storeA).json(t)
	require.Equal(t, "stopped", got["state"])
	require.Equal(t, "stopped", got["orchestrator"].(map[string]any)["status"])
}

func TestADeletionThatIsDueSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.auth.err = errDown })
	f.ensure(t, storeA)
	_, err := f.registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
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
	require.Equal(t, 404, f.get(t, "/stores/never-seen").status)
	for _, id := range []string{"ab", "a%20b", "..%2F..", "-abc"} {
		require.Equal(t, 400, f.get(t, "/stores/"+id).status, id)
	}
	require.NoError(t, f.registry.Close())
	for _, path := range []string{"/stores", "/stores/never-seen"} {
		resp := f.get(t, path)
		require.Equal(t, 503, resp.status)
		require.Equal(t, "5", resp.header.Get("Retry-After"))
		requireError(t, resp, "The store manager can't be asked")
	}
}
