package monitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/processor"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/storemanager/storetest"
)

// impatient is the timing of tests.
var impatient = timing{
	minBackoff: 5 * time.Millisecond, maxBackoff: 40 * time.Millisecond, stable: time.Minute, stuck: 50 * time.Millisecond,
	ping: 50 * time.Millisecond, silence: 300 * time.Millisecond, outage: 50 * time.Millisecond, look: 5 * time.Millisecond,
}

// monitored is a supervisor of a registry on disk, with a demo sync backend.
type monitored struct {
	*Supervisor
	t       *testing.T
	path    string
	backend *demo.SyncBackend
	events  *recorder
	options Options
	db      *sqlite.Database
	faults  *faults
	heads   map[string]int64 // of what was pushed
}

// faults makes a Driver fail for a while.
type faults struct {
	registry.Driver
	reads  atomic.Bool // of records, outside of transactions
	writes atomic.Bool // all changes
}

func (f *faults) Record(ctx context.Context, id string) (registry.Record, error) {
	if f.reads.Load() {
		return registry.Record{}, errors.New("too many open files")
	}
	return f.Driver.Record(ctx, id)
}

func (f *faults) Change(ctx context.Context, fn func(registry.Tx) error) error {
	if f.writes.Load() {
		return errors.New("database or disk is full")
	}
	return f.Driver.Change(ctx, fn)
}

func supervise(t *testing.T, changes ...func(*Options)) *monitored {
	t.Helper()
	backend, err := demo.StartSyncBackend(t.Context(), demo.SyncBackendOptions{Token: storetest.Token})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Stop(context.Background())) })
	m := &monitored{
		t: t, path: t.TempDir() + "/registry.db", backend: backend, events: newRecorder(), heads: map[string]int64{},
	}
	m.options = Options{
		SyncURL: func(string) string { return backend.URL() }, Token: httpclient.Fixed(storetest.Token), Processor: m.events, timing: impatient,
	}
	for _, change := range changes {
		change(&m.options)
	}
	m.start()
	return m
}

// start opens the registry and supervises it, until restart or the end of the test.
func (m *monitored) start() {
	m.t.Helper()
	var err error
	m.db, err = sqlite.Open(m.t.Context(), m.path, nil)
	require.NoError(m.t, err)
	m.faults = &faults{Driver: m.db}
	registry, err := registry.New(m.t.Context(), m.faults, registry.Options{})
	require.NoError(m.t, err)
	m.Supervisor, err = Supervise(m.t.Context(), registry, m.options)
	require.NoError(m.t, err)
	supervisor := m.Supervisor
	m.t.Cleanup(func() {
		require.NoError(m.t, supervisor.Close())
		_ = registry.Close() // it may have been closed by the test
	})
}

func (m *monitored) restart() {
	m.t.Helper()
	require.NoError(m.t, m.Close())
	require.NoError(m.t, m.registry.Close())
	m.start()
}

func (m *monitored) ensure(id string) storemanager.EnsureResult {
	m.t.Helper()
	res, err := m.Ensure(m.t.Context(), storemanager.EnsureRequest{StoreID: id, At: time.Now()})
	require.NoError(m.t, err)
	return res
}

// remove goes the whole way of a deletion.
func (m *monitored) remove(id string) {
	m.t.Helper()
	now := time.Now()
	res, err := m.BeginDeletion(m.t.Context(), storemanager.DeletionRequest{StoreID: id, At: now, DeleteAt: now.Add(-time.Second), Owner: "test"})
	require.NoError(m.t, err)
	require.Equal(m.t, storemanager.DeletionScheduled, res.Outcome)
	stopped, err := m.Stop(m.t.Context(), storemanager.StopRequest{StoreID: id, Owner: "test", AbsentAt: time.Now()})
	require.NoError(m.t, err)
	require.Equal(m.t, storemanager.StopStopped, stopped.Outcome)
}

func (m *monitored) store(id string) storemanager.Store {
	m.t.Helper()
	s, err := m.Get(m.t.Context(), id)
	require.NoError(m.t, err)
	return s
}

// until waits for the store to be in the state, and returns it as it is then.
func (m *monitored) until(id string, want storemanager.ConnectionState) storemanager.Store {
	m.t.Helper()
	var s storemanager.Store
	require.Eventually(m.t, func() bool {
		s = m.store(id)
		return s.Connection == want
	}, patience, time.Millisecond, "store %s does not become %s", id, want)
	return s
}

const patience = 20 * time.Second

// push appends n events to a store at the backend.
func (m *monitored) push(id string, n int) {
	m.t.Helper()
	conn, err := livestore.Dial(m.t.Context(), livestore.Options{
		URL: m.backend.URL(), StoreID: id, Payload: map[string]string{"serverBypass": storetest.Token},
	})
	require.NoError(m.t, err)
	defer func() { _ = conn.Close() }()
	for n > 0 {
		batch := make([]livestore.Event, min(n, 100))
		for i := range batch {
			parent := m.heads[id] + int64(i)
			batch[i] = livestore.Event{Name: "v1.Test", Args: []byte(fmt.Sprintf(`{"n":%d}`, parent+1)), Seq: parent + 1, Parent: parent, ClientID: "c", SessionID: "s"}
		}
		require.NoError(m.t, conn.Push(m.t.Context(), "", batch))
		m.heads[id] += int64(len(batch))
		n -= len(batch)
	}
}

// arrives waits until all that was pushed has been processed.
func (m *monitored) arrives(id string) {
	m.t.Helper()
	require.Eventually(m.t, func() bool { return m.events.last(id) == m.heads[id] }, patience, time.Millisecond, "events do not arrive")
}

// recorder is a Processor that keeps what it gets.
type recorder struct {
	mu      sync.Mutex
	batches map[string][]processor.Batch
	stopped []string
	// fail, if not nil, is asked before a batch is taken.
	fail func(ctx context.Context, b processor.Batch) error
}

func newRecorder() *recorder { return &recorder{batches: map[string][]processor.Batch{}} }

func (r *recorder) Stop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = append(r.stopped, id)
}

func (r *recorder) Process(ctx context.Context, b processor.Batch) error {
	r.mu.Lock()
	fail := r.fail
	r.mu.Unlock()
	if fail != nil {
		if err := fail(ctx, b); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches[b.StoreID] = append(r.batches[b.StoreID], b)
	return nil
}

func (r *recorder) failWith(fail func(ctx context.Context, b processor.Batch) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = fail
}

// seqs are the sequence numbers of a store's events as they were processed, repetitions included.
func (r *recorder) seqs(id string) (all []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.batches[id] {
		for _, e := range b.Events {
			all = append(all, e.Seq)
		}
	}
	return all
}

func (r *recorder) last(id string) int64 {
	all := r.seqs(id)
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1]
}

// stops are the stores that were stopped, in their order.
func (r *recorder) stops() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.stopped)
}

// upTo is 1 to n.
func upTo(n int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i) + 1
	}
	return all
}
