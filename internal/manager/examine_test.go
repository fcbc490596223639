package manager_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/demo"
	"storekeeper/internal/manager"
	"storekeeper/internal/storemanager"
)

// examined are the findings of a store manager with these settings, by their checks, asked for over its API.
func examined(t *testing.T, damage func(path string, stores *manager.Manager), settings ...string) map[string]storemanager.Finding {
	t.Helper()
	p := newProcess(t, zap.NewNop(), settings...)
	path := filepath.Join(t.TempDir(), "stores.db")
	stores, err := manager.Open(t.Context(), p, path)
	require.NoError(t, err)
	t.Cleanup(stores.Close)
	if damage != nil {
		damage(path, stores)
	}
	e, err := serve(t, p, stores).Examine(t.Context())
	require.NoError(t, err)
	require.False(t, e.Time.IsZero())
	found := map[string]storemanager.Finding{}
	for _, f := range e.Findings {
		require.Equal(t, "store manager", f.Place)
		require.NotContains(t, f.Detail+f.Todo, "the-token")
		found[f.Check] = f
	}
	return found
}

func requireFinding(t *testing.T, f storemanager.Finding, detail, todo string) {
	t.Helper()
	require.Equal(t, storemanager.FindingFailed, f.Status, f)
	require.Contains(t, f.Detail, detail)
	require.Contains(t, f.Todo, todo)
}

func TestAStoreManagerWithoutFaultFindsNone(t *testing.T) {
	t.Parallel()
	backend, err := demo.StartSyncBackend(t.Context(), demo.SyncBackendOptions{Token: "the-token"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Stop(context.Background()) })
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			t.Error("the sink got a " + r.Method)
		}
		w.WriteHeader(http.StatusMethodNotAllowed)
	}))
	t.Cleanup(sink.Close)
	found := examined(t, nil, "LIVESTORE_SYNC_URL="+backend.URL(), "EVENT_SINK_URL="+sink.URL, "EVENT_SINK_SECRET=whsec_"+strings.Repeat("QUJD", 8))
	require.Len(t, found, 5)
	for _, f := range found {
		require.Equal(t, storemanager.FindingOK, f.Status, f)
	}
}

func TestEachFaultOfAStoreManagerIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	backend, err := demo.StartSyncBackend(t.Context(), demo.SyncBackendOptions{Token: "another-token"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Stop(context.Background()) })
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(sink.Close)
	secret := "EVENT_SINK_SECRET=whsec_" + strings.Repeat("QUJD", 8)

	found := examined(t, func(path string, _ *manager.Manager) { require.NoError(t, os.Chmod(path, 0o644)) })
	requireFinding(t, found["files"], "stores.db (-rw-r--r--)", "chmod go-rwx")
	requireFinding(t, found["sync backend"], "no sync backend", "set LIVESTORE_SYNC_URL")
	require.Equal(t, storemanager.FindingOK, found["sink"].Status, "there need be none")

	found = examined(t, nil, "LIVESTORE_SYNC_URL="+backend.URL(), "EVENT_SINK_URL="+sink.URL, secret)
	requireFinding(t, found["sync backend"], "", "SERVER_BYPASS_TOKEN of the store manager must be the sync backend's")
	requireFinding(t, found["sink"], "502 Bad Gateway", "look at the sink")

	found = examined(t, nil, "LIVESTORE_SYNC_URL=ws://127.0.0.1:1", "EVENT_SINK_URL=http://127.0.0.1:1", secret)
	requireFinding(t, found["sync backend"], "", "check LIVESTORE_SYNC_URL")
	requireFinding(t, found["sink"], "can't be reached", "check EVENT_SINK_URL")

	found = examined(t, nil, "STORE_MANAGER_KIND=node", "NODE_SERVER_URL=http://127.0.0.1:1", "NODE_SERVER_WEBHOOK_SECRET=s")
	requireFinding(t, found["registry"], "", "NODE_SERVER_URL")
	require.Equal(t, storemanager.FindingOK, found["sync backend"].Status, "the Node server has its own")
}

func TestARegistryThatWasLostIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	p, path := newProcess(t, zap.NewNop()), filepath.Join(t.TempDir(), "stores.db")
	stores, err := manager.Open(t.Context(), p, path)
	require.NoError(t, err)
	_, err = stores.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "ws-1", At: time.Now()})
	require.NoError(t, err)
	stores.Close()
	require.NoError(t, os.Remove(path))
	stores, err = manager.Open(t.Context(), newProcess(t, zap.NewNop()), path)
	require.NoError(t, err)
	t.Cleanup(stores.Close)
	e, err := stores.Examine(t.Context())
	require.NoError(t, err)
	requireFinding(t, e.Findings[0], "it was lost", "starter acknowledge")
}
