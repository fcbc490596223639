package storemanager

import (
	"context"
	"fmt"
	"strings"
)

// ListIDs implements Manager.
func (r *Registry) ListIDs(ctx context.Context, cursor string) (IDPage, error) {
	if err := (ListRequest{Cursor: cursor}).check(); err != nil {
		return IDPage{}, err
	}
	var lines, unsettled string
	// One more than wanted tells whether there is a next page.
	if err := r.ids.QueryRowContext(ctx, cursor, MaxBatch+1).Scan(&lines, &unsettled); err != nil {
		return IDPage{}, fmt.Errorf("read registry: %w", err)
	}
	page := IDPage{IDs: []string{}, Unsettled: unsettled}
	if lines == "" {
		return page, nil
	}
	page.IDs = strings.Split(lines, "\n")
	last := cursor
	for _, id := range page.IDs { // SQLite promises no order to group_concat, it only keeps one
		if id <= last {
			return IDPage{}, fmt.Errorf("read registry: %q comes after %q", id, last)
		}
		last = id
	}
	if len(page.IDs) > MaxBatch {
		page.IDs = page.IDs[:MaxBatch]
		page.NextCursor = page.IDs[MaxBatch-1]
		if page.Unsettled > page.NextCursor {
			page.Unsettled = ""
		}
	}
	return page, nil
}

// ListIDs implements Manager. The server has no cheaper list, and the registry alone does not know which stores it has lost.
func (n *Node) ListIDs(ctx context.Context, cursor string) (IDPage, error) {
	stores, err := n.List(ctx, ListRequest{Cursor: cursor, Limit: MaxBatch})
	if err != nil {
		return IDPage{}, err
	}
	page := IDPage{IDs: make([]string, len(stores.Stores)), NextCursor: stores.NextCursor}
	for i := range stores.Stores {
		s := &stores.Stores[i]
		page.IDs[i] = s.ID
		if page.Unsettled == "" && (s.MissingSince != nil || s.Deletion != nil || s.EventAt.Unix() == 0) {
			page.Unsettled = s.ID
		}
	}
	return page, nil
}
