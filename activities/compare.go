package activities

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// CompareInput starts a round of a run.
type CompareInput struct {
	reconcilePhase
	// RunStartedAt: sightings since then do not confirm themselves.
	RunStartedAt time.Time `json:"runStartedAt"`
	// ApprovedPlan is the Hash or the RemovalHash of the plan that may pass the guard, in a later round the RestHash of the round
	// before; "" is none.
	ApprovedPlan string `json:"approvedPlan,omitempty"`
	// After is where earlier rounds have got to; the zero Cursor in the first. Nothing up to there is planned again: what could not
	// be done is for the next run.
	After Cursor `json:"after,omitzero"`
	// Confirm: a second sighting makes an orphan. Without it all stay first sightings.
	Confirm bool `json:"confirm"`
	// Mode "" is the worker's setting.
	Mode Mode `json:"mode,omitempty"`
	// ReadOnly asks for Plan.Items, and for no first sightings to be kept.
	ReadOnly bool `json:"readOnly,omitempty"`
}

// Cursor says where the rounds of a run have got to: for each list of a plan, the last id that was in it. The lists get full at
// different ids.
type Cursor struct {
	Missing string `json:"missing,omitempty"`
	Orphans string `json:"orphans,omitempty"`
}

// endOfIDs comes after all ids: a Cursor with it is done with that list.
const endOfIDs = "~"

// Plan is what one comparison of both sides found. Its lists are bounded; the counts are not.
type Plan struct {
	// ListAt is the start of the fetch of the authoritative list.
	ListAt             time.Time `json:"listAt"`
	AuthoritativeCount int       `json:"authoritativeCount"`
	MonitoredCount     int       `json:"monitoredCount"`
	MissingCount       int       `json:"missingCount"`
	Missing            []string  `json:"missing,omitempty"`
	OrphanCount        int       `json:"orphanCount"`
	Orphans            []string  `json:"orphans,omitempty"`
	FirstSightings     int       `json:"firstSightings"`
	Skipped            Skipped   `json:"skipped"`
	QuarantinedCount   int       `json:"quarantinedCount"`
	Quarantined        []string  `json:"quarantined,omitempty"`
	// SetAsideCount and SetAside (at most 20 of them) are listed ids that differ from that of a monitored store in case alone: neither is
	// added nor removed.
	SetAsideCount int      `json:"setAsideCount,omitempty"`
	SetAside      []string `json:"setAside,omitempty"`
	// ListedAgain are stores whose deletion is pending, and that two consecutive lists have which were asked for since; bounded like
	// Missing, what does not fit is for the next run.
	ListedAgainCount int      `json:"listedAgainCount,omitempty"`
	ListedAgain      []string `json:"listedAgain,omitempty"`
	// PendingCount is how many deletions are pending in the store manager: their lifecycles are looked for. RegistryLost: it may lack
	// some that lifecycles wait for.
	PendingCount int  `json:"pendingCount,omitempty"`
	RegistryLost bool `json:"registryLost,omitempty"`
	// Next is CompareInput.After for another round; the zero Cursor when the lists hold all that is to be done.
	Next Cursor `json:"next,omitzero"`
	// AdoptCount is how many stores get their first event; Missing names them too.
	AdoptCount int  `json:"adoptCount,omitempty"`
	Mode       Mode `json:"mode,omitempty"`
	// Hash identifies all that the plan does, RemovalHash what is left of it when all has been added; "" when that is nothing.
	Hash        string `json:"hash,omitempty"`
	RemovalHash string `json:"removalHash,omitempty"`
	// RestHash identifies the removals that did not fit into Orphans.
	RestHash string `json:"restHash,omitempty"`
	Guard    string `json:"guard,omitempty"`
	// Held: the list lacks more than the limits allow, or an earlier one did and this one still lacks some. Removals are held back
	// until they are approved, or a list lacks nothing.
	Held bool `json:"held,omitempty"`
	// Foreign: the list has hardly any of the stores that it should have. Nothing is added either before an approval.
	Foreign bool `json:"foreign,omitempty"`
	// Approve is the hash that an approval must name once the guard has tripped; "" when no approval helps, or none is needed.
	Approve string `json:"approve,omitempty"`
	// Approvable: an approval of the plan releases what Guard holds back. An empty list, say, no approval makes credible, and first
	// sightings are not to be removed yet.
	Approvable bool `json:"approvable,omitempty"`
	// Released: the plan passes because it was approved, and would not have without.
	Released bool `json:"released,omitempty"`
	// LacksNothing: every store that the list lacks is protected, and none is on its way out. It ends what a guard has held back.
	LacksNothing bool `json:"lacksNothing,omitempty"`
	// tripped: the list lacks more than the limits allow, whatever else holds removals back. For whoever keeps that.
	tripped bool
	// Paused says who has paused all of reconciliation, and why; "" when nobody has. The plan then observes.
	Paused string `json:"paused,omitempty"`
	// FetchMs is how long the list took to fetch, CompareMs how long the comparison, in milliseconds.
	FetchMs   int64 `json:"fetchMs,omitempty"`
	CompareMs int64 `json:"compareMs,omitempty"`
	// Items are lines for people when they were asked for: up to MaxPlanItems of each action, deletes first, each in the order of ids.
	Items []PlanItem `json:"items,omitempty"`
}

