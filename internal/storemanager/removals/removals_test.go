package removals

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
)

var t0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

const id = "store-a"

var webhook = storemanager.Origin{Source: storemanager.SourceWebhook, Actor: "secret#1", DeliveryID: "d-1"}

// byEvent is a deletion that began at At(10) and is due at At(110).
func byEvent() storemanager.Deletion {
	return storemanager.Deletion{EventAt: at(9), Since: at(10), DeleteAt: at(110), Owner: "run", Cause: storemanager.Cause{Origin: webhook}}
}

// byLists is the same, but two lists asked for it.
func byLists() storemanager.Deletion {
	d := byEvent()
	d.ByList = true
	d.Cause = storemanager.Cause{
		Origin:    storemanager.Origin{Source: storemanager.SourceReconcile, RunID: "run-2"},
		FirstList: storemanager.ListRef{At: at(1), Hash: "first"}, SecondList: storemanager.ListRef{At: at(9), Hash: "second"},
	}
	return d
}

// restoredByLists is that of a run which knows no lists.
func restoredByLists() storemanager.Deletion {
	d := byLists()
	d.Cause.FirstList, d.Cause.SecondList = storemanager.ListRef{}, storemanager.ListRef{}
	return d
}

func ensured() storemanager.AuditEntry {
	return storemanager.AuditEntry{At: at(0), Kind: storemanager.AuditEnsure, StoreID: id, Outcome: "created", Origin: webhook}
}

func begun(d storemanager.Deletion) storemanager.AuditEntry {
	return storemanager.AuditEntry{
		At: d.Since, Kind: storemanager.AuditDeletion, StoreID: id, Outcome: "scheduled", Origin: d.Cause.Origin, Evidence: &storemanager.Evidence{Deletion: &d},
	}
}

// stopped is a stop at At(120), on a list of At(115).
func stopped(d storemanager.Deletion) storemanager.AuditEntry {
	return storemanager.AuditEntry{
		At: at(120), Kind: storemanager.AuditStop, StoreID: id, Outcome: "stopped", Origin: d.Cause.Origin,
		Evidence: &storemanager.Evidence{Deletion: &d, Recheck: storemanager.ListRef{At: at(115), Hash: "third", Entries: 7}},
	}
}

func of(kind storemanager.AuditKind, second int) storemanager.AuditEntry {
	return storemanager.AuditEntry{At: at(second), Kind: kind, StoreID: id, Outcome: "done"}
}

func firstSighting() storemanager.AuditEntry {
	return storemanager.AuditEntry{
		At: at(2), Kind: storemanager.AuditList, Outcome: "first_sighting", Evidence: &storemanager.Evidence{Lists: []storemanager.ListRef{{At: at(1), Hash: "first"}}},
	}
}

func guard(outcome string, second int) storemanager.AuditEntry {
	return storemanager.AuditEntry{At: at(second), Kind: storemanager.AuditGuard, Outcome: outcome}
}

func approval(outcome string) storemanager.AuditEntry {
	return storemanager.AuditEntry{
		At: at(20), Kind: storemanager.AuditApproval, Outcome: outcome,
		Origin: storemanager.Origin{Source: storemanager.SourceOperator, Actor: "ann", RunID: "run-2", Plan: "3f9a61c2d07b45e8"},
	}
}

