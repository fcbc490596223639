package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"storekeeper/contract"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// ensureBatch is how many stores are ensured in one call: a fraction of a second of the store manager's one writer, so
// that an event need not wait long behind it.
const ensureBatch = 200

// ensureTime is how long an EnsureMissing goes on: what a low MaxRate leaves is for the next run.
const ensureTime = 10 * time.Minute

// EnsureMissing ensures the stores in batches, no faster than MaxRate. A retry goes on where the attempt before had got to.
func (r *Reconcile) EnsureMissing(ctx context.Context, in contract.EnsureMissingInput) (contract.EnsureMissingResult, error) {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	p := contract.Progress{Phase: contract.PhaseEnsure, Total: len(in.IDs)}
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &p); err != nil || p.Phase != contract.PhaseEnsure {
			p = contract.Progress{Phase: contract.PhaseEnsure, Total: len(in.IDs)} // ensuring twice does no harm
		}
	}
	size, pace := ensureBatch, rate.NewLimiter(rate.Inf, 0)
	if r.MaxRate > 0 {
		size = min(size, r.MaxRate)
		pace = rate.NewLimiter(rate.Limit(r.MaxRate), size)
	}
	until := time.Now().Add(ensureTime)
	var paused string
	for p.Done < len(in.IDs) && time.Now().Before(until) {
		var batch []string
		var err error
		batch, paused, err = r.unpaused(ctx, in.IDs[p.Done:min(p.Done+size, len(in.IDs))])
		if err != nil {
			return contract.EnsureMissingResult{}, wrap(err)
		}
		if paused != "" {
			break
		}
		activity.RecordHeartbeat(ctx, p) // what comes now may take as long again
		if err := pace.WaitN(ctx, len(batch)); err != nil {
			return contract.EnsureMissingResult{}, wrap(err)
		}
		if err := r.ensure(ctx, in, batch, &p); err != nil {
			return contract.EnsureMissingResult{}, wrap(err)
		}
		p.Done = min(p.Done+size, len(in.IDs))
		activity.RecordHeartbeat(ctx, p)
	}
	p.Ensured.Left, p.Ensured.Paused = len(in.IDs)-p.Done, paused
	return p.Ensured, nil
}

// unpaused are those of the stores that reconciliation does not leave alone now; all says who has it leave all alone, and why.
func (r *Reconcile) unpaused(ctx context.Context, ids []string) (_ []string, all string, err error) {
	paused, err := r.pauses(ctx)
	if err != nil || paused.all != "" {
		return nil, paused.all, err
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return paused.stores[id] }), "", nil
}

// ensure ensures the stores of one batch. A store manager that is slow does a part at a time: those that it says to ask for again
// are asked for again, as long as others get done.
func (r *Reconcile) ensure(ctx context.Context, in contract.EnsureMissingInput, ids []string, p *contract.Progress) error {
	done := p.Ensured
	// Not before the end: a retry goes on from p as a heartbeat has it, and would count this batch again.
	defer func() { p.Ensured = done }()
	for len(ids) > 0 {
		requests := make([]storemanager.EnsureRequest, len(ids))
		for i, id := range ids {
			requests[i] = storemanager.EnsureRequest{StoreID: id, At: in.ListAt, RequestID: storemanager.ReconcileRequest + in.RunID}
		}
		results, err := r.Manager.EnsureBatch(ctx, requests)
		if err != nil {
			return err
		}
		var again []string
		var failing []contract.FailingStore
		for i, res := range results {
			switch res.Outcome {
			case storemanager.EnsureCreated:
				done.Added++
			case storemanager.EnsureExists:
				done.Adopted++
			case storemanager.EnsureStale:
				done.Stale++
			case storemanager.EnsureInvalid:
				done.Failed++
			case storemanager.EnsureFailed:
				again = append(again, ids[i])
				failing = append(failing, contract.FailingStore{StoreID: ids[i], Error: res.Error, NextAttemptAt: res.NextAttemptAt})
			}
		}
		if len(again) == len(ids) {
			done.Failed += len(again)
			done.Failing = append(done.Failing, failing[:min(len(failing), contract.MaxFailing-len(done.Failing))]...)
			return nil
		}
		ids = again
		activity.RecordHeartbeat(ctx, *p)
	}
	return nil
}

