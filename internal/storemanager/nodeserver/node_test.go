package nodeserver

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// nodeBundle is a bundle whose Manager drives the fake.
type nodeBundle struct {
	*storetest.Bundle
	node *Node
	fake *fakeNode
	logs *observer.ObservedLogs
}

// setupNode changes the options that it is given. The server is not restored by itself.
func setupNode(t *testing.T, changes ...func(*Options)) *nodeBundle {
	t.Helper()
	b := &nodeBundle{Bundle: storetest.Setup(t), fake: startFakeNode(t)}
	core, logs := observer.New(zapcore.InfoLevel)
	b.logs = logs
	o := Options{
		URL: b.fake.url, WebhookSecret: httpclient.Fixed(fakeNodeSecret), Logger: zap.New(core), Timeout: 30 * time.Second, restoreEvery: time.Hour,
	}
	for _, change := range changes {
		change(&o)
	}
	b.drive(t, o)
	if o.URL == b.fake.url { // the restore at the start has read the registry, and so will tell nothing
		require.Eventually(t, func() bool { return b.fake.listed() > 0 }, 10*time.Second, time.Millisecond)
	}
	return b
}

// overview is not that of bundle, which knows what the connections of a bare registry are.
func (b *nodeBundle) overview(t *testing.T) storemanager.Overview {
	t.Helper()
	o, err := b.Overview(t.Context())
	require.NoError(t, err)
	return o
}

func (b *nodeBundle) drive(t *testing.T, o Options) {
	t.Helper()
	n, err := Drive(t.Context(), b.Registry.Registry, o)
	require.NoError(t, err)
	b.node, b.Manager = n, n
	t.Cleanup(func() { require.NoError(t, n.Close()) })
}

func (b *nodeBundle) list(t *testing.T) []storemanager.Store {
	t.Helper()
	page, err := b.List(t.Context(), storemanager.ListRequest{})
	require.NoError(t, err)
	require.Empty(t, page.NextCursor)
	return page.Stores
}

// refuseAll makes the server answer 500 to such events.
func (b *nodeBundle) refuseAll(event string) {
	b.fake.set(func() {
		b.fake.refuse = func(e, _ string) int {
			if e == event {
				return http.StatusInternalServerError
			}
			return 0
		}
	})
}

func (b *nodeBundle) heal() {
	b.fake.set(func() { b.fake.refuse, b.fake.hang, b.fake.answer = nil, nil, nil })
}

// hangOn makes the server hang on such events; reached tells of each that has come, release lets all go.
func (b *nodeBundle) hangOn(t *testing.T, event string) (reached <-chan string, release func()) {
	t.Helper()
	came, held := make(chan string, 100), make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	b.fake.set(func() {
		b.fake.hang = func(e, id string) <-chan struct{} {
			if e != event {
				return nil
			}
			came <- id
			return held
		}
	})
	return came, release
}

func (b *nodeBundle) tryEnsure(ctx context.Context, seconds int) (storemanager.EnsureResult, error) {
	return b.Ensure(ctx, storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(seconds), RequestID: fmt.Sprint("delivery-", seconds)})
}

