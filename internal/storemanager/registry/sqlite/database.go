// Package sqlite is the registry's Driver on SQLite. A mark beside the file tells when the file was lost, or was replaced by an older one. The package
// knows of the Driver's types and of the file (internal/dbfile). The memory of webhooks (internal/deliveries/sqlite) has its tables in the same file.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"storekeeper/internal/dbfile"
	"storekeeper/internal/storemanager/registry"
)

// Database is the registry's Driver on SQLite, in a file or in memory. One process at a time can have a file open. What Change has kept in a file survives a
// power loss. In memory there is one connection: a read waits for a Change that is under way there.
type Database struct {
	write *sql.DB // one connection: SQLite has one writer, and waiting for it in Go is fair and ends with the context
	read  *sql.DB // never waits for a writer; in memory it is write, because each connection would be a database of its own there
	statements
	lock *os.File // nil in memory
	log  *zap.Logger

	given     string // the path as Open was given it; "" in memory
	path      string // of the file, absolute and without links; "" in memory
	file      os.FileInfo
	isNew     bool // the database was empty when it was opened
	mark      mark
	identity  string
	committed highest               // changes that are on disk
	copying   atomic.Int32          // copies for a backup that are under way
	broken    atomic.Pointer[error] // why nothing can be kept any more; nil: it can
	// endUpkeep ends the upkeep of the files, and returns when it is done. It is nil before the upkeep has begun.
	endUpkeep func()
	// nextCheckpoint is when upkeep may empty the log again; zero: at once. Only the upkeep uses it.
	nextCheckpoint time.Time
}

var _ registry.Driver = (*Database)(nil)

// statements are those that are used all the time: SQLite takes longer to compile them than to run them.
type statements struct {
	load, save              *sql.Stmt // of write; a record
	newest, append          *sql.Stmt // of write; the audit trail: the newest entry of a store, an entry to add
	pruneAudit              *sql.Stmt // of write; the entries that are too old
	touched                 *sql.Stmt // of write; how many rows its connection has changed
	advance                 *sql.Stmt // of write; brings the totals up to date
	get                     *sql.Stmt // of read; a record
	pause                   *sql.Stmt // of read; of one scope
	records, pendingRecords *sql.Stmt // of read; the monitored stores by id, and those of them whose deletion is pending
	ids                     *sql.Stmt // of read; the same as records, but the ids alone
}

// Open opens the database at path, and sets up its schema or brings it up to date. It makes the file and its directory if there is none. With the path "" all is
// kept in memory, until Close. A file is refused, and left as it is, if another process has it open, if it is damaged, if a newer version wrote it, or if it
// is not ours. A nil log is silent.
func Open(ctx context.Context, path string, log *zap.Logger) (*Database, error) {
	if log == nil {
		log = zap.NewNop()
	}
	db := &Database{given: path, log: log}
	db.mark.log = log
	if err := db.open(ctx, path); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("%s: %w", cmp.Or(path, "in memory"), err)
	}
	return db, nil
}

func (db *Database) open(ctx context.Context, path string) error {
	uri := "file::memory:"
	if path != "" {
		if err := db.claim(path); err != nil {
			return err
		}
		uri = dbfile.URI(db.path)
	}
	// synchronous(full) waits for the disk at each commit: an event that was answered 2xx must survive a power loss, and not only a crash of the
	// process. busy_timeout (ms) is for others who hold the file for a moment: sqlite3, a backup.
	// journal_size_limit cuts the log off when it begins anew.
	pragmas := fmt.Sprintf("?_dqs=0&_pragma=busy_timeout(10000)&_pragma=synchronous(full)&_pragma=journal_size_limit(%d)", logSize)
	var err error
	if db.write, err = sql.Open("sqlite", uri+pragmas+"&_txlock=immediate"); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	if db.isNew, err = migrate(ctx, db.write); err != nil {
		return err
	}

	db.read = db.write
	if path != "" {
		if err := dbfile.Tighten(db.path); err != nil {
			db.log.Warn("others may read the registry", zap.Error(err))
		}
		if db.file, err = os.Stat(db.path); err != nil {
			return err
		}
		if db.read, err = sql.Open("sqlite", uri+pragmas+"&_query_only=1"); err != nil {
			return err
		}
		db.read.SetMaxOpenConns(4)
		db.read.SetMaxIdleConns(4)
	}
	return db.prepare(ctx)
}

