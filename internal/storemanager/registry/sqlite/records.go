package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"storekeeper/internal/storemanager/registry"
)

const (
	recordColumns = `id, tombstone_at, event_at, created_by, first_monitored_at, last_ensured_at, last_stopped_at,
	missing_since, pinned, deletion_event_at, delete_at, deletion_owner, cancelled_event_at, stopped_by,
	hold_since, hold_expires_at, hold_reason, hold_actor, deletion_since, listed_since, listed_at, deletion_by_list,
	missing_list, deletion_cause, user_id`

	selectRecord = `SELECT ` + recordColumns + ` FROM stores WHERE id = ?`
	listRecords  = `SELECT ` + recordColumns + ` FROM stores WHERE id > ? AND tombstone_at IS NULL ORDER BY id LIMIT ?`
	listPending  = `SELECT ` + recordColumns + ` FROM stores INDEXED BY stores_pending_ids WHERE id > ? AND delete_at IS NOT NULL ORDER BY id LIMIT ?`
	listOf       = `SELECT ` + recordColumns + ` FROM stores INDEXED BY stores_users WHERE user_id != '' AND user_id BETWEEN ?1 AND ?1 || char(1114111)
		AND id > ?2 AND tombstone_at IS NULL ORDER BY id LIMIT ?3`
	// A page comes in one row, because database/sql takes several times as long for a row as SQLite. The second column is unsettled, as in IDPage.
	listIDs = `SELECT coalesce(group_concat(id, char(10)), ''),
			coalesce(min(id) FILTER (WHERE missing_since IS NOT NULL OR delete_at IS NOT NULL OR event_at BETWEEN 0 AND 999999), '')
		FROM (SELECT id, missing_since, delete_at, event_at FROM stores WHERE id > ? AND tombstone_at IS NULL ORDER BY id LIMIT ?)`
	advanceTotals = `UPDATE totals SET changes = changes + 1, provisioned = provisioned + ?1, stopped = stopped + ?2,
			last_provisioned_at = iif(?1 > 0, ?3, last_provisioned_at), last_stopped_at = iif(?2 > 0, ?3, last_stopped_at)
		RETURNING changes`
	saveRecord = `REPLACE INTO stores (` + recordColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

// values are those of recordColumns, in that order.
func values(s registry.Record) []any {
	var holdExpiresAt time.Time
	if s.Hold.ExpiresAt != nil {
		holdExpiresAt = *s.Hold.ExpiresAt
	}
	return []any{
		s.ID, column(s.TombstoneAt), column(s.EventAt), s.CreatedBy, column(s.FirstMonitoredAt), column(s.LastEnsuredAt),
		column(s.LastStoppedAt), column(s.UnlistedSince), s.Pinned, column(s.Deletion.EventAt), column(s.Deletion.DeleteAt),
		s.Deletion.Owner, column(s.CancelledEventAt), s.StoppedBy,
		column(s.Hold.Since), column(holdExpiresAt), s.Hold.Reason, s.Hold.Actor, column(s.Deletion.Since), column(s.ListedSince),
		column(s.ListedAt), s.Deletion.ByList, s.UnlistedBy, documentOf(&s.Deletion.Cause), s.UserID,
	}
}

// scanRecord reads recordColumns.
func scanRecord(row interface{ Scan(dest ...any) error }) (registry.Record, error) {
	var s registry.Record
	var holdExpiresAt time.Time
	err := row.Scan(
		&s.ID, (*column)(&s.TombstoneAt), (*column)(&s.EventAt), &s.CreatedBy, (*column)(&s.FirstMonitoredAt),
		(*column)(&s.LastEnsuredAt), (*column)(&s.LastStoppedAt), (*column)(&s.UnlistedSince), &s.Pinned,
		(*column)(&s.Deletion.EventAt), (*column)(&s.Deletion.DeleteAt), &s.Deletion.Owner, (*column)(&s.CancelledEventAt),
		&s.StoppedBy, (*column)(&s.Hold.Since), (*column)(&holdExpiresAt), &s.Hold.Reason, &s.Hold.Actor,
		(*column)(&s.Deletion.Since), (*column)(&s.ListedSince), (*column)(&s.ListedAt), &s.Deletion.ByList,
		&s.UnlistedBy, documentOf(&s.Deletion.Cause), &s.UserID,
	)
	s.Hold.ExpiresAt = column(holdExpiresAt).optional()
	return s, err
}

// MonitoredIDs implements Driver.
func (db *Database) MonitoredIDs(ctx context.Context) ([]string, error) {
	return idsOf(db.read.QueryContext(ctx, `SELECT id FROM stores WHERE tombstone_at IS NULL ORDER BY id`))
}

// idsOf reads rows of one text each; nil for none.
func idsOf(rows *sql.Rows, err error) ([]string, error) {
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

// optional is nil for NULL.
func (c column) optional() *time.Time {
	if t := time.Time(c); !t.IsZero() {
		return &t
	}
	return nil
}

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

// Record implements Driver.
func (db *Database) Record(ctx context.Context, id string) (registry.Record, error) {
	return recordOf(id, db.get.QueryRowContext(ctx, id))
}

// recordOf reads the row of an id. Without a row it is the zero Record, but for its ID.
func recordOf(id string, row *sql.Row) (registry.Record, error) {
	s, err := scanRecord(row)
	if errors.Is(err, sql.ErrNoRows) {
		return registry.Record{ID: id}, nil
	}
	if err != nil {
		return registry.Record{}, fmt.Errorf("read registry: %w", err)
	}
	return s, nil
}

// Records implements Driver.
func (db *Database) Records(ctx context.Context, after string, limit int, pending bool) iter.Seq2[registry.Record, error] {
	statement := db.records
	if pending {
		statement = db.pendingRecords // it finds the few without looking at the many
	}
	return recordsOf(func() (*sql.Rows, error) { return statement.QueryContext(ctx, after, limit) })
}

// RecordsOf implements Driver.
func (db *Database) RecordsOf(ctx context.Context, user, after string, limit int) iter.Seq2[registry.Record, error] {
	return recordsOf(func() (*sql.Rows, error) { return db.read.QueryContext(ctx, listOf, user, after, limit) })
}

// recordsOf yields the rows of recordColumns that query finds.
func recordsOf(query func() (*sql.Rows, error)) iter.Seq2[registry.Record, error] {
	return func(yield func(registry.Record, error) bool) {
		rows, err := query()
		if err != nil {
			yield(registry.Record{}, fmt.Errorf("read registry: %w", err))
			return
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			s, err := scanRecord(rows)
			if err != nil {
				err = fmt.Errorf("read registry: %w", err)
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(registry.Record{}, fmt.Errorf("read registry: %w", err))
		}
	}
}

// IDs implements Driver.
func (db *Database) IDs(ctx context.Context, after string, limit int) (ids []string, unsettled string, err error) {
	var lines string
	if err := db.ids.QueryRowContext(ctx, after, limit).Scan(&lines, &unsettled); err != nil {
		return nil, "", fmt.Errorf("read registry: %w", err)
	}
	if lines == "" {
		return nil, "", nil
	}
	ids = strings.Split(lines, "\n")
	last := after
	for _, id := range ids { // SQLite promises no order to group_concat, it only keeps one
		if id <= last {
			return nil, "", fmt.Errorf("read registry: %q comes after %q", id, last)
		}
		last = id
	}
	return ids, unsettled, nil
}
