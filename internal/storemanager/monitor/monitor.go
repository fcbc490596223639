package monitor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/backoff"
	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/processor"
	"storekeeper/internal/tracing"
)

// timing is how patient monitors are.
type timing struct {
	// minBackoff and maxBackoff bound the wait before an attempt that follows a failed one.
	minBackoff, maxBackoff time.Duration
	// stable is how long a subscription must have lasted so that its end counts as the first failure again.
	stable time.Duration
	// stuck is how long the processor may take for a batch, all attempts counted.
	stuck time.Duration
	// ping and silence are those of the livestore client.
	ping, silence time.Duration
	// outage is how long most stores of a backend must be without a subscription for an outage. look is how often that is looked at.
	outage, look time.Duration
}

var defaultTiming = timing{
	minBackoff: time.Second, maxBackoff: 30 * time.Second, stable: 30 * time.Second, stuck: time.Minute,
	ping: livestore.DefaultPingInterval, silence: livestore.DefaultSilenceTimeout,
	outage: 5 * time.Second, look: time.Second,
}

// stuckAttempts is how often in a row the backend must fail at the same event to be stuck there.
const stuckAttempts = 3

// monitor keeps one live subscription to the events of one store, from its cursor on, for as long as it lives. Events go through queue to the processor.
type monitor struct {
	s       *Supervisor
	id      string
	url     string
	backend *backend
	cause   tracing.Cause // the request that it was begun by; its trace and id are in ctx
	status  status
	queue   queue

	ctx  context.Context // ends with stop
	stop context.CancelFunc
	done chan struct{} // closed when nothing of it is left

	// Of the goroutine of run alone:
	position livestore.Cursor // where the next pull goes on: after the newest event received
	failures int              // attempts in a row that failed
	resets   int              // mismatches of the backend id in a row
	failedAt int64            // the position of the newest failure that the backend answered a pull with
	sameSpot int              // and how many of them there are in a row
}

// run monitors until ctx ends. old is the monitor that the store had before and that is ending; nil if there was none.
func (m *monitor) run(old *monitor) {
	ctx := m.ctx
	defer close(m.done)
	if old != nil {
		<-old.done
	}
	m.status.begin() // not earlier, or watchers would hear of the end of the old one last
	defer m.status.end()
	if !m.begin(ctx) {
		return
	}
	for ctx.Err() == nil {
		m.status.attempting()
		lasted, err := m.subscribe(ctx)
		if ctx.Err() != nil {
			break
		}
		m.failed(ctx, err, lasted)
	}
	m.queue.wait()
	m.s.processor.Stop(m.id)
}