func TestANodeServerDoesWhatTheRegistryDecides(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *nodeBundle){
		"what is ensured is monitored there, and listed with its state": func(t *testing.T, b *nodeBundle) {
			res, err := b.tryEnsure(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, storemanager.EnsureResult{StoreID: storetest.ID, Outcome: storemanager.EnsureCreated, Connection: storemanager.ConnectionConnecting}, res)
			require.Equal(t, []string{storetest.ID}, b.fake.ids())
			want := storemanager.Store{
				ID: storetest.ID, State: storemanager.StateMonitored, Connection: storemanager.ConnectionConnected, EventAt: storetest.At(1),
				FirstMonitoredAt: new(storetest.T0), LastEnsuredAt: new(storetest.T0),
				Monitor: &storemanager.MonitorStatus{
					Since: storetest.At(-20), ConnectedAt: new(storetest.At(-20)), LastConnectedAt: new(storetest.At(-20)), LastActivityAt: new(storetest.At(-10)),
					Errors: 3, ReconnectAttempts: 2,
					History: []storemanager.ConnectionChange{
						{Connection: storemanager.ConnectionConnecting, At: storetest.At(-30)}, {Connection: storemanager.ConnectionConnected, At: storetest.At(-20)},
					},
				},
			}
			require.Equal(t, []storemanager.Store{want}, b.list(t))
			require.Equal(t, want, b.MustGet(t))
			require.Equal(t, map[storemanager.ConnectionState]int{storemanager.ConnectionConnected: 1}, b.overview(t).Connections)
		},
		"an ensure that failed there succeeds when it is repeated, and still hears created": func(t *testing.T, b *nodeBundle) {
			b.refuseAll("created")
			for range 2 {
				_, err := b.tryEnsure(t.Context(), 1)
				require.ErrorContains(t, err, "500")
				require.NotErrorIs(t, err, storemanager.ErrInvalid)
				require.NotContains(t, err.Error(), fakeNodeSecret)
			}
			b.heal()
			res, err := b.tryEnsure(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, storemanager.EnsureCreated, res.Outcome)
			require.EqualValues(t, 1, b.overview(t).TotalProvisioned)
			require.Equal(t, []string{"created " + storetest.ID}, b.fake.events())
		},
		"what the registry refuses is not told": func(t *testing.T, b *nodeBundle) {
			require.Equal(t, storemanager.DeletionAlreadyStopped, b.MustBegin(t, 5, "run"))
			require.Equal(t, storemanager.EnsureStale, b.MustEnsure(t, 4))
			_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "../x", At: storetest.At(1)})
			require.ErrorIs(t, err, storemanager.ErrInvalid)
			require.Empty(t, b.fake.events())
		},
		"a stop is told when it is due, and not before": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 2, "run"))
			_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
			require.ErrorIs(t, err, storemanager.ErrTooEarly)
			b.Clock.Set(storetest.At(100))
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "another run"))
			require.Equal(t, []string{storetest.ID}, b.fake.ids())
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
			require.Empty(t, b.fake.ids())
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"), "a repeat")
			require.Equal(t, storemanager.StopAlreadyStopped, b.MustStop(t, "another run"))
			require.Empty(t, b.list(t))
			require.Equal(t, storemanager.StateStopped, b.MustGet(t).State)
		},
		"a stop without the moment of the answer is an error, as an older worker must hear it": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run"})
			require.ErrorContains(t, err, "upgrade the workers")
			require.Equal(t, []string{storetest.ID}, b.fake.ids())
			require.NotNil(t, b.MustGet(t).Deletion)
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"), "by a newer one")
		},
		"a held or pinned store is never stopped there": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.MustHold(t, storetest.SomeHold)
			b.Clock.Set(storetest.At(100))
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "run"))
			require.Equal(t, storemanager.DeletionHeld, b.MustBegin(t, 3, "run"))
			_, err := b.Release(t.Context(), storemanager.ReleaseRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			b.MustBegin(t, 4, "run")
			require.NoError(t, b.node.SetPins(t.Context(), []string{storetest.ID}))
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "run"))
			require.Equal(t, []string{"created " + storetest.ID}, b.fake.events())
		},
		"a stop that failed there is pending still, and its repeat goes on": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			b.refuseAll("deleted")
			_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
			require.ErrorContains(t, err, "500")
			listed := b.list(t)
			require.Len(t, listed, 1)
			require.Equal(t, storemanager.StateMonitored, listed[0].State)
			require.Equal(t, &storemanager.Deletion{EventAt: storetest.At(2), Since: storetest.T0, DeleteAt: storetest.At(100), Owner: "run"}, listed[0].Deletion)
			b.heal()
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
			require.Empty(t, b.fake.ids())
		},
		"a store that is wanted again after a stop that failed there stays": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			b.refuseAll("deleted")
			_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
			require.Error(t, err)
			require.Equal(t, storemanager.EnsureExists, b.MustEnsure(t, 3), "until the server has stopped it, it is monitored")
			b.heal()
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "run"))
			require.Equal(t, []string{"created " + storetest.ID}, b.fake.events())
		},
		"the deletion of a store that only the server knows has its grace period": func(t *testing.T, b *nodeBundle) {
			b.fake.boot(storetest.ID)
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 2, "run"))
			_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
			require.ErrorIs(t, err, storemanager.ErrTooEarly)
			b.Clock.Set(storetest.At(100))
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
			require.Empty(t, b.fake.ids())
		},
		"so has that of a store which a tombstone hides, even by an older event": func(t *testing.T, b *nodeBundle) {
			require.Equal(t, storemanager.DeletionAlreadyStopped, b.MustBegin(t, 5, "first"))
			b.fake.boot(storetest.ID)
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 4, "second"))
			require.Equal(t, &storemanager.Deletion{EventAt: storetest.At(5), Since: storetest.T0, DeleteAt: storetest.At(100), Owner: "second"}, b.MustGet(t).Deletion)
			require.Equal(t, storemanager.EnsureStale, b.MustEnsure(t, 5))
		},
		"a deletion waits while the server can't be asked": func(t *testing.T, b *nodeBundle) {
			b.fake.boot(storetest.ID)
			b.fake.set(func() {
				b.fake.answer = func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadGateway); return true }
			})
			_, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: storetest.ID, At: storetest.At(1), DeleteAt: storetest.At(100), Owner: "run"})
			require.ErrorContains(t, err, "502")
			b.heal()
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 1, "run"))
		},
		"a store that the server has lost is missing until it is ensured": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			b.fake.boot("boot-store")
			b.fake.restart()
			listed := b.list(t)
			require.Len(t, listed, 1)
			require.Equal(t, "boot-store", listed[0].ID)
			require.Eventually(t, func() bool { return b.MustGet(t).Connection == storemanager.ConnectionDisconnected }, 5*time.Second, 10*time.Millisecond)
			require.Equal(t, storemanager.StateMonitored, b.MustGet(t).State)
			o := b.overview(t)
			require.Equal(t, map[storemanager.ConnectionState]int{storemanager.ConnectionConnected: 1, storemanager.ConnectionDisconnected: 1}, o.Connections)
			require.Equal(t, 2, o.Monitored)
			require.Equal(t, storemanager.EnsureCreated, b.MustEnsure(t, 2))
			require.Equal(t, []string{"boot-store", storetest.ID}, b.fake.ids())
		},
		"what was told shows at once, whatever was known a moment ago": func(t *testing.T, b *nodeBundle) {
			require.Zero(t, b.overview(t).Monitored)
			b.MustEnsure(t, 1)
			require.Equal(t, storemanager.ConnectionConnected, b.MustGet(t).Connection)
		},
		"what the server had before is taken over, as old as it is": func(t *testing.T, b *nodeBundle) {
			b.fake.boot(storetest.ID)
			listed := b.list(t)
			require.Len(t, listed, 1)
			require.Equal(t, time.UnixMicro(0).UTC(), listed[0].EventAt)
			require.Nil(t, listed[0].LastEnsuredAt)
			require.Equal(t, 1, b.overview(t).Monitored)
			b.MustHold(t, storetest.SomeHold)
			require.NotNil(t, b.list(t)[0].Hold)
		},
		"an orphan that only the server knows can be marked": func(t *testing.T, b *nodeBundle) {
			require.Equal(t, storemanager.DeletionAlreadyStopped, b.MustBegin(t, 1, "run"))
			b.fake.boot(storetest.ID, "unknown-store")
			require.Len(t, b.list(t), 2)
			require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(2), Unlisted: []string{storetest.ID, "unknown-store", "nowhere"}}))
			for _, s := range b.list(t) {
				require.Equal(t, new(storetest.At(2)), s.UnlistedSince, s.ID)
			}
			_, err := b.Get(t.Context(), "nowhere")
			require.ErrorIs(t, err, storemanager.ErrNotFound)
		},
		"a connection that the server calls connected without a network is not": func(t *testing.T, b *nodeBundle) {
			b.fake.set(func() {
				b.fake.answer = func(w http.ResponseWriter) bool {
					_, _ = io.WriteString(w, `{"stores":[{"id":"store-a","status":"connected","networkStatus":{"isConnected":false}},
						{"id":"store-b","status":"who knows"}]}`)
					return true
				}
			})
			listed := b.list(t)
			require.Equal(t, storemanager.ConnectionDisconnected, listed[0].Connection)
			require.Equal(t, storemanager.ConnectionError, listed[1].Connection)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, setupNode(t))
		})
	}
}

