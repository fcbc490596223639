package activities_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/activities"
	"storekeeper/internal/storemanager"
)

// record records a run, as the workflow does at its end.
func (b *bundle) record(id string, verdict storemanager.GuardVerdict, reason string) {
	b.t.Helper()
	_, err := b.env.ExecuteActivity(b.act.RecordRun, activities.RecordInput{RunID: id, Report: activities.ReconcileReport{
		StartedAt: b.now, CompletedAt: b.now, Guard: reason, GuardVerdict: verdict,
	}})
	require.NoError(b.t, err)
}

// leave has the orphans' lifecycles begin their deletions.
func (b *bundle) leave(plan activities.Plan) {
	b.t.Helper()
	for _, id := range plan.Orphans {
		_, err := b.registry.BeginDeletion(b.t.Context(), storemanager.DeletionRequest{
			StoreID: id, At: plan.ListAt, DeleteAt: b.now.Add(24 * time.Hour), Owner: "run",
		})
		require.NoError(b.t, err)
	}
}

func TestATrippedGuardHoldsHoweverManyStoresThereAreLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.compare(ids(5, 20), "")
	tripped := b.compare(ids(5, 1020), "")
	require.True(t, tripped.Approvable)
	require.Contains(t, tripped.Guard, "lacks 5 of 20 stores")
	b.record("r1", activities.GuardHeld, tripped.Guard)
	b.monitored(ids(20, 1020)) // it still added: 5 are no longer many

	later := b.compare(ids(5, 1020), "")
	require.Equal(t, 5, later.OrphanCount)
	require.Empty(t, later.Orphans)
	require.True(t, later.Approvable)
	require.Equal(t, "an earlier list lacked too many stores: nothing is removed before plan "+later.RemovalHash+" is approved, or a list lacks none", later.Guard)
	approved := b.compare(ids(5, 1020), later.RemovalHash)
	require.Empty(t, approved.Guard)
	require.Len(t, approved.Orphans, 5)

	require.False(t, later.LacksNothing)
	whole := b.compare(ids(0, 1020), "")
	require.True(t, whole.LacksNothing)
	b.record("r2", activities.GuardCleared, "")
	b.compare(ids(1, 1020), "")
	require.Empty(t, b.compare(ids(1, 1020), "").Guard, "it no longer holds")
}

func TestWithinARunTheGuardHoldsToo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.compare(ids(1, 20), "")
	b.now = b.now.Add(time.Minute)
	b.lister.ids, b.lister.at = ids(1, 20), b.now
	for held, orphans := range map[bool]int{false: 1, true: 0} {
		v, err := b.env.ExecuteActivity(b.act.CompareLists, activities.CompareInput{RunStartedAt: b.now, Confirm: true, Held: held})
		require.NoError(t, err)
		var plan activities.Plan
		require.NoError(t, v.Get(&plan))
		require.Len(t, plan.Orphans, orphans)
	}
}

func TestAListThatShrinksSlowlyTripsTheGuardAsOneThatShrinksAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 1000))
	shrink := func(from int) activities.Plan {
		b.compare(ids(from, 1000), "")
		plan := b.compare(ids(from, 1000), "")
		b.leave(plan)
		return plan
	}
	require.Len(t, shrink(50).Orphans, 50)
	again := shrink(100)
	require.Contains(t, again.Guard, "the list lacks 100 stores, more than RECONCILE_MAX_DELETES (50)")
	require.Empty(t, again.Orphans)

	approved := b.compare(ids(100, 1000), again.RemovalHash)
	require.Len(t, approved.Orphans, 50)
	b.leave(approved)
	b.record("r1", activities.GuardApproved, "")
	require.Len(t, shrink(150).Orphans, 50, "what was approved does not count against the next")
	require.NotEmpty(t, shrink(151).Guard)
}

