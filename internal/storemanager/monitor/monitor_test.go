package monitor

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/processor"
	"storekeeper/internal/storemanager/storetest"
)

func TestAStoreIsConnectedOnceTheBackendHasAnsweredItsPull(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.backend.SetFault(demo.SyncFaultMute)
	require.Equal(t, storemanager.EnsureResult{StoreID: storetest.ID, Outcome: storemanager.EnsureCreated, Connection: storemanager.ConnectionConnecting}, m.ensure(storetest.ID))

	s := m.until(storetest.ID, storemanager.ConnectionDisconnected)
	require.Equal(t, "the sync backend fell silent", s.Monitor.LastError)
	require.Nil(t, s.Monitor.ConnectedAt)
	require.Nil(t, s.Monitor.LastConnectedAt)
	for _, c := range s.Monitor.History {
		require.NotEqual(t, storemanager.ConnectionConnected, c.Connection)
	}

	m.backend.SetFault(demo.SyncFaultNone)
	s = m.until(storetest.ID, storemanager.ConnectionConnected)
	require.NotNil(t, s.Monitor.ConnectedAt)
	require.NotNil(t, s.Monitor.LastActivityAt)
	require.Nil(t, s.Monitor.NextAttemptAt)
	require.Zero(t, s.Monitor.Reconnects)
	require.Positive(t, s.Monitor.OfflineMs)
	require.Equal(t, storemanager.EnsureResult{StoreID: storetest.ID, Outcome: storemanager.EnsureExists, Connection: storemanager.ConnectionConnected}, m.ensure(storetest.ID))
}

func TestAFaultShowsAndLosesNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault demo.SyncFault
		want  storemanager.ConnectionState // "": the fault is harmless
		says  string
	}{
		"the backend refuses":                    {demo.SyncFaultRefuse, storemanager.ConnectionDisconnected, "refused the connection with status 503"},
		"the backend accepts and says nothing":   {demo.SyncFaultMute, storemanager.ConnectionDisconnected, "fell silent"},
		"the backend fails each pull":            {demo.SyncFaultFailing, storemanager.ConnectionStuck, "UnknownError"},
		"the backend sends a Defect":             {demo.SyncFaultDefect, storemanager.ConnectionStuck, "Defect"},
		"the backend sends half a frame":         {demo.SyncFaultHalfFrame, storemanager.ConnectionDisconnected, "fell silent"},
		"the backend sends a frame of 2 MB":      {demo.SyncFaultHugeFrame, storemanager.ConnectionStuck, "over the size limit"},
		"the backend sends broken JSON":          {demo.SyncFaultBrokenJSON, storemanager.ConnectionStuck, "broken frame"},
		"the backend sends events out of order":  {demo.SyncFaultOutOfOrder, storemanager.ConnectionStuck, "does not follow"},
		"the backend leaves a gap":               {demo.SyncFaultGap, storemanager.ConnectionStuck, "does not follow"},
		"the backend sends everything twice":     {demo.SyncFaultDuplicate, "", ""},
		"the backend sends frames of a new kind": {demo.SyncFaultUnknownTag, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := supervise(t)
			m.push(storetest.ID, 30)
			m.ensure(storetest.ID)
			m.arrives(storetest.ID)
			m.backend.SetFault(tt.fault)
			m.backend.DropConnections()
			if tt.want != "" {
				if tt.fault == demo.SyncFaultOutOfOrder || tt.fault == demo.SyncFaultGap {
					m.push(storetest.ID, 2) // these show in events alone
				}
				var s storemanager.Store
				require.Eventually(t, func() bool { // a lost connection comes first
					s = m.store(storetest.ID)
					return s.Connection == tt.want && strings.Contains(s.Monitor.LastError, tt.says)
				}, patience, time.Millisecond)
				require.Nil(t, s.Monitor.ConnectedAt)
				require.NotNil(t, s.Monitor.LastDisconnectedAt)
				require.Positive(t, s.Monitor.Errors)
			}
			m.backend.SetFault(demo.SyncFaultNone)
			m.push(storetest.ID, 250)
			m.arrives(storetest.ID)
			m.until(storetest.ID, storemanager.ConnectionConnected)
			require.Equal(t, upTo(m.heads[storetest.ID]), m.events.seqs(storetest.ID), "in order, each once, none lost")
		})
	}
}

