package storemanager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// repair ensures the store by a batch, as reconciliation does.
func (b *nodeBundle) repair(t *testing.T) EnsureResult {
	t.Helper()
	res, err := b.EnsureBatch(t.Context(), []EnsureRequest{{StoreID: id, At: at(1), RequestID: "reconcile/1"}})
	require.NoError(t, err)
	require.Len(t, res, 1)
	return res[0]
}

// asked counts how often the server is asked for stores from now on; it refuses those that are named.
func (b *nodeBundle) asked(refused ...string) (count func() int) {
	n := 0
	b.fake.set(func() {
		b.fake.refuse = func(_, id string) int {
			b.fake.set(func() { n++ })
			if slices.Contains(refused, id) {
				return http.StatusInternalServerError
			}
			return 0
		}
	})
	return func() (now int) {
		b.fake.set(func() { now = n })
		return now
	}
}

const answered500 = "the node server answered 500 Internal Server Error"

func TestNodeBacksOff(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *nodeBundle){
		"a store that failed is not asked for until it is due": func(t *testing.T, b *nodeBundle) {
			asked := b.asked(id)
			first := b.repair(t)
			require.Equal(t, EnsureResult{
				StoreID: id, Outcome: EnsureFailed, Error: answered500, NextAttemptAt: first.NextAttemptAt,
			}, first)
			require.True(t, first.NextAttemptAt.After(t0))
			for range 3 {
				require.Equal(t, first, b.repair(t))
			}
			require.Equal(t, 1, asked())
			require.Equal(t, &Failure{Since: t0, Attempts: 1, LastError: answered500, NextAttemptAt: *first.NextAttemptAt}, b.get(t).Failing)
			b.clock.Set(*first.NextAttemptAt)
			second := b.repair(t)
			require.Equal(t, 2, asked())
			require.Equal(t, &Failure{Since: t0, Attempts: 2, LastError: answered500, NextAttemptAt: *second.NextAttemptAt}, b.get(t).Failing)
		},
		"the wait doubles from a second to a quarter of an hour": func(t *testing.T, b *nodeBundle) {
			b.asked(id)
			for longest := 2 * time.Second; longest <= 4*maxRepairBackoff; longest *= 2 {
				wait := b.repair(t).NextAttemptAt.Sub(b.clock.Now())
				require.LessOrEqual(t, wait, min(longest, maxRepairBackoff))
				require.GreaterOrEqual(t, wait, min(longest, maxRepairBackoff)/2-time.Microsecond)
				b.clock.Set(b.clock.Now().Add(wait))
			}
		},
		"one that succeeds when it is due is like any other again": func(t *testing.T, b *nodeBundle) {
			b.asked(id)
			b.clock.Set(*b.repair(t).NextAttemptAt)
			b.heal()
			require.Equal(t, EnsureResult{StoreID: id, Outcome: EnsureCreated, Connection: ConnectionConnecting}, b.repair(t))
			require.Nil(t, b.get(t).Failing)
			require.Empty(t, b.node.failures.of)
			b.asked(id)
			b.fake.restart()
			b.repair(t)
			require.Equal(t, 1, b.get(t).Failing.Attempts)
		},
		"an event is never held back, and makes the store due": func(t *testing.T, b *nodeBundle) {
			asked := b.asked(id)
			b.repair(t)
			for i := range 3 {
				_, err := b.tryEnsure(t.Context(), 2)
				require.ErrorContains(t, err, "500")
				require.Equal(t, i+2, asked())
			}
			require.Equal(t, 4, b.get(t).Failing.Attempts)
			b.heal()
			_, err := b.tryEnsure(t.Context(), 2)
			require.NoError(t, err)
			require.Nil(t, b.get(t).Failing)
			b.fake.restart()
			require.Equal(t, EnsureCreated, b.repair(t).Outcome, "it repeats the request that created it")
			require.Equal(t, []string{id}, b.fake.ids())
		},
		"the others of a batch are asked for": func(t *testing.T, b *nodeBundle) {
			asked := b.asked("store-0000001")
			for round := range 3 {
				res, err := b.EnsureBatch(t.Context(), batch(0, 3, at(1)))
				require.NoError(t, err)
				require.Equal(t, EnsureFailed, res[1].Outcome)
				require.NotEqual(t, EnsureFailed, res[2].Outcome)
				require.Equal(t, 3+2*round, asked())
			}
		},
		"one that the registry has as stopped is stale, not failed": func(t *testing.T, b *nodeBundle) {
			b.asked(id)
			b.repair(t)
			b.begin(t, 2, "run")
			b.clock.Set(at(100))
			b.heal()
			require.Equal(t, StopStopped, b.stop(t, "run"))
			require.Equal(t, EnsureResult{StoreID: id, Outcome: EnsureStale}, b.repair(t))
			require.Empty(t, b.node.failures.of)
		},
		"one that is only slow has not failed": func(t *testing.T, b *nodeBundle) {
			b.node.batchTime = 100 * time.Millisecond
			reached, release := b.hangOn(t, "created")
			require.Equal(t, EnsureResult{
				StoreID: id, Outcome: EnsureFailed, Error: "the node server has not done it in time",
			}, b.repair(t))
			<-reached
			require.Nil(t, b.get(t).Failing)
			release()
			b.node.batchTime = nodeBatchTime
			require.Equal(t, EnsureCreated, b.repair(t).Outcome, "it repeats the request that created it")
		},
		"one that the server has after all has not failed": func(t *testing.T, b *nodeBundle) {
			b.asked(id)
			b.repair(t)
			b.fake.boot(id)
			require.Nil(t, b.get(t).Failing)
			b.heal()
			require.Equal(t, EnsureCreated, b.repair(t).Outcome)
		},
		"close is no failure": func(t *testing.T, b *nodeBundle) {
			reached, release := b.hangOn(t, "created")
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = b.EnsureBatch(t.Context(), batch(0, 1, at(1)))
			}()
			<-reached
			require.NoError(t, b.node.Close())
			<-done
			require.Empty(t, b.node.failures.of)
			release()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, setupNode(t))
		})
		t.Run(name+" (over HTTP)", func(t *testing.T) {
			t.Parallel()
			b := setupNode(t)
			b.Manager = serve(t, b.node, b.registry)
			test(t, b)
		})
	}
}

