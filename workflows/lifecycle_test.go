package workflows_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.uber.org/zap"

	"storekeeper/activities"
	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/worker"
	"storekeeper/workflows"
)

const storeID = "0b9dd8a5-6bd6-4d4b-8b50-0c1f3a3f0001"

// fakeAuthWorker answers the re-check from memory.
type fakeAuthWorker struct {
	mu     sync.Mutex
	listed map[string]bool
	others int
	hash   string // of each list
	err    error
	asked  int
	now    func() time.Time
	// then is called at the end of each answer.
	then func(asked int)
}

func (f *fakeAuthWorker) Absent(_ context.Context, id string) (authclient.Absence, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	entries := f.others
	if f.listed[id] {
		entries++
	}
	answer := authclient.Absence{Absent: !f.listed[id], ListEntries: entries, ListHash: f.hash, FetchedAt: f.now()}
	if f.then != nil {
		f.then(f.asked)
	}
	return answer, f.err
}

func (f *fakeAuthWorker) set(change func(*fakeAuthWorker)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// flakyKeeper is a real registry that can be out of reach.
type flakyKeeper struct {
	*storetest.Database
	mu   sync.Mutex
	down bool
	// gullible: it takes each creation for one that it knew already.
	gullible bool
}

func (k *flakyKeeper) Ensure(ctx context.Context, r storemanager.EnsureRequest) (storemanager.EnsureResult, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return storemanager.EnsureResult{}, errors.New("connection refused")
	}
	if k.gullible {
		return storemanager.EnsureResult{StoreID: r.StoreID, Outcome: storemanager.EnsureExists}, nil
	}
	return k.Registry.Ensure(ctx, r)
}

func (k *flakyKeeper) Stop(ctx context.Context, r storemanager.StopRequest) (storemanager.StopResult, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return storemanager.StopResult{}, errors.New("connection refused")
	}
	return k.Registry.Stop(ctx, r)
}

func (k *flakyKeeper) CancelDeletion(ctx context.Context, r storemanager.CancelRequest) (storemanager.Store, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return storemanager.Store{}, errors.New("connection refused")
	}
	return k.Registry.CancelDeletion(ctx, r)
}

func (k *flakyKeeper) setDown(down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = down
}

// bundle is one lifecycle in the SDK's test environment, on a real registry that shares its clock.
type bundle struct {
	*testsuite.TestWorkflowEnvironment
	t     *testing.T
	start time.Time
	auth  *fakeAuthWorker
	store *flakyKeeper
}

func setup(t *testing.T) *bundle {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(telemetry.SDKLogger(zap.NewNop()))
	env := suite.NewTestWorkflowEnvironment()
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	env.SetStartTime(start)
	env.SetTestTimeout(20 * time.Second)
	registry, err := storetest.TryOpen(t.Context(), storetest.Settings{Now: env.Now})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)

	b := &bundle{
		TestWorkflowEnvironment: env, t: t, start: start,
		auth: &fakeAuthWorker{listed: map[string]bool{}, others: 5, now: env.Now}, store: &flakyKeeper{Database: registry},
	}
	worker.RegisterWorkflows(env)
	for _, a := range []any{
		&activities.Stores{Manager: b.store, GracePeriod: 24 * time.Hour, Metrics: metrics, Now: env.Now},
		&activities.Authority{AuthWorker: b.auth},
	} {
		env.RegisterActivity(a)
	}
	return b
}

func (b *bundle) event(kind contract.EventType, delivery string, at time.Duration) contract.Event {
	return contract.Event{
		DeliveryID: delivery, Type: kind, InstanceID: storeID, Timestamp: b.start.Add(at), Source: contract.SourceWebhook,
	}
}

// outcome is filled when the update it belongs to has been answered.
type outcome struct {
	contract.Result
	err error
}

// send sends the event as an update, after the given workflow time.
func (b *bundle) send(after time.Duration, ev contract.Event) *outcome {
	o := &outcome{}
	b.RegisterDelayedCallback(func() {
		b.UpdateWorkflow(contract.ApplyEvent, ev.DeliveryID, &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: func(err error) { o.err = err },
			OnComplete: func(v any, err error) {
				if o.err = err; err == nil {
					o.Result = v.(contract.Result)
				}
			},
		}, ev)
	}, after)
	return o
}

