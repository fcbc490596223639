package registrytest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestTheGuardHoldsUntilItIsClearedOrApproved(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		list := func(at time.Time, verdict storemanager.GuardVerdict, reason string) storemanager.Overview {
			b.Clock.Set(at)
			require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: at, Guard: verdict, GuardReason: reason}))
			return b.MustOverview(t)
		}
		runs := 0
		approve := func(listAt *time.Time) storemanager.Overview {
			runs++
			require.NoError(t, b.RecordReconcile(t.Context(), storemanager.ReconcileRun{
				RunID: fmt.Sprint("run-", runs), StartedAt: storetest.At(runs), CompletedAt: storetest.At(runs), ApprovedListAt: listAt,
			}))
			return b.MustOverview(t)
		}
		require.Nil(t, b.MustOverview(t).Guard)
		require.Equal(t, &storemanager.KeptBack{Since: storetest.At(1), Reason: "one"}, list(storetest.At(1), storemanager.GuardKeepsBack, "one").Guard)
		require.Equal(t, &storemanager.KeptBack{Since: storetest.At(1), Reason: "one"}, list(storetest.At(2), "", "").Guard, "a list that says nothing of it")
		require.Equal(t, &storemanager.KeptBack{Since: storetest.At(1), Reason: "one"}, list(storetest.At(3), storemanager.GuardKeepsBack, "two").Guard, "the first reason says most")
		require.Equal(t, &storemanager.KeptBack{Since: storetest.At(1), Reason: "one"}, approve(nil).Guard, "a run without an approval")
		o := list(storetest.At(4), storemanager.GuardCleared, "")
		require.Nil(t, o.Guard)
		require.Nil(t, o.GuardApprovedAt)

		list(storetest.At(5), storemanager.GuardKeepsBack, "three")
		listAt := storetest.At(6)
		o = approve(&listAt)
		require.Nil(t, o.Guard)
		require.Equal(t, &listAt, o.GuardApprovedAt)
		require.Equal(t, &storemanager.KeptBack{Since: storetest.At(7), Reason: "four"}, list(storetest.At(7), storemanager.GuardKeepsBack, "four").Guard)
		older := storetest.At(2)
		require.Equal(t, &listAt, approve(&older).GuardApprovedAt)
	})
}

func (on suite) TestTheGuardHoldsAfterARestart(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.Clock.Set(storetest.At(1))
	require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(1), Guard: storemanager.GuardKeepsBack, GuardReason: "too many"}))
	require.NoError(t, b.Registry.Close())
	again := on.open(t, storetest.Settings{Path: b.Path, Now: func() time.Time { return storetest.At(2) }})
	o, err := again.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, &storemanager.KeptBack{Since: storetest.At(1), Reason: "too many"}, o.Guard)
}

func (on suite) TestWhatAnEventDeletesIsNoSighting(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		sight := func() {
			require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(2), Unlisted: []string{storetest.ID}}))
		}
		begin := func(byList bool) {
			_, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: storetest.ID, At: storetest.At(3), DeleteAt: storetest.At(100), Owner: "run", ByList: byList})
			require.NoError(t, err)
		}
		b.MustEnsure(t, 1)
		sight()
		require.NotNil(t, b.MustGet(t).UnlistedSince)
		begin(true)
		require.NotNil(t, b.MustGet(t).UnlistedSince)
		begin(false)
		require.Nil(t, b.MustGet(t).UnlistedSince)
		sight()
		require.Nil(t, b.MustGet(t).UnlistedSince, "nor can it become one")
	})
}

func (on suite) TestWhatListsRemoveIsCountedForADayAndUntilItIsApproved(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		remove := func(store string, second int, byList bool) {
			b.Clock.Set(storetest.At(second))
			_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: store, At: storetest.At(second)})
			require.NoError(t, err)
			require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(second + 1), Unlisted: []string{store}}))
			_, err = b.BeginDeletion(t.Context(), storemanager.DeletionRequest{
				StoreID: store, At: storetest.At(second + 2), DeleteAt: storetest.At(second + 3), Owner: "run", ByList: byList,
			})
			require.NoError(t, err)
			b.Clock.Set(storetest.At(second + 3))
			res, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: store, Owner: "run", AbsentAt: b.Clock.Now()})
			require.NoError(t, err)
			require.Equal(t, storemanager.StopStopped, res.Outcome)
		}
		remove("by-an-event", 0, false)
		require.Zero(t, b.MustOverview(t).ListRemovals)
		remove("by-lists", 10, true)
		remove("by-lists-too", 20, true)
		remove("by-lists", 30, true)
		require.Equal(t, 3, b.MustOverview(t).ListRemovals, "that a store came back forgives nothing")

		approve := func(listAt int) {
			require.NoError(t, b.RecordReconcile(t.Context(), storemanager.ReconcileRun{
				RunID: "run", StartedAt: storetest.T0, CompletedAt: storetest.T0, ApprovedListAt: new(storetest.At(listAt)),
			}))
		}
		approve(22)
		require.Equal(t, 1, b.MustOverview(t).ListRemovals, "what the approved list and those before it had asked for is approved")
		b.Clock.Set(storetest.At(33).Add(24*time.Hour - time.Microsecond))
		require.Equal(t, 1, b.MustOverview(t).ListRemovals)
		b.Clock.Set(storetest.At(33).Add(24 * time.Hour))
		require.Zero(t, b.MustOverview(t).ListRemovals)
	})
}
