package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/cli/exit"
	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
)

// synced is a demo sync backend, a subscriber of its store ws-1, and an edge that shows how far that is.
type synced struct {
	*operator
	backend *demo.SyncBackend
	events  chan livestore.Event // what the subscriber got
	// lookedAt is called at each look at the store, and answers how it is.
	lookedAt atomic.Pointer[func() (status string, processed int64)]
}

func setupSync(t *testing.T) *synced {
	t.Helper()
	backend, err := demo.StartSyncBackend(t.Context(), demo.SyncBackendOptions{Token: testToken})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, backend.Stop(ctx))
	})
	s := &synced{backend: backend, events: make(chan livestore.Event, 1000)}
	var head atomic.Int64
	s.look(func() (string, int64) { return "connected", head.Load() })
	conn, err := livestore.Dial(t.Context(), livestore.Options{
		URL: backend.URL(), StoreID: "ws-1", Payload: map[string]string{"serverBypass": testToken, "instanceId": "ws-1"},
	})
	require.NoError(t, err)
	var pulling sync.WaitGroup
	pulling.Go(func() {
		_ = conn.Pull(t.Context(), livestore.Cursor{}, func(_ context.Context, p livestore.Page) error { // it ends with the test
			for _, event := range p.Events {
				s.events <- event
				head.Store(event.Seq)
			}
			return nil
		})
	})
	t.Cleanup(pulling.Wait)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stores/ws-1" || r.Header.Get("Authorization") != "Bearer "+testToken {
			http.Error(w, `{"error":"No such store is known"}`, http.StatusNotFound)
			return
		}
		status, processed := (*s.lookedAt.Load())()
		_, _ = fmt.Fprintf(w, `{"id":"ws-1","status":%q,"head":%d,"processed":%d}`, status, processed, processed)
	})
	s.operator = setup(t, "STOREKEEPER_URL="+url, "LIVESTORE_SYNC_URL="+backend.URL())
	return s
}

func (s *synced) look(f func() (string, int64)) { s.lookedAt.Store(&f) }

// start runs a command beside the test.
func (s *synced) start(ctx context.Context, args ...string) <-chan outcome {
	ended := make(chan outcome, 1)
	go func() {
		var stdout, stderr bytes.Buffer
		code := Run(ctx, Options{Args: args, Stdout: &stdout, Stderr: &stderr, Environ: s.environ})
		ended <- outcome{exit.Code(code), stdout.String(), stderr.String()}
	}()
	return ended
}

func TestPushAndWatchItArrive(t *testing.T) {
	t.Parallel()
	s := setupSync(t)
	out := s.run(t, "push", "ws-1")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Regexp(t, `^ws-1: event 1 pushed\n  processed within \d+ ms\n$`, out.stdout)

	out = s.run(t, "push", "ws-1", "--name", "v1.Many", "--args", `{"n":1}`, "--count", "100")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, "ws-1: events 2 to 101 pushed\n")

	out = s.run(t, "push", "ws-1", "--json")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Empty(t, out.stderr)
	fields := out.fields(t)
	require.GreaterOrEqual(t, fields["processedMs"], 0.0)
	delete(fields, "processedMs")
	require.Equal(t, map[string]any{"instanceId": "ws-1", "first": 102.0, "last": 102.0}, fields)

	require.Len(t, s.events, 102)
	first, second := <-s.events, <-s.events
	require.Equal(t, "v1.Demo", first.Name)
	require.JSONEq(t, `{}`, string(first.Args))
	require.Equal(t, "v1.Many", second.Name)
	require.JSONEq(t, `{"n":1}`, string(second.Args))
}

func TestPushWaitsUntilTheStoreManagerHasProcessedTheEvent(t *testing.T) {
	t.Parallel()
	s := setupSync(t)
	looks := 0
	s.look(func() (string, int64) {
		looks++ // the first one is before the push
		return "connected", int64(max(0, looks-3))
	})
	require.Equal(t, exit.Done, s.run(t, "push", "ws-1").exit)
	require.Equal(t, 4, looks)
}

func TestPushWithoutWaitingDoesNotAskTheEdge(t *testing.T) {
	t.Parallel()
	s := setupSync(t)
	out := s.run(t, "push", "ws-1", "--no-wait", "--json", "--url", "http://"+closedPort(t))
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Equal(t, map[string]any{"instanceId": "ws-1", "first": 1.0, "last": 1.0}, out.fields(t))
	require.Equal(t, int64(1), (<-s.events).Seq)
}

