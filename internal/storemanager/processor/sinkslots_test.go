package processor

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hanging are POSTs of several stores, each of a call of Process, that are under way.
type hanging struct {
	cancel context.CancelFunc
	ended  chan error
}

func (s *sink) process(t *testing.T, name string, stores int) *hanging {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h := &hanging{cancel, make(chan error, stores)}
	for n := range stores {
		go func() { h.ended <- s.Process(ctx, batchOf(fmt.Sprintf("%s-%d", name, n), 1, 1)) }()
	}
	return h
}

// stop ends the context of the calls and requires that this ends them.
func (h *hanging) stop(t *testing.T) {
	t.Helper()
	h.cancel()
	for range cap(h.ended) {
		require.ErrorIs(t, <-h.ended, context.Canceled)
	}
}

// hangingSink answers with the status that its field is set to, or, when that is 0, not before the caller has gone.
type hangingSink struct {
	*sink
	mu     sync.Mutex
	status map[string]int // by the first part of a store's id
	hang   int            // how many hang now
}

func setupHangingSink(t *testing.T) *hangingSink {
	t.Helper()
	h := &hangingSink{status: map[string]int{}}
	h.sink = setupSink(t, func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(r.Header.Get("webhook-id"), "-")
		h.mu.Lock()
		status := h.status[name]
		if status == 0 {
			h.hang++
		}
		h.mu.Unlock()
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		<-r.Context().Done()
		h.mu.Lock()
		h.hang--
		h.mu.Unlock()
	})
	return h
}

func (h *hangingSink) set(name string, status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status[name] = status
}

func (h *hangingSink) requireHanging(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.hang == n
	}, 30*time.Second, 5*time.Millisecond)
}

func TestFailingStoresNeverTakeAPlaceOfOthers(t *testing.T) {
	t.Parallel()
	h := setupHangingSink(t)
	h.set("good", http.StatusOK)
	h.set("bad", http.StatusInternalServerError)
	const stores = 3 * failingSinkSlots
	for range 2 { // a single failure is forgiven
		require.Empty(t, h.failingSlots)
		failed := h.process(t, "bad", stores)
		for range stores {
			require.ErrorContains(t, <-failed.ended, "500")
		}
	}

	// They fail once more, this time by hanging: some do, the others wait for them.
	h.set("bad", 0)
	again := h.process(t, "bad", stores)
	h.requireHanging(t, failingSinkSlots)
	require.Empty(t, h.slots)

	// More stores in good order than there are places get through meanwhile.
	good := h.process(t, "good", 2*sinkSlots)
	for range 2 * sinkSlots {
		require.NoError(t, <-good.ended)
	}
	h.requireHanging(t, failingSinkSlots)
	again.stop(t)
	require.Empty(t, h.failingSlots)

	// A cancelled attempt says nothing of the sink; the next success makes a store an ordinary one again.
	require.Len(t, h.failing, stores)
	h.set("bad", http.StatusOK)
	mended := h.process(t, "bad", stores)
	for range stores {
		require.NoError(t, <-mended.ended)
	}
	require.Empty(t, h.failing)
}

func TestTheNumberOfPostsIsBounded(t *testing.T) {
	t.Parallel()
	h := setupHangingSink(t)
	h.set("bad", http.StatusInternalServerError)
	for range 2 {
		require.Error(t, h.Process(t.Context(), batchOf("bad-0", 1, 1)))
	}

	many := h.process(t, "many", 2*sinkSlots)
	h.requireHanging(t, sinkSlots)
	require.Error(t, h.Process(t.Context(), batchOf("bad-0", 1, 1)), "a failing store has places of its own")
	many.stop(t)
	require.Empty(t, h.slots)
	require.Len(t, h.failing, 1)
}

func TestAStoppedStoreIsForgotten(t *testing.T) {
	t.Parallel()
	s := setupSink(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	require.Error(t, s.Process(t.Context(), batchOf("store-1", 1, 1)))
	require.Len(t, s.failing, 1)
	s.Stop("store-1")
	require.Empty(t, s.failing)
	s.Stop("store-1")
}

func TestASinkThatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	h := setupHangingSink(t)
	h.timeout = 50 * time.Millisecond
	require.EqualError(t, h.Process(t.Context(), batchOf("store-1", 1, 1)), "the event sink did not answer within 50ms")
	require.Len(t, h.failing, 1)
}
