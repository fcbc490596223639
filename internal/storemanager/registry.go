package storemanager

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"
	_ "modernc.org/sqlite" // the driver "sqlite"
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
	lock        *os.File  // nil in memory
	now         func() time.Time
	retention   time.Duration
	log         *zap.Logger

	maxDeliveries int64
}

var _ Manager = (*Registry)(nil)

// Open opens the registry, sets up its schema or brings it up to date, and prunes old tombstones. A file that another
// process has open, that is damaged, that a newer version wrote or that is none of ours is refused and left as it is.
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
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(abs), 0o700); err != nil {
			return err
		}
		if r.lock, err = lockFile(abs + ".lock"); err != nil {
			return err
		}
		uri = (&url.URL{Scheme: "file", Path: abs}).String()
	}
	// synchronous(full) waits for the disk at each commit: an event that was answered 2xx must survive a power loss too, not
	// only a crash of the process. busy_timeout (ms) is for others who hold the file for a moment: sqlite3, a backup.
	const pragmas = "?_dqs=0&_pragma=busy_timeout(10000)&_pragma=synchronous(full)"
	var err error
	if r.write, err = sql.Open("sqlite", uri+pragmas+"&_txlock=immediate"); err != nil {
		return err
	}
	r.write.SetMaxOpenConns(1)
	if err := migrate(ctx, r.write); err != nil {
		return err
	}

	r.read = r.write
	if path != "" {
		if r.read, err = sql.Open("sqlite", uri+pragmas+"&_query_only=1"); err != nil {
			return err
		}
		r.read.SetMaxOpenConns(4)
		r.read.SetMaxIdleConns(4)
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	_, err = change(ctx, r, func(tx *changes) (struct{}, error) { return struct{}{}, tx.prune(ctx) })
	return err
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
	} {
		var err error
		if *p.statement, err = p.db.PrepareContext(ctx, p.query); err != nil { //nolint:sqlclosecheck // closed with its database
			return err
		}
	}
	return nil
}

// Close ends all use of the registry; a method that is under way may fail.
func (r *Registry) Close() error {
	var errs []error
	if r.read != nil && r.read != r.write {
		errs = append(errs, r.read.Close())
	}
	if r.write != nil {
		errs = append(errs, r.write.Close())
	}
	if r.lock != nil { // last: it guards the files until SQLite is done with them
		errs = append(errs, r.lock.Close())
	}
	return errors.Join(errs...)
}

// Ping returns nil if the registry can be read.
func (r *Registry) Ping(ctx context.Context) error {
	var one int
	if err := r.read.QueryRowContext(ctx, `SELECT id FROM totals`).Scan(&one); err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	return nil
}

// clock is now, as precise as it can be stored.
func (r *Registry) clock() time.Time { return precise(r.now()) }

// lockFile takes the lock at path. The kernel lets go of it with the file, so also when the process is killed.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.New("another process has it open: stop that one, or use another file")
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
