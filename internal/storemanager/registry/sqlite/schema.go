package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"storekeeper/internal/dbfile"
)

// applicationID marks a file as a registry of ours ("SKpr" in the header of the database).
const applicationID = 0x534b7072

// migrations lead from one version of the schema to the next. The version of a file is how many of them it has seen. They are only ever appended to.
//
// Times are microseconds since 1970, NULL for never. A store is monitored while tombstone_at is NULL.
var migrations = []string{`
CREATE TABLE stores (
	id                 TEXT PRIMARY KEY,
	tombstone_at       INTEGER, -- when the newest deletion was heard of, by our clock
	event_at           INTEGER NOT NULL,
	created_by         TEXT NOT NULL, -- EnsureRequest.RequestID
	first_monitored_at INTEGER,
	last_ensured_at    INTEGER,
	last_stopped_at    INTEGER,
	missing_since      INTEGER,
	pinned             INTEGER NOT NULL,
	deletion_event_at  INTEGER, -- this and the next two: a pending deletion
	delete_at          INTEGER,
	deletion_owner     TEXT NOT NULL,
	cancelled_event_at INTEGER, -- deletion_event_at of the newest deletion that was cancelled
	stopped_by         TEXT NOT NULL, -- deletion_owner of the deletion that made the tombstone
	hold_since         INTEGER, -- this and the next three: a hold, perhaps expired
	hold_expires_at    INTEGER,
	hold_reason        TEXT NOT NULL,
	hold_actor         TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Each holds only the few stores that it is about, so that Overview never looks at the many.
CREATE INDEX stores_tombstones ON stores (tombstone_at) WHERE tombstone_at IS NOT NULL;
CREATE INDEX stores_pending ON stores (delete_at) WHERE delete_at IS NOT NULL;
CREATE INDEX stores_held ON stores (hold_expires_at) WHERE hold_since IS NOT NULL;
CREATE INDEX stores_pinned ON stores (pinned) WHERE pinned = 1;

-- One row. provisioned and stopped change with the stores, in the same transaction, so provisioned - stopped is how many
-- are monitored: a count that costs the same at a million stores as at none.
CREATE TABLE totals (
	id                        INTEGER PRIMARY KEY CHECK (id = 1),
	provisioned               INTEGER NOT NULL DEFAULT 0,
	stopped                   INTEGER NOT NULL DEFAULT 0,
	last_provisioned_at       INTEGER,
	last_stopped_at           INTEGER,
	reconcile_successes       INTEGER NOT NULL DEFAULT 0,
	reconcile_failures        INTEGER NOT NULL DEFAULT 0,
	last_reconcile_success_at INTEGER
) STRICT;
INSERT INTO totals (id) VALUES (1);

CREATE TABLE reconcile_runs (
	run_id       TEXT PRIMARY KEY,
	started_at   INTEGER NOT NULL,
	completed_at INTEGER NOT NULL,
	error        TEXT NOT NULL,
	report       TEXT NOT NULL -- JSON, or empty
) STRICT, WITHOUT ROWID;
`, `
-- How far the events of a store are processed. A tombstone keeps its cursor: a store that comes back goes on from there.
CREATE TABLE cursors (
	store_id   TEXT PRIMARY KEY,
	backend_id TEXT NOT NULL,
	seq        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`, `
CREATE TABLE pauses (
	store_id   TEXT PRIMARY KEY, -- '': all stores
	since      INTEGER NOT NULL,
	expires_at INTEGER,
	reason     TEXT NOT NULL,
	actor      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest events of each store that stores has a row of.
CREATE TABLE store_events (
	store_id TEXT NOT NULL,
	seq      INTEGER NOT NULL, -- from 1 on, in the order of the decisions
	at       INTEGER NOT NULL,
	kind     TEXT NOT NULL,
	outcome  TEXT NOT NULL,
	detail   TEXT NOT NULL,
	PRIMARY KEY (store_id, seq)
) STRICT, WITHOUT ROWID;
`, `
-- The guard of reconciliation: since when it holds removals back (NULL: it doesn't), and the newest approval.
ALTER TABLE totals ADD COLUMN guard_since INTEGER;
ALTER TABLE totals ADD COLUMN guard_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE totals ADD COLUMN guard_approved_at INTEGER;
`, `
-- Webhooks that were answered.
CREATE TABLE deliveries (
	id        TEXT PRIMARY KEY, -- the sender's
	at        INTEGER NOT NULL,
	body_hash TEXT NOT NULL,
	status    INTEGER NOT NULL, -- of HTTP
	answer    TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_at ON deliveries (at);
`, `
ALTER TABLE totals ADD COLUMN deliveries INTEGER NOT NULL DEFAULT 0; -- how many rows deliveries has
UPDATE totals SET deliveries = (SELECT count(*) FROM deliveries);
`, `
ALTER TABLE stores ADD COLUMN deletion_since INTEGER; -- when the registry took the pending deletion in
ALTER TABLE stores ADD COLUMN listed_since INTEGER; -- the first of the consecutive lists that speak against it
ALTER TABLE stores ADD COLUMN listed_at INTEGER; -- the newest list that does, consecutive or not
ALTER TABLE stores ADD COLUMN deletion_by_list INTEGER NOT NULL DEFAULT 0; -- no event has asked for the pending deletion
UPDATE stores SET deletion_by_list = 1 WHERE delete_at IS NOT NULL AND missing_since IS NOT NULL;
CREATE INDEX stores_pending_ids ON stores (id) WHERE delete_at IS NOT NULL;

-- What lists, and no event, had removed within the last day.
CREATE TABLE list_removals (
	at       INTEGER NOT NULL,
	store_id TEXT NOT NULL,
	event_at INTEGER NOT NULL, -- of the deletion: when the list was asked for
	PRIMARY KEY (at, store_id)
) STRICT, WITHOUT ROWID;
`, `
-- Which registry this is, and how many transactions have changed it: what its mark says too.
ALTER TABLE totals ADD COLUMN identity TEXT NOT NULL DEFAULT '';
ALTER TABLE totals ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET identity = lower(hex(randomblob(16)));

-- That the registry was found to be new, older or another one than it should have been.
CREATE TABLE losses (
	found_at        INTEGER NOT NULL,
	found           TEXT NOT NULL,
	acknowledged_at INTEGER, -- NULL: nothing is removed yet
	acknowledged_by TEXT NOT NULL DEFAULT '',
	reason          TEXT NOT NULL DEFAULT '' -- of whoever acknowledged it
) STRICT;
`, `
-- Events that were answered before their outcome was known.
CREATE TABLE accepted_events (
	delivery_id TEXT PRIMARY KEY,
	store_id    TEXT NOT NULL,
	at          INTEGER NOT NULL,
	event_at    INTEGER NOT NULL,
	event       TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;
CREATE INDEX accepted_events_at ON accepted_events (at);
ALTER TABLE totals ADD COLUMN engine TEXT NOT NULL DEFAULT ''; -- the database of Temporal that knows all events
`, `
-- Deliveries and accepted events are the memory of webhooks: they have their own totals, and see of the registry the view heard alone.
CREATE TABLE delivery_totals (
	id         INTEGER PRIMARY KEY CHECK (id = 1),
	deliveries INTEGER NOT NULL, -- how many rows deliveries has
	engine     TEXT NOT NULL -- the database of Temporal that knows all accepted events
) STRICT;
INSERT INTO delivery_totals (id, deliveries, engine) SELECT 1, deliveries, engine FROM totals;
ALTER TABLE totals DROP COLUMN deliveries;
ALTER TABLE totals DROP COLUMN engine;
CREATE VIEW heard (store_id, newest_at) AS -- the newest event that a store has heard of
	SELECT id, max(event_at, coalesce(deletion_event_at, 0), coalesce(cancelled_event_at, 0)) FROM stores;
CREATE INDEX IF NOT EXISTS accepted_events_store ON accepted_events (store_id); -- some files of version 9 have it
`, `
-- The audit trail. Rows are added at its end and taken off at its beginning, and never changed. Texts are '' for none.
CREATE TABLE audit (
	seq         INTEGER PRIMARY KEY,
	at          INTEGER NOT NULL,
	kind        TEXT NOT NULL,
	store_id    TEXT NOT NULL, -- '': it concerns all stores
	outcome     TEXT NOT NULL,
	detail      TEXT NOT NULL,
	source      TEXT NOT NULL, -- this and all up to user_id: an Origin
	actor       TEXT NOT NULL,
	via         TEXT NOT NULL,
	reason      TEXT NOT NULL,
	delivery_id TEXT NOT NULL,
	run_id      TEXT NOT NULL,
	request_id  TEXT NOT NULL,
	trace_id    TEXT NOT NULL,
	batch       TEXT NOT NULL,
	plan        TEXT NOT NULL,
	user_id     TEXT NOT NULL, -- the workspace's owner
	evidence    TEXT NOT NULL -- JSON
) STRICT;
INSERT INTO audit (at, kind, store_id, outcome, detail, source, actor, via, reason, delivery_id, run_id, request_id, trace_id, batch, plan, user_id, evidence)
	SELECT at, kind, store_id, outcome, detail, '', '', '', '', '', '', '', '', '', '', '', '' FROM store_events ORDER BY at, store_id, seq;
CREATE INDEX audit_store ON audit (store_id);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit trail is never changed'); END;
DROP TABLE store_events;
ALTER TABLE stores ADD COLUMN missing_list TEXT NOT NULL DEFAULT ''; -- the hash of the list of missing_since
ALTER TABLE stores ADD COLUMN deletion_cause TEXT NOT NULL DEFAULT ''; -- JSON: why the deletion is pending
ALTER TABLE stores ADD COLUMN user_id TEXT NOT NULL DEFAULT ''; -- the workspace's owner, as an event named it
CREATE INDEX stores_users ON stores (user_id) WHERE user_id != '';

-- What each process had begun with when it last began.
CREATE TABLE settings (
	process TEXT PRIMARY KEY,
	version TEXT NOT NULL,
	names   TEXT NOT NULL -- JSON: values by name, no secrets
) STRICT, WITHOUT ROWID;
`}

