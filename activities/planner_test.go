package activities

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// plannerCases is how many random worlds the planner must stand in every run of the tests.
const plannerCases = 10_000

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.checks", fmt.Sprint(plannerCases)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// world is what a planner is told, as plain sets.
type world struct {
	in     contract.CompareInput
	guard  GuardLimits
	listAt time.Time
	listed map[string]bool
	stores map[string]storemanager.Store
	paused map[string]bool
	// registered is how many stores the store manager should have, keepsBack whether the guard keeps removals back already, and
	// approvedAt when removals were approved last.
	registered int
	keepsBack  bool
	approvedAt *time.Time
	// removed is what lists have removed within a day.
	removed int
}

var planStart = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// worlds are small, so that everything happens to the same few stores.
func worlds() *rapid.Generator[world] {
	return rapid.Custom(func(t *rapid.T) world {
		w := world{
			listAt: planStart, listed: map[string]bool{}, stores: map[string]storemanager.Store{}, paused: map[string]bool{},
			guard: GuardLimits{MaxDeletePercent: rapid.SampledFrom([]int{0, 10, 50, 100, 100, 100}).Draw(t, "percent"), MaxDeletes: rapid.IntRange(0, 6).Draw(t, "deletes")},
			in: contract.CompareInput{
				RunStartedAt: planStart.Add(-time.Second), Confirm: rapid.Bool().Draw(t, "confirm"), ReadOnly: true,
				Mode: rapid.SampledFrom([]contract.Mode{contract.ModeFull, contract.ModeFull, contract.ModeFull, contract.ModeCreateOnly, contract.ModeObserve}).Draw(t, "mode"),
			},
		}
		// around the start of the fetch, and around the start of the run
		moment := rapid.Custom(func(t *rapid.T) time.Time {
			return planStart.Add(time.Duration(rapid.IntRange(-3, 2).Draw(t, "seconds")) * time.Second)
		})
		empty := rapid.IntRange(0, 9).Draw(t, "empty") == 0
		mostListed := 6 // of 10; in a foreign list only what is not monitored, and little else
		if rapid.IntRange(0, 4).Draw(t, "foreign") == 0 {
			mostListed = 1
		}
		for i := range rapid.IntRange(0, 30).Draw(t, "size") {
			id := fmt.Sprintf("store-%02d", i)
			side := rapid.IntRange(0, 9).Draw(t, "side")
			if side < mostListed && !empty {
				w.listed[id] = true
			}
			if side > 0 {
				w.stores[id] = store(t, id, moment)
			}
			w.paused[id] = rapid.IntRange(0, 9).Draw(t, "paused") == 0
		}
		if mostListed == 1 && rapid.Bool().Draw(t, "all sighted before") { // else hardly a foreign list could be approved
			for id, s := range w.stores {
				s.UnlistedSince = new(planStart.Add(-3 * time.Second))
				w.stores[id] = s
			}
		}
		w.keepsBack = rapid.IntRange(0, 4).Draw(t, "keepsBack") == 0
		if rapid.IntRange(0, 3).Draw(t, "approved") == 0 {
			at := moment.Draw(t, "approvedAt")
			w.approvedAt = &at
		}
		w.removed = rapid.SampledFrom([]int{0, 0, 1, 5}).Draw(t, "removed")
		w.registered = len(w.stores) + rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 1, 5, 500}).Draw(t, "lost")
		return w
	})
}

func storeID(i int) string { return fmt.Sprintf("store-%05d", i) }

// someWorld has n stores, all of them listed and settled.
func someWorld(n int) world {
	w := world{
		listAt: planStart, listed: map[string]bool{}, stores: map[string]storemanager.Store{}, guard: GuardLimits{MaxDeletePercent: 10, MaxDeletes: 50},
		in: contract.CompareInput{RunStartedAt: planStart.Add(-time.Second), Confirm: true, ReadOnly: true, Mode: contract.ModeFull}, registered: n,
	}
	for i := range n {
		w.listed[storeID(i)] = true
		w.stores[storeID(i)] = storemanager.Store{ID: storeID(i), State: storemanager.StateMonitored, EventAt: planStart.Add(-time.Hour)}
	}
	return w
}