// begin loads the cursor. It returns false when ctx ended first.
func (m *monitor) begin(ctx context.Context) bool {
	for attempt := 0; ; attempt++ {
		cursor, err := m.s.cursors.get(ctx, m.id)
		if err == nil {
			m.position = cursor
			m.status.resume(cursor.Seq)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		const reason = "its cursor can't be read" // err is not for everybody
		wait := m.backoff(attempt)
		m.s.log.Warn("store not monitored yet", zap.String("storeId", m.id), tracing.Field(ctx), zap.Duration("retryIn", wait), zap.Error(err))
		m.status.failed(reason)
		m.status.disconnected(storemanager.ConnectionError, reason, wait)
		if !backoff.Sleep(ctx, wait) {
			return false
		}
	}
}

// subscribe dials the backend and pulls until that ends. The error is never nil. lasted is how long there was a subscription; 0 if there was none.
func (m *monitor) subscribe(ctx context.Context) (lasted time.Duration, err error) {
	conn, err := m.s.dials.dial(ctx, m.backend, m.s.options(m.id, m.url))
	if _, not := errors.AsType[*notDialedError](err); !not {
		m.status.attempted()
	}
	if err != nil {
		return 0, err
	}
	defer m.s.dials.hangUp()
	var since time.Time
	err = conn.Pull(ctx, m.position, func(up context.Context, p livestore.Page) error {
		if since.IsZero() {
			since = time.Now()
			m.s.totals.subscribed.Add(1)
			m.backend.subscribed(+1)
			if m.status.connected() {
				m.s.totals.reconnects.Add(1)
			} else if tracing.RequestID(ctx) != "" { // the others are counted: a process may begin with thousands
				m.s.log.Info("store connected", zap.String("storeId", m.id), tracing.Field(ctx))
			}
		}
		return m.receive(up, p)
	})
	if since.IsZero() {
		return 0, err
	}
	m.s.totals.subscribed.Add(-1)
	m.backend.subscribed(-1)
	return time.Since(since), err
}

// receive queues the events of a page. It waits for room first, as long as the connection is up, so the backend sends no more than we can take.
func (m *monitor) receive(up context.Context, p livestore.Page) error {
	if len(p.Events) == 0 {
		m.status.heard(0)
		return nil
	}
	last := p.Events[len(p.Events)-1].Seq
	m.status.heard(last)
	if err := m.queue.put(up, processor.Batch{StoreID: m.id, BackendID: p.BackendID, Events: p.Events}); err != nil {
		return err
	}
	m.position = livestore.Cursor{BackendID: p.BackendID, Seq: last}
	return nil
}

// failed shows why the attempt failed, and waits for the next.
func (m *monitor) failed(ctx context.Context, err error, lasted time.Duration) {
	if lasted >= m.s.timing.stable {
		m.failures, m.resets, m.sameSpot = 0, 0, 0
	}
	var quiet time.Duration // what the backend asked for
	if not, ok := errors.AsType[*notDialedError](err); ok {
		err, quiet = not.Cause, not.Quiet
	} else {
		m.s.totals.errors.Add(1)
		m.status.failed(err.Error())
		if refused, ok := errors.AsType[*livestore.DialError](err); ok {
			quiet = refused.RetryAfter
			if refused.Token() {
				m.s.refused()
			}
		}
	}
	link, reason := m.judge(err)
	wait := m.backoff(m.failures)
	m.failures++
	if quiet > 0 {
		wait = max(wait, quiet+m.spread(quiet))
	}
	m.backend.failed(reason)
	if m.status.disconnected(link, reason, wait) {
		m.s.log.Info("store not connected", zap.String("storeId", m.id), tracing.Field(ctx), zap.String("connection", string(link)),
			zap.Duration("retryIn", wait), zap.String("reason", reason))
	}
	backoff.Sleep(ctx, wait)
}

// spread is how much longer a store waits than its backend asked for. All stores of the backend have heard the same, and are not to come back at the
// same moment.
func (m *monitor) spread(quiet time.Duration) time.Duration {
	return rand.N(min(max(quiet/4, m.s.timing.minBackoff), m.s.timing.maxBackoff)) //nolint:gosec // it guards nothing
}

// judge says what the end of an attempt means. The texts of all these errors may be shown (see livestore).
func (m *monitor) judge(err error) (storemanager.ConnectionState, string) {
	if errors.Is(err, livestore.ErrBackendIDMismatch) {
		m.status.reset(m.position.BackendID)
		m.position, m.sameSpot = livestore.Cursor{}, 0
		m.s.totals.resets.Add(1)
		m.s.log.Warn("store was reset at the sync backend, reading its events from the beginning", zap.String("storeId", m.id), tracing.Field(m.ctx))
		if m.resets++; m.resets > 1 {
			return storemanager.ConnectionError, err.Error() // it changes its id all the time: two backends under one name, perhaps
		}
		return storemanager.ConnectionConnecting, err.Error()
	}
	dialing, isDial := errors.AsType[*livestore.DialError](err)
	switch {
	case isDial && dialing.Status > 0 && dialing.Status < 500 && dialing.Status != http.StatusTooManyRequests:
		m.sameSpot = 0
		return storemanager.ConnectionError, err.Error()
	case isDial, errors.Is(err, livestore.ErrDisconnected), errors.Is(err, livestore.ErrSilence), errors.Is(err, livestore.ErrBehind):
		m.sameSpot = 0
		return storemanager.ConnectionDisconnected, err.Error()
	case errors.Is(err, errTooManyFiles):
		return storemanager.ConnectionError, err.Error()
	}
	if m.sameSpot == 0 || m.failedAt != m.position.Seq {
		m.failedAt, m.sameSpot = m.position.Seq, 0
	}
	m.sameSpot++
	if m.sameSpot < stuckAttempts {
		return storemanager.ConnectionError, err.Error()
	}
	return storemanager.ConnectionStuck, fmt.Sprintf("no way past event %d: %s", m.position.Seq, err.Error())
}

func (m *monitor) backoff(failures int) time.Duration {
	return backoff.Delay(m.s.timing.minBackoff, m.s.timing.maxBackoff, failures)
}
