//go:build linux

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"storekeeper/tests/proctest"
)

// The targets of `make bench-stores`.
const (
	targetStoreKiB         = 60
	targetMiB              = 700
	targetConnectSeconds   = 60
	targetIdlePercent      = 10
	targetReconnectSeconds = 90
	targetP99Millis        = 1000
)

// idleTrial measures n stores in which nothing happens.
type idleTrial struct {
	*bench
	n       int
	data    string // the store manager's directory
	backend *backend
	manager *manager
	empty   float64 // the store manager's memory without a store, MiB

	// What the floor is compared with:
	store float64 // KiB
	cold  float64 // seconds
	cpu   float64 // percent
}

func (b *bench) measureIdle(ctx context.Context, n int) error {
	t := &idleTrial{bench: b, n: n, data: b.path(fmt.Sprintf("data-%d", n))}
	address, err := proctest.FreeAddress(ctx)
	if err != nil {
		return err
	}
	database := b.path(fmt.Sprintf("sync-%d.db", n))
	if t.backend, err = b.startBackend(ctx, address, database); err != nil {
		return err
	}
	defer func() { t.backend.Kill() }()
	if t.manager, err = b.startManager(ctx, t.data, t.backend.url); err != nil {
		return err
	}
	defer func() { t.manager.Kill() }()

	for _, step := range []func(context.Context) error{
		t.first, t.coldStart, t.idling, func(ctx context.Context) error { return t.outage(ctx, address, database) }, t.crash, t.floor,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *idleTrial) name(of string) string { return fmt.Sprintf("stores_%d_%s", t.n, of) }

// first fills the empty registry.
func (t *idleTrial) first(ctx context.Context) error {
	t.say("%d stores: ensuring", t.n)
	err := t.manager.answers(ctx)
	if err != nil {
		return err
	}
	if t.empty, err = t.manager.Memory("VmRSS"); err != nil {
		return err
	}
	start := time.Now()
	if err := t.manager.ensure(ctx, t.n); err != nil {
		return err
	}
	seconds, err := t.manager.connected(ctx, t.n, start)
	if err != nil {
		return err
	}
	t.report.Add(t.name("ensure_and_connect_seconds"), seconds, "s")
	return t.sawAll()
}

// sawAll compares with what the backend sees: one subscription for each store.
func (t *idleTrial) sawAll() error {
	stats, err := t.backend.stats()
	if err == nil && stats.Connections != t.n {
		err = fmt.Errorf("the store manager says that all %d stores are connected, the backend has %d connections", t.n, stats.Connections)
	}
	return err
}

// coldStart stops the store manager as an operator does, and starts it again.
func (t *idleTrial) coldStart(ctx context.Context) error {
	t.say("%d stores: cold start", t.n)
	start := time.Now()
	if err := t.manager.End(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	t.report.Add(t.name("stop_seconds"), time.Since(start).Seconds(), "s")
	seconds, err := t.restart(ctx)
	if err != nil {
		return err
	}
	t.cold = seconds
	t.report.AtMost(t.name("cold_start_seconds"), seconds, "s", targetConnectSeconds)
	stats, err := t.backend.stats()
	if err != nil {
		return err
	}
	t.report.AtMost(t.name("cold_start_peak_handshakes"), float64(stats.PeakHandshakes), "", maxDials)
	return nil
}

// restart returns how long after the start of the process all stores were connected.
func (t *idleTrial) restart(ctx context.Context) (seconds float64, err error) {
	m, err := t.startManager(ctx, t.data, t.backend.url)
	if err != nil {
		return 0, err
	}
	t.manager = m
	return m.connected(ctx, t.n, m.Started)
}

func (t *idleTrial) idling(ctx context.Context) error {
	t.say("%d stores: idle for %s", t.n, t.idle)
	memory, cpu, err := t.manager.Usage(ctx, t.idle)
	if err != nil {
		return err
	}
	t.store, t.cpu = (memory-t.empty)*1024/float64(t.n), cpu
	t.report.Add(t.name("rss_without_stores_mib"), t.empty, "MiB")
	t.report.AtMost(t.name("rss_mib"), memory, "MiB", targetMiB)
	t.report.AtMost(t.name("rss_kib_per_store"), t.store, "KiB", targetStoreKiB)
	t.report.Below(t.name("idle_cpu_percent"), cpu, "% of a core", targetIdlePercent)
	return t.sawAll()
}

// outage kills the backend and starts another one in its place.
func (t *idleTrial) outage(ctx context.Context, address, database string) error {
	t.say("%d stores: backend away for %s", t.n, outage)
	t.backend.Kill()
	if err := wait(ctx, outage); err != nil {
		return err
	}
	k, err := t.startBackend(ctx, address, database)
	if err != nil {
		return err
	}
	t.backend = k
	back := time.Now()
	seconds, err := t.manager.connected(ctx, t.n, back)
	if err != nil {
		return err
	}
	stats, err := k.stats()
	if err != nil {
		return err
	}
	t.report.AtMost(t.name("backend_restart_seconds"), seconds, "s", targetReconnectSeconds)
	t.report.AtMost(t.name("backend_restart_peak_handshakes"), float64(stats.PeakHandshakes), "", maxDials)
	peak, err := t.manager.Memory("VmHWM")
	if err != nil {
		return err
	}
	t.report.AtMost(t.name("rss_peak_mib"), peak, "MiB", targetMiB)
	return t.sawAll()
}

func (t *idleTrial) crash(ctx context.Context) error {
	t.say("%d stores: start after kill -9", t.n)
	t.manager.Kill()
	seconds, err := t.restart(ctx)
	if err != nil {
		return err
	}
	t.report.AtMost(t.name("start_after_kill_seconds"), seconds, "s", targetConnectSeconds)
	return nil
}

// floor does the same with bare clients of the sync protocol.
func (t *idleTrial) floor(ctx context.Context) error {
	t.say("%d stores: bare clients", t.n)
	t.manager.Kill()
	floor, err := t.measureBare(ctx, t.backend.url, t.n)
	if err != nil {
		return err
	}
	t.report.Add(t.name("floor_kib_per_connection"), floor.connection, "KiB")
	t.report.Add(t.name("floor_connect_seconds"), floor.seconds, "s")
	t.report.Add(t.name("floor_idle_cpu_percent"), floor.cpu, "% of a core")
	t.report.Add(t.name("rss_to_floor"), t.store/floor.connection, "×")
	t.report.Add(t.name("cold_start_to_floor"), t.cold/floor.seconds, "×")
	t.report.Add(t.name("idle_cpu_to_floor"), t.cpu/floor.cpu, "×")
	return nil
}