// migrate brings db up to date, after it has made sure that db is ours to change. isNew says whether it was empty.
func migrate(ctx context.Context, db *sql.DB) (isNew bool, err error) {
	version, err := schemaVersion(ctx, db)
	if err != nil {
		return false, explainDamage(err)
	}
	isNew = version == 0
	if err := verify(ctx, db, `PRAGMA quick_check(1)`); err != nil { // about 0.3 s at a million stores
		return false, err
	}
	if err := dbfile.UseLog(ctx, db); err != nil {
		return false, explainDamage(err)
	}
	for ; version < len(migrations); version++ {
		if err := applyMigration(ctx, db, version); err != nil {
			return false, fmt.Errorf("migrate to schema version %d: %w", version+1, err)
		}
	}
	return isNew, nil
}

// verify runs a check of the whole file.
func verify(ctx context.Context, db *sql.DB, check string) error {
	var verdict string
	if err := db.QueryRowContext(ctx, check).Scan(&verdict); err != nil {
		return explainDamage(err)
	}
	if verdict != "ok" {
		return damage(errors.New(verdict))
	}
	return nil
}

func applyMigration(ctx context.Context, db *sql.DB, version int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	marks := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, version+1)
	if _, err := tx.ExecContext(ctx, migrations[version]+marks); err != nil {
		return err
	}
	return tx.Commit()
}

