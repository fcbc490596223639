package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
)

// This file explores what the fencing rules (record.go) can be brought to, breadth first: every request that anybody may send, with
// every time of a small set, in every order, repeated and reordered as a network, a retry and a crash may do it. After each step
// the invariants of the registry are checked against what the answers so far have promised (promises), and not against the rules
// themselves. A state is visited once, so an exploration that ends has seen them all.

// tick is the unit of all times here: an answer may be two of them old, and not three.
const tick = 20 * time.Second

// never is the tick of a time that is zero.
const never = -1

func atTick(n int8) time.Time {
	if n == never {
		return time.Time{}
	}
	return start.Add(time.Duration(n) * tick)
}

func tickOf(t time.Time) int8 {
	if t.IsZero() {
		return never
	}
	return int8(t.Sub(start) / tick)
}

// packed is a record without what no rule looks at, and what the answers have promised about it.
type packed struct {
	stopped, pinned, held, byList                             bool
	eventAt, missingSince, listedSince, listedAt, cancelledAt int8
	createdBy, stoppedBy                                      int8 // the creation's tick, the owner
	deletionEventAt, deletionSince, deleteAt, deletion        int8 // deletion is its owner, never for none
	promises
}

// promises are what whoever asked was told, and may rely on. A deletion is in force from its first answer until it is carried out
// or somebody who may ends it.
type promises struct {
	existed   int8 // the newest moment of a creation that was taken
	gone      int8 // the newest moment of a deletion that was carried out
	cancelled int8 // the newest moment of a deletion that was ended
	inForceAt int8 // of the deletion in force: the newest moment that was reported; never for none
	began     int8 // when it was first answered
	notBefore int8 // the end of its grace period
	owner     int8
	relisted  int8 // the newest list since that has the workspace
}

var (
	unknownStore = packed{
		eventAt: never, missingSince: never, listedSince: never, listedAt: never, cancelledAt: never, createdBy: never, stoppedBy: never,
		deletionEventAt: never, deletionSince: never, deleteAt: never, deletion: never,
		promises: promises{existed: never, gone: never, cancelled: never, inForceAt: never, began: never, notBefore: never, owner: never, relisted: never},
	}
	exploredHold = storemanager.Hold{Reason: "r", Actor: "a", Since: start}
)

func (p packed) pending() bool { return p.deletion != never }
func (p packed) unknown() bool { return p.eventAt == never && !p.stopped }

func (p packed) record() Record {
	name := func(prefix string, n int8) string {
		if n == never {
			return ""
		}
		return prefix + string(rune('0'+n))
	}
	s := Record{
		ID: "workspace-1", EventAt: atTick(p.eventAt), CreatedBy: name("creation-", p.createdBy), UnlistedSince: atTick(p.missingSince),
		ListedSince: atTick(p.listedSince), ListedAt: atTick(p.listedAt), Pinned: p.pinned, CancelledEventAt: atTick(p.cancelledAt), StoppedBy: name("run-", p.stoppedBy),
		Deletion: storemanager.Deletion{
			EventAt: atTick(p.deletionEventAt), Since: atTick(p.deletionSince), DeleteAt: atTick(p.deleteAt), Owner: name("run-", p.deletion),
			ByList: p.byList,
		},
	}
	if p.stopped {
		s.TombstoneAt = start
	}
	if p.held {
		s.Hold = exploredHold
	}
	return s
}

func pack(s Record, q promises) packed {
	number := func(name string) int8 {
		if name == "" {
			return never
		}
		return int8(name[len(name)-1] - '0')
	}
	return packed{
		stopped: !s.TombstoneAt.IsZero(), pinned: s.Pinned, held: s.held(), byList: s.Deletion.ByList, eventAt: tickOf(s.EventAt), missingSince: tickOf(s.UnlistedSince),
		listedSince: tickOf(s.ListedSince), listedAt: tickOf(s.ListedAt), cancelledAt: tickOf(s.CancelledEventAt), createdBy: number(s.CreatedBy), stoppedBy: number(s.StoppedBy),
		deletionEventAt: tickOf(s.Deletion.EventAt), deletionSince: tickOf(s.Deletion.Since), deleteAt: tickOf(s.Deletion.DeleteAt),
		deletion: number(s.Deletion.Owner), promises: q,
	}
}

