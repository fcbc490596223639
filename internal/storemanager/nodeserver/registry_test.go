package nodeserver

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/storemanager/storehttp/storehttptest"
	"storekeeper/internal/storemanager/storetest"
)

func TestANodeServerIsToldOfAStoreWhoseDeletionIsRestored(t *testing.T) {
	t.Parallel()
	b := setupNode(t)
	b.Registry.Lose(t, "it was lost", b.Clock.Now())
	s, err := b.RestoreDeletion(t.Context(), storemanager.RestoreRequest{StoreID: storetest.ID, EventAt: storetest.At(1), DeleteAt: storetest.At(100), Owner: "run"})
	require.NoError(t, err)
	require.Equal(t, storemanager.ConnectionConnecting, s.Connection)
	require.Eventually(t, func() bool { return slices.Contains(b.fake.ids(), storetest.ID) }, patience, time.Millisecond)
}

func TestANodeServerIsNotToldOfAStopWhileALossIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	b := setupNode(t)
	b.MustEnsure(t, 1)
	b.MustBegin(t, 2, "run")
	b.Clock.Set(storetest.At(200))
	b.Registry.Lose(t, "it was lost", b.Clock.Now())
	_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: storetest.At(200)})
	require.ErrorIs(t, err, storemanager.ErrLossUnacknowledged)
	require.Contains(t, b.fake.ids(), storetest.ID)
	require.NoError(t, b.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ann"}))
	require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
}

func TestNodeListsTheIDsOfWhatItsServerHas(t *testing.T) {
	t.Parallel()
	b := setupNode(t)
	b.fake.boot("store-b", "store-a", "store-c")
	require.Equal(t, []string{"store-a", "store-b", "store-c"}, storetest.RequireSameIDs(t, storehttptest.Serve(t, storehttp.Options{Manager: b.Manager, Memory: b.Registry})), "nobody told of them")
	for _, id := range []string{"store-a", "store-c"} {
		_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: storetest.At(1)})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"store-b"}, storetest.RequireSameIDs(t, b.Manager))
	b.fake.set(func() { delete(b.fake.stores, "store-b") })
	require.Empty(t, storetest.RequireSameIDs(t, b.Manager))
	page, err := b.ListIDs(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []string{"store-a", "store-c"}, page.IDs)
	_, err = b.ListIDs(t.Context(), "no cursor")
	require.ErrorIs(t, err, storemanager.ErrInvalid)
}

const patience = 20 * time.Second
