package intake

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/telemetry"
	"storekeeper/tests/sentrytest"
)

func TestNotMoreEventsThanTheEdgeCanCarryAreUnderWay(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	f := setup(t, func(f *fixture) {
		f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
			entered <- struct{}{}
			<-release
			return contract.Result{Status: contract.StatusMonitoringStarted}, nil
		}
	})
	f.underWay = make(gate, 2)
	answered := make(chan int, 2)
	for range 2 {
		go func() {
			resp, _ := f.Exchange(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", "application/json")
			answered <- resp.Status
		}()
		<-entered
	}
	resp := f.Send(t, event("workspace.created"))
	edgetest.RequireProblem(t, resp, 503, "overloaded", "Too many webhooks at once; send it again")
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
	close(release)
	require.Equal(t, 200, <-answered)
	require.Equal(t, 200, <-answered)
	go func() { <-entered }()
	require.Equal(t, 200, f.Send(t, event("workspace.created")).Status, "their slots are free again")
}

func TestTheRepeatsOfOneDeliveryThatWaitForEachOtherCount(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	f := setup(t, func(f *fixture) {
		f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
			close(entered)
			<-release
			return contract.Result{Status: contract.StatusMonitoringStarted}, nil
		}
	})
	f.underWay = make(gate, 2)
	answered := make(chan int, 2)
	deliver := func() {
		resp, _ := f.Exchange(t, http.MethodPost, webhooks, event("workspace.created"),
			"X-Webhook-Secret", secret, "Content-Type", "application/json", "webhook-id", "evt_1")
		answered <- resp.Status
	}
	go deliver()
	<-entered
	go deliver()
	require.Eventually(t, f.underWay.full, 30*time.Second, time.Millisecond)
	require.Equal(t, 503, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	close(release)
	require.Equal(t, 200, <-answered)
	require.Equal(t, 200, <-answered)
	require.Len(t, f.Temporal.Applied(), 1)
}

func TestStrangersTakeNoRoomOfSendersWithASecretAndCauseNoRepair(t *testing.T) {
	t.Parallel()
	f := setup(t, withAuth("any", secret, hmacKey))
	f.unprovenBodies = make(gate, 1)
	address, _ := f.run(t)
	f.Temporal.RequireRequest(t)
	require.Empty(t, f.RoomWarnings())
	conn := edgetest.Dial(t, address)
	_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nContent-Length: 100\r\nwebhook-id: a\r\n"+
		"webhook-timestamp: %d\r\nwebhook-signature: v1,%s\r\n\r\n", webhooks, time.Now().Unix(), strings.Repeat("A", 44))
	require.NoError(t, err)
	require.Eventually(t, f.unprovenBodies.full, 30*time.Second, time.Millisecond)
	body := event("workspace.created")
	require.Equal(t, 200, f.Send(t, body).Status)
	refused := f.Do(t, http.MethodPost, webhooks, body, signed(t, "evt_1", body)...)
	edgetest.RequireProblem(t, refused, 503, "overloaded", "Too many webhooks at once; send it again")
	require.Zero(t, f.refused.Load(), "who was refused may be anybody")
	require.NotContains(t, f.Logs.String(), `"webhooks are refused"`)
	require.Equal(t, []string{"webhooks: 1 bodies of senders with a signature are under way, more are refused"}, f.RoomWarnings())
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return !f.unprovenBodies.full() }, 30*time.Second, time.Millisecond)
	require.Equal(t, 200, f.Do(t, http.MethodPost, webhooks, body, signed(t, "evt_1", body)...).Status)
}

