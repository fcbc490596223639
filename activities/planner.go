package activities

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// guardMinMonitored: below it a percentage means nothing.
const guardMinMonitored = 10

// Guard bounds what lists may remove within a day, without an operator's approval.
type Guard struct {
	// MaxDeletePercent of the monitored stores, 0 to 100: so many are too many already. 100 is no bound.
	MaxDeletePercent int
	// MaxDeletes in all: more are too many.
	MaxDeletes int
}

// planner decides what to do with each store on which the sides differ. It is told of the stores of both sides in the order of
// their ids, each once; it does no I/O, and keeps no more than the plan holds.
type planner struct {
	in    contract.CompareInput
	guard Guard
	// known is what the store manager says of all stores, and of the guard.
	known storemanager.Overview
	// paused says whether reconciliation leaves the store alone.
	paused func(storeID string) bool
	// cached: the list came out of a cache.
	cached bool
	// aside says whether the id, or that of a monitored store, stands on the other side in other case; nil: none does.
	aside func(id string) bool
	// without is the one reason, or guard, that is left out: a test sees to it that each is missed.
	without contract.Reason

	plan    contract.Plan
	tripped bool                      // the list lacks more than the limits allow, whatever else keeps removals back
	overlap int                       // listed and monitored
	leaving int                       // on their way out because lists lacked them, without anybody's approval
	items   map[contract.Action]int   // counts Plan.Items
	marks   storemanager.MissingMarks // to be written, and emptied, by the caller
	all     digest                    // of all that is to be done
	removal digest                    // of the deletes alone
	rest    digest                    // of the deletes that don't fit into the plan
}

// newPlanner plans for a complete list with so many valid ids, whose fetch began at listAt.
func newPlanner(in contract.CompareInput, guard Guard, listAt time.Time, listed int) *planner {
	if in.Mode == "" {
		in.Mode = contract.ModeFull
	}
	return &planner{
		in: in, guard: guard, paused: func(string) bool { return false },
		plan:  contract.Plan{Mode: in.Mode, ListAt: listAt, AuthoritativeCount: listed},
		marks: storemanager.MissingMarks{ListAt: listAt}, items: map[contract.Action]int{},
		all: digest{Hash: sha256.New()}, removal: digest{Hash: sha256.New()}, rest: digest{Hash: sha256.New()},
	}
}

// know is told of the store manager before all else. One that lists much fewer stores than it knows has lost some for a moment.
func (p *planner) know(o storemanager.Overview) { p.known = o }

// listed is told of a store that is listed and not monitored.
func (p *planner) listed(id string) {
	if p.setAside(id) {
		p.plan.SetAsideCount++
		if len(p.plan.SetAside) < maxSetAside {
			p.plan.SetAside = append(p.plan.SetAside, id)
		}
		return
	}
	p.plan.MissingCount++
	if p.obeys(contract.ReasonPaused) && p.paused(id) {
		p.skip(id, contract.ReasonPaused)
		return
	}
	p.ensure(id, contract.ActionCreate, contract.ReasonMissing)
}

// both is told of a store that is listed and monitored.
func (p *planner) both(s *storemanager.Store) {
	p.plan.MonitoredCount++
	p.overlap++
	against := s.Deletion != nil && s.Deletion.OutdatedBy(p.plan.ListAt)
	if s.MissingSince != nil || against {
		p.marks.Listed = append(p.marks.Listed, s.ID)
	}
	if against && p.in.Confirm && p.earlierList(s.ListedSince) && !p.paused(s.ID) {
		p.plan.ListedAgainCount++
		p.item(s.ID, contract.ActionKeep, contract.ReasonListedAgain)
		if len(p.plan.ListedAgain) < contract.MaxPlanned {
			p.plan.ListedAgain = append(p.plan.ListedAgain, s.ID)
		}
		return
	}
	if s.EventAt.Unix() == 0 && !p.paused(s.ID) { // as storemanager.Node adopts what it finds
		p.plan.AdoptCount++
		p.ensure(s.ID, contract.ActionAdopt, contract.ReasonUnknown)
	}
}

// settled is told of a store that is listed and monitored, and of which both would do no more than count it.
func (p *planner) settled() {
	p.plan.MonitoredCount++
	p.overlap++
}

// maxSetAside bounds Plan.SetAside.
const maxSetAside = 20

