// Command webhook is the HTTP edge: webhooks in, health, stores and metrics out.
package main

import (
	"context"
	"fmt"
	"net"

	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/edge"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/process"
	"storekeeper/internal/storemanager"
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
	temporal, namespace, err := p.DialTemporal()
	if err != nil {
		return err
	}
	defer temporal.Close()
	manager, err := storemanager.NewClient(string(p.Config.StoreManagerURL), string(p.Config.BypassToken), nil)
	if err != nil {
		return fmt.Errorf("STORE_MANAGER_URL: %w", err)
	}
	auth, err := authclient.New(authclient.Options{BaseURL: string(p.Config.AuthWorkerURL), Token: string(p.Config.BypassToken)})
	if err != nil {
		return fmt.Errorf("AUTH_WORKER_INTERNAL_URL: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.Config.Listen())
	if err != nil {
		return fmt.Errorf("the edge can't listen (set LISTEN or PORT): %w", err)
	}
	return edge.New(edge.Options{
		Config: p.Config, Orchestrator: orchestrator.New(temporal, namespace), Stores: manager, AuthWorker: auth,
		Metrics: p.Metrics, Sentry: p.Sentry, Log: p.Log,
	}).Run(ctx, l)
}
