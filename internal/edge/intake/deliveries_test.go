package intake

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/telemetry"
)

func TestARepeatOfADeliveryIsAnsweredAsTheFirstAndDoesNothing(t *testing.T) {
	t.Parallel()
	deleteAt := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		result contract.Result
		status int
	}{
		"an outcome":               {contract.Result{Status: contract.StatusMonitoringStarted, Connection: "connecting"}, 200},
		"one with more to say":     {contract.Result{Status: contract.StatusDeletionScheduled, DeleteAt: &deleteAt, Detail: "<&>"}, 200},
		"an outcome not yet known": {contract.Result{Status: contract.StatusAccepted}, 202},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, func(f *fixture) {
				f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) { return test.result, nil }
			})
			first := f.Send(t, event("workspace.created"), "webhook-id", "evt_1")
			require.Equal(t, test.status, first.Status)
			require.Empty(t, first.Header.Get("Idempotent-Replayed"))
			for range 3 {
				again := f.Send(t, event("workspace.created"), "webhook-id", "evt_1")
				require.Equal(t, test.status, again.Status)
				require.Equal(t, first.Body, again.Body)
				require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
			}
			require.Len(t, f.Temporal.Applied(), 1)
			require.Equal(t, 3, strings.Count(f.Logs.String(), "webhook answered again"))
			require.Contains(t, f.Do(t, http.MethodGet, "/metrics", "").Body, `storekeeper_webhook_events_total{event="other",outcome="replayed"} 3`)
		})
	}
}

func TestADeliveryIDWithAnotherBodyIsRefusedAndReported(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	for _, body := range []string{event("workspace.deleted"), event("workspace.created") + " ", "no JSON"} {
		resp := f.Send(t, body, "webhook-id", "evt_1")
		edgetest.RequireProblem(t, resp, 409, "delivery_conflict", "This webhook-id came before with another body")
	}
	require.Len(t, f.Temporal.Applied(), 1)
	require.Equal(t, 3, strings.Count(f.Logs.String(), "delivery id used for another body"))
	require.Regexp(t, `"delivery id used for another body","requestId":"[^"]+","deliveryId":"evt_1"`, f.Logs.String())
	require.Regexp(t, `"webhook answered","requestId":"[^"]+"`, f.Logs.String())
	require.Contains(t, f.Do(t, http.MethodGet, "/metrics", "").Body, `outcome="delivery_conflict"} 3`)
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status, "the first is still known")
}

func TestWhatWasNotTakenIsNotRemembered(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Equal(t, 400, f.Send(t, "no JSON", "webhook-id", "evt_1").Status)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = true })
	require.Equal(t, 503, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	f.Temporal.Set(func(o *edgetest.Orchestrator) {
		o.Down = false
		o.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
			return contract.Result{}, fmt.Errorf("%w: inner text", orchestrator.ErrInvalid)
		}
	})
	require.Equal(t, 400, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.OnApply = nil })
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
}

func TestDeliveriesOfOneIDAtOnceAreHandledOnce(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 20), make(chan struct{})
	f := setup(t, func(f *fixture) {
		f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
			entered <- struct{}{}
			<-release
			return contract.Result{Status: contract.StatusMonitoringStarted}, nil
		}
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	deliver := func(body string) {
		resp, err := f.Exchange(t, http.MethodPost, webhooks, body,
			"X-Webhook-Secret", secret, "Content-Type", "application/json", "webhook-id", "evt_1")
		mu.Lock()
		defer mu.Unlock()
		if err == nil && resp.Status == 409 {
			resp.Body = ""
		}
		answers[fmt.Sprint(resp.Status, resp.Body, err)]++
	}
	wg.Go(func() { deliver(event("workspace.created")) })
	<-entered
	for range 8 {
		wg.Go(func() { deliver(event("workspace.created")) })
	}
	wg.Go(func() { deliver(event("workspace.deleted")) })
	close(release)
	wg.Wait()
	require.Len(t, f.Temporal.Applied(), 1)
	require.Len(t, answers, 2, "%v", answers)
	require.Equal(t, 1, answers["409<nil>"]+answers["409 <nil>"], "the other body, even at the same time: %v", answers)
}

func TestTheMemoryIsSharedByAllEdges(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := setup(t, func(o *fixture) { o.Registry = f.Registry })
	first := f.Send(t, event("workspace.created"), "webhook-id", "evt_1")
	again := other.Send(t, event("workspace.created"), "webhook-id", "evt_1")
	require.Equal(t, first.Body, again.Body)
	require.Empty(t, other.Temporal.Applied())
}