func TestARefusedTokenIsAnErrorThatDoesNotShowIt(t *testing.T) {
	t.Parallel()
	m := supervise(t, func(o *Options) { o.Token = httpclient.Fixed("a-wrong-token") })
	m.ensure(storetest.ID)
	s := m.until(storetest.ID, storemanager.ConnectionError)
	require.Equal(t, "the sync backend refused the connection with status 400 (the token may be wrong): Invalid payload", s.Monitor.LastError)
	require.Eventually(t, func() bool { return m.store(storetest.ID).Monitor.NextAttemptAt != nil }, patience, 100*time.Microsecond, "between two attempts")
	require.NotContains(t, fmt.Sprintf("%+v", s), "a-wrong-token")
}

func TestABackendThatCannotBeFoundLeavesTheStoreProvisioned(t *testing.T) {
	t.Parallel()
	m := supervise(t, func(o *Options) {
		known := o.SyncURL
		o.SyncURL = func(storeID string) string {
			if storeID == storetest.ID {
				return "ws://no-such-host.invalid:1234/sync"
			}
			return known(storeID)
		}
	})
	require.Equal(t, storemanager.EnsureCreated, m.ensure(storetest.ID).Outcome)
	m.ensure("other-store")
	s := m.until(storetest.ID, storemanager.ConnectionDisconnected)
	require.Equal(t, storemanager.StateMonitored, s.State)
	require.Contains(t, s.Monitor.LastError, "no-such-host.invalid")
	m.until("other-store", storemanager.ConnectionConnected)
}

func TestAStoreThatWasResetIsReadFromTheBeginning(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.ensure(storetest.ID)
	m.push(storetest.ID, 5)
	m.arrives(storetest.ID)

	require.NoError(t, m.backend.ResetStore(t.Context(), storetest.ID))
	m.backend.DropConnections()
	m.heads[storetest.ID] = 0
	m.push(storetest.ID, 3)
	require.Eventually(t, func() bool { return len(m.events.seqs(storetest.ID)) == 8 }, patience, time.Millisecond)
	require.Equal(t, []int64{1, 2, 3, 4, 5, 1, 2, 3}, m.events.seqs(storetest.ID))
	s := m.until(storetest.ID, storemanager.ConnectionConnected)
	require.EqualValues(t, 1, s.Monitor.Resets)
	require.EqualValues(t, 3, s.Monitor.Head)
	require.EqualValues(t, 3, s.Monitor.Processed)
	var reasons []string
	for _, c := range s.Monitor.History {
		reasons = append(reasons, c.Reason)
	}
	require.Contains(t, reasons, "the store was reset at the sync backend: its backend id is another one")
}

func TestTheMonitorCountsAndRemembers(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.ensure(storetest.ID)
	for range storemanager.KeptConnectionChanges {
		m.until(storetest.ID, storemanager.ConnectionConnected)
		m.backend.DropConnections()
		require.Eventually(t, func() bool { return m.store(storetest.ID).Connection != storemanager.ConnectionConnected }, patience, 100*time.Microsecond)
	}
	s := m.until(storetest.ID, storemanager.ConnectionConnected)
	require.Len(t, s.Monitor.History, storemanager.KeptConnectionChanges)
	require.Equal(t, storemanager.ConnectionConnected, s.Monitor.History[storemanager.KeptConnectionChanges-1].Connection)
	require.GreaterOrEqual(t, s.Monitor.Reconnects, int64(storemanager.KeptConnectionChanges))
	require.GreaterOrEqual(t, s.Monitor.Errors, s.Monitor.Reconnects)
	o, err := m.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[storemanager.ConnectionState]int{storemanager.ConnectionConnected: 1}, o.Connections)
	require.GreaterOrEqual(t, o.Monitors.Reconnects, s.Monitor.Reconnects)
}

