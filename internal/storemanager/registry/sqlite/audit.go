package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"storekeeper/internal/storemanager"
)

const (
	entryColumns = `at, kind, store_id, outcome, detail, source, actor, via, reason, delivery_id, run_id, request_id, trace_id, batch, plan, user_id`

	appendEntry  = `INSERT INTO audit (` + entryColumns + `, evidence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	newestEntry  = `SELECT seq, ` + entryColumns + ` FROM audit WHERE store_id = ? ORDER BY seq DESC LIMIT 1`
	pruneEntries = `DELETE FROM audit WHERE seq IN (SELECT seq FROM audit ORDER BY seq LIMIT ?) AND at < ? AND seq < (SELECT max(seq) FROM audit)`
)

// columnsOf are where entryColumns come from and go to, in that order.
func columnsOf(e *storemanager.AuditEntry) []any {
	return []any{
		(*column)(&e.At), (*string)(&e.Kind), &e.StoreID, &e.Outcome, &e.Detail, (*string)(&e.Source), &e.Actor, &e.Via, &e.Reason, &e.DeliveryID,
		&e.RunID, &e.RequestID, &e.TraceID, &e.Batch, &e.Plan, &e.UserID,
	}
}

// NewestEntry implements Tx.
func (tx *transaction) NewestEntry(ctx context.Context, id string) (e storemanager.AuditEntry, err error) {
	err = tx.newest.QueryRowContext(ctx, id).Scan(append([]any{&e.Seq}, columnsOf(&e)...)...)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return storemanager.AuditEntry{}, fmt.Errorf("read registry: %w", err)
	}
	return e, nil
}

// Append implements Tx.
func (tx *transaction) Append(ctx context.Context, e storemanager.AuditEntry) error {
	if _, err := tx.append.ExecContext(ctx, append(columnsOf(&e), documentOf(e.Evidence))...); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	return nil
}

// PruneAudit implements Tx.
func (tx *transaction) PruneAudit(ctx context.Context, oldest time.Time, most int) error {
	if _, err := tx.pruneAudit.ExecContext(ctx, most, column(oldest)); err != nil {
		return fmt.Errorf("prune registry: %w", err)
	}
	return nil
}

// Audit implements Driver.
func (db *Database) Audit(ctx context.Context, q storemanager.AuditQuery) ([]storemanager.AuditEntry, error) {
	query, args := auditQuery(q)
	rows, err := db.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }()
	entries := []storemanager.AuditEntry{}
	for rows.Next() {
		var e storemanager.AuditEntry
		var evidence string
		if err := rows.Scan(append(append([]any{&e.Seq}, columnsOf(&e)...), &evidence)...); err != nil {
			return nil, fmt.Errorf("read registry: %w", err)
		}
		if evidence != "" {
			if err := json.Unmarshal([]byte(evidence), &e.Evidence); err != nil {
				return nil, fmt.Errorf("read registry: evidence of entry %d: %w", e.Seq, err)
			}
		}
		entries = append(entries, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	return entries, nil
}

// auditQuery is the query in SQL.
func auditQuery(q storemanager.AuditQuery) (query string, args []any) {
	var terms []string
	where := func(term string, arg ...any) {
		terms = append(terms, term)
		args = append(args, arg...)
	}
	equal := func(column, value string) {
		if value != "" {
			where(column+" = ?", value)
		}
	}
	equal("store_id", q.StoreID)
	equal("source", string(q.Source))
	equal("actor", q.Actor)
	equal("run_id", q.RunID)
	equal("batch", q.Batch)
	equal("outcome", q.Outcome)
	equal("user_id", q.UserID)
	if len(q.Kinds) > 0 {
		kinds := make([]any, len(q.Kinds))
		for i, kind := range q.Kinds {
			kinds[i] = string(kind)
		}
		where("kind IN (?"+strings.Repeat(", ?", len(kinds)-1)+")", kinds...)
	}
	if !q.Since.IsZero() {
		where("at >= ?", column(q.Since))
	}
	if !q.Until.IsZero() {
		where("at < ?", column(q.Until))
	}
	order, after := "DESC", "<"
	if q.OldestFirst {
		order, after = "ASC", ">"
	}
	if q.Cursor != 0 {
		where("seq "+after+" ?", q.Cursor)
	}
	query = "SELECT seq, " + entryColumns + ", evidence FROM audit"
	if len(terms) > 0 {
		query += " WHERE " + strings.Join(terms, " AND ")
	}
	return query + " ORDER BY seq " + order + " LIMIT ?", append(args, q.Limit)
}

// Settings implements Tx.
func (tx *transaction) Settings(ctx context.Context, process string) (*storemanager.Settings, error) {
	s := storemanager.Settings{Process: process}
	err := tx.QueryRowContext(ctx, `SELECT version, names FROM settings WHERE process = ?`, process).Scan(&s.Version, documentOf(&s.Values))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // as said
	}
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	return &s, nil
}

// SaveSettings implements Tx.
func (tx *transaction) SaveSettings(ctx context.Context, s storemanager.Settings) error {
	_, err := tx.exec(ctx, `REPLACE INTO settings (process, version, names) VALUES (?, ?, ?)`, s.Process, s.Version, documentOf(&s.Values))
	return err
}

// document is a value as a column has it: JSON, "" for what is empty.
type document[T any] struct{ of *T }

func documentOf[T any](of *T) document[T] { return document[T]{of} }

// Value implements driver.Valuer.
func (d document[T]) Value() (driver.Value, error) {
	if d.of == nil {
		return "", nil
	}
	encoded, err := json.Marshal(d.of)
	if err != nil {
		return nil, err
	}
	if string(encoded) == "{}" || string(encoded) == "null" {
		return "", nil
	}
	return string(encoded), nil
}

// Scan implements sql.Scanner.
func (d document[T]) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("a document is kept as %T", v)
	}
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), d.of)
}
