package dbfile_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

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

func TestALogIsEmptiedUnlessSomebodyReadsIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "some.db")
	size, err := dbfile.LogSize(path)
	require.NoError(t, err)
	require.Zero(t, size, "there is none")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.ExecContext(t.Context(), "CREATE TABLE t (x)")
	require.NoError(t, err)
	size, err = dbfile.LogSize(path)
	require.NoError(t, err)
	require.Positive(t, size)

	reader, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, reader.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(new(int)))
	_, err = db.ExecContext(t.Context(), "INSERT INTO t VALUES (1)")
	require.NoError(t, err)
	require.ErrorContains(t, dbfile.EmptyLog(t.Context(), db), "readers are in the way")
	require.NoError(t, reader.Rollback())
	require.NoError(t, dbfile.EmptyLog(t.Context(), db))
	size, err = dbfile.LogSize(path)
	require.NoError(t, err)
	require.Zero(t, size)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, dbfile.EmptyLog(ended, db), context.Canceled)
}