func TestBackoffGrowsFromOneSecondToThirtyAndIsNotTheSameForAll(t *testing.T) {
	t.Parallel()
	m := &monitor{s: &Supervisor{timing: defaultTiming}}
	for failures, seconds := range map[int]int{0: 2, 1: 4, 2: 8, 3: 16, 4: 30, 5: 30, 100: 30} {
		want := time.Duration(seconds) * time.Second
		seen := map[time.Duration]bool{}
		for range 200 {
			wait := m.backoff(failures)
			require.LessOrEqual(t, wait, want)
			require.GreaterOrEqual(t, wait, want/2)
			seen[wait] = true
		}
		require.Greater(t, len(seen), 100)
	}
}

func TestOneHungBackendDoesNotDelayStoresOfAnother(t *testing.T) {
	t.Parallel()
	hung, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, in the kernel, and never answers
	require.NoError(t, err)
	defer hung.Close()
	m := supervise(t, func(o *Options) {
		known := o.SyncURL
		o.MaxDials = 2
		o.SyncURL = func(storeID string) string {
			if storeID == "good-store" {
				return known(storeID)
			}
			return "ws://" + hung.Addr().String()
		}
	})
	for i := range 10 {
		m.ensure(fmt.Sprintf("hung-%d", i))
	}
	require.Eventually(t, func() bool { return m.dials.dialing.Load() == 2 }, patience, time.Millisecond, "no more than the limit")
	m.ensure("good-store")
	m.until("good-store", storemanager.ConnectionConnected)
	require.EqualValues(t, 2, m.dials.dialing.Load())
	require.Equal(t, storemanager.ConnectionConnecting, m.store("hung-9").Connection)
}

func TestABackendThatComesBackIsNotStampeded(t *testing.T) {
	t.Parallel()
	m := supervise(t, func(o *Options) { o.MaxDials = 3 })
	const stores = 200
	for i := range stores {
		m.ensure(fmt.Sprintf("store-%03d", i))
	}
	allConnected := func() bool {
		o, err := m.Overview(t.Context())
		require.NoError(t, err)
		return o.Connections[storemanager.ConnectionConnected] == stores && m.backend.Connections() == stores
	}
	require.Eventually(t, allConnected, patience, time.Millisecond)
	m.backend.DropConnections()
	require.Eventually(t, allConnected, patience, time.Millisecond)
	require.LessOrEqual(t, m.backend.PeakHandshakes(), 3)
}

func TestAStoreWithoutASyncBackendIsNotConfigured(t *testing.T) {
	t.Parallel()
	m := supervise(t, func(o *Options) { o.SyncURL = nil })
	require.Equal(t, storemanager.ConnectionNotConfigured, m.ensure(storetest.ID).Connection)
	require.Equal(t, storemanager.ConnectionNotConfigured, m.store(storetest.ID).Connection)
	o, err := m.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[storemanager.ConnectionState]int{storemanager.ConnectionNotConfigured: 1}, o.Connections)
	m.remove(storetest.ID)
	require.Equal(t, storemanager.ConnectionStopped, m.store(storetest.ID).Connection)
}

func TestTooFewFilesAreAnErrorOfThoseStoresAlone(t *testing.T) {
	t.Parallel()
	m := supervise(t, func(o *Options) { o.maxConns = 1 })
	m.ensure("first-store")
	m.until("first-store", storemanager.ConnectionConnected)
	m.ensure("second-store")
	s := m.until("second-store", storemanager.ConnectionError)
	require.Contains(t, s.Monitor.LastError, "raise the limit")
	m.remove("first-store")
	m.until("second-store", storemanager.ConnectionConnected)
}