// claim takes the lock of the file at path, and makes the file where it is missing.
func (db *Database) claim(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if target, err := filepath.EvalSymlinks(abs); err == nil { // SQLite keeps its log beside the target of a link, and all links to a file must take the same lock
		abs = target
	}
	if err := os.MkdirAll(filepath.Dir(abs), dbfile.DirMode); err != nil {
		return err
	}
	if db.lock, err = dbfile.Lock(abs); errors.Is(err, dbfile.ErrInUse) {
		return errors.New("another process has it open: stop that one, or use another file")
	} else if err != nil {
		return err
	}
	db.path = abs
	db.mark.path = markOf(abs)
	return dbfile.Create(abs)
}

// prepare compiles the statements.
func (db *Database) prepare(ctx context.Context) error {
	for _, p := range []struct {
		statement **sql.Stmt
		db        *sql.DB
		query     string
	}{
		{&db.load, db.write, selectRecord},
		{&db.save, db.write, saveRecord},
		{&db.newest, db.write, newestEntry},
		{&db.append, db.write, appendEntry},
		{&db.pruneAudit, db.write, pruneEntries},
		{&db.get, db.read, selectRecord},
		{&db.pause, db.read, selectPause},
		{&db.records, db.read, listRecords},
		{&db.pendingRecords, db.read, listPending},
		{&db.ids, db.read, listIDs},
		{&db.touched, db.write, `SELECT total_changes()`},
		{&db.advance, db.write, advanceTotals},
	} {
		var err error
		if *p.statement, err = p.db.PrepareContext(ctx, p.query); err != nil { //nolint:sqlclosecheck // closed with its database
			return err
		}
	}
	return nil
}

// Close implements Driver. It leaves all that is kept in the file itself, and nothing in its log.
func (db *Database) Close() error {
	if db.endUpkeep != nil {
		db.endUpkeep()
	}
	var errs []error
	if db.read != nil && db.read != db.write {
		errs = append(errs, db.read.Close())
	}
	if db.write != nil {
		errs = append(errs, db.closeWriter())
	}
	errs = append(errs, db.mark.close())
	if db.lock != nil { // last: it guards the files until SQLite is done with them
		errs = append(errs, db.lock.Close())
		db.lock = nil
	}
	return errors.Join(errs...)
}

// closeWriter closes the writer, and moves the log into the file before. SQLite would do it too, but not while somebody else has the file open.
func (db *Database) closeWriter() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait) //nolint:forbidigo // Close takes none
	defer cancel()
	conn, err := db.write.Conn(ctx)            // the only one, so that nobody writes after the checkpoint
	if db.write.Stats().OpenConnections == 0 { // it was closed before, or never opened
		return db.write.Close()
	}
	if err != nil {
		return errors.Join(err, db.write.Close())
	}
	if db.endUpkeep != nil { // it is open, and ours
		if err := dbfile.EmptyLog(ctx, conn); err != nil {
			db.log.Warn("the log of the registry is not in its file yet; the next start reads it", zap.Error(err))
		}
	}
	return errors.Join(db.write.Close(), conn.Close())
}

// Path is that of the file, absolute and without links; "" in memory.
func (db *Database) Path() string { return db.path }

// Databases returns the handles with which others prepare statements: write for those that they run in Transact, and for no others, and read.
func (db *Database) Databases() (write, read *sql.DB) { return db.write, db.read }

// Ping implements Driver.
func (db *Database) Ping(ctx context.Context) error {
	if err := db.usable(); err != nil {
		return err
	}
	var one int
	if err := db.read.QueryRowContext(ctx, `SELECT id FROM totals`).Scan(&one); err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	return nil
}

// highest is a number that only grows.
type highest struct{ atomic.Int64 }

func (h *highest) raise(n int64) {
	for old := h.Load(); n > old && !h.CompareAndSwap(old, n); old = h.Load() { //nolint:revive // the condition does it all
	}
}
