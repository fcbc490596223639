package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret      = "the-webhook-secret"
	otherSecret = "the-next-webhook-secret"
	token       = "the-bypass-token"
	storeA      = "0b5a3b46-7a2e-4a6a-9a53-0d4c1d0c8f11"
	userID      = "5e5b9d0a-0f6e-4b0e-8a57-1f2f5f9a7a10"
)

type fixture struct {
	*Server
	temporal *fakeOrchestrator
	registry *storetest.Stores
	shared   *storetest.Stores // instead of one of its own
	auth     *fakeAuthWorker   // nil: workers are other processes
	config   *config.Config
	log      *logBuffer
	url      string
}

// setup returns an edge whose handler is served; each change applies before it is made. Whatever it answers or logs is searched
// for the secrets, and whatever it answers must be as openapi.json says.
func setup(t *testing.T, changes ...func(*fixture)) *fixture {
	t.Helper()
	registry, err := storetest.TryOpen(t.Context(), storetest.Settings{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	f := &fixture{
		temporal: &fakeOrchestrator{requested: make(chan contract.ReconcileInput, 10)},
		registry: registry,
		auth:     &fakeAuthWorker{},
		log:      &logBuffer{},
		config: &config.Config{
			WebhookSecrets: config.Secrets{secret, otherSecret}, BypassToken: token, WebhookWait: time.Second,
			WebhookMaxBacklog: time.Minute,
			ReconcileEnabled:  true, ReconcileInterval: config.Milliseconds(time.Hour), ManualReconcileLimit: config.Milliseconds(time.Minute),
		},
	}
	for _, change := range changes {
		change(f)
	}
	if f.shared != nil {
		f.registry = f.shared
	}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), f.log, zap.DebugLevel))
	metrics, err := telemetry.NewMetrics(log)
	require.NoError(t, err)
	o := Options{Config: f.config, Orchestrator: f.temporal, Stores: f.registry, Metrics: metrics, Log: log}
	if f.auth != nil {
		o.AuthWorker = f.auth
	}
	f.Server, err = New(o)
	require.NoError(t, err)
	f.repairAfter = time.Millisecond
	f.handler = documented(t, f.handler)
	server := httptest.NewServer(f.Handler())
	f.url = server.URL
	t.Cleanup(func() {
		server.Close()
		requireNoSecret(t, f.log.String())
	})
	return f
}

// run serves the edge by Run instead, and returns its address and what ends it.
func (f *fixture) run(t *testing.T) (address string, stop func()) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	f.url = "http://" + l.Addr().String()
	return l.Addr().String(), stop
}

type response struct {
	status int
	header http.Header
	body   string
}

func (r response) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &v), r.body)
	return v
}

// do sends a request; headers are names and values in turn.
func (f *fixture) do(t *testing.T, method, path, body string, headers ...string) response {
	t.Helper()
	resp, err := f.exchange(t, method, path, body, headers...)
	require.NoError(t, err)
	var header bytes.Buffer
	require.NoError(t, resp.header.Write(&header))
	requireNoSecret(t, header.String()+resp.body)
	require.NotEmpty(t, resp.header.Get("X-Request-Id"))
	return resp
}

// exchange is do for goroutines: it asserts nothing.
func (f *fixture) exchange(t *testing.T, method, path, body string, headers ...string) (response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := httpClient(t).Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(text)}, err
}

func httpClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// get brings the token.
func (f *fixture) get(t *testing.T, path string) response {
	t.Helper()
	return f.do(t, http.MethodGet, path, "", "Authorization", "Bearer "+token)
}

func (f *fixture) ensure(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := f.registry.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: time.Now()})
		require.NoError(t, err)
	}
}

func (f *fixture) record(t *testing.T, id, failure string, report contract.ReconcileReport) {
	t.Helper()
	raw, err := json.Marshal(report)
	require.NoError(t, err)
	require.NoError(t, f.registry.RecordReconcile(t.Context(), storemanager.ReconcileRun{
		RunID: id, StartedAt: report.CompletedAt.Add(-time.Second), CompletedAt: report.CompletedAt, Error: failure, Report: raw,
	}))
}

func requireNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, s := range []string{secret, otherSecret, token} {
		require.NotContains(t, text, s)
	}
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) Sync() error { return nil }

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var errDown = errors.New("dial tcp 10.9.8.7:7233: connection refused")

