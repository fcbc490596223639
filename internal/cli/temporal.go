package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"storekeeper/internal/build"
	"storekeeper/internal/config"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/tracing"
	"storekeeper/internal/tracing/export"
	"storekeeper/internal/tracing/temporaltrace"
)

const (
	defaultAddress = "127.0.0.1:7233"
	// dialTimeout is how long to wait for a Temporal that does not answer at all.
	dialTimeout = 5 * time.Second
)

// connection is an open connection to Temporal.
type connection struct {
	*orchestrator.Client
	sdk                client.Client
	address, namespace string
	// timeout is that of a request.
	timeout time.Duration
}

// dial connects to Temporal. Flags count before variables, and these before the profile.
func (a *app) dial(ctx context.Context) (*connection, error) {
	if err := a.spelling(); err != nil {
		return nil, err
	}
	vars, err := config.Resolve(a.Environ, "TEMPORAL_API_KEY")
	if err != nil {
		return nil, &failure{exitUsage, "usage", err.Error(), "correct the environment"}
	}
	opts, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{
		ConfigFileProfile: a.profile, EnvLookup: environ(vars),
	})
	if err != nil {
		return nil, &failure{
			exitUsage, "usage", fmt.Sprintf("Temporal's settings can't be used (%s)", err),
			"check the TEMPORAL_* variables, temporal.toml and --profile",
		}
	}
	opts.HostPort = firstOf(a.address, opts.HostPort, defaultAddress)
	opts.Namespace = firstOf(a.namespace, opts.Namespace, client.DefaultNamespace)
	opts.Logger = sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)) // errors are reported by the command
	opts.Interceptors = append(opts.Interceptors, temporaltrace.New())
	c := &connection{address: opts.HostPort, namespace: opts.Namespace, timeout: a.timeout}

	dialCtx, cancel := context.WithTimeout(ctx, min(dialTimeout, a.timeout))
	defer cancel()
	c.sdk, err = client.DialContext(dialCtx, opts)
	switch {
	case err != nil && timedOut(err) && a.timeout >= dialTimeout:
		return nil, c.unreachable(err) // a longer --timeout would not help
	case err != nil:
		return nil, c.failure(err)
	}
	c.Client = orchestrator.New(c.sdk, opts.Namespace)
	return c, nil
}

func (c *connection) close() { c.sdk.Close() }

// requireWorker checks that a worker polls. Without one, a wait for its work would never end.
func (c *connection) requireWorker(ctx context.Context) error {
	askCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.WorkersPolling(askCtx); err != nil {
		return c.failure(err)
	}
	return nil
}

// explained is err, or ErrNoWorker if that is the reason. Workers answer queries, so without one Temporal itself seems to be away.
func (c *connection) explained(ctx context.Context, err error) error {
	if errors.Is(err, orchestrator.ErrUnavailable) && errors.Is(c.WorkersPolling(ctx), orchestrator.ErrNoWorker) {
		return orchestrator.ErrNoWorker
	}
	return err
}

func isUnauthenticated(err error) bool {
	var s interface{ Status() *status.Status }
	if errors.As(err, &s) {
		return s.Status().Code() == codes.Unauthenticated
	}
	return status.Code(innermost(err)) == codes.Unauthenticated
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// traced runs the command as one trace and one request, for what it asks of Temporal and of the edge.
func (a *app) traced(ctx context.Context, root *cobra.Command) error {
	stop, err := export.Start(ctx, export.Options{Environ: a.Environ, Service: "storekeeper-starter", Version: build.Version})
	if err == nil { // a deletion can be cancelled, whatever is wrong with these settings
		defer stop()
	}
	ctx, end := tracing.Begin(tracing.WithRequestID(ctx, uuid.NewString()), "starter "+a.commandName(root))
	err = root.ExecuteContext(ctx)
	end(err)
	return err
}

// commandName is the command without its arguments, which are the operator's own words; "" if there is no such command.
func (a *app) commandName(root *cobra.Command) string {
	found, _, err := root.Find(a.Args)
	if err != nil || found == root {
		return ""
	}
	return found.Name()
}
