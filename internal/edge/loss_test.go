package edge

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// lose is a registry that had a store and was deleted.
func lose(t *testing.T) *storetest.Stores {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stores.db")
	open := func() *storetest.Stores {
		r, err := storetest.TryOpen(t.Context(), storetest.Settings{Path: path})
		require.NoError(t, err)
		return r
	}
	r := open()
	_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storeA, At: time.Now()})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, os.Remove(path))
	r = open()
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func TestHealthFailsUntilALossIsAcknowledged(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.shared = lose(t) })
	resp := f.do(t, http.MethodGet, "/health", "")
	require.Equal(t, 503, resp.status)
	reasons := resp.json(t)["reasons"].([]any)
	require.Len(t, reasons, 1)
	require.Contains(t, reasons[0], "registry: it was lost")
	require.Contains(t, reasons[0], "the registry is new, though one with 1 changes was here")
	require.Empty(t, resp.json(t)["warnings"])

	for name, body := range map[string]string{
		"no JSON": "known", "no reason": `{"actor":"ann","reason":" "}`, "no actor": `{"reason":"known"}`, "a misspelt one": `{"reason":"known","aktor":"ann"}`,
	} {
		require.Equal(t, 400, f.ask(t, http.MethodPost, "/admin/acknowledge-loss", body).status, name)
	}
	require.Equal(t, 401, f.do(t, http.MethodPost, "/admin/acknowledge-loss", `{"reason":"known","actor":"ann"}`).status)
	require.Equal(t, 503, f.do(t, http.MethodGet, "/health", "").status)

	for range 2 { // the second time nothing is lost
		require.Equal(t, 204, f.ask(t, http.MethodPost, "/admin/acknowledge-loss", `{"reason":"known","actor":"ann"}`).status)
	}
	require.Eventually(t, func() bool { return f.do(t, http.MethodGet, "/health", "").status == 200 }, time.Minute, 10*time.Millisecond)
	require.Contains(t, f.log.String(), `"actor":"ann"`)

	require.NoError(t, f.registry.Close())
	require.Equal(t, 503, f.ask(t, http.MethodPost, "/admin/acknowledge-loss", `{"reason":"known","actor":"ann"}`).status)
}

// restarting is a store manager that can be replaced by another.
type restarting struct {
	Stores
	mu      sync.Mutex
	current Stores
}

func (r *restarting) set(s Stores) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = s
}

func (r *restarting) Overview(ctx context.Context) (storemanager.Overview, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.Overview(ctx)
}

func TestRunRequestsAReconcileWhenTheStoreManagerComesBackWithoutItsRegistry(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.outagePoll = time.Millisecond
	manager := &restarting{Stores: f.registry, current: f.registry}
	f.stores = manager
	_, stop := f.run(t)
	edgeRequest(t, f) // of the start

	f.temporal.set(func(o *fakeOrchestrator) { o.down = true })
	manager.set(lose(t))
	f.temporal.set(func(o *fakeOrchestrator) { o.down = false })
	edgeRequest(t, f)
	stop()
	require.Empty(t, f.temporal.requested, "once")
}
