package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/backup"
)

// oneFile makes backups of a file.
func oneFile(t *testing.T) *backup.Maker {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, backup.Registry)
	require.NoError(t, os.WriteFile(path, []byte("registry"), 0o600))
	return &backup.Maker{Dir: dir, Version: "v1", Sources: []backup.Source{{Name: backup.Registry, Path: path, Copy: func(_ context.Context, to string) (backup.Contents, error) {
		return backup.Contents{}, os.WriteFile(to, []byte("registry"), 0o600)
	}}}}
}

func TestABackupIsForThoseWhoBringTheToken(t *testing.T) {
	t.Parallel()
	m := oneFile(t)
	f := setup(t, func(f *fixture) { f.backup = m.Make })
	require.Equal(t, http.StatusUnauthorized, f.Do(t, http.MethodPost, "/admin/backup", "").Status)
	r := f.Ask(t, http.MethodPost, "/admin/backup", "")
	require.Equal(t, http.StatusOK, r.Status, r.Body)
	require.Equal(t, backup.MediaType, r.Header.Get("Content-Type"))
	dir := t.TempDir()
	_, err := backup.Receive(t.Context(), strings.NewReader(r.Body), dir, func(int64, int64) {})
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, backup.Registry))

	archive, err := m.Make(t.Context())
	require.NoError(t, err, "the copies of the one before are gone")
	busy := f.Ask(t, http.MethodPost, "/admin/backup", "")
	require.Equal(t, http.StatusConflict, busy.Status)
	require.Contains(t, busy.Body, "another backup is under way")
	require.NoError(t, archive.Close())
}

func TestWhyThereIsNoBackupIsSaid(t *testing.T) {
	t.Parallel()
	for said, tt := range map[string]struct {
		err  error
		code int
	}{
		"keeps everything in memory": {backup.ErrNothingOnDisk, http.StatusConflict},
		"has no room for the copies": {backup.ErrNoRoom, http.StatusInsufficientStorage},
		"the log has the reason":     {errors.New("secret of the registry"), http.StatusServiceUnavailable},
	} {
		f := setup(t, func(f *fixture) { f.backup = func(context.Context) (io.ReadCloser, error) { return nil, tt.err } })
		r := f.Ask(t, http.MethodPost, "/admin/backup", "")
		require.Equal(t, tt.code, r.Status, r.Body)
		require.Contains(t, r.Body, said)
		require.NotContains(t, r.Body, "secret")
	}
	r := setup(t).Ask(t, http.MethodPost, "/admin/backup", "")
	require.Equal(t, http.StatusConflict, r.Status)
}

// failing is a backup that ends too early.
type failing struct{ io.Reader }

func (failing) Close() error { return nil }

func TestABackupThatFailsOnItsWayIsCutOff(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) {
		f.backup = func(context.Context) (io.ReadCloser, error) {
			return failing{io.MultiReader(strings.NewReader("the beginning"), errorReader{})}, nil
		}
	})
	_, err := f.Exchange(t, http.MethodPost, "/admin/backup", "", "Authorization", "Bearer "+token)
	require.Error(t, err, "it must not look like the end")
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errors.New("the disk is broken") }
