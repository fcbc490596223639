package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/storemanager"
)

func TestALossIsAcknowledgedAtTheEdge(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.WarnLevel)
	lost := lostRegistry(t, zap.New(core))
	requireLost := func(want bool) {
		t.Helper()
		o, err := lost.Overview(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, o.Loss() != nil)
	}
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, lost))
	for _, args := range [][]string{{"acknowledge"}, {"acknowledge", "--reason", " "}, {"acknowledge", "ws-1", "--reason", "r"}} {
		require.Equal(t, exitUsage, c.run(t, args...).exit, args)
	}
	requireLost(true)
	out := c.run(t, "acknowledge", "--reason", "the disk was replaced")
	require.Equal(t, exitDone, out.exit, out.stderr)
	require.Contains(t, out.stdout, "acknowledged")
	requireLost(false)
	said := logs.FilterMessageSnippet("is acknowledged").All()
	require.Len(t, said, 1)
	require.Equal(t, map[string]any{"actor": "ann", "reason": "the disk was replaced"}, said[0].ContextMap())
	require.JSONEq(t, `{"status":"acknowledged"}`, c.run(t, "acknowledge", "--reason", "again", "--actor", "bob", "--json").stdout)

	older := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	require.Equal(t, exitUnreachable, setup(t, "STOREKEEPER_URL="+older).run(t, "acknowledge", "--reason", "r").exit)
}

// lostRegistry is a new one where another one was.
func lostRegistry(t *testing.T, log *zap.Logger) *storemanager.TestStores {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stores.db")
	before := storemanager.Open(t, storemanager.Settings{Path: path})
	_, err := before.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "ws-1", At: time.Now()})
	require.NoError(t, err)
	require.NoError(t, before.Close())
	require.NoError(t, os.Remove(path))
	return storemanager.Open(t, storemanager.Settings{Path: path, Logger: log})
}
