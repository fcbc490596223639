package storemanager

import (
	"fmt"
	"time"
)

// record is what the registry knows of one id: one row of the table stores. Its methods are the fencing rules, which decide
// by the record, the request and the time alone. Times are as precise as they can be stored; zero means never.
type record struct {
	id               string
	tombstoneAt      time.Time // zero: monitored, or unknown
	eventAt          time.Time // zero: unknown
	createdBy        string
	firstMonitoredAt time.Time
	lastEnsuredAt    time.Time
	lastStoppedAt    time.Time
	missingSince     time.Time
	pinned           bool
	deletion         Deletion // zero: none pending
	cancelledEventAt time.Time
	stoppedBy        string
	hold             Hold // zero: none in force; an expired one is dropped when the row is read
}

func (s *record) unknown() bool   { return s.eventAt.IsZero() && s.tombstoneAt.IsZero() }
func (s *record) monitored() bool { return !s.eventAt.IsZero() && s.tombstoneAt.IsZero() }
func (s *record) pending() bool   { return !s.deletion.DeleteAt.IsZero() }
func (s *record) held() bool      { return !s.hold.Since.IsZero() }

// ensure: a deletion wins over an ensure of the same moment, for a store too many can be stopped later, but not the reverse.
func (s *record) ensure(q EnsureRequest, now time.Time) EnsureResult {
	res := EnsureResult{StoreID: s.id, Outcome: EnsureExists, Connection: ConnectionNotConfigured}
	switch {
	case !s.monitored() && q.At.After(s.eventAt): // unknown, or stopped by an older deletion
		s.revive(q.At, now)
		s.createdBy = q.RequestID
		res.Outcome = EnsureCreated
		return res
	case !s.monitored():
		return EnsureResult{StoreID: s.id, Outcome: EnsureStale}
	case s.pending() && !q.At.After(s.deletion.EventAt):
		res.Outcome = EnsureStale
	default:
		res.DeletionCancelled = s.pending()
		s.cancelDeletion()
		s.seen(q.At, now)
	}
	if q.RequestID != "" && q.RequestID == s.createdBy {
		res.Outcome = EnsureCreated // a repeat
	}
	return res
}

// pin is an ensure that nothing known can make stale: the operator's word is newer than any event.
func (s *record) pin(now time.Time) {
	if !s.monitored() {
		s.revive(later(now, s.eventAt), now)
	}
	s.cancelDeletion()
	s.seen(now, now)
	s.pinned = true
}

// revive makes the store monitored, with nothing left of an earlier life.
func (s *record) revive(at, now time.Time) {
	*s = record{id: s.id, eventAt: at, firstMonitoredAt: now, lastEnsuredAt: now}
}

// seen notes that the workspace existed at that moment.
func (s *record) seen(at, now time.Time) {
	s.eventAt = later(s.eventAt, at)
	s.lastEnsuredAt = now
	s.missingSince = time.Time{}
}

func (s *record) beginDeletion(q DeletionRequest, now time.Time) DeletionResult {
	switch {
	case !s.monitored():
		s.eventAt = later(s.eventAt, q.At)
		s.tombstoneAt = now
		return DeletionResult{Outcome: DeletionAlreadyStopped}
	case q.At.Before(s.eventAt), !q.At.After(s.cancelledEventAt):
		return DeletionResult{Outcome: DeletionStale}
	case s.held():
		return DeletionResult{Outcome: DeletionHeld, Hold: &s.hold}
	case s.pinned:
		return DeletionResult{Outcome: DeletionPinned}
	}
	if !s.pending() || s.deletion.Owner != q.Owner {
		s.deletion.DeleteAt, s.deletion.Owner = q.DeleteAt, q.Owner
	}
	s.deletion.EventAt = later(s.deletion.EventAt, q.At)
	if !q.ByList {
		s.missingSince = time.Time{}
	}
	return DeletionResult{Outcome: DeletionScheduled, DeleteAt: s.deletion.DeleteAt}
}

// cancelDeletion remembers what was cancelled, so that the event that asked for it can't come back late.
func (s *record) cancelDeletion() {
	s.cancelledEventAt = later(s.cancelledEventAt, s.deletion.EventAt)
	s.deletion = Deletion{}
}

func (s *record) stop(q StopRequest, now time.Time) (StopResult, error) {
	switch {
	case !s.monitored() && s.stoppedBy == q.Owner: // a repeat
		return StopResult{Outcome: StopStopped}, nil
	case !s.monitored():
		return StopResult{Outcome: StopAlreadyStopped}, nil
	case !s.pending(), s.deletion.Owner != q.Owner, s.held(), s.pinned, s.eventAt.After(s.deletion.EventAt):
		return StopResult{Outcome: StopNotPending}, nil
	case now.Before(s.deletion.DeleteAt):
		return StopResult{}, fmt.Errorf("%w: store %q can be stopped from %s on", ErrTooEarly, s.id,
			s.deletion.DeleteAt.Format(time.RFC3339Nano))
	}
	*s = record{
		id: s.id, eventAt: s.deletion.EventAt, tombstoneAt: now, stoppedBy: q.Owner,
		firstMonitoredAt: s.firstMonitoredAt, lastEnsuredAt: s.lastEnsuredAt, lastStoppedAt: now,
	}
	return StopResult{Outcome: StopStopped}, nil
}

// holdFrom puts the hold on. The same hold again is a repeat, and keeps its Since.
func (s *record) holdFrom(now time.Time, h Hold) {
	s.cancelDeletion()
	h.Since = now
	if s.held() && s.hold.Reason == h.Reason && s.hold.Actor == h.Actor && equal(s.hold.ExpiresAt, h.ExpiresAt) {
		h.Since = s.hold.Since
	}
	s.hold = h
}

// store is the record as callers see it.
func (s *record) store() Store {
	out := Store{
		ID: s.id, State: StateMonitored, Connection: ConnectionNotConfigured, EventAt: s.eventAt, Pinned: s.pinned,
		FirstMonitoredAt: optional(s.firstMonitoredAt), LastEnsuredAt: optional(s.lastEnsuredAt),
		LastStoppedAt: optional(s.lastStoppedAt), MissingSince: optional(s.missingSince),
	}
	if !s.monitored() {
		out.State, out.Connection = StateStopped, ConnectionStopped
	}
	if s.pending() {
		out.Deletion = &s.deletion
	}
	if s.held() {
		out.Hold = &s.hold
	}
	return out
}

// maxClockLead is how far ahead of ours the clock of an event's origin may be.
const maxClockLead = 5 * time.Minute

// known is the moment of some knowledge, as far as we believe it: an event from the future would make all that comes after it
// stale until that time has come.
func known(at, now time.Time) time.Time {
	if latest := now.Add(maxClockLead); at.After(latest) {
		at = latest
	}
	return precise(at)
}

// precise is t as it comes back from the database: UTC, in microseconds.
func precise(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func preciseOptional(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(precise(*t))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func equal(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}
