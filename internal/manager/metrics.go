package manager

import (
	"context"
	"encoding/json"
	"errors"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// figures are what metrics show of the stores.
func figures(ctx context.Context, m *Manager) (telemetry.StoreFigures, error) {
	o, err := m.Overview(ctx)
	if err != nil {
		return telemetry.StoreFigures{}, err
	}
	deliveries, err := m.Count(ctx)
	if err != nil {
		return telemetry.StoreFigures{}, err
	}
	past, err := m.Reconciliation(ctx)
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
	if t := o.Monitors; t != nil {
		f.Events, f.Errors, f.Reconnects, f.Resets, f.Dialing = t.Events, t.Errors, t.Reconnects, t.Resets, t.Dialing
	}
	return f, nil
}

// reconciliation are the figures of past runs. A run that failed for another reason than its list says nothing of any list.
func reconciliation(past storemanager.Reconciliation) (r telemetry.Reconciliation) {
	if past.LastSuccessAt != nil {
		r.LastSuccessAt = *past.LastSuccessAt
	}
	for _, run := range past.Recent { // the newest first
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
