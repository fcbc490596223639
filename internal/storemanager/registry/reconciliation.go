package registry

import (
	"cmp"
	"context"
	"slices"

	"storekeeper/internal/storemanager"
)

// RecordReconcile implements Reconciliations.
func (r *Registry) RecordReconcile(ctx context.Context, run storemanager.ReconcileRun) error {
	if err := run.Validate(); err != nil {
		return err
	}
	run.StartedAt, run.CompletedAt = storemanager.Precise(run.StartedAt), storemanager.Precise(run.CompletedAt)
	approval := normalAcknowledgement(storemanager.Acknowledgement{
		Actor: cmp.Or(run.Actor, "whoever approved it"), Reason: "the approved plan of run " + run.RunID,
	})
	ended, err := change(ctx, r, func(tx *transaction) (ended int64, err error) {
		if err := tx.SaveRun(ctx, run, storemanager.KeptReconcileRuns); err != nil || run.ApprovedListAt == nil {
			return 0, err
		}
		listAt := storemanager.Precise(*run.ApprovedListAt)
		if err := tx.Approve(ctx, listAt); err != nil {
			return 0, err
		}
		return tx.Acknowledge(ctx, approval, tx.now, &listAt)
	})
	if err == nil && ended > 0 {
		r.tellAcknowledged(approval)
	}
	return err
}

// guard keeps what a list means for the guard. However often it is found again that removals are kept back, the first moment and reason stay.
func (tx *transaction) guard(ctx context.Context, m storemanager.ListMarks) error {
	switch m.Guard {
	case storemanager.GuardKeepsBack:
		return tx.KeepBack(ctx, cut(m.GuardReason), tx.now)
	case storemanager.GuardCleared:
		return tx.LetGo(ctx)
	case storemanager.GuardApproved: // no list says that: ReconcileRun.ApprovedListAt does
	}
	return nil
}

// Reconciliation implements Reconciliations. Recent is newest first by CompletedAt.
func (r *Registry) Reconciliation(ctx context.Context) (storemanager.Reconciliation, error) {
	runs, err := r.driver.Runs(ctx)
	if err != nil {
		return storemanager.Reconciliation{}, err
	}
	out := storemanager.Reconciliation{
		Runs: runs.Successes + runs.Failures, Successes: runs.Successes, Failures: runs.Failures, LastSuccessAt: runs.LastSuccessAt,
		Recent: runs.Kept,
	}
	failed := func(run storemanager.ReconcileRun) bool { return run.Error != "" }
	if i := slices.IndexFunc(runs.Kept, failed); i >= 0 {
		out.LastError = new(runs.Kept[i])
	}
	return out, nil
}
