// Package monitor keeps a live subscription to the events of each monitored store. Supervisor is the Manager: it changes the registry, and has a monitor
// for each store that the registry has as monitored. Each monitor pulls the events of its store from a sync backend (internal/livestore), hands them to
// a processor, and remembers in the registry how far they are processed.
package monitor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"storekeeper/internal/backoff"
	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/changelog"
	"storekeeper/internal/storemanager/processor"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/tracing"
)

// defaultMaxDials is how many connections to one sync backend are made at the same time.
const defaultMaxDials = 64

// Options say how a Supervisor monitors stores.
type Options struct {
	// SyncURL returns where the events of a store are to be had (ws, wss, http or https). "" means nowhere: the store is in the registry, and
	// ConnectionNotConfigured. For the id "" it returns that of stores in general. Nil means "" for all.
	SyncURL func(storeID string) string
	// Token returns what is sent to the sync backend as the serverBypass of the payload (docs/contracts/livestore-sync.md).
	Token func() string
	// Processor takes the events. It is required.
	Processor processor.Processor
	// MaxDials is how many connections are made at the same time, for each host; 0 means 64.
	MaxDials int
	// Outage is called when most stores of a sync backend have no subscription any more, or when the processor takes nothing, and when that is over: once
	// for each outage, not for each store. It must not block. Nil: nobody is told.
	Outage func(Outage)
	// Refused is called for each attempt that a sync backend refuses for the token, as far as its status tells. It must not block. Nil: nobody is
	// told.
	Refused func()
	// Logger nil: silent.
	Logger *zap.Logger

	timing   timing // zero means defaultTiming
	maxConns int64  // 0 means as many as the limit of open files has room for
}

// Supervisor is the Manager that has a monitor for each store that its Registry has as monitored, from Supervise to Close.
// Ensuring a store does not wait for its sync backend.
type Supervisor struct {
	registry    *registry.Registry
	syncURL     func(string) string
	token       func() string
	processor   processor.Processor
	log         *zap.Logger // sampled: ten thousand stores may be lost at once
	timing      timing
	changes     *changelog.Log
	cursors     *cursors
	dials       *dials
	outage      func(Outage)
	taking      taking
	refused     func()
	totals      struct{ events, errors, reconnects, resets, subscribed atomic.Int64 }
	queueMemory atomic.Int64 // in bytes, of all queues; see maxMemory

	ctx     context.Context // of the monitors
	cancel  context.CancelFunc
	running sync.WaitGroup // the monitors
	// stopWriting ends the writing of cursors, and returns when it has ended.
	stopWriting func()

	following sync.Mutex    // held while the registry is read to start and stop monitors
	unsure    chan struct{} // has one element when that reading has failed: all of it must be read again

	mu       sync.Mutex
	monitors map[string]*monitor                  // by store; one that is ending stays until it has ended, or is replaced
	counts   map[storemanager.ConnectionState]int // of monitors, by the state they show
}

var (
	_ storemanager.Manager = (*Supervisor)(nil)
	_ storemanager.Watcher = (*Supervisor)(nil)
)

// Supervise monitors all stores of the registry, each from the event on up to which it is processed, and returns without waiting for connections. It fails
// when the registry can't be read, or when the process may open too few files. The monitors end with ctx or Close; Close must be called, before the
// registry is closed.
func Supervise(ctx context.Context, r *registry.Registry, o Options) (*Supervisor, error) {
	s := &Supervisor{
		registry: r, syncURL: o.SyncURL, token: o.Token, processor: o.Processor, log: o.Logger, timing: o.timing,
		outage: o.Outage, refused: o.Refused, changes: changelog.New(), unsure: make(chan struct{}, 1), monitors: map[string]*monitor{}, counts: map[storemanager.ConnectionState]int{},
	}
	if s.syncURL == nil {
		s.syncURL = func(string) string { return "" }
	}
	if s.outage == nil {
		s.outage = func(Outage) {}
	}
	if s.refused == nil {
		s.refused = func() {}
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.cursors = newCursors(r, s.log)
	s.log = s.log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Second, 20, 1000)
	}))
	if s.timing == (timing{}) {
		s.timing = defaultTiming
	}
	s.dials = &dials{atOnce: o.MaxDials, maxConns: o.maxConns, hosts: map[string]*backend{}}
	if s.dials.atOnce <= 0 {
		s.dials.atOnce = defaultMaxDials
	}
	if s.dials.maxConns == 0 {
		var err error
		if s.dials.maxConns, err = maxConnections(); err != nil {
			return nil, err
		}
	}
	ids, err := r.MonitoredIDs(ctx)
	if err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	context.AfterFunc(s.ctx, s.changes.Close)
	s.writeCursors()
	s.resume(ids)
	s.running.Go(s.catchUp)
	s.running.Go(s.watchOutages)
	return s, nil
}

// writeCursors writes cursors until stopWriting is called. That is after the end of the monitors.
func (s *Supervisor) writeCursors() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.cursors.run(ctx)
	}()
	s.stopWriting = func() {
		cancel()
		<-done
	}
}

