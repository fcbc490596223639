package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"storekeeper/internal/storemanager"
)

const (
	pauseColumns = `store_id, since, expires_at, reason, actor`
	inForce      = `(expires_at IS NULL OR expires_at > ?)`

	selectPause  = `SELECT ` + pauseColumns + ` FROM pauses WHERE store_id = ? AND ` + inForce
	selectPauses = `SELECT ` + pauseColumns + ` FROM pauses WHERE store_id BETWEEN ? AND ? AND ` + inForce + ` ORDER BY store_id`
	savePause    = `REPLACE INTO pauses (` + pauseColumns + `) VALUES (?, ?, ?, ?, ?)`
)

// Pause implements Driver.
func (db *Database) Pause(ctx context.Context, scope string, now time.Time) (*storemanager.Pause, error) {
	return scanPause(db.pause.QueryRowContext(ctx, scope, column(now)))
}

// Pauses implements Driver.
func (db *Database) Pauses(ctx context.Context, first, last string, now time.Time) ([]storemanager.Pause, error) {
	rows, err := db.read.QueryContext(ctx, selectPauses, first, last, column(now))
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }()
	pauses := []storemanager.Pause{}
	for rows.Next() {
		p, err := scanPause(rows)
		if err != nil {
			return nil, err
		}
		pauses = append(pauses, *p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	return pauses, nil
}

// Pause implements Tx.
func (tx *transaction) Pause(ctx context.Context, scope string, now time.Time) (*storemanager.Pause, error) {
	return scanPause(tx.QueryRowContext(ctx, selectPause, scope, column(now)))
}

// SavePause implements Tx.
func (tx *transaction) SavePause(ctx context.Context, p storemanager.Pause) error {
	var expiresAt time.Time
	if p.ExpiresAt != nil {
		expiresAt = *p.ExpiresAt
	}
	_, err := tx.exec(ctx, savePause, p.StoreID, column(p.Since), column(expiresAt), p.Reason, p.Actor)
	return err
}

// DropPause implements Tx.
func (tx *transaction) DropPause(ctx context.Context, scope string) (bool, error) {
	n, err := tx.exec(ctx, `DELETE FROM pauses WHERE store_id = ?`, scope)
	return n > 0, err
}

// DropExpiredPauses implements Tx.
func (tx *transaction) DropExpiredPauses(ctx context.Context, now time.Time) error {
	_, err := tx.exec(ctx, `DELETE FROM pauses WHERE expires_at <= ?`, column(now))
	return err
}

// scanPause reads pauseColumns; nil where there is no row.
func scanPause(row interface{ Scan(dest ...any) error }) (*storemanager.Pause, error) {
	var p storemanager.Pause
	var expiresAt column
	err := row.Scan(&p.StoreID, (*column)(&p.Since), &expiresAt, &p.Reason, &p.Actor)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	p.ExpiresAt = expiresAt.optional()
	return &p, nil
}
