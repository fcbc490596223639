package registrytest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// modelStore is what the test knows of one id: the fencing rules written down a second time, as sentences of state.
type modelStore struct {
	known, monitored bool
	newest           time.Time // newest moment at which the workspace was known to exist (or, of a tombstone, to be gone)
	createdBy        string
	pending          *storemanager.Deletion
	cancelled        time.Time // newest event whose deletion was cancelled
	heldUntil        time.Time // zero: not held
	pinned           bool
	stoppedBy        string
}

// model runs random requests against a registry and against a map, and compares.
type model struct {
	registry *storetest.Database
	clock    *storetest.Clock
	stores   map[string]*modelStore
	paused   map[string]time.Time // until when
	events   map[string][]storemanager.AuditEntry
	created  int
	stopped  int
}

var (
	someIDs    = rapid.SampledFrom([]string{"store-a", "store-b", "store-c"})
	someOwners = rapid.SampledFrom([]string{"run-1", "run-2"})
	someTimes  = rapid.Custom(func(t *rapid.T) time.Time { return storetest.At(rapid.IntRange(-3, 12).Draw(t, "seconds")) })
)

func (m *model) store(t *rapid.T) (string, *modelStore) {
	id := someIDs.Draw(t, "id")
	return id, m.stores[id]
}

func (s *modelStore) cancel() {
	if s.pending != nil {
		s.cancelled = later(s.cancelled, s.pending.EventAt)
		s.pending = nil
	}
}

func (m *model) held(s *modelStore) bool { return s.heldUntil.After(m.clock.Now()) }

// told notes an entry, newest last. What the newest says already is left out if it is a retry, or for an hour if nobody but Storekeeper asks for it.
func (m *model) told(id string, kind storemanager.AuditKind, outcome, detail string, by storemanager.Origin) {
	e := storemanager.AuditEntry{At: m.clock.Now(), Kind: kind, StoreID: id, Outcome: outcome, Detail: detail, Origin: by}
	if n := len(m.events[id]); n > 0 {
		newest := m.events[id][n-1]
		same := newest.Kind == kind && newest.Outcome == outcome && newest.Detail == detail
		event := by.Source == storemanager.SourceWebhook || by.Source == storemanager.SourceOperator
		retry := by == newest.Origin && by != storemanager.Origin{}
		often := !event && by.Source == newest.Source && by.Actor == newest.Actor && e.At.Before(newest.At.Add(time.Hour))
		if same && (retry || often) {
			return
		}
	}
	m.events[id] = append(m.events[id], e)
}

// someOrigins are who asks in the model.
var someOrigins = rapid.SampledFrom([]storemanager.Origin{
	{},
	{Source: "system"},
	{Source: "reconcile", RunID: "1", Actor: "ann"},
	{Source: "reconcile", RunID: "2", Actor: "ann"},
	{Source: "webhook", DeliveryID: "1"},
	{Source: "webhook", DeliveryID: "2"},
	{Source: "operator", Actor: "bob", Reason: "why", Batch: "b"},
})

func (m *model) Ensure(t *rapid.T) {
	id, s := m.store(t)
	q := storemanager.EnsureRequest{StoreID: id, At: someTimes.Draw(t, "at"), RequestID: rapid.SampledFrom([]string{"", "q-1", "reconcile/2"}).Draw(t, "request"), Origin: someOrigins.Draw(t, "origin")}
	res, err := m.registry.Ensure(t.Context(), q)
	require.NoError(t, err)

	switch {
	case !s.monitored && s.known && !q.At.After(s.newest):
		require.Equal(t, storemanager.EnsureStale, res.Outcome)
	case !s.monitored:
		require.Equal(t, storemanager.EnsureCreated, res.Outcome)
		*s = modelStore{known: true, monitored: true, newest: q.At, createdBy: q.RequestID}
		m.created++
	default:
		stale := s.pending != nil && !q.At.After(s.pending.EventAt)
		want := storemanager.EnsureExists
		switch {
		case stale:
			want = storemanager.EnsureStale
		case q.RequestID != "" && q.RequestID == s.createdBy:
			want = storemanager.EnsureCreated
		}
		require.Equal(t, want, res.Outcome)
		require.Equal(t, s.pending != nil && !stale, res.DeletionCancelled)
		if !stale {
			s.cancel()
			s.newest = later(s.newest, q.At)
		}
	}
	var detail []string
	by := q.Origin
	if q.RequestID == "reconcile/2" {
		by.Source = "reconcile"
		if by.RunID == "" {
			by.RunID = "2"
		}
		detail = append(detail, "from reconciliation")
		if res.DeletionCancelled {
			detail = append(detail, "listed again")
		}
	}
	if res.DeletionCancelled {
		detail = append(detail, "cancelled the pending deletion")
	}
	m.told(id, "ensure", string(res.Outcome), strings.Join(detail, ", "), by)
}