func (s *Supervisor) resume(ids []string) {
	if n := int64(len(ids)); n > s.dials.maxConns {
		s.log.Error("too few files may be opened for the registered stores, raise the limit (ulimit -n, LimitNOFILE)",
			zap.Int64("stores", n), zap.Int64("possible", s.dials.maxConns))
	}
	s.following.Lock()
	defer s.following.Unlock()
	for _, id := range ids {
		s.start(id, tracing.Cause{})
	}
	s.log.Info("monitoring resumed", zap.Int("stores", len(ids)), zap.String("syncUrl", shownURL(s.syncURL(""))))
}

// Close ends all monitors and writes their cursors. It returns when nothing of them is left, and the processor has had its Stops. The Registry stays open.
// Close may be called again. Its error is always nil.
func (s *Supervisor) Close() error {
	s.cancel()
	s.following.Lock()   // whoever follows later finds that ctx has ended
	s.following.Unlock() //nolint:staticcheck // it is the waiting that matters
	s.running.Wait()
	s.stopWriting()
	return nil
}

// follow makes the monitors of these stores what the registry says, which has been changed. It reads the registry under the lock, so whoever comes last has
// read the last change: however ensures and stops overlap, in the end there is one monitor, or none. It can't fail, because the change is made already:
// catchUp reads later what can't be read now.
func (s *Supervisor) follow(ctx context.Context, ids ...string) {
	ctx = context.WithoutCancel(ctx) // the registry has been changed, whether the caller still waits or not
	s.following.Lock()
	defer s.following.Unlock()
	for _, id := range ids {
		record, err := s.registry.Record(ctx, id)
		switch {
		case err == nil && record.Monitored():
			s.start(id, tracing.CauseOf(ctx))
		case err == nil:
			if s.stop(id) {
				s.log.Info("monitor stopped", zap.String("storeId", id), tracing.Field(ctx))
			}
		default:
			s.log.Error("registry not read after a change, trying again", zap.String("storeId", id), tracing.Field(ctx), zap.Error(err))
			select {
			case s.unsure <- struct{}{}:
			default:
			}
		}
	}
}

// stop says whether there was a monitor to stop.
func (s *Supervisor) stop(id string) bool {
	m := s.monitor(id)
	if m == nil || m.ctx.Err() != nil {
		return false
	}
	m.stop()
	return true
}

// catchUp makes all monitors what the registry says, whenever follow could not read it.
func (s *Supervisor) catchUp() {
	for {
		select {
		case <-s.unsure:
		case <-s.ctx.Done():
			return
		}
		for s.followAll() != nil && backoff.Sleep(s.ctx, s.timing.minBackoff) { //nolint:revive // the condition does it all
		}
	}
}

func (s *Supervisor) followAll() error {
	s.following.Lock()
	defer s.following.Unlock()
	ids, err := s.registry.MonitoredIDs(s.ctx)
	if err != nil {
		return err
	}
	monitored := make(map[string]bool, len(ids))
	for _, id := range ids {
		monitored[id] = true
		s.start(id, tracing.Cause{})
	}
	s.mu.Lock()
	var gone []string
	for id := range s.monitors {
		if !monitored[id] {
			gone = append(gone, id)
		}
	}
	s.mu.Unlock()
	for _, id := range gone {
		s.stop(id)
	}
	return nil
}

// start begins a monitor for a store that has none, or one that is ending. cause is the request that it comes from.
func (s *Supervisor) start(id string, cause tracing.Cause) {
	url := s.syncURL(id)
	old := s.monitor(id)
	if url == "" || s.ctx.Err() != nil || old != nil && old.ctx.Err() == nil {
		return
	}
	m := &monitor{s: s, id: id, url: url, cause: cause, backend: s.dials.backend(url), done: make(chan struct{})}
	m.ctx, m.stop = context.WithCancel(cause.In(s.ctx))
	m.status = status{storeID: id, now: s.registry.Clock, changed: func(c storemanager.Change) {
		m.backend.changed(c)
		s.changed(c)
	}}
	m.queue = queue{m: m, room: make(chan struct{}, 1)}
	s.mu.Lock()
	s.monitors[id] = m
	s.mu.Unlock()
	s.running.Go(func() {
		m.run(old)
		s.forget(m)
	})
}

func (s *Supervisor) forget(m *monitor) {
	m.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.monitors[m.id] == m {
		delete(s.monitors, m.id)
	}
}

// monitor is the newest one of the store; nil for none.
func (s *Supervisor) monitor(id string) *monitor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.monitors[id]
}

func (s *Supervisor) changed(c storemanager.Change) {
	s.mu.Lock()
	for state, n := range map[storemanager.ConnectionState]int{c.Previous: -1, c.Connection: +1} {
		if s.counts[state] += n; s.counts[state] == 0 {
			delete(s.counts, state)
		}
	}
	s.mu.Unlock()
	s.changes.Append(c)
}

// options are those of a connection for the store.
func (s *Supervisor) options(id, url string) livestore.Options {
	return livestore.Options{
		URL: url, StoreID: id, PingInterval: s.timing.ping, SilenceTimeout: s.timing.silence,
		Payload: map[string]string{"serverBypass": s.token(), "instanceId": id},
	}
}

// Watch implements Watcher.
func (s *Supervisor) Watch(ctx context.Context, after string, fn func(storemanager.Change) error) error {
	return s.changes.Watch(ctx, after, fn)
}
