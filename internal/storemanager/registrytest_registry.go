package storemanager

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (on suite) TestEverythingIsThereAfterClose(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.ensure(t, 1)
	b.begin(t, 2, "run")
	b.pin(t, "pinned")
	_, err := b.Hold(t.Context(), "pinned", Hold{Reason: "r", Actor: "a", ExpiresAt: new(at(50))})
	require.NoError(t, err)
	require.NoError(t, b.MarkMissing(t.Context(), MissingMarks{ListAt: at(3), Missing: []string{id}}))
	require.NoError(t, b.RecordReconcile(t.Context(), ReconcileRun{RunID: "run", StartedAt: at(1), CompletedAt: at(2)}))
	page, err := b.List(t.Context(), ListRequest{})
	require.NoError(t, err)
	overview := b.overview(t)
	require.NoError(t, b.registry.Close())

	again := on.open(t, Settings{Path: b.path, Now: b.clock.Now})
	gotPage, err := again.List(t.Context(), ListRequest{})
	require.NoError(t, err)
	require.Equal(t, page, gotPage)
	gotOverview, err := again.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, overview, gotOverview)
	reconciliation, err := again.Reconciliation(t.Context())
	require.NoError(t, err)
	require.Len(t, reconciliation.Recent, 1)
}

func (on suite) TestTombstonesArePrunedWhenTheyAreOldEnough(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.ensure(t, 0)
	b.begin(t, 1, "run") // a store with an old pending deletion is no tombstone
	tombstone := func(id string) {
		res, err := b.BeginDeletion(t.Context(), DeletionRequest{StoreID: id, At: t0, DeleteAt: t0, Owner: "run"})
		require.NoError(t, err)
		require.Equal(t, DeletionAlreadyStopped, res.Outcome)
	}
	tombstone("old")
	tombstone("renewed")
	b.clock.Set(t0.Add(defaultTombstoneRetention))
	tombstone("renewed")
	b.clock.Set(t0.Add(defaultTombstoneRetention + time.Microsecond))
	tombstone("new")

	_, err := b.Get(t.Context(), "old")
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, 2, b.overview(t).Tombstones)
	require.Equal(t, 1, b.overview(t).Monitored)

	require.NoError(t, b.registry.Close())
	b.clock.Set(t0.Add(defaultTombstoneRetention + 2*time.Microsecond))
	b.registry = on.open(t, Settings{Path: b.path, Now: b.clock.Now, TombstoneRetention: time.Microsecond})
	o, err := b.registry.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, o.Tombstones, "opening prunes, with the retention of then")
}

func (on suite) TestReadsDoNotWaitForAWriter(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.ensure(t, 1)
	pause := Pause{StoreID: id, Reason: "r", Actor: "a", Since: t0}
	require.NoError(t, b.registry.Driver.Change(t.Context(), func(tx Tx) error {
		require.NoError(t, tx.SavePause(t.Context(), pause))
		require.Nil(t, b.get(t).Pause)
		require.Equal(t, 1, b.overview(t).Monitored)
		return b.registry.Ping(t.Context())
	}))
	require.Equal(t, &pause, b.get(t).Pause)
}

func (on suite) TestCallsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		ctx, cancel := context.WithCancel(t.Context())
		err := b.registry.Driver.Change(t.Context(), func(Tx) error { // the writer is busy
			done := make(chan error, 1)
			go func() {
				_, err := b.Ensure(ctx, EnsureRequest{StoreID: id, At: t0})
				done <- err
			}()
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
			return nil
		})
		require.NoError(t, err)
		_, err = b.Get(t.Context(), id)
		require.ErrorIs(t, err, ErrNotFound)
	})
}
