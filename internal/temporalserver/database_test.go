package temporalserver_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/internal/temporalserver"
)

// sqliteFile is a database on which statement was run.
func sqliteFile(t *testing.T, statement string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "some.db")
	execute(t, path, statement)
	return path
}

func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// asFoundByAnotherProcess copies a database. Temporal keeps the original open until this process ends, so a second start
// on that one would not show what is on disk.
func asFoundByAnotherProcess(t *testing.T, path string) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(copied+suffix, content, 0o600))
	}
	return copied
}

func TestStartRefusesADatabaseThatHasChanged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(t *testing.T, path string)
		want   string
	}{
		"an older schema": {
			func(t *testing.T, path string) { execute(t, path, "DROP TABLE nexus_endpoints") },
			"nexus_endpoints.id is missing",
		},
		"a column is gone": {
			func(t *testing.T, path string) {
				execute(t, path, "ALTER TABLE nexus_endpoints RENAME COLUMN data TO payload")
			},
			"nexus_endpoints.data is missing",
		},
		"a newer schema, beside which nothing can be written": {
			func(t *testing.T, path string) {
				execute(t, path, "DROP TABLE nexus_endpoints")
				execute(t, path, "CREATE TABLE nexus_endpoints (id, data, data_encoding, version, future TEXT NOT NULL)")
			},
			"nexus_endpoints.future is unknown to this version, and must have a value",
		},
		"a truncated file": {
			func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 64<<10)) },
			"damaged",
		},
		"a file with a hole": {
			func(t *testing.T, path string) {
				f, err := os.OpenFile(path, os.O_WRONLY, 0)
				require.NoError(t, err)
				_, err = f.WriteAt(make([]byte, 64<<10), 16<<10)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			},
			"damaged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			original := filepath.Join(t.TempDir(), "original.db")
			start(t, temporalserver.Options{DatabasePath: original}).Stop()
			path := asFoundByAnotherProcess(t, original)
			execute(t, path, "PRAGMA wal_checkpoint(TRUNCATE)")

			test.change(t, path)
			requireStartError(t, temporalserver.Options{DatabasePath: path}, test.want)
		})
	}
}

func TestWhatOthersAddToTheDatabaseIsIgnored(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "temporal.db")
	execute(t, path, "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)") // before the first start
	server := start(t, temporalserver.Options{DatabasePath: path})
	run, err := dial(t, server).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Duration(0))
	require.NoError(t, err)
	server.Stop()

	path = asFoundByAnotherProcess(t, path)
	for _, statement := range []string{
		"CREATE TABLE _litestream_lock (id INTEGER)",
		"CREATE TABLE audit (at TEXT NOT NULL, what TEXT NOT NULL)",
		"CREATE TABLE tool_state (k TEXT PRIMARY KEY, v) WITHOUT ROWID",
		"ALTER TABLE shards ADD COLUMN theirs TEXT",
		"ALTER TABLE shards ADD COLUMN theirs_too TEXT NOT NULL DEFAULT ''",
		"CREATE INDEX theirs ON shards (theirs)",
		"CREATE VIEW shown AS SELECT * FROM shards",
		"CREATE TRIGGER seen AFTER UPDATE ON shards BEGIN INSERT INTO audit VALUES (datetime(), 'shards'); END",
		"CREATE VIRTUAL TABLE texts USING fts5(content)",
	} {
		execute(t, path, statement)
	}
	server = start(t, temporalserver.Options{DatabasePath: path})
	c := dial(t, server)
	runWorker(t, c)
	require.NoError(t, c.GetWorkflow(t.Context(), run.GetID(), run.GetRunID()).Get(t.Context(), nil))
}

func TestAfterAStopAllIsInTheFileAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "temporal.db")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chmod(path, 0o644), "as earlier versions left it")
	server := start(t, temporalserver.Options{DatabasePath: path})
	run, err := dial(t, server).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Duration(0))
	require.NoError(t, err)
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + suffix)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm(), info.Name())
	}
	server.Stop()
	if info, err := os.Stat(path + "-wal"); err == nil {
		require.Zero(t, info.Size())
	}

	alone := filepath.Join(t.TempDir(), "temporal.db")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(alone, content, 0o600))
	c := dial(t, start(t, temporalserver.Options{DatabasePath: alone}))
	runWorker(t, c)
	require.NoError(t, c.GetWorkflow(t.Context(), run.GetID(), run.GetRunID()).Get(t.Context(), nil))
}
