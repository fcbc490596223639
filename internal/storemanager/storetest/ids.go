package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
)

// RequireSameIDs fails unless ListIDs and List say the same, and returns the ids that are unsettled.
func RequireSameIDs(t *testing.T, m storemanager.Manager) (unsettled []string) {
	t.Helper()
	for cursor := ""; ; {
		stores, err := m.List(t.Context(), storemanager.ListRequest{Cursor: cursor, Limit: storemanager.MaxBatch})
		require.NoError(t, err)
		want := storemanager.IDPage{IDs: []string{}, NextCursor: stores.NextCursor}
		for _, s := range stores.Stores {
			want.IDs = append(want.IDs, s.ID)
			if s.UnlistedSince == nil && s.EventAt.Unix() != 0 {
				continue
			}
			unsettled = append(unsettled, s.ID)
			if want.Unsettled == "" {
				want.Unsettled = s.ID
			}
		}
		page, err := m.ListIDs(t.Context(), cursor)
		require.NoError(t, err)
		require.Equal(t, want, page)
		if cursor = page.NextCursor; cursor == "" {
			return unsettled
		}
	}
}
