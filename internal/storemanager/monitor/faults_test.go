package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/processor"
	"storekeeper/internal/storemanager/storetest"
)

func TestTheNewestChangeOfAStoreThatComesBackIsNotItsEnd(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes, watched := make(chan storemanager.Change, 100), make(chan struct{})
	go func() {
		defer close(watched)
		_ = m.Watch(ctx, "", func(c storemanager.Change) error { changes <- c; return nil })
	}()
	<-changes
	busy, release := make(chan struct{}, 10), make(chan struct{})
	m.events.failWith(func(ctx context.Context, _ processor.Batch) error {
		busy <- struct{}{}
		<-ctx.Done()
		<-release
		return ctx.Err()
	})
	m.ensure(storetest.ID)
	m.push(storetest.ID, 1)
	<-busy
	old := m.monitor(storetest.ID)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ctx, now := context.Background(), time.Now()
		_, _ = m.BeginDeletion(ctx, storemanager.DeletionRequest{StoreID: storetest.ID, At: now, DeleteAt: now.Add(-time.Second), Owner: "test"})
		_, _ = m.Stop(ctx, storemanager.StopRequest{StoreID: storetest.ID, Owner: "test", AbsentAt: time.Now()})
	}()
	<-old.ctx.Done()
	m.backend.SetFault(demo.SyncFaultMute) // so that the new one stays as it is
	require.Equal(t, storemanager.ConnectionConnecting, m.ensure(storetest.ID).Connection)
	o, err := m.Overview(t.Context())
	require.NoError(t, err)
	sum := 0
	for _, n := range o.Connections {
		sum += n
	}
	require.Equal(t, o.Monitored, sum, "%v", o.Connections)
	close(release)
	<-stopped
	var seen []storemanager.ConnectionState
	for len(seen) < 4 {
		if c := (<-changes).Connection; c != storemanager.ConnectionStuck { // on a slow machine the processor is busy for that long
			seen = append(seen, c)
		}
	}
	require.Equal(t, []storemanager.ConnectionState{storemanager.ConnectionConnecting, storemanager.ConnectionConnected, storemanager.ConnectionStopped, storemanager.ConnectionConnecting}, seen)
	cancel()
	<-watched
}

func TestFailuresCountAsInARowOnlyWhenNothingGoodIsBetweenThem(t *testing.T) {
	t.Parallel()
	m := &monitor{s: &Supervisor{timing: defaultTiming}, position: livestore.Cursor{BackendID: "B", Seq: 5}}
	defect := &livestore.RemoteError{Kind: "Defect"}
	judge := func(err error) storemanager.ConnectionState {
		state, _ := m.judge(err)
		return state
	}
	for range 3 {
		require.Equal(t, storemanager.ConnectionError, judge(defect))
		require.Equal(t, storemanager.ConnectionError, judge(defect))
		require.Equal(t, storemanager.ConnectionDisconnected, judge(livestore.ErrDisconnected))
	}
	require.Equal(t, storemanager.ConnectionError, judge(defect))
	require.Equal(t, storemanager.ConnectionError, judge(defect))
	require.Equal(t, storemanager.ConnectionStuck, judge(defect))
	m.position.Seq++
	require.Equal(t, storemanager.ConnectionError, judge(defect))
}

func TestASubscriptionThatLastedForgivesWhatWasBefore(t *testing.T) {
	t.Parallel()
	m := supervise(t, func(o *Options) { o.timing.stable = time.Millisecond })
	m.ensure(storetest.ID)
	for range 2 * stuckAttempts {
		s := m.until(storetest.ID, storemanager.ConnectionConnected)
		require.Eventually(t, func() bool { return time.Since(*s.Monitor.ConnectedAt) > 20*time.Millisecond }, patience, time.Millisecond)
		m.backend.SetFault(demo.SyncFaultDefect)
		m.backend.DropConnections()
		require.Eventually(t, func() bool { return m.store(storetest.ID).Connection == storemanager.ConnectionError }, patience, 100*time.Microsecond)
		m.backend.SetFault(demo.SyncFaultNone)
	}
	for _, c := range m.store(storetest.ID).Monitor.History {
		require.NotEqual(t, storemanager.ConnectionStuck, c.Connection)
	}
}

func TestWaitingForATurnIsNoSubscription(t *testing.T) {
	t.Parallel()
	slow, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer slow.Close()
	go func() {
		for {
			c, err := slow.Accept()
			if err != nil {
				return
			}
			time.AfterFunc(20*time.Millisecond, func() { _ = c.Close() }) // a handshake that fails slowly
		}
	}()
	m := supervise(t, func(o *Options) {
		o.MaxDials = 1
		o.timing.stable, o.timing.minBackoff, o.timing.maxBackoff = 10*time.Millisecond, time.Millisecond, 10*time.Second
		o.SyncURL = func(string) string { return "ws://" + slow.Addr().String() }
	})
	var all []*monitor
	for i := range 10 {
		m.ensure(fmt.Sprintf("store-%d", i))
		all = append(all, m.monitor(fmt.Sprintf("store-%d", i)))
	}
	require.Eventually(t, func() bool { return m.totals.errors.Load() >= 40 }, patience, time.Millisecond)
	require.NoError(t, m.Close())
	for _, one := range all {
		_, status := one.status.get()
		require.GreaterOrEqual(t, int64(one.failures), status.Errors, "each failure makes the next wait longer")
	}
}

