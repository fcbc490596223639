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

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	sqliteschema "go.temporal.io/server/schema/sqlite"

	"storekeeper/internal/dbfile"
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
		err = dbfile.Create(absolute)
	}
	if err == nil {
		err = prepareDatabase(ctx, absolute)
	}
	if err == nil { // now that it is ours to change
		err = dbfile.Tighten(absolute)
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
			// What a burst has left is cut off when the log begins anew. It does so every 4 MB, for nobody else reads.
			"journal_size_limit": "4194304",
		},
	}, nil
}

// uriPath escapes a path for a "file:" URI, in which Temporal puts it as it is.
func uriPath(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// lockDatabase takes the lock beside the database file.
func lockDatabase(path string) (*os.File, error) {
	f, err := dbfile.Lock(path)
	switch {
	case errors.Is(err, dbfile.ErrInUse):
		return nil, fmt.Errorf("database %s is in use by another server: stop that one, or use another file", path)
	case err != nil:
		return nil, fmt.Errorf("database: %w", err)
	}
	return f, nil
}

// emptyLog moves what is in the log of a stopped server into the file, so that a copy of the file alone has all of it. Temporal keeps
// its connection open, or SQLite would do that by itself.
func emptyLog(ctx context.Context, path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	db, err := openSQLite("file:" + uriPath(absolute) + "?_pragma=busy_timeout=1000")
	if err != nil {
		return err
	}
	defer db.Close()
	var busy, pages, moved int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved); err != nil {
		return err
	}
	if busy != 0 {
		return errors.New("somebody else reads it")
	}
	return nil
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

// compareSchema says whether a database has what this version of Temporal needs. Temporal itself records no schema version in SQLite
// and has no migrations for it. What others have added (a backup tool, say) is ignored, unless Temporal could not write beside it.
func compareSchema(got, want []column) error {
	const reason = "it was made by another version of Temporal or by another program: %s.%s %s. " +
		"Use the version that made it, or start with a new file"
	tables := map[string]bool{}
	for _, c := range want {
		tables[c.table] = true
		if !slices.ContainsFunc(got, c.same) {
			return fmt.Errorf(reason, c.table, c.name, "is missing")
		}
	}
	for _, c := range got {
		if c.required && tables[c.table] && !slices.ContainsFunc(want, c.same) {
			return fmt.Errorf(reason, c.table, c.name, "is unknown to this version, and must have a value")
		}
	}
	return nil
}

// expectedColumns are those of a database that was just set up.
func expectedColumns(ctx context.Context) ([]column, error) {
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

// column is a column of a table.
type column struct {
	table, name string
	// required: a row can't be inserted without a value for it.
	required bool
}

func (c column) same(other column) bool { return c.table == other.table && c.name == other.name }

// columns lists those of all tables but of SQLite's own, and of tools, whose names begin with "_" (_litestream_seq).
func columns(ctx context.Context, db *sql.DB) ([]column, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT t.name, c.name, c."notnull" AND c.dflt_value IS NULL AND c.hidden = 0
		FROM sqlite_schema t JOIN pragma_table_xinfo(t.name) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND t.name NOT LIKE '\_%' ESCAPE '\'`)
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	defer rows.Close()
	var list []column
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.table, &c.name, &c.required); err != nil {
			return nil, fmt.Errorf("read schema: %w", err)
		}
		list = append(list, c)
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