func TestWhatEventsDeleteDoesNotCountAgainstTheGuard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 200))
	b.now = b.now.Add(time.Minute)
	b.leave(activities.Plan{ListAt: b.now, Orphans: ids(0, 100)}) // as events do: no list has lacked them
	b.compare(ids(101, 200), "")
	plan := b.compare(ids(101, 200), "")
	require.Empty(t, plan.Guard)
	require.Equal(t, ids(100, 101), plan.Orphans)
}

func TestWhatAnEarlierRoundHasHandedOverCounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 600))
	b.compare(ids(2, 600), "")
	b.now = b.now.Add(time.Minute)
	b.lister.ids, b.lister.at = ids(2, 600), b.now
	for removed, orphans := range map[int]int{49: 1, 50: 0} {
		v, err := b.env.ExecuteActivity(b.act.CompareLists, activities.CompareInput{
			RunStartedAt: b.now, Confirm: true, After: ids(0, 1)[0], Removed: removed,
		})
		require.NoError(t, err)
		var plan activities.Plan
		require.NoError(t, v.Get(&plan))
		require.Len(t, plan.Orphans, orphans, "%d in an earlier round", removed)
	}
}

func TestAnApprovedPlanThatWouldNotBeDoneIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hinder func(b *bundle)
		want   string
	}{
		"a pause": {func(b *bundle) {
			_, err := b.registry.Pause(b.t.Context(), storemanager.Pause{Reason: "repair", Actor: "ops"})
			require.NoError(b.t, err)
		}, "reconciliation is paused by ops: repair: nothing was done"},
		"a mode that observes":        {func(b *bundle) { b.act.Mode = activities.ModeObserve }, "RECONCILE_MODE is observe: nothing was done"},
		"a mode that removes nothing": {func(b *bundle) { b.act.Mode = activities.ModeCreateOnly }, "RECONCILE_MODE is create-only: nothing was done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.monitored(ids(0, 20))
			b.compare(ids(5, 21), "")
			plan := b.compare(ids(5, 21), "")
			test.hinder(b)
			_, err := b.tryCompare(ids(5, 21), plan.Hash)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestARefusedApprovalIsNoFailedRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.env.ExecuteActivity(b.act.RecordRun, activities.RecordInput{RunID: "r1", Error: "the plan is another", Refused: true})
	require.NoError(t, err)
	known, err := b.registry.Reconciliation(t.Context())
	require.NoError(t, err)
	require.Zero(t, known.Runs)
}

func TestARoundGoesOnWhereTheOneBeforeEnded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const first, all = activities.MaxPlanned, activities.MaxPlanned + 500
	plan := b.compare(ids(0, all), "")
	require.Equal(t, ids(0, first), plan.Missing)
	require.Equal(t, ids(first-1, first)[0], plan.Next)
	v, err := b.env.ExecuteActivity(b.act.CompareLists, activities.CompareInput{RunStartedAt: b.now, Confirm: true, After: plan.Next})
	require.NoError(t, err)
	var rest activities.Plan
	require.NoError(t, v.Get(&rest))
	require.Equal(t, ids(first, all), rest.Missing, "none of the first could be added, and they block nothing")
	require.Empty(t, rest.Next)
	require.Equal(t, 500, rest.MissingCount)
}

func TestThePlanForPeopleHasItsRemovalsFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(2000, 2020))
	b.compare(ids(0, 2018), "")
	b.now = b.now.Add(time.Minute)
	b.lister.ids, b.lister.at = append(ids(0, 2018), "?"), b.now
	v, err := b.env.ExecuteActivity(b.act.CompareLists, activities.CompareInput{RunStartedAt: b.now, Confirm: true, ReadOnly: true})
	require.NoError(t, err)
	var plan activities.Plan
	require.NoError(t, v.Get(&plan))
	require.Len(t, plan.Items, 2+activities.MaxPlanItems+1)
	require.Equal(t, activities.ActionDelete, plan.Items[0].Action)
	require.Equal(t, activities.ActionDelete, plan.Items[1].Action)
	require.Equal(t, activities.PlanItem{StoreID: "?", Action: activities.ActionSkip, Reason: activities.ReasonInvalidID}, plan.Items[len(plan.Items)-1])
}