func TestTheProcessorIsToldOfEachStoreThatIsNoLongerMonitored(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.ensure(storetest.ID)
	m.until(storetest.ID, storemanager.ConnectionConnected)
	require.Empty(t, m.events.stops())
	m.remove(storetest.ID)
	require.Equal(t, []string{storetest.ID}, m.events.stops())
	m.ensure(storetest.ID)
	m.until(storetest.ID, storemanager.ConnectionConnected)
	require.NoError(t, m.Close())
	require.Equal(t, []string{storetest.ID, storetest.ID}, m.events.stops())
}

func TestHoweverEnsuresAndStopsOverlapThereIsOneSubscriptionOrNone(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]demo.SyncFault{"connected": demo.SyncFaultNone, "while connecting": demo.SyncFaultMute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := supervise(t)
			m.backend.SetFault(fault)
			for round := range 20 {
				m.ensure(storetest.ID)
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() { m.ensure(storetest.ID) })
				}
				all.Go(func() {
					ctx, now := context.Background(), time.Now()
					_, _ = m.BeginDeletion(ctx, storemanager.DeletionRequest{StoreID: storetest.ID, At: now, DeleteAt: now.Add(-time.Second), Owner: "test"})
					_, _ = m.Stop(ctx, storemanager.StopRequest{StoreID: storetest.ID, Owner: "test", AbsentAt: time.Now()})
				})
				all.Wait()
				want := 0
				if m.store(storetest.ID).State == storemanager.StateMonitored {
					want = 1
				}
				require.Eventually(t, func() bool {
					return m.backend.Connections() == want && (fault == demo.SyncFaultMute || m.backend.Pulls(storetest.ID) == want)
				}, patience, time.Millisecond, "round %d: want %d, there are %d", round, want, m.backend.Connections())
				require.LessOrEqual(t, m.backend.Pulls(storetest.ID), 1)
			}
			m.ensure(storetest.ID)
			m.backend.SetFault(demo.SyncFaultNone)
			m.until(storetest.ID, storemanager.ConnectionConnected)
			require.Equal(t, 1, m.backend.Pulls(storetest.ID))
			m.remove(storetest.ID)
			require.Eventually(t, func() bool { return m.backend.Connections() == 0 }, patience, time.Millisecond)
		})
	}
}

func TestEveryRegisteredStoreIsMonitoredAgainAfterARestart(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	ids := []string{"store-a", "store-b", "store-c"}
	for i, id := range ids {
		m.ensure(id)
		m.push(id, 10+i)
		m.arrives(id)
	}
	m.ensure("gone-store")
	m.remove("gone-store")
	m.restart()
	for i, id := range ids {
		m.push(id, 5)
		m.arrives(id)
		require.Equal(t, upTo(int64(15+i)), m.events.seqs(id), "it goes on from its cursor")
		require.Equal(t, storemanager.ConnectionConnected, m.store(id).Connection)
	}
	require.Zero(t, m.backend.Pulls("gone-store"))
}

