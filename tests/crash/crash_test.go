package crash_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
)

// gracePeriod leaves time for some reconcile runs within it.
const gracePeriod = 8 * time.Second

// scene is an installation with its journal, and the world around it.
type scene struct {
	*installation
	auth    *authWorker
	post    *post
	dir     string
	grace   time.Duration
	patient time.Duration // how long it may take until both sides are equal
}

// setUp starts an installation. The settings come on top of those of a busy one: a list a second, and a guard that lets through what lists
// remove.
func setUp(t *testing.T, l layout, grace time.Duration, settings ...string) *scene {
	t.Helper()
	s := &scene{dir: t.TempDir(), auth: startAuthWorker(t), grace: grace, patient: 3 * time.Minute}
	if *long {
		s.patient = 8 * time.Minute // the longest pauses between two attempts are some minutes
	}
	prepareRegistry(t, s.dir)
	s.auth.populate(10)
	s.installation = startInstallation(t, l, s.dir, s.auth, append([]string{
		"DELETION_GRACE_PERIOD=" + grace.String(), "WORKSPACE_RECONCILE_INTERVAL_MS=1000", "AUTH_LIST_MAX_AGE=1s",
		"RECONCILE_MAX_DELETE_PERCENT=100", "RECONCILE_MAX_DELETES=1000000", "WEBHOOK_WAIT=1s",
	}, settings...)...)
	s.post = &post{edgeURL: s.edgeURL}
	return s
}

// end waits until all is quiet and both sides are equal, stops the installation, and judges.
func (s *scene) end() verdict {
	s.t.Helper()
	var differences []fault
	for deadline := time.Now().Add(s.patient); time.Now().Before(deadline); pause(s.t.Context(), 500*time.Millisecond) {
		if differences = s.differences(); len(differences) == 0 {
			break
		}
	}
	s.requireNothingSaidOfTheRegistry()
	s.stop()
	requireNoOwnEnds(s.t, s.installation)
	h := history{truth: s.auth.history(), events: s.post.history(), journal: readJournal(s.t, s.dir), grace: s.grace}
	v := judge(h)
	v.lost = append(v.lost, differences...)
	s.t.Logf("%s: %d events, %d answered, %d lists, %d reconcile runs, %s", s.layout.name,
		len(h.events), h.answered(), len(h.truth.lists), len(h.journal.runs), v)
	require.Equal(s.t, h.journal.provisioned, v.provisions, "the journal has missed some")
	require.Equal(s.t, h.journal.stopped, v.stops, "the journal has missed some")
	h.tellOf(s.t, v.faults())
	return v
}

func (h history) answered() int {
	n := 0
	for _, e := range h.events {
		if e.answered() {
			n++
		}
	}
	return n
}

// requireNothingSaidOfTheRegistry: whatever was killed, no registry was lost.
func (s *scene) requireNothingSaidOfTheRegistry() {
	s.t.Helper()
	var health struct{ Reasons, Warnings []string }
	require.NoError(s.t, json.Unmarshal([]byte(s.edge("/health").Body), &health))
	for _, said := range append(health.Reasons, health.Warnings...) {
		if strings.HasPrefix(said, "disk: ") { // the machine has little room: that is nobody's loss
			continue
		}
		require.NotContains(s.t, strings.ToLower(said), "registry")
	}
}

// differences are what keeps both sides from being equal, and what is still under way.
func (s *scene) differences() []fault {
	monitored, err := s.monitored()
	if err != nil {
		return []fault{{"the edge", err.Error()}}
	}
	var found []fault
	listed := s.auth.listed()
	for _, id := range slices.Sorted(maps.Keys(listed)) {
		switch pending, is := monitored[id]; {
		case !is:
			found = append(found, fault{id, "listed, and not monitored at the end"})
		case pending:
			found = append(found, fault{id, "listed, and its deletion is pending at the end"})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(monitored)) {
		if !listed[id] {
			found = append(found, fault{id, fmt.Sprintf("not listed, and monitored at the end (deletion pending: %t)", monitored[id])})
		}
	}
	if n, err := s.lifecycles(); err != nil || n > 0 {
		found = append(found, fault{"temporal", fmt.Sprintf("%d lifecycles are under way at the end: %v", n, err)})
	}
	return found
}

// monitored are the stores that the edge shows, and whether their deletion is pending.
func (s *scene) monitored() (map[string]bool, error) {
	all := map[string]bool{}
	for cursor := ""; ; {
		r := s.edge("/stores?limit=1000&cursor=" + cursor)
		var page struct {
			Stores []struct {
				ID       string           `json:"id"`
				Deletion *json.RawMessage `json:"deletion"`
			} `json:"stores"`
			NextCursor string `json:"nextCursor"`
		}
		if err := json.Unmarshal([]byte(r.Body), &page); err != nil || r.Code != 200 {
			return nil, fmt.Errorf("the edge does not list stores: %d %s", r.Code, r.Body)
		}
		for _, st := range page.Stores {
			all[st.ID] = st.Deletion != nil
		}
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

// lifecycles counts those that run.
func (s *scene) lifecycles() (int64, error) {
	c, err := client.NewLazyClient(client.Options{HostPort: s.temporalAddress})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	found, err := c.CountWorkflow(s.t.Context(), &workflowservice.CountWorkflowExecutionsRequest{
		Query: fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", contract.TypeWorkspaceLifecycle),
	})
	return found.GetCount(), err
}

func (s *scene) eventually(what string, condition func() bool) {
	s.t.Helper()
	require.Eventually(s.t, condition, s.patient, 50*time.Millisecond, what)
}

func TestNothingIsLostDoubledOrStoppedWronglyWhateverIsKilled(t *testing.T) {
	t.Parallel()
	for _, l := range []layout{together, apart} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			m := mix{events: 150, kills: 5, seed: *seed}
			if *long {
				m.events, m.kills = 1500, 60
			}
			t.Logf("%d events of %d senders, %d kills; -seed %d repeats the choices", m.events, senders, m.kills, m.seed)
			s := setUp(t, l, gracePeriod)
			s.auth.populate(m.events / 2)
			m.auth, m.post = s.auth, s.post
			m.run(t.Context(), s.installation)
			s.awaitReady()
			v := s.end()
			requireNone(t, v)
			require.NotZero(t, v.stops, "nothing was put to the test")
		})
	}
}

func requireNone(t *testing.T, v verdict) {
	t.Helper()
	require.Empty(t, v.faults(), v.String())
}
