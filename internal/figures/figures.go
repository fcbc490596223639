// Package figures has the metrics of what several processes know: it comes out of the registry, through the store manager, and out of Temporal. So
// every process shows the same, whichever is scraped.
package figures

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// StoreManager is what is asked of the store manager, in process or over HTTP.
type StoreManager interface {
	Overview(ctx context.Context) (storemanager.Overview, error)
	Reconciliation(ctx context.Context) (storemanager.Reconciliation, error)
	Pauses(ctx context.Context) ([]storemanager.Pause, error)
}

// Register makes each scrape of the metrics ask the store manager, and Temporal unless it is nil, which it is in a process that knows of none.
func Register(m *telemetry.Metrics, manager StoreManager, temporal *orchestrator.Client) {
	m.RegisterShared(func(ctx context.Context) (s telemetry.Shared) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if s.Stores, s.StoresErr = stores(ctx, manager); errors.Is(s.StoresErr, storemanager.ErrUnauthorized) {
				m.TokenRefused(telemetry.RefusedByStoreManager)
			}
		})
		if temporal != nil {
			wg.Go(func() { s.Engine, s.EngineErr = engine(ctx, temporal) })
		}
		wg.Wait()
		return s
	})
}

// stores are the figures of the registry.
func stores(ctx context.Context, manager StoreManager) (*telemetry.StoreFigures, error) {
	o, err := manager.Overview(ctx)
	if err != nil {
		return nil, err
	}
	past, err := manager.Reconciliation(ctx)
	if err != nil {
		return nil, err
	}
	pauses, err := manager.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	f := &telemetry.StoreFigures{
		Monitored: o.Monitored, Stopped: o.Tombstones, Pending: o.DeletionPending, Overdue: o.DeletionOverdue, Held: o.Held, Pinned: o.Pinned,
		Connections: map[string]int{}, Provisioned: o.TotalProvisioned, Ended: o.TotalStopped,
		RunsSucceeded: past.Successes, RunsFailed: past.Failures,
		OldestPendingAt: orZero(o.OldestDeletionAt), OldestDueAt: orZero(o.FirstDeletionDueAt),
		GuardTripped: o.Guard != nil, RegistryLost: o.Loss() != nil, Reconciliation: reconciliation(past),
	}
	for _, state := range storemanager.ConnectionStates() {
		f.Connections[string(state)] = o.Connections[state]
	}
	for _, p := range pauses {
		switch {
		case p.StoreID == "":
			f.AllPaused, f.AllPausedAt = true, p.Since
		case f.PausedStores == 0 || p.Since.Before(f.OldestPauseAt):
			f.OldestPauseAt = p.Since
			fallthrough
		default:
			f.PausedStores++
		}
	}
	return f, nil
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// reconciliation are the figures of past runs. A run that failed for another reason than its list says nothing of any list.
func reconciliation(past storemanager.Reconciliation) (r telemetry.Reconciliation) {
	r.LastSuccessAt = orZero(past.LastSuccessAt)
	for i, run := range past.Recent { // the newest first
		if i == 0 {
			r.LastRunAt = run.CompletedAt
		}
		var found contract.ReconcileReport
		succeeded := run.Error == "" && json.Unmarshal(run.Report, &found) == nil
		if damaged := errors.Is(authclient.FromText(run.Error), authclient.ErrDamaged); r.Implausible == nil && (succeeded || damaged) {
			r.Implausible = new(damaged || found.Guard != "")
		}
		if succeeded {
			r.Found = &telemetry.ReconcileFindings{
				Missing: found.Missing, Orphaned: found.Orphaned + found.FirstSightings, Quarantined: found.QuarantinedCount,
				Failing: found.FailedAdds + found.FailedRemovals,
			}
			return r
		}
	}
	return r
}

// engine are the figures of Temporal. The error is that of the question whether it answers at all.
func engine(ctx context.Context, temporal *orchestrator.Client) (*telemetry.EngineFigures, error) {
	if err := temporal.Reachable(ctx); err != nil {
		return nil, err
	}
	f := &telemetry.EngineFigures{}
	var wg sync.WaitGroup
	wg.Go(func() {
		err := temporal.WorkersPolling(ctx)
		if err == nil || errors.Is(err, orchestrator.ErrNoWorker) {
			f.Polling = new(err == nil)
		}
	})
	wg.Go(func() {
		if age, err := temporal.Backlog(ctx); err == nil {
			f.Backlog = &age
		}
	})
	wg.Go(func() {
		if s, err := temporal.ReconcileSchedule(ctx); err == nil {
			f.Schedule = &telemetry.ScheduleFigures{
				Every: s.Every, Paused: s.Paused && !s.Disabled, Disabled: s.Disabled, LastActionAt: s.LastActionAt,
			}
		}
	})
	wg.Wait()
	return f, nil
}
