package registry

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"storekeeper/internal/storemanager"
)

// Record is what the registry knows of one id. Its methods are the fencing rules, which decide by the record, the request and the decision's moment alone.
// Times are in UTC and in microseconds; zero means never.
type Record struct {
	ID               string
	TombstoneAt      time.Time // when the newest deletion was heard of, by our clock; zero: monitored, or unknown
	EventAt          time.Time // as in Store; zero: unknown
	CreatedBy        string    // EnsureRequest.RequestID of the request that created it
	FirstMonitoredAt time.Time
	LastEnsuredAt    time.Time
	LastStoppedAt    time.Time
	UnlistedSince    time.Time
	UnlistedBy       string // the hash of the list of that moment; "" if it is not known
	ListedSince      time.Time
	ListedAt         time.Time // the newest list, since the pending deletion began, that has the workspace
	Pinned           bool
	Deletion         storemanager.Deletion // zero: none pending
	CancelledEventAt time.Time             // EventAt of the newest deletion that was cancelled
	StoppedBy        string                // Owner of the deletion that made the tombstone
	Hold             storemanager.Hold     // zero: none; it may have expired, see expire
	UserID           string                // as in Store
}

// decision is the moment at which a rule decides. without is the rule that is left out, "" for none: a test makes sure that each rule is missed.
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

// Unknown says whether nothing is known of the id: the store is neither monitored nor a tombstone.
func (s *Record) Unknown() bool { return s.EventAt.IsZero() && s.TombstoneAt.IsZero() }

// Monitored says whether the store is monitored.
func (s *Record) Monitored() bool { return !s.EventAt.IsZero() && s.TombstoneAt.IsZero() }

func (s *Record) pending() bool { return !s.Deletion.DeleteAt.IsZero() }
func (s *Record) held() bool    { return !s.Hold.Since.IsZero() }

// expire drops a hold that has expired by now, because it counts as none everywhere.
func (s *Record) expire(now time.Time) {
	if s.Hold.ExpiresAt != nil && !now.Before(*s.Hold.ExpiresAt) {
		s.Hold = storemanager.Hold{}
	}
}

// ensure makes the store monitored, unless a deletion is as new or newer. A deletion wins over an ensure of the same moment: the re-check and
// reconciliation find out later which of them was right.
func (s *Record) ensure(q storemanager.EnsureRequest, d decision) storemanager.EnsureResult {
	res := storemanager.EnsureResult{StoreID: s.ID, Outcome: storemanager.EnsureExists, Connection: storemanager.ConnectionNotConfigured}
	switch {
	case !s.Monitored() && !q.At.After(s.EventAt) && d.obeys(ruleTombstoneOutlivesOlderEvent):
		return storemanager.EnsureResult{StoreID: s.ID, Outcome: storemanager.EnsureStale}
	case !s.Monitored(): // unknown, or stopped by an older deletion
		s.revive(q.At, d.now)
		s.CreatedBy, s.UserID = q.RequestID, q.Origin.Cut().UserID
		res.Outcome = storemanager.EnsureCreated
		return res
	case s.pending() && !q.At.After(s.Deletion.EventAt) && d.obeys(ruleDeletionOutlivesOlderCreation):
		res.Outcome = storemanager.EnsureStale
		return res // also the repeat of the request that created it: the deletion is newer
	default:
		s.UserID = cmp.Or(q.Origin.Cut().UserID, s.UserID)
		res.DeletionCancelled = s.pending()
		s.cancelDeletion()
		s.seen(q.At, d.now)
	}
	if q.RequestID != "" && q.RequestID == s.CreatedBy {
		res.Outcome = storemanager.EnsureCreated // a repeat
	}
	return res
}

// pin is an ensure that nothing can make stale, because the operator's word is newer than any event.
func (s *Record) pin(d decision) {
	if !s.Monitored() {
		s.revive(later(d.now, s.EventAt), d.now)
	}
	s.cancelDeletion()
	s.seen(d.now, d.now)
	s.Pinned = true
}

// revive makes the store monitored. Nothing is left of an earlier life.
func (s *Record) revive(at, now time.Time) {
	*s = Record{ID: s.ID, EventAt: at, FirstMonitoredAt: now, LastEnsuredAt: now}
}

// seen notes that the workspace existed at that moment.
func (s *Record) seen(at, now time.Time) {
	s.EventAt = later(s.EventAt, at)
	s.LastEnsuredAt = now
	s.UnlistedSince, s.UnlistedBy = time.Time{}, ""
}