func TestTheFirstEdgeToRememberDecides(t *testing.T) {
	t.Parallel()
	var f *fixture
	kept := deliveries.Delivery{ID: "evt_1", BodyHash: strings.Repeat("0", 64), Status: 200, Answer: []byte(`{}`)}
	f = setup(t, func(o *fixture) {
		o.Temporal.OnApply = func(ctx context.Context, _ contract.Event) (contract.Result, error) {
			_, err := f.Registry.Remember(ctx, kept)
			return contract.Result{Status: contract.StatusMonitoringStarted}, err
		}
	})
	edgetest.RequireProblem(t, f.Send(t, event("workspace.created"), "webhook-id", "evt_1"), 409, "delivery_conflict",
		"This webhook-id came before with another body")
}

func TestWithoutItsMemoryTheEdgeTakesEventsAllTheSame(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.NoError(t, f.Registry.Close())
	for range 2 {
		require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	}
	require.Len(t, f.Temporal.Applied(), 2)
	require.Regexp(t, `"delivery memory not asked","requestId":"[^"]+"`, f.Logs.String())
	require.Regexp(t, `"delivery not remembered","requestId":"[^"]+"`, f.Logs.String())
}

// memory is a store manager whose memory of deliveries does what the test wants.
type memory struct {
	Memory
	recall   func(context.Context) error
	remember func(context.Context) error
}

func (m memory) Delivery(ctx context.Context, id string) (*deliveries.Delivery, error) {
	if err := m.recall(ctx); err != nil {
		return nil, err
	}
	return m.Memory.Delivery(ctx, id)
}

func (m memory) Remember(ctx context.Context, d deliveries.Delivery) (deliveries.Delivery, error) {
	if err := m.remember(ctx); err != nil {
		return deliveries.Delivery{}, err
	}
	return m.Memory.Remember(ctx, d)
}

func TestAMemoryThatHangsCostsASecondOnceInAWhile(t *testing.T) {
	t.Parallel()
	f := setup(t)
	asked := 0
	fine := func(context.Context) error { return nil }
	hangs := func(ctx context.Context) error {
		asked++
		until, ok := ctx.Deadline()
		require.True(t, ok)
		require.LessOrEqual(t, time.Until(until), time.Second)
		return context.DeadlineExceeded
	}
	f.memory = memory{f.Registry, hangs, hangs}
	for range 3 {
		f.memoryAway.set() // a slow test must not outlast it
		require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	}
	require.Zero(t, asked)
	f.memoryAway.nanos.Add(-int64(time.Second))
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	require.Positive(t, asked)
	require.True(t, f.memoryAway.within(time.Minute))

	f.memoryAway.clear()
	f.memory = memory{f.Registry, fine, hangs}
	asked = 0
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	require.Equal(t, 1, asked)
}

func TestADeliveryIsRememberedWhenItsSenderHasHungUp(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, webhooks, strings.NewReader(event("workspace.created")))
	r.Header.Set("X-Webhook-Secret", secret)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("webhook-id", "evt_1")
	f.handler.ServeHTTP(httptest.NewRecorder(), r)
	known, err := f.Registry.Delivery(t.Context(), "evt_1")
	require.NoError(t, err)
	require.NotNil(t, known)
	require.NotContains(t, f.Logs.String(), "delivery memory not asked")
}

func TestAConflictIsCapturedInSentryOnceInAWhile(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var mu sync.Mutex
	captured := ""
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		captured += string(body)
	}))
	defer server.Close()
	sentry, err := telemetry.NewSentry(telemetry.SentryOptions{DSN: strings.Replace(server.URL, "http://", "http://key@", 1) + "/1"})
	require.NoError(t, err)
	defer sentry.Close()
	f.sentry = sentry
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "webhook-id", "evt_1").Status)
	for range 30 {
		require.Equal(t, 409, f.Send(t, event("workspace.deleted"), "webhook-id", "evt_1").Status)
	}
	require.True(t, sentry.Flush(30*time.Second))
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 1, strings.Count(captured, errDeliveryConflict.Error()))
	require.Contains(t, captured, `"operation":"webhook"`)
	require.Less(t, strings.Count(f.Logs.String(), "delivery id used for another body"), 30, "a known sender can't fill the log either")
}

func TestASenderWithoutIDsIsNotRemembered(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for range 2 {
		resp := f.Send(t, event("workspace.created"))
		require.Equal(t, 200, resp.Status)
		require.Empty(t, resp.Header.Get("Idempotent-Replayed"))
	}
	require.Len(t, f.Temporal.Applied(), 2, "what makes its repeats harmless is the state they find")
}
