package temporalserver_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql/driver"
	postgresschema "go.temporal.io/server/schema/postgresql/v12"
	schematool "go.temporal.io/server/tools/common/schema"
	sqltool "go.temporal.io/server/tools/sql"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/postgrestest"
	"storekeeper/internal/temporalserver"
)

// quick is for clusters whose machine does not crash.
const quick = "fsync=off"

// startObserved is start with a log that can be read.
func startObserved(t *testing.T, o temporalserver.Options) (*temporalserver.Server, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	o.Listen, o.Logger = "127.0.0.1:0", zap.New(core)
	server, err := temporalserver.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server, logs
}

// runs has the server do a workflow from its start to its end.
func runs(t *testing.T, c client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longPatience)
	defer cancel()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Duration(0))
	require.NoError(t, err)
	require.NoError(t, run.Get(ctx, nil))
}

// installSchema makes one of Temporal's schemas, of an earlier version, in a database that is there.
func installSchema(t *testing.T, cluster *postgrestest.Cluster, database, schema, version string) {
	t.Helper()
	conn, err := sqltool.NewConnection(&config.SQL{
		PluginName: postgresql.PluginNamePGX, DatabaseName: database,
		Connect: func(*config.SQL) (*sqlx.DB, error) {
			return (&driver.PGXDriver{}).CreateConnection(cluster.URL(database))
		},
	}, log.NewNoopLogger())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, schematool.NewSetupSchemaTask(conn, &schematool.SetupConfig{InitialVersion: "0.0"}, log.NewNoopLogger()).Run())
	update := &schematool.UpdateConfig{SchemaName: schema, TargetVersion: version}
	require.NoError(t, schematool.NewUpdateSchemaTask(conn, update, log.NewNoopLogger()).Run())
}