func TestANodeServerGetsBackWhatItHasLost(t *testing.T) {
	t.Parallel()
	b := setupNode(t, func(o *Options) { o.restoreEvery = 10 * time.Millisecond })
	b.MustEnsure(t, 1)
	b.MustBegin(t, 2, "run")
	require.NoError(t, b.node.SetPins(t.Context(), []string{"pinned-store"}))
	restored := func() bool { return len(b.fake.ids()) == 2 }
	require.Eventually(t, restored, 10*time.Second, 5*time.Millisecond)
	b.fake.restart()
	require.Eventually(t, restored, 10*time.Second, 5*time.Millisecond, "a pending store stays monitored")
	b.Clock.Set(storetest.At(100))
	require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
	require.Equal(t, []string{"pinned-store"}, b.fake.ids())
}

func TestANodeServerIsToldOfAllStoresAtTheStart(t *testing.T) {
	t.Parallel()
	b := setupNode(t, func(o *Options) { o.Parallelism = 3 })
	b.MustEnsure(t, 1)
	require.NoError(t, b.node.Close())
	b.fake.restart()
	b.drive(t, Options{URL: b.fake.url, WebhookSecret: httpclient.Fixed(fakeNodeSecret)})
	require.Eventually(t, func() bool { return len(b.fake.ids()) == 1 }, 10*time.Second, 5*time.Millisecond)
}

