package crash_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
)

// second is a moment of the stories below.
func second(n float64) time.Time {
	return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC).Add(time.Duration(n * float64(time.Second)))
}

const ws = "a-workspace"

// ordinary is a history without a fault: listed at 0 s, removed at 10 s, stopped at 18.1 s; the senders were answered and the list was
// asked for in time.
func ordinary() history {
	return history{
		grace: 8 * time.Second,
		truth: truth{
			spans: map[string][]span{ws: {{from: second(0), to: second(10)}}},
			lists: []list{{asked: second(5), at: second(5)}, {asked: second(18.05), at: second(18.06)}},
		},
		events: []event{
			{id: ws, kind: contract.WorkspaceCreated, at: second(0), sent: second(0), answers: []answer{
				{sent: second(0), at: second(0.2), status: contract.StatusMonitoringStarted},
			}},
			{id: ws, kind: contract.WorkspaceDeleted, at: second(10), sent: second(10), answers: []answer{
				{sent: second(10), at: second(10.2), status: contract.StatusDeletionScheduled, deleteAt: second(18)},
			}},
		},
		journal: journal{
			rows: map[string][]row{ws: {
				{at: second(0.1), monitored: true, eventAt: second(0)},
				{at: second(10.1), monitored: true, eventAt: second(0), deletionAt: second(10), deleteAt: second(18)},
				{at: second(18.1), eventAt: second(10), stoppedAt: second(18.1)},
			}},
			decisions: map[string][]decision{ws: {
				{at: second(0.1), kind: "ensure"}, {at: second(10.1), kind: "deletion"}, {at: second(18.1), kind: "stop"},
			}},
		},
	}
}

func (h history) rows() []row { return h.journal.rows[ws] }

func TestTheModelFindsNothingInAnOrdinaryHistory(t *testing.T) {
	t.Parallel()
	v := judge(ordinary())
	require.Empty(t, v.faults())
	require.Equal(t, 1, v.stops)
}

