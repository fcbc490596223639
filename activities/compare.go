package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// CompareLists fetches the authoritative list, compares it with what is monitored, and keeps first sightings and
// what the list means for the guard. It repairs nothing. A list that is not complete is an error.
func (r *Reconcile) CompareLists(ctx context.Context, in contract.CompareInput) (contract.Plan, error) {
	plan, err := r.compareLists(ctx, in)
	if in.ReadOnly {
		err = refusedAtOnce(err)
	}
	return plan, err
}

func (r *Reconcile) compareLists(ctx context.Context, in contract.CompareInput) (contract.Plan, error) {
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
	// Before the stores, so that a store that comes meanwhile is not taken for one that the store manager does not list.
	overview, err := r.Manager.Overview(ctx)
	if err != nil {
		return contract.Plan{}, wrap(err)
	}
	planner, err := r.merge(ctx, in, list, overview, paused)
	if err != nil {
		return contract.Plan{}, wrap(err)
	}
	plan := planner.finish()
	plan.ListHash = list.Hash
	plan.PendingCount, plan.RegistryLost = overview.DeletionPending, overview.Loss() != nil
	plan.Quarantined, plan.QuarantinedCount, plan.Paused = list.Quarantined, list.QuarantinedDistinct, paused.all
	plan.FetchMs, plan.CompareMs = fetched.Sub(began).Milliseconds(), time.Since(fetched).Milliseconds()
	if in.ApprovedPlan != "" && in.After == (contract.Cursor{}) {
		if err := refusal(&plan, in.ApprovedPlan); err != nil {
			return contract.Plan{}, err
		}
	}
	if in.ReadOnly || plan.Mode != contract.ModeFull {
		return plan, nil // whoever only looks is told anyway, and without removals there is nothing to keep back
	}
	return plan, wrap(r.keepVerdict(ctx, plan, planner.verdict, overview.Guard, planner.marks))
}

// merge tells a planner of both sides.
func (r *Reconcile) merge(
	ctx context.Context, in contract.CompareInput, list *authclient.Listing, overview storemanager.Overview, paused pauses,
) (*planner, error) {
	merged := func(aside func(id string) bool) (*comparison, error) {
		p := newPlanner(in, r.Guard, list.FetchStartedAt, list.Distinct)
		p.know(overview)
		p.cached, p.aside = list.Cached, aside
		p.marks.List = storemanager.ListRef{At: list.FetchStartedAt, Hash: list.Hash, Entries: list.Distinct}
		p.marks.Origin = storemanager.Origin{Source: storemanager.SourceReconcile, RunID: in.RunID}
		p.paused = func(id string) bool { return paused.stores[id] }
		for _, id := range list.Quarantined {
			p.invalid(id)
		}
		c := &comparison{input: in, list: list.All(), manager: r.Manager, planner: p, alive: func() {
			activity.RecordHeartbeat(ctx, contract.Progress{Phase: contract.PhaseCompare, Done: p.plan.MonitoredCount, Total: list.Distinct})
		}}
		return c, c.compare(ctx)
	}
	c, err := merged(nil)
	if err != nil {
		return nil, err
	}
	if aside := c.cases.collisions(); aside != nil { // rare, so all of it is compared again, and those ids are left out
		c, err = merged(aside)
	}
	return c.planner, err
}

// keepVerdict keeps what the plan means for the guard before anything is repaired. What a run adds must not open the guard, and neither may
// the acknowledgement of a loss, behind which nobody sees it.
func (r *Reconcile) keepVerdict(
	ctx context.Context, plan contract.Plan, v verdict, keptBack *storemanager.KeptBack, marks storemanager.ListMarks,
) error {
	if plan.Guard != "" {
		activity.GetLogger(ctx).Warn("reconcile guard tripped", telemetry.KeyReason, plan.Guard, telemetry.KeyPlanHash, plan.RemovalHash)
	}
	r.proven(ctx, plan, v)
	marks.Unlisted, marks.Listed = nil, nil
	switch {
	case v == tripped && (keptBack == nil || keptBack.Lost):
		marks.Guard, marks.GuardReason = storemanager.GuardKeepsBack, plan.Guard
		if err := r.Manager.MarkUnlisted(ctx, marks); err != nil {
			return err
		}
		r.guardTripped(ctx, plan.Guard)
	case v == cleared && keptBack != nil:
		marks.Guard = storemanager.GuardCleared
		if err := r.Manager.MarkUnlisted(ctx, marks); err != nil {
			return err
		}
		r.guardOpens(keptBack, "a list lacks nothing")
	}
	return nil
}

// pauses are those in force when a comparison begins.
type pauses struct {
	all    string // who has paused all of reconciliation, and why
	stores map[string]bool
}

func (r *Reconcile) pauses(ctx context.Context) (pauses, error) {
	inForce, err := r.Manager.Pauses(ctx)
	p := pauses{stores: map[string]bool{}}
	for _, one := range inForce {
		if one.StoreID == "" {
			p.all = one.Actor + ": " + one.Reason
		}
		p.stores[one.StoreID] = true
	}
	return p, err
}
