package storemanager

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Get implements Manager.
func (r *Registry) Get(ctx context.Context, id string) (Store, error) {
	if err := checkID(id); err != nil {
		return Store{}, err
	}
	s, err := r.Record(ctx, id)
	if err != nil {
		return Store{}, err
	}
	if s.unknown() {
		return Store{}, fmt.Errorf("%w: %q is unknown", ErrNotFound, id)
	}
	return r.Complete(ctx, s.store())
}

// Complete adds what is kept elsewhere than in the record: pause and events.
func (r *Registry) Complete(ctx context.Context, s Store) (Store, error) {
	var err error
	if s.Pause, err = r.driver.Pause(ctx, s.ID, r.clock()); err != nil {
		return Store{}, err
	}
	if s.Events, err = r.driver.StoreEvents(ctx, s.ID); err != nil {
		return Store{}, err
	}
	return s, nil
}

// maxScanned bounds the work of one filtered List, in stores: some 0.1 s. A rare state is found over several pages.
const maxScanned = 10_000

// List implements Manager. Ids are sorted by their bytes. A cursor is the id of the last store that was looked at, so a page
// is right whatever came or went since.
func (r *Registry) List(ctx context.Context, q ListRequest) (Page, error) { return r.list(ctx, q, nil) }

// list is List for a Manager that knows more of a store than the registry does: show adds that before the filter looks at the
// store. A nil show adds nothing. It is called while the registry is being read, so it must not use the registry.
func (r *Registry) list(ctx context.Context, q ListRequest, show func(*Store)) (Page, error) {
	if err := q.check(); err != nil {
		return Page{}, err
	}
	page, err := r.page(ctx, q, show)
	if err != nil {
		return Page{}, err
	}
	if err := r.ShowPauses(ctx, page.Stores); err != nil {
		return Page{}, err
	}
	return page, nil
}

func (r *Registry) page(ctx context.Context, q ListRequest, show func(*Store)) (Page, error) {
	limit := cmp.Or(q.Limit, DefaultLimit)
	most := limit
	if len(q.States) > 0 {
		most = maxScanned
	}
	now := r.clock()
	page := Page{Stores: []Store{}}
	last, scanned := "", 0
	pending := slices.Equal(q.States, []string{StoreDeletionPending})
	// One more than wanted tells whether there is a next page.
	for s, err := range r.driver.Records(ctx, q.Cursor, most+1, pending) {
		switch {
		case err != nil:
			return Page{}, err
		case scanned == most || len(page.Stores) == limit:
			page.NextCursor = last
			return page, nil
		}
		scanned++
		last = s.id
		s.expire(now)
		store := s.store()
		if show != nil {
			show(&store)
		}
		if q.Matches(store) {
			page.Stores = append(page.Stores, store)
		}
	}
	return page, nil
}

// overdueAfter is how long after its DeleteAt a deletion counts as one that does not get on.
const overdueAfter = 5 * time.Minute

// Overview implements Manager. A registry alone connects to nothing.
func (r *Registry) Overview(ctx context.Context) (Overview, error) {
	now := r.clock()
	n, err := r.driver.Counts(ctx, Moments{
		Now: now, PendingBefore: now.Add(-time.Minute), OverdueBefore: now.Add(-overdueAfter), RemovedAfter: now.Add(-listRemovalsWindow),
	})
	if err != nil {
		return Overview{}, err
	}
	o := Overview{
		Monitored: n.Monitored, DeletionPending: n.DeletionPending, DeletionPendingLong: n.DeletionPendingLong, DeletionOverdue: n.DeletionOverdue,
		Held: n.Held, Pinned: n.Pinned, Tombstones: n.Tombstones, TotalProvisioned: n.TotalProvisioned, TotalStopped: n.TotalStopped,
		LastProvisionedAt: n.LastProvisionedAt, LastStoppedAt: n.LastStoppedAt, PausedStores: n.PausedStores, ListRemovals: n.ListRemovals,
		Guard: n.Guard, GuardApprovedAt: n.Approved, Connections: map[ConnectionState]int{},
	}
	if loss, err := r.driver.Loss(ctx); err != nil {
		return Overview{}, err
	} else if loss != nil {
		o.Guard = loss // it says more
	}
	if o.Paused, err = r.driver.Pause(ctx, "", r.clock()); err != nil {
		return Overview{}, err
	}
	if o.Monitored > 0 {
		o.Connections[ConnectionNotConfigured] = o.Monitored
	}
	return o, nil
}
