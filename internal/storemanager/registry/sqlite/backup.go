package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"storekeeper/internal/backup"
	"storekeeper/internal/backup/sqlitecopy"
)

// NewestSchema is the version of the schema of registries here. Those with a higher one can't be opened.
func NewestSchema() int { return len(migrations) }

// createBackupNote makes a table that is in copies for a backup alone: however such a copy is put back, its first start finds out that it is one. Its name begins with
// "_", so it is no part of the schema.
const createBackupNote = `CREATE TABLE _backup (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	at INTEGER NOT NULL -- when the copy began
) STRICT`

// CopyTo makes a copy of the registry in a new file at path, of one moment, and reads it back. Changes go on meanwhile. When the copy is opened as a registry it counts as
// lost, because it knows nothing of what has happened since. A registry in memory can't be copied.
func (db *Database) CopyTo(ctx context.Context, path string) (backup.Contents, error) {
	if db.path == "" {
		return backup.Contents{}, backup.ErrNothingOnDisk
	}
	if err := db.usable(); err != nil {
		return backup.Contents{}, err
	}
	// A checkpoint would have changes wait for the end of the copy.
	db.copying.Add(1)
	defer db.copying.Add(-1)
	began := time.Now()
	c := backup.Contents{Rows: map[string]int64{}}
	err := sqlitecopy.Copy(ctx, db.path, path, func(ctx context.Context, copied *sql.DB) error {
		if _, err := copied.ExecContext(ctx, createBackupNote+`; INSERT INTO _backup (id, at) VALUES (1, ?)`, column(began)); err != nil {
			return err
		}
		var monitored, pending, held, tombstones, changes int64
		if err := copied.QueryRowContext(ctx, `SELECT identity, changes, (SELECT user_version FROM pragma_user_version),
			(SELECT count(*) FROM stores WHERE tombstone_at IS NULL), (SELECT count(*) FROM stores WHERE delete_at IS NOT NULL),
			(SELECT count(*) FROM stores WHERE hold_since IS NOT NULL), (SELECT count(*) FROM stores WHERE tombstone_at IS NOT NULL)
			FROM totals`).Scan(&c.Identity, &changes, &c.Schema, &monitored, &pending, &held, &tombstones); err != nil {
			return err
		}
		c.Rows = map[string]int64{"monitored": monitored, "deletionPending": pending, "held": held, "stopped": tombstones, "changes": changes}
		return nil
	})
	return c, err
}

// backupAt is when the copy was made that this registry is; nil if it is none.
func (db *Database) backupAt(ctx context.Context) (*time.Time, error) {
	var noted bool
	if err := db.write.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = '_backup'`).Scan(&noted); err != nil || !noted {
		return nil, err
	}
	var at column
	if err := db.write.QueryRowContext(ctx, `SELECT at FROM _backup`).Scan(&at); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	return at.optional(), nil
}

// restoredOwner owns the deletions of a restored registry, until lifecycles take them over.
const restoredOwner = "restored"

// goOnFrom makes a registry of the copy that was made at that moment, once the loss of what has happened since is noted, at the time that the registry's clock shows.
//
// What had some time left then has it now: pending deletions, holds and pauses. Whatever the lifecycles of a restored Temporal remember, a deletion is nobody's until a
// lifecycle takes it over, with its time as it is here. A first sighting of an old list makes an orphan of nothing. And Temporal counts as new: it is told of all events
// that were answered without an outcome.
func (tx *transaction) goOnFrom(ctx context.Context, copied time.Time) error {
	var now column
	if err := tx.QueryRowContext(ctx, `SELECT max(found_at) FROM losses`).Scan(&now); err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	age := max(0, time.Time(now).Sub(copied)).Microseconds()
	for _, change := range []struct {
		statement string
		args      []any
	}{
		{`UPDATE stores SET delete_at = delete_at + ?, deletion_owner = ? WHERE delete_at IS NOT NULL`, []any{age, restoredOwner}},
		{`UPDATE stores SET hold_expires_at = hold_expires_at + ? WHERE hold_since IS NOT NULL AND hold_expires_at > ?`, []any{age, column(copied)}},
		{`UPDATE pauses SET expires_at = expires_at + ? WHERE expires_at > ?`, []any{age, column(copied)}},
		{`UPDATE stores SET missing_since = NULL, missing_list = '' WHERE missing_since IS NOT NULL`, nil},
		{`UPDATE delivery_totals SET engine = ''`, nil},
		{`DROP TABLE _backup`, nil},
	} {
		if _, err := tx.exec(ctx, change.statement, change.args...); err != nil {
			return err
		}
	}
	return nil
}
