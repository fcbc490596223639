package activities

import (
	"cmp"
	"fmt"

	"storekeeper/contract"
)

// guardMinMonitored is the number of stores below which the limits don't apply: a percentage of so few means nothing.
const guardMinMonitored = 10

// GuardLimits bound what lists may remove within a day without an operator's approval.
type GuardLimits struct {
	// MaxDeletePercent of the monitored stores, 0 to 100: so many are too many already. 100 is no bound.
	MaxDeletePercent int
	// MaxDeletes in all: more are too many.
	MaxDeletes int
}

// verdict is what the guard says of a plan.
//
//	verdict   | what it does to the plan | what the registry keeps            | what ends it
//	passes    | nothing                  | nothing                            | the next list
//	cleared   | nothing                  | no longer that removals wait       | the next list
//	unproven  | removes nothing          | nothing                            | the next list
//	tripped   | removes nothing          | since when removals wait, and why  | an approval, or a list that lacks nothing
//	kept back | removes nothing          | what it has kept since it tripped  | an approval, or a list that lacks nothing
//	released  | nothing                  | the approval, once removals begin  | the next list
//
// Unless it is released, the plan of a foreign list adds nothing either. The registry keeps verdicts of runs that may remove, and no others. That
// the registry was lost is kept back, too, and only an approval or an acknowledgement ends that.
type verdict string

const (
	// passes: nothing speaks against the removals.
	passes verdict = "passes"
	// cleared: it passes, and the list lacks nothing. That ends what the guard keeps back.
	cleared verdict = "cleared"
	// unproven: what was read proves nothing, and no approval makes it credible.
	unproven verdict = "unproven"
	// tripped: the list lacks too much. Removals are kept back until they are approved, or a list lacks nothing.
	tripped verdict = "tripped"
	// keptBack: an earlier list lacked too much, or the registry was lost, and this list still lacks something.
	keptBack verdict = "kept back"
	// released: it would be tripped or keptBack, but an operator has approved it.
	released verdict = "released"
)

// tell writes the verdict into the plan, where it is several fields. approval is what an operator would have to name.
func (v verdict) tell(plan *contract.Plan, approval string) {
	plan.LacksNothing = v == cleared
	plan.Released = v == released
	plan.KeptBack = v == tripped || v == keptBack
	if plan.Released || plan.KeptBack {
		plan.Approve = approval
	}
	plan.Approvable = plan.KeptBack && approval != ""
}

// guardRule is one reason of the guard.
type guardRule struct {
	name    string
	verdict verdict
	// least is how many stores there must be for the rule to mean anything.
	least int
	// why is a sentence for people; "" when the rule has nothing to say.
	why func(*planner) string
}

var guardRules = []guardRule{
	{"empty list", unproven, 0, (*planner).emptyList},
	{"incomplete", unproven, 0, (*planner).incompleteStores},
	{"foreign", tripped, 0, (*planner).foreignList},
	{"max deletes", tripped, guardMinMonitored, (*planner).tooMany},
	{"max percent", tripped, guardMinMonitored, (*planner).tooManyPercent},
	{"kept back", keptBack, 0, (*planner).stillLacking},
}

// judge is the guard's verdict on the plan's removals, and why; "" unless something is kept back.
func (p *planner) judge() (verdict, string) {
	switch {
	case p.lacksNothing():
		return cleared, ""
	case p.in.After.Orphans == endOfIDs && !p.plan.Foreign:
		return passes, "" // nothing would be removed any more
	}
	stores := p.plan.MonitoredCount + p.removed()
	for _, rule := range p.rules.guards {
		why := rule.why(p)
		switch {
		case stores < rule.least:
		case why == "":
		case rule.verdict != unproven && p.isApproved():
			return released, ""
		default:
			return rule.verdict, why
		}
	}
	return passes, ""
}

// lacksNothing: every store that the list lacks is protected, and none is on its way out.
func (p *planner) lacksNothing() bool {
	return p.plan.AuthoritativeCount > 0 && p.plan.OrphanCount+p.plan.FirstSightings+p.leaving == 0 && !p.incomplete()
}

// incomplete: the store manager lists much fewer stores than it knows, so it has lost some for a moment. Percentages of so few mean
// nothing.
func (p *planner) incomplete() bool { return p.plan.MonitoredCount*10 < p.overview.Monitored*9 }

// foreign: the list has hardly any of the stores that it should have. Then it may be that of another installation, whose workspaces are
// not ours to add either. Less than a tenth of at least 10 stores is hardly any.
func (p *planner) foreign() bool {
	should := p.overlap + p.lacking()
	return should >= guardMinMonitored && p.overlap*10 < should && p.plan.AuthoritativeCount > 0
}

// lacking is how many stores the list lacks without an event having said so. First sightings count, because what a run adds meanwhile
// would make them a smaller part of all. What is on its way out counts, because a list that shrinks slowly is no better than one that
// shrinks at once.
func (p *planner) lacking() int { return p.plan.OrphanCount + p.plan.FirstSightings + p.leaving }

// removed is how many stores lists have removed within a day, whatever the grace period; 0 when this list lacks nothing.
func (p *planner) removed() int {
	if p.lacking() == 0 {
		return 0
	}
	return p.overview.ListRemovals
}

