package demo

import (
	"context"
	"database/sql"
	"errors"

	_ "modernc.org/sqlite" // the driver

	"storekeeper/internal/dbfile"
)

// openDatabase opens the SQLite file at path, or makes it, and runs the statements of schema. An empty path stands for a database in memory.
// pragma is set on the connection.
func openDatabase(ctx context.Context, path, pragma, schema string) (*sql.DB, error) {
	if path == "" {
		path = ":memory:"
	} else if err := errors.Join(dbfile.Create(path), dbfile.Tighten(path)); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dbfile.URI(path)+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma="+pragma)
	if err != nil {
		return nil, err
	}
	// One connection: a database in memory lives as long as its connection, and no query here can find another connection busy.
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// inTransaction runs f in a transaction, and rolls back when f fails.
func inTransaction(ctx context.Context, db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
