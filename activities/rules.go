package activities

import (
	"time"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// rules are all that a planner obeys, as data, so that a test can take any one row away and see what breaks.
type rules struct {
	// missing are reasons not to add a store that is listed and not monitored, unlisted those not to remove one that is monitored and not
	// listed. The first that holds is the reason.
	missing  []storeRule[string]
	unlisted []storeRule[*storemanager.Store]
	// guards say why nothing may be removed. The first that has something to say decides.
	guards []guardRule
	// withheld say which lists of a plan stay empty. Each that holds does.
	withheld []listRule
}

func allRules() rules {
	return rules{missing: missingRules, unlisted: unlistedRules, guards: guardRules, withheld: listRules}
}

// storeRule is a reason to leave a store alone. S is what is known of it: only its id, if it is not monitored.
type storeRule[S any] struct {
	reason contract.Reason
	holds  func(p *planner, s S) bool
}

// reasonNoSighting is no reason of the wire: an empty list says nothing of any store.
const reasonNoSighting contract.Reason = "no sighting"

var missingRules = []storeRule[string]{
	{contract.ReasonCase, (*planner).differsInCase},
	{contract.ReasonPaused, func(p *planner, id string) bool { return p.paused(id) }},
}

var unlistedRules = []storeRule[*storemanager.Store]{
	{reasonNoSighting, func(p *planner, _ *storemanager.Store) bool { return p.plan.AuthoritativeCount == 0 }},
	{contract.ReasonCase, func(p *planner, s *storemanager.Store) bool { return p.differsInCase(s.ID) }},
	{contract.ReasonTooYoung, (*planner).tooYoung},
	{contract.ReasonPaused, func(p *planner, s *storemanager.Store) bool { return p.paused(s.ID) }},
	{contract.ReasonHeld, func(_ *planner, s *storemanager.Store) bool { return s.Hold != nil }},
	{contract.ReasonPinned, func(_ *planner, s *storemanager.Store) bool { return s.Pinned }},
	// Each run looks for pending deletions that nobody waits for.
	{contract.ReasonPending, func(_ *planner, s *storemanager.Store) bool { return s.Deletion != nil }},
	{contract.ReasonFirstSighting, func(p *planner, s *storemanager.Store) bool {
		return !p.in.Confirm || !p.earlierList(s.UnlistedSince)
	}},
}

// differsInCase: it is too likely that the id means a store of the other side, so both stay as they are.
func (p *planner) differsInCase(id string) bool { return p.aside != nil && p.aside(id) }

// tooYoung: the store came after the list had been asked for.
func (p *planner) tooYoung(s *storemanager.Store) bool {
	young := func(t *time.Time) bool { return t != nil && !t.Before(p.plan.ListAt) }
	return young(s.LastEnsuredAt) || young(&s.EventAt)
}

// reasonOf is the reason of the first rule that holds; "" when none does.
func reasonOf[S any](p *planner, rules []storeRule[S], s S) contract.Reason {
	for _, rule := range rules {
		if rule.holds(p, s) {
			return rule.reason
		}
	}
	return ""
}

// listRule says when lists of a plan stay empty, and empties them.
type listRule struct {
	name  string
	holds func(*contract.Plan) bool
	empty func(*contract.Plan)
}

var listRules = []listRule{
	{"guard", func(p *contract.Plan) bool { return p.Guard != "" }, removeNothing},
	{"mode", func(p *contract.Plan) bool { return p.Mode != contract.ModeFull }, removeNothing},
	{"foreign", func(p *contract.Plan) bool { return p.Foreign && !p.Released }, addNothing},
	{"observe", func(p *contract.Plan) bool { return p.Mode == contract.ModeObserve }, func(p *contract.Plan) {
		addNothing(p)
		p.ListedAgain = nil
	}},
}

func addNothing(p *contract.Plan)    { p.Missing, p.Next.Missing = nil, "" }
func removeNothing(p *contract.Plan) { p.Orphans, p.Next.Orphans = nil, "" }
