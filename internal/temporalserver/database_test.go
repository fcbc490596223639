package temporalserver_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/server/common/headers"

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
	copied := filepath.Join(t.TempDir(), filepath.Base(path))
	for _, file := range []string{path, temporalserver.VisibilityPath(path)} {
		for _, suffix := range []string{"", "-wal"} {
			content, err := os.ReadFile(file + suffix)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(copied), filepath.Base(file))+suffix, content, 0o600))
		}
	}
	return copied
}

func TestADatabaseOfAnotherVersionIsSetAside(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change        []string
		version, says string
	}{
		"an older schema": {[]string{"DROP TABLE nexus_endpoints"}, headers.ServerVersion, "nexus_endpoints.id is missing"},
		"a column is gone": {
			[]string{"ALTER TABLE nexus_endpoints RENAME COLUMN data TO payload"}, headers.ServerVersion, "nexus_endpoints.data is missing",
		},
		"a newer schema, beside which nothing can be written": {
			[]string{"DROP TABLE nexus_endpoints", "CREATE TABLE nexus_endpoints (id, data, data_encoding, version, future TEXT NOT NULL)"},
			headers.ServerVersion, "nexus_endpoints.future is unknown to this version, and must have a value",
		},
		"a newer server": {
			[]string{"UPDATE _storekeeper_engine SET server_version = '1.99.0'"}, "1.99.0", "version 1.99.0 has used it",
		},
		"an older schema that nobody has marked": {
			[]string{"DROP TABLE _storekeeper_engine", "DROP TABLE nexus_endpoints"}, "unknown", "nexus_endpoints.id is missing",
		},
		"an older schema, and visibility beside the executions": {
			[]string{"DROP TABLE _storekeeper_engine", "DROP TABLE nexus_endpoints", "CREATE TABLE executions_visibility (a)"}, "unknown", "nexus_endpoints.id is missing",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := made(t)
			for _, statement := range test.change {
				execute(t, path, statement)
			}
			server := start(t, temporalserver.Options{DatabasePath: path})
			replaced := server.Status().Replaced
			require.Contains(t, replaced.Why, test.says)
			require.Equal(t, test.version, replaced.Version)
			require.WithinDuration(t, time.Now(), replaced.At, time.Minute)
			require.Regexp(t, `/original-`+regexp.QuoteMeta(test.version)+`-\d{8}T\d{6}Z\.db$`, replaced.SetAside)
			require.Contains(t, replaced.SetAside, replaced.At.UTC().Format("-20060102T150405Z"))
			require.FileExists(t, replaced.SetAside)
			require.NoFileExists(t, replaced.SetAside+"-wal")
			c := dial(t, server)
			require.Zero(t, count(t, c, ""), "the workflows of another database are not listed")
			_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Hour)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return count(t, c, "") == 1 }, patience, 10*time.Millisecond)
			server.Stop()

			server = start(t, temporalserver.Options{DatabasePath: asFoundByAnotherProcess(t, path)})
			again := server.Status().Replaced
			require.Empty(t, again.Why, "that was said once")
			replaced.Why = ""
			require.Equal(t, replaced, again)
			require.EqualValues(t, 1, count(t, dial(t, server), ""))
		})
	}
}

// made is a database that was used and is closed, as another process finds it.
func made(t *testing.T) string {
	t.Helper()
	original := filepath.Join(t.TempDir(), "original.db")
	server := start(t, temporalserver.Options{DatabasePath: original})
	c := dial(t, server)
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Hour)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return count(t, c, "") == 1 }, patience, 10*time.Millisecond)
	server.Stop()
	return asFoundByAnotherProcess(t, original)
}

func TestStartRefusesADamagedDatabase(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := made(t)
			damage(t, path)
			requireStartError(t, temporalserver.Options{DatabasePath: path}, "it is damaged: put a backup back, or move it away")
		})
	}
}

var damages = map[string]func(t *testing.T, path string){
	"a truncated file": func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 64<<10)) },
	"a file with a hole": func(t *testing.T, path string) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(make([]byte, 64<<10), 16<<10)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	},
}