// approval is the hash that an approval must name; "" when no approval helps.
func (p *planner) approval() string {
	switch {
	case !p.plan.Foreign:
		return p.plan.RemovalHash // what is only added needs no approval
	case p.plan.FirstSightings > 0:
		return "" // the next list will make orphans of them, and another plan
	}
	return p.plan.Hash
}

// isApproved says whether the approval that the run was started with releases the plan. What a foreign list adds needs an approval too,
// so the hash of its removals alone says too little in the first round; later rounds have no other one.
func (p *planner) isApproved() bool {
	plan, hash := &p.plan, p.in.ApprovedPlan
	whole := !plan.Foreign || p.in.After != (contract.Cursor{}) || hash == plan.Hash
	return approves(plan, hash) && whole && p.approval() != ""
}

// approves says whether the hash names the plan, or its removals, which are all of it that may need an approval. Only the plan of a foreign
// list must be named as a whole in its first round (Plan.Approve). "" names none.
func approves(plan *contract.Plan, hash string) bool {
	return hash != "" && (hash == plan.Hash || hash == plan.RemovalHash)
}

// refusal is nil if the plan is the approved one, and all of it would be done.
func refusal(plan *contract.Plan, approved string) error {
	switch {
	case !approves(plan, approved):
		return planChanged(approved, "the plan is now "+cmp.Or(plan.Hash, "empty"))
	case plan.Paused != "":
		return planChanged(approved, "reconciliation is paused by "+plan.Paused)
	case plan.Mode == contract.ModeObserve, plan.Mode != contract.ModeFull && plan.OrphanCount > 0:
		return planChanged(approved, "RECONCILE_MODE is "+string(plan.Mode))
	case plan.Guard != "" && (plan.RemovalHash != "" || plan.Foreign): // what is only added needs no approval, unless the list is foreign
		return planChanged(approved, plan.Guard)
	}
	return nil
}

func (p *planner) emptyList() string {
	if p.plan.AuthoritativeCount > 0 || p.plan.MonitoredCount == 0 {
		return ""
	}
	return "the authoritative list is empty: nothing is removed"
}

func (p *planner) incompleteStores() string {
	if p.plan.OrphanCount == 0 || !p.incomplete() {
		return ""
	}
	return fmt.Sprintf("the store manager lists %d of its %d stores: nothing is removed", p.plan.MonitoredCount, p.overview.Monitored)
}

func (p *planner) foreignList() string {
	if !p.plan.Foreign {
		return ""
	}
	return fmt.Sprintf("the list has %d of the %d stores that it should have, and may be that of another installation: %s", p.overlap,
		p.overlap+p.lacking(), p.untilApproved())
}

// gone is what the limits are about: what the list lacks, with all that lists have removed within a day; 0 when this list lacks nothing.
func (p *planner) gone() int { return p.lacking() + p.removed() }

// lacks begins a sentence on gone.
func (p *planner) lacks() string {
	if removed := p.removed(); removed > 0 {
		return fmt.Sprintf("lists have removed %d within a day, and this one lacks %d", removed, p.lacking())
	}
	return fmt.Sprintf("the list lacks %d", p.lacking())
}

func (p *planner) tooMany() string {
	if p.gone() <= p.guard.MaxDeletes {
		return ""
	}
	return fmt.Sprintf("%s stores, more than RECONCILE_MAX_DELETES (%d): %s", p.lacks(), p.guard.MaxDeletes, p.untilApproved())
}

func (p *planner) tooManyPercent() string {
	gone, all, percent := p.gone(), p.plan.MonitoredCount+p.removed(), p.guard.MaxDeletePercent
	if gone == 0 || percent >= 100 || gone*100 < percent*all {
		return ""
	}
	return fmt.Sprintf("%s of %d stores, RECONCILE_MAX_DELETE_PERCENT (%d) or more: %s",
		p.lacks(), all, percent, p.untilApproved())
}

func (p *planner) stillLacking() string {
	switch guard := p.overview.Guard; {
	case guard == nil:
		return ""
	case guard.Lost:
		return fmt.Sprintf("the registry was lost (%s), and the list lacks %d stores: %s", guard.Reason, p.lacking(), p.untilApproved())
	}
	return fmt.Sprintf("an earlier list lacked too many stores, and this one still lacks %d: %s", p.lacking(), p.untilApproved())
}

// untilApproved names the plan as a run will find it once all has been added. Who only looks is shown the hash of the whole.
func (p *planner) untilApproved() string {
	switch approval := p.approval(); {
	case p.plan.Foreign && approval == "":
		return "nothing is added or removed; if the next list is such a one too, its plan waits for an approval"
	case p.plan.Foreign && p.in.ReadOnly:
		return "nothing is added or removed before the plan is approved"
	case p.plan.Foreign:
		return "nothing is added or removed before plan " + approval + " is approved"
	case p.plan.RemovalHash == "":
		return "nothing is removed; if the next lists lack them too, their removal waits for an approval"
	case p.in.ReadOnly:
		return "nothing is removed before the plan is approved"
	}
	return "nothing is removed before plan " + p.plan.RemovalHash + " is approved"
}
