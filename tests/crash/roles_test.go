package crash_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"storekeeper/internal/config"
	"storekeeper/internal/edge"
	"storekeeper/internal/manager"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/process"
	"storekeeper/internal/standalone"
	"storekeeper/internal/temporalserver"
	"storekeeper/tests/harness"
)

// What a process of the test binary is told by its environment, beside the settings of its role.
const (
	envRole           = "STOREKEEPER_CRASH_ROLE"
	envDataDir        = "STOREKEEPER_CRASH_DATA_DIR"
	envListen         = "STOREKEEPER_CRASH_LISTEN"
	envTemporalListen = "STOREKEEPER_CRASH_TEMPORAL_LISTEN"
	envMine           = "STOREKEEPER_CRASH_MINE"
)

// The roles.
const (
	roleStandalone = "standalone"
	roleEdge       = "edge"
	roleWorker     = "worker"
	roleManager    = "storemanager"
	roleTemporal   = "temporal"
)

// runRole is the command of that name, as cmd/ has it.
func runRole(role string) {
	switch role {
	case roleStandalone:
		runCommand(config.RoleStandalone, runStandalone)
	case roleEdge:
		runCommand(config.RoleWebhook, runEdge)
	case roleWorker:
		runCommand(config.RoleWorker, runWorker)
	case roleManager:
		runCommand(config.RoleStoreManager, runManager)
	case roleTemporal:
		if err := runTemporal(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		panic("no such role: " + role)
	}
}

func runCommand(role config.Role, run func(context.Context, *process.Process) error) {
	environ, _ := standalone.DemoEnviron(os.Environ())
	process.Main(process.Command(process.Options{
		Use: string(role), Role: role, Environ: func() ([]string, error) { return environ, nil }, Run: run,
	}))
}

func runStandalone(ctx context.Context, p *process.Process) error {
	return standalone.Run(ctx, p, standalone.Options{
		DataDir: os.Getenv(envDataDir), Listen: os.Getenv(envListen), TemporalListen: os.Getenv(envTemporalListen),
	})
}

func runEdge(ctx context.Context, p *process.Process) error {
	clients, err := p.Clients()
	if err != nil {
		return err
	}
	defer clients.Temporal.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", os.Getenv(envListen))
	if err != nil {
		return err
	}
	server, err := edge.New(edge.Options{
		Config: p.Config, Orchestrator: orchestrator.New(clients.Temporal, clients.Namespace),
		StoreManager: clients.Manager, Metrics: p.Metrics, Sentry: p.Sentry, Log: p.Log,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return server.Run(ctx, l)
}

func runWorker(ctx context.Context, p *process.Process) error {
	return harness.RunWorker(ctx, p, mine(os.Getenv(envMine)).intercept)
}

func runManager(ctx context.Context, p *process.Process) error {
	stores, err := manager.Open(ctx, p, filepath.Join(os.Getenv(envDataDir), registryFile))
	if err != nil {
		return err
	}
	defer stores.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", os.Getenv(envListen))
	if err != nil {
		return err
	}
	return p.Serve(ctx, l, stores.Handler(p, nil))
}

func runTemporal() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server, err := temporalserver.Start(ctx, temporalserver.Options{
		Listen: os.Getenv(envTemporalListen), DatabasePath: filepath.Join(os.Getenv(envDataDir), "temporal.db"),
		SearchAttributes: orchestrator.SearchAttributes(),
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	server.Stop()
	return nil
}

// mine is the moment at which a worker kills itself, as kill -9 does: between two steps that lie too close to each other to be
// hit from outside.
type mine string

const (
	// mineBetween a store that was ensured and Temporal, which is about to be told.
	mineBetween mine = "ensured"
	// mineAfter Temporal was told that a workspace is gone.
	mineAfter mine = "absent"
)

func (m mine) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if told, ok := req.(*workflowservice.RespondWorkflowTaskCompletedRequest); ok && m == mineBetween {
		for _, c := range told.GetCommands() {
			if c.GetCommandType() == enums.COMMAND_TYPE_RECORD_MARKER { // of the local activity
				die()
			}
		}
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if told, ok := req.(*workflowservice.RespondActivityTaskCompletedRequest); ok && m == mineAfter && err == nil {
		for _, p := range told.GetResult().GetPayloads() {
			if strings.Contains(string(p.GetData()), `"absent":true`) {
				die()
			}
		}
	}
	return err
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}
