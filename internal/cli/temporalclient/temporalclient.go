// Package temporalclient connects the CLI to Temporal, and says what to do when that does not answer as it should.
package temporalclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"storekeeper/internal/cli/exit"
	"storekeeper/internal/config"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/tracing/temporaltrace"
)

const (
	defaultAddress = "127.0.0.1:7233"
	// dialTimeout is how long to wait for a Temporal that does not answer at all.
	dialTimeout = 5 * time.Second
)

// Options say where Temporal is. Flags count before variables, and these before the profile.
type Options struct {
	// Environ are the variables as "NAME=value"; it has TEMPORAL_* and their files.
	Environ []string
	// Address, Namespace and Profile are those of the flags; "" where there is none.
	Address, Namespace, Profile string
	// Timeout is that of a request.
	Timeout time.Duration
}

// Connection is an open connection to Temporal.
type Connection struct {
	*orchestrator.Client
	sdk                client.Client
	Address, Namespace string
	timeout            time.Duration
}

// Dial connects to Temporal.
func Dial(ctx context.Context, o Options) (*Connection, error) {
	vars, err := config.Resolve(o.Environ, "TEMPORAL_API_KEY")
	if err != nil {
		return nil, exit.Fail(exit.Usage, "usage", err.Error(), "correct the environment")
	}
	opts, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{
		ConfigFileProfile: o.Profile, EnvLookup: Environ(vars),
	})
	if err != nil {
		return nil, exit.Fail(
			exit.Usage, "usage", fmt.Sprintf("Temporal's settings can't be used (%s)", err),
			"check the TEMPORAL_* variables, temporal.toml and --profile",
		)
	}
	opts.HostPort = cmp.Or(o.Address, opts.HostPort, defaultAddress)
	opts.Namespace = cmp.Or(o.Namespace, opts.Namespace, client.DefaultNamespace)
	opts.Logger = sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)) // errors are reported by the command
	opts.Interceptors = append(opts.Interceptors, temporaltrace.New())
	c := &Connection{Address: opts.HostPort, Namespace: opts.Namespace, timeout: o.Timeout}

	dialCtx, cancel := context.WithTimeout(ctx, min(dialTimeout, o.Timeout))
	defer cancel()
	c.sdk, err = client.DialContext(dialCtx, opts)
	switch {
	case err != nil && TimedOut(err) && o.Timeout >= dialTimeout:
		return nil, c.unreachable(err) // a longer --timeout would not help
	case err != nil:
		return nil, c.Failure(err)
	}
	c.Client = orchestrator.New(c.sdk, opts.Namespace)
	return c, nil
}

// Close closes the connection.
func (c *Connection) Close() { c.sdk.Close() }

// RequireWorker checks that a worker polls. Without one, a wait for its work would never end.
func (c *Connection) RequireWorker(ctx context.Context) error {
	askCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.WorkersPolling(askCtx); err != nil {
		return c.Failure(err)
	}
	return nil
}

// Explained is err, or ErrNoWorker if that is the reason. Workers answer queries, so without one Temporal itself seems to be away.
func (c *Connection) Explained(ctx context.Context, err error) error {
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
	return status.Code(exit.Innermost(err)) == codes.Unauthenticated
}

// Environ makes variables as "NAME=value" an envconfig.EnvLookup.
type Environ []string

// Environ implements envconfig.EnvLookup.
func (e Environ) Environ() []string { return e }

// LookupEnv implements envconfig.EnvLookup.
func (e Environ) LookupEnv(name string) (string, bool) {
	for _, pair := range e {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value, true
		}
	}
	return "", false
}