// step is one request about one store, or the passing of a tick.
type step struct {
	kind            stepKind
	store           int8
	at, grace, from int8 // the moment it tells of; the grace period; the owner
}

type stepKind int8

const (
	stepTick stepKind = iota
	stepCreated
	stepDeleted
	stepDeletedByList
	stepCancel
	stepCancelKnown
	stepTakeOver
	stepHold
	stepRelease
	stepPin
	stepUnpin
	stepListed
	stepUnlisted
	stepStop
	stepRestore
)

func (s step) String() string {
	names := []string{"a tick passes", "created", "deleted", "deleted by lists", "cancel", "cancel what is known", "take over", "hold", "release", "pin", "unpin", "listed", "not listed", "stop", "put back"}
	if s.kind == stepTick {
		return names[stepTick]
	}
	return fmt.Sprintf("store %d: %s (at %d, grace %d, by run %d)", s.store, names[s.kind], s.at, s.grace, s.from)
}

// steps are all that may happen at a moment: what is told of is not later than that. With two stores operators do nothing: what they do
// to one is no other store's affair, and there would be hundreds of times as many worlds.
func (e exploration) steps(now int8) []step {
	all := []step{{kind: stepTick}}
	for store := range int8(e.stores) {
		for _, kind := range operatorsSteps(e.stores) {
			all = append(all, step{kind: kind, store: store})
		}
		for owner := range int8(2) {
			all = append(all, step{kind: stepTakeOver, store: store, from: owner})
		}
		for at := range now + 1 {
			all = append(all, step{kind: stepCreated, store: store, at: at}, step{kind: stepListed, store: store, at: at},
				step{kind: stepUnlisted, store: store, at: at})
			for owner := range int8(2) {
				all = append(all, step{kind: stepStop, store: store, at: at, from: owner})
				if e.lost {
					all = append(all, step{kind: stepRestore, store: store, at: at, from: owner, grace: 2})
				}
				for _, grace := range []int8{0, 2} {
					all = append(all, step{kind: stepDeleted, store: store, at: at, from: owner, grace: grace})
				}
				all = append(all, step{kind: stepDeletedByList, store: store, at: at, from: owner, grace: 2},
					step{kind: stepCancelKnown, store: store, at: at, from: owner})
			}
		}
	}
	return all
}

func operatorsSteps(stores int) []stepKind {
	if stores > 1 {
		return nil
	}
	return []stepKind{stepCancel, stepHold, stepRelease, stepPin, stepUnpin}
}

// take carries a step out on the store's record, and returns what was answered.
func (s step) take(r *Record, d decision) string {
	owner := "run-" + string(rune('0'+s.from))
	switch s.kind {
	case stepCreated:
		return string(r.ensure(storemanager.EnsureRequest{At: atTick(s.at), RequestID: "creation-" + string(rune('0'+s.at))}, d).Outcome)
	case stepDeleted, stepDeletedByList:
		res := r.beginDeletion(storemanager.DeletionRequest{
			At: atTick(s.at), DeleteAt: d.now.Add(time.Duration(s.grace) * tick), Owner: owner, ByList: s.kind == stepDeletedByList,
		}, d)
		return string(res.Outcome)
	case stepStop:
		res, err := r.stop(storemanager.StopRequest{Owner: owner, AbsentAt: atTick(s.at)}, d)
		if err != nil {
			return "error"
		}
		return string(res.Outcome)
	case stepRestore:
		return s.restore(r, d)
	case stepPin:
		r.pin(d)
	case stepUnpin:
		r.Pinned = false
	case stepListed, stepUnlisted:
		if r.Monitored() { // what lists say of others is not kept
			s.sight(r, d)
		}
	case stepTick:
	default:
		if r.Monitored() { // else ErrNotFound
			return s.protect(r, d)
		}
	}
	return ""
}

