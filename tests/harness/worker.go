package harness

import (
	"context"
	"os"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"storekeeper/internal/process"
	"storekeeper/internal/worker"
)

// RunWorker is what cmd/worker runs, for a process that a test kills. Temporal, at TEMPORAL_ADDRESS, is asked through the interceptors.
func RunWorker(ctx context.Context, p *process.Process, interceptors ...grpc.UnaryClientInterceptor) error {
	clients, err := p.Clients()
	if err != nil {
		return err
	}
	defer clients.Temporal.Close()
	auth, err := p.AuthWorker(string(p.Config.AuthWorkerURL), "")
	if err != nil {
		return err
	}
	temporal, err := client.NewLazyClient(p.TemporalOptions(client.Options{
		HostPort:          os.Getenv("TEMPORAL_ADDRESS"),
		ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(interceptors...)}},
	}))
	if err != nil {
		return err
	}
	defer temporal.Close()
	return worker.Run(ctx, worker.Options{
		Temporal: temporal, Namespace: clients.Namespace, Manager: clients.Manager, AuthWorker: auth,
		Config: p.Config, Log: p.Log, Sentry: p.Sentry, Metrics: p.Metrics,
	})
}