func TestPushFindsTheSyncBackend(t *testing.T) {
	t.Parallel()
	s := setupSync(t)
	nowhere := "ws://" + closedPort(t)
	for name, tc := range map[string]struct {
		environ, args []string
	}{
		"by the flag":                  {[]string{"LIVESTORE_SYNC_URL=" + nowhere}, []string{"--sync-url", s.backend.URL()}},
		"by the store's own variable":  {[]string{"LIVESTORE_SYNC_URL=" + nowhere, "STORE_WS_1_SYNC_URL=" + s.backend.URL()}, nil},
		"by the variable for all":      {[]string{"LIVESTORE_SYNC_URL=" + s.backend.URL()}, nil},
		"with a path and a query kept": {nil, []string{"--sync-url", s.backend.URL() + "/path?x=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := setup(t, tc.environ...).run(t, append([]string{"push", "ws-1", "--no-wait"}, tc.args...)...)
			require.Equal(t, exit.Done, out.exit, out.stderr)
		})
	}
}

func TestPushesAtTheSameTimeAllSucceedOrAreToldThatTheyDidNot(t *testing.T) {
	t.Parallel()
	s := setupSync(t)
	const pushes = 10
	var outcomes []<-chan outcome
	for range pushes {
		outcomes = append(outcomes, s.start(t.Context(), "push", "ws-1", "--no-wait", "--json"))
	}
	lasts := map[any]bool{}
	for _, ended := range outcomes {
		out := <-ended
		if out.exit == exit.Refused {
			require.Equal(t, "overtaken", out.errorCode(t))
			continue
		}
		require.Equal(t, exit.Done, out.exit, out.stderr)
		lasts[out.fields(t)["last"]] = true
	}
	require.NotEmpty(t, lasts)
	for n := range len(lasts) { // each has a number of its own, and none was lost
		require.Equal(t, int64(n+1), (<-s.events).Seq)
	}
}

func TestPushTellsBeforehandThatWaitingWouldBeInVain(t *testing.T) {
	t.Parallel()
	s := setupSync(t)
	requireFailure := func(want exit.Code, code string, args ...string) {
		t.Helper()
		out := s.run(t, append([]string{"push", "--json"}, args...)...)
		require.Equal(t, want, out.exit, out.stderr)
		require.Equal(t, code, out.errorCode(t))
		require.Empty(t, out.stdout)
	}
	requireFailure(exit.NotFound, "not_found", "ws-2")
	requireFailure(exit.Unreachable, "unreachable", "ws-1", "--url", "http://"+closedPort(t))
	s.look(func() (string, int64) { return "stopped", 0 })
	requireFailure(exit.NotFound, "not_found", "ws-1")
	s.look(func() (string, int64) { return "not_configured", 0 })
	requireFailure(exit.Refused, "not_configured", "ws-1")

	ctx, cancel := context.WithCancel(t.Context())
	s.look(func() (string, int64) {
		cancel()
		return "connected", 0
	})
	out := s.runContext(ctx, t, "push", "ws-1")
	require.Equal(t, exit.Interrupted, out.exit)
	require.Contains(t, out.stderr, "nothing was pushed")
	require.Empty(t, s.events)
}

func TestAnEventThatDoesNotArriveIsPushedAllTheSame(t *testing.T) {
	t.Parallel()
	s := setupSync(t)
	s.look(func() (string, int64) { return "disconnected", 0 })
	out := s.run(t, "push", "ws-1", "--timeout", "500ms", "--json")
	require.Equal(t, exit.Accepted, out.exit, out.stderr)
	require.Equal(t, "accepted", out.errorCode(t))
	require.Contains(t, out.stderr, "event 1 is at the sync backend, but was not processed within 500ms: the store's connection is disconnected")
	require.Equal(t, map[string]any{"instanceId": "ws-1", "first": 1.0, "last": 1.0}, out.fields(t))

	// Whoever does not want to wait interrupts it.
	ctx, cancel := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	stdout := &notifyingBuffer{written: cancel} // by what tells that the event is pushed
	code := Run(ctx, Options{Args: []string{"push", "ws-1"}, Stdout: stdout, Stderr: &stderr, Environ: s.environ})
	require.Equal(t, int(exit.Interrupted), code)
	require.Equal(t, "ws-1: event 2 pushed\n", stdout.String())
	require.Contains(t, stderr.String(), "interrupted: event 2 is at the sync backend; look with starter status ws-1")
}

