package storemanager

import (
	"errors"
	"fmt"
	"time"
)

// record is what the registry knows of one id. Its methods are the fencing rules, which decide
// by the record, the request and the decision's moment alone. Times are as precise as they can be stored; zero means never.
type record struct {
	id               string
	tombstoneAt      time.Time // zero: monitored, or unknown
	eventAt          time.Time // zero: unknown
	createdBy        string
	firstMonitoredAt time.Time
	lastEnsuredAt    time.Time
	lastStoppedAt    time.Time
	missingSince     time.Time
	listedSince      time.Time
	listedAt         time.Time // the newest list, since the pending deletion began, that has the workspace
	pinned           bool
	deletion         Deletion // zero: none pending
	cancelledEventAt time.Time
	stoppedBy        string
	hold             Hold // zero: none in force; see expire
}

// decision is the moment at which a rule decides. without is the one rule that is left out: a test sees to it that each is missed.
type decision struct {
	now     time.Time
	without rule
}

func (d decision) obeys(r rule) bool { return d.without != r }

// rule is a sentence that every change of a record keeps to.
type rule string

// The rules.
const (
	ruleDeletionOutlivesOlderCreation rule = "a pending deletion outlives a creation that is not newer"
	ruleTombstoneOutlivesOlderEvent   rule = "a tombstone outlives a creation that is not newer"
	ruleCreationOutlivesOlderDeletion rule = "a store outlives a deletion that is older than what is known of it"
	ruleCancelledStaysCancelled       rule = "a deletion that was cancelled does not come back"
	ruleHeld                          rule = "a held store is not deleted"
	rulePinned                        rule = "a pinned store is not deleted"
	ruleFirstDeleteAt                 rule = "a repeated deletion keeps its end of the grace period"
	ruleGracePeriod                   rule = "nothing is stopped before the grace period has ended"
	ruleOwner                         rule = "only the run that waits for the grace period stops the store"
	ruleFreshAnswer                   rule = "nothing is stopped on an old answer"
	ruleDeletedAgain                  rule = "a deletion after a list that had the workspace again has a whole grace period"
	ruleCancelNoNewer                 rule = "what ends a deletion ends no newer one"
	ruleNewerList                     rule = "nothing is stopped on an answer that is older than a list that has the workspace"
	ruleListAfterDeletion             rule = "a list from before a deletion says nothing of it"
	ruleRestoreReplacesNoNewer        rule = "a deletion that is put back replaces none that is as new"
)

func (s *record) unknown() bool   { return s.eventAt.IsZero() && s.tombstoneAt.IsZero() }
func (s *record) monitored() bool { return !s.eventAt.IsZero() && s.tombstoneAt.IsZero() }
func (s *record) pending() bool   { return !s.deletion.DeleteAt.IsZero() }
func (s *record) held() bool      { return !s.hold.Since.IsZero() }

// expire drops a hold that has expired by now: it counts as none everywhere.
func (s *record) expire(now time.Time) {
	if s.hold.ExpiresAt != nil && !now.Before(*s.hold.ExpiresAt) {
		s.hold = Hold{}
	}
}

// ensure: a deletion wins over an ensure of the same moment, for a store too many can be stopped later, but not the reverse.
func (s *record) ensure(q EnsureRequest, d decision) EnsureResult {
	res := EnsureResult{StoreID: s.id, Outcome: EnsureExists, Connection: ConnectionNotConfigured}
	switch {
	case !s.monitored() && !q.At.After(s.eventAt) && d.obeys(ruleTombstoneOutlivesOlderEvent):
		return EnsureResult{StoreID: s.id, Outcome: EnsureStale}
	case !s.monitored(): // unknown, or stopped by an older deletion
		s.revive(q.At, d.now)
		s.createdBy = q.RequestID
		res.Outcome = EnsureCreated
		return res
	case s.pending() && !q.At.After(s.deletion.EventAt) && d.obeys(ruleDeletionOutlivesOlderCreation):
		res.Outcome = EnsureStale
		return res // also the repeat of the request that created it: the deletion is newer
	default:
		res.DeletionCancelled = s.pending()
		s.cancelDeletion()
		s.seen(q.At, d.now)
	}
	if q.RequestID != "" && q.RequestID == s.createdBy {
		res.Outcome = EnsureCreated // a repeat
	}
	return res
}

