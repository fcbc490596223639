package e2e_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/durationpb"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/demo"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/temporalserver"
	"storekeeper/internal/worker"
	"storekeeper/tests/harness"
)

// invalidID is in every list, and never a store.
const invalidID = "../../etc x"

// workspace is one of a state: who has it listed, and what the store manager knows of it.
type workspace struct {
	listed int // bit 1: by one user, bit 2: by the other; by both it is in the list twice
	known  int // one of the constants below
	paused bool
}

const (
	unknown = iota
	tombstoned
	stored  // monitored, and nothing else
	sighted // and the list before lacked it
	held
	pinned
	pending // its deletion is under way already
	kinds
)

// randomStates are so many states, each of them another.
func randomStates(random *rand.Rand, count int) [][]workspace {
	var states [][]workspace
	seen := map[string]bool{}
	for len(states) < count {
		often := random.Float64() // from nearly nothing to nearly everything
		state := make([]workspace, 4+random.IntN(28))
		for i := range state {
			w := workspace{known: random.IntN(kinds), paused: random.IntN(8) == 0}
			for user := range 2 {
				if random.Float64() < often {
					w.listed |= 1 << user
				}
			}
			state[i] = w
		}
		if text := fmt.Sprint(state); !seen[text] {
			seen[text] = true
			states = append(states, state)
		}
	}
	return states
}

// listFault is what happens to one answer of the Auth Worker.
type listFault struct {
	name string
	// fault is the demo's; a status is answered in its place.
	fault  demo.Fault
	status int
	// after says what the run makes of it.
	after faultOutcome
}

type faultOutcome int

const (
	taken   faultOutcome = iota // the list is complete all the same
	retried                     // the run asks for another list
	guarded                     // the run ends and has done nothing
)

var listFaults = []listFault{
	{name: "none", after: taken},
	{name: "slow", fault: demo.FaultSlow, after: taken},
	{name: "empty", fault: demo.FaultEmpty, after: guarded},
	{name: "truncated", fault: demo.FaultTruncated, after: retried},
	{name: "status 500", fault: demo.FaultFailing, after: retried},
	{name: "status 429", status: http.StatusTooManyRequests, after: retried},
	{name: "no JSON", fault: demo.FaultGarbage, after: retried},
	{name: "an entry without an id", fault: demo.FaultEntryWithoutID, after: retried},
	{name: "fewer than it claims", fault: demo.FaultFewerThanClaimed, after: retried},
}

// spoiler stands before the demo Auth Worker and spoils one list when it is told to.
type spoiler struct {
	mu   sync.Mutex // one list at a time: the demo has one fault at a time
	auth *demo.AuthWorker
	next atomic.Pointer[listFault] // of the list that is asked for next; nil: none
	// again is called before the list after one that was of no use is answered.
	again  func()
	failed atomic.Bool
}

func (s *spoiler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault := s.next.Swap(nil)
	if s.failed.Swap(fault != nil && fault.after != taken) {
		s.again()
	}
	if fault == nil {
		fault = &listFaults[0]
	}
	if fault.status != 0 {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(fault.status)
		return
	}
	s.auth.SetFault(fault.fault)
	defer s.auth.SetFault(demo.FaultNone)
	req := r.Clone(r.Context())
	req.RequestURI, req.URL.Scheme, req.URL.Host = "", "http", strings.TrimPrefix(s.auth.URL(), "http://")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.CopyN(w, resp.Body, 1)
	_ = http.NewResponseController(w).Flush()
	if fault.fault == demo.FaultSlow {
		s.auth.SetFault(demo.FaultNone) // half of it is on its way: the rest may come
	}
	_, _ = io.Copy(w, resp.Body) // fails only when the caller has gone
}

// lane tries states one after the other, in a namespace of its own: a namespace has one run at a time.
type lane struct {
	*harness.Installation
	spoiler *spoiler
	users   [2]*harness.User
	stores  *storetest.Database // of the state that is tried
	api     atomic.Pointer[http.Handler]
}

