package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/deliveries"
	deliverysqlite "storekeeper/internal/deliveries/sqlite"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/monitor"
	"storekeeper/internal/storemanager/nodeserver"
	"storekeeper/internal/storemanager/processor"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/telemetry"
)

// Stores are a store manager in this process, and the memory of webhooks beside it in the same database.
type Stores struct {
	Monitored
	deliveries.Memory
}

// Monitored is a registry whose stores are monitored: by a *storemanager.Supervisor, or by a Node server that a *storemanager.Node drives.
type Monitored interface {
	storemanager.Manager
	// Ping returns nil if the registry can be read.
	Ping(ctx context.Context) error
	// SetPins makes ids the pinned stores, and no others.
	SetPins(ctx context.Context, ids []string) error
	// Close ends the monitoring.
	Close() error
}

// OpenStores opens the registry at path ("" keeps it in memory) and monitors its stores as the settings say, until ctx ends or
// the returned function is called, which must be done.
func (p *Process) OpenStores(ctx context.Context, path string) (Stores, func(), error) {
	database, err := sqlite.Open(ctx, path, p.Log)
	if err != nil {
		return Stores{}, nil, fmt.Errorf("registry: %w", err)
	}
	registry, err := registry.New(ctx, database, registry.Options{Logger: p.Log.With(zap.String("path", path))})
	if err != nil {
		return Stores{}, nil, fmt.Errorf("registry: %s: %w", path, err)
	}
	memory, err := deliverysqlite.New(ctx, database, deliverysqlite.Options{})
	if err != nil {
		return Stores{}, nil, errors.Join(err, registry.Close())
	}
	monitored, err := p.monitor(ctx, registry)
	if err != nil {
		return Stores{}, nil, errors.Join(err, registry.Close())
	}
	stores := Stores{monitored, memory}
	if err := stores.SetPins(ctx, p.Config.StoreIDs); err != nil {
		return Stores{}, nil, errors.Join(fmt.Errorf("STORE_IDS: %w", err), stores.Close(), registry.Close())
	}
	p.Metrics.RegisterStores(func(ctx context.Context) (telemetry.StoreFigures, error) { return figures(ctx, stores) })
	return stores, func() {
		if err := errors.Join(stores.Close(), registry.Close()); err != nil {
			p.Log.Error("store manager not closed cleanly", zap.Error(err))
		}
	}, nil
}

func (p *Process) monitor(ctx context.Context, registry *registry.Registry) (Monitored, error) {
	c := p.Config
	if c.StoreManagerKind == config.KindNode {
		return nodeserver.Drive(ctx, registry, nodeserver.Options{
			URL: string(c.NodeServerURL), WebhookSecret: string(c.NodeServerSecret), Logger: p.Log,
		})
	}
	var events processor.Processor = processor.NewLog(p.Log)
	if c.EventSinkURL != "" {
		var err error
		events, err = processor.NewSink(processor.SinkOptions{
			URL: string(c.EventSinkURL), Secret: string(c.EventSinkSecret),
		})
		if err != nil {
			return nil, fmt.Errorf("EVENT_SINK_URL: %w", err)
		}
	}
	return monitor.Supervise(ctx, registry, monitor.Options{
		SyncURL: c.StoreSyncURL, Token: string(c.BypassToken), Processor: events, MaxDials: int(c.SyncMaxDials), Logger: p.Log,
		Outage: func(err error) { p.Sentry.Capture(ctx, err, telemetry.Operation{Name: "sync_backend_outage"}) },
	})
}

// figures are what metrics show of the stores.
func figures(ctx context.Context, stores Stores) (telemetry.StoreFigures, error) {
	o, err := stores.Overview(ctx)
	if err != nil {
		return telemetry.StoreFigures{}, err
	}
	deliveries, err := stores.Count(ctx)
	if err != nil {
		return telemetry.StoreFigures{}, err
	}
	past, err := stores.Reconciliation(ctx)
	if err != nil {
		return telemetry.StoreFigures{}, err
	}
	f := telemetry.StoreFigures{
		Reconciliation: reconciliation(past),
		States: map[string]int{
			"monitored": o.Monitored, storemanager.StoreDeletionPending: o.DeletionPending, storemanager.StoreHeld: o.Held,
			storemanager.StorePinned: o.Pinned, "tombstone": o.Tombstones,
		},
		Connections:  map[string]int{},
		GuardTripped: o.Guard != nil,
		RegistryLost: o.Loss() != nil,
		Deliveries:   deliveries,
	}
	for _, state := range storemanager.ConnectionStates() {
		f.Connections[string(state)] = o.Connections[state]
	}
	if m := o.Monitors; m != nil {
		f.Events, f.Errors, f.Reconnects, f.Resets, f.Dialing = m.Events, m.Errors, m.Reconnects, m.Resets, m.Dialing
	}
	return f, nil
}

// report is what metrics show of a reconcile run's report.
type report struct {
	Missing          int    `json:"missing"`
	Orphaned         int    `json:"orphaned"`
	FirstSightings   int    `json:"firstSightings"`
	QuarantinedCount int    `json:"quarantinedCount"`
	FailedAdds       int    `json:"failedAdds"`
	FailedRemovals   int    `json:"failedRemovals"`
	Guard            string `json:"guard"`
}

// reconciliation are the figures of past runs. A run that failed for another reason than its list says nothing of any list.
func reconciliation(past storemanager.Reconciliation) (r telemetry.Reconciliation) {
	if past.LastSuccessAt != nil {
		r.LastSuccessAt = *past.LastSuccessAt
	}
	for _, run := range past.Recent { // the newest first
		var found report
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
