package activities

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// endOfIDs comes after all ids: a Cursor with it is done with that list.
const endOfIDs = "~"

// approves says whether the hash names the plan or its removals, which are all of it that may need an approval: only the plan of a foreign
// list must be named as a whole in its first round (Approve). "" names none.
func approves(p *contract.Plan, hash string) bool {
	return hash != "" && (hash == p.Hash || hash == p.RemovalHash)
}

// refusal is nil if the plan is the approved one, and all of it would be done.
func refusal(p *contract.Plan, approved string) error {
	switch {
	case !approves(p, approved):
		return planChanged(approved, "the plan is now "+cmp.Or(p.Hash, "empty"))
	case p.Paused != "":
		return planChanged(approved, "reconciliation is paused by "+p.Paused)
	case p.Mode == contract.ModeObserve, p.Mode != contract.ModeFull && p.OrphanCount > 0:
		return planChanged(approved, "RECONCILE_MODE is "+string(p.Mode))
	case p.Guard != "" && (p.RemovalHash != "" || p.Foreign): // what is only added needs no approval, unless the list is foreign
		return planChanged(approved, p.Guard)
	}
	return nil
}

// errGuardTripped is for Sentry, which groups by its text.
var errGuardTripped = errors.New("the guard of reconciliation holds removals back: they wait for an operator's approval")

// CompareLists fetches the authoritative list, compares it with what is monitored, and keeps first sightings and
// what the list means for the guard. It repairs nothing. A list that is not complete is an error.
func (r *Reconcile) CompareLists(ctx context.Context, in contract.CompareInput) (contract.Plan, error) {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	if in.Mode == "" {
		in.Mode = r.Mode
	}
	paused, err := r.pauses(ctx)
	if err != nil {
		return contract.Plan{}, wrap(err)
	}
	if paused.all != "" {
		in.Mode = contract.ModeObserve
	}
	began := time.Now()
	list, err := r.AuthWorker.Sorted(ctx, func(entries int) {
		activity.RecordHeartbeat(ctx, contract.Progress{Phase: contract.PhaseFetch, Done: entries})
	})
	if err != nil {
		return contract.Plan{}, wrapList(err)
	}
	defer func() { _ = list.Close() }() // it always returns nil
	fetched := time.Now()
	// Before the stores: one that comes between the two counts is not taken for one that the store manager does not list.
	known, err := r.Manager.Overview(ctx)
	if err != nil {
		return contract.Plan{}, wrap(err)
	}
	begin := func() *comparison {
		c := &comparison{
			input: in, list: list.All(), manager: r.Manager,
			planner: newPlanner(in, r.Guard, list.FetchStartedAt, list.Distinct),
		}
		c.alive = func() {
			activity.RecordHeartbeat(ctx, contract.Progress{Phase: contract.PhaseCompare, Done: c.planner.plan.MonitoredCount, Total: list.Distinct})
		}
		c.planner.know(known)
		c.planner.cached = list.Cached
		c.planner.paused = func(id string) bool { return paused.stores[id] }
		for _, id := range list.Quarantined {
			c.planner.invalid(id)
		}
		return c
	}
	c := begin()
	if err := c.compare(ctx); err != nil {
		return contract.Plan{}, wrap(err)
	}
	if aside := c.cases.collisions(); aside != nil { // rare, so it is all compared again, and they are left out
		c = begin()
		c.planner.aside = aside
		if err := c.compare(ctx); err != nil {
			return contract.Plan{}, wrap(err)
		}
	}
	plan := c.planner.finish()
	plan.PendingCount, plan.RegistryLost = known.DeletionPending, known.Loss() != nil
	plan.Quarantined, plan.QuarantinedCount, plan.Paused = list.Quarantined, list.QuarantinedDistinct, paused.all
	plan.FetchMs, plan.CompareMs = fetched.Sub(began).Milliseconds(), time.Since(fetched).Milliseconds()
	if in.ApprovedPlan != "" && in.After == (contract.Cursor{}) {
		if err := refusal(&plan, in.ApprovedPlan); err != nil {
			return contract.Plan{}, err
		}
	}
	if in.ReadOnly || plan.Mode != contract.ModeFull {
		return plan, nil // whoever only looks is told anyway, and without removals there is nothing to hold back
	}
	return plan, wrap(r.guard(ctx, plan, c.planner.tripped, known.Guard))
}

// guard keeps what the plan means for the guard before anything is repaired: what a run adds must not open it, and neither may the
// acknowledgement of a loss, behind which nobody sees it.
func (r *Reconcile) guard(ctx context.Context, plan contract.Plan, tripped bool, known *storemanager.GuardHold) error {
	if plan.Guard != "" {
		activity.GetLogger(ctx).Warn("reconcile guard tripped", telemetry.KeyReason, plan.Guard, telemetry.KeyPlanHash, plan.RemovalHash)
		r.Sentry.Capture(ctx, errGuardTripped, telemetry.Operation{Name: "CompareLists", Phase: "guard", Outcome: telemetry.OutcomeFailed})
	}
	switch {
	case tripped && !plan.Released && (known == nil || known.Lost):
		return r.Manager.MarkMissing(ctx, storemanager.MissingMarks{ListAt: plan.ListAt, Guard: storemanager.GuardHeld, GuardReason: plan.Guard})
	case plan.LacksNothing && known != nil:
		return r.Manager.MarkMissing(ctx, storemanager.MissingMarks{ListAt: plan.ListAt, Guard: storemanager.GuardCleared})
	}
	return nil
}

// pauses are those in force when a comparison begins.
type pauses struct {
	all    string // who has paused all of reconciliation, and why
	stores map[string]bool
}

func (r *Reconcile) pauses(ctx context.Context) (pauses, error) {
	known, err := r.Manager.Pauses(ctx)
	p := pauses{stores: map[string]bool{}}
	for _, one := range known {
		if one.StoreID == "" {
			p.all = one.Actor + ": " + one.Reason
		}
		p.stores[one.StoreID] = true
	}
	return p, err
}
