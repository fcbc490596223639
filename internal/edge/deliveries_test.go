package edge

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
	"storekeeper/workflows"
)

func TestARepeatOfADeliveryIsAnsweredAsTheFirstAndDoesNothing(t *testing.T) {
	t.Parallel()
	deleteAt := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		result workflows.Result
		status int
	}{
		"an outcome":               {workflows.Result{Status: workflows.StatusMonitoringStarted, Connection: "connecting"}, 200},
		"one with more to say":     {workflows.Result{Status: workflows.StatusDeletionScheduled, DeleteAt: &deleteAt, Detail: "<&>"}, 200},
		"an outcome not yet known": {workflows.Result{Status: workflows.StatusAccepted}, 202},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, func(f *fixture) {
				f.temporal.apply = func(context.Context, workflows.Event) (workflows.Result, error) { return test.result, nil }
			})
			first := f.send(t, event("workspace.created"), "webhook-id", "evt_1")
			require.Equal(t, test.status, first.status)
			require.Empty(t, first.header.Get("Idempotent-Replayed"))
			for range 3 {
				again := f.send(t, event("workspace.created"), "webhook-id", "evt_1")
				require.Equal(t, test.status, again.status)
				require.Equal(t, first.body, again.body)
				require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
			}
			require.Len(t, f.temporal.applied(), 1)
			require.Equal(t, 3, strings.Count(f.log.String(), "webhook answered again"))
			require.Contains(t, f.do(t, http.MethodGet, "/metrics", "").body, `storekeeper_webhook_events_total{event="other",outcome="replayed"} 3`)
		})
	}
}

func TestADeliveryIDWithAnotherBodyIsRefusedAndReported(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Equal(t, 200, f.send(t, event("workspace.created"), "webhook-id", "evt_1").status)
	for _, body := range []string{event("workspace.deleted"), event("workspace.created") + " ", "no JSON"} {
		resp := f.send(t, body, "webhook-id", "evt_1")
		requireProblem(t, resp, 409, "delivery_conflict", "This webhook-id came before with another body")
	}
	require.Len(t, f.temporal.applied(), 1)
	require.Equal(t, 3, strings.Count(f.log.String(), "delivery id used for another body"))
	require.Contains(t, f.do(t, http.MethodGet, "/metrics", "").body, `outcome="delivery_conflict"} 3`)
	require.Equal(t, 200, f.send(t, event("workspace.created"), "webhook-id", "evt_1").status, "the first is still known")
}

func TestWhatWasNotTakenIsNotRemembered(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Equal(t, 400, f.send(t, "no JSON", "webhook-id", "evt_1").status)
	f.temporal.set(func(o *fakeOrchestrator) { o.down = true })
	require.Equal(t, 503, f.send(t, event("workspace.created"), "webhook-id", "evt_1").status)
	f.temporal.set(func(o *fakeOrchestrator) {
		o.down = false
		o.apply = func(context.Context, workflows.Event) (workflows.Result, error) {
			return workflows.Result{}, fmt.Errorf("%w: inner text", orchestrator.ErrInvalid)
		}
	})
	require.Equal(t, 400, f.send(t, event("workspace.created"), "webhook-id", "evt_1").status)
	f.temporal.set(func(o *fakeOrchestrator) { o.apply = nil })
	require.Equal(t, 200, f.send(t, event("workspace.created"), "webhook-id", "evt_1").status)
}

func TestDeliveriesOfOneIDAtOnceAreHandledOnce(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 20), make(chan struct{})
	f := setup(t, func(f *fixture) {
		f.temporal.apply = func(context.Context, workflows.Event) (workflows.Result, error) {
			entered <- struct{}{}
			<-release
			return workflows.Result{Status: workflows.StatusMonitoringStarted}, nil
		}
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	deliver := func(body string) {
		resp, err := f.exchange(t, http.MethodPost, webhooks, body,
			"X-Webhook-Secret", secret, "Content-Type", "application/json", "webhook-id", "evt_1")
		mu.Lock()
		defer mu.Unlock()
		if err == nil && resp.status == 409 {
			resp.body = ""
		}
		answers[fmt.Sprint(resp.status, resp.body, err)]++
	}
	wg.Go(func() { deliver(event("workspace.created")) })
	<-entered
	for range 8 {
		wg.Go(func() { deliver(event("workspace.created")) })
	}
	wg.Go(func() { deliver(event("workspace.deleted")) })
	close(release)
	wg.Wait()
	require.Len(t, f.temporal.applied(), 1)
	require.Len(t, answers, 2, "%v", answers)
	require.Equal(t, 1, answers["409<nil>"]+answers["409 <nil>"], "the other body, even at the same time: %v", answers)
}

func TestTheMemoryIsSharedByAllEdges(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := setup(t, func(o *fixture) { o.shared = f.registry })
	first := f.send(t, event("workspace.created"), "webhook-id", "evt_1")
	again := other.send(t, event("workspace.created"), "webhook-id", "evt_1")
	require.Equal(t, first.body, again.body)
	require.Empty(t, other.temporal.applied())
}

func TestTheFirstEdgeToRememberDecides(t *testing.T) {
	t.Parallel()
	var f *fixture
	kept := storemanager.Delivery{ID: "evt_1", BodyHash: strings.Repeat("0", 64), Status: 200, Answer: []byte(`{}`)}
	f = setup(t, func(o *fixture) {
		o.temporal.apply = func(ctx context.Context, _ workflows.Event) (workflows.Result, error) {
			_, err := f.registry.Remember(ctx, kept)
			return workflows.Result{Status: workflows.StatusMonitoringStarted}, err
		}
	})
	requireProblem(t, f.send(t, event("workspace.created"), "webhook-id", "evt_1"), 409, "delivery_conflict",
		"This webhook-id came before with another body")
}

func TestWithoutItsMemoryTheEdgeTakesEventsAllTheSame(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.NoError(t, f.registry.Close())
	for range 2 {
		require.Equal(t, 200, f.send(t, event("workspace.created"), "webhook-id", "evt_1").status)
	}
	require.Len(t, f.temporal.applied(), 2)
	require.Contains(t, f.log.String(), "delivery memory not asked")
	require.Contains(t, f.log.String(), "delivery not remembered")
}

func TestASenderWithoutIDsIsNotRemembered(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for range 2 {
		resp := f.send(t, event("workspace.created"))
		require.Equal(t, 200, resp.status)
		require.Empty(t, resp.header.Get("Idempotent-Replayed"))
	}
	require.Len(t, f.temporal.applied(), 2, "what makes its repeats harmless is the state they find")
}
