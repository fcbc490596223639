package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// approve records a run whose removals were approved.
func (b *bundle) approve(listAt time.Time) {
	b.t.Helper()
	_, err := b.env.ExecuteActivity(b.act.RecordRun, contract.RecordInput{RunID: "approved", Report: contract.ReconcileReport{
		StartedAt: b.now, CompletedAt: b.now, GuardVerdict: contract.GuardApproved, ListAt: listAt,
	}})
	require.NoError(b.t, err)
}

// leave has the orphans' lifecycles begin their deletions.
func (b *bundle) leave(plan contract.Plan) {
	b.t.Helper()
	for _, id := range plan.Orphans {
		_, err := b.registry.BeginDeletion(b.t.Context(), storemanager.DeletionRequest{
			StoreID: id, At: plan.ListAt, DeleteAt: b.now.Add(24 * time.Hour), Owner: "run", ByList: true,
		})
		require.NoError(b.t, err)
	}
}

func TestATrippedGuardKeepsBackHoweverManyStoresThereAreLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.compare(ids(4, 20), "")
	require.True(t, b.held())
	b.monitored(ids(20, 1020)) // 4 are no longer many

	later := b.compare(ids(4, 1020), "")
	require.Equal(t, 4, later.OrphanCount)
	require.Empty(t, later.Orphans)
	require.True(t, later.Approvable)
	require.Equal(t, "an earlier list lacked too many stores, and this one still lacks 4: nothing is removed before plan "+
		later.RemovalHash+" is approved", later.Guard)
	approved := b.compare(ids(4, 1020), later.RemovalHash)
	require.Empty(t, approved.Guard)
	require.True(t, approved.Released)
	require.Len(t, approved.Orphans, 4)

	require.True(t, b.compare(ids(0, 1020), "").LacksNothing)
	require.False(t, b.held())
	b.compare(ids(1, 1020), "")
	require.Empty(t, b.compare(ids(1, 1020), "").Guard, "it no longer holds")
}

func TestAListThatShrinksSlowlyTripsTheGuardAsOneThatShrinksAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 1000))
	shrink := func(from int) contract.Plan {
		b.compare(ids(from, 1000), "")
		plan := b.compare(ids(from, 1000), "")
		b.leave(plan)
		return plan
	}
	require.Len(t, shrink(50).Orphans, 50)
	require.Contains(t, b.compare(ids(100, 1000), "").Guard, "the list lacks 100 stores, more than RECONCILE_MAX_DELETES (50)")
	again := b.compare(ids(100, 1000), "")
	require.Contains(t, again.Guard, "the list lacks 100 stores")
	require.Empty(t, again.Orphans)

	approved := b.compare(ids(100, 1000), again.RemovalHash)
	require.Len(t, approved.Orphans, 50)
	b.leave(approved)
	b.approve(approved.ListAt)
	require.Len(t, shrink(150).Orphans, 50, "what was approved does not count against the next")
	require.NotEmpty(t, shrink(151).Guard)
}

func TestWhatEventsDeleteDoesNotCountAgainstTheGuard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 200))
	b.now = b.now.Add(time.Minute)
	b.compare(ids(50, 200), "") // lists may have lacked them before the events came
	require.True(t, b.held())
	b.now = b.now.Add(time.Second)
	b.deletedByEvents(ids(0, 100))
	require.True(t, b.compare(ids(100, 200), "").LacksNothing)
	b.compare(ids(101, 200), "")
	plan := b.compare(ids(101, 200), "")
	require.Empty(t, plan.Guard)
	require.Equal(t, ids(100, 101), plan.Orphans)
}