func store(t *rapid.T, id string, moment *rapid.Generator[time.Time]) storemanager.Store {
	rare := func(name string) bool { return rapid.IntRange(0, 9).Draw(t, name) == 0 }
	s := storemanager.Store{ID: id, State: storemanager.StateMonitored, EventAt: planStart.Add(-time.Hour)}
	if rare("event") {
		s.EventAt = moment.Draw(t, "eventAt")
	}
	if rare("unknown") {
		s.EventAt = time.Unix(0, 0)
	}
	if rare("ensured") {
		s.LastEnsuredAt = new(moment.Draw(t, "ensuredAt"))
	}
	if rare("held") {
		s.Hold = &storemanager.Hold{Reason: "r", Actor: "a"}
	}
	s.Pinned = rare("pinned")
	if rapid.IntRange(0, 1).Draw(t, "pending") == 0 {
		s.Deletion = &storemanager.Deletion{
			EventAt: moment.Draw(t, "deletionEventAt"), ByList: rapid.Bool().Draw(t, "byList"), Since: moment.Draw(t, "deletionSince"),
			DeleteAt: moment.Draw(t, "deleteAt"),
		}
	}
	if s.Deletion != nil && rapid.Bool().Draw(t, "listed again") {
		s.ListedSince = new(moment.Draw(t, "listedSince"))
	}
	if rapid.Bool().Draw(t, "missing") {
		s.UnlistedSince = new(moment.Draw(t, "missingSince"))
	}
	return s
}

// planner is one that has been told of nothing yet.
func (w world) planner() *planner {
	p := newPlanner(w.in, w.guard, w.listAt, len(w.listed))
	known := storemanager.Overview{Monitored: w.registered, GuardApprovedAt: w.approvedAt, ListRemovals: w.removed}
	if w.keepsBack {
		known.Guard = &storemanager.KeptBack{Since: planStart, Reason: "too many"}
	}
	p.know(known)
	p.paused = func(id string) bool { return w.paused[id] }
	return p
}

// plan tells a planner of the world, in the order of ids.
func (w world) plan() *planner { return w.tell(w.planner()) }