// restore puts back a deletion whose grace period began at its event, and answers what the run that waits for it may rely on.
func (s step) restore(r *Record, d decision) string {
	q := storemanager.RestoreRequest{EventAt: atTick(s.at), DeleteAt: atTick(s.at + s.grace), Owner: "run-" + string(rune('0'+s.from))}
	r.restoreDeletion(q, d)
	if r.pending() && r.Deletion.EventAt.Equal(q.EventAt) && r.Deletion.DeleteAt.Equal(q.DeleteAt) && r.Deletion.Owner == q.Owner {
		return "put back"
	}
	return "something newer is known"
}

// putsBack says whether the step brought a deletion back.
func (s step) putsBack(before, after packed) bool {
	return s.kind == stepRestore && after.pending() &&
		(!before.pending() || after.deletionEventAt != before.deletionEventAt || after.deletion != before.deletion || after.deleteAt != before.deleteAt)
}

func (s step) deletes() bool { return s.kind == stepDeleted || s.kind == stepDeletedByList }

// ends says whether an operator, or the run that waits, ends the deletion in force.
func (s step) ends(q promises) bool {
	return s.kind == stepCancel || s.kind == stepHold || s.kind == stepPin ||
		s.kind == stepCancelKnown && q.inForceAt != never && s.from == q.owner && s.at >= q.inForceAt
}

func (s step) sight(r *Record, d decision) {
	if s.kind == stepListed {
		r.listed(atTick(s.at), d)
	} else {
		r.unlisted(storemanager.ListRef{At: atTick(s.at)})
	}
}

func (s step) protect(r *Record, d decision) string {
	owner := "run-" + string(rune('0'+s.from))
	switch s.kind {
	case stepCancel:
		r.cancel(storemanager.CancelRequest{}, d)
	case stepCancelKnown:
		r.cancel(storemanager.CancelRequest{Owner: owner, EventAt: atTick(s.at)}, d)
	case stepTakeOver:
		if r.takeOver(owner) {
			return "taken over"
		}
	case stepHold:
		if !r.held() {
			r.holdFrom(d, exploredHold)
			r.Hold = exploredHold // its Since is nothing that a rule looks at
		}
	default:
		r.Hold = storemanager.Hold{}
	}
	return ""
}

// possible says whether somebody can send the step now: reconciliation asks for the deletion of what it has sighted before, and for
// nothing else.
func (s step) possible(p packed) bool {
	return s.kind != stepDeletedByList || !p.stopped && p.missingSince != never && p.missingSince < s.at && !p.pending()
}

// promised is what holds after the step, for what was promised before and was answered now.
func (s step) promised(q promises, answer string, now int8) promises {
	ended := func() {
		q.cancelled = max(q.cancelled, q.inForceAt)
		q.inForceAt, q.began, q.notBefore, q.owner, q.relisted = never, never, never, never, never
	}
	switch {
	case s.kind == stepCreated && (answer == string(storemanager.EnsureCreated) || answer == string(storemanager.EnsureExists)):
		q.existed = max(q.existed, s.at)
		if s.at > q.inForceAt {
			ended()
		}
	case answer == string(storemanager.DeletionScheduled):
		again := q.relisted != never && s.at > q.relisted && s.kind == stepDeleted
		if q.inForceAt == never || again || q.owner != s.from && s.at > q.inForceAt {
			q.began, q.notBefore, q.relisted = now, now+s.grace, never
		}
		q.owner = s.from
		q.inForceAt = max(q.inForceAt, s.at)
	case s.deletes() && answer == string(storemanager.DeletionAlreadyStopped):
		q.gone = max(q.gone, s.at)
	case s.kind == stepListed && q.inForceAt != never && s.at > max(q.began, q.inForceAt):
		q.relisted = max(q.relisted, s.at)
	case s.ends(q):
		ended()
	case answer == "put back" && s.at > q.inForceAt:
		q.inForceAt, q.began, q.notBefore, q.owner, q.relisted = s.at, now, s.at+s.grace, s.from, never
	case answer == "taken over":
		q.owner = s.from
	case s.kind == stepStop && answer == string(storemanager.StopStopped) && q.inForceAt != never:
		q.gone = max(q.gone, q.inForceAt)
		q.existed = never
		q.inForceAt, q.began, q.notBefore, q.owner, q.relisted = never, never, never, never, never
		q.cancelled = never // a store that comes back has a life of its own
	}
	return q
}

