package registrytest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestEverythingIsThereAfterClose(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.MustEnsure(t, 1)
	b.MustBegin(t, 2, "run")
	b.MustPin(t, "pinned")
	_, err := b.Hold(t.Context(), "pinned", storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a", ExpiresAt: new(storetest.At(50))}})
	require.NoError(t, err)
	require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(3), Unlisted: []string{storetest.ID}}))
	require.NoError(t, b.RecordReconcile(t.Context(), storemanager.ReconcileRun{RunID: "run", StartedAt: storetest.At(1), CompletedAt: storetest.At(2)}))
	page, err := b.List(t.Context(), storemanager.ListRequest{})
	require.NoError(t, err)
	overview := b.MustOverview(t)
	require.NoError(t, b.Registry.Close())

	again := on.open(t, storetest.Settings{Path: b.Path, Now: b.Clock.Now})
	gotPage, err := again.List(t.Context(), storemanager.ListRequest{})
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
	b.MustEnsure(t, 0)
	b.MustBegin(t, 1, "run") // a store with an old pending deletion is no tombstone
	tombstone := func(id string) {
		res, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: id, At: storetest.T0, DeleteAt: storetest.T0, Owner: "run"})
		require.NoError(t, err)
		require.Equal(t, storemanager.DeletionAlreadyStopped, res.Outcome)
	}
	tombstone("old")
	tombstone("renewed")
	b.Clock.Set(storetest.T0.Add(tombstoneRetention))
	tombstone("renewed")
	b.Clock.Set(storetest.T0.Add(tombstoneRetention + time.Microsecond))
	tombstone("new")

	_, err := b.Get(t.Context(), "old")
	require.ErrorIs(t, err, storemanager.ErrNotFound)
	require.Equal(t, 2, b.MustOverview(t).Tombstones)
	require.Equal(t, 1, b.MustOverview(t).Monitored)

	require.NoError(t, b.Registry.Close())
	b.Clock.Set(storetest.T0.Add(tombstoneRetention + 2*time.Microsecond))
	b.Registry = on.open(t, storetest.Settings{Path: b.Path, Now: b.Clock.Now, TombstoneRetention: time.Microsecond})
	o, err := b.Registry.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, o.Tombstones, "opening prunes, with the retention of then")
}

func (on suite) TestReadsDoNotWaitForAWriter(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.MustEnsure(t, 1)
	pause := storemanager.Pause{StoreID: storetest.ID, Reason: "r", Actor: "a", Since: storetest.T0}
	require.NoError(t, b.Registry.Driver.Change(t.Context(), func(tx registry.Tx) error {
		require.NoError(t, tx.SavePause(t.Context(), pause))
		require.Nil(t, b.MustGet(t).Pause)
		require.Equal(t, 1, b.MustOverview(t).Monitored)
		return b.Registry.Ping(t.Context())
	}))
	require.Equal(t, &pause, b.MustGet(t).Pause)
}

func (on suite) TestCallsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		ctx, cancel := context.WithCancel(t.Context())
		err := b.Registry.Driver.Change(t.Context(), func(registry.Tx) error { // the writer is busy
			done := make(chan error, 1)
			go func() {
				_, err := b.Ensure(ctx, storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.T0})
				done <- err
			}()
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
			return nil
		})
		require.NoError(t, err)
		_, err = b.Get(t.Context(), storetest.ID)
		require.ErrorIs(t, err, storemanager.ErrNotFound)
	})
}

func (on suite) TestAPrunedTombstoneTakesItsCursorAlong(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	cursor := registry.Cursor{BackendID: "B", Seq: 7}
	require.Equal(t, storemanager.EnsureCreated, b.MustEnsure(t, 1))
	require.NoError(t, b.Registry.SetCursors(t.Context(), map[string]registry.Cursor{storetest.ID: cursor}))
	require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 2, "run"))
	b.Clock.Set(storetest.At(100))
	require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
	kept, err := b.Registry.Cursor(t.Context(), storetest.ID)
	require.NoError(t, err)
	require.Equal(t, cursor, kept, "a store that comes back goes on from there")

	b.Clock.Set(storetest.At(100).Add(tombstoneRetention + time.Second))
	_, err = b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: "another-one", At: storetest.At(200), DeleteAt: storetest.At(200), Owner: "run"})
	require.NoError(t, err)
	kept, err = b.Registry.Cursor(t.Context(), storetest.ID)
	require.NoError(t, err)
	require.Zero(t, kept)
}

func (on suite) TestListIDsListsWhatListDoes(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		require.Empty(t, storetest.RequireSameIDs(t, b)) // of nothing
		for _, id := range []string{"aAa", "0aa", "aaa", "Zaa", "a_a", "a-a", "a0a"} {
			_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: storetest.At(1)})
			require.NoError(t, err)
		}
		_, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: "a11", At: storetest.At(1), DeleteAt: storetest.At(1), Owner: "run"})
		require.NoError(t, err)
		require.Empty(t, storetest.RequireSameIDs(t, b))
		page, err := b.ListIDs(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{"0aa", "Zaa", "a-a", "a0a", "aAa", "a_a", "aaa"}, page.IDs, "by bytes, and no tombstone")
		page, err = b.ListIDs(t.Context(), "a0z")
		require.NoError(t, err)
		require.Equal(t, []string{"aAa", "a_a", "aaa"}, page.IDs, "a cursor need be no store's")
		_, err = b.ListIDs(t.Context(), "no cursor")
		require.ErrorIs(t, err, storemanager.ErrInvalid)
	})
}

func (on suite) TestListIDsTellsOfTheFirstUnsettledStoreOfAPage(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		storetest.Fill(t, b, storemanager.MaxBatch+2)
		page, err := b.ListIDs(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, page.IDs, storemanager.MaxBatch)
		require.Equal(t, page.IDs[storemanager.MaxBatch-1], page.NextCursor)

		next := storetest.Batch(storemanager.MaxBatch, 2, storetest.T0)
		mark := func(ids ...string) {
			require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(1), Unlisted: ids}))
		}
		mark(next[0].StoreID)
		require.Equal(t, []string{next[0].StoreID}, storetest.RequireSameIDs(t, b), "the first page is not told of the next")
		mark(page.IDs[7], page.IDs[5])
		require.Equal(t, []string{page.IDs[5], page.IDs[7], next[0].StoreID}, storetest.RequireSameIDs(t, b))
		require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(2), Listed: []string{page.IDs[5]}}))
		require.Equal(t, []string{page.IDs[7], next[0].StoreID}, storetest.RequireSameIDs(t, b))

		for id, event := range map[string]time.Duration{ // nobody ever told of those of 1970
			"adopted-0": 0, "adopted-1": time.Second - time.Microsecond, "settled-0": -time.Microsecond, "settled-1": time.Second,
		} {
			_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: time.Unix(0, 0).Add(event)})
			require.NoError(t, err)
		}
		require.Equal(t, []string{"adopted-0", "adopted-1", page.IDs[7], next[0].StoreID}, storetest.RequireSameIDs(t, b))
	})
}