// fakeOrchestrator is a Temporal whose outages are at the test's command.
type fakeOrchestrator struct {
	mu sync.Mutex
	// apply nil answers monitoring_started.
	apply     func(context.Context, contract.Event) (contract.Result, error)
	events    []contract.Event
	waits     []time.Duration // of events
	down      bool
	noWorkers bool
	backlog   time.Duration
	paused    bool
	every     time.Duration
	lifecycle *contract.LifecycleStatus
	list      *orchestrator.ListAttempt
	attended  int                // deletions that lifecycles wait for
	run       client.WorkflowRun // nil: a run is under way already
	underWay  orchestrator.UnderWay
	requested chan contract.ReconcileInput
	requests  atomic.Int32 // RequestReconcile was called
}

func (f *fakeOrchestrator) set(change func(*fakeOrchestrator)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeOrchestrator) unreachable() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errors.Join(orchestrator.ErrUnavailable, errDown)
	}
	return nil
}

func (f *fakeOrchestrator) Apply(ctx context.Context, ev contract.Event, wait time.Duration) (contract.Result, error) {
	if err := f.unreachable(); err != nil {
		return contract.Result{}, err
	}
	f.mu.Lock()
	f.events, f.waits = append(f.events, ev), append(f.waits, wait)
	apply := f.apply
	f.mu.Unlock()
	if apply != nil {
		return apply(ctx, ev)
	}
	return contract.Result{Status: contract.StatusMonitoringStarted}, nil
}

func (f *fakeOrchestrator) applied() []contract.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]contract.Event(nil), f.events...)
}

func (f *fakeOrchestrator) LifecycleStatus(context.Context, string) (*contract.LifecycleStatus, error) {
	return f.lifecycle, f.unreachable()
}

func (f *fakeOrchestrator) Reachable(context.Context) error { return f.unreachable() }

func (f *fakeOrchestrator) WorkersPolling(context.Context) error {
	if f.noWorkers {
		return orchestrator.ErrNoWorker
	}
	return f.unreachable()
}

func (f *fakeOrchestrator) Backlog(context.Context) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.backlog, nil
}

func (f *fakeOrchestrator) StartReconcile(ctx context.Context, in contract.ReconcileInput) (orchestrator.ReconcileRun, error) {
	if err := f.unreachable(); err != nil {
		return orchestrator.ReconcileRun{}, err
	}
	if f.run == nil {
		return orchestrator.ReconcileRun{}, orchestrator.ErrReconcileRunning
	}
	return orchestrator.New(oneRun{run: f.run}, "").StartReconcile(ctx, in)
}

func (f *fakeOrchestrator) RequestReconcile(_ context.Context, in contract.ReconcileInput) error {
	f.requests.Add(1)
	if err := f.unreachable(); err != nil {
		return err
	}
	f.requested <- in
	return nil
}

func (f *fakeOrchestrator) ReconcileRunning(context.Context) (orchestrator.UnderWay, error) {
	err := f.unreachable()
	f.mu.Lock()
	defer f.mu.Unlock()
	run := f.underWay
	switch {
	case f.run != nil:
		run = orchestrator.UnderWay{}
	case run.StartedAt.IsZero():
		run.StartedAt, run.LastSign = time.Now(), time.Now()
	}
	if f.list != nil {
		run.List = new(*f.list)
	}
	return run, err
}

func (f *fakeOrchestrator) CountDeletionsPending(context.Context) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.attended, nil
}

func (f *fakeOrchestrator) ReconcileSchedule(context.Context) (orchestrator.Schedule, error) {
	return orchestrator.Schedule{Every: f.every, Paused: f.paused, Note: "paused by " + storeA}, f.unreachable()
}

// oneRun is a Temporal client that can only start one run.
type oneRun struct {
	client.Client
	run client.WorkflowRun
}

func (o oneRun) ExecuteWorkflow(context.Context, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	return o.run, nil
}

// fakeRun is a run that ends when done is closed.
type fakeRun struct {
	client.WorkflowRun
	done   chan struct{}
	report contract.ReconcileReport
	err    error
}

func (*fakeRun) GetRunID() string { return "run-1" }

func (r *fakeRun) Get(ctx context.Context, out any) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		*out.(*contract.ReconcileReport) = r.report
		return r.err
	}
}

// fakeAuthWorker is a client of the Auth Worker that has asked already, a second ago.
type fakeAuthWorker struct {
	mu     sync.Mutex
	err    error
	status *authclient.Status // instead
}

func (a *fakeAuthWorker) Status() authclient.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status != nil {
		return *a.status
	}
	return authclient.Status{EndedAt: time.Now().Add(-time.Second), Err: a.err}
}
