package dbfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/dbfile"
)

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Mode().Perm()
}

func TestALockIsTakenOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "some.db")
	lock, err := dbfile.Lock(path)
	require.NoError(t, err)
	_, err = dbfile.Lock(path)
	require.ErrorIs(t, err, dbfile.ErrInUse)
	require.NoError(t, lock.Close())
	lock, err = dbfile.Lock(path)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
	require.EqualValues(t, dbfile.Mode, mode(t, path+".lock"))
}

func TestANewDatabaseIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "some.db")
	require.NoError(t, dbfile.Create(path))
	require.EqualValues(t, dbfile.Mode, mode(t, path))
	require.NoError(t, os.WriteFile(path, []byte("content"), 0o600))
	require.NoError(t, dbfile.Create(path), "the second time it is there")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "content", string(content))
	require.Error(t, dbfile.Create(filepath.Join(path, "below a file")))
}

func TestFilesThatOthersMayReadAreTightened(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "some.db")
	files := []string{path, path + "-wal", path + "-shm"} // there is no journal
	for _, file := range files {
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.Chmod(file, 0o644))
	}
	require.NoError(t, dbfile.Tighten(path))
	for _, file := range files {
		require.EqualValues(t, dbfile.Mode, mode(t, file), file)
	}
	require.NoError(t, os.Chmod(path, 0o400), "what is tighter stays")
	require.NoError(t, dbfile.Tighten(path))
	require.EqualValues(t, 0o400, mode(t, path))
}
