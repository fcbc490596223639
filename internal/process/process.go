// Package process is what every binary of Storekeeper does around its work: read the settings, set up telemetry, turn
// signals into a context and errors into an exit code.
package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.uber.org/zap"

	"storekeeper/internal/build"
	"storekeeper/internal/config"
	"storekeeper/internal/dbfile"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/tracing/export"
	"storekeeper/internal/tracing/temporaltrace"
)

// stopTimeout is how long a process may take from the first signal to its end.
const stopTimeout = 10 * time.Second

// heartbeatInterval is how often a worker tells Temporal that it lives, whether there is work or not: so it is missed soon.
const heartbeatInterval = 5 * time.Second

// maxConnections is for Serve: many times what edges, workers and probes make.
const maxConnections = 1024

// Process is a running binary: its settings and where it tells of itself.
type Process struct {
	Config *config.Config
	// Role is which of the binaries it is.
	Role config.Role
	Log  *zap.Logger
	// Sentry is nil without SENTRY_DSN; its methods are safe on nil.
	Sentry  *telemetry.Sentry
	Metrics *telemetry.Metrics

	redactor    *telemetry.Redactor // of Log and Sentry; nil knows no secrets
	stopTracing func()
}

// Options describe a binary.
type Options struct {
	Use, Short, Long string
	Role             config.Role
	// Environ is read after the flags have been parsed. Nil means os.Environ.
	Environ func() ([]string, error)
	// Run does the work until ctx ends, and then returns nil within stopTimeout.
	Run func(ctx context.Context, p *Process) error
}

// Command makes the binary's command line; flags of its own can be added to it. SIGINT and SIGTERM end ctx; so does SIGHUP,
// unless secrets are in files, which it has read again. A second one of the first two ends the process at once, and so does SIGQUIT, which shows what all goroutines do.
func Command(o Options) *cobra.Command {
	if o.Environ == nil {
		o.Environ = func() ([]string, error) { return os.Environ(), nil }
	}
	return &cobra.Command{
		Use:           o.Use,
		Short:         o.Short,
		Long:          o.Long + "\n\nSettings are read from the environment:\n\n" + config.Usage(o.Role),
		Version:       build.Version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlags(cmd.Flags()); err != nil {
				return err
			}
			environ, err := o.Environ()
			if err != nil {
				return err
			}
			p, err := start(environ, o.Role, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer p.close()
			defer p.followSecrets(cmd.Context())()
			return o.Run(cmd.Context(), p)
		},
	}
}

// secretFlag is the annotation of a flag whose value is not shown.
const secretFlag = "storekeeper_secret"

// Secret says that the value of the flag, which must be there, is not to be shown.
func Secret(flags *pflag.FlagSet, name string) {
	flags.Lookup(name).Annotations = map[string][]string{secretFlag: nil}
}

// checkFlags wants values that are written as they were meant, as config.Load does: what starts a container may know no quotes.
func checkFlags(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if why := config.Misspelt(f.Value.String()); why != "" && err == nil {
			value := f.Value.String()
			if _, secret := f.Annotations[secretFlag]; secret {
				value = "[redacted]"
			}
			err = fmt.Errorf("--%s=%s is not accepted: %s", f.Name, value, why)
		}
	})
	return err
}

// Main executes the command and ends the process.
func Main(cmd *cobra.Command) {
	// Whoever read the log may be gone, and took the pipe along. A line that can't be written is lost, and no work is.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(hangup(context.Background()), os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		<-ctx.Done()
		stop() // from here on a signal has its usual effect: it ends the process
		select {
		case <-done:
		case <-time.After(stopTimeout):
			fmt.Fprintf(os.Stderr, "%s: still busy %s after the signal, ending all the same\n", cmd.Name(), stopTimeout)
			os.Exit(1)
		}
	}()
	err := cmd.ExecuteContext(ctx)
	close(done)
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", cmd.Name(), err)
		os.Exit(1)
	}
}