func TestABatchToldToANodeServerIsOverInTime(t *testing.T) {
	t.Parallel()
	requests := func(count int) (qs []storemanager.EnsureRequest) {
		for i := range count {
			qs = append(qs, storemanager.EnsureRequest{StoreID: fmt.Sprintf("store-%03d", i), At: storetest.At(1)})
		}
		return qs
	}
	for name, test := range map[string]func(t *testing.T, b *nodeBundle){
		"one that fails stops none of the others": func(t *testing.T, b *nodeBundle) {
			b.fake.set(func() {
				b.fake.refuse = func(_, id string) int {
					if id == "store-001" {
						return http.StatusInternalServerError
					}
					return 0
				}
			})
			qs := requests(4)
			qs[2].StoreID = "no id"
			res, err := b.EnsureBatch(t.Context(), qs)
			require.NoError(t, err)
			require.Equal(t, []storemanager.EnsureResult{
				{StoreID: "store-000", Outcome: storemanager.EnsureCreated, Connection: storemanager.ConnectionConnecting},
				{
					StoreID: "store-001", Outcome: storemanager.EnsureFailed, Error: "the node server answered 500 Internal Server Error",
					NextAttemptAt: res[1].NextAttemptAt,
				},
				{StoreID: "no id", Outcome: storemanager.EnsureInvalid},
				{StoreID: "store-003", Outcome: storemanager.EnsureCreated, Connection: storemanager.ConnectionConnecting},
			}, res)
			require.Equal(t, []string{"store-000", "store-003"}, b.fake.ids())
			require.Equal(t, 1, b.logs.FilterMessage("the Node server did not take all stores of a batch").Len())
		},
		"the server never works on more than two events at a time": func(t *testing.T, b *nodeBundle) {
			b.fake.set(func() { b.fake.delay = 3 * time.Millisecond })
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					qs := requests(80)[i*20 : (i+1)*20]
					if res, err := b.EnsureBatch(t.Context(), qs); err != nil || res[0].Outcome != storemanager.EnsureCreated {
						t.Error(res, err)
					}
				})
				wg.Go(func() {
					if _, err := b.List(t.Context(), storemanager.ListRequest{}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.Len(t, b.fake.ids(), 80)
			require.Equal(t, 2, b.fake.most)
		},
		"a server that hangs fails the batch in time, and it is taken up later": func(t *testing.T, b *nodeBundle) {
			b.node.batchTime = time.Second
			reached, release := b.hangOn(t, "created")
			res, err := b.EnsureBatch(t.Context(), requests(10))
			require.NoError(t, err)
			for i, r := range res {
				require.Equal(t, storemanager.EnsureResult{
					StoreID: requests(10)[i].StoreID, Outcome: storemanager.EnsureFailed, Error: "the node server has not done it in time",
				}, r)
			}
			require.Len(t, reached, 2)
			release()
			b.node.batchTime = nodeBatchTime
			res, err = b.EnsureBatch(t.Context(), requests(10))
			require.NoError(t, err)
			require.Equal(t, storemanager.EnsureCreated, res[9].Outcome, "it was not told of it")
			require.Len(t, b.fake.ids(), 10)
		},
		"a slow server has taken a part": func(t *testing.T, b *nodeBundle) {
			b.node.batchTime = time.Second
			b.fake.set(func() { b.fake.delay = 300 * time.Millisecond })
			res, err := b.EnsureBatch(t.Context(), requests(20))
			require.NoError(t, err)
			require.Equal(t, storemanager.EnsureCreated, res[0].Outcome)
			require.Equal(t, storemanager.EnsureFailed, res[19].Outcome)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, setupNode(t))
		})
	}
}

