package monitor

import (
	"context"
	"net/url"

	"storekeeper/internal/storemanager"
)

// Ensure implements Stores.
func (s *Supervisor) Ensure(ctx context.Context, q storemanager.EnsureRequest) (storemanager.EnsureResult, error) {
	res, err := s.registry.Ensure(ctx, q)
	if err != nil {
		return storemanager.EnsureResult{}, err
	}
	results := []storemanager.EnsureResult{res}
	s.ensured(ctx, results)
	return results[0], nil
}

// EnsureBatch implements Stores.
func (s *Supervisor) EnsureBatch(ctx context.Context, qs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error) {
	results, err := s.registry.EnsureBatch(ctx, qs)
	if err != nil {
		return nil, err
	}
	s.ensured(ctx, results)
	return results, nil
}

// ensured starts the monitors that there are not, and completes the results. A store with a monitor that is not ending needs no look at the registry,
// because whoever stops the store meanwhile will look.
func (s *Supervisor) ensured(ctx context.Context, results []storemanager.EnsureResult) {
	var unmonitored []string
	for _, res := range results {
		if m := s.monitor(res.StoreID); res.Connection != "" && (m == nil || m.ctx.Err() != nil) {
			unmonitored = append(unmonitored, res.StoreID)
		}
	}
	s.follow(ctx, unmonitored...)
	for i := range results {
		if results[i].Connection != "" {
			results[i].Connection, _ = s.connection(results[i].StoreID)
		}
	}
}

// Stop implements Deletions. It returns when the subscription is over, or with the error of ctx when ctx ends first.
func (s *Supervisor) Stop(ctx context.Context, q storemanager.StopRequest) (storemanager.StopResult, error) {
	res, err := s.registry.Stop(ctx, q)
	if err != nil {
		return storemanager.StopResult{}, err
	}
	m := s.monitor(q.StoreID)
	s.follow(ctx, q.StoreID)
	if m != nil && m.ctx.Err() != nil {
		select {
		case <-m.done:
		case <-ctx.Done():
			return storemanager.StopResult{}, ctx.Err()
		}
	}
	return res, nil
}

// SetPins is that of the Registry. It also monitors the pinned stores.
func (s *Supervisor) SetPins(ctx context.Context, ids []string) error {
	if err := s.registry.SetPins(ctx, ids); err != nil {
		return err
	}
	s.follow(ctx, ids...)
	return nil
}

// CancelDeletion implements Deletions.
func (s *Supervisor) CancelDeletion(ctx context.Context, q storemanager.CancelRequest) (storemanager.Store, error) {
	return s.shown(s.registry.CancelDeletion(ctx, q))
}

// TakeOverDeletion implements Deletions.
func (s *Supervisor) TakeOverDeletion(ctx context.Context, q storemanager.TakeOverRequest) (storemanager.Store, error) {
	return s.shown(s.registry.TakeOverDeletion(ctx, q))
}

// RestoreDeletion implements Deletions.
func (s *Supervisor) RestoreDeletion(ctx context.Context, q storemanager.RestoreRequest) (storemanager.Store, error) {
	st, err := s.registry.RestoreDeletion(ctx, q)
	if err != nil {
		return storemanager.Store{}, err
	}
	s.follow(ctx, q.StoreID)
	return s.shown(st, nil)
}

// Hold implements Deletions.
func (s *Supervisor) Hold(ctx context.Context, id string, q storemanager.HoldRequest) (storemanager.Store, error) {
	return s.shown(s.registry.Hold(ctx, id, q))
}

// Release implements Deletions.
func (s *Supervisor) Release(ctx context.Context, q storemanager.ReleaseRequest) (storemanager.Store, error) {
	return s.shown(s.registry.Release(ctx, q))
}

// Get implements Stores.
func (s *Supervisor) Get(ctx context.Context, id string) (storemanager.Store, error) {
	return s.shown(s.registry.Get(ctx, id))
}

// List implements Stores.
func (s *Supervisor) List(ctx context.Context, q storemanager.ListRequest) (storemanager.Page, error) {
	return s.registry.ListShown(ctx, q, s.show)
}

// The methods below concern no monitor: the registry alone answers them.

// BeginDeletion implements Deletions.
func (s *Supervisor) BeginDeletion(ctx context.Context, q storemanager.DeletionRequest) (storemanager.DeletionResult, error) {
	return s.registry.BeginDeletion(ctx, q)
}

// ListIDs implements Stores.
func (s *Supervisor) ListIDs(ctx context.Context, cursor string) (storemanager.IDPage, error) {
	return s.registry.ListIDs(ctx, cursor)
}

