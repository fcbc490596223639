package storemanager

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	pauseColumns = `store_id, since, expires_at, reason, actor`
	inForce      = `(expires_at IS NULL OR expires_at > ?)`

	selectPause  = `SELECT ` + pauseColumns + ` FROM pauses WHERE store_id = ? AND ` + inForce
	selectPauses = `SELECT ` + pauseColumns + ` FROM pauses WHERE store_id BETWEEN ? AND ? AND ` + inForce + ` ORDER BY store_id`
	savePause    = `REPLACE INTO pauses (` + pauseColumns + `) VALUES (?, ?, ?, ?, ?)`

	lastID = "~" // after all ids
)

// Pause implements Manager. Reason and actor are required; Since is set here.
func (r *Registry) Pause(ctx context.Context, p Pause) (Pause, error) {
	if err := p.check(); err != nil {
		return Pause{}, err
	}
	p = p.normal()
	return change(ctx, r, func(tx *changes) (Pause, error) {
		if err := checkExpiry(p.ExpiresAt, tx.now); err != nil {
			return Pause{}, err
		}
		if err := tx.dropExpiredPauses(ctx); err != nil {
			return Pause{}, err
		}
		before, err := tx.pause(ctx, p.StoreID)
		if err != nil {
			return Pause{}, err
		}
		p.Since = tx.now
		if before != nil && before.Reason == p.Reason && before.Actor == p.Actor && equal(before.ExpiresAt, p.ExpiresAt) {
			p.Since = before.Since // a repeat
		}
		var expiresAt time.Time
		if p.ExpiresAt != nil {
			expiresAt = *p.ExpiresAt
		}
		if _, err := tx.ExecContext(ctx, savePause, p.StoreID, column(p.Since), column(expiresAt), p.Reason, p.Actor); err != nil {
			return Pause{}, fmt.Errorf("write registry: %w", err)
		}
		return p, tx.tell(ctx, p.StoreID, StoreEvent{
			Kind: eventPause, Outcome: outcomeDone, Detail: protection(p.Reason, p.Actor, p.ExpiresAt),
		})
	})
}

// Resume implements Manager.
func (r *Registry) Resume(ctx context.Context, storeID string) error {
	if err := checkScope(storeID); err != nil {
		return err
	}
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) {
		if err := tx.dropExpiredPauses(ctx); err != nil {
			return struct{}{}, err
		}
		ended, err := tx.ExecContext(ctx, `DELETE FROM pauses WHERE store_id = ?`, storeID)
		if err != nil {
			return struct{}{}, fmt.Errorf("write registry: %w", err)
		}
		if n, err := ended.RowsAffected(); err != nil || n == 0 {
			return struct{}{}, err
		}
		return struct{}{}, tx.tell(ctx, storeID, StoreEvent{Kind: eventResume, Outcome: outcomeDone})
	})
	return err
}

// Pauses implements Manager.
func (r *Registry) Pauses(ctx context.Context) ([]Pause, error) { return r.pauses(ctx, "", lastID) }

// pauses are those in force of the scopes from first to last.
func (r *Registry) pauses(ctx context.Context, first, last string) ([]Pause, error) {
	rows, err := r.read.QueryContext(ctx, selectPauses, first, last, column(r.clock()))
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }()
	pauses := []Pause{}
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

// showPauses adds them to stores, which are sorted by id.
func (r *Registry) showPauses(ctx context.Context, stores []Store) error {
	if len(stores) == 0 {
		return nil
	}
	pauses, err := r.pauses(ctx, stores[0].ID, stores[len(stores)-1].ID)
	if err != nil {
		return err
	}
	for i, p := range pauses {
		at, found := slices.BinarySearchFunc(stores, p.StoreID, func(s Store, id string) int { return strings.Compare(s.ID, id) })
		if found {
			stores[at].Pause = &pauses[i]
		}
	}
	return nil
}

// pause is that of the scope; nil for none in force.
func (tx *changes) pause(ctx context.Context, storeID string) (*Pause, error) {
	return scanPause(tx.QueryRowContext(ctx, selectPause, storeID, column(tx.now)))
}

// dropExpiredPauses removes what counts as none everywhere already.
func (tx *changes) dropExpiredPauses(ctx context.Context) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM pauses WHERE expires_at <= ?`, column(tx.now)); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	return nil
}

// scanPause reads pauseColumns; nil where there is no row.
func scanPause(row interface{ Scan(dest ...any) error }) (*Pause, error) {
	var p Pause
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