// broken says which promise the step has broken; "" for none.
func (s step) broken(before, after packed, answer string, now int8) string {
	taken := s.kind == stepCreated && answer != string(storemanager.EnsureStale)
	switch {
	case taken && (after.stopped || after.pending()):
		return "a creation was answered and has no effect"
	case answer == string(storemanager.DeletionScheduled) && !after.pending(), s.deletes() && answer == string(storemanager.DeletionAlreadyStopped) && !after.stopped:
		return "a deletion was answered and has no effect"
	case taken && before.stopped && s.at <= before.gone:
		return "a creation undid a newer deletion that was carried out"
	case before.inForceAt != never && !after.stopped && !after.pending() && !s.ends(before.promises) &&
		(s.kind != stepCreated || s.at <= before.inForceAt):
		return "a deletion that was answered is dropped by what is no newer"
	case s.putsBack(before, after) && s.at <= before.inForceAt:
		return "a deletion that was put back replaced one that is as new"
	case s.putsBack(before, after) && before.stopped && s.at <= before.gone:
		return "a deletion that was carried out was put back"
	case (answer == string(storemanager.DeletionScheduled) || s.putsBack(before, after)) && s.at < before.existed:
		return "a deletion undid a newer creation"
	case (answer == string(storemanager.DeletionScheduled) || s.putsBack(before, after)) && s.at <= before.cancelled:
		return "a deletion that was ended came back"
	case after.pending() && (after.held || after.pinned):
		return "a protected store is pending deletion"
	case after.pending() && after.deleteAt < after.notBefore:
		return "the grace period of the deletion in force is cut short"
	case after.pending() && after.deleteAt > after.notBefore:
		return "a repeat draws the grace period out"
	case after.listedSince != never && (!after.pending() || after.listedSince <= after.began):
		return "a list from before the deletion speaks against it"
	case s.kind == stepUnlisted && after.listedSince != never:
		return "lists that are not consecutive speak against a deletion"
	case !before.stopped && !before.unknown() && after.stopped:
		return s.stoppedWrongly(before, now)
	}
	return ""
}

func (s step) stoppedWrongly(before packed, now int8) string {
	switch {
	case s.kind != stepStop, before.inForceAt == never:
		return "a store was stopped without a deletion in force"
	case before.held, before.pinned:
		return "a protected store was stopped"
	case now < before.notBefore:
		return "a store was stopped before the grace period had ended"
	case s.from != before.owner:
		return "a store was stopped by another run than the one that waited"
	case now-s.at > int8(storemanager.MaxAnswerAge/tick):
		return "a store was stopped on an old answer"
	case before.relisted > s.at:
		return "a store was stopped although a newer list has the workspace"
	}
	return ""
}

// world is a state of the exploration.
type world struct {
	now    int8
	stores [2]packed
}

// visit is how a world was reached.
type visit struct {
	world
	from int32 // index of the visit before
	by   step
}

// exploration visits every world that can be reached until the clock shows last, with so many stores.
type exploration struct {
	stores int
	last   int8
	// lost: the registry was lost, so runs put deletions back.
	lost bool
	// without is left out where deletions are put back alone; without lost, everywhere.
	without rule
}

// explore returns how many worlds there are, and the steps to the first broken promise, the promise last; nil if all are kept.
func (e exploration) explore() (states int, counterexample []string) {
	start := visit{world: world{stores: [2]packed{unknownStore, unknownStore}}, from: -1}
	visits, seen := []visit{start}, map[world]struct{}{start.world: {}}
	for i := 0; i < len(visits); i++ {
		w := visits[i].world
		for _, s := range e.steps(w.now) {
			d := decision{now: atTick(w.now)}
			if !e.lost || s.kind == stepRestore {
				d.without = e.without
			}
			var broken string
			next := w
			if s.kind == stepTick {
				if next.now++; next.now > e.last {
					continue
				}
			} else if next.stores[s.store], broken = s.follow(w.stores[s.store], d, w.now); broken != "" {
				return len(visits), append(path(visits, i), s.String(), broken)
			}
			if _, known := seen[next]; !known {
				seen[next] = struct{}{}
				visits = append(visits, visit{next, int32(i), s})
			}
		}
	}
	return len(visits), nil
}