// run runs the lifecycle to its end.
func (b *bundle) run() contract.LifecycleResult {
	b.t.Helper()
	b.ExecuteWorkflow(workflows.WorkspaceLifecycle, contract.LifecycleInput{InstanceID: storeID})
	require.True(b.t, b.IsWorkflowCompleted())
	require.NoError(b.t, b.GetWorkflowError())
	var result contract.LifecycleResult
	require.NoError(b.t, b.GetWorkflowResult(&result))
	return result
}

func (b *bundle) get() storemanager.Store {
	b.t.Helper()
	s, err := b.store.Get(b.t.Context(), storeID)
	require.NoError(b.t, err)
	return s
}

// monitored registers the store before the workflow starts.
func (b *bundle) monitored() {
	b.t.Helper()
	_, err := b.store.Registry.Ensure(b.t.Context(), storemanager.EnsureRequest{StoreID: storeID, At: b.start.Add(-time.Hour)})
	require.NoError(b.t, err)
}

func TestACreationProvisionsTheStoreAndTheWorkflowEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.send(0, b.event(contract.WorkspaceCreated, "d1", 0))
	result := b.run()
	require.Equal(t, contract.StatusMonitoringStarted, created.Status)
	require.Equal(t, 1, result.Events)
	require.Equal(t, storemanager.StateMonitored, b.get().State)
}

func TestOfManyCreationsExactlyOneStartsTheMonitoring(t *testing.T) {
	t.Parallel()
	b := setup(t)
	outcomes := map[contract.Status]int{}
	var sent []*outcome
	for i := range 10 {
		sent = append(sent, b.send(0, b.event(contract.WorkspaceCreated, string(rune('a'+i)), 0)))
	}
	b.run()
	for _, o := range sent {
		outcomes[o.Status]++
	}
	require.Equal(t, map[contract.Status]int{contract.StatusMonitoringStarted: 1, contract.StatusAlreadyMonitored: 9}, outcomes)
}

func TestADeliveryThatComesByUpdateAndBySignalIsAppliedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ev := b.event(contract.WorkspaceCreated, "d1", 0)
	b.RegisterDelayedCallback(func() { b.SignalWorkflow(contract.ApplyEvent, ev) }, 0)
	again := b.send(0, ev)
	result := b.run()
	require.Equal(t, 1, result.Events)
	require.Equal(t, contract.StatusMonitoringStarted, again.Status)
}

func TestADeletionStopsTheStoreAfterItsGracePeriodAndNotBefore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	deleted := b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	again := b.send(time.Hour, b.event(contract.WorkspaceDeleted, "d2", 0))
	b.RegisterDelayedCallback(func() {
		require.Equal(t, storemanager.StateMonitored, b.get().State)
		require.NotNil(t, b.get().Deletion)
		require.Zero(t, b.auth.asked)
		var status contract.LifecycleStatus
		v, err := b.QueryWorkflow(contract.QueryStatus)
		require.NoError(t, err)
		require.NoError(t, v.Get(&status))
		require.Equal(t, contract.StateDeletionPending, status.State)
		require.Equal(t, b.start.Add(24*time.Hour), status.Deletion.DeleteAt.UTC())
	}, 24*time.Hour-time.Second)
	result := b.run()
	require.Equal(t, contract.StatusDeletionScheduled, deleted.Status)
	require.Equal(t, b.start.Add(24*time.Hour), deleted.DeleteAt.UTC())
	require.Equal(t, contract.StatusDeletionAlreadyScheduled, again.Status)
	require.Equal(t, deleted.DeleteAt.UTC(), again.DeleteAt.UTC())
	require.Equal(t, contract.StatusMonitoringStopped, result.Last.Status)
	require.Equal(t, 1, b.auth.asked)
	require.Equal(t, storemanager.StateStopped, b.get().State)
	require.False(t, b.get().LastStoppedAt.Before(b.start.Add(24*time.Hour)))
}