// changed is what change has made of it.
func changed[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

// judge reads entries in their order.
func judge(entries ...storemanager.AuditEntry) Report {
	var j Judge
	for i, e := range entries {
		e.Seq = int64(i + 1)
		j.Add(e)
	}
	return j.Report()
}

func TestAStopIsJudgedByItsEvidence(t *testing.T) {
	t.Parallel()
	approved := changed(byLists(), func(d *storemanager.Deletion) { d.Cause.Plan = "3f9a61c2d07b45e8" })
	weekHold := changed(of(storemanager.AuditHold, 5), func(e *storemanager.AuditEntry) {
		e.Evidence = &storemanager.Evidence{Hold: &storemanager.Hold{Since: at(5), ExpiresAt: new(at(500))}}
	})
	for name, test := range map[string]struct {
		trail    []storemanager.AuditEntry
		against  []string // of the stop; nil: it is justified
		unproven []string
	}{
		"an event, the grace period, and a fresh answer":   {trail: []storemanager.AuditEntry{ensured(), begun(byEvent()), stopped(byEvent())}},
		"two lists, the grace period, and a fresh answer":  {trail: []storemanager.AuditEntry{ensured(), firstSighting(), begun(byLists()), stopped(byLists())}},
		"two lists, the guard, and an approval":            {trail: []storemanager.AuditEntry{ensured(), firstSighting(), guard("keeps_back", 3), begun(approved), approval("approved"), stopped(approved)}},
		"two lists, after the guard has let go":            {trail: []storemanager.AuditEntry{ensured(), firstSighting(), guard("keeps_back", 3), guard("cleared", 4), begun(byLists()), stopped(byLists())}},
		"a hold that was released":                         {trail: []storemanager.AuditEntry{ensured(), weekHold, of(storemanager.AuditRelease, 6), begun(byEvent()), stopped(byEvent())}},
		"a pin that is no more":                            {trail: []storemanager.AuditEntry{ensured(), of(storemanager.AuditPin, 1), of(storemanager.AuditUnpin, 2), begun(byEvent()), stopped(byEvent())}},
		"a deletion that was told twice":                   {trail: []storemanager.AuditEntry{ensured(), begun(byEvent()), begun(byEvent()), stopped(byEvent())}},
		"another server that took its time to hear of it":  {trail: []storemanager.AuditEntry{ensured(), begun(byEvent()), changed(stopped(byEvent()), func(e *storemanager.AuditEntry) { e.At = at(200); e.Evidence.DecidedAt = at(120) })}},
		"a store that came back and was deleted once more": {trail: []storemanager.AuditEntry{ensured(), begun(byEvent()), stopped(byEvent()), ensured(), begun(byEvent()), stopped(byEvent())}},
		"a stop that was told again is one":                {trail: []storemanager.AuditEntry{ensured(), begun(byEvent()), stopped(byEvent()), changed(of(storemanager.AuditStop, 121), func(e *storemanager.AuditEntry) { e.Outcome, e.Origin = "stopped", webhook })}},
		"before the end of the grace period":               {trail: []storemanager.AuditEntry{begun(byEvent()), changed(stopped(byEvent()), func(e *storemanager.AuditEntry) { e.At, e.Evidence.Recheck.At = at(109), at(108) })}, against: []string{"it was stopped at 2026-11-23T12:01:49Z, before the end of the grace period at 2026-11-23T12:01:50Z"}},
		"on an old answer":                                 {trail: []storemanager.AuditEntry{begun(byEvent()), changed(stopped(byEvent()), func(e *storemanager.AuditEntry) { e.Evidence.Recheck.At = at(60) })}, against: []string{"the Auth Worker's answer was 1m0s old"}},
		"on an answer of the future":                       {trail: []storemanager.AuditEntry{begun(byEvent()), changed(stopped(byEvent()), func(e *storemanager.AuditEntry) { e.Evidence.Recheck.At = at(126) })}, against: []string{"the Auth Worker's answer was -6s old"}},
		"without asking again":                             {trail: []storemanager.AuditEntry{begun(byEvent()), changed(stopped(byEvent()), func(e *storemanager.AuditEntry) { e.Evidence.Recheck = storemanager.ListRef{} })}, against: []string{"the Auth Worker was not asked again"}},
		"while it was held":                                {trail: []storemanager.AuditEntry{weekHold, begun(byEvent()), stopped(byEvent())}, against: []string{"it was held by entry 1"}},
		"while it was held for ever":                       {trail: []storemanager.AuditEntry{of(storemanager.AuditHold, 5), begun(byEvent()), stopped(byEvent())}, against: []string{"it was held by entry 1"}},
		"while it was pinned":                              {trail: []storemanager.AuditEntry{of(storemanager.AuditPin, 5), begun(byEvent()), stopped(byEvent())}, against: []string{"it was pinned"}},
		"a deletion that was cancelled":                    {trail: []storemanager.AuditEntry{begun(byEvent()), of(storemanager.AuditCancelDeletion, 50), stopped(byEvent())}, against: []string{"its deletion was ended by entry 2 (cancel_deletion)"}},
		"a deletion that a newer creation has ended":       {trail: []storemanager.AuditEntry{begun(byEvent()), changed(ensured(), func(e *storemanager.AuditEntry) { e.Evidence = &storemanager.Evidence{Deletion: new(byEvent())} }), stopped(byEvent())}, against: []string{"its deletion was ended by entry 2 (ensure)"}},
		"a deletion that nobody began":                     {trail: []storemanager.AuditEntry{ensured(), stopped(byEvent())}, against: []string{"the trail does not have the beginning of its deletion"}},
		"a webhook without a delivery":                     {trail: []storemanager.AuditEntry{begun(byEvent()), stopped(changed(byEvent(), func(d *storemanager.Deletion) { d.Cause.DeliveryID = "" }))}, against: []string{"the webhook that asked for it is not named"}},
		"an operator without a name": {trail: []storemanager.AuditEntry{begun(byEvent()), stopped(changed(byEvent(), func(d *storemanager.Deletion) {
			d.Cause.Origin = storemanager.Origin{Source: storemanager.SourceOperator}
		}))}, against: []string{"the operator who asked for it is not named"}},
		"one list":            {trail: []storemanager.AuditEntry{firstSighting(), begun(byLists()), stopped(changed(byLists(), func(d *storemanager.Deletion) { d.Cause.SecondList = storemanager.ListRef{} }))}, against: []string{"no two lists are named that lack the workspace"}},
		"the same list twice": {trail: []storemanager.AuditEntry{firstSighting(), begun(byLists()), stopped(changed(byLists(), func(d *storemanager.Deletion) { d.Cause.SecondList.At = at(1) }))}, against: []string{"the two lists that lack the workspace are the same"}},
		"a first list that the trail does not have":          {trail: []storemanager.AuditEntry{begun(byLists()), stopped(byLists())}, against: []string{"the trail does not have the list of 2026-11-23T12:00:01Z"}},
		"lists without a hash":                               {trail: []storemanager.AuditEntry{firstSighting(), begun(byLists()), stopped(changed(byLists(), func(d *storemanager.Deletion) { d.Cause.SecondList.Hash = "" }))}, against: []string{"the two lists that lack the workspace have no hash"}},
		"the guard, and no approval":                         {trail: []storemanager.AuditEntry{firstSighting(), guard("keeps_back", 3), begun(byLists()), stopped(byLists())}, against: []string{"the guard kept removals back, and the trail has no approval of its plan"}},
		"the guard, and the approval of a plan that changed": {trail: []storemanager.AuditEntry{firstSighting(), guard("keeps_back", 3), begun(approved), approval("refused"), stopped(approved)}, against: []string{"the guard kept removals back, and the trail has no approval of its plan"}},
		"a deletion of before the trail":                     {trail: []storemanager.AuditEntry{stopped(changed(byEvent(), func(d *storemanager.Deletion) { d.Cause = storemanager.Cause{} }))}, unproven: []string{"its deletion began before there was an audit trail"}},
		"a worker of an older version":                       {trail: []storemanager.AuditEntry{begun(byEvent()), changed(stopped(byEvent()), func(e *storemanager.AuditEntry) { e.Evidence.Recheck.Hash = "" })}, unproven: []string{"the list of the re-check is not named"}},
		"a deletion that lists had asked for, and a run put back": {
			trail: []storemanager.AuditEntry{
				changed(begun(restoredByLists()), func(e *storemanager.AuditEntry) { e.Outcome = "restored" }), stopped(restoredByLists()),
			},
			unproven: []string{"its deletion was put back after a loss, and the waiting run did not know the lists"},
		},
		"a stop of before the trail": {trail: []storemanager.AuditEntry{changed(of(storemanager.AuditStop, 1), func(e *storemanager.AuditEntry) { e.Outcome = "stopped" })}, unproven: []string{"it is from before there was an audit trail"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := judge(test.trail...)
			require.Equal(t, len(test.trail), r.Entries)
			require.NotZero(t, r.Stops)
			require.Equal(t, test.against, reasons(r.Unjustified))
			require.Equal(t, test.unproven, reasons(r.Unproven))
			for _, f := range append(r.Unjustified, r.Unproven...) {
				require.Equal(t, id, f.StoreID)
				require.Equal(t, "stop", string(test.trail[f.Seq-1].Kind))
			}
		})
	}
}

func reasons(findings []Finding) (all []string) {
	for _, f := range findings {
		all = append(all, f.Reasons...)
	}
	return all
}

func TestATrailWithoutStopsHasNothingToJudge(t *testing.T) {
	t.Parallel()
	require.Equal(t, Report{Unjustified: []Finding{}, Unproven: []Finding{}}, judge())
	r := judge(ensured(), begun(byEvent()), changed(stopped(byEvent()), func(e *storemanager.AuditEntry) { e.Outcome = "answer_too_old" }))
	require.Zero(t, r.Stops)
}
