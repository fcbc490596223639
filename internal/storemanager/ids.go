package storemanager

import (
	"context"
)

// ListIDs implements Manager.
func (r *Registry) ListIDs(ctx context.Context, cursor string) (IDPage, error) {
	if err := (ListRequest{Cursor: cursor}).check(); err != nil {
		return IDPage{}, err
	}
	// One more than wanted tells whether there is a next page.
	ids, unsettled, err := r.driver.IDs(ctx, cursor, MaxBatch+1)
	if err != nil {
		return IDPage{}, err
	}
	page := IDPage{IDs: append([]string{}, ids...), Unsettled: unsettled}
	if len(page.IDs) > MaxBatch {
		page.IDs = page.IDs[:MaxBatch]
		page.NextCursor = page.IDs[MaxBatch-1]
		if page.Unsettled > page.NextCursor {
			page.Unsettled = ""
		}
	}
	return page, nil
}