// setAside says whether it is too likely that an id means a store of the other side: both stay as they are.
func (p *planner) setAside(id string) bool {
	if p.aside == nil || !p.aside(id) || !p.obeys(contract.ReasonCase) {
		return false
	}
	p.item(id, contract.ActionSkip, contract.ReasonCase)
	return true
}

// monitored is told of a store that is monitored and not listed.
func (p *planner) monitored(s *storemanager.Store) {
	p.plan.MonitoredCount++
	if p.plan.AuthoritativeCount == 0 && p.obeys(guardEmptyList) {
		return // an empty list is no sighting
	}
	if s.ListedSince != nil {
		p.marks.Missing = append(p.marks.Missing, s.ID) // the lists that speak against its deletion are not consecutive
	}
	if p.setAside(s.ID) {
		if s.MissingSince != nil {
			p.marks.Listed = append(p.marks.Listed, s.ID)
		}
		return
	}
	if reason := p.reasonToKeep(s); reason != "" {
		if reason == contract.ReasonPending && s.Deletion.ByList && !p.approved(s.Deletion) {
			p.leaving++
		}
		p.skip(s.ID, reason)
		return
	}
	if s.MissingSince == nil && s.ListedSince == nil {
		p.marks.Missing = append(p.marks.Missing, s.ID)
	}
	confirmed := p.in.Confirm && p.earlierList(s.MissingSince)
	if !confirmed && p.obeys(contract.ReasonFirstSighting) {
		p.skip(s.ID, contract.ReasonFirstSighting)
		return
	}
	p.plan.OrphanCount++
	if s.ID <= p.in.After.Orphans {
		return // handed over by an earlier round, and not yet pending
	}
	p.item(s.ID, contract.ActionDelete, contract.ReasonOrphan)
	p.all.add(contract.ActionDelete, s.ID)
	p.removal.add(contract.ActionDelete, s.ID)
	if !toDo(&p.plan.Orphans, &p.plan.Next.Orphans, s.ID) {
		p.rest.add(contract.ActionDelete, s.ID)
	}
}

// earlierList says whether it was another list, and one of an earlier run, that was asked for at that moment; nil was none. Two answers
// out of one cache count from the same moment, which they tell in whole seconds.
func (p *planner) earlierList(at *time.Time) bool {
	margin := time.Duration(0)
	if p.cached {
		margin = time.Second
	}
	return at != nil && at.Before(p.in.RunStartedAt) && at.Add(margin).Before(p.plan.ListAt)
}

// toDo adds the id to the list and says so, until the list is full: then next says where the next round goes on.
func toDo(list *[]string, next *string, id string) bool {
	if len(*list) == contract.MaxPlanned {
		*next = (*list)[contract.MaxPlanned-1]
		return false
	}
	*list = append(*list, id)
	return true
}

// approved says whether an operator has approved removals since this one was decided.
func (p *planner) approved(d *storemanager.Deletion) bool {
	return p.known.GuardApprovedAt != nil && !d.EventAt.After(*p.known.GuardApprovedAt)
}

// reasonToKeep is why a store that the list lacks is no orphan; "" if it may be one.
func (p *planner) reasonToKeep(s *storemanager.Store) contract.Reason {
	young := func(t *time.Time) bool { return t != nil && !t.Before(p.plan.ListAt) }
	switch {
	case p.obeys(contract.ReasonTooYoung) && (young(s.LastEnsuredAt) || young(&s.EventAt)):
		return contract.ReasonTooYoung
	case p.obeys(contract.ReasonPaused) && p.paused(s.ID):
		return contract.ReasonPaused
	case p.obeys(contract.ReasonHeld) && s.Hold != nil:
		return contract.ReasonHeld
	case p.obeys(contract.ReasonPinned) && s.Pinned:
		return contract.ReasonPinned
	case p.obeys(contract.ReasonPending) && s.Deletion != nil: // each run looks for those that nobody waits for
		return contract.ReasonPending
	}
	return ""
}

// invalid is told of a listed id that can be no store's.
func (p *planner) invalid(id string) { p.item(id, contract.ActionSkip, contract.ReasonInvalidID) }

func (p *planner) ensure(id string, action contract.Action, reason contract.Reason) {
	if id <= p.in.After.Missing {
		return
	}
	p.item(id, action, reason)
	p.all.add(action, id)
	toDo(&p.plan.Missing, &p.plan.Next.Missing, id)
}

