// Package nodeserver drives an older Node multi-store server, which monitors the stores in place of the monitors of this process. It knows the server's
// HTTP contract, and the registry, which decides.
package nodeserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
)

const (
	// nodeBatchTime bounds an EnsureBatch: it must be over before Client gives up (clientTimeout), or all of it was for nothing.
	nodeBatchTime = 20 * time.Second
	// nodeListingAge is how old the list behind Get and Overview may be.
	nodeListingAge = time.Second
)

// Options say how a Node multi-store server is driven.
type Options struct {
	// URL of the server, http or https, with or without a path.
	URL string
	// WebhookSecret returns what is sent as X-Webhook-Secret, at each request.
	WebhookSecret func() string
	// HTTPClient sends the requests. Its time-out and its rule for redirects are replaced: none is followed. Nil means a client of our own.
	HTTPClient *http.Client
	// Logger nil: silent.
	Logger *zap.Logger
	// Parallelism is how many requests the server gets at the same time, whatever they are; 0 means 2. Adding a store gets slower the more are added
	// at once.
	Parallelism int
	// Timeout bounds one request; 0 means 60 s.
	Timeout time.Duration

	restoreEvery time.Duration // 0 means a minute
	batchTime    time.Duration // 0 means nodeBatchTime
}

// Node is the Manager of an existing Node multi-store server (docs/contracts/multi-store-server.md), from Drive to Close. The Registry decides, and
// remembers what the server does not: tombstones, holds, pins and pending deletions. The server is told after the registry was changed, and a call
// succeeds once the server has done its part.
//
// The requests about one store go one after the other, and each says what the registry says at that moment. So the last one leaves the server as the
// registry is. If the server is busy with a request for longer than the time-out, the comparison that comes every minute does that. A request that was
// sent is not broken off when its caller gives up: the server would go on with it, and the caller's next attempt would meet it there.
type Node struct {
	registry     *registry.Registry
	client       *nodeClient
	log          *zap.Logger
	parallelism  int
	timeout      time.Duration
	restoreEvery time.Duration
	batchTime    time.Duration

	ctx        context.Context // of the requests that change the server
	cancel     context.CancelFunc
	storeLocks storeLocks
	keeping    sync.WaitGroup // keep
	wake       chan struct{}  // of keep; holds one token

	failures failures

	posts  atomic.Int64  // ended requests that may have changed what the server lists
	asking chan struct{} // held to use recent
	recent recentListing
}

// recentListing is a list that several callers share.
type recentListing struct {
	listing *nodeListing
	at      time.Time
	posts   int64 // Node.posts before it was asked for
}

var _ storemanager.Manager = (*Node)(nil)