// beginDeletion makes a deletion pending, unless newer knowledge, a hold or a pin is against it. Of a store that is not monitored it keeps a tombstone.
func (s *Record) beginDeletion(q storemanager.DeletionRequest, d decision) storemanager.DeletionResult {
	switch {
	case !s.Monitored():
		s.EventAt = later(s.EventAt, q.At)
		s.TombstoneAt = d.now
		return storemanager.DeletionResult{Outcome: storemanager.DeletionAlreadyStopped}
	case q.At.Before(s.EventAt) && d.obeys(ruleCreationOutlivesOlderDeletion),
		!q.At.After(s.CancelledEventAt) && d.obeys(ruleCancelledStaysCancelled):
		return storemanager.DeletionResult{Outcome: storemanager.DeletionStale}
	case s.held() && d.obeys(ruleHeld):
		return storemanager.DeletionResult{Outcome: storemanager.DeletionHeld, Hold: &s.Hold}
	case s.Pinned && d.obeys(rulePinned):
		return storemanager.DeletionResult{Outcome: storemanager.DeletionPinned}
	}
	s.UserID = cmp.Or(s.UserID, q.Origin.Cut().UserID) // the event of the creation may have been lost
	byList := q.ByList && (!s.pending() || s.Deletion.ByList)
	begins := s.beginsGrace(q, d)
	if begins || s.Deletion.ByList && !byList { // an event counts more than the lists before it
		s.Deletion.Cause = q.Cause(storemanager.ListRef{At: s.UnlistedSince, Hash: s.UnlistedBy})
	}
	if begins {
		s.Deletion.Since, s.Deletion.DeleteAt = d.now, q.DeleteAt
		s.ListedSince, s.ListedAt = time.Time{}, time.Time{}
	}
	s.Deletion.Owner, s.Deletion.ByList = q.Owner, byList // a workspace has one lifecycle, so whoever waited before is no more
	s.Deletion.EventAt = later(s.Deletion.EventAt, q.At)
	if !s.ListedSince.After(s.Deletion.EventAt) {
		s.ListedSince = time.Time{} // the list was asked for before what is known now
	}
	if !q.ByList {
		s.UnlistedSince, s.UnlistedBy = time.Time{}, ""
	}
	return storemanager.DeletionResult{Outcome: storemanager.DeletionScheduled, DeleteAt: s.Deletion.DeleteAt, EventAt: s.Deletion.EventAt}
}

// beginsGrace says whether the deletion is another one than that which is pending, and so has a whole grace period.
func (s *Record) beginsGrace(q storemanager.DeletionRequest, d decision) bool {
	// It existed in between, though the news of that may still be on its way to the lifecycle.
	again := !s.ListedAt.IsZero() && q.At.After(s.ListedAt) && !q.ByList && d.obeys(ruleDeletedAgain)
	another := s.Deletion.Owner != q.Owner && q.At.After(s.Deletion.EventAt)
	return !s.pending() || again || another || !d.obeys(ruleFirstDeleteAt)
}

// cancel ends the pending deletion if it is the one that is meant, and says whether it was.
func (s *Record) cancel(q storemanager.CancelRequest, d decision) bool {
	meant := (q.Owner == "" || q.Owner == s.Deletion.Owner) && (q.EventAt.IsZero() || !s.Deletion.EventAt.After(q.EventAt))
	if !s.pending() || !meant && d.obeys(ruleCancelNoNewer) {
		return false
	}
	s.cancelDeletion()
	return true
}

// takeOver makes a run the owner of a pending deletion, all else of which stays. It says whether one is pending.
func (s *Record) takeOver(owner string) bool {
	if s.pending() {
		s.Deletion.Owner = owner
	}
	return s.pending()
}

// restoreDeletion gives the store the pending deletion back that the registry has lost and that the waiting run still knows, and says whether it did.
// Whatever is newer counts: a later event, an operator's cancel or hold, a pin. An older tombstone is that of an earlier life, out of a backup. Of two
// deletions the newer one is kept.
func (s *Record) restoreDeletion(q storemanager.RestoreRequest, d decision) bool {
	switch {
	case !s.Monitored() && !q.EventAt.After(s.EventAt) && d.obeys(ruleTombstoneOutlivesOlderEvent):
		return false
	case !s.Monitored(): // unknown, or stopped by an older deletion
		s.revive(q.EventAt, d.now)
	case s.held() && d.obeys(ruleHeld), s.Pinned && d.obeys(rulePinned),
		s.EventAt.After(q.EventAt) && d.obeys(ruleCreationOutlivesOlderDeletion),
		!q.EventAt.After(s.CancelledEventAt) && d.obeys(ruleCancelledStaysCancelled),
		s.pending() && !q.EventAt.After(s.Deletion.EventAt) && d.obeys(ruleRestoreReplacesNoNewer):
		return false
	}
	s.Deletion = storemanager.Deletion{
		EventAt: q.EventAt, Since: d.now, DeleteAt: q.DeleteAt, Owner: q.Owner, ByList: q.ByList, Cause: storemanager.Cause{Origin: q.Origin.Cut()},
	}
	s.UserID = cmp.Or(s.UserID, q.Origin.Cut().UserID)
	s.ListedSince, s.ListedAt = time.Time{}, time.Time{}
	if !q.ByList {
		s.UnlistedSince, s.UnlistedBy = time.Time{}, ""
	}
	return true
}

// cancelDeletion remembers what was cancelled, so that the event that asked for it can't come back late.
func (s *Record) cancelDeletion() {
	s.CancelledEventAt = later(s.CancelledEventAt, s.Deletion.EventAt)
	s.Deletion = storemanager.Deletion{}
	s.ListedSince, s.ListedAt = time.Time{}, time.Time{}
}

