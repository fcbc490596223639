// Command webhook is the HTTP edge: webhooks in, health, stores and metrics out.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"storekeeper/internal/config"
	"storekeeper/internal/edge"
	"storekeeper/internal/figures"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/process"
)

func main() {
	process.Main(process.Command(process.Options{
		Use:   "webhook",
		Short: "Storekeeper's HTTP edge",
		Long:  "Takes the Auth Worker's webhooks, and answers /health, /stores and /metrics. Any number may run.",
		Role:  config.RoleWebhook,
		Run:   run,
	}))
}

func run(ctx context.Context, p *process.Process) error {
	clients, err := p.Clients()
	if err != nil {
		return err
	}
	defer clients.Temporal.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.Config.Listen())
	if err != nil {
		return fmt.Errorf("the edge can't listen (set LISTEN or PORT): %w", err)
	}
	orch := orchestrator.New(clients.Temporal, clients.Namespace)
	figures.Register(p.Metrics, clients.Manager, orch)
	o := edge.Options{
		Config: p.Config, Orchestrator: orch,
		StoreManager: clients.Manager, Backup: clients.Manager.Backup, Examine: clients.Manager.Examine, Metrics: p.Metrics, Sentry: p.Sentry, Log: p.Log,
	}
	if clients.AuthWorker != nil {
		o.Workspaces = clients.AuthWorker
	}
	server, err := edge.New(o)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	var background sync.WaitGroup
	defer background.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	background.Go(func() { p.NoteSettings(ctx, clients.Manager) })
	return server.Run(ctx, l)
}
