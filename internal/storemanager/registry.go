package storemanager

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
)

// Options of a Registry. The zero value is an empty registry in memory.
type Options struct {
	// Path of the database file; it and its directory are made where missing. "" keeps everything in memory, until Close.
	Path string
	// Now is the clock of grace periods, holds and marks; nil means time.Now.
	Now func() time.Time
	// Logger nil: silent.
	Logger *zap.Logger
	// TombstoneRetention is how long a tombstone outlives the last knowledge of its deletion; 0 means 30 days. An event that
	// is delivered later than that can bring a store back, until reconciliation finds it an orphan.
	TombstoneRetention time.Duration
	// MaxDeliveries is how many deliveries are remembered at the most; 0 means the constant of that name.
	MaxDeliveries int
}

const defaultTombstoneRetention = 30 * 24 * time.Hour

// Registry is the Manager that keeps the stores in a SQLite database. It is safe for concurrent use. One process at a time
// can have a file open.
//
// What a method answered without an error is on disk and survives a power loss; what ended in an error changed nothing,
// or, if only the answer was lost, is found by the repeat.
type Registry struct {
	write       *sql.DB   // one connection: SQLite has one writer, and waiting for it in Go is fair and ends with the context
	read        *sql.DB   // never waits for a writer; the same as write in memory, where each connection would be its own database
	load        *sql.Stmt // of write
	save        *sql.Stmt // of write
	newest      *sql.Stmt // of write; the newest event of a store
	note        *sql.Stmt // of write; keeps an event
	forget      *sql.Stmt // of write; drops events that are too many
	get         *sql.Stmt // of read
	pause       *sql.Stmt // of read; of one store
	events      *sql.Stmt // of read; of one store
	rows        *sql.Stmt // of read; the monitored ones, by id
	pendingRows *sql.Stmt // of read; those of them whose deletion is pending
	ids         *sql.Stmt // of read; the same as rows, their ids alone
	delivery    *sql.Stmt // of read; one delivery
	remember    *sql.Stmt // of write; keeps a delivery
	unremember  *sql.Stmt // of write; drops deliveries that are too old
	count       *sql.Stmt // of write; counts deliveries
	touched     *sql.Stmt // of write; how many rows its connection has changed
	advance     *sql.Stmt // of write; brings the totals up to date
	lock        *os.File  // nil in memory
	now         func() time.Time
	retention   time.Duration
	log         *zap.Logger

	maxDeliveries int64

	path      string // of the file; "" in memory
	file      os.FileInfo
	mark      mark
	identity  string
	committed highest               // changes that are on disk
	broken    atomic.Pointer[error] // why nothing can be kept any more; nil: it can
	// endUpkeep ends the upkeep of the files, and returns when it is done; nil before it has begun.
	endUpkeep func()
}

var _ Manager = (*Registry)(nil)

