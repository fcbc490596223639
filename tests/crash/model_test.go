package crash_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"storekeeper/contract"
)

// history is all that happened, out of three sources that know nothing of each other: the truth, what senders were answered, and
// what the registry went through.
type history struct {
	truth   truth
	events  []event
	journal journal
	grace   time.Duration
}

// fault is something that must not be, about one workspace; or about none.
type fault struct{ id, what string }

func (f fault) String() string { return f.id + ": " + f.what }

// verdict is all that must not be.
type verdict struct {
	lost, doubled, early, whileListed, oldAnswer []fault
	// Not faults: how often it happened that something could go wrong.
	provisions, stops int
	// raced are stops of a workspace that was listed again less than an answer's age before.
	raced int
}

func (v verdict) faults() []fault {
	return slices.Concat(v.lost, v.doubled, v.early, v.whileListed, v.oldAnswer)
}

func (v verdict) String() string {
	return fmt.Sprintf("%d provisions, %d stops (%d within the age of an answer that was overtaken): lost %d, doubled %d, stopped early %d, "+
		"stopped while listed %d, stopped on an old answer %d", v.provisions, v.stops, v.raced,
		len(v.lost), len(v.doubled), len(v.early), len(v.whileListed), len(v.oldAnswer))
}

const (
	// maxAnswerAge is how old the answer may be on which a store is stopped.
	maxAnswerAge = time.Minute
	// timerSlack is what a durable timer may be early by: Temporal's are whole milliseconds.
	timerSlack = 10 * time.Millisecond
	// sureRuns is how many scheduled runs in a row see a workspace before its deletion must have ended. Two would do, but the first may
	// have begun too early to count.
	sureRuns = 3
	// stamp is the precision of an event's timestamp.
	stamp = time.Millisecond
)

// judge says what in the history must not be.
func judge(h history) verdict {
	var v verdict
	h.judgeEvents(&v)
	for _, id := range slices.Sorted(maps.Keys(h.journal.rows)) {
		h.judgeStore(&v, id)
	}
	h.judgeAnswers(&v)
	return v
}

// judgeStore goes through the life of a store.
func (h history) judgeStore(v *verdict, id string) {
	var before row
	var pendingSince time.Time // of the deletion that is pending before the change
	provisions := 0
	for _, after := range h.journal.rows[id] {
		switch {
		case !before.monitored && after.monitored:
			v.provisions++
			provisions++
			if begun := h.spansBegun(id, after.at); provisions > begun {
				v.doubled = append(v.doubled, fault{id, fmt.Sprintf("provisioned for the %d. time at %s, listed for the %d. time",
					provisions, clock(after.at), begun)})
			}
		case before.monitored && !after.monitored:
			v.stops++
			h.judgeStop(v, id, before, after.stoppedAt, pendingSince)
		case before.pending() && after.monitored && !after.pending() && !h.truth.listedWithin(id, before.deletionAt.Add(stamp), after.at):
			v.lost = append(v.lost, fault{id, fmt.Sprintf("the deletion of %s was dropped at %s, though the workspace was not listed since",
				clock(before.deletionAt), clock(after.at))})
		}
		if after.pending() && !before.pending() {
			pendingSince = after.at
		}
		before = after
	}
}

// spansBegun is how often the workspace had come to be listed by then.
func (h history) spansBegun(id string, by time.Time) int {
	n := 0
	for _, s := range h.truth.spans[id] {
		if !s.from.After(by) {
			n++
		}
	}
	return n
}

// judgeStop judges a stop at that moment of what was pending before.
func (h history) judgeStop(v *verdict, id string, before row, at, pendingSince time.Time) {
	told := "stopped at " + clock(at)
	earliest, why := h.earliestStop(id, at, pendingSince)
	if at.Before(earliest) || at.Before(before.deleteAt) {
		v.early = append(v.early, fault{id, fmt.Sprintf("%s, %s before the end of the grace period: %s", told, earliest.Sub(at), why)})
	}
	if h.truth.listedAt(id, at) {
		v.raced++
		if since := h.listedSince(id, at); at.Sub(since) > maxAnswerAge {
			v.whileListed = append(v.whileListed, fault{id, told + ", listed since " + clock(since)})
		}
	}
	// The answer that justifies it was asked for when the grace period was over, and at most a minute ago.
	var newest list
	for _, l := range h.truth.lists {
		if l.asked.After(newest.asked) && !l.at.After(at) && !h.truth.listedAt(id, l.at) {
			newest = l
		}
	}
	switch {
	case newest.asked.Before(at.Add(-maxAnswerAge)):
		v.oldAnswer = append(v.oldAnswer, fault{id, told + ", on a list asked for at " + clock(newest.asked)})
	case newest.asked.Before(before.deleteAt.Add(-timerSlack)):
		v.oldAnswer = append(v.oldAnswer, fault{id, fmt.Sprintf("%s, not asked again since %s, before the end of the grace period at %s",
			told, clock(newest.asked), clock(before.deleteAt))})
	}
}

// listedSince is the start of the span that at lies in.
func (h history) listedSince(id string, at time.Time) time.Time {
	for _, s := range slices.Backward(h.truth.spans[id]) {
		if !s.from.After(at) {
			return s.from
		}
	}
	return at
}

