package edge

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
)

func TestEventsAreRefusedWhileOthersWaitTooLong(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.backlogPoll, f.outagePoll = time.Millisecond, time.Millisecond
	f.run(t)
	edgeRequest(t, f)
	set := func(age time.Duration) {
		f.temporal.set(func(o *fakeOrchestrator) { o.backlog = age })
	}
	health := func(healthy bool) func() bool {
		return func() bool {
			backlog := f.do(t, http.MethodGet, "/health", "").json(t)["checks"].(map[string]any)["backlog"].(map[string]any)
			return backlog["ok"] == healthy
		}
	}
	set(time.Minute)
	require.Equal(t, 200, f.send(t, event("workspace.created"), "webhook-id", "evt_1").status, "up to the bound they are taken")
	set(90 * time.Second)
	require.Eventually(t, health(false), 30*time.Second, time.Millisecond)
	resp := f.send(t, event("workspace.created"))
	requireProblem(t, resp, 503, "overloaded", "Events wait too long to be worked off; send it again")
	require.Equal(t, "10", resp.header.Get("Retry-After"))
	answer := f.do(t, http.MethodGet, "/health", "")
	require.Equal(t, 503, answer.status)
	require.Contains(t, answer.body, "backlog: events wait 1m30s for a worker; webhooks are refused")
	require.Equal(t, 503, f.do(t, http.MethodGet, "/readyz", "").status)
	require.Equal(t, 200, f.send(t, event("workspace.created"), "webhook-id", "evt_1").status, "what is known costs nothing")
	require.Contains(t, f.do(t, http.MethodGet, "/metrics", "").body, "storekeeper_event_backlog_age_seconds 90")

	set(45 * time.Second)
	require.Equal(t, 503, f.send(t, event("workspace.created")).status, "not before half of the bound")
	require.Empty(t, f.temporal.requested, "no reconcile while events are refused")
	set(30 * time.Second)
	require.Eventually(t, health(true), 30*time.Second, time.Millisecond)
	require.Equal(t, 200, f.send(t, event("workspace.created")).status)
	edgeRequest(t, f)
	require.Eventually(t, func() bool { return f.refused.Load() == 0 }, 30*time.Second, time.Millisecond)
	require.Empty(t, f.temporal.requested, "one, for all that was refused")
	require.Equal(t, 1, strings.Count(f.log.String(), `"webhooks are refused"`), "an outage is reported once")
}

func TestNotMoreEventsThanTheEdgeCanCarryAreUnderWay(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	f := setup(t, func(f *fixture) {
		f.temporal.apply = func(context.Context, contract.Event) (contract.Result, error) {
			entered <- struct{}{}
			<-release
			return contract.Result{Status: contract.StatusMonitoringStarted}, nil
		}
	})
	f.events = make(gate, 2)
	answered := make(chan int, 2)
	for range 2 {
		go func() {
			resp, _ := f.exchange(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", "application/json")
			answered <- resp.status
		}()
		<-entered
	}
	resp := f.send(t, event("workspace.created"))
	requireProblem(t, resp, 503, "overloaded", "Too many webhooks at once; send it again")
	require.Equal(t, "1", resp.header.Get("Retry-After"))
	close(release)
	require.Equal(t, 200, <-answered)
	require.Equal(t, 200, <-answered)
	go func() { <-entered }()
	require.Equal(t, 200, f.send(t, event("workspace.created")).status, "their slots are free again")
}

func TestTheRepeatsOfOneDeliveryThatWaitForEachOtherCount(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	f := setup(t, func(f *fixture) {
		f.temporal.apply = func(context.Context, contract.Event) (contract.Result, error) {
			close(entered)
			<-release
			return contract.Result{Status: contract.StatusMonitoringStarted}, nil
		}
	})
	f.events = make(gate, 2)
	answered := make(chan int, 2)
	deliver := func() {
		resp, _ := f.exchange(t, http.MethodPost, webhooks, event("workspace.created"),
			"X-Webhook-Secret", secret, "Content-Type", "application/json", "webhook-id", "evt_1")
		answered <- resp.status
	}
	go deliver()
	<-entered
	go deliver()
	require.Eventually(t, f.events.full, 30*time.Second, time.Millisecond)
	require.Equal(t, 503, f.send(t, event("workspace.created"), "webhook-id", "evt_1").status)
	close(release)
	require.Equal(t, 200, <-answered)
	require.Equal(t, 200, <-answered)
	require.Len(t, f.temporal.applied(), 1)
}

func TestStrangersTakeNoRoomOfSendersWithASecretAndCauseNoRepair(t *testing.T) {
	t.Parallel()
	f := setup(t, withAuth("any", secret, hmacKey))
	f.unprovenBodies = make(gate, 1)
	address, _ := f.run(t)
	edgeRequest(t, f)
	require.NotContains(t, f.do(t, http.MethodGet, "/health", "").body, "webhooks: ")
	conn := dial(t, address)
	_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nContent-Length: 100\r\nwebhook-id: a\r\n"+
		"webhook-timestamp: %d\r\nwebhook-signature: v1,%s\r\n\r\n", webhooks, time.Now().Unix(), strings.Repeat("A", 44))
	require.NoError(t, err)
	require.Eventually(t, f.unprovenBodies.full, 30*time.Second, time.Millisecond)
	body := event("workspace.created")
	require.Equal(t, 200, f.send(t, body).status)
	refused := f.do(t, http.MethodPost, webhooks, body, signed(t, "evt_1", body)...)
	requireProblem(t, refused, 503, "overloaded", "Too many webhooks at once; send it again")
	require.Zero(t, f.refused.Load(), "who was refused may be anybody")
	require.NotContains(t, f.log.String(), `"webhooks are refused"`)
	require.Contains(t, f.do(t, http.MethodGet, "/health", "").json(t)["warnings"],
		"webhooks: 1 bodies of senders with a signature are under way, more are refused")
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return !f.unprovenBodies.full() }, 30*time.Second, time.Millisecond)
	require.Equal(t, 200, f.do(t, http.MethodPost, webhooks, body, signed(t, "evt_1", body)...).status)
}