func start(environ []string, role config.Role, logs io.Writer) (*Process, error) {
	cfg, err := config.Load(environ, role)
	if err != nil {
		return nil, err
	}
	redactor := telemetry.NewRedactor(append(cfg.Secrets(), export.Secrets(environ)...)...)
	log, err := telemetry.NewLogger(cfg.LogLevel, cfg.LogFormat, logs, redactor)
	if err != nil {
		return nil, err
	}
	sentry, err := telemetry.NewSentry(telemetry.SentryOptions{
		DSN: string(cfg.SentryDSN), Environment: cfg.SentryEnvironment, Role: string(role), Redactor: redactor,
	})
	if err != nil {
		return nil, fmt.Errorf("SENTRY_DSN: %w", err)
	}
	metrics, err := telemetry.NewMetrics(log)
	if err != nil {
		return nil, err
	}
	stopTracing, err := startTracing(environ, role, log)
	if err != nil {
		return nil, err
	}
	return &Process{Config: cfg, Role: role, Log: log, Sentry: sentry, Metrics: metrics, redactor: redactor, stopTracing: stopTracing}, nil
}

// startTracing has all spans of the process made from now on.
func startTracing(environ []string, role config.Role, log *zap.Logger) (stop func(), err error) {
	frequent := telemetry.Sampled(log)
	return export.Start(context.Background(), export.Options{
		Environ: environ, Service: "storekeeper-" + string(role), Version: build.Version,
		Failed: func(err error) { frequent.Warn("traces not exported", zap.Error(err)) },
	})
}

// BypassTokens are those that servers of the internal side accept now.
func (p *Process) BypassTokens() httpserver.Tokens {
	var t httpserver.Tokens
	for _, token := range p.Config.Newest().BypassTokens {
		t.Add(string(token), httpserver.Caller{})
	}
	return t
}

func (p *Process) close() {
	p.stopTracing()
	p.Sentry.Flush(2 * time.Second)
	p.Sentry.Close()
	_ = p.Log.Sync() // fails on a terminal, where there is nothing to sync
}

// dialTemporal returns a client for the SDK's own settings (TEMPORAL_* and its TOML profiles) and the namespace. It connects
// at the first use, so that a process starts while Temporal is away.
func (p *Process) dialTemporal() (client.Client, string, error) {
	opts, err := p.temporalSettings()
	if err != nil {
		return nil, "", fmt.Errorf("temporal settings: %w", err)
	}
	if opts.Namespace == "" {
		opts.Namespace = client.DefaultNamespace
	}
	c, err := client.NewLazyClient(p.TemporalOptions(opts))
	if err != nil {
		return nil, "", fmt.Errorf("temporal client: %w", err)
	}
	return c, opts.Namespace, nil
}

// temporalSettings are those of the SDK. The API key of TEMPORAL_API_KEY or its file is the newest at each call; one of a TOML profile is that of
// the start.
func (p *Process) temporalSettings() (client.Options, error) {
	profile, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{})
	if err != nil {
		return client.Options{}, err
	}
	given := string(p.Config.TemporalAPIKey)
	profile.APIKey = cmp.Or(given, profile.APIKey)
	p.redactor.Add(profile.APIKey)
	opts, err := profile.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err == nil && given != "" {
		opts.Credentials = client.NewAPIKeyDynamicCredentials(func(context.Context) (string, error) {
			return string(p.Config.Newest().TemporalAPIKey), nil
		})
	}
	return opts, err
}

// TemporalOptions adds the process's logs, metrics and traces, and how often its worker is heard of.
func (p *Process) TemporalOptions(opts client.Options) client.Options {
	opts.Logger = p.Sentry.SDKLogger(p.Log)
	opts.MetricsHandler = p.Metrics.SDKMetricsHandler()
	opts.WorkerHeartbeatInterval = heartbeatInterval
	opts.Interceptors = append(opts.Interceptors, temporaltrace.New())
	return opts
}

// Usage is the room that the databases take. One that can't be looked at is logged, and left out.
func (p *Process) Usage(databases ...dbfile.Database) []dbfile.Usage {
	var all []dbfile.Usage
	for _, d := range databases {
		usage, err := d.Usage()
		if err != nil {
			p.Log.Warn("size of a database not known", zap.String("database", d.Name), zap.Error(err))
			continue
		}
		all = append(all, usage)
	}
	return all
}

// Serve answers with handler until ctx ends, and then lets requests under way finish, for 8 s at the most: whoever is still
// served then is cut off. It closes the listener.
func (p *Process) Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := httpserver.New(httpserver.Options{
		Handler: httpserver.Prepare(handler), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxConnections: maxConnections, Log: telemetry.Sampled(p.Log),
	})
	return server.Run(ctx, l, 8*time.Second)
}
