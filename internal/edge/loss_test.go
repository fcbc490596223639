package edge

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/storemanager"
)

// restarting is a store manager that can be replaced by another.
type restarting struct {
	StoreManager
	mu      sync.Mutex
	current StoreManager
}

func (r *restarting) set(s StoreManager) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = s
}

func (r *restarting) Overview(ctx context.Context) (storemanager.Overview, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.Overview(ctx)
}

func TestRunRequestsAReconcileWhenTheStoreManagerComesBackWithoutItsRegistry(t *testing.T) {
	t.Parallel()
	manager := &restarting{}
	f := setup(t, func(f *fixture) {
		manager.StoreManager, manager.current, f.stores = f.Registry, f.Registry, manager
	})
	_, stop := f.run(t)
	f.Temporal.RequireRequest(t) // of the start

	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = true })
	manager.set(edgetest.Lose(t))
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = false })
	f.Temporal.RequireRequest(t)
	stop()
	require.Empty(t, f.Temporal.Requested, "once")
}
