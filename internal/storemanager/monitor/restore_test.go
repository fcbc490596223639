package monitor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/storetest"
)

func TestAStoreWhoseDeletionIsRestoredIsMonitored(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	request := storemanager.RestoreRequest{StoreID: storetest.ID, EventAt: time.Now(), DeleteAt: time.Now().Add(time.Hour), Owner: "run"}
	require.NoError(t, m.db.Change(t.Context(), func(tx registry.Tx) error { return tx.NoteLoss(t.Context(), "it was lost", time.Now()) }))
	s, err := m.RestoreDeletion(t.Context(), request)
	require.NoError(t, err)
	require.NotNil(t, s.Deletion)
	require.NotEqual(t, storemanager.ConnectionNotConfigured, s.Connection)
	require.Eventually(t, func() bool {
		s, err := m.Get(t.Context(), storetest.ID)
		return err == nil && s.Connection == storemanager.ConnectionConnected
	}, patience, time.Millisecond)
}
