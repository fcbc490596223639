package manager

import (
	"context"
	"errors"
	"sync"
	"time"

	"storekeeper/internal/backoff"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/monitor"
	"storekeeper/internal/telemetry"
)

// lossPoll is how often the registry is asked whether it was lost, and whether somebody has acknowledged that.
const lossPoll = time.Second

// tellOutage tells Sentry of the outage of a sync backend or of the event sink, or of its end.
func tellOutage(ctx context.Context, sentry *telemetry.Sentry, o monitor.Outage) {
	op := telemetry.Operation{Name: o.Of + "_outage", Kind: "away"}
	if o.Err == nil {
		sentry.Over(op, o.Over, o.Lasted, o.Stores)
		return
	}
	sentry.Capture(ctx, o.Err, op)
}

// watchLosses tells Sentry that the registry was lost, and when nothing is lost any more, until the store manager is closed. Losses that were found before
// it was opened have been told.
func (m *Manager) watchLosses(ctx context.Context, sentry *telemetry.Sentry, opened time.Time) {
	if sentry == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	m.unwatch = func() {
		cancel()
		watching.Wait()
	}
	watching.Go(func() {
		for before := (*storemanager.KeptBack)(nil); ; {
			if overview, err := m.Overview(ctx); err == nil {
				tellLoss(ctx, sentry, before, overview.Loss(), opened)
				before = overview.Loss()
			}
			if !backoff.Sleep(ctx, lossPoll) {
				return
			}
		}
	})
}

func tellLoss(ctx context.Context, sentry *telemetry.Sentry, before, now *storemanager.KeptBack, opened time.Time) {
	op := telemetry.Operation{Name: "registry_loss", Kind: "lost"}
	switch {
	case now == nil && before != nil:
		sentry.Over(op, "the loss of the registry is acknowledged: stores may be stopped again", time.Since(before.Since), 0)
	case now == nil, before != nil && before.Since.Equal(now.Since):
	case !now.Since.Before(opened.Truncate(time.Millisecond)):
		sentry.Capture(ctx, errors.New("the registry was lost, no store is stopped until somebody acknowledges it: "+now.Reason), op)
	}
}
