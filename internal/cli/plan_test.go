package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
)

// printed is what print writes for people.
func printed(write func(*app)) string {
	var out bytes.Buffer
	write(&app{Options: Options{Stdout: &out}})
	return out.String()
}

func printedPlan(p contract.Plan) string {
	return printed(func(a *app) { a.printPlan(showable(p)) })
}

func TestAPlanIsOfferedOnlyIfItCanBeCarriedOut(t *testing.T) {
	t.Parallel()
	const offered = "to carry out exactly this: starter reconcile --apply 0123456789abcdef"
	for name, tt := range map[string]struct {
		plan contract.Plan
		says string
	}{
		"in full":                               {contract.Plan{Mode: contract.ModeFull}, offered},
		"a guard that awaits it":                {contract.Plan{Mode: contract.ModeFull, Guard: "too many", Approvable: true}, offered},
		"a guard that no approval moves":        {contract.Plan{Mode: contract.ModeFull, Guard: "empty"}, lookAtBoth},
		"while paused":                          {contract.Plan{Mode: contract.ModeObserve, Paused: "bob: audit"}, "first: starter resume"},
		"a worker that only looks":              {contract.Plan{Mode: contract.ModeObserve}, "RECONCILE_MODE is observe"},
		"a worker that only adds":               {contract.Plan{Mode: contract.ModeCreateOnly, OrphanCount: 1}, "RECONCILE_MODE is create-only"},
		"and what it can add":                   {contract.Plan{Mode: contract.ModeCreateOnly, MissingCount: 1}, offered},
		"sightings that are not approvable yet": {contract.Plan{Mode: contract.ModeFull, Guard: "too many", KeptBack: true, MissingCount: 1}, offered},
	} {
		tt.plan.Hash = "0123456789abcdef"
		offer := showable(tt.plan).offer()
		require.Contains(t, offer, tt.says, name)
		require.Equal(t, tt.says == offered, strings.Contains(offer, "--apply"), name)
	}
}

func TestAPlanShowsDeletesFirstAndWhatItLeavesOut(t *testing.T) {
	t.Parallel()
	plan := contract.Plan{
		AuthoritativeCount: 1000, MonitoredCount: 900, MissingCount: 104, OrphanCount: 1, AdoptCount: 2, FirstSightings: 1,
		Skipped: contract.Skipped{Held: 1, Paused: 2}, // of the paused one is listed, one is not
		Items: []contract.PlanItem{
			{StoreID: "ws-1", Action: contract.ActionSkip, Reason: contract.ReasonHeld},
			{StoreID: "ws-2", Action: contract.ActionCreate, Reason: contract.ReasonMissing},
			{StoreID: "ws-3", Action: contract.ActionAdopt, Reason: contract.ReasonUnknown},
			{StoreID: "ws-4", Action: contract.ActionCreate, Reason: contract.ReasonMissing},
			{StoreID: "ws-5", Action: contract.ActionDelete, Reason: contract.ReasonOrphan},
		},
	}
	_, lines, _ := strings.Cut(printedPlan(plan), "REASON\n")
	require.Equal(t, []string{"ws-5", "ws-2", "ws-4", "ws-3", "ws-1", "and", "and", "and"}, firstWords(lines))
	require.Contains(t, lines, "and 101 more to create\nand 1 more to adopt\nand 3 more to skip\n")
	require.NotContains(t, lines, "more to delete")

	plan.MissingCount, plan.AdoptCount, plan.FirstSightings, plan.Skipped = 2, 1, 0, contract.Skipped{Held: 1}
	plan.MonitoredCount = 1000 // 998 of them are listed
	require.NotContains(t, printedPlan(plan), "more to")
}

func firstWords(text string) []string {
	var words []string
	for line := range strings.Lines(text) {
		words = append(words, strings.Fields(line)[0])
	}
	return words
}

