package nodeserver

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

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/storemanager/storehttp/storehttptest"
	"storekeeper/internal/storemanager/storetest"
)

// repair ensures the store by a batch, as reconciliation does.
func (b *nodeBundle) repair(t *testing.T) storemanager.EnsureResult {
	t.Helper()
	res, err := b.EnsureBatch(t.Context(), []storemanager.EnsureRequest{{StoreID: storetest.ID, At: storetest.At(1), RequestID: "reconcile/1"}})
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

func TestAStoreThatANodeServerRefusesIsAskedForEverMoreSeldom(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *nodeBundle){
		"a store that failed is not asked for until it is due": func(t *testing.T, b *nodeBundle) {
			asked := b.asked(storetest.ID)
			first := b.repair(t)
			require.Equal(t, storemanager.EnsureResult{
				StoreID: storetest.ID, Outcome: storemanager.EnsureFailed, Error: answered500, NextAttemptAt: first.NextAttemptAt,
			}, first)
			require.True(t, first.NextAttemptAt.After(storetest.T0))
			for range 3 {
				require.Equal(t, first, b.repair(t))
			}
			require.Equal(t, 1, asked())
			require.Equal(t, &storemanager.Failure{Since: storetest.T0, Attempts: 1, LastError: answered500, NextAttemptAt: *first.NextAttemptAt}, b.MustGet(t).Failing)
			b.Clock.Set(*first.NextAttemptAt)
			second := b.repair(t)
			require.Equal(t, 2, asked())
			require.Equal(t, &storemanager.Failure{Since: storetest.T0, Attempts: 2, LastError: answered500, NextAttemptAt: *second.NextAttemptAt}, b.MustGet(t).Failing)
		},
		"the wait doubles from a second to a quarter of an hour": func(t *testing.T, b *nodeBundle) {
			b.asked(storetest.ID)
			for longest := 2 * time.Second; longest <= 4*maxRepairBackoff; longest *= 2 {
				wait := b.repair(t).NextAttemptAt.Sub(b.Clock.Now())
				require.LessOrEqual(t, wait, min(longest, maxRepairBackoff))
				require.GreaterOrEqual(t, wait, min(longest, maxRepairBackoff)/2-time.Microsecond)
				b.Clock.Set(b.Clock.Now().Add(wait))
			}
		},
		"one that succeeds when it is due is like any other again": func(t *testing.T, b *nodeBundle) {
			b.asked(storetest.ID)
			b.Clock.Set(*b.repair(t).NextAttemptAt)
			b.heal()
			require.Equal(t, storemanager.EnsureResult{StoreID: storetest.ID, Outcome: storemanager.EnsureCreated, Connection: storemanager.ConnectionConnecting}, b.repair(t))
			require.Nil(t, b.MustGet(t).Failing)
			require.Empty(t, b.node.failures.of)
			b.asked(storetest.ID)
			b.fake.restart()
			b.repair(t)
			require.Equal(t, 1, b.MustGet(t).Failing.Attempts)
		},
		"an event is never held back, and makes the store due": func(t *testing.T, b *nodeBundle) {
			asked := b.asked(storetest.ID)
			b.repair(t)
			for i := range 3 {
				_, err := b.tryEnsure(t.Context(), 2)
				require.ErrorContains(t, err, "500")
				require.Equal(t, i+2, asked())
			}
			require.Equal(t, 4, b.MustGet(t).Failing.Attempts)
			b.heal()
			_, err := b.tryEnsure(t.Context(), 2)
			require.NoError(t, err)
			require.Nil(t, b.MustGet(t).Failing)
			b.fake.restart()
			require.Equal(t, storemanager.EnsureCreated, b.repair(t).Outcome, "it repeats the request that created it")
			require.Equal(t, []string{storetest.ID}, b.fake.ids())
		},
		"the others of a batch are asked for": func(t *testing.T, b *nodeBundle) {
			asked := b.asked("store-0000001")
			for round := range 3 {
				res, err := b.EnsureBatch(t.Context(), storetest.Batch(0, 3, storetest.At(1)))
				require.NoError(t, err)
				require.Equal(t, storemanager.EnsureFailed, res[1].Outcome)
				require.NotEqual(t, storemanager.EnsureFailed, res[2].Outcome)
				require.Equal(t, 3+2*round, asked())
			}
		},
		"one that the registry has as stopped is stale, not failed": func(t *testing.T, b *nodeBundle) {
			b.asked(storetest.ID)
			b.repair(t)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			b.heal()
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
			require.Equal(t, storemanager.EnsureResult{StoreID: storetest.ID, Outcome: storemanager.EnsureStale}, b.repair(t))
			require.Empty(t, b.node.failures.of)
		},
		"one that is only slow has not failed": func(t *testing.T, b *nodeBundle) {
			b.node.batchTime = 100 * time.Millisecond
			reached, release := b.hangOn(t, "created")
			require.Equal(t, storemanager.EnsureResult{
				StoreID: storetest.ID, Outcome: storemanager.EnsureFailed, Error: "the node server has not done it in time",
			}, b.repair(t))
			<-reached
			require.Nil(t, b.MustGet(t).Failing)
			release()
			b.node.batchTime = nodeBatchTime
			require.Equal(t, storemanager.EnsureCreated, b.repair(t).Outcome, "it repeats the request that created it")
		},
		"one that the server has after all has not failed": func(t *testing.T, b *nodeBundle) {
			b.asked(storetest.ID)
			b.repair(t)
			b.fake.boot(storetest.ID)
			require.Nil(t, b.MustGet(t).Failing)
			b.heal()
			require.Equal(t, storemanager.EnsureCreated, b.repair(t).Outcome)
		},
		"close is no failure": func(t *testing.T, b *nodeBundle) {
			reached, release := b.hangOn(t, "created")
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = b.EnsureBatch(t.Context(), storetest.Batch(0, 1, storetest.At(1)))
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
			b.Manager = storehttptest.Serve(t, storehttp.Options{Manager: b.node, Memory: b.Registry, Ping: b.node.Ping})
			test(t, b)
		})
	}
}

