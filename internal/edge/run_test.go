package edge

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/edge/edgetest"
)

// repaired says whether so many outages have been repaired.
func (f *fixture) repaired(n int) func() bool {
	return func() bool { return strings.Count(f.Logs.String(), `"webhooks are taken again"`) == n }
}

func TestRunRequestsAReconcileAtItsStartAndAfterEachOutage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	_, stop := f.run(t)
	f.Temporal.RequireRequest(t)

	for i := range 2 {
		f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = true })
		for range 3 {
			require.Equal(t, 503, f.Send(t, event("workspace.created")).Status)
		}
		require.Empty(t, f.Temporal.Requested, "not before Temporal is back")
		f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = false })
		f.Temporal.RequireRequest(t)
		require.Eventually(t, f.repaired(i+1), 30*time.Second, time.Millisecond)
		require.Equal(t, 200, f.Send(t, event("workspace.created")).Status)
	}
	stop()
	require.Empty(t, f.Temporal.Requested, "one each")
}

func TestRunStartsWhileTemporalIsAway(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Down = true })
	f.run(t)
	require.Equal(t, 200, f.Do(t, http.MethodGet, "/livez", "").Status)
	require.Equal(t, 503, f.Send(t, event("workspace.created")).Status)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = false })
	f.Temporal.RequireRequest(t)
}

func TestRunLeavesAnOperatorsPauseAlone(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Paused = true })
	_, stop := f.run(t)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = true })
	require.Equal(t, 503, f.Send(t, event("workspace.created")).Status)
	require.Equal(t, 503, f.Do(t, http.MethodGet, "/readyz", "").Status)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = false })
	require.Equal(t, 200, f.Send(t, event("workspace.created")).Status)
	require.Eventually(t, func() bool { return f.Do(t, http.MethodGet, "/readyz", "").Status == 200 }, 30*time.Second, time.Millisecond)
	require.Eventually(t, f.repaired(1), 30*time.Second, time.Millisecond)
	stop()
	require.Empty(t, f.Temporal.Requested)
}

func TestRunRequestsNoReconcileWhenItIsDisabled(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Config.ReconcileEnabled = false })
	_, stop := f.run(t)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = true })
	require.Equal(t, 503, f.Send(t, event("workspace.created")).Status)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = false })
	require.Equal(t, 200, f.Send(t, event("workspace.created")).Status)
	require.Eventually(t, f.repaired(1), 30*time.Second, time.Millisecond, "the outage is over all the same")
	stop()
	require.Empty(t, f.Temporal.Requested)
}

func TestRunFinishesRequestsUnderWay(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	f := setup(t, func(f *fixture) {
		f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
			close(entered)
			<-release
			return contract.Result{Status: contract.StatusMonitoringStarted}, nil
		}
	})
	address, stop := f.run(t)
	answered := make(chan int, 1)
	go func() {
		resp, err := f.Exchange(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", "application/json")
		if err != nil {
			resp.Status = -1
		}
		answered <- resp.Status
	}()
	<-entered
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	require.Eventually(t, func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, 30*time.Second, time.Millisecond, "the shutdown has begun")
	close(release)
	require.Equal(t, 200, <-answered)
	<-stopped
}

func TestDrainingIsNotReady(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Equal(t, 200, f.Do(t, http.MethodGet, "/readyz", "").Status)
	f.status.Drain()
	resp := f.Do(t, http.MethodGet, "/readyz", "")
	require.Equal(t, 503, resp.Status)
	require.JSONEq(t, `{"status":"not ready","reasons":["shutting down"]}`, resp.Body)
	require.Equal(t, 200, f.Do(t, http.MethodGet, "/livez", "").Status)
}