// ApprovedBy says whether the hash names the plan or its removals, which are all of it that may need an approval: only the plan of a foreign
// list must be named as a whole in its first round (Approve). "" names none.
func (p *Plan) ApprovedBy(hash string) bool {
	return hash != "" && (hash == p.Hash || hash == p.RemovalHash)
}

// refuse is nil if the plan is the approved one, and all of it would be done.
func (p *Plan) refuse(approved string) error {
	switch {
	case !p.ApprovedBy(approved):
		return planChanged(approved, "the plan is now "+cmp.Or(p.Hash, "empty"))
	case p.Paused != "":
		return planChanged(approved, "reconciliation is paused by "+p.Paused)
	case p.Mode == ModeObserve, p.Mode != ModeFull && p.OrphanCount > 0:
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
func (r *Reconcile) CompareLists(ctx context.Context, in CompareInput) (Plan, error) {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	if in.Mode == "" {
		in.Mode = r.Mode
	}
	paused, err := r.pauses(ctx)
	if err != nil {
		return Plan{}, wrap(err)
	}
	if paused.all != "" {
		in.Mode = ModeObserve
	}
	began := time.Now()
	list, err := r.AuthWorker.Sorted(ctx, func(entries int) {
		activity.RecordHeartbeat(ctx, Progress{Phase: PhaseFetch, Done: entries})
	})
	if err != nil {
		return Plan{}, wrapList(err)
	}
	defer func() { _ = list.Close() }() // it always returns nil
	fetched := time.Now()
	// Before the stores: one that comes between the two counts is not taken for one that the store manager does not list.
	known, err := r.Manager.Overview(ctx)
	if err != nil {
		return Plan{}, wrap(err)
	}
	begin := func() *comparison {
		c := &comparison{
			input: in, list: list.All(), manager: r.Manager,
			planner: newPlanner(in, r.Guard, list.FetchStartedAt, list.Distinct),
		}
		c.alive = func() {
			activity.RecordHeartbeat(ctx, Progress{Phase: PhaseCompare, Done: c.planner.plan.MonitoredCount, Total: list.Distinct})
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
		return Plan{}, wrap(err)
	}
	if aside := c.cases.collisions(); aside != nil { // rare, so it is all compared again, and they are left out
		c = begin()
		c.planner.aside = aside
		if err := c.compare(ctx); err != nil {
			return Plan{}, wrap(err)
		}
	}
	plan := c.planner.finish()
	plan.PendingCount, plan.RegistryLost = known.DeletionPending, known.Loss() != nil
	plan.Quarantined, plan.QuarantinedCount, plan.Paused = list.Quarantined, list.QuarantinedDistinct, paused.all
	plan.FetchMs, plan.CompareMs = fetched.Sub(began).Milliseconds(), time.Since(fetched).Milliseconds()
	if in.ApprovedPlan != "" && in.After == (Cursor{}) {
		if err := plan.refuse(in.ApprovedPlan); err != nil {
			return Plan{}, err
		}
	}
	if in.ReadOnly || plan.Mode != ModeFull {
		return plan, nil // whoever only looks is told anyway, and without removals there is nothing to hold back
	}
	return plan, wrap(r.guard(ctx, plan, known.Guard))
}

// guard keeps what the plan means for the guard before anything is repaired: what a run adds must not open it, and neither may the
// acknowledgement of a loss, behind which nobody sees it.
func (r *Reconcile) guard(ctx context.Context, plan Plan, known *storemanager.GuardHold) error {
	if plan.Guard != "" {
		activity.GetLogger(ctx).Warn("reconcile guard tripped", telemetry.KeyReason, plan.Guard, telemetry.KeyPlanHash, plan.RemovalHash)
		r.Sentry.Capture(ctx, errGuardTripped, telemetry.Operation{Name: "CompareLists", Phase: "guard", Outcome: telemetry.OutcomeFailed})
	}
	switch {
	case plan.tripped && !plan.Released && (known == nil || known.Lost):
		return r.Manager.MarkMissing(ctx, storemanager.MissingMarks{ListAt: plan.ListAt, Guard: GuardHeld, GuardReason: plan.Guard})
	case plan.LacksNothing && known != nil:
		return r.Manager.MarkMissing(ctx, storemanager.MissingMarks{ListAt: plan.ListAt, Guard: GuardCleared})
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
