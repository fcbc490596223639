// Package dbfile looks after the files of a SQLite database: who may read them, which process has them, their log, and the room they take.
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
	// DirMode and Mode let nobody but the owner see what is kept: ids, names and reasons, and with some databases secrets.
	DirMode = 0o700
	Mode    = 0o600
)

// ErrInUse: another process has the lock, or another user of it in this one.
var ErrInUse = errors.New("in use")

// beside are the files of a database: itself, what SQLite keeps beside it, and our lock.
var beside = []string{"", "-wal", "-shm", "-journal", ".lock"}

// Lock takes the lock beside the database at path. The kernel lets go of it with the file, so also when the process is killed.
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

// Create makes an empty file for a new database, which SQLite would let everybody read. It leaves one that is there alone: to
// open and close that would drop SQLite's own locks in this process.
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

// Tighten takes the files of the database at path away from all but their owner. SQLite makes further ones like the database.
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

// Remove deletes the database at path with what SQLite keeps beside it, and leaves the lock.
func Remove(path string) error {
	var errs []error
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} { // the log of a database that is gone would be taken for a new one's
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// LogSize is how many bytes the log (WAL) of the database at path has; 0 when there is none, as without a connection.
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

// Queryer is an *sql.DB, a connection of it, or a transaction.
type Queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// URI names the file at path to SQLite: its parameters follow a "?".
func URI(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }

// UseLog has the database write a log (WAL) first, with which readers and the writer don't wait for each other. The file keeps that, so a file
// that may be another program's must be looked at before. A database in memory stays without.
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

// EmptyLog moves all of the log into the file, and cuts it to nothing. It waits for readers of the log as long as SQLite's busy_timeout
// allows, or until ctx ends.
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
