package registrytest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

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
