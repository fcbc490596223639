// Package removals derives each stop of a store anew from the audit trail, and says which of them their evidence does not justify. It trusts no
// rule of the registry: it reads what was decided, when and on what, and does the same sums again.
package removals

import (
	"fmt"
	"slices"
	"time"

	"storekeeper/internal/storemanager"
)

// Finding is a stop with what speaks against it.
type Finding struct {
	Seq     int64     `json:"seq"`
	StoreID string    `json:"storeId"`
	At      time.Time `json:"at"`
	// Reasons are sentences.
	Reasons []string `json:"reasons"`
}

// Report is what came of all stops.
type Report struct {
	// Entries is how many entries of the trail were read, Stops how many of them are stops of a monitored store.
	Entries int `json:"entries"`
	Stops   int `json:"stops"`
	// Unjustified are the stops that their evidence does not justify.
	Unjustified []Finding `json:"unjustified"`
	// Unproven are the stops of deletions that began when there was no audit trail yet, or that a worker of an older version carried out: what is
	// known of them justifies them, but not all is known.
	Unproven []Finding `json:"unproven"`
}

// Judge reads the trail. Its zero value is ready.
type Judge struct {
	report  Report
	stores  map[string]*store
	guarded bool            // the guard keeps removals back
	lists   map[string]bool // by hash and moment: those that a first sighting tells of
	// waiting are stops that need the approval of a plan, which is kept at the end of its run. approved are the plans, by run and hash.
	waiting  []waiting
	approved map[string]bool
	first    int64 // the lowest Seq
}

type waiting struct {
	stop storemanager.AuditEntry
	plan string
}

// store is what the trail has told of one store so far.
type store struct {
	hold    *storemanager.AuditEntry // nil: none, or released
	expires *time.Time               // of the hold; nil: it does not
	pinned  bool
	// deletions are those that have become pending since the last stop, by Deletion.Since in microseconds.
	deletions map[int64]*deletion
}

type deletion struct {
	begun storemanager.AuditEntry
	// ended is the entry that has ended it; nil as long as none has.
	ended *storemanager.AuditEntry
	// guarded: the guard kept removals back when it began.
	guarded bool
}

// Add reads an entry. Entries come in the order of their Seq, from the first one on.
func (j *Judge) Add(e storemanager.AuditEntry) {
	if j.stores == nil {
		j.stores, j.lists, j.approved, j.first = map[string]*store{}, map[string]bool{}, map[string]bool{}, e.Seq
	}
	j.report.Entries++
	switch {
	case e.Kind == storemanager.AuditList && e.Evidence != nil:
		for _, list := range e.Evidence.Lists {
			j.lists[key(list)] = true
		}
	case e.Kind == storemanager.AuditGuard:
		j.guarded = e.Outcome == "keeps_back"
	case e.Kind == storemanager.AuditApproval && e.Outcome == string(storemanager.GuardApproved):
		j.guarded = false
		j.approved[e.RunID+"/"+e.Plan] = true
	}
	if e.StoreID != "" {
		j.aboutStore(e)
	}
}

func key(list storemanager.ListRef) string {
	return list.At.UTC().Format(time.RFC3339Nano) + "/" + list.Hash
}

func (j *Judge) aboutStore(e storemanager.AuditEntry) {
	s := j.stores[e.StoreID]
	if s == nil {
		s = &store{deletions: map[int64]*deletion{}}
		j.stores[e.StoreID] = s
	}
	on := e.Evidence
	if on == nil {
		on = &storemanager.Evidence{}
	}
	switch kind := e.Kind; {
	case kind == storemanager.AuditHold:
		s.hold, s.expires = &e, nil
		if on.Hold != nil {
			s.expires = on.Hold.ExpiresAt
		}
		s.end(e)
	case kind == storemanager.AuditRelease:
		s.hold = nil
	case kind == storemanager.AuditPin:
		s.pinned = true
		s.end(e)
	case kind == storemanager.AuditUnpin:
		s.pinned = false
	case kind == storemanager.AuditCancelDeletion, kind == storemanager.AuditEnsure && on.Deletion != nil: // which the ensure has cancelled
		s.end(e)
	case kind == storemanager.AuditDeletion && on.Deletion != nil:
		if since := on.Deletion.Since.UnixMicro(); s.deletions[since] == nil {
			s.deletions[since] = &deletion{begun: e, guarded: j.guarded}
		}
	case kind == storemanager.AuditStop && e.Outcome == string(storemanager.StopStopped):
		j.stopped(s, e)
		s.deletions = map[int64]*deletion{}
	}
}

// end notes that whatever deletion was pending is no more.
func (s *store) end(by storemanager.AuditEntry) {
	for _, d := range s.deletions {
		if d.ended == nil {
			d.ended = &by
		}
	}
}

// stopped judges a stop.
func (j *Judge) stopped(s *store, e storemanager.AuditEntry) {
	if e.Evidence == nil || e.Evidence.Deletion == nil {
		if e.Origin == (storemanager.Origin{}) && e.Evidence == nil && len(s.deletions) == 0 {
			j.report.Stops++
			j.unproven(e, "it is from before there was an audit trail")
		}
		return // the repeat of a stop that was told before has no deletion any more
	}
	j.report.Stops++
	d := *e.Evidence.Deletion
	against, missing := s.protected(d, e)
	more, unnamed := answered(d, e)
	against, missing = append(against, more...), append(missing, unnamed...)
	more, unnamed = j.cause(d, e, s.deletions[d.Since.UnixMicro()])
	against, missing = append(against, more...), append(missing, unnamed...)
	switch {
	case len(against) > 0:
		j.report.Unjustified = append(j.report.Unjustified, finding(e, append(against, missing...)))
	case len(missing) > 0:
		j.report.Unproven = append(j.report.Unproven, finding(e, missing))
	}
}

