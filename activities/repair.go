package activities

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// ensureBatch is how many stores are ensured in one call. That takes the one writer of the store manager a fraction of a second, so no
// event waits long behind it.
const ensureBatch = 200

// ensureTime is how long an EnsureMissing goes on. What a low MaxRate leaves is for the next run.
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

// unpaused returns those of the ids that are not paused. If all of reconciliation is paused, all says by whom and why.
func (r *Reconcile) unpaused(ctx context.Context, ids []string) (_ []string, all string, err error) {
	paused, err := r.pauses(ctx)
	if err != nil || paused.all != "" {
		return nil, paused.all, err
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return paused.stores[id] }), "", nil
}

// ensure ensures the stores of one batch. A slow store manager does a part at a time, and the rest is asked for again, as long as any get
// done.
func (r *Reconcile) ensure(ctx context.Context, in contract.EnsureMissingInput, ids []string, p *contract.Progress) error {
	done := p.Ensured
	// Only at the end: a retry goes on from p as the last heartbeat had it, and would count this batch again.
	defer func() { p.Ensured = done }()
	for len(ids) > 0 {
		requests := make([]storemanager.EnsureRequest, len(ids))
		for i, id := range ids {
			requests[i] = storemanager.EnsureRequest{StoreID: id, At: in.ListAt, RequestID: storemanager.ReconcileRequest + in.RunID, Origin: origin(in.Origin)}
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

// requestParallelism bounds the load that a reconcile puts on Temporal beside the webhooks. removeBatch is how many orphans are handed
// over before pauses are read again.
const (
	requestParallelism = 4
	removeBatch        = 100
)

// RequestDeletions hands each orphan to the lifecycle of its workspace. A failure does not stop the others, because the next run finds
// that store again. A retry goes on where the attempt before had got to.
func (r *Reconcile) RequestDeletions(ctx context.Context, in contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
	return r.handOver(ctx, in, r.Lifecycles.RequestDeletion)
}

// EndDeletions tells the lifecycle of each workspace that it is listed again, so that the pending deletion ends. Failures and retries are
// as in RequestDeletions.
func (r *Reconcile) EndDeletions(ctx context.Context, in contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
	return r.handOver(ctx, in, r.Lifecycles.ReportListed)
}

func (r *Reconcile) handOver(ctx context.Context, in contract.RequestDeletionsInput, tell func(context.Context, string, contract.Sighting) error) (contract.RequestDeletionsResult, error) {
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
		failed, err := each(ctx, batch, func(ctx context.Context, id string) error {
			return tell(ctx, id, contract.Sighting{At: in.ListAt, List: in.List, Origin: in.Origin})
		},
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

// each tells the lifecycle of each store, and returns how many could not be told. It returns an error only when ctx has ended. alive is
// called after each store.
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
