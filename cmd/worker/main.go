// Command worker runs the workflows and activities, and keeps the reconcile schedule.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"storekeeper/internal/config"
	"storekeeper/internal/figures"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/process"
	"storekeeper/internal/worker"
)

func main() {
	process.Main(process.Command(process.Options{
		Use:   "worker",
		Short: "Storekeeper's Temporal worker",
		Long:  "Runs the workflows and activities, and keeps the reconcile schedule. Any number may run.",
		Role:  config.RoleWorker,
		Run:   run,
	}))
}

func run(ctx context.Context, p *process.Process) error {
	clients, err := p.Clients()
	if err != nil {
		return err
	}
	defer clients.Temporal.Close()
	auth, err := p.AuthWorker(string(p.Config.AuthWorkerURL), "")
	if err != nil {
		return err
	}
	orch := orchestrator.New(clients.Temporal, clients.Namespace)
	figures.Register(p.Metrics, clients.Manager, orch)
	g, ctx := errgroup.WithContext(ctx)
	if address := p.Config.MetricsListen.Address(); address != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("METRICS_LISTEN: %w; each worker of a machine needs an address of its own, or off", err)
		}
		p.Log.Info("metrics and probes are served", zap.Stringer("address", l.Addr()))
		g.Go(func() error { return p.Serve(ctx, l, probes(p, orch)) })
	}
	g.Go(func() error {
		p.NoteSettings(ctx, clients.Manager)
		return nil
	})
	g.Go(func() error {
		return worker.Run(ctx, worker.Options{
			Temporal: clients.Temporal, Namespace: clients.Namespace, Manager: clients.Manager, AuthWorker: auth,
			Config: p.Config, Log: p.Log, Sentry: p.Sentry, Metrics: p.Metrics,
		})
	})
	return g.Wait()
}

// probes serves what an operator's monitoring asks of a worker.
func probes(p *process.Process, orch *orchestrator.Client) http.Handler {
	r := chi.NewRouter()
	r.Handle("/metrics", p.Metrics.Handler())
	r.Get("/livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	r.Get("/readyz", func(w http.ResponseWriter, req *http.Request) {
		if err := orch.WorkersPolling(req.Context()); err != nil {
			http.Error(w, "no worker polls, or Temporal can't be reached", http.StatusServiceUnavailable)
		}
	})
	return r
}