func TestAnOverloadIsRepairedOnceWhenItIsOver(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.bounds.RepairAfter = time.Hour
	f.underWay = make(gate, 1)
	fake := sentrytest.Start(t)
	sentry, err := telemetry.NewSentry(telemetry.SentryOptions{DSN: fake.DSN})
	require.NoError(t, err)
	t.Cleanup(sentry.Close)
	f.sentry = sentry
	_, stop := f.run(t)
	f.Temporal.RequireRequest(t)
	f.underWay <- struct{}{}
	for i := range 20 {
		require.Equal(t, 503, f.Send(t, event("workspace.created"), "X-Request-Id", fmt.Sprintf("request-%d", i)).Status)
		require.ErrorIs(t, f.requestRepair(t.Context()), errStillRefusing)
	}
	require.Equal(t, []string{"webhooks: 1 events are under way, more are refused"}, f.RoomWarnings())
	<-f.underWay
	require.Equal(t, 200, f.Send(t, event("workspace.created")).Status)
	require.Empty(t, f.Temporal.Requested, "more may be refused in a moment")

	f.refusedLast.nanos.Add(-int64(time.Hour))
	f.Temporal.RequireRequest(t)
	require.Eventually(t, func() bool { return f.refused.Load() == 0 }, 30*time.Second, time.Millisecond)
	stop()
	require.Empty(t, f.Temporal.Requested)
	require.Equal(t, 1, strings.Count(f.Logs.String(), `"webhooks are refused"`))
	require.Regexp(t, `"webhooks are refused","requestId":"request-0"`, f.Logs.String())
	require.Equal(t, 1, strings.Count(f.Logs.String(), "webhooks are taken again"))
	require.True(t, sentry.Flush(30*time.Second))
	events := fake.Events()
	require.Len(t, events, 2, "the outage and its end")
	require.Equal(t, "webhook | outage | too many", events[0].Issue())
	require.Contains(t, events[1].Text(), "webhooks are taken again, 20 were refused, ")
}

func TestARefusalDuringARepairIsRepairedOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Requested = make(chan contract.ReconcileInput) })
	f.underWay = make(gate, 1)
	_, stop := f.run(t)
	require.Eventually(t, func() bool { return f.Temporal.Requests.Load() == 1 }, 30*time.Second, time.Millisecond)
	for i := range 3 {
		// The request before, the first one that of the start, is under way, and takes until it is read.
		f.underWay <- struct{}{}
		require.Equal(t, 503, f.Send(t, event("workspace.created")).Status)
		<-f.underWay
		if i == 0 {
			f.Temporal.RequireRequest(t)
		}
		f.Temporal.RequireRequest(t)
		require.Eventually(t, func() bool { return f.refused.Load() == 0 && len(f.outage) == 0 }, 30*time.Second, time.Millisecond)
	}
	stop()
	require.Equal(t, 3, strings.Count(f.Logs.String(), "webhooks are taken again"))
}

func TestNotMoreBodiesThanTheEdgeCanCarryAreRead(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.bodies = make(gate, 1)
	address, _ := f.run(t)
	conn := edgetest.Dial(t, address)
	edgetest.Head(t, conn, "Content-Length: 100")
	require.Eventually(t, func() bool { return len(f.bodies) == 1 }, 30*time.Second, time.Millisecond)
	edgetest.RequireProblem(t, f.Send(t, event("workspace.created")), 503, "overloaded", "Too many webhooks at once; send it again")
	require.Equal(t, 401, f.Do(t, http.MethodPost, webhooks, "").Status, "who is refused by the headers needs no room")
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return len(f.bodies) == 0 }, 30*time.Second, time.Millisecond)
	require.Equal(t, 200, f.Send(t, event("workspace.created")).Status)
}

func TestTheIntakeCarries512EventsAnd2048BodiesOfEachKind(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.options.Bounds = Bounds{} })
	require.Equal(t, 2048, cap(f.bodies))
	require.Equal(t, 2048, cap(f.unprovenBodies))
	require.Equal(t, 512, cap(f.underWay))
	require.Equal(t, 8, f.lane.limiter.Limit())
	require.Equal(t, Bounds{
		Events: 512, Bodies: 2048, UnprovenBodies: 2048, BacklogPoll: time.Second, OutagePoll: time.Second, RepairAfter: 5 * time.Second,
	}, f.bounds)
}
