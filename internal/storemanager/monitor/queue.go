package monitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/backoff"
	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager/processor"
)

// How much may wait in a queue, in events and in bytes. The batch that is being processed does not count, and the page that comes last may go beyond.
// While the processor fails, no more than one page waits.
const (
	maxWaitingEvents = 500
	maxWaitingBytes  = 256 << 10
	// maxMemory bounds, in bytes, what the queues of all stores take, with the batches that are being processed, because thousands of stores may wait for
	// the same sink. Beyond it a store gets its next page only when it has none, so that each store still moves.
	maxMemory = 128 << 20
	// eventBytes is what an event takes beside its arguments, in bytes.
	eventBytes = 256
)

// queue is between the subscription of a store and the processor. The subscription must not stand still for each call of the processor, and the processor
// takes what has come meanwhile as one batch. The queue is bounded, so put waits. It has a goroutine only while it has events.
type queue struct {
	m    *monitor
	room chan struct{} // has one element when there may be room again

	mu               sync.Mutex
	batches          []processor.Batch // those that wait; at most maxWaitingEvents each, but for a page that is larger
	events           int               // how many events wait
	bytes            int               // how many bytes wait
	memory           int               // bytes, with those of the batch that is being processed
	busy             bool              // there is a worker
	failing          bool              // its batch has failed before
	processedBatches int               // counts the batches processed
	workers          sync.WaitGroup
}

// put queues a page, and waits for room before. Its only error is that of ctx, which may end before the monitor does.
func (q *queue) put(ctx context.Context, page processor.Batch) error {
	for !q.tryPut(page) {
		select {
		case <-q.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (q *queue) tryPut(page processor.Batch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := size(page)
	switch {
	case len(q.batches) > 0 && (q.failing || q.events >= maxWaitingEvents || q.bytes >= maxWaitingBytes):
		return false
	case q.busy && q.m.s.queueMemory.Load()+int64(n) > maxMemory:
		return false // room comes with the end of the batch
	}
	q.events += len(page.Events)
	q.bytes += n
	q.use(n)
	last := len(q.batches) - 1
	if last >= 0 && q.batches[last].BackendID == page.BackendID && len(q.batches[last].Events)+len(page.Events) <= maxWaitingEvents {
		q.batches[last].Events = append(q.batches[last].Events, page.Events...)
	} else {
		q.batches = append(q.batches, page)
	}
	if !q.busy {
		q.busy = true
		q.workers.Go(func() { q.work(q.m.ctx) })
	}
	return true
}

// use counts n bytes more, or fewer if n is negative.
func (q *queue) use(n int) {
	q.memory += n
	q.m.s.queueMemory.Add(int64(n))
}

func size(b processor.Batch) int {
	n := eventBytes * len(b.Events)
	for i := range b.Events {
		n += len(b.Events[i].Args)
	}
	return n
}

// wait returns when there is no worker any more, and drops what is left. Nothing may be put from then on.
func (q *queue) wait() {
	q.workers.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.use(-q.memory)
	if q.failing {
		q.failing = false
		q.m.s.taking.settled()
	}
}

// work processes until the queue is empty or ctx ends. What is left then comes again, because the cursor is before it.
func (q *queue) work(ctx context.Context) {
	for {
		b, ok := q.take()
		if !ok || !q.process(ctx, b) {
			return
		}
	}
}

func (q *queue) take() (processor.Batch, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		q.batches = nil // an idle store keeps no memory for events
		q.busy = false
		q.wake() // put may have been refused because there was a worker
		return processor.Batch{}, false
	}
	b := q.batches[0]
	q.batches[0] = processor.Batch{}
	q.batches = q.batches[1:]
	q.events -= len(b.Events)
	q.bytes -= size(b)
	q.wake()
	return b, true
}

func (q *queue) wake() {
	select {
	case q.room <- struct{}{}:
	default:
	}
}

// process offers the batch until the processor takes it. It returns false when ctx ended first.
func (q *queue) process(ctx context.Context, b processor.Batch) bool {
	m := q.m
	q.mu.Lock()
	number := q.processedBatches
	q.mu.Unlock()
	stalled := time.AfterFunc(m.s.timing.stuck, func() { q.stalled(number, b) })
	defer stalled.Stop()
	for attempt := 0; ; attempt++ {
		err := m.s.processor.Process(ctx, b)
		if err == nil {
			q.processed(b)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if attempt == 0 {
			m.s.log.Warn("events not processed, trying again", zap.String("storeId", m.id), zap.Error(err))
		}
		m.s.totals.errors.Add(1)
		m.status.failed("the event processor: " + err.Error())
		q.refused(err.Error())
		wait := m.backoff(attempt)
		if later, ok := errors.AsType[*processor.RetryAfterError](err); ok {
			wait = max(wait, time.Until(later.At))
		}
		if !backoff.Sleep(ctx, wait) {
			return false
		}
	}
}

// refused notes that the processor has not taken the batch.
func (q *queue) refused(reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.m.s.taking.refused(q.failing, reason)
	q.failing = true
}

// processed moves the cursor past the batch, which the processor has taken.
func (q *queue) processed(b processor.Batch) {
	last := b.Events[len(b.Events)-1].Seq
	q.m.s.cursors.set(q.m.id, livestore.Cursor{BackendID: b.BackendID, Seq: last})
	q.m.s.totals.events.Add(int64(len(b.Events)))
	q.mu.Lock()
	q.processedBatches++
	if q.failing {
		q.failing = false
		q.m.s.taking.settled()
	}
	q.m.s.taking.took()
	q.use(-size(b))
	q.wake()
	q.mu.Unlock()
	q.m.status.moved(b.BackendID, last)
}

// stalled shows that the batch of that number takes long, unless it has just been processed.
func (q *queue) stalled(number int, b processor.Batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.processedBatches != number {
		return
	}
	q.m.status.block(fmt.Sprintf("the event processor has not taken event %d for %s: %s",
		b.Events[0].Seq, q.m.s.timing.stuck, q.m.status.lastError()))
}