// Open opens the registry, sets up its schema or brings it up to date, and prunes old tombstones. A file that another
// process has open, that is damaged, that a newer version wrote or that is none of ours is refused and left as it is. One that has
// lost something is opened, and refuses to stop stores until that is acknowledged (Overview.Guard).
func Open(ctx context.Context, o Options) (*Registry, error) {
	r := &Registry{
		now: o.Now, retention: o.TombstoneRetention, log: o.Logger, maxDeliveries: int64(cmp.Or(o.MaxDeliveries, MaxDeliveries)),
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.retention == 0 {
		r.retention = defaultTombstoneRetention
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	r.mark.log = r.log
	if err := r.open(ctx, o.Path); err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("%s: %w", cmp.Or(o.Path, "in memory"), err)
	}
	r.log.Info("registry opened", zap.String("path", o.Path), zap.Int("schemaVersion", len(migrations)))
	return r, nil
}

func (r *Registry) open(ctx context.Context, path string) error {
	uri := "file::memory:"
	if path != "" {
		if err := r.claim(path); err != nil {
			return err
		}
		uri = dbfile.URI(r.path)
	}
	// synchronous(full) waits for the disk at each commit: an event that was answered 2xx must survive a power loss too, not
	// only a crash of the process. busy_timeout (ms) is for others who hold the file for a moment: sqlite3, a backup.
	// journal_size_limit cuts the log off when it begins anew.
	pragmas := fmt.Sprintf("?_dqs=0&_pragma=busy_timeout(10000)&_pragma=synchronous(full)&_pragma=journal_size_limit(%d)", logSize)
	var err error
	if r.write, err = sql.Open("sqlite", uri+pragmas+"&_txlock=immediate"); err != nil {
		return err
	}
	r.write.SetMaxOpenConns(1)
	isNew, err := migrate(ctx, r.write)
	if err != nil {
		return err
	}

	r.read = r.write
	if path != "" {
		if err := dbfile.Tighten(r.path); err != nil {
			r.log.Warn("others may read the registry", zap.Error(err))
		}
		if r.file, err = os.Stat(r.path); err != nil {
			return err
		}
		if r.read, err = sql.Open("sqlite", uri+pragmas+"&_query_only=1"); err != nil {
			return err
		}
		r.read.SetMaxOpenConns(4)
		r.read.SetMaxIdleConns(4)
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.compareMark(ctx, isNew); err != nil {
		return err
	}
	if _, err = change(ctx, r, func(tx *changes) (struct{}, error) { return struct{}{}, tx.prune(ctx) }); err != nil {
		return err
	}
	r.beginUpkeep(ctx)
	return r.tellLoss(ctx)
}

// claim takes the lock of the file at path, and makes the file where it is missing.
func (r *Registry) claim(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if target, err := filepath.EvalSymlinks(abs); err == nil { // SQLite keeps its log beside the target of a link, and the lock is to be one
		abs = target
	}
	if err := os.MkdirAll(filepath.Dir(abs), dbfile.DirMode); err != nil {
		return err
	}
	if r.lock, err = dbfile.Lock(abs); errors.Is(err, dbfile.ErrInUse) {
		return errors.New("another process has it open: stop that one, or use another file")
	} else if err != nil {
		return err
	}
	r.path = abs
	r.mark.path = markOf(abs)
	return dbfile.Create(abs)
}

// prepare prepares what is used all the time: SQLite takes longer to compile these statements than to run them.
func (r *Registry) prepare(ctx context.Context) error {
	for _, p := range []struct {
		statement **sql.Stmt
		db        *sql.DB
		query     string
	}{
		{&r.load, r.write, selectRecord},
		{&r.save, r.write, saveRecord},
		{&r.newest, r.write, selectNewestEvent},
		{&r.note, r.write, saveEvent},
		{&r.forget, r.write, deleteEvents},
		{&r.get, r.read, selectRecord},
		{&r.pause, r.read, selectPause},
		{&r.events, r.read, selectEvents},
		{&r.rows, r.read, listRecords},
		{&r.pendingRows, r.read, listPending},
		{&r.ids, r.read, listIDs},
		{&r.delivery, r.read, selectDelivery},
		{&r.remember, r.write, insertDelivery},
		{&r.unremember, r.write, forgetDeliveries},
		{&r.count, r.write, countDeliveries},
		{&r.touched, r.write, `SELECT total_changes()`},
		{&r.advance, r.write, advanceTotals},
	} {
		var err error
		if *p.statement, err = p.db.PrepareContext(ctx, p.query); err != nil { //nolint:sqlclosecheck // closed with its database
			return err
		}
	}
	return nil
}

// Close ends all use of the registry; a method that is under way may fail. It leaves all that is kept in the file itself, and
// nothing in its log.
func (r *Registry) Close() error {
	if r.endUpkeep != nil {
		r.endUpkeep()
	}
	var errs []error
	if r.read != nil && r.read != r.write {
		errs = append(errs, r.read.Close())
	}
	if r.write != nil {
		errs = append(errs, r.closeWriter())
	}
	errs = append(errs, r.mark.close())
	if r.lock != nil { // last: it guards the files until SQLite is done with them
		errs = append(errs, r.lock.Close())
		r.lock = nil
	}
	return errors.Join(errs...)
}

// closeWriter moves the log into the file before. SQLite would do it too, but not while somebody else has the file open.
func (r *Registry) closeWriter() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait) //nolint:forbidigo // Close takes none
	defer cancel()
	conn, err := r.write.Conn(ctx)            // the only one, so that nobody writes after the checkpoint
	if r.write.Stats().OpenConnections == 0 { // it was closed before, or never opened
		return r.write.Close()
	}
	if err != nil {
		return errors.Join(err, r.write.Close())
	}
	if r.endUpkeep != nil { // it is open, and ours
		if err := dbfile.EmptyLog(ctx, conn); err != nil {
			r.log.Warn("the log of the registry is not in its file yet; the next start reads it", zap.Error(err))
		}
	}
	return errors.Join(r.write.Close(), conn.Close())
}

// Ping returns nil if the registry can be read, and keeps what is changed.
func (r *Registry) Ping(ctx context.Context) error {
	if err := r.usable(); err != nil {
		return err
	}
	var one int
	if err := r.read.QueryRowContext(ctx, `SELECT id FROM totals`).Scan(&one); err != nil {
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

// clock is now, as precise as it can be stored.
func (r *Registry) clock() time.Time { return precise(r.now()) }