// Each case changes the ordinary history into one with a fault. A model that finds nothing proves nothing.
func TestTheModelFindsEachFault(t *testing.T) {
	t.Parallel()
	early := func(v verdict) []fault { return v.early }
	lost := func(v verdict) []fault { return v.lost }
	doubled := func(v verdict) []fault { return v.doubled }
	whileListed := func(v verdict) []fault { return v.whileListed }
	oldAnswer := func(v verdict) []fault { return v.oldAnswer }
	for name, tc := range map[string]struct {
		change func(h *history)
		found  func(v verdict) []fault
	}{
		"stopped within the grace period": {func(h *history) {
			h.rows()[1].deleteAt, h.rows()[2].stoppedAt = second(16), second(17)
			h.truth.lists[1] = list{asked: second(16.5), at: second(16.5)}
		}, early},
		"stopped before the time that the sender was promised": {func(h *history) { h.events[1].answers[0].deleteAt = second(19) }, early},
		"stopped by an earlier deletion, though a creation came in between": {func(h *history) {
			h.truth.spans[ws] = []span{{second(0), second(10)}, {second(11), second(15)}}
			h.events = append(h.events, event{id: ws, kind: contract.WorkspaceCreated, at: second(11), sent: second(11), answers: []answer{
				{sent: second(11), at: second(11.1), status: contract.StatusDeletionCancelled},
			}})
			h.journal.decisions[ws] = append(h.journal.decisions[ws], decision{at: second(11.05), kind: "ensure"})
			h.rows()[1].deletionAt = second(15)
		}, early},
		"stopped by an earlier deletion, though runs have seen the workspace in between": {func(h *history) {
			h.truth.spans[ws] = []span{{second(0), second(10)}, {second(10.5), second(15)}}
			for n := range sureRuns {
				h.journal.runs = append(h.journal.runs, run{
					listAt: second(11 + float64(n)), completedAt: second(11.1 + float64(n)), trigger: contract.TriggerSchedule,
				})
			}
		}, early},
		"stopped though it was never removed": {func(h *history) { h.truth.spans[ws] = []span{{from: second(0)}} }, early},
		"stopped while it had been listed for longer than an answer may be old": {func(h *history) {
			h.truth.spans[ws] = append(h.truth.spans[ws], span{from: second(19)})
			h.rows()[2].stoppedAt = second(80)
		}, whileListed},
		"stopped on an answer older than a minute": {func(h *history) { h.rows()[2].stoppedAt = second(80) }, oldAnswer},
		"stopped without asking again":             {func(h *history) { h.truth.lists = h.truth.lists[:1] }, oldAnswer},
		"stopped on an answer from within the grace period": {func(h *history) {
			h.truth.lists[1] = list{asked: second(17), at: second(17)}
		}, oldAnswer},
		"a creation that was answered and left no trace": {func(h *history) {
			h.journal.decisions[ws] = h.journal.decisions[ws][1:]
		}, lost},
		"a creation that only reconciliation made good": {func(h *history) {
			h.journal.decisions[ws][0].detail = "from reconciliation"
		}, lost},
		"a deletion that was answered and left no trace": {func(h *history) {
			delete(h.journal.decisions, ws)
			h.journal.decisions[ws] = []decision{{at: second(0.1), kind: "ensure"}}
			h.journal.rows[ws] = h.rows()[:1]
		}, lost},
		"a deletion that was dropped": {func(h *history) {
			h.rows()[2] = row{at: second(12), monitored: true, eventAt: second(0), cancelled: second(10)}
		}, lost},
		"a deletion that an older creation cancelled": {func(h *history) {
			h.events[0].answers = append(h.events[0].answers,
				answer{sent: second(11), at: second(11.1), status: contract.StatusDeletionCancelled})
		}, lost},
		"a store that was provisioned again for the same creation": {func(h *history) {
			h.journal.rows[ws] = append(h.rows(), row{at: second(20), monitored: true, eventAt: second(19)})
		}, doubled},
		"two requests that were told to have started the same store": {func(h *history) {
			h.events[0].answers = append(h.events[0].answers, h.events[0].answers[0])
		}, doubled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := ordinary()
			tc.change(&h)
			require.NotEmpty(t, tc.found(judge(h)))
		})
	}
}

func TestTheModelAllowsWhatNobodyCanKnow(t *testing.T) {
	t.Parallel()
	t.Run("listed again just before the stop", func(t *testing.T) {
		t.Parallel()
		h := ordinary()
		h.truth.spans[ws] = append(h.truth.spans[ws], span{from: second(18.08)})
		v := judge(h)
		require.Empty(t, v.faults())
		require.Equal(t, 1, v.raced)
	})
	t.Run("listed again for a moment that no run saw", func(t *testing.T) {
		t.Parallel()
		h := ordinary()
		h.truth.spans[ws] = []span{{second(0), second(10)}, {second(12), second(12.5)}}
		require.Empty(t, judge(h).faults())
	})
	t.Run("a deletion that a list ended", func(t *testing.T) {
		t.Parallel()
		h := ordinary()
		h.truth.spans[ws] = append(h.truth.spans[ws], span{from: second(11)})
		h.rows()[2] = row{at: second(13), monitored: true, eventAt: second(0), cancelled: second(10)}
		require.Empty(t, judge(h).faults())
	})
	t.Run("a store that came back with its workspace", func(t *testing.T) {
		t.Parallel()
		h := ordinary()
		h.truth.spans[ws] = append(h.truth.spans[ws], span{from: second(30)})
		h.journal.rows[ws] = append(h.rows(), row{at: second(31), monitored: true, eventAt: second(30.9)})
		require.Empty(t, judge(h).faults())
	})
	t.Run("an answer given again", func(t *testing.T) {
		t.Parallel()
		h := ordinary()
		again := h.events[0].answers[0]
		again.replayed = true
		h.events[0].answers = append(h.events[0].answers, again)
		require.Empty(t, judge(h).faults())
	})
}