// schemaVersion returns 0 for an empty database, and an error for one that is not ours or too new. Tables don't count
// whose names begin with "_", such as _litestream_seq, which tools add, or with "sqlite_".
func schemaVersion(ctx context.Context, db *sql.DB) (int, error) {
	var application, version, tables int
	err := db.QueryRowContext(ctx, `
		SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
			(SELECT count(*) FROM sqlite_schema WHERE tbl_name NOT LIKE '\_%' ESCAPE '\' AND tbl_name NOT LIKE 'sqlite\_%' ESCAPE '\')`).Scan(&application, &version, &tables)
	switch {
	case err != nil:
		return 0, err
	case tables == 0:
		return 0, nil
	case application != applicationID:
		return 0, errors.New("it is the database of another program: use another file")
	case version > len(migrations):
		return 0, fmt.Errorf("a newer version of Storekeeper wrote it (schema %d, this one knows %d): start that version, "+
			"or restore a backup from before the upgrade", version, len(migrations))
	}
	return version, nil
}

// explainDamage adds to an error about a damaged file what to do about it. It returns other errors as they are.
func explainDamage(err error) error {
	switch dbfile.FaultOf(err) {
	case dbfile.NotSQLite, dbfile.Damaged:
		return damage(err)
	case dbfile.NoFault, dbfile.Locked, dbfile.Unwritable, dbfile.DiskFull:
	}
	return err
}

// damage says what to do about a file that is damaged.
func damage(err error) error {
	return fmt.Errorf("it is damaged, or no registry; it was left as it is: restore a backup, or move it away to start empty "+
		"(reconciliation ensures the stores again, and nothing is removed before you acknowledge the loss; holds are lost): %w", err)
}