// pin is an ensure that nothing known can make stale: the operator's word is newer than any event.
func (s *record) pin(d decision) {
	if !s.monitored() {
		s.revive(later(d.now, s.eventAt), d.now)
	}
	s.cancelDeletion()
	s.seen(d.now, d.now)
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

func (s *record) beginDeletion(q DeletionRequest, d decision) DeletionResult {
	switch {
	case !s.monitored():
		s.eventAt = later(s.eventAt, q.At)
		s.tombstoneAt = d.now
		return DeletionResult{Outcome: DeletionAlreadyStopped}
	case q.At.Before(s.eventAt) && d.obeys(ruleCreationOutlivesOlderDeletion),
		!q.At.After(s.cancelledEventAt) && d.obeys(ruleCancelledStaysCancelled):
		return DeletionResult{Outcome: DeletionStale}
	case s.held() && d.obeys(ruleHeld):
		return DeletionResult{Outcome: DeletionHeld, Hold: &s.hold}
	case s.pinned && d.obeys(rulePinned):
		return DeletionResult{Outcome: DeletionPinned}
	}
	byList := q.ByList && (!s.pending() || s.deletion.ByList)
	if s.beginsGrace(q, d) {
		s.deletion.Since, s.deletion.DeleteAt = d.now, q.DeleteAt
		s.listedSince, s.listedAt = time.Time{}, time.Time{}
	}
	s.deletion.Owner, s.deletion.ByList = q.Owner, byList // whoever waited before is no more, for a workspace has one lifecycle
	s.deletion.EventAt = later(s.deletion.EventAt, q.At)
	if !s.listedSince.After(s.deletion.EventAt) {
		s.listedSince = time.Time{} // the list was asked for before what is known now
	}
	if !q.ByList {
		s.missingSince = time.Time{}
	}
	return DeletionResult{Outcome: DeletionScheduled, DeleteAt: s.deletion.DeleteAt, EventAt: s.deletion.EventAt}
}

// beginsGrace says whether the deletion is another one than that which is pending, and so has a whole grace period.
func (s *record) beginsGrace(q DeletionRequest, d decision) bool {
	// It existed in between, though the news of that may still be on its way to the lifecycle.
	again := !s.listedAt.IsZero() && q.At.After(s.listedAt) && !q.ByList && d.obeys(ruleDeletedAgain)
	another := s.deletion.Owner != q.Owner && q.At.After(s.deletion.EventAt)
	return !s.pending() || again || another || !d.obeys(ruleFirstDeleteAt)
}

// cancel ends the deletion that is meant, and says whether it did.
func (s *record) cancel(q CancelRequest, d decision) bool {
	meant := (q.Owner == "" || q.Owner == s.deletion.Owner) && (q.EventAt.IsZero() || !s.deletion.EventAt.After(q.EventAt))
	if !s.pending() || !meant && d.obeys(ruleCancelNoNewer) {
		return false
	}
	s.cancelDeletion()
	return true
}

// takeOver makes a run the owner of a pending deletion, all else of which stays. It says whether one is pending.
func (s *record) takeOver(owner string) bool {
	if s.pending() {
		s.deletion.Owner = owner
	}
	return s.pending()
}

// restoreDeletion gives the store the pending deletion back that a registry has lost and the run that waits for it still knows, and
// says whether it did. What is known beside it and is newer counts: a later event, an operator's cancel or hold, a pin. A tombstone that
// is older is that of an earlier life, out of a backup. Of two deletions the newer one is kept.
func (s *record) restoreDeletion(q RestoreRequest, d decision) bool {
	switch {
	case !s.monitored() && !q.EventAt.After(s.eventAt) && d.obeys(ruleTombstoneOutlivesOlderEvent):
		return false
	case !s.monitored(): // unknown, or stopped by an older deletion
		s.revive(q.EventAt, d.now)
	case s.held() && d.obeys(ruleHeld), s.pinned && d.obeys(rulePinned),
		s.eventAt.After(q.EventAt) && d.obeys(ruleCreationOutlivesOlderDeletion),
		!q.EventAt.After(s.cancelledEventAt) && d.obeys(ruleCancelledStaysCancelled),
		s.pending() && !q.EventAt.After(s.deletion.EventAt) && d.obeys(ruleRestoreReplacesNoNewer):
		return false
	}
	s.deletion = Deletion{EventAt: q.EventAt, Since: d.now, DeleteAt: q.DeleteAt, Owner: q.Owner, ByList: q.ByList}
	s.listedSince, s.listedAt = time.Time{}, time.Time{}
	if !q.ByList {
		s.missingSince = time.Time{}
	}
	return true
}

// cancelDeletion remembers what was cancelled, so that the event that asked for it can't come back late.
func (s *record) cancelDeletion() {
	s.cancelledEventAt = later(s.cancelledEventAt, s.deletion.EventAt)
	s.deletion = Deletion{}
	s.listedSince, s.listedAt = time.Time{}, time.Time{}
}

// unlisted notes that a complete list lacks the store, whose fetch began at that moment. A deletion that is pending needs no sighting;
// it only loses the list that spoke against it. A list that is older than what is known of the store can't have missed it.
func (s *record) unlisted(at time.Time) {
	s.listedSince = time.Time{}
	if !s.pending() && s.missingSince.IsZero() && !at.Before(s.eventAt) {
		s.missingSince = at
	}
}

// listed notes that a complete list has the store. Against a pending deletion speaks only a list that was asked for after all that
// is known of it.
func (s *record) listed(at time.Time, d decision) {
	s.missingSince = time.Time{}
	if !s.pending() || !s.deletion.OutdatedBy(at) && d.obeys(ruleListAfterDeletion) {
		return
	}
	if s.listedSince.IsZero() {
		s.listedSince = at
	}
	s.listedAt = later(s.listedAt, at)
}

func (s *record) stop(q StopRequest, d decision) (StopResult, error) {
	switch {
	case !s.monitored() && s.stoppedBy == q.Owner: // a repeat
		return StopResult{Outcome: StopStopped}, nil
	case !s.monitored():
		return StopResult{Outcome: StopAlreadyStopped}, nil
	case !s.pending(), s.deletion.Owner != q.Owner && d.obeys(ruleOwner), s.held() && d.obeys(ruleHeld), s.pinned && d.obeys(rulePinned),
		s.eventAt.After(s.deletion.EventAt) && d.obeys(ruleCreationOutlivesOlderDeletion):
		return StopResult{Outcome: StopNotPending}, nil
	case d.now.Before(s.deletion.DeleteAt) && d.obeys(ruleGracePeriod):
		return StopResult{}, fmt.Errorf("%w: store %q can be stopped from %s on", ErrTooEarly, s.id,
			s.deletion.DeleteAt.Format(time.RFC3339Nano))
	case q.AbsentAt.IsZero():
		return StopResult{}, errNoAnswer
	case !fresh(q, d.now) && d.obeys(ruleFreshAnswer), s.listedAt.After(q.AbsentAt) && d.obeys(ruleNewerList):
		return StopResult{Outcome: StopAnswerTooOld}, nil
	}
	*s = record{
		id: s.id, eventAt: s.deletion.EventAt, tombstoneAt: d.now, stoppedBy: q.Owner,
		firstMonitoredAt: s.firstMonitoredAt, lastEnsuredAt: s.lastEnsuredAt, lastStoppedAt: d.now,
	}
	return StopResult{Outcome: StopStopped}, nil
}

// errNoAnswer is for workers of an older version, which would take any outcome but StopNotPending for a stop.
var errNoAnswer = errors.New("nothing is stopped without the moment of the auth worker's answer: upgrade the workers")

// fresh says whether the answer that the workspace is gone may still be acted on, however long it was on its way.
func fresh(q StopRequest, now time.Time) bool {
	return now.Sub(q.AbsentAt) <= MaxAnswerAge && q.AbsentAt.Sub(now) <= maxAnswerLead
}

// holdFrom puts the hold on. The same hold again is a repeat, and keeps its Since.
func (s *record) holdFrom(d decision, h Hold) {
	s.cancelDeletion()
	h.Since = d.now
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
		LastStoppedAt: optional(s.lastStoppedAt), MissingSince: optional(s.missingSince), ListedSince: optional(s.listedSince),
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

// known is the moment of some knowledge, as far as we believe it: an event from the future would make all that comes after it
// stale until that time has come.
func known(at, now time.Time) time.Time {
	if latest := now.Add(MaxClockLead); at.After(latest) {
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
