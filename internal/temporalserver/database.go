package temporalserver

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	sqliteschema "go.temporal.io/server/schema/sqlite"
)

// inMemory describes a new database of its own. Temporal keeps it open, and so in memory, until the process ends.
func inMemory() *config.SQL {
	return &config.SQL{
		PluginName:        sqliteplugin.PluginName,
		DatabaseName:      "temporal-" + rand.Text(),
		ConnectAttributes: map[string]string{"mode": "memory", "cache": "shared"},
	}
}

// onDisk describes the database at path, set up and checked. The caller holds its lock.
func onDisk(ctx context.Context, path string) (*config.SQL, error) {
	absolute, err := filepath.Abs(path)
	if err == nil {
		err = prepareDatabase(ctx, absolute)
	}
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	// One connection, which is Temporal's default: SQLite has one writer at a time, and a transaction that reads first and
	// writes then fails at once when another connection has written in between, whatever the busy timeout.
	return &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: uriPath(absolute),
		ConnectAttributes: map[string]string{
			// Other processes (sqlite3, a backup) may hold the file for a moment.
			"busy_timeout": "10000",
			"journal_mode": "wal",
			// A commit is in the kernel's hands before it is acknowledged, so it would survive kill -9 with "normal" too.
			// With "full" it is on the disk as well and survives a power loss: what was answered 2xx takes effect, whatever
			// crashes. That costs a short workflow some 3 ms alone, and a quarter of the throughput.
			"synchronous": "full",
		},
	}, nil
}

// uriPath escapes a path for a "file:" URI, in which Temporal puts it as it is.
func uriPath(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// lockDatabase takes the lock beside the database file. The kernel releases it with the file, so also when the process
// is killed.
func lockDatabase(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock database: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("database %s is in use by another server: stop that one, or use another file", path)
	}
	return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
}

// prepareDatabase sets up the schema in a new file and checks an existing one. It reads the file through SQLite only:
// closing a plain descriptor of it would drop SQLite's own locks in this process.
func prepareDatabase(ctx context.Context, path string) error {
	db, err := openSQLite("file:" + uriPath(path) + "?_pragma=busy_timeout=10000&_pragma=journal_mode=wal")
	if err != nil {
		return err
	}
	defer db.Close()

	// Reads the whole file; a third of a second for 300 MB.
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("it can't be opened, or is damaged, or is no SQLite file: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("it is damaged: %s", verdict)
	}
	got, err := columns(ctx, db)
	if err != nil {
		return err
	}
	if len(got) == 0 {
		return setUpSchema(ctx, db)
	}
	want, err := expectedColumns(ctx)
	if err != nil {
		return err
	}
	return compareSchema(got, want)
}

// compareSchema says whether a database has the tables that this version of Temporal expects. Temporal itself records no
// schema version in SQLite and has no migrations for it.
func compareSchema(got, want []string) error {
	const reason = "it was made by another version of Temporal or by another program: %s %s. " +
		"Use the version that made it, or start with a new file"
	for _, column := range want {
		if !slices.Contains(got, column) {
			return fmt.Errorf(reason, column, "is missing")
		}
	}
	for _, column := range got {
		if !slices.Contains(want, column) {
			return fmt.Errorf(reason, column, "is unknown to this version")
		}
	}
	return nil
}

// expectedColumns are those of a database that was just set up.
func expectedColumns(ctx context.Context) ([]string, error) {
	db, err := openSQLite(":memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := setUpSchema(ctx, db); err != nil {
		return nil, err
	}
	return columns(ctx, db)
}

// columns lists each table's columns as "table.column".
func columns(ctx context.Context, db *sql.DB) ([]string, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT t.name || '.' || c.name FROM sqlite_schema t JOIN pragma_table_xinfo(t.name) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var column string
		if err := rows.Scan(&column); err != nil {
			return nil, fmt.Errorf("read schema: %w", err)
		}
		list = append(list, column)
	}
	return list, rows.Err()
}

// setUpSchema makes Temporal's tables, all or none.
func setUpSchema(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("set up schema: %w", err)
	}
	if err := sqliteschema.SetupSchemaOnDB(schemaTx{tx: tx}); err != nil {
		_ = tx.Rollback()
		return fmt.Errorf("set up schema: %w", err)
	}
	return tx.Commit()
}

// schemaTx is the part of a database that SetupSchemaOnDB uses.
type schemaTx struct {
	sqlplugin.AdminDB
	tx *sql.Tx
}

func (s schemaTx) Exec(statement string, args ...any) error {
	_, err := s.tx.Exec(statement, args...) //nolint:noctx // the interface gives no context
	return err
}

func openSQLite(dsn string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	// A second connection to ":memory:" would be another database.
	db.SetMaxOpenConns(1)
	return db, nil
}