func startLane(t *testing.T, temporal *temporalserver.Server, namespace string) *lane {
	t.Helper()
	environ, _ := standalone.DemoEnviron([]string{
		"WORKSPACE_RECONCILE_ENABLED=false", "STORE_MANAGER_URL=http://127.0.0.1", "DELETION_GRACE_PERIOD=0s",
		"RECONCILE_MAX_DELETE_PERCENT=100", "RECONCILE_MAX_DELETES=1000",
	})
	cfg, err := config.Load(environ, config.RoleWebhook)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	l := &lane{spoiler: &spoiler{}}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*l.api.Load()).ServeHTTP(w, r) }))
	t.Cleanup(api.Close)
	manager, err := storehttp.NewClient(api.URL, httpclient.Fixed(standalone.DemoBypassToken), nil)
	require.NoError(t, err)
	l.spoiler.auth, err = demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{
		WebhookSecret: standalone.DemoWebhookSecret, BypassToken: standalone.DemoBypassToken,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.spoiler.auth.Stop(context.Background()) })
	front := httptest.NewServer(l.spoiler)
	t.Cleanup(front.Close)
	auth, err := authclient.New(authclient.Options{
		BaseURL: front.URL, Token: httpclient.Fixed(standalone.DemoBypassToken), ListMaxAge: time.Millisecond,
	})
	require.NoError(t, err)
	c, err := client.NewLazyClient(client.Options{HostPort: temporal.Addr(), Namespace: namespace, Logger: telemetry.SDKLogger(zap.NewNop())})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = c.WorkflowService().RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	require.NoError(t, err)
	l.Installation = &harness.Installation{
		T: t, System: &standalone.System{AuthURL: l.spoiler.auth.URL(), Auth: l.spoiler.auth, Temporal: c},
		Orchestrator: orchestrator.New(c, namespace),
	}
	polling := make(chan struct{})
	(&split{}).run(t, func(ctx context.Context) error {
		return worker.Run(ctx, worker.Options{
			Temporal: c, Namespace: namespace, Manager: manager, AuthWorker: auth, Config: cfg, Log: zap.NewNop(), Metrics: metrics,
			Ready: func() { close(polling) },
		})
	})
	<-polling
	return l
}

// set makes the state that of the list and of an empty store manager, and returns the ids of its workspaces.
func (l *lane) set(state []workspace) []string {
	l.T.Helper()
	ctx := l.T.Context()
	var err error
	l.stores, err = storetest.TryOpen(ctx, storetest.Settings{})
	require.NoError(l.T, err)
	l.users = [2]*harness.User{l.SignUp(), l.SignUp()}
	admin(l.Installation, l.users[0], invalidID, true)
	api := storehttp.Handler(storehttp.Options{Manager: l.stores, Memory: l.stores, Ping: l.stores.Ping, Tokens: httpserver.FixedTokens(standalone.DemoBypassToken)})
	l.api.Store(&api)
	now := time.Now()
	var all, pins []string
	sightings := storemanager.ListMarks{ListAt: now.Add(-time.Minute)}
	for _, w := range state {
		id := uuid.NewString()
		all = append(all, id)
		for i, user := range l.users {
			if w.listed&(1<<i) != 0 {
				admin(l.Installation, user, id, true)
			}
		}
		if w.known >= stored {
			_, err := l.stores.Ensure(ctx, storemanager.EnsureRequest{StoreID: id, At: now.Add(-time.Hour)})
			require.NoError(l.T, err)
		}
		switch w.known {
		case tombstoned, pending:
			_, err = l.stores.BeginDeletion(ctx, storemanager.DeletionRequest{
				StoreID: id, At: now.Add(-time.Minute), DeleteAt: now.Add(time.Hour), Owner: "somebody",
			})
		case sighted:
			sightings.Unlisted = append(sightings.Unlisted, id)
		case held:
			_, err = l.stores.Hold(ctx, id, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "under investigation", Actor: "ann"}})
		case pinned:
			pins = append(pins, id)
		}
		require.NoError(l.T, err)
		if w.paused {
			_, err = l.stores.Pause(ctx, storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: id, Reason: "being migrated", Actor: "ann"}})
			require.NoError(l.T, err)
		}
	}
	require.NoError(l.T, l.stores.MarkUnlisted(ctx, sightings))
	require.NoError(l.T, l.stores.SetPins(ctx, pins))
	return all
}