// A run of reconciliation of its own: what an earlier one has done is no repeat.
func (b *nodeBundle) repairBy(t *testing.T, run string) EnsureOutcome {
	t.Helper()
	res, err := b.EnsureBatch(t.Context(), []EnsureRequest{{StoreID: id, At: at(1), RequestID: ReconcileRequest + run}})
	require.NoError(t, err)
	return res[0].Outcome
}

func TestNodeTellsOfAStoreWhatItsServerDid(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *nodeBundle){
		"what it refused at first and took then is created": func(t *testing.T, b *nodeBundle) {
			b.asked(id)
			require.Equal(t, EnsureFailed, b.repairBy(t, "1"))
			require.Equal(t, []StoreEvent{{t0, "ensure", "failed", "from reconciliation, " + answered500}}, b.events(t))
			b.heal()
			b.clock.Set(at(60))
			require.Equal(t, EnsureCreated, b.repairBy(t, "2"))
			require.Equal(t, []StoreEvent{
				{at(60), "ensure", "created", "from reconciliation"},
				{t0, "ensure", "failed", "from reconciliation, " + answered500},
			}, b.events(t))
			require.Equal(t, EnsureExists, b.repairBy(t, "3"), "it has it")
		},
		"what it lost in a restart is created": func(t *testing.T, b *nodeBundle) {
			require.Equal(t, EnsureCreated, b.repairBy(t, "1"))
			b.fake.restart()
			require.Equal(t, EnsureCreated, b.repairBy(t, "2"))
			b.fake.restart()
			res, err := b.tryEnsure(t.Context(), 2)
			require.NoError(t, err)
			require.Equal(t, EnsureCreated, res.Outcome, "an event's ensure as well")
		},
		"what it had before us exists": func(t *testing.T, b *nodeBundle) {
			b.fake.boot(id)
			require.Len(t, b.list(t), 1)
			require.Equal(t, EnsureExists, b.repairBy(t, "1"))
			require.Equal(t, []StoreEvent{{t0, "ensure", "exists", "from reconciliation"}}, b.events(t))
		},
		"refused again and again, it is one event with the newest time": func(t *testing.T, b *nodeBundle) {
			b.asked(id)
			for i := range 5 {
				b.clock.Set(at(i * 3600))
				require.Equal(t, EnsureFailed, b.repairBy(t, fmt.Sprint(i)))
				require.Equal(t, EnsureFailed, b.repairBy(t, fmt.Sprint(i)), "held back: nothing happened")
			}
			require.Equal(t, []StoreEvent{{at(4 * 3600), "ensure", "failed", "from reconciliation, " + answered500}}, b.events(t))
		},
		"an event's ensure that it refused is a failed one": func(t *testing.T, b *nodeBundle) {
			b.ensure(t, 1)
			require.Equal(t, DeletionScheduled, b.begin(t, 2, "run"))
			b.fake.restart()
			b.asked(id)
			_, err := b.tryEnsure(t.Context(), 3)
			require.Error(t, err)
			require.Equal(t, StoreEvent{t0, "ensure", "failed", "cancelled the pending deletion, " + answered500}, b.events(t)[0])
		},
		"nothing is told before it has answered, nor when nobody waits for it": func(t *testing.T, b *nodeBundle) {
			reached, release := b.hangOn(t, "created")
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				_, err := b.tryEnsure(ctx, 1)
				done <- err
			}()
			<-reached
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
			require.Empty(t, b.events(t))
			release()
			require.Eventually(t, func() bool { return len(b.events(t)) == 1 }, 10*time.Second, time.Millisecond)
			require.Equal(t, []StoreEvent{{t0, "ensure", "created", ""}}, b.events(t))
		},
		"what is too old is stale and not told": func(t *testing.T, b *nodeBundle) {
			require.Equal(t, DeletionAlreadyStopped, b.begin(t, 5, "run"))
			require.Equal(t, EnsureStale, b.repairBy(t, "1"))
			require.Equal(t, StoreEvent{t0, "ensure", "stale", "from reconciliation"}, b.events(t)[0])
		},
		"close is no refusal": func(t *testing.T, b *nodeBundle) {
			reached, release := b.hangOn(t, "created")
			done := make(chan error, 1)
			go func() {
				_, err := b.tryEnsure(t.Context(), 1)
				done <- err
			}()
			<-reached
			require.NoError(t, b.node.Close())
			require.Error(t, <-done)
			events, err := b.registry.driver.StoreEvents(t.Context(), id)
			require.NoError(t, err)
			require.Empty(t, events)
			release()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, setupNode(t))
		})
	}
}