func TestWithoutAGracePeriodADeletionAnswersThatTheStoreIsStopped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	ev := b.event(contract.WorkspaceDeleted, "d1", 0)
	ev.GracePeriod = new(time.Duration)
	deleted := b.send(0, ev)
	b.run()
	require.Equal(t, contract.StatusMonitoringStopped, deleted.Status)
	require.Equal(t, storemanager.StateStopped, b.get().State)
}

func TestADeletionOfAnUnknownStoreIsRememberedSoThatALateCreationIsStale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	deleted := b.send(0, b.event(contract.WorkspaceDeleted, "d1", time.Minute))
	created := b.send(0, b.event(contract.WorkspaceCreated, "d2", 0))
	b.run()
	require.Equal(t, contract.StatusAlreadyStopped, deleted.Status)
	require.Equal(t, contract.StatusStaleIgnored, created.Status)
	require.Equal(t, storemanager.StateStopped, b.get().State)
}

func TestANewerCreationCancelsAPendingDeletionAndAnOlderOneDoesNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", time.Minute))
	older := b.send(time.Hour, b.event(contract.WorkspaceCreated, "d2", 0))
	newer := b.send(2*time.Hour, b.event(contract.WorkspaceCreated, "d3", time.Hour))
	b.run()
	require.Equal(t, contract.StatusStaleIgnored, older.Status)
	require.Equal(t, contract.StatusDeletionCancelled, newer.Status)
	require.Nil(t, b.get().Deletion)
	require.Equal(t, storemanager.StateMonitored, b.get().State)
}

// The golden history lifecycle-pending holds such a result, and a grace period may last for weeks.
func TestAHistoryWithoutTheMomentOfADeletionKeepsThatOfItsEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.OnActivity(contract.ActivityBeginDeletion, mock.Anything, mock.Anything).Return(
		contract.DeletionResult{Outcome: contract.DeletionScheduled, DeleteAt: b.start.Add(24 * time.Hour)}, nil)
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", time.Minute))
	b.send(time.Minute, b.event(contract.WorkspaceDeleted, "d2", 0))
	older := b.send(time.Hour, b.event(contract.WorkspaceCreated, "d3", time.Second))
	b.RegisterDelayedCallback(func() {
		var status contract.LifecycleStatus
		v, err := b.QueryWorkflow(contract.QueryStatus)
		require.NoError(t, err)
		require.NoError(t, v.Get(&status))
		require.NotNil(t, status.Deletion)
		require.Equal(t, b.start.Add(time.Minute), status.Deletion.EventAt.UTC())
	}, 2*time.Hour)
	b.run()
	require.Equal(t, contract.StatusStaleIgnored, older.Status)
}

func TestTheCancelSignalKeepsTheStoreAndHoldsIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	b.RegisterDelayedCallback(func() {
		b.SignalWorkflow(contract.CancelDeletion, contract.Cancellation{Reason: "customer called", Actor: "ann"})
	}, time.Hour)
	result := b.run()
	require.Equal(t, contract.StatusDeletionCancelled, result.Last.Status)
	require.Contains(t, result.Last.Detail, "customer called")
	s := b.get()
	require.Nil(t, s.Deletion)
	require.Equal(t, "ann", s.Hold.Actor)
	require.Equal(t, b.start.Add(time.Hour).Add(contract.DefaultHold), s.Hold.ExpiresAt.UTC())
}

func TestACancelSignalWithoutAPendingDeletionDoesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.RegisterDelayedCallback(func() { b.SignalWorkflow(contract.CancelDeletion, contract.Cancellation{}) }, 0)
	b.send(0, b.event(contract.WorkspaceCreated, "d1", 0))
	b.run()
	require.Nil(t, b.get().Hold)
}

func TestACancelSignalThatComesTogetherWithTheDeletionWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.RegisterDelayedCallback(func() {
		b.SignalWorkflow(contract.CancelDeletion, contract.Cancellation{Reason: "r", Actor: "a"})
		b.SignalWorkflow(contract.ApplyEvent, b.event(contract.WorkspaceDeleted, "d1", 0))
	}, 0)
	result := b.run()
	require.Equal(t, contract.StatusDeletionCancelled, result.Last.Status)
	require.NotNil(t, b.get().Hold)
}