func (m *model) BeginDeletion(t *rapid.T) {
	id, s := m.store(t)
	q := storemanager.DeletionRequest{StoreID: id, At: someTimes.Draw(t, "at"), DeleteAt: someTimes.Draw(t, "deleteAt"), Owner: someOwners.Draw(t, "owner"), Origin: someOrigins.Draw(t, "origin")}
	res, err := m.registry.BeginDeletion(t.Context(), q)
	require.NoError(t, err)

	switch {
	case !s.monitored:
		require.Equal(t, storemanager.DeletionAlreadyStopped, res.Outcome)
		s.known, s.newest = true, later(s.newest, q.At)
	case q.At.Before(s.newest) || !q.At.After(s.cancelled):
		require.Equal(t, storemanager.DeletionStale, res.Outcome)
	case m.held(s):
		require.Equal(t, storemanager.DeletionHeld, res.Outcome)
	case s.pinned:
		require.Equal(t, storemanager.DeletionPinned, res.Outcome)
	case s.pending != nil && (s.pending.Owner == q.Owner || !q.At.After(s.pending.EventAt)):
		s.pending.EventAt, s.pending.Owner = later(s.pending.EventAt, q.At), q.Owner
		require.Equal(t, storemanager.DeletionResult{Outcome: storemanager.DeletionScheduled, DeleteAt: s.pending.DeleteAt, EventAt: s.pending.EventAt}, res)
	default:
		event := q.At
		if s.pending != nil {
			event = later(event, s.pending.EventAt)
		}
		require.Equal(t, storemanager.DeletionResult{Outcome: storemanager.DeletionScheduled, DeleteAt: q.DeleteAt, EventAt: event}, res)
		s.pending = &storemanager.Deletion{EventAt: event, Since: m.clock.Now(), DeleteAt: q.DeleteAt, Owner: q.Owner, Cause: storemanager.Cause{Origin: q.Origin}}
	}
	detail := ""
	switch {
	case res.Outcome == storemanager.DeletionScheduled:
		detail = "due " + s.pending.DeleteAt.Format(time.RFC3339)
	case res.Hold != nil:
		detail = byUntil(s.heldUntil)
	}
	m.told(id, "deletion", string(res.Outcome), detail, q.Origin)
}

// byOperator is who holds and pauses in this test.
var byOperator = storemanager.Origin{Source: "operator", Actor: "a", Reason: "r"}

// byUntil is the detail of the holds and pauses of this test.
func byUntil(until time.Time) string { return "by a until " + until.Format(time.RFC3339) + ": r" }

