package storemanager

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAStoreWhoseDeletionIsRestoredIsMonitored(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	request := RestoreRequest{StoreID: id, EventAt: time.Now(), DeleteAt: time.Now().Add(time.Hour), Owner: "run"}
	require.NoError(t, m.db.Change(t.Context(), func(tx Tx) error { return tx.NoteLoss(t.Context(), "it was lost", time.Now()) }))
	s, err := m.RestoreDeletion(t.Context(), request)
	require.NoError(t, err)
	require.NotNil(t, s.Deletion)
	require.NotEqual(t, ConnectionNotConfigured, s.Connection)
	require.Eventually(t, func() bool {
		s, err := m.Get(t.Context(), id)
		return err == nil && s.Connection == ConnectionConnected
	}, patience, time.Millisecond)
}
