package storemanager

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (on suite) TestTheGuardHoldsUntilItIsClearedOrApproved(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		list := func(at time.Time, verdict GuardVerdict, reason string) Overview {
			b.clock.Set(at)
			require.NoError(t, b.MarkMissing(t.Context(), MissingMarks{ListAt: at, Guard: verdict, GuardReason: reason}))
			return b.overview(t)
		}
		runs := 0
		approve := func(listAt *time.Time) Overview {
			runs++
			require.NoError(t, b.RecordReconcile(t.Context(), ReconcileRun{
				RunID: fmt.Sprint("run-", runs), StartedAt: at(runs), CompletedAt: at(runs), ApprovedListAt: listAt,
			}))
			return b.overview(t)
		}
		require.Nil(t, b.overview(t).Guard)
		require.Equal(t, &GuardHold{Since: at(1), Reason: "one"}, list(at(1), GuardHeld, "one").Guard)
		require.Equal(t, &GuardHold{Since: at(1), Reason: "one"}, list(at(2), "", "").Guard, "a list that says nothing of it")
		require.Equal(t, &GuardHold{Since: at(1), Reason: "one"}, list(at(3), GuardHeld, "two").Guard, "the first reason says most")
		require.Equal(t, &GuardHold{Since: at(1), Reason: "one"}, approve(nil).Guard, "a run without an approval")
		o := list(at(4), GuardCleared, "")
		require.Nil(t, o.Guard)
		require.Nil(t, o.GuardApprovedAt)

		list(at(5), GuardHeld, "three")
		listAt := at(6)
		o = approve(&listAt)
		require.Nil(t, o.Guard)
		require.Equal(t, &listAt, o.GuardApprovedAt)
		require.Equal(t, &GuardHold{Since: at(7), Reason: "four"}, list(at(7), GuardHeld, "four").Guard)
		older := at(2)
		require.Equal(t, &listAt, approve(&older).GuardApprovedAt)
	})
}

func (on suite) TestTheGuardHoldsAfterARestart(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.clock.Set(at(1))
	require.NoError(t, b.MarkMissing(t.Context(), MissingMarks{ListAt: at(1), Guard: GuardHeld, GuardReason: "too many"}))
	require.NoError(t, b.registry.Close())
	again := on.open(t, Settings{Path: b.path, Now: func() time.Time { return at(2) }})
	o, err := again.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, &GuardHold{Since: at(1), Reason: "too many"}, o.Guard)
}

func (on suite) TestWhatAnEventDeletesIsNoSighting(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		sight := func() {
			require.NoError(t, b.MarkMissing(t.Context(), MissingMarks{ListAt: at(2), Missing: []string{id}}))
		}
		begin := func(byList bool) {
			_, err := b.BeginDeletion(t.Context(), DeletionRequest{StoreID: id, At: at(3), DeleteAt: at(100), Owner: "run", ByList: byList})
			require.NoError(t, err)
		}
		b.ensure(t, 1)
		sight()
		require.NotNil(t, b.get(t).MissingSince)
		begin(true)
		require.NotNil(t, b.get(t).MissingSince)
		begin(false)
		require.Nil(t, b.get(t).MissingSince)
		sight()
		require.Nil(t, b.get(t).MissingSince, "nor can it become one")
	})
}

func (on suite) TestWhatListsRemoveIsCountedForADayAndUntilItIsApproved(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		remove := func(store string, second int, byList bool) {
			b.clock.Set(at(second))
			_, err := b.Ensure(t.Context(), EnsureRequest{StoreID: store, At: at(second)})
			require.NoError(t, err)
			require.NoError(t, b.MarkMissing(t.Context(), MissingMarks{ListAt: at(second + 1), Missing: []string{store}}))
			_, err = b.BeginDeletion(t.Context(), DeletionRequest{
				StoreID: store, At: at(second + 2), DeleteAt: at(second + 3), Owner: "run", ByList: byList,
			})
			require.NoError(t, err)
			b.clock.Set(at(second + 3))
			res, err := b.Stop(t.Context(), StopRequest{StoreID: store, Owner: "run", AbsentAt: b.clock.Now()})
			require.NoError(t, err)
			require.Equal(t, StopStopped, res.Outcome)
		}
		remove("by-an-event", 0, false)
		require.Zero(t, b.overview(t).ListRemovals)
		remove("by-lists", 10, true)
		remove("by-lists-too", 20, true)
		remove("by-lists", 30, true)
		require.Equal(t, 3, b.overview(t).ListRemovals, "that a store came back forgives nothing")

		approve := func(listAt int) {
			require.NoError(t, b.RecordReconcile(t.Context(), ReconcileRun{
				RunID: "run", StartedAt: t0, CompletedAt: t0, ApprovedListAt: new(at(listAt)),
			}))
		}
		approve(22)
		require.Equal(t, 1, b.overview(t).ListRemovals, "what the approved list and those before it had asked for is approved")
		b.clock.Set(at(33).Add(24*time.Hour - time.Microsecond))
		require.Equal(t, 1, b.overview(t).ListRemovals)
		b.clock.Set(at(33).Add(24 * time.Hour))
		require.Zero(t, b.overview(t).ListRemovals)
	})
}