func (w world) tell(p *planner) *planner {
	all := maps.Clone(w.listed)
	for id := range w.stores {
		all[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		s, monitored := w.stores[id]
		switch {
		case !monitored:
			p.onlyListed(id)
		case w.listed[id]:
			p.inBoth(&s)
		default:
			p.onlyMonitored(&s)
		}
	}
	return p
}

// protected says in plain words whether a store may not be removed, whatever else.
func (w world) protected(s storemanager.Store) bool {
	pending := s.Deletion != nil
	newer := s.EventAt.Compare(w.listAt) >= 0 || s.LastEnsuredAt != nil && s.LastEnsuredAt.Compare(w.listAt) >= 0
	return w.listed[s.ID] || s.Hold != nil || s.Pinned || pending || newer || w.paused[s.ID]
}

// leaving says whether it is on its way out because lists lacked it, and nobody has approved that.
func (w world) leaving(s storemanager.Store) bool {
	if s.Deletion == nil || !s.Deletion.ByList || w.approvedAt != nil && s.Deletion.EventAt.Compare(*w.approvedAt) <= 0 {
		return false
	}
	without := s
	without.Deletion = nil
	return w.protected(s) && !w.protected(without) // the deletion is all that protects it
}

// orphan says whether it was sighted before this run, and is not protected.
func (w world) orphan(s storemanager.Store) bool {
	return !w.protected(s) && w.in.Confirm && s.UnlistedSince != nil && s.UnlistedSince.Before(w.in.RunStartedAt)
}

// check compares the plan with the world; "" when all is right.
func (w world) check(p *planner) string {
	plan := p.finish()
	var orphans, missing []string
	lacking, free, overlap := 0, true, 0
	for _, id := range slices.Sorted(maps.Keys(w.stores)) {
		s := w.stores[id]
		if w.orphan(s) {
			orphans = append(orphans, id)
		}
		if !w.protected(s) || w.leaving(s) {
			lacking++
		}
		free = free && w.protected(s)
		if w.listed[id] {
			overlap++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.listed)) {
		s, monitored := w.stores[id]
		again := slices.Contains(plan.ListedAgain, id) // what ends its deletion tells of it, too
		if !w.paused[id] && !again && (!monitored || s.EventAt.Unix() == 0) {
			missing = append(missing, id)
		}
	}
	if len(w.listed) == 0 {
		orphans, lacking = nil, 0
	}
	incomplete := len(w.stores)*100 < w.registered*90
	free = free && lacking == 0 && !incomplete && len(w.listed) > 0
	gone, all := lacking, len(w.stores)
	if lacking > 0 {
		gone, all = lacking+w.removed, all+w.removed
	}
	foreign := overlap+lacking >= 10 && overlap*10 < overlap+lacking && len(w.listed) > 0
	tooMany := len(orphans) > 0 && incomplete || w.keepsBack && !free || foreign || all >= 10 && (gone > w.guard.MaxDeletes ||
		lacking > 0 && w.guard.MaxDeletePercent != 100 && gone*100 >= w.guard.MaxDeletePercent*all)
	switch {
	case foreign && len(plan.Missing) > 0 && w.in.Mode != contract.ModeObserve:
		return "it adds what is in a foreign list"
	case w.in.Mode == contract.ModeObserve && len(plan.Missing)+len(plan.Orphans) > 0:
		return "observing repairs nothing"
	case w.in.Mode != contract.ModeObserve && !foreign && !slices.Equal(plan.Missing, missing):
		return fmt.Sprintf("it adds %v, and not %v", plan.Missing, missing)
	case plan.OrphanCount != len(orphans):
		return fmt.Sprintf("it counts %d orphans, and not %v", plan.OrphanCount, orphans)
	case (tooMany || w.in.Mode != contract.ModeFull || len(w.listed) == 0) && len(plan.Orphans) > 0:
		return "it removes what it may not"
	case tooMany != (plan.Guard != "") && len(w.listed) > 0:
		return "the guard is wrong: " + plan.Guard
	case len(w.listed) == 0 && len(w.stores) > 0 && plan.Guard == "":
		return "an empty list is believed"
	case !tooMany && w.in.Mode == contract.ModeFull && !slices.Equal(plan.Orphans, orphans):
		return fmt.Sprintf("it removes %v, and not %v", plan.Orphans, orphans)
	case plan.LacksNothing != free:
		return "it says what the list lacks wrongly"
	case len(w.listed) == 0 && len(p.marks.Unlisted) > 0:
		return "an empty list is a sighting"
	}
	for _, id := range p.marks.Unlisted {
		if w.protected(w.stores[id]) && w.stores[id].ListedSince == nil {
			return "a protected store is sighted: " + id
		}
	}
	return w.checkListedAgain(p)
}

// checkListedAgain compares what the plan says of pending deletions of listed workspaces.
func (w world) checkListedAgain(p *planner) string {
	var again []string
	for _, id := range slices.Sorted(maps.Keys(w.stores)) {
		s := w.stores[id]
		spoken := s.Deletion != nil && s.Deletion.EventAt.Before(w.listAt) && s.Deletion.Since.Before(w.listAt)
		switch {
		case len(w.listed) == 0:
		case !w.listed[id] && s.ListedSince != nil && !slices.Contains(p.marks.Unlisted, id):
			return "lists that are not consecutive speak against a deletion: " + id
		case w.listed[id] && spoken && s.ListedSince == nil && !slices.Contains(p.marks.Listed, id):
			return "a list that speaks against a deletion is not kept: " + id
		case w.listed[id] && spoken && s.ListedSince != nil && s.ListedSince.Before(w.in.RunStartedAt) && w.in.Confirm && !w.paused[id]:
			again = append(again, id)
		}
	}
	if plan := p.plan; plan.ListedAgainCount != len(again) || w.in.Mode != contract.ModeObserve && !slices.Equal(plan.ListedAgain, again) {
		return fmt.Sprintf("it ends the deletions of %v, and not of %v", plan.ListedAgain, again)
	}
	return ""
}

func TestThePlanIsWhatTheSetsSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		require.Empty(t, w.check(w.plan()))
	})
}

// Every reason to keep a store, and every guard, is missed when it is taken away: this is what the property is worth.
func TestThePropertyFailsWithoutAnyOneOfTheGuards(t *testing.T) {
	t.Parallel()
	for row := range allRules().names() {
		if row == string(contract.ReasonCase) {
			continue // no ids of these worlds differ in case alone
		}
		spoiled(t, row, func(w world) *planner {
			p := w.planner()
			p.rules = p.rules.without(row)
			return w.tell(p)
		})
	}
	spoiled(t, "few", func(w world) *planner {
		p := w.planner()
		p.rules.guards = slices.Clone(p.rules.guards)
		for i := range p.rules.guards {
			p.rules.guards[i].least = 0
		}
		return w.tell(p)
	})
	spoiled(t, "leaving", func(w world) *planner {
		p := w.plan()
		p.leaving = 0
		return p
	})
	spoiled(t, "removed", func(w world) *planner {
		p := w.plan()
		p.overview.ListRemovals = 0
		return p
	})
}

