package registrytest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/storetest"
)

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
