package activities

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// planner decides what to do with each store on which the sides differ. It is told of the stores of both sides in the order of
// their ids, each once. It does no I/O, and keeps no more than the plan holds.
type planner struct {
	in    contract.CompareInput
	guard GuardLimits
	rules rules
	// overview is what the store manager says of all stores, and of the guard.
	overview storemanager.Overview
	// paused says whether reconciliation leaves the store alone.
	paused func(storeID string) bool
	// cached: the list came out of a cache.
	cached bool
	// aside says whether an id of the other side differs from this one in case alone; nil when no ids do.
	aside func(id string) bool

	plan    contract.Plan
	verdict verdict                 // of the guard, from finish on
	overlap int                     // listed and monitored
	leaving int                     // on their way out because lists lacked them, without anybody's approval
	items   map[contract.Action]int // counts Plan.Items
	marks   storemanager.ListMarks  // to be written, and emptied, by the caller
	all     digest                  // of all that is to be done
	removal digest                  // of the deletes alone
	rest    digest                  // of the deletes that don't fit into the plan
}

// newPlanner plans for a complete list with so many valid ids, whose fetch began at listAt.
func newPlanner(in contract.CompareInput, guard GuardLimits, listAt time.Time, listed int) *planner {
	if in.Mode == "" {
		in.Mode = contract.ModeFull
	}
	return &planner{
		in: in, guard: guard, rules: allRules(), paused: func(string) bool { return false },
		plan:  contract.Plan{Mode: in.Mode, ListAt: listAt, AuthoritativeCount: listed},
		marks: storemanager.ListMarks{ListAt: listAt}, items: map[contract.Action]int{},
		all: digest{Hash: sha256.New()}, removal: digest{Hash: sha256.New()}, rest: digest{Hash: sha256.New()},
	}
}

// know is told of the store manager before all else.
func (p *planner) know(o storemanager.Overview) { p.overview = o }

// maxSetAside bounds Plan.SetAside.
const maxSetAside = 20

// onlyListed is told of a store that is listed and not monitored.
func (p *planner) onlyListed(id string) {
	switch reason := reasonOf(p, p.rules.missing, id); reason {
	case contract.ReasonCase:
		p.plan.SetAsideCount++
		if len(p.plan.SetAside) < maxSetAside {
			p.plan.SetAside = append(p.plan.SetAside, id)
		}
		p.item(id, contract.ActionSkip, reason)
	case "":
		p.plan.MissingCount++
		p.ensure(id, contract.ActionCreate, contract.ReasonMissing)
	default:
		p.plan.MissingCount++
		p.skip(id, reason)
	}
}

