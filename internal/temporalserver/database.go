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
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.uber.org/zap"

	"storekeeper/internal/dbfile"
)

// inMemory describes a new database in memory, apart from all others. Temporal keeps it open, and so in memory, until the process ends.
func inMemory() dataStores {
	db := &config.SQL{
		PluginName:        sqliteplugin.PluginName,
		DatabaseName:      "temporal-" + rand.Text(),
		ConnectAttributes: map[string]string{"mode": "memory", "cache": "shared"},
	}
	return dataStores{executions: db, visibility: db, shards: 1}
}

// files are a server's databases on disk. The caller of openFiles holds the lock of executions, which covers all of them.
type files struct {
	executions string
	// visibility is a file of its own. With SchemaFull it is the same file as executions.
	visibility string
	data       dataStores // how Temporal opens them
	replaced   *Replacement
}

// split says whether visibility has a file of its own.
func (f *files) split() bool { return f.visibility != f.executions }

// all returns each path once.
func (f *files) all() []string {
	if !f.split() {
		return []string{f.executions}
	}
	return []string{f.executions, f.visibility}
}

// VisibilityPath is the path of visibility's own file, beside the database at path.
func VisibilityPath(path string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-visibility" + ext
}

// realPath returns the path of the file itself, without links. SQLite keeps the log beside that path, and two links to one file must share
// one lock.
func realPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(absolute)
	if errors.Is(err, fs.ErrNotExist) { // it will be made there
		return absolute, nil
	}
	return target, err
}

// openFiles sets up the databases of a server at path (see realPath), or checks the existing ones, and brings them to the schema. A
// database of another version of Temporal is set aside, and a new one takes its place.
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
	db, version, err := f.openExecutions(ctx, log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	if err := dbfile.UseLog(ctx, db); err != nil { // only once it is known to be ours
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
	f.data = f.dataStores(schema)
	for _, file := range f.all() { // now they are known to be ours
		if err := dbfile.Tighten(file); err != nil {
			log.Warn("others may read temporal's database", zap.Error(err))
		}
	}
	return f, nil
}

// openExecutions opens the database of the executions, or makes it, and says what it found. A database of another version of Temporal is
// set aside, and a new one takes its place. The caller closes the database.
func (f *files) openExecutions(ctx context.Context, log *zap.Logger) (*sql.DB, version, error) {
	db, err := createFile(f.executions)
	if err != nil {
		return nil, version{}, err
	}
	if err := checkWhole(ctx, db); err != nil {
		return nil, version{}, errors.Join(err, db.Close())
	}
	v, err := versionOf(ctx, db)
	if err != nil {
		return nil, version{}, errors.Join(err, db.Close())
	}
	if !v.other {
		return db, v, nil
	}
	replaced := &Replacement{At: time.Now().Truncate(time.Second), Version: v.name, Why: v.why}
	if replaced.SetAside, err = setAside(ctx, db, f.executions, v.name, replaced.At); err != nil {
		return nil, version{}, err
	}
	log.Warn("temporal's database is of another version, so it was set aside and a new one begun: pending deletions, pauses and "+
		"events without an outcome go on from the registry", zap.String("version", v.name), zap.String("why", v.why),
		zap.String("setAside", replaced.SetAside))
	if db, err = createFile(f.executions); err != nil {
		return nil, version{}, err
	}
	f.replaced = replaced
	return db, version{empty: true}, nil
}

// dataStores describes the files to Temporal.
func (f *files) dataStores(schema Schema) dataStores {
	const shards = 1 // SQLite has one writer
	if schema == SchemaFull {
		db := onDisk(f.executions, "full")
		return dataStores{executions: db, visibility: db, shards: shards}
	}
	return dataStores{executions: onDisk(f.executions, "normal"), visibility: onDisk(f.visibility, "normal"), shards: shards}
}

// create makes Temporal's tables, except those of visibility, and the mark: all or none.
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

// onDisk describes a file to Temporal.
//
// Temporal uses one connection, which is its default. SQLite has one writer at a time, and a transaction that reads first and writes then
// fails at once when another connection has written in between, whatever the busy timeout.
//
// A commit reaches the kernel before it is acknowledged, so it survives kill -9. With synchronous "full" it is also on the disk and
// survives a power loss. With "normal", the type durability ensures that what clients were told survives one.
func onDisk(path, synchronous string) *config.SQL {
	return &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: strings.TrimPrefix(dbfile.URI(path), "file:"), // Temporal puts the name into a URI unchanged
		ConnectAttributes: map[string]string{
			// Other processes (sqlite3, a backup) may lock the file for a moment.
			"busy_timeout": "10000",
			"journal_mode": "wal",
			"synchronous":  synchronous,
			// A log that grew during a burst is cut to this size when SQLite begins it anew. That happens every 4 MB, because nobody else
			// reads.
			"journal_size_limit": "4194304",
			// Temporal keeps its connections until the process ends, and reuses them for equal attributes. A later start may find other
			// files, so each start makes its attributes unique. SQLite ignores a pragma that it does not know.
			"storekeeper_start": "s" + rand.Text(),
		},
	}
}

// lockDatabase takes the lock beside the database file. Closing the result releases it.
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

// openFile opens a file through SQLite. Nothing may open it directly: closing a plain descriptor of the file would drop SQLite's own locks
// in this process. SQLite must be told before the first table is made that it is to give free pages back.
func openFile(path string) (*sql.DB, error) {
	return openSQLite(dbfile.URI(path) + "?_pragma=busy_timeout=10000&_pragma=auto_vacuum=incremental")
}

// createFile opens a file, and makes it first if there is none.
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

// checkWhole reads the whole file and looks for damage. It takes a third of a second for 300 MB.
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

// explain adds to an error of SQLite what to do about it.
func explain(err error) error {
	switch dbfile.FaultOf(err) {
	case dbfile.NotSQLite:
		return fmt.Errorf("%w: %w", errNoSQLite, err)
	case dbfile.Damaged:
		return fmt.Errorf("%w: %w", errDamaged, err)
	default:
		return dbfile.Explain(err)
	}
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