func TestAnOverloadIsRepairedOnceWhenItIsOver(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.outagePoll, f.repairAfter = time.Millisecond, time.Hour
	f.events = make(gate, 1)
	_, stop := f.run(t)
	edgeRequest(t, f)
	f.events <- struct{}{}
	for i := range 20 {
		require.Equal(t, 503, f.send(t, event("workspace.created"), "X-Request-Id", fmt.Sprintf("request-%d", i)).status)
		require.ErrorIs(t, f.repair(t.Context()), errStillRefusing)
	}
	require.Contains(t, f.do(t, http.MethodGet, "/health", "").json(t)["warnings"], "webhooks: 1 events are under way, more are refused")
	<-f.events
	require.Equal(t, 200, f.send(t, event("workspace.created")).status)
	require.Empty(t, f.temporal.requested, "more may be refused in a moment")

	f.refusedLast.nanos.Add(-int64(time.Hour))
	edgeRequest(t, f)
	require.Eventually(t, func() bool { return f.refused.Load() == 0 }, 30*time.Second, time.Millisecond)
	stop()
	require.Empty(t, f.temporal.requested)
	require.Equal(t, 1, strings.Count(f.log.String(), `"webhooks are refused"`))
	require.Regexp(t, `"webhooks are refused","requestId":"request-0"`, f.log.String())
	require.Equal(t, 1, strings.Count(f.log.String(), "webhooks are taken again"))
}

func TestARefusalDuringARepairIsRepairedOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.temporal.requested = make(chan contract.ReconcileInput) })
	f.outagePoll = time.Millisecond
	f.events = make(gate, 1)
	_, stop := f.run(t)
	require.Eventually(t, func() bool { return f.temporal.requests.Load() == 1 }, 30*time.Second, time.Millisecond)
	for i := range 3 {
		// The request before, the first one that of the start, is under way, and takes until it is read.
		f.events <- struct{}{}
		require.Equal(t, 503, f.send(t, event("workspace.created")).status)
		<-f.events
		if i == 0 {
			edgeRequest(t, f)
		}
		edgeRequest(t, f)
		require.Eventually(t, func() bool { return f.refused.Load() == 0 && len(f.outage) == 0 }, 30*time.Second, time.Millisecond)
	}
	stop()
	require.Equal(t, 3, strings.Count(f.log.String(), "webhooks are taken again"))
}

func TestNotMoreBodiesThanTheEdgeCanCarryAreRead(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.bodies = make(gate, 1)
	address, _ := f.run(t)
	conn := dial(t, address)
	head(t, conn, "Content-Length: 100")
	require.Eventually(t, func() bool { return len(f.bodies) == 1 }, 30*time.Second, time.Millisecond)
	requireProblem(t, f.send(t, event("workspace.created")), 503, "overloaded", "Too many webhooks at once; send it again")
	require.Equal(t, 401, f.do(t, http.MethodPost, webhooks, "").status, "who is refused by the headers needs no room")
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return len(f.bodies) == 0 }, 30*time.Second, time.Millisecond)
	require.Equal(t, 200, f.send(t, event("workspace.created")).status)
}