func TestAnApprovedPlanThatWouldNotBeDoneIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hinder func(b *bundle)
		want   string
		listed []string // nil: 15 of 20 stores, and one more
	}{
		"a pause": {hinder: func(b *bundle) {
			_, err := b.registry.Pause(b.t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{Reason: "repair", Actor: "ops"}})
			require.NoError(b.t, err)
		}, want: "reconciliation is paused by ops: repair: nothing was done"},
		"a mode that observes": {
			hinder: func(b *bundle) { b.act.Mode = contract.ModeObserve }, want: "RECONCILE_MODE is observe: nothing was done",
		},
		"a mode that removes nothing": {
			hinder: func(b *bundle) { b.act.Mode = contract.ModeCreateOnly }, want: "RECONCILE_MODE is create-only: nothing was done",
		},
		"a store manager that lists too few": {
			hinder: func(b *bundle) { b.act.Manager = forgetful{b.registry, 40} }, want: "the store manager lists 20 of its 40 stores: nothing is removed",
		},
		"a foreign list that is the first of its kind": {
			hinder: func(b *bundle) { b.monitored(ids(40, 41)) }, want: "nothing is added or removed; if the next list is such a one too",
			listed: ids(1000, 1100),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.monitored(ids(0, 20))
			listed := test.listed
			if listed == nil {
				listed = ids(5, 21)
			}
			b.compare(listed, "")
			plan := b.compare(listed, "")
			test.hinder(b)
			_, err := b.tryCompare(listed, plan.Hash)
			require.ErrorContains(t, err, test.want)
		})
	}
}

// forgetful is a store manager that should have so many stores.
type forgetful struct {
	*storetest.Database
	monitored int
}

func (f forgetful) Overview(ctx context.Context) (storemanager.Overview, error) {
	o, err := f.Registry.Overview(ctx)
	o.Monitored = f.monitored
	return o, err
}

func TestARefusedApprovalIsNoFailedRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.env.ExecuteActivity(b.act.RecordRun, contract.RecordInput{
		RunID: "r1", Error: "the plan is another", Refused: true, Report: contract.ReconcileReport{StartedAt: b.now, CompletedAt: b.now},
	})
	require.NoError(t, err)
	known, err := b.registry.Reconciliation(t.Context())
	require.NoError(t, err)
	require.Zero(t, known.Runs)
}

func TestARoundGoesOnWhereTheOneBeforeEnded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const first, all = contract.MaxPlanned, contract.MaxPlanned + 500
	plan := b.compare(ids(0, all), "")
	require.Equal(t, ids(0, first), plan.Missing)
	require.Equal(t, contract.Cursor{Missing: ids(first-1, first)[0], Orphans: "~"}, plan.Next)
	v, err := b.env.ExecuteActivity(b.act.CompareLists, contract.CompareInput{RunStartedAt: b.now, Confirm: true, After: plan.Next})
	require.NoError(t, err)
	var rest contract.Plan
	require.NoError(t, v.Get(&rest))
	require.Equal(t, ids(first, all), rest.Missing, "none of the first could be added, and they block nothing")
	require.Empty(t, rest.Next)
	require.Equal(t, all, rest.MissingCount)
}

func TestThePlanForPeopleHasItsRemovalsFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(2000, 2020))
	b.compare(ids(0, 2018), "")
	b.now = b.now.Add(time.Minute)
	b.lister.ids, b.lister.at = append(ids(0, 2018), "?"), b.now
	v, err := b.env.ExecuteActivity(b.act.CompareLists, contract.CompareInput{RunStartedAt: b.now, Confirm: true, ReadOnly: true})
	require.NoError(t, err)
	var plan contract.Plan
	require.NoError(t, v.Get(&plan))
	require.Len(t, plan.Items, 2+contract.MaxPlanItems+1)
	require.Equal(t, contract.ActionDelete, plan.Items[0].Action)
	require.Equal(t, contract.ActionDelete, plan.Items[1].Action)
	require.Equal(t, contract.PlanItem{StoreID: "?", Action: contract.ActionSkip, Reason: contract.ReasonInvalidID}, plan.Items[len(plan.Items)-1])
}