// Pause implements Pauses.
func (s *Supervisor) Pause(ctx context.Context, q storemanager.PauseRequest) (storemanager.Pause, error) {
	return s.registry.Pause(ctx, q)
}

// Resume implements Pauses.
func (s *Supervisor) Resume(ctx context.Context, q storemanager.ResumeRequest) error {
	return s.registry.Resume(ctx, q)
}

// Pauses implements Pauses.
func (s *Supervisor) Pauses(ctx context.Context) ([]storemanager.Pause, error) {
	return s.registry.Pauses(ctx)
}

// MarkUnlisted implements Reconciliations.
func (s *Supervisor) MarkUnlisted(ctx context.Context, m storemanager.ListMarks) error {
	return s.registry.MarkUnlisted(ctx, m)
}

// RecordReconcile implements Reconciliations.
func (s *Supervisor) RecordReconcile(ctx context.Context, run storemanager.ReconcileRun) error {
	return s.registry.RecordReconcile(ctx, run)
}

// Reconciliation implements Reconciliations.
func (s *Supervisor) Reconciliation(ctx context.Context) (storemanager.Reconciliation, error) {
	return s.registry.Reconciliation(ctx)
}

// AcknowledgeLoss implements Reconciliations.
func (s *Supervisor) AcknowledgeLoss(ctx context.Context, a storemanager.Acknowledgement) error {
	return s.registry.AcknowledgeLoss(ctx, a)
}

// Ping returns nil if the registry can be read, and keeps what is changed.
func (s *Supervisor) Ping(ctx context.Context) error { return s.registry.Ping(ctx) }

// Overview implements Stores.
func (s *Supervisor) Overview(ctx context.Context) (storemanager.Overview, error) {
	o, err := s.registry.Overview(ctx)
	if err != nil {
		return storemanager.Overview{}, err
	}
	o.SyncURL = shownURL(s.syncURL(""))
	o.Connections = map[storemanager.ConnectionState]int{}
	without := o.Monitored
	s.mu.Lock()
	for state, n := range s.counts {
		if state != storemanager.ConnectionStopped {
			o.Connections[state] = n
			without -= n
		}
	}
	s.mu.Unlock()
	switch { // those without a monitor
	case without <= 0: // a monitor that ends is still counted, for a moment
	case s.syncURL("") == "":
		o.Connections[storemanager.ConnectionNotConfigured] = without
	default: // about to start
		o.Connections[storemanager.ConnectionConnecting] += without
	}
	o.Monitors = &storemanager.MonitorTotals{
		Events: s.totals.events.Load(), Errors: s.totals.errors.Load(), Reconnects: s.totals.reconnects.Load(),
		Resets: s.totals.resets.Load(), Subscribed: s.totals.subscribed.Load(), Dialing: s.dials.dialing.Load(),
	}
	return o, nil
}

// shown completes a store, unless there is an error.
func (s *Supervisor) shown(st storemanager.Store, err error) (storemanager.Store, error) {
	if err == nil {
		s.show(&st)
	}
	return st, err
}

// show completes what the registry knows of a store.
func (s *Supervisor) show(st *storemanager.Store) {
	if st.State == storemanager.StateMonitored {
		st.Connection, st.Monitor = s.connection(st.ID)
	}
}

// connection is that of a store that the registry has as monitored.
func (s *Supervisor) connection(id string) (storemanager.ConnectionState, *storemanager.MonitorStatus) {
	if m := s.monitor(id); m != nil {
		if state, status := m.status.get(); state != "" {
			status.SyncURL = shownURL(m.url)
			return state, status
		}
		return storemanager.ConnectionConnecting, nil // once the one before it has ended
	}
	if s.syncURL(id) == "" {
		return storemanager.ConnectionNotConfigured, nil
	}
	return storemanager.ConnectionConnecting, nil // its monitor is about to start, or the process is about to end
}

// shownURL is the address without user, query and fragment, which may hold secrets.
func shownURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// Audit implements Audit.
func (s *Supervisor) Audit(ctx context.Context, q storemanager.AuditQuery) (storemanager.AuditPage, error) {
	return s.registry.Audit(ctx, q)
}

// NoteBatch implements Audit.
func (s *Supervisor) NoteBatch(ctx context.Context, b storemanager.Batch) error {
	return s.registry.NoteBatch(ctx, b)
}

// NoteSettings implements Audit.
func (s *Supervisor) NoteSettings(ctx context.Context, q storemanager.Settings) error {
	return s.registry.NoteSettings(ctx, q)
}
