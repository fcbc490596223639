package manager_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/manager"
	"storekeeper/internal/storemanager"
)

func TestASettingThatChangedAtAStartIsInTheTrail(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stores.db")
	start := func(settings ...string) []storemanager.AuditEntry {
		m, err := manager.Open(t.Context(), newProcess(t, zap.NewNop(), settings...), path)
		require.NoError(t, err)
		defer m.Close()
		page, err := m.Audit(t.Context(), storemanager.AuditQuery{Kinds: []storemanager.AuditKind{storemanager.AuditSetting}})
		require.NoError(t, err)
		return page.Entries
	}
	require.Empty(t, start(), "the first start is compared with nothing")
	require.Empty(t, start(), "nothing has changed")
	changed := start("DELETION_GRACE_PERIOD=1h")
	require.Len(t, changed, 1)
	require.Equal(t, "DELETION_GRACE_PERIOD: 24h0m0s → 1h0m0s", changed[0].Detail)
	require.Equal(t, "changed", changed[0].Outcome)
	require.Equal(t, storemanager.Origin{Source: storemanager.SourceSystem, Actor: "storemanager", Via: "settings"}, changed[0].Origin)
	require.Len(t, start(), 2, "it changed back")
}