func (p *planner) skip(id string, reason contract.Reason) {
	p.item(id, contract.ActionSkip, reason)
	counts := map[contract.Reason]*int{
		contract.ReasonPaused: &p.plan.Skipped.Paused, contract.ReasonTooYoung: &p.plan.Skipped.TooYoung, contract.ReasonHeld: &p.plan.Skipped.Held,
		contract.ReasonPinned: &p.plan.Skipped.Pinned, contract.ReasonPending: &p.plan.Skipped.Pending, contract.ReasonFirstSighting: &p.plan.FirstSightings,
	}
	*counts[reason]++
}

func (p *planner) item(id string, action contract.Action, reason contract.Reason) {
	if p.in.ReadOnly && p.items[action] < contract.MaxPlanItems {
		p.items[action]++
		p.plan.Items = append(p.plan.Items, contract.PlanItem{StoreID: id, Action: action, Reason: reason})
	}
}

// Guards, beside the reasons.
const (
	guardEmptyList  contract.Reason = "empty list"
	guardMaxDeletes contract.Reason = "max deletes"
	guardMaxPercent contract.Reason = "max percent"
	guardMode       contract.Reason = "mode"
	guardIncomplete contract.Reason = "incomplete"
	guardFew        contract.Reason = "few"
	guardHeld       contract.Reason = "held back"
	guardLeaving    contract.Reason = "leaving"
	guardApproved   contract.Reason = "approved"
	guardRemoved    contract.Reason = "removed"
	guardForeign    contract.Reason = "foreign"
)

func (p *planner) obeys(rule contract.Reason) bool { return p.without != rule }

// finish gives the plan. What may not be done is not in its lists; its counts, hashes and items say what it would do.
func (p *planner) finish() contract.Plan {
	plan := &p.plan
	plan.Hash, plan.RemovalHash, plan.RestHash = p.all.String(), p.removal.String(), p.rest.String()
	plan.LacksNothing = plan.AuthoritativeCount > 0 && plan.OrphanCount+plan.FirstSightings+p.leaving == 0 && !p.incomplete()
	plan.Foreign = p.foreign()
	if p.in.After.Orphans != endOfIDs || plan.Foreign { // else nothing would be removed any more
		p.judge()
	}
	actions := contract.Actions()
	slices.SortStableFunc(plan.Items, func(a, b contract.PlanItem) int {
		return slices.Index(actions, a.Action) - slices.Index(actions, b.Action)
	})
	if plan.Guard != "" || plan.Mode != contract.ModeFull && p.obeys(guardMode) {
		plan.Orphans, plan.Next.Orphans = nil, ""
	}
	if plan.Mode == contract.ModeObserve || plan.Foreign && !plan.Released {
		plan.Missing, plan.Next.Missing = nil, ""
	}
	if plan.Mode == contract.ModeObserve {
		plan.ListedAgain = nil
	}
	if plan.Next != (contract.Cursor{}) {
		plan.Next.Missing, plan.Next.Orphans = cmp.Or(plan.Next.Missing, endOfIDs), cmp.Or(plan.Next.Orphans, endOfIDs)
	}
	return *plan
}

// incomplete: the store manager lists much fewer stores than it knows. Percentages of so few mean nothing.
func (p *planner) incomplete() bool { return p.plan.MonitoredCount*10 < p.known.Monitored*9 }

// judge says whether the plan's removals may be carried out.
func (p *planner) judge() {
	plan := &p.plan
	switch {
	case plan.AuthoritativeCount == 0 && plan.MonitoredCount > 0 && p.obeys(guardEmptyList):
		plan.Guard = "the authoritative list is empty: nothing is removed"
		return
	case plan.OrphanCount > 0 && p.incomplete() && p.obeys(guardIncomplete):
		plan.Guard = fmt.Sprintf("the store manager lists %d of its %d stores: nothing is removed", plan.MonitoredCount, p.known.Monitored)
		return
	}
	plan.Approve = plan.RemovalHash // what is only added needs no approval
	if plan.Foreign {
		plan.Approve = plan.Hash
		if plan.FirstSightings > 0 {
			plan.Approve = "" // the next list will make orphans of them, and another plan
		}
	}
	why := p.tooMuch()
	p.tripped = why != ""
	if why == "" {
		why = p.keptBack()
	}
	switch {
	case why == "":
		plan.Approve = ""
	case p.isApproved() && p.obeys(guardApproved):
		plan.Released = true
	default:
		plan.Guard, plan.KeptBack, plan.Approvable = why, true, plan.Approve != ""
	}
}