func TestStartRefusesADatabaseThatIsLocked(t *testing.T) {
	t.Parallel()
	path := made(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(t.Context(), "PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE; UPDATE shards SET range_id = range_id")
	require.NoError(t, err)
	requireStartError(t, temporalserver.Options{DatabasePath: path}, "another program has it locked, end that one")
}

func TestADiskThatIsFullOrReadOnly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options, want string
	}{
		"full":      {"size=200k", "the disk is full"},
		"read-only": {"size=20m", "read-only file system"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := syscall.Mount("none", dir, "tmpfs", 0, test.options); err != nil {
				t.Skip("a disk of its own takes root's rights: ", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
			path := filepath.Join(dir, "temporal.db")
			if name == "read-only" {
				content, err := os.ReadFile(made(t))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(path, content, 0o600))
				require.NoError(t, os.WriteFile(path+".lock", nil, 0o600))
				require.NoError(t, syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, test.options))
			}
			requireStartError(t, temporalserver.Options{DatabasePath: path}, test.want)
		})
	}
}

func TestVisibilityThatCantBeUsedIsMadeAnew(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, path string){
		"it is gone": func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"it is another one's": func(t *testing.T, path string) {
			execute(t, path, "UPDATE _storekeeper_engine SET engine = 'another'")
		},
		"it has another schema": func(t *testing.T, path string) {
			execute(t, path, "ALTER TABLE executions_visibility RENAME COLUMN memo TO note")
		},
		"it is damaged": damages["a truncated file"],
		"it has a hole": damages["a file with a hole"],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := made(t)
			change(t, temporalserver.VisibilityPath(path))
			server := start(t, temporalserver.Options{DatabasePath: path})
			require.Nil(t, server.Status().Replaced)
			aside, err := filepath.Glob(strings.TrimSuffix(temporalserver.VisibilityPath(path), ".db") + "-*T*Z.db")
			require.NoError(t, err)
			require.Equal(t, name != "it is gone", len(aside) == 1, aside)
			c := dial(t, server)
			_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "new", TaskQueue: taskQueue}, "sleeper", time.Hour)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return count(t, c, `WorkflowId = "new"`) == 1 }, patience, 10*time.Millisecond)
		})
	}
}

func TestVisibilityOfAnotherSchemaBesideTheExecutionsIsMadeAnew(t *testing.T) {
	t.Parallel()
	for _, schema := range []temporalserver.Schema{temporalserver.SchemaLean, temporalserver.SchemaFull} {
		path := filepath.Join(t.TempDir(), "temporal.db")
		start(t, temporalserver.Options{DatabasePath: path, Schema: temporalserver.SchemaFull}).Stop()
		path = asFoundByAnotherProcess(t, path)
		execute(t, path, "DROP INDEX by_state_transition_count")
		execute(t, path, "ALTER TABLE executions_visibility RENAME COLUMN state_transition_count TO transitions")
		server := start(t, temporalserver.Options{DatabasePath: path, Schema: schema})
		require.Nil(t, server.Status().Replaced)
		c := dial(t, server)
		_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Hour)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return count(t, c, "StateTransitionCount IS NULL") == 1 }, patience, 10*time.Millisecond)
	}
}

func TestEachSchemaSyncsInItsOwnWay(t *testing.T) {
	t.Parallel()
	for schema, want := range map[temporalserver.Schema]string{temporalserver.SchemaLean: "normal", temporalserver.SchemaFull: "full"} {
		executions, visibility := start(t, temporalserver.Options{DatabasePath: filepath.Join(t.TempDir(), "temporal.db"), Schema: schema}).Synchronous()
		require.Equal(t, []string{want, want}, []string{executions, visibility})
	}
	requireStartError(t, temporalserver.Options{Schema: temporalserver.SchemaFull}, "schema full is for a SQLite file, and there is none")
}

func TestNothingIsAnsweredThatCantBeSynced(t *testing.T) {
	t.Parallel()
	server := start(t, temporalserver.Options{DatabasePath: filepath.Join(t.TempDir(), "temporal.db")})
	c := dial(t, server)
	require.NoError(t, server.Trouble())
	server.FailSyncs(syscall.EIO)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // the client tries again
	defer cancel()
	_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Hour)
	require.Error(t, err)
	require.ErrorContains(t, server.Trouble(), "temporal's database can keep nothing until the process is restarted: input/output error")
	count(t, c, "") // who only reads is answered
}

