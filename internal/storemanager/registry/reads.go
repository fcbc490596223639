package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"storekeeper/internal/storemanager"
)

// Get implements Stores.
func (r *Registry) Get(ctx context.Context, id string) (storemanager.Store, error) {
	if err := storemanager.CheckID(id); err != nil {
		return storemanager.Store{}, err
	}
	s, err := r.Record(ctx, id)
	if err != nil {
		return storemanager.Store{}, err
	}
	if s.Unknown() {
		return storemanager.Store{}, fmt.Errorf("%w: %q is unknown", storemanager.ErrNotFound, id)
	}
	return r.Complete(ctx, s.Store())
}

// Complete adds to a store what is not kept in its record: its pause and its history.
func (r *Registry) Complete(ctx context.Context, s storemanager.Store) (storemanager.Store, error) {
	var err error
	if s.Pause, err = r.driver.Pause(ctx, s.ID, r.Clock()); err != nil {
		return storemanager.Store{}, err
	}
	if s.History, err = r.driver.Audit(ctx, storemanager.AuditQuery{StoreID: s.ID, Limit: storemanager.ShownHistory}); err != nil {
		return storemanager.Store{}, err
	}
	return s, nil
}

// maxScanned bounds the work of one filtered List, in stores; that many take some 0.1 s. A rare state is found over several pages.
const maxScanned = 10_000

// List implements Stores. Ids are sorted by their bytes. A cursor is the id of the last store that was looked at, so a page is right whatever came or
// went since.
func (r *Registry) List(ctx context.Context, q storemanager.ListRequest) (storemanager.Page, error) {
	return r.ListShown(ctx, q, nil)
}

// ListShown is List for a Manager that knows more of a store than the registry does: show adds that before the filter looks at the store. A nil show adds
// nothing. show is called while the registry is being read, so it must not use the registry.
func (r *Registry) ListShown(ctx context.Context, q storemanager.ListRequest, show func(*storemanager.Store)) (storemanager.Page, error) {
	if err := q.Validate(); err != nil {
		return storemanager.Page{}, err
	}
	page, err := r.page(ctx, q, show)
	if err != nil {
		return storemanager.Page{}, err
	}
	if err := r.ShowPauses(ctx, page.Stores); err != nil {
		return storemanager.Page{}, err
	}
	return page, nil
}

func (r *Registry) page(ctx context.Context, q storemanager.ListRequest, show func(*storemanager.Store)) (storemanager.Page, error) {
	limit := cmp.Or(q.Limit, storemanager.DefaultLimit)
	most := limit
	if len(q.States) > 0 {
		most = maxScanned
	}
	pauses, err := r.PausesFor(ctx, q)
	if err != nil {
		return storemanager.Page{}, err
	}
	now := r.Clock()
	page := storemanager.Page{Stores: []storemanager.Store{}}
	last, scanned := "", 0
	pending := slices.Equal(q.States, []string{storemanager.StoreDeletionPending})
	// One more than wanted tells whether there is a next page.
	records := r.driver.Records(ctx, q.Cursor, most+1, pending)
	if q.UserID != "" {
		records = r.driver.RecordsOf(ctx, q.UserID, q.Cursor, most+1)
	}
	for s, err := range records {
		switch {
		case err != nil:
			return storemanager.Page{}, err
		case scanned == most || len(page.Stores) == limit:
			page.NextCursor = last
			return page, nil
		}
		scanned++
		last = s.ID
		s.expire(now)
		store := s.Store()
		store.Pause = pauses[s.ID]
		if show != nil {
			show(&store)
		}
		if q.Matches(store) {
			page.Stores = append(page.Stores, store)
		}
	}
	return page, nil
}

// overdueAfter is how long after its DeleteAt a deletion counts as overdue.
const overdueAfter = 5 * time.Minute

// Overview implements Stores. A registry alone connects to nothing, so all monitored stores are ConnectionNotConfigured.
func (r *Registry) Overview(ctx context.Context) (storemanager.Overview, error) {
	now := r.Clock()
	n, err := r.driver.Counts(ctx, Moments{
		Now: now, PendingBefore: now.Add(-time.Minute), OverdueBefore: now.Add(-overdueAfter), RemovedAfter: now.Add(-listRemovalsWindow),
	})
	if err != nil {
		return storemanager.Overview{}, err
	}
	o := storemanager.Overview{
		Monitored: n.Monitored, DeletionPending: n.DeletionPending, DeletionPendingLong: n.DeletionPendingLong, DeletionOverdue: n.DeletionOverdue,
		OldestDeletionAt: n.OldestDeletionAt, FirstDeletionDueAt: n.FirstDeletionDueAt,
		Held: n.Held, Pinned: n.Pinned, Tombstones: n.Tombstones, TotalProvisioned: n.TotalProvisioned, TotalStopped: n.TotalStopped,
		LastProvisionedAt: n.LastProvisionedAt, LastStoppedAt: n.LastStoppedAt, PausedStores: n.PausedStores, ListRemovals: n.ListRemovals,
		Guard: n.Guard, GuardApprovedAt: n.Approved, Connections: map[storemanager.ConnectionState]int{},
	}
	if loss, err := r.driver.Loss(ctx); err != nil {
		return storemanager.Overview{}, err
	} else if loss != nil {
		o.Guard = loss // it says more
	}
	if o.Paused, err = r.driver.Pause(ctx, "", r.Clock()); err != nil {
		return storemanager.Overview{}, err
	}
	if o.Monitored > 0 {
		o.Connections[storemanager.ConnectionNotConfigured] = o.Monitored
	}
	return o, nil
}