func (m *model) Stop(t *rapid.T) {
	id, s := m.store(t)
	owner, now := someOwners.Draw(t, "owner"), m.clock.Now()
	by := someOrigins.Draw(t, "origin")
	res, err := m.registry.Stop(t.Context(), storemanager.StopRequest{StoreID: id, Owner: owner, AbsentAt: now, Origin: by})
	if s.pending != nil && s.pending.Cause.Origin != (storemanager.Origin{}) {
		by = s.pending.Cause.Origin
	}

	mayStop := s.monitored && s.pending != nil && s.pending.Owner == owner && !m.held(s) && !s.pinned
	switch {
	case mayStop && now.Before(s.pending.DeleteAt):
		require.ErrorIs(t, err, storemanager.ErrTooEarly)
	case mayStop:
		require.NoError(t, err)
		require.Equal(t, storemanager.StopStopped, res.Outcome)
		*s = modelStore{known: true, newest: s.pending.EventAt, stoppedBy: owner}
		m.stopped++
	case s.monitored:
		require.NoError(t, err)
		require.Equal(t, storemanager.StopNotPending, res.Outcome)
	case s.stoppedBy == owner:
		require.NoError(t, err)
		require.Equal(t, storemanager.StopStopped, res.Outcome)
	default:
		require.NoError(t, err)
		require.Equal(t, storemanager.StopAlreadyStopped, res.Outcome)
	}
	if err == nil && s.known {
		m.told(id, "stop", string(res.Outcome), "", by)
	}
}

// onMonitored runs a call that only a monitored store takes.
func (m *model) onMonitored(t *rapid.T, call func(id string) error, then func(id string, s *modelStore)) {
	id, s := m.store(t)
	err := call(id)
	if !s.monitored {
		require.ErrorIs(t, err, storemanager.ErrNotFound)
		return
	}
	require.NoError(t, err)
	then(id, s)
}

func (m *model) CancelDeletion(t *rapid.T) {
	m.onMonitored(t, func(id string) error {
		_, err := m.registry.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: id})
		return err
	}, func(id string, s *modelStore) {
		if s.pending != nil {
			m.told(id, "cancel_deletion", "done", "", storemanager.Origin{})
		}
		s.cancel()
	})
}

func (m *model) Hold(t *rapid.T) {
	until := m.clock.Now().Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "seconds")) * time.Second)
	m.onMonitored(t, func(id string) error {
		_, err := m.registry.Hold(t.Context(), id, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a", ExpiresAt: &until}})
		return err
	}, func(id string, s *modelStore) {
		s.cancel()
		s.heldUntil = until
		m.told(id, "hold", "done", byUntil(until), byOperator)
	})
}

func (m *model) Release(t *rapid.T) {
	m.onMonitored(t, func(id string) error {
		_, err := m.registry.Release(t.Context(), storemanager.ReleaseRequest{StoreID: id})
		return err
	}, func(id string, s *modelStore) {
		if m.held(s) {
			m.told(id, "release", "done", "", storemanager.Origin{})
		}
		s.heldUntil = time.Time{}
	})
}

// someScopes are "" as often as a store.
func someScopes(t *rapid.T) string {
	if rapid.Bool().Draw(t, "all") {
		return ""
	}
	return someIDs.Draw(t, "id")
}

func (m *model) Pause(t *rapid.T) {
	scope, until := someScopes(t), m.clock.Now().Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "seconds"))*time.Second)
	_, err := m.registry.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: scope, Reason: "r", Actor: "a", ExpiresAt: &until}})
	require.NoError(t, err)
	m.paused[scope] = until
	m.told(scope, "pause", "done", byUntil(until), byOperator)
}

func (m *model) Resume(t *rapid.T) {
	scope := someScopes(t)
	require.NoError(t, m.registry.Resume(t.Context(), storemanager.ResumeRequest{StoreID: scope}))
	if m.paused[scope].After(m.clock.Now()) {
		m.told(scope, "resume", "done", "", storemanager.Origin{})
	}
	delete(m.paused, scope)
}

