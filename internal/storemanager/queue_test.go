package storemanager

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/livestore"
)

func TestABatchIsOfferedUntilTheProcessorTakesIt(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	var offered []Batch
	m.events.failWith(func(_ context.Context, b Batch) error {
		offered = append(offered, b) // one call at a time, so the race detector would tell
		if len(offered) <= 3 {
			return errors.New("the sink answered 500")
		}
		return nil
	})
	m.ensure(id)
	m.push(id, 4)
	m.arrives(id)
	require.GreaterOrEqual(t, len(offered), 4)
	for _, again := range offered[1:4] {
		require.Equal(t, offered[0], again)
	}
	require.Equal(t, upTo(4), m.events.seqs(id))
	s := m.store(id)
	require.Equal(t, "the event processor: the sink answered 500", s.Monitor.LastError)
	require.EqualValues(t, 3, s.Monitor.Errors)
}

func TestAProcessorThatTakesNothingMakesTheStoreStuckAndNoOther(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(context.Context, Batch) error{
		"the sink answered 400": func(context.Context, Batch) error { return errors.New("the sink answered 400") },
		"it does not return":    func(ctx context.Context, _ Batch) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := supervise(t)
			var mended atomic.Bool
			ctx, mend := context.WithCancel(t.Context())
			m.events.failWith(func(callCtx context.Context, b Batch) error {
				if b.StoreID != id || mended.Load() {
					return nil
				}
				both, cancel := context.WithCancel(callCtx)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				return fail(both, b)
			})
			m.ensure(id)
			m.ensure("other-store")
			m.push(id, 1)
			s := m.until(id, ConnectionStuck)
			require.NotNil(t, s.Monitor.ConnectedAt, "the subscription is there")
			require.Contains(t, s.Monitor.History[len(s.Monitor.History)-1].Reason, "has not taken event 1 for 50ms")
			require.Contains(t, s.Monitor.History[len(s.Monitor.History)-1].Reason, name)
			require.Zero(t, s.Monitor.Processed)

			m.push("other-store", 300)
			m.arrives("other-store")
			require.Equal(t, ConnectionConnected, m.store("other-store").Connection)

			mended.Store(true)
			mend()
			m.arrives(id)
			m.until(id, ConnectionConnected)
		})
	}
}

func TestABusyProcessorHoldsTheBackendBack(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	release := make(chan struct{})
	m.events.failWith(func(ctx context.Context, _ Batch) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	const all = 5000
	m.push(id, all)
	m.ensure(id)
	q := &m.monitor(id).queue
	held := func() int {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.events
	}
	require.Eventually(t, func() bool { return held() >= maxQueuedEvents }, patience, time.Millisecond)
	m.until(id, ConnectionStuck)
	require.Equal(t, maxQueuedEvents, held())
	require.LessOrEqual(t, m.store(id).Monitor.Head, int64(maxQueuedEvents+200), "a page in the processor, and one at the door")
	close(release)
	m.arrives(id)
	require.Equal(t, upTo(all), m.events.seqs(id))
	m.events.mu.Lock()
	defer m.events.mu.Unlock()
	require.Less(t, len(m.events.batches[id]), all/100, "what came meanwhile is one batch")
}

func TestAFailingProcessorHoldsOnePageOfAStore(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.events.failWith(func(context.Context, Batch) error { return errors.New("away") })
	m.ensure(id)
	m.push(id, 1)
	q := &m.monitor(id).queue
	require.Eventually(t, func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.failing
	}, patience, time.Millisecond)
	m.push(id, 1000)
	m.until(id, ConnectionStuck)
	require.Eventually(t, func() bool { return m.store(id).Monitor.Head >= 2 }, patience, time.Millisecond)
	q.mu.Lock()
	require.Len(t, q.batches, 1)
	require.LessOrEqual(t, q.events, 100)
	q.mu.Unlock()
	m.events.failWith(nil)
	m.arrives(id)
	require.Equal(t, upTo(1001), m.events.seqs(id))
}

func TestARetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	var calls []time.Time
	const wait = 200 * time.Millisecond // five times the longest backoff
	m.events.failWith(func(context.Context, Batch) error {
		calls = append(calls, time.Now())
		if len(calls) == 1 {
			return &RetryAfterError{At: calls[0].Add(wait), Err: errors.New("the sink answered 429")}
		}
		return nil
	})
	m.ensure(id)
	m.push(id, 1)
	m.arrives(id)
	require.GreaterOrEqual(t, calls[1].Sub(calls[0]), wait)
}

func TestAStoreIsStoppedWhileItsProcessorIsBusy(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	busy := make(chan struct{}, 10)
	m.events.failWith(func(ctx context.Context, _ Batch) error {
		busy <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	m.ensure(id)
	m.push(id, 1)
	<-busy
	m.remove(id)
	require.Equal(t, []string{id}, m.events.stops())
	m.events.failWith(nil)
	m.ensure(id)
	m.arrives(id)
	require.Equal(t, upTo(1), m.events.seqs(id), "the event was not taken, so it comes again")
}

func TestAPageThatWaitsForTheBudgetIsWokenWhenTheWorkerEnds(t *testing.T) {
	t.Parallel()
	s := &Supervisor{log: zap.NewNop(), cursors: newCursors(nil, zap.NewNop()), timing: defaultTiming}
	m := &monitor{s: s, id: id, status: status{storeID: id, now: time.Now, changed: func(Change) {}}}
	m.queue = queue{m: m, room: make(chan struct{}, 1)}
	q, page := &m.queue, Batch{id, "B", []livestore.Event{{Seq: 1}}}
	// A worker, driven by hand, has the only batch; other stores hold all that all may hold.
	q.busy = true
	q.hold(size(page))
	s.held.Add(maxHeldBytes)
	require.False(t, q.tryPut(page))
	q.processed(page)
	<-q.room
	require.False(t, q.tryPut(page), "the worker has not looked for more yet")
	_, more := q.take()
	require.False(t, more)
	select {
	case <-q.room:
	default:
		require.Fail(t, "nobody would ever wake the page that waits")
	}
}
