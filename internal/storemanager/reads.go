package storemanager

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

const defaultLimit = 100

// Get implements Manager.
func (r *Registry) Get(ctx context.Context, id string) (Store, error) {
	if err := checkID(id); err != nil {
		return Store{}, err
	}
	s, err := scanRecord(r.get.QueryRowContext(ctx, id), r.clock())
	if errors.Is(err, sql.ErrNoRows) {
		return Store{}, fmt.Errorf("%w: %q is unknown", ErrNotFound, id)
	}
	if err != nil {
		return Store{}, fmt.Errorf("read registry: %w", err)
	}
	return s.store(), nil
}

// List implements Manager. Ids are sorted by their bytes. A cursor is the last id of the page before, so a page is right
// whatever came or went since.
func (r *Registry) List(ctx context.Context, q ListRequest) (Page, error) {
	if q.Cursor != "" && !ValidID(q.Cursor) {
		return Page{}, fmt.Errorf("%w: %.80q is no cursor", ErrInvalid, q.Cursor)
	}
	if q.Limit < 0 || q.Limit > MaxBatch {
		return Page{}, fmt.Errorf("%w: limit %d is not within 1 and %d", ErrInvalid, q.Limit, MaxBatch)
	}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	now := r.clock()
	// One more than asked for tells whether there is a next page.
	rows, err := r.list.QueryContext(ctx, q.Cursor, q.Limit+1)
	if err != nil {
		return Page{}, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }()
	page := Page{Stores: []Store{}}
	for rows.Next() {
		s, err := scanRecord(rows, now)
		if err != nil {
			return Page{}, fmt.Errorf("read registry: %w", err)
		}
		page.Stores = append(page.Stores, s.store())
	}
	if err := rows.Err(); err != nil {
		return Page{}, fmt.Errorf("read registry: %w", err)
	}
	if len(page.Stores) > q.Limit {
		page.Stores = page.Stores[:q.Limit]
		page.NextCursor = page.Stores[q.Limit-1].ID
	}
	return page, nil
}

// selectOverview reads the totals and counts over partial indexes only; see the schema.
const selectOverview = `
	SELECT provisioned - stopped,
		(SELECT count(*) FROM stores WHERE delete_at IS NOT NULL),
		(SELECT count(*) FROM stores WHERE hold_since IS NOT NULL AND (hold_expires_at IS NULL OR hold_expires_at > ?)),
		(SELECT count(*) FROM stores WHERE pinned = 1),
		(SELECT count(*) FROM stores WHERE tombstone_at IS NOT NULL),
		provisioned, stopped, last_provisioned_at, last_stopped_at
	FROM totals`

// Overview implements Manager.
func (r *Registry) Overview(ctx context.Context) (Overview, error) {
	var (
		o                    Overview
		provisioned, stopped column
	)
	err := r.read.QueryRowContext(ctx, selectOverview, column(r.clock())).Scan(&o.Monitored, &o.DeletionPending, &o.Held,
		&o.Pinned, &o.Tombstones, &o.TotalProvisioned, &o.TotalStopped, &provisioned, &stopped)
	if err != nil {
		return Overview{}, fmt.Errorf("read registry: %w", err)
	}
	o.LastProvisionedAt, o.LastStoppedAt = provisioned.optional(), stopped.optional()
	return o, nil
}
