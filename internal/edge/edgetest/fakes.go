package edgetest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/build"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/orchestrator"
)

// ErrDown is why Temporal can't be reached. It names an address, which is for nobody to read.
var ErrDown = errors.New("dial tcp 10.9.8.7:7233: connection refused")

// Orchestrator is a Temporal whose outages are at the test's command.
type Orchestrator struct {
	mu sync.Mutex
	// OnApply nil answers monitoring_started.
	OnApply func(context.Context, contract.Event) (contract.Result, error)
	events  []contract.Event
	waits   []time.Duration // of events
	// Down: it can't be reached. NoWorkers: it can, and nobody polls.
	Down, NoWorkers bool
	// Polling are the workers; nil: one of this version.
	Polling []orchestrator.Worker
	// Age is that of the oldest event that waits for a worker.
	Age time.Duration
	// Paused and Every are those of the schedule.
	Paused bool
	Every  time.Duration
	// Note is what ResumeSchedule has left on it.
	Note      string
	Lifecycle *contract.LifecycleStatus
	List      *orchestrator.ListAttempt
	// Attended is how many deletions have lifecycles that wait for them.
	Attended int
	// Run is what a reconcile starts; nil: one is under way already.
	Run      client.WorkflowRun
	UnderWay orchestrator.UnderWay
	// Started are the runs that were asked for.
	Started []contract.ReconcileInput
	// Requested has what reconciles are requested with. Requests counts the requests.
	Requested chan contract.ReconcileInput
	Requests  atomic.Int32
}

// Set is for what changes while others ask.
func (f *Orchestrator) Set(change func(*Orchestrator)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *Orchestrator) unreachable() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Down {
		return errors.Join(orchestrator.ErrUnavailable, ErrDown)
	}
	return nil
}

// Apply is that of an orchestrator.Client.
func (f *Orchestrator) Apply(ctx context.Context, ev contract.Event, wait time.Duration) (contract.Result, error) {
	if err := f.unreachable(); err != nil {
		return contract.Result{}, err
	}
	f.mu.Lock()
	f.events, f.waits = append(f.events, ev), append(f.waits, wait)
	apply := f.OnApply
	f.mu.Unlock()
	if apply != nil {
		return apply(ctx, ev)
	}
	return contract.Result{Status: contract.StatusMonitoringStarted}, nil
}

// Applied are the events that have come.
func (f *Orchestrator) Applied() []contract.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]contract.Event(nil), f.events...)
}

// Waits are for how long the outcomes of the events were waited for.
func (f *Orchestrator) Waits() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Duration(nil), f.waits...)
}

// Request requests a reconcile as an edge does.
func (f *Orchestrator) Request(ctx context.Context) (requested bool, err error) {
	return true, f.RequestReconcile(ctx, contract.ReconcileInput{Trigger: contract.TriggerEdge})
}

// LifecycleStatus is that of an orchestrator.Client.
func (f *Orchestrator) LifecycleStatus(context.Context, string) (*contract.LifecycleStatus, error) {
	return f.Lifecycle, f.unreachable()
}

// Reachable is that of an orchestrator.Client.
func (f *Orchestrator) Reachable(context.Context) error { return f.unreachable() }

// WorkersPolling is that of an orchestrator.Client.
func (f *Orchestrator) WorkersPolling(context.Context) error {
	if f.NoWorkers {
		return orchestrator.ErrNoWorker
	}
	return f.unreachable()
}

// Backlog is that of an orchestrator.Client.
func (f *Orchestrator) Backlog(context.Context) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Age, nil
}

// StartReconcile is that of an orchestrator.Client.
func (f *Orchestrator) StartReconcile(ctx context.Context, in contract.ReconcileInput) (orchestrator.ReconcileRun, error) {
	if err := f.unreachable(); err != nil {
		return orchestrator.ReconcileRun{}, err
	}
	f.mu.Lock()
	f.Started = append(f.Started, in)
	f.mu.Unlock()
	if f.Run == nil {
		return orchestrator.ReconcileRun{}, orchestrator.ErrReconcileRunning
	}
	return orchestrator.New(oneRun{run: f.Run}, "").StartReconcile(ctx, in)
}

// RequestReconcile is that of an orchestrator.Client.
func (f *Orchestrator) RequestReconcile(_ context.Context, in contract.ReconcileInput) error {
	f.Requests.Add(1)
	if err := f.unreachable(); err != nil {
		return err
	}
	f.Requested <- in
	return nil
}

