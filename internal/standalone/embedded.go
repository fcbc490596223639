package standalone

import (
	"context"
	"fmt"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/temporalserver"
)

// embedded is the client of the Temporal in this process. The server knows when its database is in trouble, so no request has to wait in
// vain to find out.
type embedded struct {
	*orchestrator.Client
	server *temporalserver.Server
}

// Reachable implements edge.Orchestrator.
func (e embedded) Reachable(ctx context.Context) error {
	if err := e.trouble(); err != nil {
		return err
	}
	return e.Client.Reachable(ctx)
}

// Apply implements edge.Orchestrator.
func (e embedded) Apply(ctx context.Context, ev contract.Event, wait time.Duration) (contract.Result, error) {
	if err := e.trouble(); err != nil {
		return contract.Result{}, err
	}
	return e.Client.Apply(ctx, ev, wait)
}

func (e embedded) trouble() error {
	if err := e.server.Trouble(); err != nil {
		return fmt.Errorf("%w: %w: %w", orchestrator.ErrUnavailable, orchestrator.ErrDatabase, err)
	}
	return nil
}
