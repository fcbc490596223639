// Package dbfile looks after the files of a SQLite database: who may read them, which process uses them, their write-ahead log, and the
// disk space that they take. It links no SQLite driver.
package dbfile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"syscall"
)

const (
	// DirMode and Mode keep everybody but the owner out: the files hold ids, names and reasons, and some databases hold secrets.
	DirMode = 0o700
	Mode    = 0o600
)

// ErrInUse: the lock is taken, by another process or by another user of the database in this one.
var ErrInUse = errors.New("in use")

// beside are the suffixes of a database's files: the database itself, what SQLite keeps beside it, and our lock.
var beside = []string{"", "-wal", "-shm", "-journal", ".lock"}

// Lock takes the lock beside the database at path, or returns ErrInUse. Closing the file releases the lock. The kernel closes it when the
// process is killed.
func Lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, Mode)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrInUse
	}
	return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
}

// Create makes an empty file for a new database. SQLite would make one that everybody can read. A file that exists is left alone, because
// opening and closing it would drop SQLite's own locks in this process.
func Create(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, Mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// Tighten makes the files of the database at path readable and writable by their owner alone. Files that SQLite makes later get the mode of
// the database.
func Tighten(path string) error {
	var errs []error
	for _, suffix := range beside {
		info, err := os.Stat(path + suffix)
		if err == nil && info.Mode().Perm()&^Mode != 0 {
			err = os.Chmod(path+suffix, Mode)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Remove deletes the database at path and what SQLite keeps beside it. It leaves the lock.
func Remove(path string) error {
	var errs []error
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} { // the log first: beside a new database it would be taken for the log of that one
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// LogSize is the size of the log (WAL) of the database at path, in bytes. It is 0 without a log, as when no connection is open.
func LogSize(path string) (int64, error) {
	info, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Queryer is an *sql.DB, one of its connections, or a transaction.
type Queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// URI is the name of the file at path for SQLite. Parameters may follow after a "?".
func URI(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }

// UseLog switches the database to a write-ahead log (WAL), with which readers and the writer don't wait for each other. The setting stays
// in the file, so make sure first that the file is not another program's. A database in memory stays without a log.
func UseLog(ctx context.Context, db Queryer) error {
	var mode string
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode = wal`).Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" && mode != "memory" {
		return errors.New("the file system does not support SQLite's write-ahead log: use a local disk")
	}
	return nil
}

// EmptyLog moves all of the log into the file and truncates the log to zero bytes. It waits for readers of the log until SQLite's
// busy_timeout is over or ctx ends, and then returns an error.
func EmptyLog(ctx context.Context, db Queryer) error {
	var busy, pages, moved int
	if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved); err != nil {
		return err
	}
	if busy != 0 {
		return fmt.Errorf("%d of %d pages were moved, readers are in the way", moved, pages)
	}
	return nil
}