func (m *model) SetPins(t *rapid.T) {
	ids, now := rapid.SliceOfNDistinct(someIDs, 0, 2, rapid.ID).Draw(t, "ids"), m.clock.Now()
	require.NoError(t, m.registry.SetPins(t.Context(), ids))
	bySettings := storemanager.Origin{Source: "system", Via: "settings"}
	for id, s := range m.stores {
		if s.pinned && !slices.Contains(ids, id) {
			m.told(id, "unpin", "done", "STORE_IDS", bySettings)
			s.pinned = false
		}
	}
	for _, id := range ids {
		s := m.stores[id]
		if !s.pinned {
			m.told(id, "pin", "done", "STORE_IDS", bySettings)
		}
		if !s.monitored {
			*s = modelStore{known: true, monitored: true, newest: s.newest}
			m.created++
		}
		s.cancel()
		s.newest = later(s.newest, now)
		s.pinned = true
	}
}

func (m *model) PassTime(t *rapid.T) {
	m.clock.Set(m.clock.Now().Add(time.Duration(rapid.SampledFrom([]int{1, 2, 3, 4, 3599, 3600}).Draw(t, "seconds")) * time.Second))
}

// Check is run after each request: it compares the monitored stores.
func (m *model) Check(t *rapid.T) {
	page, err := m.registry.List(t.Context(), storemanager.ListRequest{})
	require.NoError(t, err)
	listed := map[string]storemanager.Store{}
	for _, got := range page.Stores {
		listed[got.ID] = got
	}
	ids, err := m.registry.ListIDs(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, slices.Sorted(maps.Keys(listed)), slices.Concat(nil, ids.IDs))
	for id, want := range m.stores {
		got, ok := listed[id]
		require.Equal(t, want.monitored, ok)
		if !ok {
			continue
		}
		require.Equal(t, want.newest, got.EventAt)
		require.Equal(t, want.pending, got.Deletion)
		require.Equal(t, m.held(want), got.Hold != nil)
		require.Equal(t, want.pinned, got.Pinned)
		require.Equal(t, m.paused[id].After(m.clock.Now()), got.Pause != nil)
		require.False(t, got.Deletion != nil && (got.Pinned || got.Hold != nil), "protected, and yet pending")
	}
}

// checkAtTheEnd compares the rest, which is too slow to do after each request.
func (m *model) checkAtTheEnd(t *rapid.T) {
	for id, want := range m.stores {
		got, err := m.registry.Get(t.Context(), id)
		if !want.known {
			require.ErrorIs(t, err, storemanager.ErrNotFound)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want.monitored, got.State == storemanager.StateMonitored)
		require.Equal(t, want.newest, got.EventAt)
		all := m.events[id]
		shown := slices.Clone(all[max(0, len(all)-storemanager.ShownHistory):])
		slices.Reverse(shown)
		require.Equal(t, shown, plain(got.History))
	}
	for id, want := range m.events {
		if id == "" {
			continue // the query has no word for them
		}
		page, err := m.registry.Audit(t.Context(), storemanager.AuditQuery{StoreID: id, OldestFirst: true, Limit: storemanager.MaxBatch})
		require.NoError(t, err)
		require.Equal(t, want, plain(page.Entries))
	}
	m.checkPauses(t)
	storetest.RequireCountsMatchRows(t, m.registry)
	o, err := m.registry.Overview(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, m.created, o.TotalProvisioned)
	require.EqualValues(t, m.stopped, o.TotalStopped)
}

// plain are the entries without what the model does not know.
func plain(entries []storemanager.AuditEntry) (out []storemanager.AuditEntry) {
	for _, e := range entries {
		e.Seq, e.Evidence = 0, nil
		out = append(out, e)
	}
	return out
}

func (m *model) checkPauses(t *rapid.T) {
	maps.DeleteFunc(m.paused, func(_ string, until time.Time) bool { return !until.After(m.clock.Now()) })
	got := map[string]time.Time{}
	pauses, err := m.registry.Pauses(t.Context())
	require.NoError(t, err)
	for _, p := range pauses {
		got[p.StoreID] = *p.ExpiresAt
	}
	require.Equal(t, m.paused, got)
	o, err := m.registry.Overview(t.Context())
	require.NoError(t, err)
	_, all := m.paused[""]
	require.Equal(t, all, o.Paused != nil)
	delete(got, "")
	require.Equal(t, len(got), o.PausedStores)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