func TestOnPostgreSQL(t *testing.T) {
	t.Parallel()
	cluster := postgrestest.Start(t, quick)
	execute := func(t *testing.T, database string, statements ...string) {
		t.Helper()
		require.NoError(t, cluster.Exec(t.Context(), database, statements...))
	}
	query := func(t *testing.T, database, q string) string {
		t.Helper()
		text, err := cluster.Query(t.Context(), database, q)
		require.NoError(t, err)
		return text
	}

	t.Run("a restart finds workflows, timers and changed settings", func(t *testing.T) {
		t.Parallel()
		attribute := temporal.NewSearchAttributeKeyKeyword("Workspace")
		o := temporalserver.Options{
			DatabaseURL: cluster.URL("kept"), SearchAttributes: map[string]enums.IndexedValueType{attribute.GetName(): keyword},
		}
		server, logs := startObserved(t, o)
		require.Equal(t, 2, logs.FilterMessage("database of temporal created").Len())
		require.Equal(t, 2, logs.FilterMessage("temporal's schema is up to date").Len())
		c := dial(t, server)
		w := runWorker(t, c)
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: "sleeps", TaskQueue: taskQueue, TypedSearchAttributes: temporal.NewSearchAttributes(attribute.ValueSet("w1")),
		}, "sleeper", 4*time.Second)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return count(t, c, `Workspace = "w1"`) == 1 }, longPatience, 10*time.Millisecond)
		require.Eventually(t, func() bool { return hasPendingTimer(t, c) }, longPatience, 10*time.Millisecond)
		w.Stop()
		c.Close()
		server.Stop()

		o.Retention, o.SearchAttributes["Attempts"] = 5*time.Hour, number
		server, logs = startObserved(t, o)
		require.Zero(t, logs.FilterMessageSnippet("schema").Len(), "nothing to be done")
		c = dial(t, server)
		runWorker(t, c)
		require.NoError(t, c.GetWorkflow(t.Context(), "sleeps", run.GetRunID()).Get(t.Context(), nil))
		retention, attributes := settings(t, c)
		require.Equal(t, 5*time.Hour, retention)
		require.Equal(t, map[string]enums.IndexedValueType{"Workspace": keyword, "Attempts": number}, attributes)
		runs(t, c)
		server.Stop()
	})
	t.Run("a second server is refused while the first one runs", func(t *testing.T) {
		t.Parallel()
		o := temporalserver.Options{DatabaseURL: cluster.URL("one")}
		server, _ := startObserved(t, o)
		requireStartError(t, o, "it is in use by another server: stop that one, or use another database (it connects from 127.0.0.1, since ")
		runs := dial(t, server)
		_, err := runs.CheckHealth(t.Context(), &client.CheckHealthRequest{})
		require.NoError(t, err)
		server.Stop()
		server, _ = startObserved(t, o)
		server.Stop()
	})
	t.Run("a server of Temporal's own images is noticed", func(t *testing.T) {
		t.Parallel()
		o := temporalserver.Options{DatabaseURL: cluster.URL("images")}
		server, _ := startObserved(t, o)
		server.Stop()
		execute(t, "images", `INSERT INTO cluster_membership VALUES (0, 'x', '10.1.2.3', 7233, 1, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', now() + interval '2 days')`)
		requireStartError(t, o, "another Temporal server, at 10.1.2.3, has used it within the last 20 s: stop that one")
		execute(t, "images", `UPDATE cluster_membership SET last_heartbeat = last_heartbeat - interval '1 minute'`)
		server, _ = startObserved(t, o)
		server.Stop()
	})
	t.Run("an older schema is updated, and the log says so", func(t *testing.T) {
		t.Parallel()
		execute(t, "postgres", "CREATE DATABASE older", "CREATE DATABASE older_visibility")
		installSchema(t, cluster, "older", "postgresql/v12/temporal", "1.5")
		installSchema(t, cluster, "older_visibility", "postgresql/v12/visibility", "1.1")
		// As an update leaves it that was cut short: some is there, some is gone.
		execute(t, "older", "ALTER TABLE queue_metadata ADD version BIGINT NOT NULL DEFAULT 0")
		execute(t, "older_visibility", "DROP INDEX by_type_start_time")
		server, logs := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("older")})
		said := logs.FilterMessage("updating temporal's schema, which may take minutes").All()
		require.Len(t, said, 2)
		require.Equal(t, "1.5", said[0].ContextMap()["from"])
		require.Equal(t, postgresschema.Version, said[0].ContextMap()["to"])
		require.Equal(t, postgresschema.VisibilityVersion, query(t, "older_visibility", "SELECT curr_version FROM schema_version"))
		c := dial(t, server)
		runWorker(t, c)
		runs(t, c)
		server.Stop()
	})
	t.Run("a set-up that was cut short goes on", func(t *testing.T) {
		t.Parallel()
		execute(t, "postgres", "CREATE DATABASE begun")
		execute(t, "begun", `CREATE TABLE schema_version (version_partition INT not null, db_name VARCHAR(255) not null, creation_time TIMESTAMP,
			curr_version VARCHAR(64), min_compatible_version VARCHAR(64), PRIMARY KEY (version_partition, db_name))`)
		server, _ := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("begun")})
		server.Stop()
	})
	t.Run("what extensions have made is no other program's", func(t *testing.T) {
		t.Parallel()
		execute(t, "postgres", "CREATE DATABASE extended")
		execute(t, "extended", "CREATE EXTENSION pg_stat_statements")
		server, _ := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("extended")})
		server.Stop()
	})
	t.Run("a newer schema is refused", func(t *testing.T) {
		t.Parallel()
		o := temporalserver.Options{DatabaseURL: cluster.URL("newer")}
		server, _ := startObserved(t, o)
		server.Stop()
		for _, database := range []string{"newer", "newer_visibility"} {
			was := query(t, database, "SELECT curr_version FROM schema_version")
			execute(t, database, "UPDATE schema_version SET curr_version = '1.1000'")
			requireStartError(t, o, "database "+database+" has version 1.1000 of Temporal's schema, and this server knows up to "+was)
			execute(t, database, "UPDATE schema_version SET curr_version = '"+was+"'")
		}
	})
	t.Run("another program's database is refused and left as it is", func(t *testing.T) {
		t.Parallel()
		execute(t, "postgres", "CREATE DATABASE shop", "CREATE DATABASE shop2", "CREATE DATABASE shop3", "CREATE DATABASE shop3_visibility")
		execute(t, "shop", "CREATE TABLE orders (id INT)")
		execute(t, "shop2", "CREATE TABLE orders (id INT)", "CREATE TABLE schema_version (installed_rank INT, version TEXT)")
		execute(t, "shop3_visibility", "CREATE VIEW orders AS SELECT 1 AS id")
		requireStartError(t, temporalserver.Options{DatabaseURL: cluster.URL("shop")},
			"database shop was made by another program: it has the table orders and no schema_version. Use a database of its own")
		requireStartError(t, temporalserver.Options{DatabaseURL: cluster.URL("shop2")},
			"database shop2 was made by another program: its schema_version is not Temporal's")
		requireStartError(t, temporalserver.Options{DatabaseURL: cluster.URL("shop3")},
			"database shop3_visibility was made by another program: it has the table orders")
		const tables = "SELECT count(*)::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
		for database, want := range map[string]string{"shop": "1", "shop2": "2", "shop3": "0", "shop3_visibility": "1"} {
			require.Equal(t, want, query(t, database, tables), database)
		}
		require.Equal(t, "0", query(t, "postgres", "SELECT count(*)::text FROM pg_database WHERE datname IN ('shop_visibility', 'shop2_visibility')"))
	})
	t.Run("the wrong one of the two databases, and a renamed one, are refused", func(t *testing.T) {
		t.Parallel()
		server, _ := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("mine")})
		server.Stop()
		requireStartError(t, temporalserver.Options{DatabaseURL: cluster.URL("mine_visibility")}, "the URL names the database of executions")
		require.Eventually(t, func() bool { // the last session may still be ending
			return cluster.Exec(t.Context(), "postgres", "ALTER DATABASE mine RENAME TO yours") == nil
		}, longPatience, 10*time.Millisecond)
		requireStartError(t, temporalserver.Options{DatabaseURL: cluster.URL("yours")},
			`its schema_version is of a database "mine", and this one is named yours: give it its name back, or run UPDATE schema_version`)
	})
	t.Run("a wrong password is an error at once", func(t *testing.T) {
		t.Parallel()
		_, err := temporalserver.Start(t.Context(), temporalserver.Options{
			Listen: "127.0.0.1:0", DatabaseURL: cluster.URLOf(url.UserPassword(postgrestest.User, "a wrong one"), "secrets"),
			Logger: zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), failOnWrite{t}, zap.WarnLevel)),
		})
		require.ErrorContains(t, err, "password authentication failed")
		require.NotContains(t, err.Error(), "wrong one")
	})
	t.Run("a database that may not be created is asked for in words that work", func(t *testing.T) {
		t.Parallel()
		execute(t, "postgres", "CREATE ROLE plain LOGIN PASSWORD 'plain'")
		o := temporalserver.Options{Listen: "127.0.0.1:0", DatabaseURL: cluster.URLOf(url.UserPassword("plain", "plain"), "wanted")}
		_, err := temporalserver.Start(t.Context(), o)
		require.ErrorContains(t, err, "database wanted is missing and can't be created (ERROR: permission denied to create database (SQLSTATE 42501))")
		_, statements, found := strings.Cut(err.Error(), "have somebody who may run ")
		require.True(t, found, err)
		for statement := range strings.SplitSeq(strings.TrimSuffix(statements, ";"), ";") {
			execute(t, "postgres", statement)
		}
		server, _ := startObserved(t, o)
		c := dial(t, server)
		runWorker(t, c)
		runs(t, c)
		server.Stop()
	})
	t.Run("a database that can only be read is refused", func(t *testing.T) {
		t.Parallel()
		execute(t, "postgres", "CREATE DATABASE readonly", "ALTER DATABASE readonly SET default_transaction_read_only = on")
		requireStartError(t, temporalserver.Options{DatabaseURL: cluster.URL("readonly")},
			"it is read-only: it may be a standby, or default_transaction_read_only is on")
	})
	t.Run("a database that came back as another one ends the server", func(t *testing.T) {
		t.Parallel()
		server, _ := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("other")})
		execute(t, "other_visibility", "UPDATE schema_version SET curr_version = '1.13'")
		execute(t, "other", endLock)
		require.ErrorContains(t, failure(t, server), `the database is not ours any more: database other_visibility came back with version "1.13" of Temporal's schema`)
	})
	t.Run("a server whose lock somebody else has taken ends", func(t *testing.T) {
		t.Parallel()
		server, _ := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("taken")})
		conn, err := pgx.Connect(t.Context(), cluster.URL("taken"))
		require.NoError(t, err)
		defer func() { _ = conn.Close(context.Background()) }()
		takeLock(t, cluster, "taken", conn)
		require.ErrorContains(t, failure(t, server), "it is in use by another server")
	})
	t.Run("a session of its own that PostgreSQL still believes in is in nobody's way", func(t *testing.T) {
		t.Parallel()
		server, logs := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("undead")})
		name := query(t, "undead", "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory' AND datname = 'undead'")
		config, err := pgx.ParseConfig(cluster.URL("undead"))
		require.NoError(t, err)
		config.RuntimeParams["application_name"] = name
		conn, err := pgx.ConnectConfig(t.Context(), config)
		require.NoError(t, err)
		defer func() { _ = conn.Close(context.Background()) }()
		takeLock(t, cluster, "undead", conn)
		require.Eventually(t, func() bool { return logs.FilterMessage("temporal's PostgreSQL is back").Len() == 1 }, longPatience, 10*time.Millisecond)
		require.Error(t, conn.Ping(t.Context()), "it was ended")
		require.Empty(t, server.Failed())
	})
}

