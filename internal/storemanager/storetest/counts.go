package storetest

import (
	"context"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
)

// RequireCountsMatchRows compares Overview with what a walk over all stores finds.
func RequireCountsMatchRows(t interface {
	require.TestingT
	Context() context.Context
}, r *Database,
) {
	ctx := t.Context()
	o, err := r.Overview(ctx)
	require.NoError(t, err)
	var counted storemanager.Overview
	for cursor := ""; ; {
		page, err := r.List(ctx, storemanager.ListRequest{Cursor: cursor, Limit: storemanager.MaxBatch})
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
	require.Equal(t, storemanager.Overview{Monitored: o.Monitored, DeletionPending: o.DeletionPending, Held: o.Held, Pinned: o.Pinned}, counted)
	require.EqualValues(t, o.Monitored, o.TotalProvisioned-o.TotalStopped)
}