func TestABackendThatChangesItsIDAllTheTimeIsAnError(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		for {
			_, data, err := ws.Read(r.Context())
			if err != nil {
				return
			}
			var request struct{ ID string }
			_ = json.Unmarshal(data, &request)
			for _, backend := range []string{"A", "B"} {
				page := fmt.Sprintf(`{"_tag":"Chunk","requestId":%q,"values":[{"batch":[],"backendId":%q,"pageInfo":{"_tag":"NoMore"}}]}`, request.ID, backend)
				if ws.Write(r.Context(), websocket.MessageText, []byte(page)) != nil {
					return
				}
			}
		}
	}))
	t.Cleanup(srv.Close)
	m := supervise(t, func(o *Options) { o.SyncURL = func(string) string { return srv.URL } })
	m.ensure(storetest.ID)
	require.Contains(t, m.until(storetest.ID, storemanager.ConnectionError).Monitor.LastError, "its backend id is another one")
}

func TestProcessedIsThatOfTheStoresPresentLife(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	release := make(chan struct{})
	m.ensure(storetest.ID)
	m.until(storetest.ID, storemanager.ConnectionConnected)
	m.events.failWith(func(ctx context.Context, _ processor.Batch) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	m.push(storetest.ID, 50)
	require.Eventually(t, func() bool { return m.store(storetest.ID).Monitor.Head == 50 }, patience, time.Millisecond)
	require.NoError(t, m.backend.ResetStore(t.Context(), storetest.ID))
	m.backend.DropConnections()
	require.Eventually(t, func() bool { return m.store(storetest.ID).Monitor.Resets == 1 }, patience, time.Millisecond)
	close(release)
	require.Eventually(t, func() bool { return m.events.last(storetest.ID) == 50 && m.queueMemory.Load() == 0 }, patience, time.Millisecond)
	require.Zero(t, m.store(storetest.ID).Monitor.Processed)
	m.heads[storetest.ID] = 0
	m.push(storetest.ID, 2)
	require.Eventually(t, func() bool { return m.store(storetest.ID).Monitor.Processed == 2 }, patience, time.Millisecond)
}

func TestAWebServerIsNoSyncBackend(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusOK, http.StatusFound, http.StatusUnauthorized} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(status)
		}))
		t.Cleanup(srv.Close)
		m := supervise(t, func(o *Options) { o.SyncURL = func(string) string { return srv.URL } })
		m.ensure(storetest.ID)
		require.Contains(t, m.until(storetest.ID, storemanager.ConnectionError).Monitor.LastError, fmt.Sprintf("status %d", status))
	}
}

func TestAStoreWhoseRegistryCouldNotBeReadIsMonitoredAllTheSame(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.faults.reads.Store(true) // a moment without file descriptors, say
	results, err := m.EnsureBatch(t.Context(), []storemanager.EnsureRequest{{StoreID: "store-a", At: time.Now()}, {StoreID: "store-b", At: time.Now()}})
	require.NoError(t, err, "both are in the registry")
	require.Contains(t, []storemanager.ConnectionState{storemanager.ConnectionConnecting, storemanager.ConnectionConnected}, results[1].Connection)
	require.Eventually(t, func() bool { return m.backend.Pulls("store-a") == 1 && m.backend.Pulls("store-b") == 1 }, patience, time.Millisecond)
	m.faults.reads.Store(false)
	o, err := m.Overview(t.Context())
	require.NoError(t, err)
	require.Zero(t, o.Connections[storemanager.ConnectionNotConfigured])
}

func TestTheLimitOfOpenFilesLeavesRoomForTheSinkAndTheRest(t *testing.T) {
	t.Parallel()
	n, err := connectionsWithin(20_000)
	require.NoError(t, err)
	require.EqualValues(t, 20_000-otherFiles, n)
	require.Greater(t, otherFiles, processor.MaxSinkConnections)
	_, err = connectionsWithin(256)
	require.ErrorContains(t, err, "this process may open 256 files, and needs")
	_, err = maxConnections()
	require.NoError(t, err)
}

func TestAllQueuesTogetherAreBounded(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.events.failWith(func(ctx context.Context, _ processor.Batch) error {
		<-ctx.Done()
		return ctx.Err()
	})
	m.queueMemory.Store(maxMemory) // as if others held that much
	m.push(storetest.ID, 500)
	m.ensure(storetest.ID)
	q := &m.monitor(storetest.ID).queue
	m.until(storetest.ID, storemanager.ConnectionStuck)
	q.mu.Lock()
	require.Empty(t, q.batches, "one batch is being processed, and no more is taken")
	q.mu.Unlock()
	m.events.failWith(nil)
	m.remove(storetest.ID)
	m.ensure(storetest.ID)
	m.arrives(storetest.ID) // page by page
	require.Eventually(t, func() bool { return m.queueMemory.Load() == maxMemory }, patience, time.Millisecond, "nothing is held for good")
}

func TestTheStartSaysThatTheFilesAreTooFewForTheRegisteredStores(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.ErrorLevel)
	m := supervise(t, func(o *Options) { o.maxConns, o.Logger = 1, zap.New(core) })
	m.ensure("first-store")
	m.restart()
	require.Zero(t, logs.Len(), "one store, one connection")
	m.ensure("second-store")
	m.restart()
	require.Equal(t, 1, logs.FilterMessageSnippet("raise the limit").Len())
	require.EqualValues(t, 2, logs.All()[0].ContextMap()["stores"])
}
