package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
)

// SaveRun implements Tx.
func (tx *transaction) SaveRun(ctx context.Context, run storemanager.ReconcileRun, kept int) error {
	var replaced string
	err := tx.QueryRowContext(ctx, `DELETE FROM reconcile_runs WHERE run_id = ? RETURNING error`, run.RunID).Scan(&replaced)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return fmt.Errorf("write registry: %w", err)
	default:
		if err := tx.countRun(ctx, replaced == "", -1); err != nil {
			return err
		}
	}
	if err := tx.countRun(ctx, run.Error == "", +1); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `INSERT INTO reconcile_runs (run_id, started_at, completed_at, error, report)
		VALUES (?, ?, ?, ?, ?)`, run.RunID, column(run.StartedAt), column(run.CompletedAt), run.Error, string(run.Report)); err != nil {
		return err
	}
	if run.Error == "" {
		if _, err := tx.exec(ctx, `UPDATE totals SET last_reconcile_success_at =
			max(coalesce(last_reconcile_success_at, ?1), ?1)`, column(run.CompletedAt)); err != nil {
			return err
		}
	}
	_, err = tx.exec(ctx, `DELETE FROM reconcile_runs WHERE run_id NOT IN
		(SELECT run_id FROM reconcile_runs ORDER BY completed_at DESC, run_id LIMIT ?)`, kept)
	return err
}

func (tx *transaction) countRun(ctx context.Context, success bool, n int) error {
	_, err := tx.exec(ctx, `UPDATE totals SET reconcile_successes = reconcile_successes + iif(?1, ?2, 0),
		reconcile_failures = reconcile_failures + iif(?1, 0, ?2)`, success, n)
	return err
}

// KeepBack implements Tx.
func (tx *transaction) KeepBack(ctx context.Context, reason string, since time.Time) (bool, error) {
	n, err := tx.exec(ctx, `UPDATE totals SET guard_reason = ?2, guard_since = ?1 WHERE guard_since IS NULL`, column(since), reason)
	return n > 0, err
}

// LetGo implements Tx.
func (tx *transaction) LetGo(ctx context.Context) (bool, error) {
	n, err := tx.exec(ctx, `UPDATE totals SET guard_since = NULL, guard_reason = '' WHERE guard_since IS NOT NULL`)
	return n > 0, err
}

// Approve implements Tx.
func (tx *transaction) Approve(ctx context.Context, listAt time.Time) error {
	_, err := tx.exec(ctx, `UPDATE totals SET guard_since = NULL, guard_reason = '',
		guard_approved_at = max(coalesce(guard_approved_at, ?1), ?1)`, column(listAt))
	return err
}

// Runs implements Driver.
func (db *Database) Runs(ctx context.Context) (registry.Runs, error) {
	out := registry.Runs{Kept: []storemanager.ReconcileRun{}}
	var lastSuccess column
	err := db.read.QueryRowContext(ctx, `SELECT reconcile_successes, reconcile_failures, last_reconcile_success_at FROM totals`).
		Scan(&out.Successes, &out.Failures, &lastSuccess)
	if err != nil {
		return registry.Runs{}, fmt.Errorf("read registry: %w", err)
	}
	out.LastSuccessAt = lastSuccess.optional()

	rows, err := db.read.QueryContext(ctx, `SELECT run_id, started_at, completed_at, error, report FROM reconcile_runs
		ORDER BY completed_at DESC, run_id`)
	if err != nil {
		return registry.Runs{}, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var run storemanager.ReconcileRun
		var report string
		if err := rows.Scan(&run.RunID, (*column)(&run.StartedAt), (*column)(&run.CompletedAt), &run.Error, &report); err != nil {
			return registry.Runs{}, fmt.Errorf("read registry: %w", err)
		}
		if report != "" {
			run.Report = json.RawMessage(report)
		}
		out.Kept = append(out.Kept, run)
	}
	if err := rows.Err(); err != nil {
		return registry.Runs{}, fmt.Errorf("read registry: %w", err)
	}
	return out, nil
}
