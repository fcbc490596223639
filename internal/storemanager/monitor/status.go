package monitor

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"storekeeper/internal/storemanager"
)

// status is what a monitor shows of itself. Its ConnectionState comes from two sides: the subscription (link), and the processing of events (blocked).
type status struct {
	storeID string
	now     func() time.Time
	// changed is called for each change of the state shown, in their order.
	changed func(storemanager.Change)

	mu           sync.Mutex
	link         storemanager.ConnectionState
	linkReason   string
	blocked      string // why events don't move on; "" while they do
	shown        storemanager.MonitorStatus
	shownState   storemanager.ConnectionState
	offlineSince time.Time // zero while there is a subscription
	offline      time.Duration
	history      []storemanager.ConnectionChange
	dialed       bool   // there was an attempt to connect
	formerID     string // the backend id of the incarnation before the last reset
}

// maxReason bounds the reasons in a history, in characters; Reason and LastError are whole. A page of stores holds 20,000 of them.
const maxReason = 120

// begin shows the first state.
func (s *status) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offlineSince = s.now()
	s.link = storemanager.ConnectionConnecting
	s.show(storemanager.ConnectionStopped)
}

// end tells that the monitor is no more.
func (s *status) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shownState == "" {
		return // it never began
	}
	s.changed(storemanager.Change{StoreID: s.storeID, Connection: storemanager.ConnectionStopped, Previous: s.shownState, At: s.now()})
}

// connected notes that the backend has answered the pull. It returns whether the backend had answered an earlier one.
func (s *status) connected() (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if again = s.shown.LastConnectedAt != nil; again {
		s.shown.Reconnects++
	}
	s.shown.ConnectedAt, s.shown.LastConnectedAt, s.shown.NextAttemptAt = &now, &now, nil
	s.offline += now.Sub(s.offlineSince)
	s.offlineSince = time.Time{}
	s.link, s.linkReason = storemanager.ConnectionConnected, ""
	s.refresh()
	return again
}

// disconnected notes that there is no subscription, or no longer, and why, and when the next attempt is due. It returns whether the state has changed.
func (s *status) disconnected(link storemanager.ConnectionState, reason string, wait time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.offlineSince.IsZero() {
		s.offlineSince = now
		s.shown.ConnectedAt, s.shown.LastDisconnectedAt = nil, &now
	}
	next := now.Add(wait)
	s.shown.NextAttemptAt = &next
	s.link, s.linkReason = link, reason
	return s.refresh()
}

// attempting notes that the wait for the next attempt is over.
func (s *status) attempting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown.NextAttemptAt = nil
}

// heard notes that the backend sent something, with events up to head; 0 means without events.
func (s *status) heard(head int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.shown.LastActivityAt = &now
	if head > 0 {
		s.shown.Head = head
	}
}

// moved notes that the processor took the events of a backend id up to processed.
func (s *status) moved(backendID string, processed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if backendID != s.formerID { // else the queue still held events from before a reset
		s.shown.Processed = processed
	}
	s.blocked = ""
	s.refresh()
}

// block notes that events have not moved on for long.
func (s *status) block(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = reason
	s.refresh()
}

// attempted counts an attempt to connect, which has succeeded or failed.
func (s *status) attempted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialed {
		s.shown.ReconnectAttempts++
	}
	s.dialed = true
}

// failed counts an error. It changes no state.
func (s *status) failed(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown.Errors++
	s.shown.LastError = reason
}

// resume shows the cursor that the monitor goes on from.
func (s *status) resume(processed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown.Head, s.shown.Processed = processed, processed
}

// reset notes that the store begins anew at the backend, under another id than that.
func (s *status) reset(backendID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.formerID = backendID
	s.shown.Resets++
	s.shown.Head, s.shown.Processed = 0, 0
}

// refresh shows the state if it has changed, and returns whether it has.
func (s *status) refresh() bool {
	if s.state() == s.shownState {
		return false
	}
	s.show(s.shownState)
	return true
}

// state is what is to be shown. A processor that takes no events shows only while there is a subscription.
func (s *status) state() storemanager.ConnectionState {
	if s.link == storemanager.ConnectionConnected && s.blocked != "" {
		return storemanager.ConnectionStuck
	}
	return s.link
}

// reason is why the state is what it is.
func (s *status) reason() string {
	if s.link == storemanager.ConnectionConnected {
		return s.blocked
	}
	return s.linkReason
}

func (s *status) show(previous storemanager.ConnectionState) {
	reason := s.reason()
	if runes := []rune(reason); len(runes) > maxReason {
		reason = string(runes[:maxReason]) + "…"
	}
	c := storemanager.ConnectionChange{Connection: s.state(), At: s.now(), Reason: reason}
	s.shownState, s.shown.Since = c.Connection, c.At
	if len(s.history) == storemanager.KeptConnectionChanges {
		s.history = slices.Delete(s.history, 0, 1)
	}
	s.history = append(s.history, c)
	s.changed(storemanager.Change{StoreID: s.storeID, Connection: c.Connection, Previous: previous, At: c.At, Reason: reason})
}

// get returns the state and a copy of the rest.
func (s *status) get() (storemanager.ConnectionState, *storemanager.MonitorStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := s.shown
	shown.History, shown.Reason = slices.Clone(s.history), s.reason()
	offline := s.offline
	if !s.offlineSince.IsZero() {
		offline += s.now().Sub(s.offlineSince)
	}
	shown.OfflineMs = offline.Milliseconds()
	return s.shownState, &shown
}

// lastError is MonitorStatus.LastError, or what stands for none.
func (s *status) lastError() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.shown.LastError, "it does not return")
}