func TestWatchTellsEachChange(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan storemanager.Change, 100)
	done := make(chan error, 1)
	go func() {
		done <- m.Watch(ctx, "", func(c storemanager.Change) error { seen <- c; return nil })
	}()
	next := func() storemanager.Change {
		for {
			select {
			case c := <-seen:
				if !c.Lost {
					return c
				}
			case <-time.After(patience):
				t.Fatal("no change")
			}
		}
	}
	<-seen // it begins with a Lost: from here on it is told of everything
	m.ensure(storetest.ID)
	for _, want := range [][2]storemanager.ConnectionState{{storemanager.ConnectionStopped, storemanager.ConnectionConnecting}, {storemanager.ConnectionConnecting, storemanager.ConnectionConnected}} {
		c := next()
		require.Equal(t, storetest.ID, c.StoreID)
		require.Equal(t, want, [2]storemanager.ConnectionState{c.Previous, c.Connection})
	}
	m.remove(storetest.ID)
	c := next()
	require.Equal(t, [2]storemanager.ConnectionState{storemanager.ConnectionConnected, storemanager.ConnectionStopped}, [2]storemanager.ConnectionState{c.Previous, c.Connection})
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestAConnectionThatIsClosedWhileTheSinkHangsShows(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.events.failWith(func(ctx context.Context, _ processor.Batch) error {
		<-ctx.Done()
		return ctx.Err()
	})
	m.ensure(storetest.ID)
	m.push(storetest.ID, 2*maxWaitingEvents) // more than is taken while the sink hangs
	m.until(storetest.ID, storemanager.ConnectionStuck)
	require.Eventually(t, func() bool { return len(m.monitor(storetest.ID).queue.room) == 0 }, patience, time.Millisecond)
	require.Never(t, func() bool { return m.store(storetest.ID).Connection != storemanager.ConnectionStuck }, 3*m.timing.silence, 10*time.Millisecond,
		"pings are exchanged all the time")
	m.backend.SetFault(demo.SyncFaultRefuse)
	m.backend.DropConnections()
	require.Contains(t, m.until(storetest.ID, storemanager.ConnectionDisconnected).Monitor.LastError, "sync backend")
	m.backend.SetFault(demo.SyncFaultNone)
	m.events.failWith(nil)
	m.until(storetest.ID, storemanager.ConnectionStuck) // it is connected again, and the batch that hangs is still the same
	m.restart()
	m.arrives(storetest.ID)
	require.Equal(t, upTo(m.heads[storetest.ID]), m.events.seqs(storetest.ID))
}

func TestTheReasonShownIsTheNewestAndTheHistoryKeepsTheFirst(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes, watched := make(chan storemanager.Change, 100), make(chan struct{})
	go func() {
		defer close(watched)
		_ = m.Watch(ctx, "", func(c storemanager.Change) error { changes <- c; return nil })
	}()
	<-changes
	m.ensure(storetest.ID)
	m.until(storetest.ID, storemanager.ConnectionConnected)
	m.backend.SetFault(demo.SyncFaultRefuse)
	m.backend.DropConnections()
	require.Eventually(t, func() bool { return m.store(storetest.ID).Monitor.ReconnectAttempts > 5 }, patience, time.Millisecond)
	s := m.store(storetest.ID)
	require.Equal(t, storemanager.ConnectionDisconnected, s.Connection)
	require.Equal(t, "the sync backend refused the connection with status 503: Service unavailable", s.Monitor.Reason)
	require.Len(t, s.Monitor.History, 3)
	require.Contains(t, s.Monitor.History[2].Reason, "the connection to the sync backend was lost", "by EOF or by a reset")
	require.Zero(t, s.Monitor.Reconnects)
	require.Len(t, changes, 3, "watchers are told of changes alone")
	m.backend.SetFault(demo.SyncFaultNone)
	s = m.until(storetest.ID, storemanager.ConnectionConnected)
	require.Empty(t, s.Monitor.Reason)
	require.EqualValues(t, 1, s.Monitor.Reconnects)
	cancel()
	<-watched
}

func TestTheSyncURLInUseIsShownWithoutSecrets(t *testing.T) {
	t.Parallel()
	m := supervise(t, func(o *Options) {
		o.SyncURL = func(id string) string {
			if id == "own-store" {
				return "ws://127.0.0.1:1/own?key=the-secret"
			}
			return "wss://me:the-secret@127.0.0.1:1/some%2Fpath?key=the-secret#the-secret"
		}
	})
	m.ensure(storetest.ID)
	m.ensure("own-store")
	require.Equal(t, "wss://127.0.0.1:1/some%2Fpath", m.until(storetest.ID, storemanager.ConnectionDisconnected).Monitor.SyncURL)
	require.Equal(t, "ws://127.0.0.1:1/own", m.until("own-store", storemanager.ConnectionDisconnected).Monitor.SyncURL)
	o, err := m.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, "wss://127.0.0.1:1/some%2Fpath", o.SyncURL)
}