// requestParallelism bounds the load that a reconcile puts on Temporal beside the webhooks, removeBatch how many orphans are
// handed over before pauses are looked at again.
const (
	requestParallelism = 4
	removeBatch        = 100
)

// RequestDeletions hands each orphan to the lifecycle of its workspace. One that fails stops none of the others: the next
// run finds it again. A retry goes on where the attempt before had got to.
func (r *Reconcile) RequestDeletions(ctx context.Context, in contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
	return r.handOver(ctx, in, r.Lifecycles.RequestDeletion)
}

// EndDeletions tells the lifecycle of each workspace that it is listed again, so that the pending deletion ends. It is done like
// RequestDeletions.
func (r *Reconcile) EndDeletions(ctx context.Context, in contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
	return r.handOver(ctx, in, r.Lifecycles.ReportListed)
}

// ResumeDeletions makes up for a database that was lost, Temporal's or the registry. A new one of Temporal is told of the events that were
// answered without an outcome. Pending deletions that nobody waits for go on at their own time, in the lifecycle of each. Lifecycles that wait for a store that the registry does not know, and while its loss is not acknowledged
// all whose deletions it does not have, put them back there. A deletion that only has not been seen yet hears it too, which changes
// nothing.
func (r *Reconcile) ResumeDeletions(ctx context.Context) (contract.ResumeResult, error) {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	alive := func() { activity.RecordHeartbeat(ctx) }
	alone, lost, err := r.apart(ctx)
	if err != nil {
		return contract.ResumeResult{}, wrap(err)
	}
	failed, err := each(ctx, alone, r.Lifecycles.ResumeDeletion, alive)
	if err != nil {
		return contract.ResumeResult{}, wrap(err)
	}
	failedToo, err := each(ctx, lost, r.Lifecycles.ResumeDeletion, alive)
	if err != nil {
		return contract.ResumeResult{}, wrap(err)
	}
	res := contract.ResumeResult{Resumed: len(alone) - failed, Restored: len(lost) - failedToo, Failed: failed + failedToo}
	if len(alone)+len(lost) > 0 {
		activity.GetLogger(ctx).Warn("pending deletions are resumed", "withoutLifecycle", res.Resumed, "lostByRegistry", res.Restored,
			"failed", res.Failed)
	}
	// After the deletions: an event that can't be told keeps none of them waiting.
	res.Repeated, err = r.repeatEvents(ctx, alive)
	return res, wrap(err)
}

// errNotTold: the engine counts as new until it has all of them.
var errNotTold = errors.New("events without an outcome could not be told to a new database of temporal")

// repeatEvents tells a new database of Temporal of the events that were answered without an outcome, and returns how many they were. A
// repeat changes nothing twice, so after a failure all of it is done again.
func (r *Reconcile) repeatEvents(ctx context.Context, alive func()) (repeated int, err error) {
	engine, err := r.Lifecycles.Engine(ctx)
	if err != nil {
		return 0, err
	}
	failed := 0
	for after := ""; ; {
		events, err := r.Manager.Unheard(ctx, deliveries.UnheardRequest{Engine: engine, After: after})
		if err != nil {
			return 0, err
		}
		byDelivery := map[string][]byte{}
		for _, e := range events {
			byDelivery[e.DeliveryID] = e.Event
			after = e.DeliveryID
		}
		n, err := each(ctx, slices.Collect(maps.Keys(byDelivery)), func(ctx context.Context, id string) error { return r.Lifecycles.Repeat(ctx, byDelivery[id]) }, alive)
		if err != nil {
			return 0, err
		}
		failed += n
		repeated += len(events) - n
		if len(events) < storemanager.MaxBatch {
			break
		}
	}
	if failed > 0 {
		return repeated, fmt.Errorf("%w: %d of %d", errNotTold, failed, failed+repeated)
	}
	if repeated > 0 {
		activity.GetLogger(ctx).Warn("temporal's database is a new one, it was told of the events without an outcome", "events", repeated)
	}
	return repeated, r.Manager.EngineTold(ctx, deliveries.EngineRequest{Engine: engine})
}