func TestAnEdgeThatTakesEventsIsReadyWhileItsRepairWaitsForALongRun(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Requested = make(chan contract.ReconcileInput) })
	_, stop := f.run(t)
	f.Temporal.RequireRequest(t)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = true })
	require.Equal(t, 503, f.Send(t, event("workspace.created")).Status)
	require.Equal(t, 503, f.Do(t, http.MethodGet, "/readyz", "").Status)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = false })
	require.Equal(t, 200, f.Send(t, event("workspace.created")).Status)
	require.Eventually(t, func() bool { return f.Do(t, http.MethodGet, "/readyz", "").Status == 200 }, 30*time.Second, 10*time.Millisecond)
	require.True(t, f.repaired(0)(), "the repair is still owed")
	f.Temporal.RequireRequest(t)
	stop()
}

func TestEventsAreRefusedWhileOthersWaitTooLong(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.run(t)
	f.Temporal.RequireRequest(t)
	set := func(age time.Duration) {
		f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Age = age })
	}
	health := func(healthy bool) func() bool {
		return func() bool {
			backlog := f.Do(t, http.MethodGet, "/health", "").JSON(t)["checks"].(map[string]any)["backlog"].(map[string]any)
			return backlog["ok"] == healthy
		}
	}
	set(time.Minute)
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status, "up to the bound they are taken")
	set(90 * time.Second)
	require.Eventually(t, health(false), 30*time.Second, time.Millisecond)
	resp := f.Send(t, event("workspace.created"))
	edgetest.RequireProblem(t, resp, 503, "overloaded", "Events wait too long to be worked off; send it again")
	require.Equal(t, "10", resp.Header.Get("Retry-After"))
	answer := f.Do(t, http.MethodGet, "/health", "")
	require.Equal(t, 503, answer.Status)
	require.Contains(t, answer.Body, "backlog: events wait 1m30s for a worker; webhooks are refused")
	require.Equal(t, 503, f.Do(t, http.MethodGet, "/readyz", "").Status)
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status, "what is known costs nothing")

	set(45 * time.Second)
	require.Equal(t, 503, f.Send(t, event("workspace.created")).Status, "not before half of the bound")
	require.Empty(t, f.Temporal.Requested, "no reconcile while events are refused")
	set(30 * time.Second)
	require.Eventually(t, health(true), 30*time.Second, time.Millisecond)
	require.Equal(t, 200, f.Send(t, event("workspace.created")).Status)
	f.Temporal.RequireRequest(t)
	require.Eventually(t, f.repaired(1), 30*time.Second, time.Millisecond)
	require.Empty(t, f.Temporal.Requested, "one, for all that was refused")
	require.Equal(t, 1, strings.Count(f.Logs.String(), `"webhooks are refused"`), "an outage is reported once")
}

// forgetful is a store manager that does not remember answers while err is set.
type forgetful struct {
	StoreManager
	err error
}

func (m *forgetful) Remember(ctx context.Context, d deliveries.Delivery) (deliveries.Delivery, error) {
	if m.err != nil {
		return deliveries.Delivery{}, m.err
	}
	return m.StoreManager.Remember(ctx, d)
}

func TestHealthSaysThatAnswersCantBeRemembered(t *testing.T) {
	t.Parallel()
	manager := &forgetful{err: edgetest.ErrDown}
	f := setup(t, func(f *fixture) { manager.StoreManager, f.stores = f.Registry, manager })
	warning := "webhooks: answers can't be remembered; what is sent again is applied again"
	warnings := func() any { return f.Do(t, http.MethodGet, "/health", "").JSON(t)["warnings"] }
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	require.Contains(t, warnings(), warning)
	manager.err = nil
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	require.NotContains(t, warnings(), warning)
}

func TestHealthSaysWhatTheEdgeHasNoRoomFor(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	f := setup(t, func(f *fixture) {
		f.tests.intake.Events = 1
		f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
			close(entered)
			<-release
			return contract.Result{Status: contract.StatusMonitoringStarted}, nil
		}
	})
	answered := make(chan error, 1)
	go func() {
		_, err := f.Exchange(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", "application/json")
		answered <- err
	}()
	<-entered
	require.Equal(t, []any{"webhooks: 1 events are under way, more are refused"}, f.Get(t, "/health").JSON(t)["warnings"])
	close(release)
	require.NoError(t, <-answered)
}