// decidedAt is when a stop was decided.
func decidedAt(e storemanager.AuditEntry) time.Time {
	if !e.Evidence.DecidedAt.IsZero() {
		return e.Evidence.DecidedAt
	}
	return e.At
}

// answered says what speaks against the moment of a stop, and against the answer of the Auth Worker that it followed.
func answered(d storemanager.Deletion, e storemanager.AuditEntry) (against, missing []string) {
	say := func(format string, args ...any) { against = append(against, fmt.Sprintf(format, args...)) }
	decided := decidedAt(e)
	if decided.Before(d.DeleteAt) {
		say("it was stopped at %s, before the end of the grace period at %s", stamp(decided), stamp(d.DeleteAt))
	}
	recheck := e.Evidence.Recheck
	switch age := decided.Sub(recheck.At); {
	case recheck.At.IsZero():
		say("the Auth Worker was not asked again")
	case age > storemanager.MaxAnswerAge || age < -storemanager.MaxAnswerLead:
		say("the Auth Worker's answer was %s old", age.Round(time.Second))
	case recheck.Hash == "":
		missing = append(missing, "the list of the re-check is not named")
	}
	if recheck.At.Before(d.EventAt) && !recheck.At.IsZero() && recheck.At.Before(d.Since) {
		say("the Auth Worker was asked again at %s, before the deletion began", stamp(recheck.At))
	}
	return against, missing
}

// protected says what kept the store from being stopped.
func (s *store) protected(d storemanager.Deletion, e storemanager.AuditEntry) (against, missing []string) {
	if s.hold != nil && (s.expires == nil || decidedAt(e).Before(*s.expires)) {
		against = append(against, fmt.Sprintf("it was held by entry %d", s.hold.Seq))
	}
	if s.pinned {
		against = append(against, "it was pinned")
	}
	begun := s.deletions[d.Since.UnixMicro()]
	switch {
	case begun == nil && d.Cause == (storemanager.Cause{}):
		missing = append(missing, "its deletion began before there was an audit trail")
	case begun == nil:
		against = append(against, "the trail does not have the beginning of its deletion")
	case begun.ended != nil:
		against = append(against, fmt.Sprintf("its deletion was ended by entry %d (%s)", begun.ended.Seq, begun.ended.Kind))
	}
	return against, missing
}

// cause says what speaks against who or what asked for the deletion.
func (j *Judge) cause(d storemanager.Deletion, e storemanager.AuditEntry, begun *deletion) (against, missing []string) {
	c := d.Cause
	switch {
	case c == (storemanager.Cause{}):
		return nil, nil // said elsewhere
	case c.Source == storemanager.SourceWebhook && c.DeliveryID == "":
		against = append(against, "the webhook that asked for it is not named")
	case c.Source == storemanager.SourceOperator && c.Actor == "":
		against = append(against, "the operator who asked for it is not named")
	case c.Source == "":
		against = append(against, "nobody is named who asked for it")
	case c.Source == storemanager.SourceReconcile:
		if c.Plan != "" || begun != nil && begun.guarded {
			j.waiting = append(j.waiting, waiting{stop: e, plan: c.RunID + "/" + c.Plan})
		}
		return j.twoLists(c, e, begun)
	}
	return against, missing
}

// twoLists says what speaks against the lists that asked for a deletion.
func (j *Judge) twoLists(c storemanager.Cause, e storemanager.AuditEntry, begun *deletion) (against, missing []string) {
	first, second := c.FirstList, c.SecondList
	switch {
	case first == (storemanager.ListRef{}) && begun != nil && begun.begun.Outcome == restored:
		missing = append(missing, "its deletion was put back after a loss, and the waiting run did not know the lists")
	case first.At.IsZero() || second.At.IsZero():
		against = append(against, "no two lists are named that lack the workspace")
	case !first.At.Before(second.At):
		against = append(against, "the two lists that lack the workspace are the same")
	case first.Hash == "" || second.Hash == "":
		against = append(against, "the two lists that lack the workspace have no hash")
	case !j.lists[key(first)]:
		against = append(against, fmt.Sprintf("the trail does not have the list of %s", stamp(first.At)))
	case second.At.After(e.At):
		against = append(against, "the second list is newer than the stop")
	}
	return against, missing
}

// restored is the outcome of a deletion that was put back into a registry which had lost it.
const restored = "restored"

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func finding(e storemanager.AuditEntry, reasons []string) Finding {
	return Finding{Seq: e.Seq, StoreID: e.StoreID, At: e.At, Reasons: reasons}
}

func (j *Judge) unproven(e storemanager.AuditEntry, why string) {
	j.report.Unproven = append(j.report.Unproven, finding(e, []string{why}))
}

// Report says what came of it, once all entries are read.
func (j *Judge) Report() Report {
	r := j.report
	for _, w := range j.waiting {
		if !j.approved[w.plan] {
			r.Unjustified = append(r.Unjustified, finding(w.stop, []string{"the guard kept removals back, and the trail has no approval of its plan"}))
		}
	}
	slices.SortFunc(r.Unjustified, func(a, b Finding) int { return int(a.Seq - b.Seq) })
	r.Unjustified, r.Unproven = append([]Finding{}, r.Unjustified...), append([]Finding{}, r.Unproven...)
	return r
}