func TestAHeldStoreIsNotDeletedUntilItIsReleased(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	hold := b.event(contract.StoreHold, "h", 0)
	hold.Hold = &contract.Cancellation{Reason: "audit", Actor: "ann"}
	held := b.send(0, hold)
	refused := b.send(0, b.event(contract.WorkspaceDeleted, "d1", time.Second))
	released := b.send(0, b.event(contract.StoreRelease, "r", 0))
	scheduled := b.send(0, b.event(contract.WorkspaceDeleted, "d2", 2*time.Second))
	b.run()
	require.Equal(t, contract.StatusHeld, held.Status)
	require.Equal(t, contract.StatusDeletionCancelled, refused.Status)
	require.Contains(t, refused.Detail, "audit")
	require.Equal(t, contract.StatusReleased, released.Status)
	require.Equal(t, contract.StatusDeletionScheduled, scheduled.Status)
}

func TestAPinnedStoreIsNotDeleted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.store.SetPins(t.Context(), []string{storeID}))
	deleted := b.send(0, b.event(contract.WorkspaceDeleted, "d1", time.Hour))
	b.run()
	require.Equal(t, contract.StatusDeletionCancelled, deleted.Status)
	require.Contains(t, deleted.Detail, "STORE_IDS")
}

func TestAStoreIsKeptWhenTheAuthWorkerStillListsItsWorkspace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.auth.listed[storeID] = true
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	result := b.run()
	require.Equal(t, contract.StatusDeletionCancelled, result.Last.Status)
	require.Contains(t, result.Last.Detail, "still lists")
	require.Nil(t, b.get().Deletion)
	require.Nil(t, b.get().Hold)
}

func TestADeletionWaitsForAnAuthWorkerThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.auth.err = authclient.ErrDamaged
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	b.RegisterDelayedCallback(func() {
		require.Equal(t, storemanager.StateMonitored, b.get().State)
		b.auth.set(func(f *fakeAuthWorker) { f.err = nil })
	}, 24*time.Hour+5*time.Minute) // the test environment allows ten attempts
	result := b.run()
	require.Equal(t, contract.StatusMonitoringStopped, result.Last.Status)
	require.Greater(t, b.auth.asked, 5)
}

func TestADeletionThatWaitsForTheAuthWorkerCanStillBeCancelled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.auth.err = authclient.ErrDamaged
	ev := b.event(contract.WorkspaceDeleted, "d1", 0)
	ev.GracePeriod = new(time.Duration)
	deleted := b.send(0, ev)
	b.RegisterDelayedCallback(func() {
		b.SignalWorkflow(contract.CancelDeletion, contract.Cancellation{Reason: "stop", Actor: "ann"})
	}, time.Minute)
	b.run()
	require.Equal(t, contract.StatusDeletionCancelled, deleted.Status)
	require.Equal(t, storemanager.StateMonitored, b.get().State)
}

func TestAnEmptyListStopsNoOrphanUntilAnEventAgrees(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.auth.others = 0
	orphan := b.event(contract.WorkspaceDeleted, "reconcile/1", 0)
	orphan.Source = contract.SourceReconcile
	b.RegisterDelayedCallback(func() { b.SignalWorkflow(contract.ApplyEvent, orphan) }, 0)
	b.RegisterDelayedCallback(func() { require.Equal(t, storemanager.StateMonitored, b.get().State) }, 24*time.Hour+time.Minute)
	b.send(24*time.Hour+2*time.Minute, b.event(contract.WorkspaceDeleted, "d1", time.Hour))
	result := b.run()
	require.Equal(t, contract.StatusMonitoringStopped, result.Last.Status)
}

func TestACreationWaitsForAStoreManagerThatIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store.setDown(true)
	created := b.send(0, b.event(contract.WorkspaceCreated, "d1", 0))
	b.RegisterDelayedCallback(func() { b.store.setDown(false) }, 30*time.Second) // the test environment allows ten attempts
	b.run()
	require.Equal(t, contract.StatusMonitoringStarted, created.Status)
}

func TestAStopThatWasDelayedAsksTheAuthWorkerAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	b.RegisterDelayedCallback(func() { b.store.setDown(true) }, 23*time.Hour)
	b.RegisterDelayedCallback(func() {
		require.Equal(t, 1, b.auth.asked)
		b.auth.set(func(f *fakeAuthWorker) { f.listed[storeID] = true })
		b.store.setDown(false)
	}, 24*time.Hour+2*time.Minute)
	result := b.run()
	require.Equal(t, contract.StatusDeletionCancelled, result.Last.Status)
	require.Equal(t, 2, b.auth.asked)
	require.Equal(t, storemanager.StateMonitored, b.get().State)
}

func TestADelayedStopHappensWhenTheStoreManagerIsBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	b.RegisterDelayedCallback(func() { b.store.setDown(true) }, 23*time.Hour)
	b.RegisterDelayedCallback(func() { b.store.setDown(false) }, 30*time.Hour)
	require.Equal(t, contract.StatusMonitoringStopped, b.run().Last.Status)
	require.Equal(t, storemanager.StateStopped, b.get().State)
}

func TestACancellationWhoseHoldIsOverAlreadyKeepsTheStoreAllTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	past := b.start.Add(30 * time.Minute)
	b.RegisterDelayedCallback(func() {
		b.SignalWorkflow(contract.CancelDeletion, contract.Cancellation{Reason: "keep it", Actor: "ann", ExpiresAt: &past})
	}, time.Hour)
	require.Equal(t, contract.StatusDeletionCancelled, b.run().Last.Status)
	require.Equal(t, storemanager.StateMonitored, b.get().State)
	require.NotNil(t, b.get().Hold)
}

func TestCancellingTheWorkflowDropsNoEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store.setDown(true)
	b.RegisterDelayedCallback(func() { b.SignalWorkflow(contract.ApplyEvent, b.event(contract.WorkspaceCreated, "d1", 0)) }, 0)
	b.RegisterDelayedCallback(b.CancelWorkflow, 5*time.Second)
	b.RegisterDelayedCallback(func() { b.store.setDown(false) }, 20*time.Second)
	b.ExecuteWorkflow(workflows.WorkspaceLifecycle, contract.LifecycleInput{InstanceID: storeID})
	require.True(t, b.IsWorkflowCompleted())
	require.Equal(t, storemanager.StateMonitored, b.get().State)
}

func TestCancellingTheWorkflowAtItsStartDropsNoEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.RegisterDelayedCallback(func() {
		b.CancelWorkflow()
		b.SignalWorkflow(contract.ApplyEvent, b.event(contract.WorkspaceCreated, "d1", 0))
	}, 0)
	b.ExecuteWorkflow(workflows.WorkspaceLifecycle, contract.LifecycleInput{InstanceID: storeID})
	require.True(t, b.IsWorkflowCompleted())
	require.Equal(t, storemanager.StateMonitored, b.get().State)
}

func TestAPendingDeletionKeepsItsGracePeriodAndSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	ev := b.event(contract.WorkspaceDeleted, "d2", 0)
	ev.GracePeriod = new(time.Duration)
	again := b.send(time.Hour, ev)
	b.run()
	require.Equal(t, contract.StatusDeletionAlreadyScheduled, again.Status)
	require.Contains(t, again.Detail, "cancel it first")
}

func TestEventsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	negative := -time.Second
	for name, spoil := range map[string]func(*contract.Event){
		"another instance":        func(e *contract.Event) { e.InstanceID = "another-instance" },
		"no delivery id":          func(e *contract.Event) { e.DeliveryID = "" },
		"no timestamp":            func(e *contract.Event) { e.Timestamp = time.Time{} },
		"an unknown type":         func(e *contract.Event) { e.Type = "workspace.renamed" },
		"a hold without a reason": func(e *contract.Event) { e.Type, e.Hold = contract.StoreHold, &contract.Cancellation{Actor: "a"} },
		"a negative grace period": func(e *contract.Event) { e.GracePeriod = &negative },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			ev := b.event(contract.WorkspaceCreated, "d1", 0)
			spoil(&ev)
			updated := b.send(0, ev)
			b.RegisterDelayedCallback(func() { b.SignalWorkflow(contract.ApplyEvent, ev) }, 0)
			good := b.send(0, b.event(contract.WorkspaceCreated, "d2", 0))
			result := b.run()
			var app *temporal.ApplicationError
			require.ErrorAs(t, updated.err, &app)
			require.Equal(t, contract.ErrTypeInvalid, app.Type())
			require.Equal(t, contract.StatusMonitoringStarted, good.Status)
			require.Equal(t, 1, result.Events)
		})
	}
}

func TestCancellingTheWorkflowLeavesNoPendingDeletionBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	b.RegisterDelayedCallback(b.CancelWorkflow, time.Hour)
	b.ExecuteWorkflow(workflows.WorkspaceLifecycle, contract.LifecycleInput{InstanceID: storeID})
	require.True(t, temporal.IsCanceledError(b.GetWorkflowError()))
	require.Nil(t, b.get().Deletion)
	require.Equal(t, storemanager.StateMonitored, b.get().State)
}

func TestAPendingDeletionSurvivesContinueAsNew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	_, err := b.store.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: storeID, At: b.start, DeleteAt: b.start.Add(2 * time.Hour), Owner: "first-run",
	})
	require.NoError(t, err)
	known := contract.Delivered{DeliveryID: "d1", Result: contract.Result{Status: contract.StatusDeletionScheduled}}
	again := b.send(time.Hour, b.event(contract.WorkspaceDeleted, "d1", 0))
	b.ExecuteWorkflow(workflows.WorkspaceLifecycle, contract.LifecycleInput{InstanceID: storeID, Carried: &contract.CarriedForward{
		Owner:     "first-run",
		Deletion:  contract.PendingDeletion{EventAt: b.start, DeleteAt: b.start.Add(2 * time.Hour), Source: contract.SourceWebhook},
		Delivered: []contract.Delivered{known},
	}})
	require.NoError(t, b.GetWorkflowError())
	require.Equal(t, known.Result, again.Result)
	require.Equal(t, storemanager.StateStopped, b.get().State)
}

func TestTheWorkflowContinuesAsNewWhenTemporalSuggestsIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	b.RegisterDelayedCallback(func() { b.SetContinueAsNewSuggested(true) }, time.Minute)
	b.send(time.Hour, b.event(contract.WorkspaceDeleted, "d2", 0))
	b.ExecuteWorkflow(workflows.WorkspaceLifecycle, contract.LifecycleInput{InstanceID: storeID})
	var next interface{ Error() string }
	require.ErrorAs(t, b.GetWorkflowError(), &next)
	require.Contains(t, next.Error(), "continue as new")
	require.NotNil(t, b.get().Deletion, "the deletion stays pending for the next run")
}

func TestAnEventThatComesWhileACancelledWorkflowEndsIsApplied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	hold := b.event(contract.StoreHold, "h", 0)
	hold.Hold = &contract.Cancellation{Reason: "audit", Actor: "ann"}
	b.RegisterDelayedCallback(func() { b.store.setDown(true); b.CancelWorkflow() }, time.Hour)
	b.RegisterDelayedCallback(func() { b.SignalWorkflow(contract.ApplyEvent, hold) }, time.Hour+5*time.Second)
	b.RegisterDelayedCallback(func() { b.store.setDown(false) }, time.Hour+20*time.Second)
	b.ExecuteWorkflow(workflows.WorkspaceLifecycle, contract.LifecycleInput{InstanceID: storeID})
	require.True(t, temporal.IsCanceledError(b.GetWorkflowError()))
	require.NotNil(t, b.get().Hold)
	require.Nil(t, b.get().Deletion)
}