func TestTheLastServerThatUsedADatabaseIsNoted(t *testing.T) {
	t.Parallel()
	path := made(t)
	execute(t, path, "UPDATE _storekeeper_engine SET server_version = '1.30.0'")
	start(t, temporalserver.Options{DatabasePath: path}).Stop()
	path = asFoundByAnotherProcess(t, path)
	execute(t, path, "DROP TABLE nexus_endpoints")
	require.Equal(t, headers.ServerVersion, start(t, temporalserver.Options{DatabasePath: path}).Status().Replaced.Version)
}

func TestAPathThatIsNoFileIsRefused(t *testing.T) {
	t.Parallel()
	path := made(t)
	requireStartError(t, temporalserver.Options{DatabasePath: t.TempDir()}, "is no file: move it away")
	visibility := temporalserver.VisibilityPath(path)
	require.NoError(t, errors.Join(os.Remove(visibility), os.Mkdir(visibility, 0o700)))
	requireStartError(t, temporalserver.Options{DatabasePath: path}, visibility+" is no file: move it away")
}

// A backup of one of the files was put back, or a power loss took more of one.
func TestWhatTheExecutionsDoNotHaveIsNotListed(t *testing.T) {
	t.Parallel()
	path := made(t)
	older, err := os.ReadFile(path)
	require.NoError(t, err)
	server := start(t, temporalserver.Options{DatabasePath: path})
	c := dial(t, server)
	_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "later", TaskQueue: taskQueue}, "sleeper", time.Hour)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return count(t, c, `WorkflowId = "later"`) == 1 }, patience, 10*time.Millisecond)
	server.Stop()
	path = asFoundByAnotherProcess(t, path)
	require.NoError(t, errors.Join(os.WriteFile(path, older, 0o600), os.RemoveAll(path+"-wal")))
	server = start(t, temporalserver.Options{DatabasePath: path})
	require.Zero(t, count(t, dial(t, server), `WorkflowId = "later"`))
	require.EqualValues(t, 1, count(t, dial(t, server), ""), "the one that is there")
}

func TestAFileMayBeReachedByLinks(t *testing.T) {
	t.Parallel()
	path := made(t)
	one, another := filepath.Join(t.TempDir(), "one.db"), filepath.Join(t.TempDir(), "another.db")
	require.NoError(t, errors.Join(os.Symlink(path, one), os.Symlink(path, another)))
	server := start(t, temporalserver.Options{DatabasePath: one})
	_, err := dial(t, server).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Hour)
	require.NoError(t, err)
	requireStartError(t, temporalserver.Options{DatabasePath: another}, "is in use by another server")
}

func TestVisibilityThatCantBeReadNowIsNotGivenUp(t *testing.T) {
	t.Parallel()
	path := made(t)
	db, err := sql.Open("sqlite", temporalserver.VisibilityPath(path))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(t.Context(), "PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE; DELETE FROM executions_visibility")
	require.NoError(t, err)
	requireStartError(t, temporalserver.Options{DatabasePath: path, Schema: temporalserver.SchemaFull}, "another program has it locked, end that one")
}

func TestADatabaseOfAnotherProgramIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	path := made(t)
	for _, theirs := range []string{filepath.Join(t.TempDir(), "theirs.db"), temporalserver.VisibilityPath(path)} {
		require.NoError(t, errors.Join(os.RemoveAll(theirs), os.RemoveAll(theirs+"-wal")))
		execute(t, theirs, "CREATE TABLE theirs (a)")
		before, err := os.ReadFile(theirs)
		require.NoError(t, err)
		options := temporalserver.Options{DatabasePath: theirs}
		if theirs == temporalserver.VisibilityPath(path) {
			options.DatabasePath = path
		}
		requireStartError(t, options, "it was made by another program")
		after, err := os.ReadFile(theirs)
		require.NoError(t, err)
		require.Equal(t, before, after, "not even how it keeps a journal has changed")
		require.NoFileExists(t, theirs+"-wal")
	}
}

