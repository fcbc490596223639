package storehttp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/backup"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/storemanager/storetest"
)

func TestTheRegistryIsBackedUpOverHTTP(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	b.MustEnsure(t, 1)
	m := &backup.Maker{Dir: filepath.Dir(b.Path), Sources: []backup.Source{{Name: backup.Registry, Path: b.Path, Copy: b.Registry.Driver.(*sqlite.Database).CopyTo}}}
	client := func(o storehttp.Options, token string) *storehttp.Client {
		o.Manager, o.Memory, o.Tokens = b.Registry, b.Registry, httpserver.FixedTokens(storetest.Token)
		server := httptest.NewServer(storetest.Documented(t, storehttp.Handler(o)))
		t.Cleanup(server.Close)
		c, err := storehttp.NewClient(server.URL, httpclient.Fixed(token), nil)
		require.NoError(t, err)
		return c
	}
	c := client(storehttp.Options{Backup: m.Make}, storetest.Token)
	archive, err := c.Backup(t.Context())
	require.NoError(t, err)
	dir := t.TempDir()
	manifest, err := backup.Receive(t.Context(), archive, dir, func(int64, int64) {})
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	require.EqualValues(t, 1, manifest.Files[0].Rows["monitored"])
	restored := storetest.Open(t, storetest.Settings{Path: filepath.Join(dir, backup.Registry)})
	got, err := restored.Get(t.Context(), storetest.ID)
	require.NoError(t, err)
	require.Equal(t, b.MustGet(t).EventAt, got.EventAt)

	_, err = client(storehttp.Options{Backup: m.Make}, "another token").Backup(t.Context())
	require.ErrorIs(t, err, storemanager.ErrUnauthorized)
	_, err = client(storehttp.Options{}, storetest.Token).Backup(t.Context())
	require.ErrorContains(t, err, "makes no backups")
	_, err = client(storehttp.Options{Backup: (&backup.Maker{}).Make}, storetest.Token).Backup(t.Context())
	require.ErrorIs(t, err, backup.ErrNothingOnDisk)
	require.Eventually(t, func() bool { // the answer that was read ends a little later at the server
		first, err := m.Make(t.Context())
		if err != nil {
			return false
		}
		_, err = c.Backup(t.Context())
		require.ErrorIs(t, err, backup.ErrUnderWay)
		require.NoError(t, first.Close())
		return true
	}, time.Minute, time.Millisecond)
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(stranger.Close)
	c, err = storehttp.NewClient(stranger.URL, httpclient.Fixed("token"), nil)
	require.NoError(t, err)
	_, err = c.Backup(t.Context())
	require.ErrorContains(t, err, "the answer is no backup")
	entries, err := os.ReadDir(filepath.Dir(b.Path))
	require.NoError(t, err)
	for _, e := range entries {
		require.False(t, e.IsDir(), e.Name())
	}
}