func TestAHoldThatCanNeverBePlacedIsRefusedAsSuch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	hold := b.event(contract.StoreHold, "h", 0)
	soon := b.start.Add(time.Hour + time.Nanosecond) // over by the time the registry sees it: it keeps microseconds
	hold.Hold = &contract.Cancellation{Reason: "audit", Actor: "ann", ExpiresAt: &soon}
	refused := b.send(time.Hour, hold)
	result := b.run()
	var app *temporal.ApplicationError
	require.ErrorAs(t, refused.err, &app)
	require.Equal(t, contract.ErrTypeInvalid, app.Type())
	require.Equal(t, contract.StatusDeletionCancelled, result.Last.Status, "who asks for a hold wants the store to stay")
	require.Equal(t, storemanager.StateMonitored, b.get().State)
}

func TestCancellingAWorkflowThatContinuedAsNewLeavesNoMarkBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	_, err := b.store.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: storeID, At: b.start, DeleteAt: b.start.Add(2 * time.Hour), Owner: "first-run",
	})
	require.NoError(t, err)
	b.RegisterDelayedCallback(func() {
		b.store.setDown(true)
		b.SignalWorkflow(contract.ApplyEvent, b.event(contract.WorkspaceCreated, "older", -time.Minute))
	}, time.Minute)
	b.RegisterDelayedCallback(b.CancelWorkflow, time.Minute+10*time.Second)
	b.RegisterDelayedCallback(func() { b.store.setDown(false) }, time.Minute+20*time.Second)
	b.ExecuteWorkflow(workflows.WorkspaceLifecycle, contract.LifecycleInput{InstanceID: storeID, Carried: &contract.CarriedForward{
		Owner:    "first-run",
		Deletion: contract.PendingDeletion{EventAt: b.start, DeleteAt: b.start.Add(2 * time.Hour), Source: contract.SourceWebhook},
	}})
	require.True(t, temporal.IsCanceledError(b.GetWorkflowError()))
	require.Nil(t, b.get().Deletion)
}

func TestANewerDeletionThatMeetsTheEndOfAnOlderOneIsCarriedOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.auth.listed[storeID] = true
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	// The re-check finds the workspace listed; the mark is cleared, but the workflow does not hear of it yet.
	b.RegisterDelayedCallback(func() { b.store.setDown(true) }, 23*time.Hour)
	b.RegisterDelayedCallback(func() {
		_, err := b.store.Registry.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storeID})
		require.NoError(t, err)
		b.auth.set(func(f *fakeAuthWorker) { delete(f.listed, storeID) })
	}, 24*time.Hour+5*time.Second)
	again := b.send(24*time.Hour+10*time.Second, b.event(contract.WorkspaceDeleted, "d2", 24*time.Hour))
	b.RegisterDelayedCallback(func() { b.store.setDown(false) }, 24*time.Hour+30*time.Second)
	result := b.run()
	require.Equal(t, contract.StatusDeletionScheduled, again.Status)
	require.Equal(t, contract.StatusMonitoringStopped, result.Last.Status)
	require.Equal(t, storemanager.StateStopped, b.get().State)
}

func TestTheRepeatOfACreationEndsNoDeletionThatIsNewer(t *testing.T) {
	t.Parallel()
	for name, gullible := range map[string]bool{"as the registry says": false, "whatever the store manager says": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			creation := b.event(contract.WorkspaceCreated, "d1", 0)
			_, err := b.store.Registry.Ensure(t.Context(), storemanager.EnsureRequest{
				StoreID: storeID, At: creation.Timestamp, RequestID: creation.DeliveryID, // by a run that has ended
			})
			require.NoError(t, err)
			deleted := b.send(time.Second, b.event(contract.WorkspaceDeleted, "d2", time.Second))
			b.RegisterDelayedCallback(func() {
				b.store.mu.Lock()
				defer b.store.mu.Unlock()
				b.store.gullible = gullible
			}, time.Minute)
			again := b.send(time.Hour, creation)
			result := b.run()
			require.Equal(t, contract.StatusDeletionScheduled, deleted.Status)
			require.Equal(t, contract.StatusStaleIgnored, again.Status)
			require.Equal(t, contract.StatusMonitoringStopped, result.Last.Status)
		})
	}
}

