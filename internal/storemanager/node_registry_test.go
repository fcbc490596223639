package storemanager

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestANodeServerIsToldOfAStoreWhoseDeletionIsRestored(t *testing.T) {
	t.Parallel()
	b := setupNode(t)
	b.registry.Lose(t, "it was lost", b.clock.Now())
	s, err := b.RestoreDeletion(t.Context(), RestoreRequest{StoreID: id, EventAt: at(1), DeleteAt: at(100), Owner: "run"})
	require.NoError(t, err)
	require.Equal(t, ConnectionConnecting, s.Connection)
	require.Eventually(t, func() bool { return slices.Contains(b.fake.ids(), id) }, nodePatience, time.Millisecond)
}

func TestANodeServerIsNotToldOfAStopWhileALossIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	b := setupNode(t)
	b.ensure(t, 1)
	b.begin(t, 2, "run")
	b.clock.Set(at(200))
	b.registry.Lose(t, "it was lost", b.clock.Now())
	_, err := b.Stop(t.Context(), StopRequest{StoreID: id, Owner: "run", AbsentAt: at(200)})
	require.ErrorIs(t, err, ErrLossUnacknowledged)
	require.Contains(t, b.fake.ids(), id)
	require.NoError(t, b.AcknowledgeLoss(t.Context(), Acknowledgement{Reason: "known", Actor: "ann"}))
	require.Equal(t, StopStopped, b.stop(t, "run"))
}

func TestNodeListsTheIDsOfWhatItsServerHas(t *testing.T) {
	t.Parallel()
	b := setupNode(t)
	b.fake.boot("store-b", "store-a", "store-c")
	require.Equal(t, []string{"store-a", "store-b", "store-c"}, requireSameIDs(t, serve(t, b.Manager, b.registry)), "nobody told of them")
	for _, id := range []string{"store-a", "store-c"} {
		_, err := b.Ensure(t.Context(), EnsureRequest{StoreID: id, At: at(1)})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"store-b"}, requireSameIDs(t, b.Manager))
	b.fake.set(func() { delete(b.fake.stores, "store-b") })
	require.Empty(t, requireSameIDs(t, b.Manager))
	page, err := b.ListIDs(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []string{"store-a", "store-c"}, page.IDs)
	_, err = b.ListIDs(t.Context(), "no cursor")
	require.ErrorIs(t, err, ErrInvalid)
}

const nodePatience = 20 * time.Second
