package nodeserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
)

// BeginDeletion implements Deletions. What the server monitors and the registry has not gets its grace period too.
func (n *Node) BeginDeletion(ctx context.Context, q storemanager.DeletionRequest) (storemanager.DeletionResult, error) {
	if err := q.Validate(); err != nil {
		return storemanager.DeletionResult{}, err
	}
	gone, err := n.adopt(ctx, q.StoreID)
	if err != nil {
		return storemanager.DeletionResult{}, err
	}
	if gone.After(q.At) {
		q.At = gone
	}
	return n.registry.BeginDeletion(ctx, q)
}

// MarkUnlisted implements Reconciliations.
func (n *Node) MarkUnlisted(ctx context.Context, m storemanager.ListMarks) error {
	if err := m.Validate(); err != nil {
		return err
	}
	for _, id := range m.Unlisted {
		if _, err := n.adopt(ctx, id); err != nil {
			return err
		}
	}
	return n.registry.MarkUnlisted(ctx, m)
}

// adopt takes a store into the registry that only the server has. If the registry had a tombstone of it, gone is when the
// workspace was known to be gone; zero otherwise.
func (n *Node) adopt(ctx context.Context, id string) (gone time.Time, err error) {
	if s, err := n.registry.Record(ctx, id); err != nil || s.Monitored() {
		return time.Time{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()          // Close waits for the locks
	release, err := n.storeLocks.take(ctx, n.ctx, id) // or a stop that is under way would be taken for one that never came
	if err != nil {
		return time.Time{}, err
	}
	defer release()
	l, err := n.client.list(ctx)
	if err != nil {
		return time.Time{}, err
	}
	on, ok := l.stores[id]
	if !ok {
		return time.Time{}, nil
	}
	return n.registry.Adopt(ctx, on.adoption(id))
}

// adoption is what the server says of a store that the registry is to take in. A store without times of its own is old: the server has had it since
// its start.
func (s nodeStore) adoption(id string) registry.Adoption {
	a := registry.Adoption{StoreID: id}
	if o := s.Orchestrator; o != nil {
		a.FirstMonitoredAt, a.LastEnsuredAt = o.FirstMonitoredAt.Time, &o.LastEnsuredAt.Time
	}
	return a
}

// listing asks what the server monitors, and adopts what the registry does not have as monitored. Otherwise no mark, hold or pin could be kept for it.
func (n *Node) listing(ctx context.Context) (*nodeListing, error) {
	l, err := n.client.list(ctx)
	if err != nil {
		return nil, err
	}
	n.failures.clearListed(l)
	var unknown []registry.Adoption
	var stopped []string
	for _, id := range l.ids {
		s, err := n.registry.Record(ctx, id)
		if err != nil {
			return nil, err
		}
		switch {
		case s.Unknown():
			unknown = append(unknown, l.stores[id].adoption(id))
		case !s.Monitored():
			stopped = append(stopped, id)
		}
	}
	if err := n.reviveAll(ctx, l, stopped); err != nil {
		return nil, err
	}
	if len(unknown) == 0 {
		return l, nil
	}
	if err := n.registry.AdoptUnknown(ctx, unknown); err != nil {
		return nil, err
	}
	n.log.Info("stores of the Node server taken into the registry", zap.Int("stores", len(unknown)))
	return l, nil
}

// reviveAll adopts stores that have a tombstone and are listed, because the server monitors them again by itself. If the list is older than the stop
// of a store, reviveAll takes the store out of the list instead.
func (n *Node) reviveAll(ctx context.Context, l *nodeListing, ids []string) error {
	for _, id := range ids {
		if _, err := n.adopt(ctx, id); err != nil {
			return err
		}
		s, err := n.registry.Record(ctx, id)
		if err != nil {
			return err
		}
		if !s.Monitored() {
			l.remove(id)
		}
	}
	return nil
}

// latest is listing, but callers share a list for up to a second, while nothing was changed at the server.
func (n *Node) latest(ctx context.Context) (*nodeListing, error) {
	select {
	case n.asking <- struct{}{}:
		defer func() { <-n.asking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the list of the node server: %w", ctx.Err())
	}
	posts := n.posts.Load()
	if n.recent.listing != nil && n.recent.posts == posts && time.Since(n.recent.at) < nodeListingAge {
		return n.recent.listing, nil
	}
	l, err := n.listing(ctx)
	if err != nil {
		return nil, err
	}
	n.recent = recentListing{listing: l, at: time.Now(), posts: posts}
	return l, nil
}

// List implements Stores. It returns what the server monitors, with what the registry knows of it. A store that the server has lost is not in it.
func (n *Node) List(ctx context.Context, q storemanager.ListRequest) (storemanager.Page, error) {
	if err := q.Validate(); err != nil {
		return storemanager.Page{}, err
	}
	l, err := n.listing(ctx)
	if err != nil {
		return storemanager.Page{}, err
	}
	pauses, err := n.registry.PausesFor(ctx, q)
	if err != nil {
		return storemanager.Page{}, err
	}
	limit := cmp.Or(q.Limit, storemanager.DefaultLimit)
	start, found := slices.BinarySearch(l.ids, q.Cursor)
	if found {
		start++
	}
	page := storemanager.Page{Stores: []storemanager.Store{}}
	for i, id := range l.ids[start:] {
		if len(page.Stores) == limit {
			page.NextCursor = l.ids[start+i-1]
			break
		}
		s, err := n.registry.Record(ctx, id)
		if err != nil {
			return storemanager.Page{}, err
		}
		st := l.store(s)
		st.Pause = pauses[id]
		if q.Matches(st) {
			page.Stores = append(page.Stores, st)
		}
	}
	if err := n.registry.ShowPauses(ctx, page.Stores); err != nil {
		return storemanager.Page{}, err
	}
	return page, nil
}

// ListIDs implements Stores. The server has no cheaper list, and the registry alone does not know which stores the server has lost.
func (n *Node) ListIDs(ctx context.Context, cursor string) (storemanager.IDPage, error) {
	stores, err := n.List(ctx, storemanager.ListRequest{Cursor: cursor, Limit: storemanager.MaxBatch})
	if err != nil {
		return storemanager.IDPage{}, err
	}
	page := storemanager.IDPage{IDs: make([]string, len(stores.Stores)), NextCursor: stores.NextCursor}
	for i := range stores.Stores {
		s := &stores.Stores[i]
		page.IDs[i] = s.ID
		if page.Unsettled == "" && (s.UnlistedSince != nil || s.Deletion != nil || s.NeverTold()) {
			page.Unsettled = s.ID
		}
	}
	return page, nil
}

// Get implements Stores. A store that the server has lost is ConnectionDisconnected.
func (n *Node) Get(ctx context.Context, id string) (storemanager.Store, error) {
	if err := storemanager.CheckID(id); err != nil {
		return storemanager.Store{}, err
	}
	l, err := n.latest(ctx)
	if err != nil {
		return storemanager.Store{}, err
	}
	s, err := n.registry.Record(ctx, id)
	if err != nil {
		return storemanager.Store{}, err
	}
	if s.Unknown() {
		return storemanager.Store{}, fmt.Errorf("%w: %q is unknown", storemanager.ErrNotFound, id)
	}
	st := l.store(s)
	st.Failing = n.failures.get(id)
	return n.registry.Complete(ctx, st)
}

// Overview implements Stores.
func (n *Node) Overview(ctx context.Context) (storemanager.Overview, error) {
	l, err := n.latest(ctx)
	if err != nil {
		return storemanager.Overview{}, err
	}
	o, err := n.registry.Overview(ctx)
	if err != nil {
		return storemanager.Overview{}, err
	}
	o.Connections = map[storemanager.ConnectionState]int{}
	for _, on := range l.stores {
		o.Connections[on.connection()]++
	}
	if absent := o.Monitored - len(l.stores); absent > 0 {
		o.Connections[storemanager.ConnectionDisconnected] += absent
	}
	return o, nil
}

// store is what the registry and the server have of a store.
func (l *nodeListing) store(s registry.Record) storemanager.Store {
	st := s.Store()
	on, listed := l.stores[s.ID]
	switch {
	case listed:
		st.State, st.Connection, st.Monitor = storemanager.StateMonitored, on.connection(), on.monitor()
	case s.Monitored():
		st.Connection = storemanager.ConnectionDisconnected
	}
	return st
}
