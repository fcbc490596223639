package activities

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"time"

	"storekeeper/internal/storemanager"
)

// Mode says what a reconcile run may do.
type Mode string

// The modes.
const (
	// ModeFull adds and removes.
	ModeFull Mode = "full"
	// ModeCreateOnly adds; what it would remove it only counts.
	ModeCreateOnly Mode = "create-only"
	// ModeObserve repairs nothing; it only counts, and takes note of first sightings.
	ModeObserve Mode = "observe"
)

// Action is what a plan does with one store.
type Action string

// The actions.
const (
	// ActionCreate: the store is listed and not monitored.
	ActionCreate Action = "create"
	// ActionAdopt: the store is listed and monitored, and no event nor list ever told of it: a Node server had it before us.
	ActionAdopt Action = "adopt"
	// ActionDelete: the store is an orphan. Its lifecycle gives it the grace period and the re-check.
	ActionDelete Action = "delete"
	// ActionSkip: the sides differ, and the store is left alone, for the reason given.
	ActionSkip Action = "skip"
)

// Reason says why a plan has an Action for a store.
type Reason string

// The reasons. All but the first three are reasons to skip.
const (
	ReasonMissing       Reason = "listed, not monitored"
	ReasonUnknown       Reason = "listed, monitored by someone before us"
	ReasonOrphan        Reason = "in neither of two consecutive lists"
	ReasonInvalidID     Reason = "invalid id"
	ReasonPaused        Reason = "paused"
	ReasonTooYoung      Reason = "too young"
	ReasonHeld          Reason = "held"
	ReasonPinned        Reason = "pinned"
	ReasonPending       Reason = "pending"
	ReasonFirstSighting Reason = "first sighting"
)

// PlanItem is one line of a plan, for people.
type PlanItem struct {
	StoreID string `json:"storeId"`
	Action  Action `json:"action"`
	Reason  Reason `json:"reason"`
}

const (
	// MaxPlanned bounds the ids of each kind in a plan: both together stay under 256 KiB of history.
	MaxPlanned = 3000
	// MaxPlanItems bounds Plan.Items.
	MaxPlanItems = 1000
	// guardMinMonitored: below it a percentage means nothing.
	guardMinMonitored = 10
	// pendingOverdue is how long after its DeleteAt a pending deletion is still believed to be somebody's. Then whoever
	// waited for it is taken to be gone (a terminated workflow), and the store is an orphan like any other.
	pendingOverdue = time.Hour
)

// Guard bounds what one plan may remove.
type Guard struct {
	// MaxDeletePercent of the monitored stores, 0 to 100.
	MaxDeletePercent int
	// MaxDeletes in all.
	MaxDeletes int
}

// planner decides what to do with each store on which the sides differ. It is told of the stores of both sides in the order of
// their ids, each once; it does no I/O, and keeps no more than the plan holds.
type planner struct {
	in    CompareInput
	guard Guard
	// registered is how many stores the store manager should list: one that lists much fewer has lost some for a moment.
	registered int
	// paused says whether reconciliation leaves the store alone.
	paused func(storeID string) bool
	// without is the one reason, or guard, that is left out: a test sees to it that each is missed.
	without Reason

	plan    Plan
	marks   storemanager.MissingMarks // to be written, and emptied, by the caller
	all     digest                    // of all that is to be done
	removal digest                    // of the deletes alone
}

// newPlanner plans for a complete list with so many valid ids, whose fetch began at listAt.
func newPlanner(in CompareInput, guard Guard, listAt time.Time, listed int) *planner {
	if in.Mode == "" {
		in.Mode = ModeFull
	}
	return &planner{
		in: in, guard: guard, paused: func(string) bool { return false },
		plan:  Plan{Mode: in.Mode, ListAt: listAt, AuthoritativeCount: listed},
		marks: storemanager.MissingMarks{ListAt: listAt},
		all:   digest{Hash: sha256.New()}, removal: digest{Hash: sha256.New()},
	}
}

// listed is told of a store that is listed and not monitored.
func (p *planner) listed(id string) {
	p.plan.MissingCount++
	if p.obeys(ReasonPaused) && p.paused(id) {
		p.skip(id, ReasonPaused)
		return
	}
	p.ensure(id, ActionCreate, ReasonMissing)
}

// both is told of a store that is listed and monitored.
func (p *planner) both(s *storemanager.Store) {
	p.plan.MonitoredCount++
	if s.MissingSince != nil {
		p.marks.Listed = append(p.marks.Listed, s.ID)
	}
	if s.EventAt.Unix() == 0 && !p.paused(s.ID) { // as storemanager.Node adopts what it finds
		p.plan.AdoptCount++
		p.ensure(s.ID, ActionAdopt, ReasonUnknown)
	}
}

// monitored is told of a store that is monitored and not listed.
func (p *planner) monitored(s *storemanager.Store) {
	p.plan.MonitoredCount++
	if p.plan.AuthoritativeCount == 0 && p.obeys(guardEmptyList) {
		return // an empty list is no sighting
	}
	if reason := p.reasonToKeep(s); reason != "" {
		p.skip(s.ID, reason)
		return
	}
	if s.MissingSince == nil {
		p.marks.Missing = append(p.marks.Missing, s.ID)
	}
	confirmed := p.in.Confirm && s.MissingSince != nil && s.MissingSince.Before(p.in.RunStartedAt)
	if !confirmed && p.obeys(ReasonFirstSighting) {
		p.skip(s.ID, ReasonFirstSighting)
		return
	}
	p.plan.OrphanCount++
	p.item(s.ID, ActionDelete, ReasonOrphan)
	p.all.add(ActionDelete, s.ID)
	p.removal.add(ActionDelete, s.ID)
	if len(p.plan.Orphans) < MaxPlanned {
		p.plan.Orphans = append(p.plan.Orphans, s.ID)
	}
}