func TestAFaultySyncBackendIsTold(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault demo.SyncFault
		token string
		exit  exit.Code
		code  string
		says  string
	}{
		"it refuses all":      {demo.SyncFaultRefuse, testToken, exit.Unreachable, "unreachable", "status 503"},
		"it refuses a token":  {demo.SyncFaultNone, "bypass-token-of-another", exit.Refused, "unauthorized", "SERVER_BYPASS_TOKEN"},
		"it fails":            {demo.SyncFaultFailing, testToken, exit.Unreachable, "unreachable", "UnknownError"},
		"it has a defect":     {demo.SyncFaultDefect, testToken, exit.Unreachable, "unreachable", "Defect"},
		"it does not answer":  {demo.SyncFaultMute, testToken, exit.Unreachable, "unreachable", "whether the event was pushed is not known"},
		"it wants no token":   {demo.SyncFaultNone, "", exit.Refused, "unauthorized", "refused the token"},
		"it is not out there": {demo.SyncFaultNone, testToken, exit.Unreachable, "unreachable", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setupSync(t)
			s.backend.SetFault(tc.fault)
			address := s.backend.URL()
			if tc.says == "connection refused" {
				address = "ws://" + closedPort(t)
			}
			c := &operator{[]string{"SERVER_BYPASS_TOKEN=" + tc.token}}
			out := c.run(t, "push", "ws-1", "--no-wait", "--json", "--timeout", "2s", "--sync-url", address+"/?key=query-that-must-not-show")
			require.Equal(t, tc.exit, out.exit, out.stderr)
			require.Equal(t, tc.code, out.errorCode(t))
			require.Contains(t, out.stderr, tc.says)
			require.Contains(t, out.stderr, address)
			require.NotContains(t, out.stderr, "query-that-must-not-show")
			require.NotContains(t, out.stderr, "bypass-token")
		})
	}
}

func TestAnInterruptedPushSaysThatItsOutcomeIsNotKnown(t *testing.T) {
	t.Parallel()
	s := setupSync(t)
	s.backend.SetFault(demo.SyncFaultMute)
	ctx, cancel := context.WithCancel(t.Context())
	ended := s.start(ctx, "push", "ws-1", "--no-wait")
	require.Eventually(t, func() bool { return s.backend.Connections() == 2 }, 10*time.Second, time.Millisecond)
	cancel()
	out := <-ended
	require.Equal(t, exit.Interrupted, out.exit)
	require.Regexp(t, "whether the event was pushed is not known|nothing was pushed", out.stderr)
}

func TestABadPushIsAUsageErrorAndReachesNobody(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"no id":                        {nil, "one store id is needed"},
		"an id that can be no store's": {[]string{"../etc"}, "3 to 64 letters"},
		"no name":                      {[]string{"ws-1", "--name", ""}, "--name"},
		"arguments that are no JSON":   {[]string{"ws-1", "--args", "{n:1}"}, "--args"},
		"no event":                     {[]string{"ws-1", "--count", "0"}, "--count"},
		"too many events":              {[]string{"ws-1", "--count", "101"}, "1 to 100"},
		"a URL of another kind":        {[]string{"ws-1", "--sync-url", "ftp://host"}, "--sync-url"},
		"a URL that holds a password":  {[]string{"ws-1", "--sync-url", "ws://u:" + testToken + "@host"}, "--sync-url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, "STOREKEEPER_URL=http://"+closedPort(t), "LIVESTORE_SYNC_URL=ws://"+closedPort(t))
			out := c.run(t, append([]string{"push", "--json"}, tc.args...)...)
			require.Equal(t, exit.Usage, out.exit, out.stderr)
			require.Equal(t, "usage", out.errorCode(t))
			require.Contains(t, out.stderr, tc.says)
		})
	}
	out := setup(t).run(t, "push", "--help")
	require.Equal(t, exit.Done, out.exit)
	require.Contains(t, out.stdout, "starter push ws-1")
}