func TestABatchLeavesItsCallerTimeToAnswer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.LessOrEqual(t, timeForBatch(ctx, nodeBatchTime), 9*time.Second)
	require.Equal(t, time.Second, timeForBatch(ctx, time.Second))
	require.Equal(t, nodeBatchTime, timeForBatch(t.Context(), nodeBatchTime))
}

func TestANodeServerIsToldOfOneChangeOfAStoreAtATime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *nodeBundle){
		"ten ensures in parallel open one subscription": func(t *testing.T, b *nodeBundle) {
			b.fake.set(func() { b.fake.delay = 20 * time.Millisecond })
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					if _, err := b.tryEnsure(t.Context(), i+1); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.Equal(t, map[string]int{storetest.ID: 1}, b.fake.subscriptions)
		},
		"an ensure whose caller gave up goes on, and the repeat waits for it": func(t *testing.T, b *nodeBundle) {
			reached, release := b.hangOn(t, "created")
			ctx, cancel := context.WithCancel(t.Context())
			first := make(chan error, 1)
			go func() {
				_, err := b.tryEnsure(ctx, 1)
				first <- err
			}()
			<-reached
			cancel()
			require.ErrorIs(t, <-first, context.Canceled)
			second := make(chan error, 1)
			go func() {
				_, err := b.tryEnsure(t.Context(), 1)
				second <- err
			}()
			b.waiting(t)
			release()
			require.NoError(t, <-second)
			require.Equal(t, map[string]int{storetest.ID: 1}, b.fake.subscriptions)
		},
		"an ensure that comes while a stop is under way is told after it": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			reached, release := b.hangOn(t, "deleted")
			stopped, ensured := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
				stopped <- err
			}()
			<-reached
			go func() {
				_, err := b.tryEnsure(t.Context(), 3)
				ensured <- err
			}()
			b.waiting(t)
			release()
			require.NoError(t, <-stopped)
			require.NoError(t, <-ensured)
			require.Equal(t, []string{"created " + storetest.ID, "deleted " + storetest.ID, "created " + storetest.ID}, b.fake.events())
		},
		"a stop that waited while its store became wanted again is not told": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			release, err := b.node.storeLocks.take(t.Context(), t.Context(), storetest.ID)
			require.NoError(t, err)
			stopped := make(chan storemanager.StopOutcome, 1)
			go func() {
				res, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
				if err != nil {
					t.Error(err)
				}
				stopped <- res.Outcome
			}()
			b.waiting(t)
			res, err := b.Registry.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(3)})
			require.NoError(t, err)
			require.True(t, res.DeletionCancelled)
			release()
			require.Equal(t, storemanager.StopNotPending, <-stopped)
			require.Equal(t, []string{storetest.ID}, b.fake.ids())
		},
		"an ensure that waited while its store was stopped is not told": func(t *testing.T, b *nodeBundle) {
			release, err := b.node.storeLocks.take(t.Context(), t.Context(), storetest.ID)
			require.NoError(t, err)
			ensured := make(chan storemanager.EnsureResult, 1)
			go func() {
				res, err := b.tryEnsure(t.Context(), 1)
				if err != nil {
					t.Error(err)
				}
				ensured <- res
			}()
			b.waiting(t)
			_, err = b.Registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: storetest.ID, At: storetest.At(2), DeleteAt: storetest.T0, Owner: "run"})
			require.NoError(t, err)
			res, err := b.Registry.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
			require.NoError(t, err)
			require.Equal(t, storemanager.StopStopped, res.Outcome)
			release()
			require.Equal(t, storemanager.EnsureResult{StoreID: storetest.ID, Outcome: storemanager.EnsureStale}, <-ensured)
			require.Empty(t, b.fake.events())
		},
		"a store that is held while the server stops it is monitored again": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			reached, release := b.hangOn(t, "deleted")
			stopped := make(chan storemanager.StopOutcome, 1)
			go func() {
				res, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
				if err != nil {
					t.Error(err)
				}
				stopped <- res.Outcome
			}()
			<-reached
			b.MustHold(t, storetest.SomeHold)
			release()
			require.Equal(t, storemanager.StopNotPending, <-stopped)
			require.Equal(t, []string{storetest.ID}, b.fake.ids())
			require.NotNil(t, b.MustGet(t).Hold)
		},
		"a store whose stop failed at the server can be held, and its deletion cancelled": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			b.refuseAll("deleted")
			_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
			require.Error(t, err)
			require.NotNil(t, b.MustGet(t).Deletion)
			_, err = b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			b.MustHold(t, storetest.SomeHold)
			b.heal()
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "run"))
			require.Equal(t, []string{storetest.ID}, b.fake.ids())
		},
		"close breaks off what hangs": func(t *testing.T, b *nodeBundle) {
			reached, release := b.hangOn(t, "created")
			failed := make(chan error, 1)
			go func() {
				_, err := b.tryEnsure(t.Context(), 1)
				failed <- err
			}()
			<-reached
			require.NoError(t, b.node.Close())
			require.Error(t, <-failed)
			_, err := b.tryEnsure(t.Context(), 1)
			require.ErrorIs(t, err, storemanager.ErrShutdown)
			release()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, setupNode(t))
		})
	}
}