// isApproved says whether the approval that the run was started with releases the plan. What a foreign list adds needs one too, so there the
// hash of its removals alone says too little; later rounds have no other one.
func (p *planner) isApproved() bool {
	plan, hash := &p.plan, p.in.ApprovedPlan
	whole := !plan.Foreign || p.in.After != (contract.Cursor{}) || hash == plan.Hash
	return approves(plan, hash) && whole && plan.Approve != ""
}

// lacking is how many stores the list lacks without an event having said so: first sightings too, for what a run adds meanwhile
// would make them a smaller part of all; and what is on its way out, for a list that shrinks slowly is no better than one that
// shrinks at once.
func (p *planner) lacking() int {
	n := p.plan.OrphanCount + p.plan.FirstSightings
	if p.obeys(guardLeaving) {
		n += p.leaving
	}
	return n
}

// foreign says whether the list has hardly any of the stores that it should have: then it may be that of another installation, whose
// workspaces are none of ours to add either. A tenth of at least 10 stores is hardly any.
func (p *planner) foreign() bool {
	should := p.overlap + p.plan.OrphanCount + p.plan.FirstSightings + p.leaving
	return should >= guardMinMonitored && p.overlap*10 < should && p.plan.AuthoritativeCount > 0 && p.obeys(guardForeign)
}

// tooMuch is "" unless the list lacks more than it may: with all that lists have removed within a day, whatever the grace period.
func (p *planner) tooMuch() string {
	lacking, removed := p.lacking(), 0
	if p.obeys(guardRemoved) && lacking > 0 {
		removed = p.known.ListRemovals
	}
	gone, all := lacking+removed, p.plan.MonitoredCount+removed
	enough := all >= guardMinMonitored || !p.obeys(guardFew)
	what := fmt.Sprintf("the list lacks %d", lacking)
	if removed > 0 {
		what = fmt.Sprintf("lists have removed %d within a day, and this one lacks %d", removed, lacking)
	}
	switch {
	case p.plan.Foreign:
		return fmt.Sprintf("the list has %d of the %d stores that it should have, and may be that of another installation: %s", p.overlap,
			p.overlap+lacking, p.untilApproved())
	case lacking == 0: // then nothing is removed, but for what an earlier list has kept back
	case enough && gone > p.guard.MaxDeletes && p.obeys(guardMaxDeletes):
		return fmt.Sprintf("%s stores, more than RECONCILE_MAX_DELETES (%d): %s", what, p.guard.MaxDeletes, p.untilApproved())
	case enough && p.guard.MaxDeletePercent < 100 && gone*100 >= p.guard.MaxDeletePercent*all && p.obeys(guardMaxPercent):
		return fmt.Sprintf("%s of %d stores, RECONCILE_MAX_DELETE_PERCENT (%d) or more: %s",
			what, all, p.guard.MaxDeletePercent, p.untilApproved())
	}
	return ""
}

// keptBack is "" unless an earlier list lacked too much, or the registry was lost, and this list still lacks something.
func (p *planner) keptBack() string {
	lacking := p.lacking()
	switch guard := p.known.Guard; {
	case guard == nil, p.plan.LacksNothing, !p.obeys(guardHeld):
		return ""
	case guard.Lost:
		return fmt.Sprintf("the registry was lost (%s), and the list lacks %d stores: %s", guard.Reason, lacking, p.untilApproved())
	}
	return fmt.Sprintf("an earlier list lacked too many stores, and this one still lacks %d: %s", lacking, p.untilApproved())
}

// untilApproved names the plan as a run will find it once all has been added. Who only looks is shown the hash of the whole.
func (p *planner) untilApproved() string {
	switch {
	case p.plan.Foreign && p.plan.Approve == "":
		return "nothing is added or removed; if the next list is such a one too, its plan waits for an approval"
	case p.plan.Foreign && p.in.ReadOnly:
		return "nothing is added or removed before the plan is approved"
	case p.plan.Foreign:
		return "nothing is added or removed before plan " + p.plan.Approve + " is approved"
	case p.plan.RemovalHash == "":
		return "nothing is removed; if the next lists lack them too, their removal waits for an approval"
	case p.in.ReadOnly:
		return "nothing is removed before the plan is approved"
	}
	return "nothing is removed before plan " + p.plan.RemovalHash + " is approved"
}

// digest names a set of actions: the same actions on the same stores have the same one.
type digest struct {
	hash.Hash
	n int
}

func (d *digest) add(action contract.Action, id string) {
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
