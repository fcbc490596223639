package registry

import (
	"context"

	"storekeeper/internal/storemanager"
)

// ListIDs implements Stores.
func (r *Registry) ListIDs(ctx context.Context, cursor string) (storemanager.IDPage, error) {
	if err := (storemanager.ListRequest{Cursor: cursor}).Validate(); err != nil {
		return storemanager.IDPage{}, err
	}
	// One more than wanted tells whether there is a next page.
	ids, unsettled, err := r.driver.IDs(ctx, cursor, storemanager.MaxBatch+1)
	if err != nil {
		return storemanager.IDPage{}, err
	}
	page := storemanager.IDPage{IDs: append([]string{}, ids...), Unsettled: unsettled}
	if len(page.IDs) > storemanager.MaxBatch {
		page.IDs = page.IDs[:storemanager.MaxBatch]
		page.NextCursor = page.IDs[storemanager.MaxBatch-1]
		if page.Unsettled > page.NextCursor {
			page.Unsettled = ""
		}
	}
	return page, nil
}