// unlisted notes that a complete list lacks the store. A pending deletion needs no sighting; it only loses the list
// that spoke against it. A list that is older than what is known of the store says nothing, because the store may be newer than the list. It says whether this
// is the first list to lack it.
func (s *Record) unlisted(by storemanager.ListRef) (first bool) {
	s.ListedSince = time.Time{}
	if s.pending() || !s.UnlistedSince.IsZero() || by.At.Before(s.EventAt) {
		return false
	}
	s.UnlistedSince, s.UnlistedBy = by.At, by.Hash
	return true
}

// listed notes that a complete list has the store. Only a list that was asked for after all that is known of a pending deletion speaks against it.
func (s *Record) listed(at time.Time, d decision) {
	s.UnlistedSince, s.UnlistedBy = time.Time{}, ""
	if !s.pending() || !s.Deletion.OutdatedBy(at) && d.obeys(ruleListAfterDeletion) {
		return
	}
	if s.ListedSince.IsZero() {
		s.ListedSince = at
	}
	s.ListedAt = later(s.ListedAt, at)
}

// stop makes a tombstone of the store if its deletion is pending for the owner, is due, and the answer that the workspace is gone is fresh.
func (s *Record) stop(q storemanager.StopRequest, d decision) (storemanager.StopResult, error) {
	switch {
	case !s.Monitored() && s.StoppedBy == q.Owner: // a repeat
		return storemanager.StopResult{Outcome: storemanager.StopStopped}, nil
	case !s.Monitored():
		return storemanager.StopResult{Outcome: storemanager.StopAlreadyStopped}, nil
	case !s.pending(), s.Deletion.Owner != q.Owner && d.obeys(ruleOwner), s.held() && d.obeys(ruleHeld), s.Pinned && d.obeys(rulePinned),
		s.EventAt.After(s.Deletion.EventAt) && d.obeys(ruleCreationOutlivesOlderDeletion):
		return storemanager.StopResult{Outcome: storemanager.StopNotPending}, nil
	case d.now.Before(s.Deletion.DeleteAt) && d.obeys(ruleGracePeriod):
		return storemanager.StopResult{}, fmt.Errorf("%w: store %q can be stopped from %s on", storemanager.ErrTooEarly, s.ID,
			s.Deletion.DeleteAt.Format(time.RFC3339Nano))
	case q.AbsentAt.IsZero():
		return storemanager.StopResult{}, errNoAnswer
	case !fresh(q, d.now) && d.obeys(ruleFreshAnswer), s.ListedAt.After(q.AbsentAt) && d.obeys(ruleNewerList):
		return storemanager.StopResult{Outcome: storemanager.StopAnswerTooOld}, nil
	}
	*s = Record{
		ID: s.ID, EventAt: s.Deletion.EventAt, TombstoneAt: d.now, StoppedBy: q.Owner,
		FirstMonitoredAt: s.FirstMonitoredAt, LastEnsuredAt: s.LastEnsuredAt, LastStoppedAt: d.now, UserID: s.UserID,
	}
	return storemanager.StopResult{Outcome: storemanager.StopStopped}, nil
}

// errNoAnswer is what workers of an older version get. They would take any outcome but StopNotPending for a stop.
var errNoAnswer = errors.New("nothing is stopped without the moment of the auth worker's answer: upgrade the workers")

// fresh says whether the answer that the workspace is gone may still be acted on.
func fresh(q storemanager.StopRequest, now time.Time) bool {
	return now.Sub(q.AbsentAt) <= storemanager.MaxAnswerAge && q.AbsentAt.Sub(now) <= storemanager.MaxAnswerLead
}

// holdFrom puts the hold on. The same hold again is a repeat, and keeps its Since.
func (s *Record) holdFrom(d decision, h storemanager.Hold) {
	s.cancelDeletion()
	h.Since = d.now
	if s.held() && s.Hold.Reason == h.Reason && s.Hold.Actor == h.Actor && equal(s.Hold.ExpiresAt, h.ExpiresAt) {
		h.Since = s.Hold.Since
	}
	s.Hold = h
}

// Store is the record as callers see it.
func (s *Record) Store() storemanager.Store {
	out := storemanager.Store{
		ID: s.ID, State: storemanager.StateMonitored, Connection: storemanager.ConnectionNotConfigured, EventAt: s.EventAt, Pinned: s.Pinned, UserID: s.UserID,
		FirstMonitoredAt: optional(s.FirstMonitoredAt), LastEnsuredAt: optional(s.LastEnsuredAt),
		LastStoppedAt: optional(s.LastStoppedAt), UnlistedSince: optional(s.UnlistedSince), ListedSince: optional(s.ListedSince),
	}
	if !s.Monitored() {
		out.State, out.Connection = storemanager.StateStopped, storemanager.ConnectionStopped
	}
	if s.pending() {
		out.Deletion = &s.Deletion
	}
	if s.held() {
		out.Hold = &s.Hold
	}
	return out
}

func preciseOptional(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(storemanager.Precise(*t))
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
