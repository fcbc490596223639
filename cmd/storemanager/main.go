// Command storemanager is the multi-store server as a process of its own.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"storekeeper/internal/config"
	"storekeeper/internal/process"
	"storekeeper/internal/storemanager"
)

func main() {
	process.Main(process.Command(process.Options{
		Use:   "storemanager",
		Short: "Storekeeper's store manager",
		Long:  "Keeps the registry of monitored stores under STORE_DATA_PATH and serves it to the edge and the workers. Run one.",
		Role:  config.RoleStoreManager,
		Run:   run,
	}))
}

func run(ctx context.Context, p *process.Process) error {
	registry, err := storemanager.Open(ctx, storemanager.Options{
		Path: filepath.Join(p.Config.StoreDataPath, "stores.db"), Logger: p.Log,
	})
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	defer func() {
		if err := registry.Close(); err != nil {
			p.Log.Error("registry not closed cleanly", zap.Error(err))
		}
	}()
	if err := registry.SetPins(ctx, p.Config.StoreIDs); err != nil {
		return fmt.Errorf("STORE_IDS: %w", err)
	}
	p.Metrics.RegisterStoreCounts(storemanager.Counts(registry))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", string(p.Config.StoreManagerListen))
	if err != nil {
		return fmt.Errorf("STORE_MANAGER_LISTEN: %w", err)
	}
	p.Log.Info("store manager listens")
	return process.Serve(ctx, l, handler(registry, p))
}

func handler(registry *storemanager.Registry, p *process.Process) http.Handler {
	r := chi.NewRouter()
	r.Handle("/metrics", p.Metrics.Handler())
	r.Mount("/", storemanager.Handler(registry, string(p.Config.BypassToken), p.Log))
	return r
}