// overdueAfter is how long after its time a deletion counts as one that nobody waits for, whatever Temporal's lists show: they come from another
// database than the lifecycles, and to hear it once more does no harm.
const overdueAfter = 5 * time.Minute

// apart are the stores whose deletion is pending and whose lifecycle does not show one, and, while the registry is lost, the reverse.
func (r *Reconcile) apart(ctx context.Context) (alone, lost []string, err error) {
	known, err := r.Manager.Overview(ctx)
	if err != nil {
		return nil, nil, err
	}
	pending, overdue := map[string]bool{}, map[string]bool{}
	q := storemanager.ListRequest{States: []string{storemanager.StoreDeletionPending}, Limit: storemanager.MaxBatch}
	for more := true; more; more = q.Cursor != "" {
		page, err := r.Manager.List(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		activity.RecordHeartbeat(ctx)
		for _, s := range page.Stores {
			pending[s.ID] = true
			overdue[s.ID] = s.Deletion != nil && time.Since(s.Deletion.DeleteAt) > overdueAfter
		}
		q.Cursor = page.NextCursor
	}
	// After the stores: a deletion that begins meanwhile is of no interest.
	attended, err := r.Lifecycles.DeletionsPending(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(pending)) {
		if !attended[id] || overdue[id] {
			alone = append(alone, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(attended)) {
		if pending[id] {
			continue
		}
		if known.Loss() == nil { // it may just have ended
			if _, err := r.Manager.Get(ctx, id); !errors.Is(err, storemanager.ErrNotFound) {
				continue
			}
		}
		lost = append(lost, id)
	}
	return alone, lost, nil
}

func (r *Reconcile) handOver(ctx context.Context, in contract.RequestDeletionsInput, tell func(context.Context, string, time.Time) error) (contract.RequestDeletionsResult, error) {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	p := contract.Progress{Phase: contract.PhaseRemove, Total: len(in.IDs)}
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &p); err != nil || p.Phase != contract.PhaseRemove {
			p = contract.Progress{Phase: contract.PhaseRemove, Total: len(in.IDs)} // asking twice does no harm
		}
	}
	for p.Done < len(in.IDs) {
		end := min(p.Done+removeBatch, len(in.IDs))
		batch, paused, err := r.unpaused(ctx, in.IDs[p.Done:end])
		if err != nil {
			return contract.RequestDeletionsResult{}, wrap(err)
		}
		if paused != "" {
			p.Removed.Left, p.Removed.Paused = len(in.IDs)-p.Done, paused
			break
		}
		failed, err := each(ctx, batch, func(ctx context.Context, id string) error { return tell(ctx, id, in.ListAt) },
			func() { activity.RecordHeartbeat(ctx, p) })
		if err != nil {
			return contract.RequestDeletionsResult{}, wrap(err)
		}
		p.Removed.Requested += len(batch) - failed
		p.Removed.Failed += failed
		p.Done = end
		activity.RecordHeartbeat(ctx, p)
	}
	return p.Removed, nil
}

// each tells the lifecycle of each store, and returns how many failed; an error only when ctx has ended. alive is called after each.
func each(ctx context.Context, ids []string, tell func(ctx context.Context, id string) error, alive func()) (int, error) {
	var failed atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(requestParallelism)
	for _, id := range ids {
		g.Go(func() error {
			err := tell(gctx, id)
			alive()
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				failed.Add(1)
				activity.GetLogger(ctx).Warn("lifecycle of a store not told", telemetry.KeyStoreID, id, telemetry.KeyError, err)
			}
			return nil
		})
	}
	err := g.Wait()
	return int(failed.Load()), err
}
