package storemanager

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const defaultLimit = 100

// Get implements Manager.
func (r *Registry) Get(ctx context.Context, id string) (Store, error) {
	if err := checkID(id); err != nil {
		return Store{}, err
	}
	s, err := r.record(ctx, id)
	if err != nil {
		return Store{}, err
	}
	if s.unknown() {
		return Store{}, fmt.Errorf("%w: %q is unknown", ErrNotFound, id)
	}
	return r.complete(ctx, s.store())
}

// complete adds what is kept elsewhere than in the record.
func (r *Registry) complete(ctx context.Context, s Store) (Store, error) {
	var err error
	if s.Pause, err = scanPause(r.pause.QueryRowContext(ctx, s.ID, column(r.clock()))); err != nil {
		return Store{}, err
	}
	if s.Events, err = r.storeEvents(ctx, s.ID); err != nil {
		return Store{}, err
	}
	return s, nil
}

// maxScanned bounds the work of one filtered List, in stores: some 0.1 s. A rare state is found over several pages.
const maxScanned = 10_000

// ListStates are what ListRequest.States may hold.
func ListStates() []string {
	states := []string{StoreDeletionPending, StoreHeld, StorePinned}
	for _, connection := range ConnectionStates() {
		states = append(states, string(connection))
	}
	return states
}

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
	if err := r.showPauses(ctx, page.Stores); err != nil {
		return Page{}, err
	}
	return page, nil
}

func (r *Registry) page(ctx context.Context, q ListRequest, show func(*Store)) (Page, error) {
	limit := cmp.Or(q.Limit, defaultLimit)
	most := limit
	if len(q.States) > 0 {
		most = maxScanned
	}
	now := r.clock()
	statement := r.rows
	if slices.Equal(q.States, []string{StoreDeletionPending}) {
		statement = r.pendingRows // few, and found without looking at the many
	}
	// One more than wanted tells whether there is a next page.
	rows, err := statement.QueryContext(ctx, q.Cursor, most+1)
	if err != nil {
		return Page{}, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }()
	page := Page{Stores: []Store{}}
	last := ""
	for scanned := 0; rows.Next(); scanned++ {
		if scanned == most || len(page.Stores) == limit {
			page.NextCursor = last
			return page, nil
		}
		s, err := scanRecord(rows, now)
		if err != nil {
			return Page{}, fmt.Errorf("read registry: %w", err)
		}
		last = s.id
		store := s.store()
		if show != nil {
			show(&store)
		}
		if q.wants(store) {
			page.Stores = append(page.Stores, store)
		}
	}
	if err := rows.Err(); err != nil {
		return Page{}, fmt.Errorf("read registry: %w", err)
	}
	return page, nil
}

func (q ListRequest) check() error {
	if q.Cursor != "" && !ValidID(q.Cursor) {
		return fmt.Errorf("%w: %.80q is no cursor", ErrInvalid, q.Cursor)
	}
	if q.Limit < 0 || q.Limit > MaxBatch {
		return fmt.Errorf("%w: limit %d is not within 1 and %d", ErrInvalid, q.Limit, MaxBatch)
	}
	known := ListStates()
	for _, state := range q.States {
		if !slices.Contains(known, state) {
			return fmt.Errorf("%w: %.40q is no state to list, these are: %s", ErrInvalid, state, strings.Join(known, ", "))
		}
	}
	return nil
}

func (q ListRequest) wants(s Store) bool {
	return len(q.States) == 0 || slices.ContainsFunc(q.States, func(state string) bool {
		switch state {
		case StoreDeletionPending:
			return s.Deletion != nil
		case StoreHeld:
			return s.Hold != nil
		case StorePinned:
			return s.Pinned
		default:
			return state == string(s.Connection)
		}
	})
}

// overdueAfter is how long after its DeleteAt a deletion counts as one that does not get on.
const overdueAfter = 5 * time.Minute

// selectOverview reads the totals and counts over partial indexes only; see the schema.
const selectOverview = `
	SELECT provisioned - stopped,
		(SELECT count(*) FROM stores WHERE delete_at IS NOT NULL),
		(SELECT count(*) FROM stores WHERE delete_at IS NOT NULL AND coalesce(deletion_since, 0) <= ?3),
		(SELECT count(*) FROM stores WHERE delete_at <= ?4),
		(SELECT count(*) FROM stores WHERE hold_since IS NOT NULL AND (hold_expires_at IS NULL OR hold_expires_at > ?1)),
		(SELECT count(*) FROM stores WHERE pinned = 1),
		(SELECT count(*) FROM stores WHERE tombstone_at IS NOT NULL),
		(SELECT count(*) FROM pauses WHERE store_id != '' AND (expires_at IS NULL OR expires_at > ?1)),
		(SELECT count(*) FROM list_removals WHERE at > ?2 AND event_at > coalesce(guard_approved_at, 0)),
		provisioned, stopped, last_provisioned_at, last_stopped_at, guard_since, guard_reason, guard_approved_at, deliveries
	FROM totals`

// Overview implements Manager. A registry alone connects to nothing.
func (r *Registry) Overview(ctx context.Context) (Overview, error) {
	var (
		o                    Overview
		provisioned, stopped column
		held, approved       column
		guard                GuardHold
	)
	if err := r.usable(); err != nil {
		return Overview{}, err
	}
	now := r.clock()
	err := r.read.QueryRowContext(ctx, selectOverview, column(now), column(now.Add(-listRemovalsWindow)), column(now.Add(-time.Minute)), column(now.Add(-overdueAfter))).
		Scan(&o.Monitored, &o.DeletionPending, &o.DeletionPendingLong, &o.DeletionOverdue, &o.Held, &o.Pinned, &o.Tombstones, &o.PausedStores, &o.ListRemovals, &o.TotalProvisioned, &o.TotalStopped, &provisioned, &stopped, &held, &guard.Reason, &approved,
			&o.Deliveries)
	if err != nil {
		return Overview{}, fmt.Errorf("read registry: %w", err)
	}
	o.LastProvisionedAt, o.LastStoppedAt = provisioned.optional(), stopped.optional()
	o.GuardApprovedAt = approved.optional()
	if since := held.optional(); since != nil {
		guard.Since = *since
		o.Guard = &guard
	}
	if loss, err := lossOf(ctx, r.read); err != nil {
		return Overview{}, err
	} else if loss != nil {
		o.Guard = loss // it says more
	}
	if o.Paused, err = scanPause(r.pause.QueryRowContext(ctx, "", column(r.clock()))); err != nil {
		return Overview{}, err
	}
	o.Connections = map[ConnectionState]int{}
	if o.Monitored > 0 {
		o.Connections[ConnectionNotConfigured] = o.Monitored
	}
	return o, nil
}
