package crash_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// toldFaults is how many workspaces have their story told.
const toldFaults = 15

// tellOf logs what led to the faults.
func (h history) tellOf(t *testing.T, faults []fault) {
	t.Helper()
	told := map[string]bool{}
	for _, f := range faults {
		t.Log(f)
		if !told[f.id] && len(told) < toldFaults {
			t.Log("what led to it:\n" + h.story(f.id))
		}
		told[f.id] = true
	}
}

// story is all that happened to a workspace, in order.
func (h history) story(id string) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	add := func(at time.Time, format string, args ...any) {
		if !at.IsZero() {
			lines = append(lines, line{at, fmt.Sprintf(format, args...)})
		}
	}
	for _, s := range h.truth.spans[id] {
		add(s.from, "TRUTH listed")
		add(s.to, "TRUTH gone")
	}
	for _, e := range h.events {
		if e.id != id {
			continue
		}
		add(e.sent, "sent %s of %s %s", e.kind, clock(e.at), e.delivery)
		for _, a := range e.answers {
			add(a.at, "answered %s of %s: %s %s replayed=%t", e.kind, clock(e.at), a.status, clock(a.deleteAt), a.replayed)
		}
	}
	for _, r := range h.journal.rows[id] {
		add(r.at, "row: monitored=%t event=%s deletion=%s deleteAt=%s stopped=%s", r.monitored, clock(r.eventAt), clock(r.deletionAt),
			clock(r.deleteAt), clock(r.stoppedAt))
	}
	for _, d := range h.journal.decisions[id] {
		add(d.at, "asked: %s %s", d.kind, d.detail)
	}
	for _, r := range h.journal.runs {
		if h.pendingAt(id, r.completedAt) {
			add(r.completedAt, "run by %s, list of %s", r.trigger, clock(r.listAt))
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "    %s %s\n", clock(l.at), l.text)
	}
	return text.String()
}

// pendingAt says whether a deletion was pending then.
func (h history) pendingAt(id string, at time.Time) bool {
	pending := false
	for _, r := range h.journal.rows[id] {
		if r.at.After(at) {
			break
		}
		pending = r.pending()
	}
	return pending
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("15:04:05.000")
}
