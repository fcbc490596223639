package sqlitecopy_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/backup/sqlitecopy"
	"storekeeper/internal/dbfile"
)

func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dbfile.URI(path)+"?_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// accounts is a database in which two rows always have the same sum, and so many pages that a copy takes several steps.
func accounts(t *testing.T) (path string, db *sql.DB) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a ?#%.db")
	db = open(t, path)
	for _, statement := range []string{
		"PRAGMA journal_mode = wal",
		"CREATE TABLE accounts (name TEXT, amount INTEGER)",
		"INSERT INTO accounts VALUES ('a', 100)",
		"CREATE TABLE ballast (name TEXT, content BLOB)",
		"WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) INSERT INTO ballast SELECT 'n' || i, randomblob(4000) FROM n",
		"DELETE FROM ballast WHERE rowid % 2 = 0",
		"CREATE TABLE later (name TEXT, amount INTEGER)",
		"INSERT INTO later VALUES ('b', 100)",
		"PRAGMA wal_checkpoint",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return path, db
}

func nothingMore(context.Context, *sql.DB) error { return nil }

func TestACopyIsOfOneMomentThoughOthersWrite(t *testing.T) {
	t.Parallel()
	path, db := accounts(t)
	ctx, cancel := context.WithCancel(t.Context())
	moved, done := 0, make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			tx, err := db.BeginTx(t.Context(), nil)
			if err == nil {
				_, err = tx.ExecContext(t.Context(), "UPDATE accounts SET amount = amount - 1; UPDATE later SET amount = amount + 1")
				err = errors.Join(err, tx.Commit())
			}
			if err != nil {
				done <- err
				return
			}
			moved++
		}
		done <- nil
	}()
	for i := range 5 {
		to := filepath.Join(t.TempDir(), "copy.db")
		require.NoError(t, sqlitecopy.Copy(t.Context(), path, to, nothingMore), i)
		var sum, rows, odd int
		require.NoError(t, open(t, to).QueryRowContext(t.Context(), `SELECT (SELECT amount FROM accounts) + (SELECT amount FROM later), count(*),
			sum(name = 'n' || rowid) FROM ballast`).Scan(&sum, &rows, &odd))
		require.Equal(t, []int{200, 2000, 2000}, []int{sum, rows, odd}, "rows keep their numbers")
	}
	cancel()
	require.NoError(t, <-done)
	require.Positive(t, moved)
}

func TestACopyIsOnePrivateFileWithWhatWasAddedToIt(t *testing.T) {
	t.Parallel()
	path, _ := accounts(t)
	dir := t.TempDir()
	to := filepath.Join(dir, "copy.db")
	require.NoError(t, sqlitecopy.Copy(t.Context(), path, to, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, "CREATE TABLE _note (text TEXT)")
		return err
	}))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	info, err := entries[0].Info()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(dbfile.Mode), info.Mode().Perm())
	var n int
	require.NoError(t, open(t, to).QueryRowContext(t.Context(), "SELECT count(*) FROM _note").Scan(&n))
}

func TestACopyThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	path, db := accounts(t)
	dir := t.TempDir()
	to := filepath.Join(dir, "copy.db")
	empty := func() {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
	require.ErrorContains(t, sqlitecopy.Copy(t.Context(), path, to, func(context.Context, *sql.DB) error { return errors.New("not ours") }), "not ours")
	empty()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, sqlitecopy.Copy(ended, path, to, nothingMore), context.Canceled)
	empty()
	require.Error(t, sqlitecopy.Copy(t.Context(), filepath.Join(dir, "none.db"), to, nothingMore))
	empty()

	// An index that lacks a row: no page is damaged, and the copy is no good all the same.
	_, err := db.ExecContext(t.Context(), `CREATE INDEX by_name ON accounts (name); PRAGMA writable_schema = 1;
		UPDATE sqlite_schema SET sql = 'CREATE INDEX by_name ON accounts (amount)' WHERE name = 'by_name'; PRAGMA writable_schema = RESET`)
	require.NoError(t, err)
	require.ErrorContains(t, sqlitecopy.Copy(t.Context(), path, to, nothingMore), "the copy is damaged")
	empty()

	require.NoError(t, os.WriteFile(to, []byte("mine"), 0o600))
	require.Error(t, sqlitecopy.Copy(t.Context(), path, to, nothingMore), "it is there already")
	content, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))
}
