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
	// WebhookSecret is sent as X-Webhook-Secret.
	WebhookSecret string
	// HTTPClient carries the requests; its time-out and its rule for redirects (none is followed) are replaced. Nil: one of our own.
	HTTPClient *http.Client
	// Logger nil: silent.
	Logger *zap.Logger
	// Parallelism is how many requests the server gets at the same time, whatever they are; 0 means 2. Adding stores gets
	// slower the more are added at once.
	Parallelism int
	// Timeout bounds one request; 0 means 60 s.
	Timeout time.Duration

	restoreEvery time.Duration // 0 means a minute
	batchTime    time.Duration // 0 means nodeBatchTime
}

// Node is the Manager of an existing Node multi-store server (docs/contracts/multi-store-server.md), from Drive to Close. The
// Registry decides, and remembers what the server does not: tombstones, holds, pins, pending deletions. The server is told
// after the registry was changed, and a call succeeds once it has done its part.
//
// The requests about one store go one after the other, and each says what the registry says at that moment, so that the last
// one leaves the server as the registry is; should the server be busy with one for longer than the time-out, the comparison
// that comes every minute does. A request that was sent is not broken off when its caller gives up, for the server would go
// on, and meet the caller's next attempt.
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
	kept       sync.WaitGroup // keep
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

// Drive makes the server monitor what r has as monitored, now and from then on, and returns without waiting for it. It
// ends with ctx or Close; Close must be called, before the registry is closed. Nothing else may drive the server.
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
	n.kept.Go(n.keep)
	return n, nil
}

// Close breaks off what is under way and waits for its end. The Registry stays open. It may be called again.
func (n *Node) Close() error {
	n.cancel()
	n.kept.Wait()
	n.storeLocks.wait()
	n.client.http.CloseIdleConnections()
	return nil
}

// Ping returns nil if the server answers and takes the secret; ErrUnauthorized if it refuses it.
func (n *Node) Ping(ctx context.Context) error { return n.client.ping(ctx) }

// Ensure implements Manager. A store is EnsureCreated as well if the registry had it and the server had not: it had refused it,
// or lost it. The Connection of a monitored store is always ConnectionConnecting: the server's answer does not tell.
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

// EnsureBatch implements Manager. The registry takes all stores at once, the server one after the other; those that it has not
// taken within 20 s are EnsureFailed. So are at once, without asking the server, those that it failed to take before: 1 s after
// the first failure they are due again, after each further one twice as long, up to 15 min. A store that Ensure gets there
// is due at once.
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

// timeForBatch is what a batch may take: most, but no more than leaves its caller a tenth of the time to answer in.
func timeForBatch(ctx context.Context, most time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(most, time.Until(deadline)*9/10)
	}
	return most
}

// ensured makes the server monitor a store that the registry has ensured, unless it was stopped again meanwhile, and keeps the
// event.
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
		// Only the account of it would be missing. It is the server's time that is over, if any, and not that of the registry.
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

// Stop implements Manager. The registry has the store as monitored, and its deletion as pending, until the server has stopped
// it: until then it can be held, and its deletion cancelled.
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

// tell tells the server the event that decide finds by what the registry has of the store, and calls then with what the server
// answered, or why it did not take it; what then returns counts. Decide is called once nobody else can tell the server of this
// store, and "" tells it nothing. When ctx ends, tell returns, but what was sent goes on.
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

// SetPins is that of the Registry; the server is told soon.
func (n *Node) SetPins(ctx context.Context, ids []string) error {
	if err := n.registry.SetPins(ctx, ids); err != nil {
		return err
	}
	n.restoreSoon()
	return nil
}

// RestoreDeletion is that of the Registry; the server is told soon.
func (n *Node) RestoreDeletion(ctx context.Context, q storemanager.RestoreRequest) (storemanager.Store, error) {
	st, err := n.registry.RestoreDeletion(ctx, q)
	if err != nil {
		return storemanager.Store{}, err
	}
	n.restoreSoon()
	if st.State == storemanager.StateMonitored {
		st.Connection = storemanager.ConnectionConnecting
	}
	return st, nil
}

// The methods below concern what the registry remembers and the server does not: the registry alone answers them.

// CancelDeletion implements Manager.
func (n *Node) CancelDeletion(ctx context.Context, q storemanager.CancelRequest) (storemanager.Store, error) {
	return n.registry.CancelDeletion(ctx, q)
}

// TakeOverDeletion implements Manager.
func (n *Node) TakeOverDeletion(ctx context.Context, q storemanager.TakeOverRequest) (storemanager.Store, error) {
	return n.registry.TakeOverDeletion(ctx, q)
}

// Hold implements Manager.
func (n *Node) Hold(ctx context.Context, id string, h storemanager.Hold) (storemanager.Store, error) {
	return n.registry.Hold(ctx, id, h)
}

// Release implements Manager.
func (n *Node) Release(ctx context.Context, id string) (storemanager.Store, error) {
	return n.registry.Release(ctx, id)
}

// Pause implements Manager.
func (n *Node) Pause(ctx context.Context, p storemanager.Pause) (storemanager.Pause, error) {
	return n.registry.Pause(ctx, p)
}

// Resume implements Manager.
func (n *Node) Resume(ctx context.Context, storeID string) error {
	return n.registry.Resume(ctx, storeID)
}

// Pauses implements Manager.
func (n *Node) Pauses(ctx context.Context) ([]storemanager.Pause, error) {
	return n.registry.Pauses(ctx)
}

// RecordReconcile implements Manager.
func (n *Node) RecordReconcile(ctx context.Context, run storemanager.ReconcileRun) error {
	return n.registry.RecordReconcile(ctx, run)
}

// Reconciliation implements Manager.
func (n *Node) Reconciliation(ctx context.Context) (storemanager.Reconciliation, error) {
	return n.registry.Reconciliation(ctx)
}

// AcknowledgeLoss implements Manager.
func (n *Node) AcknowledgeLoss(ctx context.Context, a storemanager.Acknowledgement) error {
	return n.registry.AcknowledgeLoss(ctx, a)
}

func (n *Node) restoreSoon() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// keep restores until Close: a server that restarts has lost what it was told, and those stores that are in no list of the Auth
// Worker, which are the pinned, held and pending ones, nobody else would ensure again.
func (n *Node) keep() {
	for {
		if err := n.restore(n.ctx); err != nil && n.ctx.Err() == nil {
			n.log.Warn("the Node server was not compared with the registry", zap.Error(err))
		}
		select {
		case <-n.wake:
		case <-time.After(n.restoreEvery):
		case <-n.ctx.Done():
			return
		}
	}
}

// restore makes the server monitor the stores that the registry has and the server has not, but for those that are held back.
func (n *Node) restore(ctx context.Context) error {
	ids, err := n.registry.MonitoredIDs(ctx)
	if err != nil {
		return err
	}
	l, err := n.listing(ctx)
	if err != nil {
		return err
	}
	lost := slices.DeleteFunc(ids, func(id string) bool {
		_, ok := l.stores[id]
		return ok
	})
	errs := make([]error, len(lost))
	n.each(len(lost), func(i int) {
		_, errs[i] = n.repair(ctx, storemanager.EnsureRequest{StoreID: lost[i], RequestID: registry.RestoreRequestID},
			storemanager.EnsureResult{StoreID: lost[i], Outcome: storemanager.EnsureExists, Connection: storemanager.ConnectionConnecting})
	})
	if ctx.Err() == nil {
		n.logFailures("the Node server did not take all stores of the registry", errs)
	}
	return nil
}
