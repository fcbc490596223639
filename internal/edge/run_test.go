package edge

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
)

func edgeRequest(t *testing.T, f *fixture) {
	t.Helper()
	select {
	case in := <-f.temporal.requested:
		require.Equal(t, contract.ReconcileInput{Trigger: contract.TriggerEdge}, in)
	case <-time.After(30 * time.Second):
		require.Fail(t, "no reconcile was requested")
	}
}

func TestRunRequestsAReconcileAtItsStartAndAfterEachOutage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.outagePoll = time.Millisecond
	_, stop := f.run(t)
	edgeRequest(t, f)

	for range 2 {
		f.temporal.set(func(o *fakeOrchestrator) { o.down = true })
		for range 3 {
			require.Equal(t, 503, f.send(t, event("workspace.created")).status)
		}
		require.Empty(t, f.temporal.requested, "not before Temporal is back")
		f.temporal.set(func(o *fakeOrchestrator) { o.down = false })
		edgeRequest(t, f)
		require.Eventually(t, func() bool { return f.refused.Load() == 0 }, 30*time.Second, time.Millisecond)
		require.Equal(t, 200, f.send(t, event("workspace.created")).status)
	}
	stop()
	require.Empty(t, f.temporal.requested, "one each")
}

func TestRunStartsWhileTemporalIsAway(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.temporal.down = true })
	f.outagePoll = time.Millisecond
	f.run(t)
	require.Equal(t, 200, f.do(t, http.MethodGet, "/livez", "").status)
	require.Equal(t, 503, f.send(t, event("workspace.created")).status)
	f.temporal.set(func(o *fakeOrchestrator) { o.down = false })
	edgeRequest(t, f)
}

func TestRunLeavesAnOperatorsPauseAlone(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.temporal.paused = true })
	f.outagePoll = time.Millisecond
	_, stop := f.run(t)
	f.temporal.set(func(o *fakeOrchestrator) { o.down = true })
	require.Equal(t, 503, f.send(t, event("workspace.created")).status)
	require.Equal(t, 503, f.do(t, http.MethodGet, "/readyz", "").status)
	f.temporal.set(func(o *fakeOrchestrator) { o.down = false })
	require.Equal(t, 200, f.send(t, event("workspace.created")).status)
	require.Eventually(t, func() bool { return f.do(t, http.MethodGet, "/readyz", "").status == 200 }, 30*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return f.refused.Load() == 0 }, 30*time.Second, time.Millisecond)
	stop()
	require.Empty(t, f.temporal.requested)
}

func TestRunRequestsNoReconcileWhenItIsDisabled(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.config.ReconcileEnabled = false })
	f.outagePoll = time.Millisecond
	_, stop := f.run(t)
	f.temporal.set(func(o *fakeOrchestrator) { o.down = true })
	require.Equal(t, 503, f.send(t, event("workspace.created")).status)
	f.temporal.set(func(o *fakeOrchestrator) { o.down = false })
	require.Equal(t, 200, f.send(t, event("workspace.created")).status)
	require.Eventually(t, func() bool { return f.refused.Load() == 0 }, 30*time.Second, time.Millisecond, "the outage is over all the same")
	stop()
	require.Empty(t, f.temporal.requested)
}

func TestRunFinishesRequestsUnderWay(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	f := setup(t, func(f *fixture) {
		f.temporal.apply = func(context.Context, contract.Event) (contract.Result, error) {
			close(entered)
			<-release
			return contract.Result{Status: contract.StatusMonitoringStarted}, nil
		}
	})
	_, stop := f.run(t)
	answered := make(chan int, 1)
	go func() {
		resp, err := f.exchange(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", "application/json")
		if err != nil {
			resp.status = -1
		}
		answered <- resp.status
	}()
	<-entered
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	<-f.draining
	close(release)
	require.Equal(t, 200, <-answered)
	<-stopped
}

func TestDrainingIsNotReady(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Equal(t, 200, f.do(t, http.MethodGet, "/readyz", "").status)
	close(f.draining)
	resp := f.do(t, http.MethodGet, "/readyz", "")
	require.Equal(t, 503, resp.status)
	require.JSONEq(t, `{"status":"not ready","reasons":["shutting down"]}`, resp.body)
	require.Equal(t, 200, f.do(t, http.MethodGet, "/livez", "").status)
}

func TestAnEdgeThatTakesEventsIsReadyWhileItsRepairWaitsForALongRun(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.temporal.requested = make(chan contract.ReconcileInput) })
	f.outagePoll = time.Millisecond
	_, stop := f.run(t)
	edgeRequest(t, f)
	f.temporal.set(func(o *fakeOrchestrator) { o.down = true })
	require.Equal(t, 503, f.send(t, event("workspace.created")).status)
	require.Equal(t, 503, f.do(t, http.MethodGet, "/readyz", "").status)
	f.temporal.set(func(o *fakeOrchestrator) { o.down = false })
	require.Equal(t, 200, f.send(t, event("workspace.created")).status)
	require.Eventually(t, func() bool { return f.do(t, http.MethodGet, "/readyz", "").status == 200 }, 30*time.Second, 10*time.Millisecond)
	require.Positive(t, f.refused.Load(), "the repair is still owed")
	edgeRequest(t, f)
	stop()
}