func TestDriftIsWhatIsToBeRepairedAndStrictlyAllOnWhichTheSidesDiffer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		plan          contract.Plan
		drift, strict int
	}{
		"both are equal":             {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 5}, 0, 0},
		"one is missing":             {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 4, MissingCount: 1}, 1, 1},
		"a missing one is paused":    {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 4, MissingCount: 1, Skipped: contract.Skipped{Paused: 1}}, 0, 1},
		"an unlisted one is paused":  {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 6, Skipped: contract.Skipped{Paused: 1}}, 0, 1},
		"all of them are paused":     {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 4, MissingCount: 1, Paused: "ann: moving"}, 1, 1},
		"an unlisted one is held":    {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 6, Skipped: contract.Skipped{Held: 1}}, 0, 1},
		"an unlisted one is pinned":  {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 6, Skipped: contract.Skipped{Pinned: 1}}, 0, 1},
		"an unlisted one is pending": {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 6, Skipped: contract.Skipped{Pending: 1}}, 0, 1},
		"an unlisted one is young":   {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 6, Skipped: contract.Skipped{TooYoung: 1}}, 0, 1},
		"one is to be adopted":       {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 5, AdoptCount: 1}, 1, 1},
		"one is listed again":        {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 5, ListedAgainCount: 1}, 1, 1},
		"a listed id is invalid":     {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 5, QuarantinedCount: 1}, 0, 1},
		"a listed id is set aside":   {contract.Plan{AuthoritativeCount: 6, MonitoredCount: 5, SetAsideCount: 1}, 0, 1},
		"the list is empty":          {contract.Plan{MonitoredCount: 20, Guard: "the authoritative list is empty"}, 20, 20},
		"orphans and first sighting": {contract.Plan{AuthoritativeCount: 5, MonitoredCount: 8, OrphanCount: 2, FirstSightings: 1}, 3, 3},
	} {
		plan := showable(tt.plan)
		require.Equal(t, []int{tt.drift, tt.strict}, []int{plan.DriftCount, plan.differing()}, name)
		require.Equal(t, tt.strict == 0, strings.Contains(printedPlan(tt.plan), "no difference"), name)
		require.Equal(t, tt.drift == 0 && tt.strict > 0, strings.Contains(printedPlan(tt.plan), "nothing to repair"), name)
	}
}

func TestAPlanWithoutLinesHasNoneInJSON(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(showable(contract.Plan{Missing: []string{"ws-1"}, AuthoritativeCount: 3}))
	require.NoError(t, err)
	require.Contains(t, string(raw), `"items":[]`)
	require.Contains(t, string(raw), `"authoritativeCount":3`)
	require.NotContains(t, string(raw), "ws-1")
}

func TestWhatARunComesTo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		report contract.ReconcileReport
		exit   exit.Code
		says   string
	}{
		"all is done":            {contract.ReconcileReport{Added: 3}, exit.Done, ""},
		"a guard to be released": {contract.ReconcileReport{Guard: "too many", PlanHash: "0123456789abcdef"}, exit.Guard, "--apply 0123456789abcdef"},
		"a guard that nothing releases": {
			contract.ReconcileReport{Guard: "the authoritative list is empty"}, exit.Guard, "; " + lookAtBoth,
		},
		"a guard and a pause": {
			contract.ReconcileReport{Guard: "too many", PlanHash: "0123456789abcdef", Paused: "bob: audit", Mode: contract.ModeObserve},
			exit.Guard, "but reconciliation is paused; first: starter resume",
		},
		"some could not be added":   {contract.ReconcileReport{Added: 3, FailedAdds: 2}, exit.Drift, "2 stores failed"},
		"some could not be removed": {contract.ReconcileReport{FailedRemovals: 1}, exit.Drift, "1 stores failed"},
		"some are left":             {contract.ReconcileReport{Left: 4}, exit.Drift, "4 are left"},
	} {
		err := conclusion(tt.report)
		if tt.exit == exit.Done {
			require.NoError(t, err, name)
			continue
		}
		var f *exit.Failure
		require.ErrorAs(t, err, &f, name)
		require.Equal(t, tt.exit, f.Exit, name)
		require.Contains(t, f.Error(), tt.says, name)
		require.Equal(t, tt.report.PlanHash != "", strings.Contains(f.Error(), "--apply"), name)
	}
}

func TestAReportSaysThatThereIsNothingToRepairOnlyIfSo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		report contract.ReconcileReport
		says   string
	}{
		"all is equal":          {contract.ReconcileReport{}, "nothing to repair"},
		"an empty list":         {contract.ReconcileReport{MonitoredCount: 20, Guard: "empty"}, "20 monitored"},
		"one was adopted":       {contract.ReconcileReport{Adopted: 1}, "1  adopted"},
		"one could not adopted": {contract.ReconcileReport{FailedAdds: 1}, "1  failed to be added"},
		"the guard tripped":     {contract.ReconcileReport{DriftCount: 9, Orphaned: 9, Removed: 2, Guard: "too many"}, "7  held back by the guard"},
		"more failed than are named": {
			contract.ReconcileReport{FailedAdds: 3, Failing: []contract.FailingStore{{StoreID: "ws-1", Error: "no\x1b[2J"}}},
			"ws-1: no [2J\n        and 2 more\n",
		},
	} {
		text := printed(func(a *app) { a.printReport(tt.report) })
		require.Contains(t, text, tt.says, name)
		require.Equal(t, tt.says == "nothing to repair", strings.Contains(text, "nothing to repair"), name)
		require.NotContains(t, text, "\x1b", name)
	}
}
