package storemanager

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

const (
	recordColumns = `id, tombstone_at, event_at, created_by, first_monitored_at, last_ensured_at, last_stopped_at,
	missing_since, pinned, deletion_event_at, delete_at, deletion_owner, cancelled_event_at, stopped_by,
	hold_since, hold_expires_at, hold_reason, hold_actor, deletion_since, listed_since, listed_at, deletion_by_list`

	selectRecord = `SELECT ` + recordColumns + ` FROM stores WHERE id = ?`
	listRecords  = `SELECT ` + recordColumns + ` FROM stores WHERE id > ? AND tombstone_at IS NULL ORDER BY id LIMIT ?`
	listPending  = `SELECT ` + recordColumns + ` FROM stores INDEXED BY stores_pending_ids WHERE id > ? AND delete_at IS NOT NULL ORDER BY id LIMIT ?`
	// A page comes in one row: what database/sql does for a row takes several times as long as SQLite does. Unsettled as in IDPage.
	listIDs = `SELECT coalesce(group_concat(id, char(10)), ''),
			coalesce(min(id) FILTER (WHERE missing_since IS NOT NULL OR delete_at IS NOT NULL OR event_at BETWEEN 0 AND 999999), '')
		FROM (SELECT id, missing_since, delete_at, event_at FROM stores WHERE id > ? AND tombstone_at IS NULL ORDER BY id LIMIT ?)`
	advanceTotals = `UPDATE totals SET changes = changes + 1, provisioned = provisioned + ?1, stopped = stopped + ?2,
			last_provisioned_at = iif(?1 > 0, ?3, last_provisioned_at), last_stopped_at = iif(?2 > 0, ?3, last_stopped_at)
		RETURNING changes`
	saveRecord = `REPLACE INTO stores (` + recordColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

// values are those of recordColumns, in that order.
func (s *record) values() []any {
	var holdExpiresAt time.Time
	if s.hold.ExpiresAt != nil {
		holdExpiresAt = *s.hold.ExpiresAt
	}
	return []any{
		s.id, column(s.tombstoneAt), column(s.eventAt), s.createdBy, column(s.firstMonitoredAt), column(s.lastEnsuredAt),
		column(s.lastStoppedAt), column(s.missingSince), s.pinned, column(s.deletion.EventAt), column(s.deletion.DeleteAt),
		s.deletion.Owner, column(s.cancelledEventAt), s.stoppedBy,
		column(s.hold.Since), column(holdExpiresAt), s.hold.Reason, s.hold.Actor, column(s.deletion.Since), column(s.listedSince),
		column(s.listedAt), s.deletion.ByList,
	}
}

// scanRecord reads recordColumns. A hold that has expired by now is left out: it counts as none everywhere.
func scanRecord(row interface{ Scan(dest ...any) error }, now time.Time) (record, error) {
	var s record
	var holdExpiresAt time.Time
	err := row.Scan(
		&s.id, (*column)(&s.tombstoneAt), (*column)(&s.eventAt), &s.createdBy, (*column)(&s.firstMonitoredAt),
		(*column)(&s.lastEnsuredAt), (*column)(&s.lastStoppedAt), (*column)(&s.missingSince), &s.pinned,
		(*column)(&s.deletion.EventAt), (*column)(&s.deletion.DeleteAt), &s.deletion.Owner, (*column)(&s.cancelledEventAt),
		&s.stoppedBy, (*column)(&s.hold.Since), (*column)(&holdExpiresAt), &s.hold.Reason, &s.hold.Actor,
		(*column)(&s.deletion.Since), (*column)(&s.listedSince), (*column)(&s.listedAt), &s.deletion.ByList,
	)
	s.hold.ExpiresAt = optional(holdExpiresAt)
	if s.hold.ExpiresAt != nil && !now.Before(holdExpiresAt) {
		s.hold = Hold{}
	}
	return s, err
}

// monitoredIDs are those of all monitored stores.
func (r *Registry) monitoredIDs(ctx context.Context) ([]string, error) {
	rows, err := r.read.QueryContext(ctx, `SELECT id FROM stores WHERE tombstone_at IS NULL ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("read registry: %w", err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	return ids, nil
}

// column is a time as a column has it: microseconds since 1970, NULL for the zero time.
type column time.Time

func (c column) optional() *time.Time { return optional(time.Time(c)) }

// Value implements driver.Valuer.
func (c column) Value() (driver.Value, error) {
	t := time.Time(c)
	if t.IsZero() {
		return nil, nil
	}
	return t.UnixMicro(), nil
}

// Scan implements sql.Scanner.
func (c *column) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*c = column{}
	case int64:
		*c = column(time.UnixMicro(v).UTC())
	default:
		return fmt.Errorf("a time is kept as %T", v)
	}
	return nil
}

// record is what the registry has of the store; the zero record but for its id if that is unknown.
func (r *Registry) record(ctx context.Context, id string) (record, error) {
	s, err := scanRecord(r.get.QueryRowContext(ctx, id), r.clock())
	if errors.Is(err, sql.ErrNoRows) {
		return record{id: id}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("read registry: %w", err)
	}
	return s, nil
}

// changes is a transaction under way: what is changed, and when. It keeps the totals equal to the rows.
type changes struct {
	*sql.Tx
	load, save           *sql.Stmt
	newest, note, forget *sql.Stmt // of events
	decision                       // when the rules decide
	touched, advance     *sql.Stmt
	last                 int64 // Registry.committed, when it began
	retention            time.Duration
	provisioned, stopped int
	tombstones           bool // some were made
}

// change runs fn in one transaction: all that it changes is on disk when change returns without an error, and none of it
// otherwise (but for an error of the commit itself, after which either may be true).
func change[T any](ctx context.Context, r *Registry, fn func(*changes) (T, error)) (T, error) {
	var none T
	if err := r.usable(); err != nil {
		return none, err
	}
	sqlTx, err := r.write.BeginTx(ctx, nil)
	if err != nil {
		return none, fmt.Errorf("begin change of registry: %w", err)
	}
	defer func() { _ = sqlTx.Rollback() }() // does nothing after Commit
	tx := &changes{
		Tx: sqlTx, load: sqlTx.StmtContext(ctx, r.load), save: sqlTx.StmtContext(ctx, r.save),
		newest: sqlTx.StmtContext(ctx, r.newest), note: sqlTx.StmtContext(ctx, r.note), forget: sqlTx.StmtContext(ctx, r.forget),
		touched: sqlTx.StmtContext(ctx, r.touched), advance: sqlTx.StmtContext(ctx, r.advance), last: r.committed.Load(),
		decision: decision{now: r.clock()}, retention: r.retention,
	}
	before, err := tx.rowsTouched(ctx)
	if err != nil {
		return none, err
	}
	result, err := fn(tx)
	if err != nil {
		return none, err
	}
	at, err := tx.finish(ctx, before)
	if errors.Is(err, errWentBack) {
		err = r.breakOff(err)
	}
	if err != nil {
		return none, err
	}
	if err := sqlTx.Commit(); err != nil {
		return none, fmt.Errorf("commit change of registry: %w", err)
	}
	r.committed.raise(at)
	r.mark.set(position{r.identity, at}) // before the answer: what was answered and is gone must be noticed
	return result, nil
}

// rowsTouched is how many rows the connection of the transaction has changed.
func (tx *changes) rowsTouched(ctx context.Context) (n int64, err error) {
	if err := tx.touched.QueryRowContext(ctx).Scan(&n); err != nil {
		return 0, fmt.Errorf("read registry: %w", err)
	}
	return n, nil
}

// errWentBack: nobody else counts changes, so a count that was there already means that an older file was put in place.
var errWentBack = errors.New("its file went back in time")

// apply runs a rule on the record of id and keeps what it made of it. An error of the rule is returned as it is.
func (tx *changes) apply(ctx context.Context, id string, rule func(*record) error) error {
	before, err := scanRecord(tx.load.QueryRowContext(ctx, id), tx.now)
	if errors.Is(err, sql.ErrNoRows) {
		before, err = record{id: id}, nil
	}
	if err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	after := before
	if err := rule(&after); err != nil {
		return err
	}
	if after == before {
		return nil
	}
	if _, err := tx.save.ExecContext(ctx, after.values()...); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	switch {
	case after.monitored() && !before.monitored():
		tx.provisioned++
	case before.monitored() && !after.monitored():
		tx.stopped++
		if before.deletion.ByList {
			if err := tx.noteListRemoval(ctx, before); err != nil {
				return err
			}
		}
	}
	tx.tombstones = tx.tombstones || !after.monitored()
	return nil
}

// listRemovalsWindow is how long the guard of reconciliation remembers what lists have removed.
const listRemovalsWindow = 24 * time.Hour

// noteListRemoval remembers for the guard that a store is stopped because lists lacked it.
func (tx *changes) noteListRemoval(ctx context.Context, s record) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM list_removals WHERE at <= ?`, column(tx.now.Add(-listRemovalsWindow))); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO list_removals (at, store_id, event_at) VALUES (?, ?, ?)`,
		column(tx.now), s.id, column(s.deletion.EventAt)); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	return nil
}

// finish brings the totals up to date, unless nothing has changed, and returns how many changes there are then. Whoever adds a
// tombstone also removes those that are too old: no one else has to.
func (tx *changes) finish(ctx context.Context, before int64) (int64, error) {
	if tx.tombstones {
		if err := tx.prune(ctx); err != nil {
			return 0, err
		}
	}
	after, err := tx.rowsTouched(ctx)
	if err != nil || after == before {
		return tx.last, err
	}
	var at int64
	if err := tx.advance.QueryRowContext(ctx, tx.provisioned, tx.stopped, column(tx.now)).Scan(&at); err != nil {
		return 0, fmt.Errorf("write registry: %w", err)
	}
	if at <= tx.last {
		return 0, errWentBack
	}
	return at, nil
}

func (tx *changes) prune(ctx context.Context) error {
	oldest := column(tx.now.Add(-tx.retention))
	for _, statement := range []string{
		`DELETE FROM cursors WHERE store_id IN (SELECT id FROM stores WHERE tombstone_at < ?)`,
		`DELETE FROM store_events WHERE store_id IN (SELECT id FROM stores WHERE tombstone_at < ?)`,
		`DELETE FROM stores WHERE tombstone_at < ?`,
	} {
		if _, err := tx.ExecContext(ctx, statement, oldest); err != nil {
			return fmt.Errorf("prune registry: %w", err)
		}
	}
	return nil
}
