package manager

import (
	"context"

	"storekeeper/internal/telemetry"
)

// monitorFigures are what the monitors of this process did.
func monitorFigures(ctx context.Context, m *Manager) (telemetry.MonitorFigures, error) {
	o, err := m.Overview(ctx)
	if err != nil {
		return telemetry.MonitorFigures{}, err
	}
	deliveries, err := m.Count(ctx)
	if err != nil {
		return telemetry.MonitorFigures{}, err
	}
	f := telemetry.MonitorFigures{Deliveries: deliveries}
	if t := o.Monitors; t != nil {
		f.Events, f.Errors, f.Reconnects, f.Resets, f.Dialing = t.Events, t.Errors, t.Reconnects, t.Resets, t.Dialing
	}
	return f, nil
}