// endLock ends the session that holds the lock of the database.
const endLock = `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// takeLock takes the lock away: it waits in line before the server that has it can try again.
func takeLock(t *testing.T, cluster *postgrestest.Cluster, database string, conn *pgx.Conn) {
	t.Helper()
	taken := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock(x'53746b72'::int, 1)")
		taken <- err
	}()
	require.Eventually(t, func() bool {
		waiting, err := cluster.Query(t.Context(), database, `SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
		return err == nil && waiting == "1"
	}, longPatience, 10*time.Millisecond)
	require.NoError(t, cluster.Exec(t.Context(), database, endLock))
	require.NoError(t, <-taken)
}

// failure is what the server can't go on for.
func failure(t *testing.T, server *temporalserver.Server) error {
	t.Helper()
	select {
	case err := <-server.Failed():
		return err
	case <-time.After(longPatience):
		require.Fail(t, "the server has not failed")
		return nil
	}
}

// longPatience is for what waits for an interval of the server's and for PostgreSQL.
const longPatience = time.Minute

// failOnWrite is for a log that must stay empty.
type failOnWrite struct{ t *testing.T }

func (f failOnWrite) Write(line []byte) (int, error) {
	f.t.Errorf("logged: %s", line)
	return len(line), nil
}

func (failOnWrite) Sync() error { return nil }

func TestAStartWaitsForAPostgreSQLThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	cluster := postgrestest.Start(t, quick)
	cluster.Stop()
	core, logs := observer.New(zap.InfoLevel)
	started := make(chan error, 1)
	go func() {
		server, err := temporalserver.Start(t.Context(), temporalserver.Options{
			Listen: "127.0.0.1:0", DatabaseURL: cluster.URL("late"), Logger: zap.New(core),
		})
		if err == nil {
			server.Stop()
		}
		started <- err
	}()
	require.Eventually(t, func() bool {
		return logs.FilterMessage("temporal's PostgreSQL can't be reached yet, waiting for it").Len() > 0
	}, longPatience, 10*time.Millisecond)
	require.NoError(t, cluster.Start(t.Context()))
	require.NoError(t, <-started)
}

func TestAPostgreSQLThatGoesAwayIsSurvivedAndUsedAgainWhenItIsBack(t *testing.T) {
	t.Parallel()
	cluster := postgrestest.Start(t, quick)
	server, logs := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("temporal")})
	c := dial(t, server)
	runWorker(t, c)
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "sleeps", TaskQueue: taskQueue}, "sleeper", 3*time.Second)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return hasPendingTimer(t, c) }, longPatience, 10*time.Millisecond)
	require.NoError(t, server.Trouble())

	cluster.Stop()
	require.Eventually(t, func() bool { return server.Trouble() != nil }, longPatience, 10*time.Millisecond)
	require.EqualError(t, server.Trouble(), "PostgreSQL can't be reached")
	away := logs.Len()
	const outage = 12 * time.Second // past the end of the timer, and of caches
	select {
	case err := <-server.Failed():
		require.NoError(t, err)
	case <-time.After(outage):
	}
	require.Less(t, logs.Len()-away, 1000, "no hot loop")

	require.NoError(t, cluster.Start(t.Context()))
	require.Eventually(t, func() bool { return server.Trouble() == nil }, longPatience, 10*time.Millisecond)
	require.NoError(t, run.Get(t.Context(), nil))
	runs(t, c)
	require.Empty(t, server.Failed())
	require.Equal(t, 1, logs.FilterMessage("temporal's PostgreSQL is back").Len())
	for _, entry := range logs.All() {
		line, err := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()).EncodeEntry(entry.Entry, entry.Context)
		require.NoError(t, err)
		require.NotContains(t, line.String(), "only for tests")
	}
}

