package storemanager

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// RecordReconcile implements Manager.
func (r *Registry) RecordReconcile(ctx context.Context, run ReconcileRun) error {
	if err := run.check(); err != nil {
		return err
	}
	approval := Acknowledgement{
		Actor: cmp.Or(run.Actor, "whoever approved it"), Reason: "the approved plan of run " + run.RunID,
	}.normal()
	ended, err := change(ctx, r, func(tx *changes) (ended int64, err error) {
		if err := tx.recordReconcile(ctx, run); err != nil {
			return 0, fmt.Errorf("write registry: %w", err)
		}
		if run.ApprovedListAt != nil {
			ended, err = tx.acknowledge(ctx, approval, run.ApprovedListAt)
		}
		return ended, err
	})
	if err == nil && ended > 0 {
		r.tellAcknowledged(approval)
	}
	return err
}

func (tx *changes) recordReconcile(ctx context.Context, run ReconcileRun) error {
	var replaced string
	err := tx.QueryRowContext(ctx, `DELETE FROM reconcile_runs WHERE run_id = ? RETURNING error`, run.RunID).Scan(&replaced)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	default:
		if err := tx.countReconcile(ctx, replaced == "", -1); err != nil {
			return err
		}
	}
	if err := tx.countReconcile(ctx, run.Error == "", +1); err != nil {
		return err
	}
	completedAt := column(precise(run.CompletedAt))
	if _, err := tx.ExecContext(ctx, `INSERT INTO reconcile_runs (run_id, started_at, completed_at, error, report)
		VALUES (?, ?, ?, ?, ?)`, run.RunID, column(precise(run.StartedAt)), completedAt, run.Error, string(run.Report)); err != nil {
		return err
	}
	if run.ApprovedListAt != nil {
		if _, err := tx.ExecContext(ctx, `UPDATE totals SET guard_since = NULL, guard_reason = '',
			guard_approved_at = max(coalesce(guard_approved_at, ?1), ?1)`, column(precise(*run.ApprovedListAt))); err != nil {
			return err
		}
	}
	if run.Error == "" {
		if _, err := tx.ExecContext(ctx, `UPDATE totals SET last_reconcile_success_at =
			max(coalesce(last_reconcile_success_at, ?1), ?1)`, completedAt); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM reconcile_runs WHERE run_id NOT IN
		(SELECT run_id FROM reconcile_runs ORDER BY completed_at DESC, run_id LIMIT ?)`, KeptReconcileRuns)
	return err
}

// guard keeps since when the guard holds and why, however often that is found again.
func (tx *changes) guard(ctx context.Context, m MissingMarks) error {
	var err error
	switch m.Guard {
	case GuardHeld:
		_, err = tx.ExecContext(ctx, `UPDATE totals SET guard_reason = iif(guard_since IS NULL, ?2, guard_reason),
			guard_since = coalesce(guard_since, ?1)`, column(tx.now), cut(m.GuardReason))
	case GuardCleared:
		_, err = tx.ExecContext(ctx, `UPDATE totals SET guard_since = NULL, guard_reason = ''`)
	case GuardApproved: // no list says that: ReconcileRun.ApprovedListAt does
	}
	if err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	return nil
}

func (tx *changes) countReconcile(ctx context.Context, success bool, n int) error {
	_, err := tx.ExecContext(ctx, `UPDATE totals SET reconcile_successes = reconcile_successes + iif(?1, ?2, 0),
		reconcile_failures = reconcile_failures + iif(?1, 0, ?2)`, success, n)
	return err
}

// Reconciliation implements Manager. Recent is newest first by CompletedAt.
func (r *Registry) Reconciliation(ctx context.Context) (Reconciliation, error) {
	out := Reconciliation{Recent: []ReconcileRun{}}
	var lastSuccess column
	err := r.read.QueryRowContext(ctx, `SELECT reconcile_successes, reconcile_failures, last_reconcile_success_at FROM totals`).
		Scan(&out.Successes, &out.Failures, &lastSuccess)
	if err != nil {
		return Reconciliation{}, fmt.Errorf("read registry: %w", err)
	}
	out.Runs, out.LastSuccessAt = out.Successes+out.Failures, lastSuccess.optional()

	rows, err := r.read.QueryContext(ctx, `SELECT run_id, started_at, completed_at, error, report FROM reconcile_runs
		ORDER BY completed_at DESC, run_id`)
	if err != nil {
		return Reconciliation{}, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var run ReconcileRun
		var report string
		if err := rows.Scan(&run.RunID, (*column)(&run.StartedAt), (*column)(&run.CompletedAt), &run.Error, &report); err != nil {
			return Reconciliation{}, fmt.Errorf("read registry: %w", err)
		}
		if report != "" {
			run.Report = json.RawMessage(report)
		}
		if out.LastError == nil && run.Error != "" {
			out.LastError = &run
		}
		out.Recent = append(out.Recent, run)
	}
	if err := rows.Err(); err != nil {
		return Reconciliation{}, fmt.Errorf("read registry: %w", err)
	}
	return out, nil
}