// follow is the step, and the same again, as a network and a retry may do it: that must change nothing and answer the same.
func (s step) follow(before packed, d decision, now int8) (after packed, broken string) {
	if !s.possible(before) {
		return before, ""
	}
	r := before.record()
	answer := s.take(&r, d)
	after = pack(r, s.promised(before.promises, answer, now))
	if broken := s.broken(before, after, answer, now); broken != "" {
		return after, broken
	}
	repeated := r
	if again := s.take(&repeated, d); s.possible(after) && (again != answer || pack(repeated, after.promises) != after) {
		return after, "the repeat was answered " + again + ", the first " + answer + ", or it changed something"
	}
	return after, ""
}

func path(visits []visit, i int) []string {
	var steps []string
	for ; visits[i].from >= 0; i = int(visits[i].from) {
		steps = append(steps, visits[i].by.String())
	}
	slices.Reverse(steps)
	return steps
}

func TestNoOrderOfRequestsBreaksAPromise(t *testing.T) {
	t.Parallel()
	for _, e := range []exploration{{stores: 1, last: 5, lost: true}, {stores: 2, last: 2}} {
		states, counterexample := e.explore()
		require.Empty(t, counterexample, strings.Join(counterexample, "\n"))
		t.Logf("%d store(s), until tick %d: all %d states keep the promises", e.stores, e.last, states)
	}
}

// Each rule is there for a reason: without it some order of requests breaks a promise.
func TestEachFencingRuleIsMissedWhenItIsTakenAway(t *testing.T) {
	t.Parallel()
	for without, want := range map[rule]string{
		ruleDeletionOutlivesOlderCreation: "a deletion that was answered is dropped by what is no newer",
		ruleTombstoneOutlivesOlderEvent:   "a creation undid a newer deletion that was carried out",
		ruleCreationOutlivesOlderDeletion: "a deletion undid a newer creation",
		ruleCancelledStaysCancelled:       "a deletion that was ended came back",
		ruleHeld:                          "a protected store is pending deletion",
		rulePinned:                        "a protected store is pending deletion",
		ruleFirstDeleteAt:                 "a repeat draws the grace period out",
		ruleGracePeriod:                   "a store was stopped before the grace period had ended",
		ruleOwner:                         "a store was stopped by another run than the one that waited",
		ruleFreshAnswer:                   "a store was stopped on an old answer",
		ruleDeletedAgain:                  "the grace period of the deletion in force is cut short",
		ruleCancelNoNewer:                 "a deletion that was answered is dropped by what is no newer",
		ruleNewerList:                     "a store was stopped although a newer list has the workspace",
		ruleListAfterDeletion:             "a list from before the deletion speaks against it",
	} {
		t.Run(string(without), func(t *testing.T) {
			t.Parallel()
			_, counterexample := exploration{stores: 1, last: 4, without: without}.explore()
			require.NotEmpty(t, counterexample, "no order of requests breaks a promise without it")
			require.Equal(t, want, counterexample[len(counterexample)-1], strings.Join(counterexample, "\n"))
			t.Log(strings.Join(counterexample, "\n"))
		})
	}
}

// What a registry has lost and a run puts back obeys some of the rules for its own sake.
func TestEachRuleIsMissedWhereADeletionIsPutBackWithoutIt(t *testing.T) {
	t.Parallel()
	for without, want := range map[rule]string{
		ruleTombstoneOutlivesOlderEvent:   "a deletion that was carried out was put back",
		ruleHeld:                          "a protected store is pending deletion",
		rulePinned:                        "a protected store is pending deletion",
		ruleCreationOutlivesOlderDeletion: "a deletion undid a newer creation",
		ruleCancelledStaysCancelled:       "a deletion that was ended came back",
		ruleRestoreReplacesNoNewer:        "a deletion that was put back replaced one that is as new",
	} {
		t.Run(string(without), func(t *testing.T) {
			t.Parallel()
			_, counterexample := exploration{stores: 1, last: 4, without: without, lost: true}.explore()
			require.NotEmpty(t, counterexample, "no order of requests breaks a promise without it")
			require.Equal(t, want, counterexample[len(counterexample)-1], strings.Join(counterexample, "\n"))
		})
	}
}