// inBoth is told of a store that is listed and monitored.
func (p *planner) inBoth(s *storemanager.Store) {
	p.inBothSettled()
	against := s.Deletion != nil && s.Deletion.OutdatedBy(p.plan.ListAt)
	if s.UnlistedSince != nil || against {
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
	if s.NeverTold() && !p.paused(s.ID) { // as package nodeserver adopts what it finds
		p.plan.AdoptCount++
		p.ensure(s.ID, contract.ActionAdopt, contract.ReasonUnknown)
	}
}

// inBothSettled is told of a store that is listed and monitored, and of which nothing but the count matters.
func (p *planner) inBothSettled() {
	p.plan.MonitoredCount++
	p.overlap++
}

// onlyMonitored is told of a store that is monitored and not listed.
func (p *planner) onlyMonitored(s *storemanager.Store) {
	p.plan.MonitoredCount++
	reason := reasonOf(p, p.rules.unlisted, s)
	if reason == reasonNoSighting {
		return // an empty list is no sighting
	}
	if s.ListedSince != nil {
		p.marks.Unlisted = append(p.marks.Unlisted, s.ID) // the lists that speak against its deletion are not consecutive
	}
	switch reason {
	case contract.ReasonCase:
		if s.UnlistedSince != nil {
			p.marks.Listed = append(p.marks.Listed, s.ID)
		}
		p.item(s.ID, contract.ActionSkip, reason)
	case contract.ReasonFirstSighting:
		p.sight(s)
		p.skip(s.ID, reason)
	case "":
		p.sight(s)
		p.remove(s.ID)
	default:
		if reason == contract.ReasonPending && s.Deletion.ByList && !p.approvedSince(s.Deletion) {
			p.leaving++
		}
		p.skip(s.ID, reason)
	}
}

// sight marks the store as unlisted, unless it is marked already.
func (p *planner) sight(s *storemanager.Store) {
	if s.UnlistedSince == nil && s.ListedSince == nil {
		p.marks.Unlisted = append(p.marks.Unlisted, s.ID)
	}
}

// remove plans the removal of an orphan.
func (p *planner) remove(id string) {
	p.plan.OrphanCount++
	if id <= p.in.After.Orphans {
		return // handed over by an earlier round, and not yet pending
	}
	p.item(id, contract.ActionDelete, contract.ReasonOrphan)
	p.all.add(contract.ActionDelete, id)
	p.removal.add(contract.ActionDelete, id)
	if !toDo(&p.plan.Orphans, &p.plan.Next.Orphans, id) {
		p.rest.add(contract.ActionDelete, id)
	}
}

// earlierList says whether the moment is the start of an earlier list's fetch, in an earlier run; nil was no list. Two answers out of one
// cache count from the same moment, which they tell in whole seconds.
func (p *planner) earlierList(at *time.Time) bool {
	margin := time.Duration(0)
	if p.cached {
		margin = time.Second
	}
	return at != nil && at.Before(p.in.RunStartedAt) && at.Add(margin).Before(p.plan.ListAt)
}

// toDo adds the id to the list and returns true, until the list is full. Then next says where the next round goes on.
func toDo(list *[]string, next *string, id string) bool {
	if len(*list) == contract.MaxPlanned {
		*next = (*list)[contract.MaxPlanned-1]
		return false
	}
	*list = append(*list, id)
	return true
}

// approvedSince says whether an operator has approved removals since this one was decided.
func (p *planner) approvedSince(d *storemanager.Deletion) bool {
	return p.overview.GuardApprovedAt != nil && !d.EventAt.After(*p.overview.GuardApprovedAt)
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
	skipped := &p.plan.Skipped
	counts := map[contract.Reason]*int{
		contract.ReasonPaused: &skipped.Paused, contract.ReasonTooYoung: &skipped.TooYoung, contract.ReasonHeld: &skipped.Held,
		contract.ReasonPinned: &skipped.Pinned, contract.ReasonPending: &skipped.Pending,
		contract.ReasonFirstSighting: &p.plan.FirstSightings,
	}
	*counts[reason]++
}

func (p *planner) item(id string, action contract.Action, reason contract.Reason) {
	if p.in.ReadOnly && p.items[action] < contract.MaxPlanItems {
		p.items[action]++
		p.plan.Items = append(p.plan.Items, contract.PlanItem{StoreID: id, Action: action, Reason: reason})
	}
}

// endOfIDs comes after all ids: a Cursor with it is done with that list.
const endOfIDs = "~"

// finish gives the plan. What may not be done is not in its lists; its counts, hashes and items say what it would do.
func (p *planner) finish() contract.Plan {
	plan := &p.plan
	plan.Hash, plan.RemovalHash, plan.RestHash = p.all.String(), p.removal.String(), p.rest.String()
	plan.Foreign = p.foreign()
	p.verdict, plan.Guard = p.judge()
	p.verdict.tell(plan, p.approval())
	actions := contract.Actions()
	slices.SortStableFunc(plan.Items, func(a, b contract.PlanItem) int {
		return slices.Index(actions, a.Action) - slices.Index(actions, b.Action)
	})
	for _, rule := range p.rules.withheld {
		if rule.holds(plan) {
			rule.empty(plan)
		}
	}
	if plan.Next != (contract.Cursor{}) {
		plan.Next.Missing, plan.Next.Orphans = cmp.Or(plan.Next.Missing, endOfIDs), cmp.Or(plan.Next.Orphans, endOfIDs)
	}
	return *plan
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