// try runs twice with a complete list, each time after a list that the fault has spoiled or while it spoils it.
func (l *lane) try(state []workspace, faults [2]listFault) {
	l.T.Helper()
	all := l.set(state)
	want := []string{l.users[0].Default, l.users[1].Default} // what is monitored after a run
	missing, runs := 2, [2]struct{ sightings, orphans []string }{}
	for i, w := range state {
		id, is := all[i], w.known >= stored
		switch {
		case w.paused:
		case w.listed != 0 && !is:
			missing++
			is = true
		case w.listed == 0 && w.known == stored:
			runs[0].sightings, runs[1].orphans = append(runs[0].sightings, id), append(runs[1].orphans, id)
		case w.listed == 0 && w.known == sighted:
			runs[0].orphans = append(runs[0].orphans, id)
		}
		if is {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	for n, run := range runs {
		about := fmt.Sprintf("run %d of %+v with %v", n+1, state, faults)
		report := l.run(faults[n], about)
		require.Equal(l.T, []string{invalidID}, report.Quarantined, about)
		require.Equal(l.T, missing, report.Added, about)
		require.Len(l.T, run.sightings, report.FirstSightings, about)
		require.Len(l.T, run.orphans, report.Removed+report.FailedRemovals, about)
		for _, id := range run.orphans {
			if report.FailedRemovals > 0 { // so busy a machine that Temporal takes seconds: the run says so, and a later one asks again
				l.Eventually(about, func() bool {
					return l.Orchestrator.RequestDeletion(l.T.Context(), id, contract.Sighting{At: time.Now()}) == nil
				})
			}
			_, err := l.Orchestrator.LifecycleEnd(l.T.Context(), id)
			require.NoError(l.T, err, about)
		}
		want = slices.DeleteFunc(want, func(id string) bool { return slices.Contains(run.orphans, id) })
		require.Equal(l.T, want, ids(monitored(l.T, l.stores)), about)
		missing = 0
	}
	// The next state has another registry in the same namespace, to which the lifecycles of this one would be those of a lost registry.
	l.Eventually("the lifecycles of a state have ended", func() bool {
		waiting, err := l.Orchestrator.DeletionsPending(l.T.Context()) // fails until Temporal has the attributes of a new namespace
		for id := range waiting {
			_ = l.Temporal.TerminateWorkflow(l.T.Context(), contract.LifecycleID(id), "", "the state is over") // or it has ended
		}
		return err == nil && len(waiting) == 0
	})
	require.NoError(l.T, l.stores.Close())
	for _, user := range l.users {
		r := l.Do(http.MethodDelete, l.AuthURL+"/internal/admin/users/"+user.ID, "", "Authorization", "Bearer "+standalone.DemoBypassToken)
		require.Equal(l.T, http.StatusOK, r.Code, r.Body)
	}
}

// run runs until a run has had a complete list. A list of no use must have changed nothing.
func (l *lane) run(fault listFault, about string) contract.ReconcileReport {
	l.T.Helper()
	before := monitored(l.T, l.stores)
	var unchanged atomic.Bool
	l.spoiler.again = func() { unchanged.Store(maps.EqualFunc(before, monitored(l.T, l.stores), equalStores)) }
	l.spoiler.next.Store(&fault)
	report, err := reconcile(l.Installation, "")
	require.NoError(l.T, err, about)
	if fault.after == guarded {
		require.Contains(l.T, report.Guard, "empty", about)
		report, err = reconcile(l.Installation, "")
		require.NoError(l.T, err, about)
	}
	require.Empty(l.T, report.Guard, about)
	require.Equal(l.T, fault.after != taken, unchanged.Load(), about)
	return report
}

// equalStores leaves out who waits for a pending deletion: each run has somebody go on with one that nobody waits for.
func equalStores(a, b storemanager.Store) bool {
	for _, s := range []*storemanager.Store{&a, &b} {
		if s.Deletion != nil {
			deletion := *s.Deletion
			deletion.Owner = ""
			s.Deletion = &deletion
		}
	}
	return reflect.DeepEqual(a, b)
}

// A run counts when it has had a complete list: duplicates and invalid ids, which are in all of them, and slowness leave a list
// complete. The others change nothing, and the run asks for another list; after an empty one it ends, and another is needed.
// What no list tells, as that a part of it is missing, is the guard's affair, which is off here.
func TestTwoRunsWithACompleteListMakeAnyOfAHundredStatesRight(t *testing.T) {
	t.Parallel()
	temporal, err := temporalserver.Start(t.Context(), temporalserver.Options{Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(temporal.Stop)
	states := randomStates(rand.New(rand.NewPCG(4, 2026)), 100)
	var next atomic.Int32
	var lanes sync.WaitGroup
	for i := range 6 { // most of the time a run waits before it asks for another list
		lanes.Go(func() { // a failed require ends the lane, and the test has failed
			l := startLane(t, temporal, fmt.Sprintf("lane-%d", i))
			for n := int(next.Add(1)) - 1; n < len(states); n = int(next.Add(1)) - 1 {
				l.try(states[n], [2]listFault{listFaults[n%len(listFaults)], listFaults[n/len(listFaults)%len(listFaults)]})
			}
		})
	}
	lanes.Wait()
}
