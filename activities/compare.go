package activities

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// CompareInput starts a round of a run.
type CompareInput struct {
	reconcilePhase
	// RunStartedAt: sightings since then do not confirm themselves.
	RunStartedAt time.Time `json:"runStartedAt"`
	// ApprovedPlan is the hash of the plan that may pass the guard; "" is none.
	ApprovedPlan string `json:"approvedPlan,omitempty"`
	// ApprovedOrphans is the size of the plan that an earlier round has found approved: as many may still pass the guard. They
	// are the ones that are left of it, but for stores whose hold or pause has run out meanwhile.
	ApprovedOrphans int `json:"approvedOrphans,omitempty"`
	// Confirm: a second sighting makes an orphan. Without it all stay first sightings.
	Confirm bool `json:"confirm"`
	// Mode "" is the worker's setting.
	Mode Mode `json:"mode,omitempty"`
	// ReadOnly asks for Plan.Items, and for no first sightings to be kept.
	ReadOnly bool `json:"readOnly,omitempty"`
}

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
	// AdoptCount is how many stores get their first event; Missing names them too.
	AdoptCount int  `json:"adoptCount,omitempty"`
	Mode       Mode `json:"mode,omitempty"`
	// Hash identifies all that the plan does, RemovalHash what is left of it when all has been added; "" when that is nothing.
	Hash        string `json:"hash,omitempty"`
	RemovalHash string `json:"removalHash,omitempty"`
	Guard       string `json:"guard,omitempty"`
	// Paused says who has paused all of reconciliation, and why; "" when nobody has. The plan then observes.
	Paused string `json:"paused,omitempty"`
	// FetchMs is how long the list took to fetch, CompareMs how long the comparison, in milliseconds.
	FetchMs   int64 `json:"fetchMs,omitempty"`
	CompareMs int64 `json:"compareMs,omitempty"`
	// Items are the first 1,000 lines for people, in the order of ids, when they were asked for.
	Items []PlanItem `json:"items,omitempty"`
}

// errGuardTripped is for Sentry, which groups by its text.
var errGuardTripped = errors.New("the guard of reconciliation holds removals back: they wait for an operator's approval")

// CompareLists fetches the authoritative list, compares it with what is monitored, and keeps first sightings. It repairs
// nothing. A list that is not complete is an error.
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
		return Plan{}, wrap(err)
	}
	defer func() { _ = list.Close() }() // it always returns nil
	fetched := time.Now()
	// Before the stores: one that comes between the two counts is not taken for one that the store manager does not list.
	known, err := r.Manager.Overview(ctx)
	if err != nil {
		return Plan{}, wrap(err)
	}
	c := comparison{input: in, list: list, planner: newPlanner(in, r.Guard, list.FetchStartedAt, list.Distinct)}
	c.planner.registered = known.Monitored
	c.planner.paused = func(id string) bool { return paused.stores[id] }
	for _, id := range list.Quarantined {
		c.planner.invalid(id)
	}
	if err := c.compare(ctx, r.Manager); err != nil {
		return Plan{}, wrap(err)
	}
	plan := c.planner.finish()
	plan.Quarantined, plan.QuarantinedCount, plan.Paused = list.Quarantined, list.QuarantinedDistinct, paused.all
	plan.FetchMs, plan.CompareMs = fetched.Sub(began).Milliseconds(), time.Since(fetched).Milliseconds()
	if in.ApprovedPlan != "" && in.ApprovedPlan != plan.Hash {
		return Plan{}, planChanged(in.ApprovedPlan, plan.Hash)
	}
	if plan.Guard != "" {
		activity.GetLogger(ctx).Warn("reconcile guard tripped", telemetry.KeyReason, plan.Guard, telemetry.KeyPlanHash, plan.RemovalHash)
		r.Sentry.Capture(ctx, errGuardTripped, telemetry.Operation{Name: "CompareLists", Phase: "guard", Outcome: telemetry.OutcomeFailed})
	}
	return plan, nil
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

// comparison is a merge of the sorted authoritative ids with the store manager's sorted pages. Neither side is kept.
type comparison struct {
	input   CompareInput
	list    *authclient.Listing
	planner *planner
}

// compare walks both sides in the order of ids.
func (c *comparison) compare(ctx context.Context, m ReconcileKeeper) error {
	next, stop := iter.Pull2(c.list.All())
	defer stop()
	listed, err, more := next()
	for cursor, pages := "", true; pages; {
		page, listErr := m.List(ctx, storemanager.ListRequest{Cursor: cursor, Limit: storemanager.MaxBatch})
		if listErr != nil {
			return listErr
		}
		for i := range page.Stores {
			s := &page.Stores[i]
			for ; more && err == nil && listed < s.ID; listed, err, more = next() {
				c.planner.listed(listed)
			}
			switch {
			case err != nil:
				return err
			case more && listed == s.ID:
				c.planner.both(s)
				listed, err, more = next()
			default:
				c.planner.monitored(s)
			}
		}
		if err := c.flushMarks(ctx, m); err != nil {
			return err
		}
		activity.RecordHeartbeat(ctx, Progress{Phase: PhaseCompare, Done: c.planner.plan.MonitoredCount, Total: c.list.Distinct})
		cursor, pages = page.NextCursor, page.NextCursor != ""
	}
	for ; more && err == nil; listed, err, more = next() {
		c.planner.listed(listed)
	}
	return err
}

func (c *comparison) flushMarks(ctx context.Context, m ReconcileKeeper) error {
	marks := &c.planner.marks
	if len(marks.Missing)+len(marks.Listed) == 0 {
		return nil
	}
	var err error
	if !c.input.ReadOnly {
		err = m.MarkMissing(ctx, *marks)
	}
	marks.Missing, marks.Listed = nil, nil
	return err
}
