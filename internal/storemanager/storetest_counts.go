package storemanager

import (
	"context"

	"github.com/stretchr/testify/require"
)

// requireCountsMatchRows compares Overview with what a walk over all stores finds.
func requireCountsMatchRows(t require.TestingT, r *TestStores) {
	ctx := context.Background()
	o, err := r.Overview(ctx)
	require.NoError(t, err)
	var counted Overview
	for cursor := ""; ; {
		page, err := r.List(ctx, ListRequest{Cursor: cursor, Limit: MaxBatch})
		require.NoError(t, err)
		for _, s := range page.Stores {
			counted.Monitored++
			if s.Deletion != nil {
				counted.DeletionPending++
			}
			if s.Hold != nil {
				counted.Held++
			}
			if s.Pinned {
				counted.Pinned++
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	require.Equal(t, Overview{Monitored: o.Monitored, DeletionPending: o.DeletionPending, Held: o.Held, Pinned: o.Pinned}, counted)
	require.EqualValues(t, o.Monitored, o.TotalProvisioned-o.TotalStopped)
}