func TestWhatIsRestoredSaysSo(t *testing.T) {
	t.Parallel()
	b := setupNode(t, func(o *NodeOptions) { o.restoreEvery = time.Millisecond })
	b.ensure(t, 1)
	b.clock.Set(at(60))
	b.fake.restart()
	require.Eventually(t, func() bool { return len(b.events(t)) == 2 }, 10*time.Second, time.Millisecond)
	require.Equal(t, []StoreEvent{{at(60), "ensure", "created", "restored"}, {t0, "ensure", "created", ""}}, b.events(t))
}

func TestNodeRestoresAFailingStoreOnlyWhenItIsDue(t *testing.T) {
	t.Parallel()
	b := setupNode(t, func(o *NodeOptions) { o.restoreEvery = time.Millisecond })
	asked := b.asked(id)
	b.pin(t, id)
	require.Eventually(t, func() bool { return asked() == 1 }, 10*time.Second, time.Millisecond)
	listed := b.fake.listed()
	require.Eventually(t, func() bool { return b.fake.listed() > listed+10 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, asked())
	b.heal()
	b.clock.Set(t0.Add(maxRepairBackoff))
	require.Eventually(t, func() bool { return len(b.fake.ids()) == 1 }, 10*time.Second, time.Millisecond)
}

func TestWhatIsShownOfAFailureIsSafe(t *testing.T) {
	t.Parallel()
	address := &url.Error{Op: "Post", URL: "http://internal:3003/webhooks/workspaces", Err: io.ErrUnexpectedEOF}
	late := &url.Error{Op: "Post", URL: address.URL, Err: context.DeadlineExceeded}
	for want, err := range map[string]error{
		answered500: nodeRefusal(500),
		"the node server refused the webhook secret":  nodeRefusal(401),
		"the node server can't be reached":            fmt.Errorf("%w: %w", errNodeUnreachable, address),
		"the node server has not done it in time":     fmt.Errorf("%w: %w", errNodeUnreachable, late),
		"it failed, see the log of the store manager": errors.New("open /secret/path"),
	} {
		require.Equal(t, want, shown(err))
	}
}