// reasonToKeep is why a store that the list lacks is no orphan; "" if it may be one.
func (p *planner) reasonToKeep(s *storemanager.Store) Reason {
	young := func(t *time.Time) bool { return t != nil && !t.Before(p.plan.ListAt) }
	switch {
	case p.obeys(ReasonTooYoung) && (young(s.LastEnsuredAt) || young(&s.EventAt)):
		return ReasonTooYoung
	case p.obeys(ReasonPaused) && p.paused(s.ID):
		return ReasonPaused
	case p.obeys(ReasonHeld) && s.Hold != nil:
		return ReasonHeld
	case p.obeys(ReasonPinned) && s.Pinned:
		return ReasonPinned
	case p.obeys(ReasonPending) && s.Deletion != nil && p.plan.ListAt.Before(s.Deletion.DeleteAt.Add(pendingOverdue)):
		return ReasonPending
	}
	return ""
}

// invalid is told of a listed id that can be no store's.
func (p *planner) invalid(id string) { p.item(id, ActionSkip, ReasonInvalidID) }

func (p *planner) ensure(id string, action Action, reason Reason) {
	p.item(id, action, reason)
	p.all.add(action, id)
	if len(p.plan.Missing) < MaxPlanned {
		p.plan.Missing = append(p.plan.Missing, id)
	}
}

func (p *planner) skip(id string, reason Reason) {
	p.item(id, ActionSkip, reason)
	counts := map[Reason]*int{
		ReasonPaused: &p.plan.Skipped.Paused, ReasonTooYoung: &p.plan.Skipped.TooYoung, ReasonHeld: &p.plan.Skipped.Held,
		ReasonPinned: &p.plan.Skipped.Pinned, ReasonPending: &p.plan.Skipped.Pending, ReasonFirstSighting: &p.plan.FirstSightings,
	}
	*counts[reason]++
}

func (p *planner) item(id string, action Action, reason Reason) {
	if p.in.ReadOnly && len(p.plan.Items) < MaxPlanItems {
		p.plan.Items = append(p.plan.Items, PlanItem{id, action, reason})
	}
}

// Guards, beside the reasons.
const (
	guardEmptyList  Reason = "empty list"
	guardMaxDeletes Reason = "max deletes"
	guardMaxPercent Reason = "max percent"
	guardMode       Reason = "mode"
	guardIncomplete Reason = "incomplete"
)

func (p *planner) obeys(rule Reason) bool { return p.without != rule }

// finish gives the plan. What may not be done is not in its lists; its counts, hashes and items say what it would do.
func (p *planner) finish() Plan {
	p.plan.Hash, p.plan.RemovalHash = p.all.String(), p.removal.String()
	p.plan.Guard = p.verdict()
	if p.plan.Guard != "" || p.plan.Mode != ModeFull && p.obeys(guardMode) {
		p.plan.Orphans = nil
	}
	if p.plan.Mode == ModeObserve {
		p.plan.Missing = nil
	}
	return p.plan
}

// verdict is "" when the plan's removals may be carried out, else why not. It counts first sightings too: a list that lacks
// so much is not to be believed about the little that the list before lacked as well.
func (p *planner) verdict() string {
	lacking := p.plan.OrphanCount + p.plan.FirstSightings
	switch {
	case p.plan.AuthoritativeCount == 0 && p.plan.MonitoredCount > 0 && p.obeys(guardEmptyList):
		return "the authoritative list is empty: nothing is removed"
	case p.plan.OrphanCount == 0:
		return ""
	case p.plan.MonitoredCount*10 < p.registered*9 && p.obeys(guardIncomplete):
		return fmt.Sprintf("the store manager lists %d of its %d stores: nothing is removed", p.plan.MonitoredCount, p.registered)
	case p.plan.MonitoredCount < guardMinMonitored:
		return ""
	case p.in.ApprovedPlan != "" && p.in.ApprovedPlan == p.plan.Hash, p.plan.OrphanCount <= p.in.ApprovedOrphans:
		return ""
	case lacking > p.guard.MaxDeletes && p.obeys(guardMaxDeletes):
		return fmt.Sprintf("the list lacks %d stores, more than RECONCILE_MAX_DELETES (%d): nothing is removed before plan %s is approved",
			lacking, p.guard.MaxDeletes, p.plan.RemovalHash)
	case lacking*100 > p.guard.MaxDeletePercent*p.plan.MonitoredCount && p.obeys(guardMaxPercent):
		return fmt.Sprintf("the list lacks %d of %d stores, more than RECONCILE_MAX_DELETE_PERCENT (%d): nothing is removed before plan %s is approved",
			lacking, p.plan.MonitoredCount, p.guard.MaxDeletePercent, p.plan.RemovalHash)
	}
	return ""
}

// digest names a set of actions: the same actions on the same stores have the same one.
type digest struct {
	hash.Hash
	n int
}

func (d *digest) add(action Action, id string) {
	d.n++
	_, _ = d.Write([]byte(string(action) + " " + id + "\n")) // a hash takes everything
}

// String is "" when there is nothing to do.
func (d *digest) String() string {
	if d.n == 0 {
		return ""
	}
	return hex.EncodeToString(d.Sum(nil))[:16]
}
