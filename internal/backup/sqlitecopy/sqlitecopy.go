// Package sqlitecopy copies a SQLite database while others use it, page by page and of one moment.
package sqlitecopy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"modernc.org/sqlite" // also the driver "sqlite"

	"storekeeper/internal/dbfile"
)

// pages is how many pages are copied at a time, which takes some milliseconds: after so many the end of the context is noticed.
const pages = 1000

// Copy makes a copy of the database at the path from in a new file at the path to, and checks that it is whole. Others may read and write meanwhile: the
// copy is of the moment at which it began. It is one file, without a log. Then finish may change it and read it; finish must leave no transaction open.
// After an error nothing is left of it.
//
// SQLite's own VACUUM INTO would number rows anew that Temporal's full-text indexes name by their number.
func Copy(ctx context.Context, from, to string, finish func(context.Context, *sql.DB) error) (err error) {
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, dbfile.Mode) // SQLite would make one that everybody can read
	if err != nil {
		return err
	}
	_ = file.Close() // nothing was written
	defer func() {
		if err != nil {
			_ = dbfile.Remove(to) // the error that is returned says enough
		}
	}()
	if err := copyPages(ctx, from, to); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dbfile.URI(to)+"?_pragma=synchronous(off)") // it is brought to the disk at the end
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	if err := errors.Join(complete(ctx, db, finish), db.Close()); err != nil {
		return err
	}
	return syncFile(to)
}

// complete makes one file of the copy, checks it and hands it to finish.
func complete(ctx context.Context, db *sql.DB, finish func(context.Context, *sql.DB) error) error {
	var mode, verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode = delete`).Scan(&mode); err != nil {
		return err
	}
	if err := finish(ctx, db); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("the copy is damaged, so the database may be too: restart the process, which looks: %s", verdict)
	}
	return nil
}

// copyPages copies all pages within one transaction that reads, so that what others write meanwhile is not in the copy.
func copyPages(ctx context.Context, from, to string) error {
	db, err := sql.Open("sqlite", dbfile.URI(from)+"?mode=rw&_pragma=busy_timeout(10000)&_query_only=1")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, `BEGIN`); err != nil {
		return err
	}
	defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`) }() // there is nothing to keep
	var tables int
	if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil { // the transaction begins here
		return err
	}
	return conn.Raw(func(driven any) error {
		source, ok := driven.(interface {
			NewBackup(to string) (*sqlite.Backup, error)
		})
		if !ok {
			return errors.New("the driver of SQLite makes no backups")
		}
		b, err := source.NewBackup(dbfile.URI(to))
		if err != nil {
			return err
		}
		for more := true; more && err == nil; {
			if err = ctx.Err(); err == nil {
				more, err = b.Step(pages)
			}
		}
		return errors.Join(err, b.Finish())
	})
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, dbfile.Mode)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
