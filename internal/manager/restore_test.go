package manager_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/backup"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/manager"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/tests/proctest"
)

// running runs the store manager as its command does, until stop is called, and returns a client of it.
func running(t *testing.T, dir string, restore manager.Restore, log *zap.Logger) (c *storehttp.Client, stop func()) {
	t.Helper()
	address, err := proctest.FreeAddress(t.Context())
	require.NoError(t, err)
	p := newProcess(t, log, "STORE_DATA_PATH="+dir, "STORE_MANAGER_LISTEN="+address)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- manager.Run(ctx, p, restore) }()
	c, err = storehttp.NewClient("http://"+address, httpclient.Fixed("the-token"), nil)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	require.Eventually(t, func() bool {
		select {
		case err := <-ended:
			require.NoError(t, err)
		default:
		}
		return c.Ping(t.Context()) == nil
	}, time.Minute, 10*time.Millisecond)
	return c, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func TestAStoreManagerApartIsBackedUpAndRestored(t *testing.T) {
	t.Parallel()
	data, saved := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	c, stop := running(t, data, manager.Restore{}, zap.NewNop())
	ensure := func(id string) {
		_, err := c.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: time.Now()})
		require.NoError(t, err)
	}
	ensure("before")
	archive, err := c.Backup(t.Context())
	require.NoError(t, err)
	manifest, err := backup.Receive(t.Context(), archive, saved, func(int64, int64) {})
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	require.Contains(t, manifest.Without[0], "pg_dump")
	ensure("after")

	p := newProcess(t, zap.NewNop(), "STORE_DATA_PATH="+data)
	require.ErrorContains(t, manager.Run(t.Context(), p, manager.Restore{From: saved, SetAside: true}), "another process has")
	stop()
	require.ErrorContains(t, manager.Run(t.Context(), p, manager.Restore{From: saved}), "add --set-aside")
	require.ErrorContains(t, manager.Run(t.Context(), p, manager.Restore{SetAside: true}), "--set-aside is for --restore")

	core, logs := observer.New(zap.WarnLevel)
	c, stop = running(t, data, manager.Restore{From: saved, SetAside: true}, zap.New(core))
	defer stop()
	require.Equal(t, 1, logs.FilterMessageSnippet("a backup was restored").Len())
	o, err := c.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, o.Monitored)
	require.NotNil(t, o.Loss())
	_, err = c.Get(t.Context(), "after")
	require.ErrorIs(t, err, storemanager.ErrNotFound)
}
