package temporalserver

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/headers"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.uber.org/zap"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"storekeeper/internal/dbfile"
)

// inMemory describes a new database of its own. Temporal keeps it open, and so in memory, until the process ends.
func inMemory() stores {
	db := &config.SQL{
		PluginName:        sqliteplugin.PluginName,
		DatabaseName:      "temporal-" + rand.Text(),
		ConnectAttributes: map[string]string{"mode": "memory", "cache": "shared"},
	}
	return stores{executions: db, visibility: db, shards: 1}
}

// files are a server's databases on disk. The caller of openFiles holds their lock, which is that of executions.
type files struct {
	executions string
	// visibility is a file of its own, or the same with SchemaFull.
	visibility string
	stores     stores // what Temporal is told of them
	replaced   *Replacement
}

// split says whether visibility has a file of its own.
func (f *files) split() bool { return f.visibility != f.executions }

// all are the paths, each once.
func (f *files) all() []string {
	if !f.split() {
		return []string{f.executions}
	}
	return []string{f.executions, f.visibility}
}

// VisibilityPath is where the visibility of the database at path is, if it has a file of its own.
func VisibilityPath(path string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-visibility" + ext
}

// realPath is where the file is that a path means: SQLite keeps the log beside that, and two links to one file have one lock.
func realPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(absolute)
	if errors.Is(err, fs.ErrNotExist) { // it is still to be made
		return absolute, nil
	}
	return target, err
}

// openFiles sets up the databases of a server at path (see realPath), or checks those that are there and brings them to the schema. One of another
// version of Temporal is set aside, and a new one takes its place.
func openFiles(ctx context.Context, path string, schema Schema, log *zap.Logger) (_ *files, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("database %s: %w", path, explain(err))
		}
	}()
	f := &files{executions: path, visibility: path}
	if schema != SchemaFull {
		f.visibility = VisibilityPath(path)
	}
	db, err := createFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }() // the one that is open by then
	if err := checkWhole(ctx, db); err != nil {
		return nil, err
	}
	version, err := versionOf(ctx, db)
	if err != nil {
		return nil, err
	}
	if version.other {
		replaced := &Replacement{At: time.Now().Truncate(time.Second), Version: version.name, Why: version.why}
		if replaced.SetAside, err = setAside(ctx, db, path, version.name, replaced.At); err != nil {
			return nil, err
		}
		log.Warn("temporal's database is of another version, so it was set aside and a new one begun: pending deletions, pauses and "+
			"events without an outcome go on from the registry", zap.String("version", version.name), zap.String("why", version.why),
			zap.String("setAside", replaced.SetAside))
		if db, err = createFile(path); err != nil {
			return nil, err
		}
		version.empty, f.replaced = true, replaced
	}
	if err := dbfile.UseLog(ctx, db); err != nil { // not before it was known to be ours
		return nil, err
	}
	if version.empty {
		err = create(ctx, db, f.replaced)
	} else {
		err = claim(ctx, db)
	}
	if err != nil {
		return nil, err
	}
	if f.replaced == nil {
		if f.replaced, err = replacementOf(ctx, db); err != nil {
			return nil, err
		}
	}
	if err := bringTo(ctx, db, f, schema, log); err != nil {
		return nil, err
	}
	f.stores.shards = 1 // SQLite has one writer
	if schema == SchemaFull {
		f.stores.executions = onDisk(f.executions, "full")
		f.stores.visibility = f.stores.executions
	} else {
		f.stores.executions, f.stores.visibility = onDisk(f.executions, "normal"), onDisk(f.visibility, "normal")
	}
	for _, file := range f.all() { // now that they are ours to change
		if err := dbfile.Tighten(file); err != nil {
			log.Warn("others may read temporal's database", zap.Error(err))
		}
	}
	return f, nil
}

// onDisk describes a file to Temporal.
//
// One connection, which is Temporal's default: SQLite has one writer at a time, and a transaction that reads first and
// writes then fails at once when another connection has written in between, whatever the busy timeout.
//
// A commit is in the kernel's hands before it is acknowledged, so it survives kill -9. With synchronous=full it is on the disk as well, and
// survives a power loss; with "normal" durability sees to it that what clients were told does.
func onDisk(path, synchronous string) *config.SQL {
	return &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: strings.TrimPrefix(dbfile.URI(path), "file:"), // Temporal puts it into a URI as it is
		ConnectAttributes: map[string]string{
			// Other processes (sqlite3, a backup) may hold the file for a moment.
			"busy_timeout": "10000",
			"journal_mode": "wal",
			"synchronous":  synchronous,
			// What a burst has left is cut off when the log begins anew. It does so every 4 MB, for nobody else reads.
			"journal_size_limit": "4194304",
			// Temporal keeps its connections until the process ends, and gives them to whoever asks with the same words: a later start, which may
			// find other files. SQLite ignores a pragma that it does not know.
			"storekeeper_start": "s" + rand.Text(),
		},
	}
}

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

