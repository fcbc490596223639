//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"storekeeper/internal/livestore"
	"storekeeper/tests/bench/internal/measure"
	"storekeeper/tests/proctest"
)

// pushSize is how many events are pushed at a time.
const pushSize = 10

// load says what is sent. The events are spread evenly over the stores and over the time.
type load struct {
	stores   int
	rate     int // events per second
	duration time.Duration
}

// interval is the time between two pushes to the same store.
func (l load) interval() time.Duration {
	return time.Duration(l.stores*pushSize) * time.Second / time.Duration(l.rate)
}

func (l load) pushes() int { return int(l.duration / l.interval()) }

// sentEvent is the argument of the events.
type sentEvent struct {
	// At is when the event was due to be sent, in microseconds since 1970. A generator that is late thus makes the latency look worse, and
	// never better.
	At   int64  `json:"at"`
	Text string `json:"text"`
}

// generator pushes events to the backend, over one connection for each store.
type generator struct {
	load
	conns []*livestore.Conn
	sent  atomic.Int64

	mu   sync.Mutex
	lags []time.Duration // how late each push was
}

func newGenerator(ctx context.Context, l load, url string) (*generator, error) {
	g := &generator{load: l, conns: make([]*livestore.Conn, l.stores)}
	dialing, ctx := errgroup.WithContext(ctx)
	dialing.SetLimit(maxDials)
	for i := range g.conns {
		dialing.Go(func() (err error) {
			g.conns[i], err = livestore.Dial(ctx, syncOptions(url, storeID(i)))
			return err
		})
	}
	if err := dialing.Wait(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *generator) close() {
	for _, c := range g.conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// run sends all events and returns once the backend has taken them.
func (g *generator) run(ctx context.Context) error {
	start := time.Now()
	pushing, ctx := errgroup.WithContext(ctx)
	for i, c := range g.conns {
		first := start.Add(g.interval() * time.Duration(i) / time.Duration(g.stores))
		pushing.Go(func() error { return g.push(ctx, c, first) })
	}
	return pushing.Wait()
}

func (g *generator) push(ctx context.Context, c *livestore.Conn, due time.Time) error {
	head := int64(0)
	for range g.pushes() {
		if err := wait(ctx, time.Until(due)); err != nil {
			return err
		}
		lag := time.Since(due)
		args, err := json.Marshal(sentEvent{due.UnixMicro(), strings.Repeat("x", 100)})
		if err != nil {
			return err
		}
		events := make([]livestore.Event, pushSize)
		for i := range events {
			events[i] = livestore.Event{Name: "v1.Bench", Args: args, Seq: head + 1, Parent: head, ClientID: "bench", SessionID: "bench"}
			head++
		}
		if err := c.Push(ctx, "", events); err != nil {
			return err
		}
		g.sent.Add(pushSize)
		g.mu.Lock()
		g.lags = append(g.lags, lag)
		g.mu.Unlock()
		due = due.Add(g.interval())
	}
	return nil
}

// measureLoad sends events and watches them arrive at a sink.
func (b *bench) measureLoad(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the children too
	b.say("%d events/s over %d stores for %s", b.load.rate, b.load.stores, b.load.duration)
	address, err := proctest.FreeAddress(ctx)
	if err != nil {
		return err
	}
	backend, err := b.startBackend(ctx, address, "") // in memory, because the backend is not what is measured
	if err != nil {
		return err
	}
	defer backend.Kill()
	sink, err := startSink(ctx)
	if err != nil {
		return err
	}
	defer sink.stop()
	m, err := b.startManager(ctx, b.path("data-load"), backend.url, "EVENT_SINK_URL="+sink.url, "EVENT_SINK_SECRET="+sink.secret)
	if err != nil {
		return err
	}
	defer m.Kill()
	if err := m.answers(ctx); err != nil {
		return err
	}
	if err := m.ensure(ctx, b.load.stores); err != nil {
		return err
	}
	if _, err := m.connected(ctx, b.load.stores, time.Now()); err != nil {
		return err
	}
	g, err := newGenerator(ctx, b.load, backend.url)
	if err != nil {
		return err
	}
	defer g.close()
	return b.watchLoad(ctx, g, m, sink)
}

func (b *bench) watchLoad(ctx context.Context, g *generator, m *manager, sink *sink) error {
	used := make(chan error, 1)
	var memory, cpu float64
	go func() {
		var err error
		memory, cpu, err = m.Usage(ctx, b.load.duration)
		used <- err
	}()
	if err := errors.Join(g.run(ctx), <-used); err != nil {
		return err
	}
	if err := sink.drained(ctx, g.sent.Load()); err != nil {
		return err
	}
	got, err := sink.result()
	if err != nil {
		return fmt.Errorf("the sink refused a batch: %w", err)
	}
	const most = 0.99 // part of the rate sent: the first and the last event are not equally late
	millis := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.report.Add("load_sent_events", float64(g.sent.Load()), "")
	b.report.Add("load_generator_lag_p99_ms", millis(measure.Percentile(g.lags, 99)), "ms")
	b.report.AtLeast("load_events_per_second", got.rate, "", most*float64(b.load.rate))
	b.report.AtMost("load_lost_events", float64(g.sent.Load()-got.events), "", 0)
	b.report.AtMost("load_out_of_order_batches", float64(got.disordered), "", 0)
	b.report.Add("load_duplicate_events", float64(got.duplicates), "")
	b.report.Add("load_events_per_batch", float64(got.events)/float64(got.batches), "")
	b.report.Add("load_latency_p50_ms", millis(measure.Percentile(got.latencies, 50)), "ms")
	b.report.Add("load_latency_p95_ms", millis(measure.Percentile(got.latencies, 95)), "ms")
	b.report.Below("load_latency_p99_ms", millis(measure.Percentile(got.latencies, 99)), "ms", targetP99Millis)
	b.report.Add("load_latency_max_ms", millis(measure.Percentile(got.latencies, 100)), "ms")
	b.report.Add("load_cpu_percent", cpu, "% of a core")
	b.report.Add("load_rss_mib", memory, "MiB")
	return nil
}
