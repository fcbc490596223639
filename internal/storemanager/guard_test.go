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
		runs := 0
		record := func(verdict GuardVerdict, reason string) Overview {
			runs++
			require.NoError(t, b.RecordReconcile(t.Context(), ReconcileRun{
				RunID: fmt.Sprint("run-", runs), StartedAt: at(runs), CompletedAt: at(runs), Guard: verdict, GuardReason: reason,
			}))
			return b.overview(t)
		}
		require.Nil(t, b.overview(t).Guard)
		require.Equal(t, &GuardHold{Since: at(1), Reason: "one"}, record(GuardHeld, "one").Guard)
		require.Equal(t, &GuardHold{Since: at(1), Reason: "one"}, record("", "").Guard, "a run that found out nothing")
		require.Equal(t, &GuardHold{Since: at(1), Reason: "two"}, record(GuardHeld, "two").Guard)
		o := record(GuardCleared, "")
		require.Nil(t, o.Guard)
		require.Nil(t, o.GuardApprovedAt)

		record(GuardHeld, "three")
		o = record(GuardApproved, "")
		require.Nil(t, o.Guard)
		require.Equal(t, at(6), *o.GuardApprovedAt)
		require.Equal(t, &GuardHold{Since: at(7), Reason: "four"}, record(GuardHeld, "four").Guard)
		require.Equal(t, at(6), *record("", "").GuardApprovedAt)
	})
}

func TestTheGuardHoldsAfterARestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.RecordReconcile(t.Context(), ReconcileRun{
		RunID: "run", StartedAt: at(1), CompletedAt: at(1), Guard: GuardHeld, GuardReason: "too many",
	}))
	require.NoError(t, b.registry.Close())
	again := open(t, Options{Path: b.path, Now: func() time.Time { return at(2) }})
	o, err := again.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, &GuardHold{Since: at(1), Reason: "too many"}, o.Guard)
}