func TestAPostgreSQLThatBecomesReadOnlyIsSurvivedAndSaid(t *testing.T) {
	t.Parallel()
	cluster := postgrestest.Start(t, quick)
	server, logs := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("temporal")})
	c := dial(t, server)
	runWorker(t, c)
	require.NoError(t, cluster.Exec(t.Context(), "postgres", "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"))
	require.Eventually(t, func() bool { return server.Trouble() != nil }, longPatience, 10*time.Millisecond)
	require.EqualError(t, server.Trouble(), "PostgreSQL is read-only")
	require.Equal(t, 1, logs.FilterMessageSnippet("has become read-only").Len())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Duration(0))
	require.Error(t, err)

	require.NoError(t, cluster.Exec(t.Context(), "postgres", "SET default_transaction_read_only = off",
		"ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"))
	require.Eventually(t, func() bool { return server.Trouble() == nil }, longPatience, 10*time.Millisecond)
	runs(t, c)
	require.Empty(t, server.Failed())
}

// The disk is a small file system in memory, which only root can make.
func TestAPostgreSQLWhoseDiskIsFullIsSurvivedAndUsedAgainWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	disk, err := os.MkdirTemp("", "disk") //nolint:usetesting // PostgreSQL may not enter t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.Remove(disk) })
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=160m,mode=755"); err != nil {
		t.Skipf("a file system can't be made here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, 0)) })
	cluster := postgrestest.StartIn(t, disk, quick, "max_wal_size=32MB", "min_wal_size=32MB")
	server, _ := startObserved(t, temporalserver.Options{DatabaseURL: cluster.URL("temporal")})
	c := dial(t, server)
	runWorker(t, c)
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "sleeps", TaskQueue: taskQueue}, "sleeper", time.Second)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return hasPendingTimer(t, c) }, longPatience, 10*time.Millisecond)

	filler := filepath.Join(disk, "filler")
	full := exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=4096")
	require.Error(t, full.Run(), "it ends when there is no room")
	require.Eventually(t, func() bool { // what is there already takes some more
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Hour, strings.Repeat("x", 100_000))
		return err != nil
	}, longPatience, time.Millisecond)

	require.NoError(t, os.Remove(filler))
	if cluster.Exec(t.Context(), "postgres", "SELECT 1") != nil { // without room for its log PostgreSQL gives up
		cluster.Stop()
		require.NoError(t, cluster.Start(t.Context()))
	}
	require.Eventually(t, func() bool { return server.Trouble() == nil }, longPatience, 10*time.Millisecond)
	require.NoError(t, run.Get(t.Context(), nil))
	runs(t, c)
	require.Empty(t, server.Failed())
}
