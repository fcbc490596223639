package activities

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
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

// actions in the order in which people should see them.
var actions = []Action{ActionDelete, ActionCreate, ActionAdopt, ActionSkip}

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
	// MaxPlanItems bounds Plan.Items of each action.
	MaxPlanItems = 500
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
	// known is what the store manager says of all stores, and of the guard.
	known storemanager.Overview
	// paused says whether reconciliation leaves the store alone.
	paused func(storeID string) bool
	// without is the one reason, or guard, that is left out: a test sees to it that each is missed.
	without Reason

	plan    Plan
	leaving int                       // orphans of earlier runs, whose grace period runs without anybody's approval
	items   map[Action]int            // counts Plan.Items
	marks   storemanager.MissingMarks // to be written, and emptied, by the caller
	all     digest                    // of all that is to be done
	removal digest                    // of the deletes alone
	last    string                    // the newest id in a list of the plan
}

// newPlanner plans for a complete list with so many valid ids, whose fetch began at listAt.
func newPlanner(in CompareInput, guard Guard, listAt time.Time, listed int) *planner {
	if in.Mode == "" {
		in.Mode = ModeFull
	}
	return &planner{
		in: in, guard: guard, paused: func(string) bool { return false },
		plan:  Plan{Mode: in.Mode, ListAt: listAt, AuthoritativeCount: listed},
		marks: storemanager.MissingMarks{ListAt: listAt}, items: map[Action]int{},
		all: digest{Hash: sha256.New()}, removal: digest{Hash: sha256.New()},
	}
}

// know is told of the store manager before all else. One that lists much fewer stores than it knows has lost some for a moment.
func (p *planner) know(o storemanager.Overview) { p.known = o }

// planned says whether an earlier round has planned for the store.
func (p *planner) planned(id string) bool { return id <= p.in.After }

// listed is told of a store that is listed and not monitored.
func (p *planner) listed(id string) {
	if p.planned(id) {
		return
	}
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
	if s.EventAt.Unix() == 0 && !p.paused(s.ID) && !p.planned(s.ID) { // as storemanager.Node adopts what it finds
		p.plan.AdoptCount++
		p.ensure(s.ID, ActionAdopt, ReasonUnknown)
	}
}

// settled is told of a store that is listed and monitored, and of which both would do no more than count it.
func (p *planner) settled() { p.plan.MonitoredCount++ }

// monitored is told of a store that is monitored and not listed.
func (p *planner) monitored(s *storemanager.Store) {
	p.plan.MonitoredCount++
	if p.plan.AuthoritativeCount == 0 && p.obeys(guardEmptyList) {
		return // an empty list is no sighting
	}
	if p.planned(s.ID) {
		return
	}
	if reason := p.reasonToKeep(s); reason != "" {
		// One that was sighted is on its way out because lists lacked it, and not because an event said so.
		if reason == ReasonPending && s.MissingSince != nil && !p.approved(s.Deletion) {
			p.leaving++
		}
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
	p.plan.Orphans = p.toDo(p.plan.Orphans, s.ID)
}

// toDo adds the id, unless one of the lists is full: then the next round goes on after the last id of both.
func (p *planner) toDo(list []string, id string) []string {
	if p.plan.Next == "" && len(list) == MaxPlanned {
		p.plan.Next = p.last
	}
	if p.plan.Next != "" {
		return list
	}
	p.last = id
	return append(list, id)
}

// approved says whether an operator has approved removals since this one was decided.
func (p *planner) approved(d *storemanager.Deletion) bool {
	return p.known.GuardApprovedAt != nil && !d.EventAt.After(*p.known.GuardApprovedAt)
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
	p.plan.Missing = p.toDo(p.plan.Missing, id)
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
	if p.in.ReadOnly && p.items[action] < MaxPlanItems {
		p.items[action]++
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
	guardFew        Reason = "few"
	guardHeld       Reason = "held back"
	guardLeaving    Reason = "leaving"
	guardApproved   Reason = "approved"
)

func (p *planner) obeys(rule Reason) bool { return p.without != rule }

// finish gives the plan. What may not be done is not in its lists; its counts, hashes and items say what it would do.
func (p *planner) finish() Plan {
	p.plan.Hash, p.plan.RemovalHash = p.all.String(), p.removal.String()
	p.plan.Guard, p.plan.Approvable = p.verdict()
	p.plan.LacksNothing = p.plan.AuthoritativeCount > 0 && p.plan.OrphanCount+p.plan.FirstSightings+len(p.in.After) == 0 && !p.incomplete()
	slices.SortStableFunc(p.plan.Items, func(a, b PlanItem) int { return slices.Index(actions, a.Action) - slices.Index(actions, b.Action) })
	if p.plan.Guard != "" || p.plan.Mode != ModeFull && p.obeys(guardMode) {
		p.plan.Orphans = nil
	}
	if p.plan.Mode == ModeObserve {
		p.plan.Missing = nil
	}
	return p.plan
}

// incomplete: the store manager lists much fewer stores than it knows. Percentages of so few mean nothing.
func (p *planner) incomplete() bool { return p.plan.MonitoredCount*10 < p.known.Monitored*9 }

// verdict is "" when the plan's removals may be carried out, else why not, and whether an approval helps. It counts all that the
// list lacks without an event having said so: a list is not to be believed about a little while it lacks so much, and a list that
// shrinks slowly is no better than one that shrinks at once.
func (p *planner) verdict() (why string, approvable bool) {
	lacking := p.plan.OrphanCount + p.plan.FirstSightings + p.in.Removed
	if p.obeys(guardLeaving) {
		lacking += p.leaving
	}
	held := p.in.Held || p.known.Guard != nil
	switch {
	case p.plan.AuthoritativeCount == 0 && p.plan.MonitoredCount > 0 && p.obeys(guardEmptyList):
		return "the authoritative list is empty: nothing is removed", false
	case p.plan.OrphanCount == 0:
		return "", false
	case p.incomplete() && p.obeys(guardIncomplete):
		return fmt.Sprintf("the store manager lists %d of its %d stores: nothing is removed", p.plan.MonitoredCount, p.known.Monitored), false
	case p.plan.ApprovedBy(p.in.ApprovedPlan), p.plan.OrphanCount <= p.in.ApprovedOrphans && p.obeys(guardApproved):
		return "", false
	case held && p.obeys(guardHeld):
		return "an earlier list lacked too many stores: nothing is removed before " + p.thePlan() + " is approved, or a list lacks none", true
	case p.plan.MonitoredCount < guardMinMonitored && p.obeys(guardFew):
		return "", false
	case lacking > p.guard.MaxDeletes && p.obeys(guardMaxDeletes):
		return fmt.Sprintf("the list lacks %d stores, more than RECONCILE_MAX_DELETES (%d): nothing is removed before %s is approved",
			lacking, p.guard.MaxDeletes, p.thePlan()), true
	case lacking*100 > p.guard.MaxDeletePercent*p.plan.MonitoredCount && p.obeys(guardMaxPercent):
		return fmt.Sprintf("the list lacks %d of %d stores, more than RECONCILE_MAX_DELETE_PERCENT (%d): nothing is removed before %s is approved",
			lacking, p.plan.MonitoredCount, p.guard.MaxDeletePercent, p.thePlan()), true
	}
	return "", false
}

// thePlan names the plan as a run will find it once all has been added. Who only looks is shown the hash of the whole.
func (p *planner) thePlan() string {
	if p.in.ReadOnly {
		return "the plan"
	}
	return "plan " + p.plan.RemovalHash
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
