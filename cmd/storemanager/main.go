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
	"storekeeper/internal/dbfile"
	"storekeeper/internal/process"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/telemetry"
)

func main() {
	process.Main(process.Command(process.Options{
		Use:   "storemanager",
		Short: "Storekeeper's store manager",
		Long:  "Keeps the registry of stores under STORE_DATA_PATH, monitors each at its sync backend, and serves the edge and the workers. Run one.",
		Role:  config.RoleStoreManager,
		Run:   run,
	}))
}

func run(ctx context.Context, p *process.Process) error {
	registry := dbfile.Database{Name: "registry", Path: filepath.Join(p.Config.StoreDataPath, "stores.db")}
	stores, closeStores, err := p.OpenStores(ctx, registry.Path)
	if err != nil {
		return err
	}
	p.Metrics.RegisterDatabases(func() []dbfile.Usage { return p.Usage(registry) })
	defer closeStores()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", string(p.Config.StoreManagerListen))
	if err != nil {
		return fmt.Errorf("STORE_MANAGER_LISTEN: %w", err)
	}
	p.Log.Info("store manager listens", zap.Stringer("address", l.Addr()))
	return p.Serve(ctx, l, handler(stores, p))
}

func handler(stores process.Stores, p *process.Process) http.Handler {
	r := chi.NewRouter()
	r.Handle("/metrics", p.Metrics.Handler())
	r.Mount("/", storehttp.Handler(stores, stores, string(p.Config.BypassToken), telemetry.Sampled(p.Log)))
	return r
}
