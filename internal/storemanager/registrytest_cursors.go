package storemanager

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (on suite) TestAPrunedTombstoneTakesItsCursorAlong(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	cursor := Cursor{BackendID: "B", Seq: 7}
	require.Equal(t, EnsureCreated, b.ensure(t, 1))
	require.NoError(t, b.registry.SetCursors(t.Context(), map[string]Cursor{id: cursor}))
	require.Equal(t, DeletionScheduled, b.begin(t, 2, "run"))
	b.clock.Set(at(100))
	require.Equal(t, StopStopped, b.stop(t, "run"))
	kept, err := b.registry.Cursor(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, cursor, kept, "a store that comes back goes on from there")

	b.clock.Set(at(100).Add(defaultTombstoneRetention + time.Second))
	_, err = b.BeginDeletion(t.Context(), DeletionRequest{StoreID: "another-one", At: at(200), DeleteAt: at(200), Owner: "run"})
	require.NoError(t, err)
	kept, err = b.registry.Cursor(t.Context(), id)
	require.NoError(t, err)
	require.Zero(t, kept)
}
