package monitor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/processor"
	"storekeeper/internal/storemanager/storetest"
)

func TestABatchIsOfferedUntilTheProcessorTakesIt(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	var offered []processor.Batch
	m.events.failWith(func(_ context.Context, b processor.Batch) error {
		offered = append(offered, b) // one call at a time, so the race detector would tell
		if len(offered) <= 3 {
			return errors.New("the sink answered 500")
		}
		return nil
	})
	m.ensure(storetest.ID)
	m.push(storetest.ID, 4)
	m.arrives(storetest.ID)
	require.GreaterOrEqual(t, len(offered), 4)
	for _, again := range offered[1:4] {
		require.Equal(t, offered[0], again)
	}
	require.Equal(t, upTo(4), m.events.seqs(storetest.ID))
	s := m.store(storetest.ID)
	require.Equal(t, "the event processor: the sink answered 500", s.Monitor.LastError)
	require.EqualValues(t, 3, s.Monitor.Errors)
}

func TestAProcessorThatTakesNothingMakesTheStoreStuckAndNoOther(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(context.Context, processor.Batch) error{
		"the sink answered 400": func(context.Context, processor.Batch) error { return errors.New("the sink answered 400") },
		"it does not return":    func(ctx context.Context, _ processor.Batch) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := supervise(t)
			var mended atomic.Bool
			ctx, mend := context.WithCancel(t.Context())
			m.events.failWith(func(callCtx context.Context, b processor.Batch) error {
				if b.StoreID != storetest.ID || mended.Load() {
					return nil
				}
				both, cancel := context.WithCancel(callCtx)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				return fail(both, b)
			})
			m.ensure(storetest.ID)
			m.ensure("other-store")
			m.push(storetest.ID, 1)
			s := m.until(storetest.ID, storemanager.ConnectionStuck)
			require.NotNil(t, s.Monitor.ConnectedAt, "the subscription is there")
			require.Contains(t, s.Monitor.History[len(s.Monitor.History)-1].Reason, "has not taken event 1 for 50ms")
			require.Contains(t, s.Monitor.History[len(s.Monitor.History)-1].Reason, name)
			require.Zero(t, s.Monitor.Processed)

			m.push("other-store", 300)
			m.arrives("other-store")
			require.Equal(t, storemanager.ConnectionConnected, m.store("other-store").Connection)

			mended.Store(true)
			mend()
			m.arrives(storetest.ID)
			m.until(storetest.ID, storemanager.ConnectionConnected)
		})
	}
}

func TestABusyProcessorHoldsTheBackendBack(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	release := make(chan struct{})
	m.events.failWith(func(ctx context.Context, _ processor.Batch) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	const all = 5000
	m.push(storetest.ID, all)
	m.ensure(storetest.ID)
	q := &m.monitor(storetest.ID).queue
	waiting := func() int {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.events
	}
	require.Eventually(t, func() bool { return waiting() >= maxWaitingEvents }, patience, time.Millisecond)
	m.until(storetest.ID, storemanager.ConnectionStuck)
	require.Equal(t, maxWaitingEvents, waiting())
	require.LessOrEqual(t, m.store(storetest.ID).Monitor.Head, int64(maxWaitingEvents+200), "a page in the processor, and one at the door")
	close(release)
	m.arrives(storetest.ID)
	require.Equal(t, upTo(all), m.events.seqs(storetest.ID))
	m.events.mu.Lock()
	defer m.events.mu.Unlock()
	require.Less(t, len(m.events.batches[storetest.ID]), all/100, "what came meanwhile is one batch")
}

func TestAFailingProcessorHoldsOnePageOfAStore(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.events.failWith(func(context.Context, processor.Batch) error { return errors.New("away") })
	m.ensure(storetest.ID)
	m.push(storetest.ID, 1)
	q := &m.monitor(storetest.ID).queue
	require.Eventually(t, func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.failing
	}, patience, time.Millisecond)
	m.push(storetest.ID, 1000)
	m.until(storetest.ID, storemanager.ConnectionStuck)
	require.Eventually(t, func() bool { return m.store(storetest.ID).Monitor.Head >= 2 }, patience, time.Millisecond)
	q.mu.Lock()
	require.Len(t, q.batches, 1)
	require.LessOrEqual(t, q.events, 100)
	q.mu.Unlock()
	m.events.failWith(nil)
	m.arrives(storetest.ID)
	require.Equal(t, upTo(1001), m.events.seqs(storetest.ID))
}

func TestARetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	var calls []time.Time
	const wait = 200 * time.Millisecond // five times the longest backoff
	m.events.failWith(func(context.Context, processor.Batch) error {
		calls = append(calls, time.Now())
		if len(calls) == 1 {
			return &processor.RetryAfterError{At: calls[0].Add(wait), Err: errors.New("the sink answered 429")}
		}
		return nil
	})
	m.ensure(storetest.ID)
	m.push(storetest.ID, 1)
	m.arrives(storetest.ID)
	require.GreaterOrEqual(t, calls[1].Sub(calls[0]), wait)
}

func TestAStoreIsStoppedWhileItsProcessorIsBusy(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	busy := make(chan struct{}, 10)
	m.events.failWith(func(ctx context.Context, _ processor.Batch) error {
		busy <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	m.ensure(storetest.ID)
	m.push(storetest.ID, 1)
	<-busy
	m.remove(storetest.ID)
	require.Equal(t, []string{storetest.ID}, m.events.stops())
	m.events.failWith(nil)
	m.ensure(storetest.ID)
	m.arrives(storetest.ID)
	require.Equal(t, upTo(1), m.events.seqs(storetest.ID), "the event was not taken, so it comes again")
}

func TestAPageThatWaitsForTheBudgetIsWokenWhenTheWorkerEnds(t *testing.T) {
	t.Parallel()
	s := &Supervisor{log: zap.NewNop(), cursors: newCursors(nil, zap.NewNop()), timing: defaultTiming}
	m := &monitor{s: s, id: storetest.ID, status: status{storeID: storetest.ID, now: time.Now, changed: func(storemanager.Change) {}}}
	m.queue = queue{m: m, room: make(chan struct{}, 1)}
	q, page := &m.queue, processor.Batch{StoreID: storetest.ID, BackendID: "B", Events: []livestore.Event{{Seq: 1}}}
	// A worker, driven by hand, has the only batch; other stores hold all that all may hold.
	q.busy = true
	q.use(size(page))
	s.queueMemory.Add(maxMemory)
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