// spoiled wants one of the worlds to notice what is wrong with the planner.
func spoiled(t *testing.T, what string, plan func(world) *planner) {
	t.Helper()
	t.Run(what, func(t *testing.T) {
		t.Parallel()
		worlds := worlds()
		for seed := range plannerCases {
			w := worlds.Example(seed)
			if w.check(plan(w)) != "" {
				return
			}
		}
		t.Fatalf("nothing misses %q in %d worlds", what, plannerCases)
	})
}

// names are those of all rows.
func (r rules) names() map[string]bool {
	names := map[string]bool{}
	for _, row := range r.missing {
		names[string(row.reason)] = true
	}
	for _, row := range r.unlisted {
		names[string(row.reason)] = true
	}
	for _, row := range r.guards {
		names[row.name] = true
	}
	for _, row := range r.withheld {
		names[row.name] = true
	}
	return names
}

// without are the rules but for the rows of that name.
func (r rules) without(name string) rules {
	return rules{
		missing:  slices.DeleteFunc(slices.Clone(r.missing), func(row storeRule[string]) bool { return string(row.reason) == name }),
		unlisted: slices.DeleteFunc(slices.Clone(r.unlisted), func(row storeRule[*storemanager.Store]) bool { return string(row.reason) == name }),
		guards:   slices.DeleteFunc(slices.Clone(r.guards), func(row guardRule) bool { return row.name == name }),
		withheld: slices.DeleteFunc(slices.Clone(r.withheld), func(row listRule) bool { return row.name == name }),
	}
}

func TestThePlansHashNamesExactlyWhatItDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := worlds().Draw(t, "one world"), worlds().Draw(t, "another")
		actions := func(w world) (string, []contract.PlanItem) {
			plan := w.plan().finish()
			return plan.Hash, slices.DeleteFunc(plan.Items, func(i contract.PlanItem) bool {
				return i.Action == contract.ActionSkip || i.Action == contract.ActionKeep
			})
		}
		hashA, itemsA := actions(a)
		hashB, itemsB := actions(b)
		require.Equal(t, slices.Equal(itemsA, itemsB), hashA == hashB)
		require.Equal(t, hashA == "", len(itemsA) == 0)
	})
}

func TestAnApprovalLetsThatPlanPassAndNoOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		w.in.Mode, w.in.Confirm, w.guard, w.registered = contract.ModeFull, true, GuardLimits{}, 0
		w.keepsBack = rapid.Bool().Draw(t, "kept back already")
		plan := w.plan().finish()
		for _, hash := range []string{plan.Hash, plan.RemovalHash} {
			w.in.ApprovedPlan = hash
			approved := w.plan().finish()
			switch {
			case len(w.listed) == 0:
				require.Empty(t, approved.Orphans, "no approval makes an empty list credible")
			case plan.Foreign && plan.FirstSightings > 0:
				require.False(t, approved.Released, "it will be another plan")
				require.Empty(t, approved.Missing)
				require.Empty(t, approved.Orphans)
			case plan.Foreign && hash != plan.Hash:
				require.False(t, approved.Released, "it adds, too")
				require.Empty(t, approved.Missing)
				require.Empty(t, approved.Orphans)
			case plan.Foreign && hash != "":
				require.True(t, approved.Released)
				require.Empty(t, approved.Guard)
				require.Len(t, approved.Orphans, plan.OrphanCount)
			case plan.OrphanCount > 0:
				require.Empty(t, approved.Guard)
				require.Len(t, approved.Orphans, plan.OrphanCount)
				require.Equal(t, plan.Guard != "", approved.Released, "only what would not have passed is released")
			default:
				require.False(t, approved.Released, "there is nothing to release")
				require.Equal(t, plan.Guard, approved.Guard)
			}
		}
		for _, hash := range []string{"", "another"} {
			w.in.ApprovedPlan = hash
			other := w.plan().finish()
			require.False(t, other.Released)
			require.Equal(t, plan.Guard, other.Guard)
		}
	})
}

// Of a million stores that are missing, each would cost a store that nobody needs.
func TestAMissingStoreCostsTheCountAndNoMore(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	p := newPlanner(contract.CompareInput{}, GuardLimits{}, planStart, 1)
	for range contract.MaxPlanned {
		p.onlyListed("store")
	}
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { p.onlyListed("store") }), 1.0, "what its digest is told")
}
