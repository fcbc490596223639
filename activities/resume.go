package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/contract"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
)

// ResumeDeletions makes up for a lost database, Temporal's or the registry.
//
// Pending deletions that no lifecycle waits for get one, and go on at their own time. Lifecycles whose store the registry does not know
// put their deletion back there; so do, until the loss of a registry is acknowledged, all lifecycles whose deletion it does not have. A
// new database of Temporal is told of the events that were answered without an outcome. Whoever is told without need changes nothing.
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
	// After the deletions, so that an event that can't be told keeps none of them waiting.
	res.Repeated, err = r.repeatEvents(ctx, alive)
	return res, wrap(err)
}

// errNotTold: the database of Temporal counts as new until it has been told of all events.
var errNotTold = errors.New("events without an outcome could not be told to a new database of temporal")

// repeatEvents tells a new database of Temporal of the events that were answered without an outcome, and returns how many they were. After
// a failure all of them are told again, because a repeat changes nothing.
func (r *Reconcile) repeatEvents(ctx context.Context, alive func()) (repeated int, err error) {
	engine, err := r.Lifecycles.Engine(ctx)
	if err != nil {
		return 0, err
	}
	failed := 0
	for after := ""; ; {
		events, err := r.Accepted.Unheard(ctx, deliveries.UnheardRequest{Engine: engine, After: after})
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
	return repeated, r.Accepted.EngineTold(ctx, deliveries.EngineRequest{Engine: engine})
}

// overdueAfter is how long after its time a deletion counts as one that nobody waits for, even if Temporal lists its lifecycle. The lists
// come from another database than the lifecycles, and to hear of it once more does no harm.
const overdueAfter = 5 * time.Minute

// apart finds where the two databases disagree: alone are the stores whose deletion is pending and whose lifecycle does not show one, lost
// are the ids of lifecycles that wait for a deletion which the registry does not have.
func (r *Reconcile) apart(ctx context.Context) (alone, lost []string, err error) {
	overview, err := r.Manager.Overview(ctx)
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
	// After the stores, so that a deletion that begins meanwhile does not look like a lost one.
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
		if overview.Loss() == nil { // it may just have ended
			if _, err := r.Manager.Get(ctx, id); !errors.Is(err, storemanager.ErrNotFound) {
				continue
			}
		}
		lost = append(lost, id)
	}
	return alone, lost, nil
}
