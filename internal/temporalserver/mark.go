package temporalserver

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"time"

	"go.temporal.io/server/common/headers"
)

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

// claim notes in an existing database that this version uses it.
func claim(ctx context.Context, db *sql.DB) error {
	return inTransaction(ctx, db, func(tx *sql.Tx) error { return mark(ctx, tx, rand.Text(), nil) })
}

// engineOf returns the id of the engine that the file belongs to, and the version of the last server that used it. Both are "" for a file
// without a mark.
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

// replacementOf returns the database that the open one has replaced; nil if there was none.
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
