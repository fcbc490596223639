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
		Actor: cmp.Or(run.Actor, run.Origin.Actor, "whoever approved it"), Reason: "the approved plan of run " + run.RunID, Origin: run.Origin,
	})
	ended, err := change(ctx, r, func(tx *transaction) (ended int64, err error) {
		if err := tx.auditRun(ctx, run); err != nil || run.Refused {
			return 0, err
		}
		if err := tx.SaveRun(ctx, run, storemanager.KeptReconcileRuns); err != nil || run.ApprovedListAt == nil {
			return 0, err
		}
		listAt := storemanager.Precise(*run.ApprovedListAt)
		if err := tx.Approve(ctx, listAt); err != nil {
			return 0, err
		}
		return tx.acknowledge(ctx, approval, &listAt)
	})
	if err == nil && ended > 0 {
		r.tellAcknowledged(approval)
	}
	return err
}

// guard keeps what a list means for the guard. However often it is found again that removals are kept back, the first moment and reason stay.
func (tx *transaction) guard(ctx context.Context, m storemanager.ListMarks) error {
	e := storemanager.AuditEntry{Kind: storemanager.AuditGuard, Origin: reconcileOrigin(m.Origin)}
	var changed bool
	var err error
	switch m.Guard {
	case storemanager.GuardKeepsBack:
		e.Outcome, e.Detail = "keeps_back", m.GuardReason
		changed, err = tx.KeepBack(ctx, storemanager.Cut(m.GuardReason), tx.now)
	case storemanager.GuardCleared:
		e.Outcome = string(storemanager.GuardCleared)
		changed, err = tx.LetGo(ctx)
	case storemanager.GuardApproved: // no list says that: ReconcileRun.ApprovedListAt does
	}
	if err != nil || !changed {
		return err
	}
	return tx.audit(ctx, e)
}

// auditRun tells of a run that has ended, and of the plan that was approved for it.
func (tx *transaction) auditRun(ctx context.Context, run storemanager.ReconcileRun) error {
	o := reconcileOrigin(run.Origin)
	o.RunID, o.Actor = run.RunID, cmp.Or(o.Actor, run.Actor)
	if o.Plan != "" {
		approval := storemanager.AuditEntry{Kind: storemanager.AuditApproval, Origin: o}
		approval.Source = storemanager.SourceOperator
		switch {
		case run.Refused:
			approval.Outcome, approval.Detail = "refused", run.Error
		case run.ApprovedListAt != nil:
			approval.Outcome, approval.Detail = string(storemanager.GuardApproved), run.Summary
		default:
			approval.Outcome, approval.Detail = "nothing_removed", run.Summary
		}
		if err := tx.audit(ctx, approval); err != nil || run.Refused {
			return err
		}
	}
	e := storemanager.AuditEntry{Kind: storemanager.AuditRun, Outcome: "succeeded", Detail: run.Summary, Origin: o}
	if run.Error != "" {
		e.Outcome, e.Detail = "failed", run.Error
	}
	if len(run.Lists) > 0 {
		e.Evidence = &storemanager.Evidence{}
		for _, list := range run.Lists {
			e.Evidence.Lists = append(e.Evidence.Lists, list.AsOf(list.At))
		}
	}
	return tx.audit(ctx, e)
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
