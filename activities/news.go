package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// What Sentry is told of reconciliation: each once, however many runs find it, and its end once.
var (
	guardNews   = telemetry.Operation{Name: contract.ActivityCompareLists, Phase: "guard", Outcome: telemetry.OutcomeFailed}
	runNews     = telemetry.Operation{Name: contract.TypeReconcileWorkspaces, Phase: "reconcile", Kind: "failing", Outcome: telemetry.OutcomeFailed}
	errFailing  = errors.New("reconcile runs fail")
	errKeptBack = errors.New("the guard of reconciliation holds removals back: they wait for an operator's approval")
	errUnproven = errors.New("the guard of reconciliation holds removals back: what was read proves nothing")
)

// guardTripped is for a plan whose removals the guard keeps back from now on.
func (r *Reconcile) guardTripped(ctx context.Context, reason string) {
	op := guardNews
	op.Kind = string(tripped)
	r.Sentry.Capture(ctx, fmt.Errorf("%w: %s", errKeptBack, reason), op)
}

// guardOpens is for the end of what the guard kept back; nil for nothing. The end of a loss is told by the store manager.
func (r *Reconcile) guardOpens(kept *storemanager.KeptBack, how string) {
	if kept != nil && !kept.Lost {
		r.Sentry.Over(guardNews, "the guard of reconciliation holds nothing back any more: "+how, time.Since(kept.Since), 0)
	}
}

// proven tells of the first list of several that proves nothing, and of the next that does. This process alone remembers it.
func (r *Reconcile) proven(ctx context.Context, plan contract.Plan, v verdict) {
	proves := v != unproven
	if r.unproven.Swap(!proves) == !proves {
		return
	}
	op := guardNews
	op.Phase = "list"
	if proves {
		r.Sentry.Over(op, "the lists can be believed again", 0, 0)
		return
	}
	op.Kind = string(unproven)
	r.Sentry.Capture(ctx, fmt.Errorf("%w: %s", errUnproven, plan.Guard), op)
}

// recorded is what was known of reconciliation before a run was recorded.
type recorded struct {
	runs  storemanager.Reconciliation
	guard *storemanager.KeptBack
}

// before is nil when there is nobody to tell what the run changes, or when it can't be read: a run is recorded all the same.
func (r *Reconcile) before(ctx context.Context) *recorded {
	if r.Sentry == nil {
		return nil
	}
	runs, err := r.Manager.Reconciliation(ctx)
	if err != nil {
		return nil
	}
	overview, err := r.Manager.Overview(ctx)
	if err != nil {
		return nil
	}
	return &recorded{runs, overview.Guard}
}

// tellOfRun tells what a run has changed that was recorded just now.
func (r *Reconcile) tellOfRun(ctx context.Context, in contract.RecordInput, before *recorded) {
	if before == nil {
		return
	}
	r.runEnded(ctx, in, before.runs)
	if approvedListAt(in) != nil {
		r.guardOpens(before.guard, "removals were approved by "+cmp.Or(in.Report.Actor, "an operator"))
	}
}

// runEnded tells of a run that failed after one that did not, and of one that succeeded after one that failed. known is what was recorded before the
// run. While an outage that was told of explains the failure, nothing more is told.
func (r *Reconcile) runEnded(ctx context.Context, in contract.RecordInput, known storemanager.Reconciliation) {
	if in.Error == contract.RunCancelled {
		return
	}
	earlier := slices.DeleteFunc(slices.Clone(known.Recent), func(run storemanager.ReconcileRun) bool {
		return run.RunID == in.RunID || run.Error == contract.RunCancelled
	})
	failed := slices.IndexFunc(earlier, func(run storemanager.ReconcileRun) bool { return run.Error == "" })
	if failed < 0 {
		failed = len(earlier)
	}
	switch {
	case in.Error != "" && failed == 0:
		if !r.Sentry.TellOutages() {
			r.Sentry.Capture(ctx, fmt.Errorf("%w: %s", errFailing, in.Error), runNews)
		}
	case in.Error == "" && failed > 0:
		began := earlier[failed-1].StartedAt
		if !r.Sentry.OutageSince(began) {
			r.Sentry.Over(runNews, fmt.Sprintf("reconcile runs succeed again: %d failed", failed), time.Since(began), 0)
		}
	}
}