// earliestStop is the end of the grace period of the deletion that was in force, and which one that was: the newest one by then, or the one
// before if nobody can have known that the workspace was listed in between. A deletion that was pending since then is the registry's.
func (h history) earliestStop(id string, at, pendingSince time.Time) (time.Time, string) {
	spans := h.truth.spans[id]
	n := len(spans)
	for n > 0 && (spans[n-1].to.IsZero() || spans[n-1].to.After(at)) {
		n--
	}
	if n == 0 {
		return at.Add(h.grace), "the workspace was never removed"
	}
	for n > 1 && !h.seen(id, spans[n-1], pendingSince) {
		n--
	}
	removed := spans[n-1].to
	earliest, why := removed.Add(h.grace), "the workspace was removed at "+clock(removed)
	for _, e := range h.events {
		if e.id != id || e.kind != contract.WorkspaceDeleted || !e.at.Equal(removed.Truncate(stamp)) {
			continue
		}
		for _, a := range e.answers {
			if a.deleteAt.After(earliest) && a.at.Before(at) && a.status == contract.StatusDeletionScheduled {
				earliest, why = a.deleteAt, "the sender was promised "+clock(a.deleteAt)
			}
		}
	}
	return earliest, why
}

// seen says whether it must have been noticed that the workspace was listed then, before it was removed again.
func (h history) seen(id string, s span, pendingSince time.Time) bool {
	for _, e := range h.events {
		if e.id != id || e.kind != contract.WorkspaceCreated || e.at.Before(s.from.Truncate(stamp)) || !e.at.Before(s.to.Truncate(stamp)) {
			continue
		}
		for _, a := range e.answers {
			if a.at.Before(s.to) && a.status != contract.StatusAccepted && a.status != contract.StatusStaleIgnored {
				return true
			}
		}
	}
	from, runs := s.from, 0
	if pendingSince.After(from) {
		from = pendingSince
	}
	for _, r := range h.journal.runs {
		if r.trigger == contract.TriggerSchedule && !r.listAt.Before(from) && r.completedAt.Before(s.to) {
			runs++
		}
	}
	return runs >= sureRuns
}

// judgeEvents finds events that were answered 2xx and left no trace in the registry.
func (h history) judgeEvents(v *verdict) {
	for _, e := range h.events {
		if !e.answered() {
			continue
		}
		known := slices.ContainsFunc(h.journal.rows[e.id], func(r row) bool { return !r.newest().Before(e.at) })
		// Each event was decided on at least once after it was sent, and so was each that was sent after it.
		sent, decided := 0, 0
		for _, other := range h.events {
			if other.id == e.id && other.kind == e.kind && other.answered() && !other.sent.Before(e.sent) {
				sent++
			}
		}
		for _, d := range h.journal.decisions[e.id] {
			if d.answers(e.kind) && !d.at.Before(e.sent.Truncate(time.Microsecond)) {
				decided++
			}
		}
		if !known || decided < sent {
			v.lost = append(v.lost, fault{e.id, fmt.Sprintf("%s of %s was answered and left no trace (%d such events, decided on %d times)",
				e.kind, clock(e.at), sent, decided)})
		}
	}
}

// answers says whether the decision may have been on an event of that kind.
func (d decision) answers(kind contract.EventType) bool {
	if kind == contract.WorkspaceDeleted {
		return d.kind == "deletion"
	}
	return d.kind == "ensure" && !strings.Contains(d.detail, "from reconciliation")
}

// judgeAnswers finds workspaces of which more was answered to have been started than was, and deletions that were answered and then
// cancelled by a creation from before.
func (h history) judgeAnswers(v *verdict) {
	started := map[string]int{}
	for _, e := range h.events {
		fresh := 0
		for _, a := range e.answers {
			if a.status == contract.StatusMonitoringStarted && !a.replayed {
				fresh++
			}
			if e.kind == contract.WorkspaceCreated && a.status == contract.StatusDeletionCancelled && !a.replayed && h.deletedBetween(e, a.sent) {
				v.lost = append(v.lost, fault{e.id, fmt.Sprintf("the creation of %s, told again at %s, cancelled a newer deletion", clock(e.at), clock(a.sent))})
			}
		}
		if e.delivery != "" { // its repeats are one request
			fresh = min(fresh, 1)
		}
		started[e.id] += fresh
	}
	for _, id := range slices.Sorted(maps.Keys(started)) {
		provisions, monitored := 0, false
		for _, r := range h.journal.rows[id] {
			if r.monitored && !monitored {
				provisions++
			}
			monitored = r.monitored
		}
		if started[id] > provisions {
			v.doubled = append(v.doubled, fault{id, fmt.Sprintf("%d requests were told that they started it, and it was started %d times",
				started[id], provisions)})
		}
	}
}

// deletedBetween says whether a deletion after the event had been answered by then.
func (h history) deletedBetween(e event, by time.Time) bool {
	return slices.ContainsFunc(h.events, func(d event) bool {
		return d.id == e.id && d.kind == contract.WorkspaceDeleted && d.at.After(e.at) &&
			slices.ContainsFunc(d.answers, func(a answer) bool { return a.at.Before(by) && a.status != contract.StatusAccepted })
	})
}