// waiting returns once one has the turn of the store and another one wants it.
func (b *nodeBundle) waiting(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		b.node.storeLocks.mu.Lock()
		defer b.node.storeLocks.mu.Unlock()
		return b.node.storeLocks.of[storetest.ID] != nil && b.node.storeLocks.of[storetest.ID].users == 2
	}, 10*time.Second, time.Millisecond)
}

func TestANodeServerEndsAsTheRegistryIs(t *testing.T) {
	t.Parallel()
	b := setupNode(t)
	var failures int
	var mu sync.Mutex
	b.fake.set(func() {
		b.fake.delay = time.Millisecond
		b.fake.refuse = func(string, string) int { // one in five
			mu.Lock()
			defer mu.Unlock()
			if failures++; failures%5 == 0 {
				return http.StatusInternalServerError
			}
			return 0
		}
	})
	b.Clock.Set(storetest.At(1000)) // every grace period has ended
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for step := range 25 {
				store, owner := fmt.Sprint("store-", random.IntN(3)), fmt.Sprint("run-", worker, "-", step)
				retry := func(call func() error) {
					for call() != nil && t.Context().Err() == nil { //nolint:revive // the call is what is done
					}
				}
				if random.IntN(2) == 0 {
					retry(func() error {
						_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: store, At: storetest.At(step)})
						return err
					})
					continue
				}
				retry(func() error {
					_, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: store, At: storetest.At(step), DeleteAt: storetest.At(1), Owner: owner})
					return err
				})
				retry(func() error {
					_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: store, Owner: owner, AbsentAt: b.Clock.Now()})
					return err
				})
			}
		})
	}
	wg.Wait()
	want := []string{}
	ids, err := b.Registry.MonitoredIDs(t.Context())
	require.NoError(t, err)
	require.Equal(t, append(want, ids...), b.fake.ids())
	require.LessOrEqual(t, b.fake.most, 2)
}

func TestTheListOfANodeServerIsTakenWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no JSON":           `<html>`,
		"cut off":           `{"stores":[{"id":"store-a","status":"connected"},{"id":"sto`,
		"no stores":         `{"reconciliation":{"enabled":false}}`,
		"null stores":       `{"stores":null}`,
		"stores no list":    `{"stores":{"store-a":{}}}`,
		"more than one":     `{"stores":[]}{"stores":[]}`,
		"nothing":           ``,
		"another's answer":  `{"error":"not found"}`,
		"longer than taken": `{"stores":[` + strings.Repeat(" ", maxNodeListing) + `]}`,
	} {
		t.Run("an answer that is not whole is an error: "+name, func(t *testing.T) {
			t.Parallel()
			b := setupNode(t)
			b.fake.set(func() {
				b.fake.answer = func(w http.ResponseWriter) bool { _, _ = io.WriteString(w, body); return true }
			})
			_, err := b.List(t.Context(), storemanager.ListRequest{})
			require.Error(t, err)
			_, err = b.Overview(t.Context())
			require.Error(t, err)
			_, err = b.Get(t.Context(), storetest.ID)
			require.Error(t, err)
			require.NotErrorIs(t, err, storemanager.ErrNotFound)
		})
	}
	t.Run("an answer that ends early is an error", func(t *testing.T) {
		t.Parallel()
		b := setupNode(t)
		b.fake.set(func() {
			b.fake.answer = func(w http.ResponseWriter) bool {
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, `{"stores":[]}`)
				return true
			}
		})
		_, err := b.List(t.Context(), storemanager.ListRequest{})
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
	t.Run("a bad entry is left out, a bad field is not", func(t *testing.T) {
		t.Parallel()
		b := setupNode(t)
		b.fake.set(func() {
			b.fake.answer = func(w http.ResponseWriter) bool {
				_, _ = io.WriteString(w, `{"stores":[{},null,7,{"id":"../x"},{"id":5},{"id":"store-b","errorCount":"many","connectedAt":"soon"},
					{"id":"store-a","orchestrator":{"status":"stopped"}},{"id":"store-c","statusHistory":7,"status":"connected"}],"reconciliation":7}`)
				return true
			}
		})
		for range 3 {
			listed := b.list(t)
			require.Len(t, listed, 2)
			require.Equal(t, "store-b", listed[0].ID)
			require.Equal(t, storemanager.ConnectionConnected, listed[1].Connection)
		}
		require.Equal(t, 1, b.logs.FilterMessageSnippet("can't be a store").Len())
	})
	t.Run("pages are sorted by id and filtered", func(t *testing.T) {
		t.Parallel()
		b := setupNode(t)
		want := []string{"0aa", "Zaa", "a-a", "a0a", "aAa", "a_a", "aaa"}
		b.fake.boot(want...)
		_, err := b.Hold(t.Context(), "a_a", storemanager.HoldRequest{Hold: storetest.SomeHold})
		require.ErrorIs(t, err, storemanager.ErrNotFound, "before it was ever listed")
		for limit := range len(want) + 2 {
			var got []string
			for cursor, more := "", true; more; {
				page, err := b.List(t.Context(), storemanager.ListRequest{Cursor: cursor, Limit: limit})
				require.NoError(t, err)
				for _, s := range page.Stores {
					got = append(got, s.ID)
				}
				cursor, more = page.NextCursor, page.NextCursor != ""
			}
			require.Equal(t, want, got, "limit %d", limit)
		}
		_, err = b.Hold(t.Context(), "a_a", storemanager.HoldRequest{Hold: storetest.SomeHold})
		require.NoError(t, err)
		page, err := b.List(t.Context(), storemanager.ListRequest{States: []string{storemanager.StoreHeld}})
		require.NoError(t, err)
		require.Len(t, page.Stores, 1)
		_, err = b.List(t.Context(), storemanager.ListRequest{States: []string{"no state"}})
		require.ErrorIs(t, err, storemanager.ErrInvalid)
		_, err = b.List(t.Context(), storemanager.ListRequest{Cursor: "no cursor"})
		require.ErrorIs(t, err, storemanager.ErrInvalid)
	})
	t.Run("health checks share a list", func(t *testing.T) {
		t.Parallel()
		b := setupNode(t)
		b.MustEnsure(t, 1)
		began := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := b.Overview(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// One for the restore at the start, one for each second.
		require.LessOrEqual(t, b.fake.listed(), 2+int(time.Since(began)/nodeListingAge))
	})
	t.Run("a server that reconciles by itself is named once", func(t *testing.T) {
		t.Parallel()
		b := setupNode(t)
		b.fake.set(func() { b.fake.reconciles = true })
		b.list(t)
		b.list(t)
		require.Equal(t, 1, b.logs.FilterMessageSnippet("unset both AUTH_WORKER_INTERNAL_URL and AUTH_WORKER_URL there").Len())
	})
}

func TestANodeServerIsReachedWhenItTakesTheSecret(t *testing.T) {
	t.Parallel()
	b := setupNode(t)
	require.NoError(t, b.node.Ping(t.Context()))
	require.Empty(t, b.fake.events())

	wrong := setupNode(t, func(o *Options) { o.WebhookSecret = httpclient.Fixed("another-secret") })
	err := wrong.node.Ping(t.Context())
	require.ErrorIs(t, err, storemanager.ErrNodeServer)
	require.ErrorContains(t, err, "it refuses NODE_SERVER_WEBHOOK_SECRET")
	require.NotContains(t, err.Error(), "another-secret")
	_, err = wrong.tryEnsure(t.Context(), 1)
	require.ErrorIs(t, err, storemanager.ErrNodeServer, "and not ErrUnauthorized: the caller's token is right")

	var known atomic.Bool
	rotated := setupNode(t, func(o *Options) {
		o.WebhookSecret = func() string {
			if known.Load() {
				return fakeNodeSecret
			}
			return "another-secret"
		}
	})
	require.ErrorIs(t, rotated.node.Ping(t.Context()), storemanager.ErrNodeServer)
	known.Store(true)
	require.NoError(t, rotated.node.Ping(t.Context()), "the newest one is sent")

	elsewhere := httptest.NewServer(http.RedirectHandler(b.fake.url+"/webhooks/workspaces", http.StatusTemporaryRedirect))
	t.Cleanup(elsewhere.Close)
	moved := setupNode(t, func(o *Options) { o.URL = elsewhere.URL })
	require.ErrorContains(t, moved.node.Ping(t.Context()), "307")
	_, err = moved.tryEnsure(t.Context(), 1)
	require.ErrorContains(t, err, "307")
	require.Empty(t, b.fake.events(), "the secret goes nowhere else")

	gone := setupNode(t, func(o *Options) { o.URL = "http://127.0.0.1:1" })
	require.Error(t, gone.node.Ping(t.Context()))
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"no URL":             {WebhookSecret: httpclient.Fixed("s")},
		"no http":            {URL: "ftp://host", WebhookSecret: httpclient.Fixed("s")},
		"a password":         {URL: "http://u:hunter2@host", WebhookSecret: httpclient.Fixed("s")},
		"not parsable":       {URL: "http://u:hunter2@ho st", WebhookSecret: httpclient.Fixed("s")},
		"no secret":          {URL: "http://host"},
		"negative time-out":  {URL: "http://host", WebhookSecret: httpclient.Fixed("s"), Timeout: -1},
		"negative at a time": {URL: "http://host", WebhookSecret: httpclient.Fixed("s"), Parallelism: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Drive(t.Context(), nil, o)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestANodeServersClientGivesDeadConnectionsUp(t *testing.T) {
	t.Parallel()
	node, err := newNodeClient(Options{URL: "https://node.example.com", WebhookSecret: httpclient.Fixed("secret"), Parallelism: 2})
	require.NoError(t, err)
	require.Equal(t, nodeIdleTimeout, storetest.RequirePings(t, node.http).IdleConnTimeout)
}