// RequireRequest waits until an edge has requested a reconcile.
func (f *Orchestrator) RequireRequest(t *testing.T) {
	t.Helper()
	select {
	case in := <-f.Requested:
		require.Equal(t, contract.TriggerEdge, in.Trigger)
		require.False(t, in.Confirm, "an edge's run confirms nothing")
	case <-time.After(30 * time.Second):
		require.Fail(t, "no reconcile was requested")
	}
}

// ReconcileRunning is that of an orchestrator.Client.
func (f *Orchestrator) ReconcileRunning(context.Context) (orchestrator.UnderWay, error) {
	err := f.unreachable()
	f.mu.Lock()
	defer f.mu.Unlock()
	run := f.UnderWay
	switch {
	case f.Run != nil:
		run = orchestrator.UnderWay{}
	case run.StartedAt.IsZero():
		run.StartedAt, run.LastSign = time.Now(), time.Now()
	}
	if f.List != nil {
		run.List = new(*f.List)
	}
	return run, err
}

// CountDeletionsPending is that of an orchestrator.Client.
func (f *Orchestrator) CountDeletionsPending(context.Context) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Attended, nil
}

// Workers is that of an orchestrator.Client.
func (f *Orchestrator) Workers(context.Context) ([]orchestrator.Worker, error) {
	if f.NoWorkers {
		return nil, f.unreachable()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Polling == nil {
		return []orchestrator.Worker{{Identity: "a worker", Version: build.Version, SeenAt: time.Now()}}, nil
	}
	return f.Polling, nil
}

// ReconcileSchedule is that of an orchestrator.Client.
func (f *Orchestrator) ReconcileSchedule(context.Context) (orchestrator.Schedule, error) {
	return orchestrator.Schedule{Every: f.Every, Paused: f.Paused, Note: "paused by " + StoreA}, f.unreachable()
}

// ResumeSchedule is that of an orchestrator.Client.
func (f *Orchestrator) ResumeSchedule(ctx context.Context, note string) (orchestrator.Schedule, error) {
	before, err := f.ReconcileSchedule(ctx)
	if err != nil || !before.Paused {
		return orchestrator.Schedule{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Paused, f.Note = false, note
	return before, nil
}

// oneRun is a Temporal client that can only start one run.
type oneRun struct {
	client.Client
	run client.WorkflowRun
}

// ExecuteWorkflow starts the run.
func (o oneRun) ExecuteWorkflow(context.Context, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	return o.run, nil
}

// Reconcile is a run that ends when Done is closed.
type Reconcile struct {
	client.WorkflowRun
	Done   chan struct{}
	Report contract.ReconcileReport
	Err    error
}

// Finished is a run that has ended.
func Finished(report contract.ReconcileReport, err error) *Reconcile {
	run := &Reconcile{Done: make(chan struct{}), Report: report, Err: err}
	close(run.Done)
	return run
}

// GetRunID is "run-1".
func (*Reconcile) GetRunID() string { return "run-1" }

// Get waits for the end.
func (r *Reconcile) Get(ctx context.Context, out any) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.Done:
		*out.(*contract.ReconcileReport) = r.Report
		return r.Err
	}
}

// Directory is a real client of the Auth Worker that asks a server of its own, whose list and outages are at the test's command.
type Directory struct {
	mu sync.Mutex
	// List is the body of its answer, Err what the client says instead unless it is nil.
	List string
	Err  error
	// Asked counts the lists.
	Asked atomic.Int32
}

// Set is for what changes while others ask.
func (d *Directory) Set(change func(*Directory)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// Directory is that of an authclient.Client.
func (d *Directory) Directory(ctx context.Context) (*authclient.Directory, error) {
	d.Asked.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Err != nil {
		return nil, d.Err
	}
	body := d.List
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	defer server.Close()
	transport := httpclient.Transport()
	defer transport.CloseIdleConnections()
	c, err := authclient.New(authclient.Options{BaseURL: server.URL, Token: httpclient.Fixed("token"), HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return nil, err
	}
	return c.Directory(ctx)
}

// AuthWorker is a client of the Auth Worker that has asked already, a second ago.
type AuthWorker struct {
	// Err is how the newest list went.
	Err error
	// Is is what it says instead, unless nil.
	Is *authclient.Status
}

// Status is that of an authclient.Client.
func (a *AuthWorker) Status() authclient.Status {
	if a.Is != nil {
		return *a.Is
	}
	return authclient.Status{EndedAt: time.Now().Add(-time.Second), Err: a.Err}
}