// A run of reconciliation of its own: what an earlier one has done is no repeat.
func (b *nodeBundle) repairBy(t *testing.T, run string) storemanager.EnsureOutcome {
	t.Helper()
	res, err := b.EnsureBatch(t.Context(), []storemanager.EnsureRequest{{StoreID: storetest.ID, At: storetest.At(1), RequestID: storemanager.ReconcileRequest + run}})
	require.NoError(t, err)
	return res[0].Outcome
}

func TestNodeTellsOfAStoreWhatItsServerDid(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *nodeBundle){
		"what it refused at first and took then is created": func(t *testing.T, b *nodeBundle) {
			b.asked(storetest.ID)
			require.Equal(t, storemanager.EnsureFailed, b.repairBy(t, "1"))
			require.Equal(t, []storemanager.AuditEntry{ensured(storetest.T0, "failed", "from reconciliation, "+answered500)}, b.MustHistory(t))
			b.heal()
			b.Clock.Set(storetest.At(60))
			require.Equal(t, storemanager.EnsureCreated, b.repairBy(t, "2"))
			require.Equal(t, []storemanager.AuditEntry{
				ensured(storetest.At(60), "created", "from reconciliation"),
				ensured(storetest.T0, "failed", "from reconciliation, "+answered500),
			}, b.MustHistory(t))
			require.Equal(t, storemanager.EnsureExists, b.repairBy(t, "3"), "it has it")
		},
		"what it lost in a restart is created": func(t *testing.T, b *nodeBundle) {
			require.Equal(t, storemanager.EnsureCreated, b.repairBy(t, "1"))
			b.fake.restart()
			require.Equal(t, storemanager.EnsureCreated, b.repairBy(t, "2"))
			b.fake.restart()
			res, err := b.tryEnsure(t.Context(), 2)
			require.NoError(t, err)
			require.Equal(t, storemanager.EnsureCreated, res.Outcome, "an event's ensure as well")
		},
		"what it had before us exists": func(t *testing.T, b *nodeBundle) {
			b.fake.boot(storetest.ID)
			require.Len(t, b.list(t), 1)
			require.Equal(t, storemanager.EnsureExists, b.repairBy(t, "1"))
			require.Equal(t, []storemanager.AuditEntry{
				ensured(storetest.T0, "exists", "from reconciliation"), ensured(storetest.T0, "adopted", "another server monitored it already"),
			}, b.MustHistory(t))
		},
		"refused again and again, it is one event an hour": func(t *testing.T, b *nodeBundle) {
			b.asked(storetest.ID)
			for i := range 5 {
				b.Clock.Set(storetest.At(i * 1800))
				require.Equal(t, storemanager.EnsureFailed, b.repairBy(t, fmt.Sprint(i)))
				require.Equal(t, storemanager.EnsureFailed, b.repairBy(t, fmt.Sprint(i)), "held back: nothing happened")
			}
			refused := func(second int) storemanager.AuditEntry {
				return ensured(storetest.At(second), "failed", "from reconciliation, "+answered500)
			}
			require.Equal(t, []storemanager.AuditEntry{refused(2 * 3600), refused(3600), refused(0)}, b.MustHistory(t))
		},
		"an event's ensure that it refused is a failed one": func(t *testing.T, b *nodeBundle) {
			b.MustEnsure(t, 1)
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 2, "run"))
			b.fake.restart()
			b.asked(storetest.ID)
			_, err := b.tryEnsure(t.Context(), 3)
			require.Error(t, err)
			require.Equal(t, ensured(storetest.T0, "failed", "cancelled the pending deletion, "+answered500), b.MustHistory(t)[0])
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
			require.Empty(t, b.MustHistory(t))
			release()
			require.Eventually(t, func() bool { return len(b.MustHistory(t)) == 1 }, 10*time.Second, time.Millisecond)
			require.Equal(t, []storemanager.AuditEntry{ensured(storetest.T0, "created", "")}, b.MustHistory(t))
		},
		"what is too old is stale and not told": func(t *testing.T, b *nodeBundle) {
			require.Equal(t, storemanager.DeletionAlreadyStopped, b.MustBegin(t, 5, "run"))
			require.Equal(t, storemanager.EnsureStale, b.repairBy(t, "1"))
			require.Equal(t, ensured(storetest.T0, "stale", "from reconciliation"), b.MustHistory(t)[0])
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
			require.Empty(t, b.MustAudit(t, storemanager.AuditQuery{}))
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
	b := setupNode(t, func(o *Options) { o.restoreEvery = time.Millisecond })
	b.MustEnsure(t, 1)
	b.Clock.Set(storetest.At(60))
	b.fake.restart()
	require.Eventually(t, func() bool { return len(b.MustHistory(t)) == 2 }, 10*time.Second, time.Millisecond)
	require.Equal(t, []storemanager.AuditEntry{ensured(storetest.At(60), "created", "restored"), ensured(storetest.T0, "created", "")}, b.MustHistory(t))
}

func TestNodeRestoresAFailingStoreOnlyWhenItIsDue(t *testing.T) {
	t.Parallel()
	b := setupNode(t, func(o *Options) { o.restoreEvery = time.Millisecond })
	asked := b.asked(storetest.ID)
	b.MustPin(t, storetest.ID)
	require.Eventually(t, func() bool { return asked() == 1 }, 10*time.Second, time.Millisecond)
	listed := b.fake.listed()
	require.Eventually(t, func() bool { return b.fake.listed() > listed+10 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, asked())
	b.heal()
	b.Clock.Set(storetest.T0.Add(maxRepairBackoff))
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

func ensured(at time.Time, outcome, detail string) storemanager.AuditEntry {
	return storemanager.AuditEntry{At: at, Kind: "ensure", Outcome: outcome, Detail: detail}
}