// Drive makes the server monitor what r has as monitored, now and from then on, and returns without waiting for the server. It fails when an option
// makes no sense. It ends with ctx or Close; Close must be called, before the registry is closed. Nothing else may drive the server.
func Drive(ctx context.Context, r *registry.Registry, o Options) (*Node, error) {
	o.Parallelism = cmp.Or(o.Parallelism, 2)
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.restoreEvery = cmp.Or(o.restoreEvery, time.Minute)
	o.batchTime = cmp.Or(o.batchTime, nodeBatchTime)
	if o.Parallelism < 0 || o.Timeout < 0 {
		return nil, errors.New("node server: parallelism and time-out must not be negative")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	client, err := newNodeClient(o)
	if err != nil {
		return nil, err
	}
	n := &Node{
		registry: r, client: client, log: o.Logger, parallelism: o.Parallelism, timeout: o.Timeout, restoreEvery: o.restoreEvery,
		batchTime: o.batchTime, wake: make(chan struct{}, 1), asking: make(chan struct{}, 1),
	}
	n.ctx, n.cancel = context.WithCancel(ctx)
	n.keeping.Go(n.keep)
	return n, nil
}

// Close breaks off what is under way and waits for its end. The Registry stays open. It may be called again.
func (n *Node) Close() error {
	n.cancel()
	n.keeping.Wait()
	n.storeLocks.wait()
	n.client.http.CloseIdleConnections()
	return nil
}

// Ping returns nil if the server answers and takes the secret; ErrUnauthorized if it refuses it.
func (n *Node) Ping(ctx context.Context) error { return n.client.ping(ctx) }

// Ensure implements Stores. A store is EnsureCreated also if the registry had it and the server had not, because the server had refused it or lost it.
// The Connection of a monitored store is always ConnectionConnecting, because the server's answer does not tell.
func (n *Node) Ensure(ctx context.Context, q storemanager.EnsureRequest) (storemanager.EnsureResult, error) {
	if err := q.Validate(); err != nil {
		return storemanager.EnsureResult{}, err
	}
	results, err := n.registry.Enter(ctx, []storemanager.EnsureRequest{q})
	if err != nil {
		return storemanager.EnsureResult{}, err
	}
	return n.ensured(ctx, q, results[0])
}

// EnsureBatch implements Stores. The registry takes all stores at once, and the server takes a few at a time. Those that it has not taken within 20 s
// are EnsureFailed. Stores that the server failed to take before are EnsureFailed at once, without asking it, until they are due again: 1 s after the
// first failure, after each further one twice as long, up to 15 min. A store that Ensure has got there is due at once.
func (n *Node) EnsureBatch(ctx context.Context, qs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error) {
	if len(qs) > storemanager.MaxBatch {
		return nil, fmt.Errorf("%w: %d stores in one batch, at most %d are taken", storemanager.ErrInvalid, len(qs), storemanager.MaxBatch)
	}
	results, err := n.registry.Enter(ctx, qs)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, timeForBatch(ctx, n.batchTime))
	defer cancel()
	errs := make([]error, len(results))
	n.each(len(results), func(i int) {
		var res storemanager.EnsureResult
		if res, errs[i] = n.repair(within, qs[i], results[i]); errs[i] != nil {
			res = n.notRepaired(results[i].StoreID, errs[i])
		}
		results[i] = res
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	n.logFailures("the Node server did not take all stores of a batch", errs)
	return results, nil
}

// timeForBatch is how long a batch may take: most, but no longer than leaves its caller a tenth of the time to answer.
func timeForBatch(ctx context.Context, most time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(most, time.Until(deadline)*9/10)
	}
	return most
}

// ensured makes the server monitor a store that the registry has ensured, unless it was stopped again meanwhile, and keeps the outcome in the store's
// history.
func (n *Node) ensured(ctx context.Context, q storemanager.EnsureRequest, res storemanager.EnsureResult) (storemanager.EnsureResult, error) {
	if res.Connection == "" { // not monitored
		return res, nil
	}
	res.Connection = storemanager.ConnectionConnecting
	err := n.tell(ctx, res.StoreID, func(s registry.Record) (string, error) {
		if !s.Monitored() {
			res = storemanager.EnsureResult{StoreID: res.StoreID, Outcome: storemanager.EnsureStale}
			return "", n.registry.NoteEnsured(ctx, q, res, "")
		}
		return nodeCreated, nil
	}, func(_ context.Context, _ time.Time, answer string, err error) error {
		switch {
		case n.brokenOff(err):
			return err
		case answer == nodeStarted:
			res.Outcome = storemanager.EnsureCreated
		}
		// Only the history would lack it. If time is over, it is the server's, and not that of the registry.
		if failed := n.registry.NoteEnsured(context.WithoutCancel(n.ctx), q, res, shown(err)); failed != nil {
			n.log.Warn("an event of a store was not kept", zap.Error(failed))
		}
		return err
	})
	if err != nil {
		return storemanager.EnsureResult{}, err
	}
	return res, nil
}

// Stop implements Deletions. Until the server has stopped the store, the registry has it as monitored and its deletion as pending. Until then the
// store can be held, and its deletion cancelled.
func (n *Node) Stop(ctx context.Context, q storemanager.StopRequest) (storemanager.StopResult, error) {
	if err := q.Validate(); err != nil {
		return storemanager.StopResult{}, err
	}
	var asked, done storemanager.StopResult
	var decidedAt time.Time
	err := n.tell(ctx, q.StoreID, func(s registry.Record) (event string, err error) {
		before := s.Monitored()
		if asked, decidedAt, err = n.registry.WouldStop(ctx, s, q); err == nil && asked.Outcome == storemanager.StopStopped && before {
			event = nodeDeleted // nothing but this may stop a store
		}
		return event, err
	}, func(ctx context.Context, at time.Time, _ string, err error) error {
		if err != nil {
			return err
		}
		// The answer was fresh when the server was told, and the server may have taken its time.
		done, err = n.registry.StopAsDecided(ctx, q, decidedAt)
		if err != nil || done.Outcome != storemanager.StopStopped && done.Outcome != storemanager.StopAlreadyStopped { // it is wanted again since
			_, again := n.client.tell(ctx, nodeCreated, q.StoreID, at)
			return errors.Join(err, again)
		}
		return nil
	})
	if err != nil {
		return storemanager.StopResult{}, err
	}
	return cmp.Or(done, asked), nil
}

// tell tells the server the event that decide finds by what the registry has of the store; with "" it tells nothing. Decide is called when nobody else
// can tell the server of this store. Then tell calls then with what the server answered, or why it did not take the event, and returns what then
// returns. When ctx ends, tell returns, but what was sent goes on.
func (n *Node) tell(ctx context.Context, id string, decide func(registry.Record) (event string, err error),
	then func(ctx context.Context, at time.Time, answer string, err error) error,
) error {
	release, err := n.storeLocks.take(ctx, n.ctx, id)
	if err != nil {
		return err
	}
	if err := n.client.slots.Acquire(ctx, 1); err != nil {
		release()
		return fmt.Errorf("wait for node server: %w", err)
	}
	free := func() {
		n.client.slots.Release(1)
		release()
	}
	s, err := n.registry.Record(ctx, id)
	event := ""
	if err == nil {
		event, err = decide(s)
	}
	if err != nil || event == "" {
		free()
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer free()
		sent, cancel := context.WithTimeout(n.ctx, n.timeout)
		defer cancel()
		answer, err := n.client.tell(sent, event, id, s.EventAt)
		err = then(sent, s.EventAt, answer, err)
		n.posts.Add(1)
		n.judge(id, event, err)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the node server has not answered yet: %w", ctx.Err())
	}
}

// each calls fn for 0 to count-1, as many at a time as the server is asked.
func (n *Node) each(count int, fn func(i int)) {
	var g errgroup.Group
	g.SetLimit(n.parallelism)
	for i := range count {
		g.Go(func() error {
			fn(i)
			return nil
		})
	}
	_ = g.Wait() // always nil
}

func (n *Node) logFailures(message string, errs []error) {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil || errors.Is(err, errNotDue) })
	if len(errs) > 0 {
		n.log.Warn(message, zap.Int("stores", len(errs)), zap.NamedError("first", errs[0]))
	}
}