// openFile opens a file. It is read through SQLite only: closing a plain descriptor of it would drop SQLite's own locks in this process. That
// free pages are to be given back SQLite wants to know before the first table.
func openFile(path string) (*sql.DB, error) {
	return openSQLite(dbfile.URI(path) + "?_pragma=busy_timeout=10000&_pragma=auto_vacuum=incremental")
}

// createFile opens a file, and makes it if there is none.
func createFile(path string) (*sql.DB, error) {
	if err := dbfile.Create(path); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no file: move it away, or use another path", path))
	}
	return openFile(path)
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

var errDamaged = errors.New("it is damaged: put a backup back, or move it away to begin with a new one, which takes pending deletions, pauses and " +
	"events without an outcome from the registry")

var errNoSQLite = errors.New("it is no SQLite file, or its first page is damaged: put a backup back, or move it away")

// checkWhole reads the whole file; a third of a second for 300 MB.
func checkWhole(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w (%s)", errDamaged, verdict)
	}
	return nil
}

// explain says what to do about what SQLite says.
func explain(err error) error {
	cause, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch cause.Code() & 0xff { // the rest are details
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("another program has it locked, end that one: %w", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("this user may not write to it, or to its directory: %w", err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full: %w", err)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", errNoSQLite, err)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// create makes Temporal's tables, but those of visibility, all or none.
func create(ctx context.Context, db *sql.DB, replaced *Replacement) error {
	return inTransaction(ctx, db, func(tx *sql.Tx) error {
		statements, err := schemaOfExecutions()
		if err != nil {
			return err
		}
		if err := execute(ctx, tx, statements...); err != nil {
			return fmt.Errorf("set up schema: %w", err)
		}
		return mark(ctx, tx, rand.Text(), replaced)
	})
}

// The mark is a table of ours in each file. Temporal itself records no schema version in SQLite.
const createMark = `CREATE TABLE IF NOT EXISTS _storekeeper_engine (
	id             INTEGER PRIMARY KEY CHECK (id = 1),
	engine         TEXT NOT NULL, -- the same in all files of a server
	server_version TEXT NOT NULL, -- of the last server that used it
	replaced_at    INTEGER,       -- when it took the place of another one, in Unix seconds
	replaced       TEXT NOT NULL, -- the version of that one
	set_aside      TEXT NOT NULL  -- where that one is
) STRICT`

func mark(ctx context.Context, tx *sql.Tx, engine string, replaced *Replacement) error {
	var at *int64
	var version, path string
	if replaced != nil {
		at, version, path = new(replaced.At.Unix()), replaced.Version, replaced.SetAside
	}
	if _, err := tx.ExecContext(ctx, createMark); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO _storekeeper_engine (id, engine, server_version, replaced_at, replaced, set_aside) VALUES (1, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET server_version = excluded.server_version`, engine, headers.ServerVersion, at, version, path)
	return err
}

// claim notes in a database that is there which version uses it.
func claim(ctx context.Context, db *sql.DB) error {
	return inTransaction(ctx, db, func(tx *sql.Tx) error { return mark(ctx, tx, rand.Text(), nil) })
}

// engineOf is the engine that the file belongs to; "" for one that has no mark.
func engineOf(ctx context.Context, db *sql.DB) (engine, serverVersion string, err error) {
	var marked bool
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = '_storekeeper_engine'`).Scan(&marked); err != nil || !marked {
		return "", "", err
	}
	err = db.QueryRowContext(ctx, `SELECT engine, server_version FROM _storekeeper_engine`).Scan(&engine, &serverVersion)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return engine, serverVersion, err
}

// replacementOf says which database the one that is open has replaced; nil for none.
func replacementOf(ctx context.Context, db *sql.DB) (*Replacement, error) {
	var at sql.NullInt64
	var r Replacement
	err := db.QueryRowContext(ctx, `SELECT replaced_at, replaced, set_aside FROM _storekeeper_engine`).Scan(&at, &r.Version, &r.SetAside)
	if err != nil || !at.Valid {
		return nil, err
	}
	r.At = time.Unix(at.Int64, 0)
	return &r, nil
}

func inTransaction(ctx context.Context, db *sql.DB, do func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

func execute(ctx context.Context, tx *sql.Tx, statements ...string) error {
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