func TestADatabaseIsBroughtToTheSchemaAndBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "temporal.db")
	workflows, closed := 0, 0
	run := func(schema temporalserver.Schema) {
		server := start(t, temporalserver.Options{
			DatabasePath: path, Schema: schema, SearchAttributes: map[string]enums.IndexedValueType{"Workspace": keyword},
		})
		c := dial(t, server)
		_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			TaskQueue:             taskQueue,
			TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword("Workspace").ValueSet("w1")),
		}, "sleeper", time.Hour)
		require.NoError(t, err)
		workflows++
		require.Eventually(t, func() bool { return count(t, c, "") == int64(workflows+closed) }, patience, 10*time.Millisecond)
		require.EqualValues(t, closed, count(t, c, `WorkflowId = "long ago"`))
		require.EqualValues(t, workflows, count(t, c, `Workspace = "w1" AND ExecutionStatus = "Running"`), "an attribute without an index is found, too")
		server.Stop()
		path = asFoundByAnotherProcess(t, path)
	}
	visibility := func() string { return temporalserver.VisibilityPath(path) }

	run(temporalserver.SchemaFull)
	require.NoFileExists(t, visibility())
	require.Len(t, indexes(t, path), 58)
	// As earlier versions, and Temporal's own programs, leave it. One row is older than what Temporal writes again after a restart.
	execute(t, path, "DROP TABLE _storekeeper_engine")
	execute(t, path, "PRAGMA auto_vacuum = none; VACUUM")
	execute(t, path, `INSERT INTO executions_visibility (namespace_id, run_id, _version, start_time, execution_time, workflow_id, workflow_type_name, status, close_time, encoding)
		SELECT namespace_id, 'closed', 1, start_time, execution_time, 'long ago', 'sleeper', 2, start_time, encoding FROM executions_visibility WHERE workflow_type_name = 'sleeper'`)
	closed = 1
	vacuumable := func(path string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		defer func() { _ = db.Close() }()
		var mode int
		require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA auto_vacuum").Scan(&mode))
		require.Equal(t, 2, mode, path)
	}
	execute(t, path, "CREATE INDEX theirs ON executions_visibility (run_id)")

	run("")
	vacuumable(path)
	vacuumable(visibility())
	require.Empty(t, indexes(t, path))
	require.Equal(t, []string{
		"by_parent_workflow_id", "by_status", "by_temporal_namespace_division", "by_temporal_scheduled_by_id", "by_workflow_id", "by_workflow_type", "default_idx",
	}, indexes(t, visibility()))
	execute(t, visibility(), "DROP INDEX by_status") // by hand
	execute(t, visibility(), "PRAGMA auto_vacuum = none; VACUUM")
	execute(t, visibility(), "CREATE INDEX by_keyword_01 ON executions_visibility (Keyword01)")
	execute(t, visibility(), "CREATE INDEX theirs ON executions_visibility (run_id)")

	run(temporalserver.SchemaLean)
	require.Len(t, indexes(t, visibility()), 8, "ours, and what others have made")
	vacuumable(visibility())

	run(temporalserver.SchemaFull)
	require.NoFileExists(t, visibility())
	require.Len(t, indexes(t, path), 58)
	run(temporalserver.SchemaLean)
}

func TestAMoveOfVisibilityThatWasCutOffIsDoneAgain(t *testing.T) {
	t.Parallel()
	full := filepath.Join(t.TempDir(), "original.db")
	server := start(t, temporalserver.Options{DatabasePath: full, Schema: temporalserver.SchemaFull})
	c := dial(t, server)
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "w", TaskQueue: taskQueue}, "sleeper", time.Hour)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return count(t, c, "") == 1 }, patience, 10*time.Millisecond)
	server.Stop()
	before := asFoundByAnotherProcess(t, full)
	moved := asFoundByAnotherProcess(t, before)
	start(t, temporalserver.Options{DatabasePath: moved}).Stop()

	// The rows had been copied, and not yet dropped.
	content, err := os.ReadFile(temporalserver.VisibilityPath(moved))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(temporalserver.VisibilityPath(before), content, 0o600))
	execute(t, temporalserver.VisibilityPath(before), "UPDATE executions_visibility SET _version = _version + 1, workflow_id = 'newer'")
	server = start(t, temporalserver.Options{DatabasePath: before})
	require.EqualValues(t, 1, count(t, dial(t, server), `WorkflowId = "newer"`))
	require.EqualValues(t, 1, count(t, dial(t, server), ""))
}

func indexes(t *testing.T, path string) (names []string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), `SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'executions_visibility' AND sql IS NOT NULL ORDER BY name`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		names = append(names, name)
	}
	require.NoError(t, rows.Err())
	return names
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