func TestAStoreIsNotStoppedOnAnAnswerThatGotOldWhileNobodyWorked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	b.auth.now = func() time.Time { return b.Now().Add(-90 * time.Second) } // the workers were away for so long
	b.auth.then = func(int) { b.auth.listed[storeID] = true }               // it is listed again since
	result := b.run()
	require.Equal(t, 2, b.auth.asked)
	require.Equal(t, contract.StatusDeletionCancelled, result.Last.Status)
	require.Contains(t, result.Last.Detail, "still lists")
	require.Nil(t, b.get().Deletion)
}

func TestTheAnswerToAnEarlierDeletionCancelsNoNewerOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.auth.listed[storeID] = true
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	b.auth.then = func(asked int) {
		if asked > 1 {
			return
		}
		delete(b.auth.listed, storeID) // deleted again just now, which the registry knows before the lifecycle does
		_, err := b.store.BeginDeletion(t.Context(), storemanager.DeletionRequest{
			StoreID: storeID, At: b.start.Add(time.Minute), DeleteAt: b.Now(), Owner: b.get().Deletion.Owner,
		})
		require.NoError(t, err)
	}
	result := b.run()
	require.Equal(t, contract.StatusMonitoringStopped, result.Last.Status)
}

func TestTwoListsThatHaveTheWorkspaceEndItsDeletion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	b.send(0, b.event(contract.WorkspaceDeleted, "d1", 0))
	listed := b.event(contract.WorkspaceCreated, "reconcile/listed", time.Hour)
	listed.Source = contract.SourceReconcile
	ended := b.send(time.Hour, listed)
	b.run()
	require.Equal(t, contract.StatusDeletionCancelled, ended.Status)
	require.Contains(t, ended.Detail, "listed again")
	require.Nil(t, b.get().Deletion)
}

func TestALifecycleGoesOnWithTheDeletionThatTheStoreManagerHasAsPending(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		byList bool
		others int
		source contract.Source
	}{
		"of an event, which even an empty list confirms": {source: contract.SourceWebhook},
		"of lists": {byList: true, others: 5, source: contract.SourceReconcile},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.monitored()
			b.auth.others = test.others
			deleteAt := b.start.Add(3 * time.Hour)
			require.NoError(t, b.store.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: b.start, Unlisted: []string{storeID}}))
			_, err := b.store.BeginDeletion(t.Context(), storemanager.DeletionRequest{
				StoreID: storeID, At: b.start, DeleteAt: deleteAt, Owner: "a run that is no more", ByList: test.byList,
			})
			require.NoError(t, err)
			resume := b.event(contract.DeletionResume, "d1", time.Hour)
			resume.Source = contract.SourceSystem
			resumed, again := b.send(0, resume), b.send(time.Minute, contract.Event{
				DeliveryID: "d2", Type: resume.Type, InstanceID: storeID, Timestamp: resume.Timestamp, Source: resume.Source,
			})
			b.RegisterDelayedCallback(func() {
				var status contract.LifecycleStatus
				v, err := b.QueryWorkflow(contract.QueryStatus)
				require.NoError(t, err)
				require.NoError(t, v.Get(&status))
				require.Equal(t, test.source, status.Deletion.Source)
				require.Equal(t, deleteAt, status.Deletion.DeleteAt.UTC())
			}, time.Hour)
			result := b.run()
			require.Equal(t, contract.StatusDeletionResumed, resumed.Status)
			require.Equal(t, contract.StatusDeletionAlreadyScheduled, again.Status)
			require.Equal(t, contract.StatusMonitoringStopped, result.Last.Status)
			require.False(t, b.get().LastStoppedAt.Before(deleteAt))
		})
	}
}

func TestThereIsNothingToResumeWhereNothingIsPending(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	resumed := b.send(0, b.event(contract.DeletionResume, "d1", 0))
	b.run()
	require.Equal(t, contract.StatusDeletionCancelled, resumed.Status)
	require.Equal(t, storemanager.StateMonitored, b.get().State)
}
