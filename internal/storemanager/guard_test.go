package storemanager

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheGuardHoldsUntilItIsClearedOrApproved(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b *bundle) {
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

func TestTheGuardHoldsAfterARestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.clock.Set(at(1))
	require.NoError(t, b.MarkMissing(t.Context(), MissingMarks{ListAt: at(1), Guard: GuardHeld, GuardReason: "too many"}))
	require.NoError(t, b.registry.Close())
	again := open(t, Options{Path: b.path, Now: func() time.Time { return at(2) }})
	o, err := again.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, &GuardHold{Since: at(1), Reason: "too many"}, o.Guard)
}

func TestWhatAnEventDeletesIsNoSighting(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b *bundle) {
		b.ensure(t, 1)
		sight := func() {
			require.NoError(t, b.MarkMissing(t.Context(), MissingMarks{ListAt: at(2), Missing: []string{id}}))
			require.NotNil(t, b.get(t).MissingSince)
		}
		sight()
		for byList, sighted := range map[bool]bool{true: true, false: false} {
			_, err := b.BeginDeletion(t.Context(), DeletionRequest{StoreID: id, At: at(3), DeleteAt: at(100), Owner: "run", ByList: byList})
			require.NoError(t, err)
			require.Equal(t, sighted, b.get(t).MissingSince != nil, "by list: %v", byList)
			sight()
		}
	})
}
