// Package standalone runs all roles in one process, on an embedded Temporal server. It is for trying Storekeeper, for developing it, and
// for small installations.
package standalone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"storekeeper/internal/authclient"
	"storekeeper/internal/backup"
	"storekeeper/internal/build"
	"storekeeper/internal/config"
	"storekeeper/internal/dbfile"
	"storekeeper/internal/demo"
	"storekeeper/internal/edge"
	"storekeeper/internal/edge/status"
	"storekeeper/internal/figures"
	"storekeeper/internal/manager"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/ownhost"
	"storekeeper/internal/process"
	"storekeeper/internal/temporalserver"
	"storekeeper/internal/webhookauth"
	"storekeeper/internal/worker"
)

// The demo's secrets. They are published, so only a demo may run with them.
const (
	DemoWebhookSecret = "dev-webhook-secret-change-me"      //nolint:gosec // published
	DemoBypassToken   = "dev-server-bypass-token-change-me" //nolint:gosec // published
)

// Options are the flags of cmd/standalone, and what tests need beside them. Addresses are host:port; port 0 picks one.
type Options struct {
	// Demo starts a demo Auth Worker.
	Demo bool
	// DataDir is where the databases are; it is created when missing.
	DataDir string
	// Restore says which backup takes the place of what is in DataDir, before anything is opened.
	Restore manager.Restore
	// Ephemeral keeps everything in memory. Then DataDir is not used, and TEMPORAL_DB must not be set.
	Ephemeral bool
	// Listen is where the edge listens.
	Listen         string
	TemporalListen string
	// TemporalSchema is temporalserver.Options.Schema.
	TemporalSchema string
	// TemporalHistoryLimit is temporalserver.Options.HistoryLimit. It is for tests and no flag.
	TemporalHistoryLimit int
	// UIListen is where the Temporal Web UI listens; "" means that there is none.
	UIListen string
	// UIHosts are further names that requests to the Web UI may use, beside localhost and the host of UIListen.
	UIHosts []string
	// AuthListen is where the demo Auth Worker listens, and SyncListen where the demo sync backend listens.
	AuthListen, SyncListen string
	// Ready is called with the running installation once a webhook would be accepted and processed. It may be nil.
	Ready func(*System)
}

// System is a running installation.
type System struct {
	EdgeURL         string
	TemporalAddress string
	// UIURL is "" without a Web UI.
	UIURL string
	// AuthURL is where the Auth Worker answers, the demo's or the configured one.
	AuthURL string
	// Auth is nil without a demo.
	Auth *demo.AuthWorker
	// Sync is nil without a demo, and with a LIVESTORE_SYNC_URL.
	Sync     *demo.SyncBackend
	Stores   *manager.Manager
	Temporal client.Client

	temporalServer *temporalserver.Server
}

// Run runs everything until ctx ends, and then returns nil. Any other end is an error.
func Run(ctx context.Context, p *process.Process, o Options) error {
	if o.Ephemeral && p.Config.TemporalDB != "" {
		return errors.New("--ephemeral keeps nothing, and TEMPORAL_DB (--temporal-db) says where to keep Temporal's data: leave one of them out")
	}
	var s stack
	defer s.close()
	var secret string
	if o.Demo {
		var err error
		if secret, err = senderSecret(p.Config); err != nil {
			return err
		}
	}
	if err := exemptFromProxies(ctx, o.Listen, o.TemporalListen, o.UIListen, o.AuthListen, o.SyncListen); err != nil {
		return err
	}
	edgeListener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("the edge can't listen (choose another --listen): %w", err)
	}
	defer edgeListener.Close()
	sys := &System{EdgeURL: "http://" + edgeListener.Addr().String()}

	if err := prepareDataDir(ctx, p, o); err != nil {
		return err
	}
	if err := startSyncBackend(ctx, p, o, sys, &s); err != nil {
		return err
	}
	if sys.Stores, err = manager.Open(ctx, p, o.path(manager.RegistryFile)); err != nil {
		return err
	}
	s.push(sys.Stores.Close)
	if err := startAuthWorker(ctx, p, o, secret, sys, &s); err != nil {
		return err
	}
	if err := startTemporal(ctx, p, o, sys, &s); err != nil {
		return err
	}
	auth, err := p.AuthWorker(sys.AuthURL, o.path(""))
	if err != nil {
		return err
	}
	return runRoles(ctx, p, o, sys, auth, edgeListener)
}

// prepareDataDir makes the data directory, and restores a backup there if one is to be restored.
func prepareDataDir(ctx context.Context, p *process.Process, o Options) error {
	if o.Ephemeral {
		if o.Restore != (manager.Restore{}) {
			return errors.New("--ephemeral keeps nothing on disk, and --restore puts a backup there: leave one of them out")
		}
		return nil
	}
	if err := os.MkdirAll(o.DataDir, dbfile.DirMode); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	wanted := []string{backup.Registry}
	if p.Config.TemporalDB == "" {
		wanted = append(wanted, backup.Temporal, backup.TemporalVisibility)
	}
	return o.Restore.Apply(ctx, p, o.DataDir, wanted...)
}

// backups makes those of all databases of the process. Temporal's come first, so that the registry, which has the last word, knows more.
func backups(p *process.Process, o Options, sys *System) *backup.Maker {
	m := &backup.Maker{Dir: o.path(""), Version: build.Version}
	if o.Ephemeral {
		return m
	}
	m.Sources = append(sys.temporalServer.Backup(), sys.Stores.BackupSources()...)
	if p.Config.TemporalDB != "" {
		m.Without = []string{"Temporal's databases: they are in PostgreSQL; back them up with pg_dump, before the registry"}
	}
	return m
}

// runRoles runs the edge and the worker. Both stop at the same time when ctx ends. Temporal keeps what the worker no longer does, so the
// edge's last requests lose nothing.
func runRoles(ctx context.Context, p *process.Process, o Options, sys *System, auth *authclient.Client, l net.Listener) error {
	orch := orchestrator.New(sys.Temporal, client.DefaultNamespace)
	var guard *ownhost.Guard
	if o.Demo {
		guard = ownhost.New(o.Listen, o.UIHosts...)
	}
	server, err := edge.New(edge.Options{
		Guard: guard, Databases: func() status.Databases { return databases(p, o, sys) }, Config: p.Config,
		Orchestrator: embedded{orch, sys.temporalServer}, StoreManager: sys.Stores, AuthWorker: auth, Workspaces: auth, Examine: sys.Stores.Examine,
		Backup: backups(p, o, sys).Make, Metrics: p.Metrics, Sentry: p.Sentry, Log: p.Log,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	p.Metrics.RegisterDatabases(func() []dbfile.Usage { return databases(p, o, sys).Usage })
	figures.Register(p.Metrics, sys.Stores, orch)
	g, ctx := errgroup.WithContext(ctx)
	polling := make(chan struct{})
	g.Go(func() error {
		return worker.Run(ctx, worker.Options{
			Temporal: sys.Temporal, Namespace: client.DefaultNamespace, Manager: sys.Stores, AuthWorker: auth,
			Config: p.Config, Log: p.Log, Sentry: p.Sentry, Metrics: p.Metrics, Ready: func() { close(polling) },
		})
	})
	g.Go(func() error { return server.Run(ctx, l) })
	g.Go(func() error {
		select {
		case err := <-sys.temporalServer.Failed():
			return fmt.Errorf("embedded temporal server: %w", err)
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error {
		select {
		case <-polling:
		case <-ctx.Done():
			return nil
		}
		if err := awaitWorkers(ctx, orch); err == nil && o.Ready != nil {
			o.Ready(sys)
		}
		return nil
	})
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// awaitWorkers waits until Temporal knows that the worker polls.
func awaitWorkers(ctx context.Context, orch *orchestrator.Client) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for orch.WorkersPolling(ctx) != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// startSyncBackend starts the demo's sync backend, unless there is no demo or the settings name another backend.
func startSyncBackend(ctx context.Context, p *process.Process, o Options, sys *System, s *stack) error {
	if !o.Demo || p.Config.SyncURL != "" {
		return nil
	}
	backend, err := demo.StartSyncBackend(ctx, demo.SyncBackendOptions{
		Listen: o.SyncListen, DatabasePath: o.path("sync.db"), Tokens: p.BypassTokens, Logger: p.Log,
	})
	if err != nil {
		return fmt.Errorf("demo sync backend: %w", err)
	}
	s.push(stopping(ctx, p, "demo sync backend not stopped cleanly", backend.Stop))
	sys.Sync, p.Config.SyncURL = backend, config.SyncURL(backend.URL())
	return nil
}

// stopping makes a closer of a stop function, which gets a second.
func stopping(ctx context.Context, p *process.Process, complaint string, stop func(context.Context) error) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := stop(ctx); err != nil {
			p.Log.Warn(complaint, zap.Error(err))
		}
	}
}

func startAuthWorker(ctx context.Context, p *process.Process, o Options, secret string, sys *System, s *stack) error {
	sys.AuthURL = string(p.Config.AuthWorkerURL)
	if !o.Demo {
		return nil
	}
	auth, err := demo.StartAuthWorker(ctx, demo.AuthWorkerOptions{
		Listen: o.AuthListen, DatabasePath: o.path("auth.db"), WebhookURL: sys.EdgeURL + "/webhooks/workspaces",
		WebhookSecret: secret, NewestWebhookSecret: func() string {
			newest, err := senderSecret(p.Config.Newest())
			if err != nil {
				return secret
			}
			return newest
		}, BypassToken: p.Config.BypassToken(), BypassTokens: p.BypassTokens, Logger: p.Log,
	})
	if err != nil {
		return fmt.Errorf("demo auth worker: %w", err)
	}
	s.push(stopping(ctx, p, "demo auth worker not stopped cleanly", auth.Stop))
	sys.Auth, sys.AuthURL, p.Config.AuthWorkerURL = auth, auth.URL(), config.URL(auth.URL())
	return nil
}

// senderSecret returns those of the edge's secrets that the demo's sender can use: the ones that WEBHOOK_AUTH accepts, without public keys.
// Windows of validity are left out, because only a receiver has them: the sender sends all signatures, and the edge accepts any that is
// valid.
func senderSecret(c *config.Config) (string, error) {
	var usable []string
	for _, s := range c.WebhookSecrets {
		entry := string(s)
		key, _, _ := strings.Cut(entry, "@")
		switch {
		case strings.HasPrefix(entry, "whpk_"):
		case strings.HasPrefix(entry, "whsec_"):
			if c.WebhookAuth != string(webhookauth.ModeSecret) {
				usable = append(usable, key)
			}
		case c.WebhookAuth != string(webhookauth.ModeSignature):
			usable = append(usable, entry)
		}
	}
	if len(usable) == 0 { // config.Load ensures that WEBHOOK_AUTH=secret has a secret
		return "", fmt.Errorf("WEBHOOK_SECRET has nothing that the demo's Auth Worker could use with WEBHOOK_AUTH=%s: add a whsec_ key, or start without --demo",
			c.WebhookAuth)
	}
	return strings.Join(usable, ","), nil
}

func startTemporal(ctx context.Context, p *process.Process, o Options, sys *System, s *stack) error {
	options := temporalserver.Options{
		Listen: o.TemporalListen, UIListen: o.UIListen, UIHosts: o.UIHosts, DatabasePath: o.path("temporal.db"),
		Schema: temporalserver.Schema(o.TemporalSchema), Retention: p.Config.TemporalRetention,
		SearchAttributes: orchestrator.SearchAttributes(), HistoryLimit: o.TemporalHistoryLimit, Logger: p.Log,
	}
	if p.Config.TemporalDB != "" {
		options.DatabasePath, options.DatabaseURL = "", string(p.Config.TemporalDB)
	}
	server, err := temporalserver.Start(ctx, options)
	if err != nil {
		return fmt.Errorf("embedded temporal server: %w", err)
	}
	s.push(server.Stop)
	sys.temporalServer = server
	sys.TemporalAddress = server.Addr()
	if ui := server.UIAddr(); ui != "" {
		sys.UIURL = "http://" + ui
	}
	sys.Temporal, err = client.DialContext(ctx, p.TemporalOptions(client.Options{
		HostPort: server.Addr(),
		ConnectionOptions: client.ConnectionOptions{
			DialOptions:     []grpc.DialOption{grpc.WithNoProxy()},
			GrpcCompression: &client.GrpcCompressionNone{}, // calls within this process take longer to compress than to send
		},
	}))
	if err != nil {
		return fmt.Errorf("temporal client: %w", err)
	}
	s.push(sys.Temporal.Close)
	return nil
}

// databases describes the databases of the process.
func databases(p *process.Process, o Options, sys *System) status.Databases {
	st := sys.temporalServer.Status()
	var d status.Databases
	if r := st.Replaced; r != nil {
		d.Replaced = &status.ReplacedDatabase{At: r.At, Version: r.Version, SetAside: r.SetAside}
	}
	if !o.Ephemeral {
		d.Usage = p.Usage(append([]dbfile.Database{{Name: "registry", Path: o.path(manager.RegistryFile)}}, st.Databases...)...)
	}
	return d
}

func (o Options) path(file string) string {
	if o.Ephemeral {
		return ""
	}
	return filepath.Join(o.DataDir, file)
}

// stack closes what was opened, in the reverse order.
type stack []func()

func (s *stack) push(f func()) { *s = append(*s, f) }

func (s *stack) close() {
	for _, f := range slices.Backward(*s) {
		f()
	}
}

// DemoEnviron adds the demo's secrets where the environment has none. It also returns the names of those that it added.
func DemoEnviron(environ []string) (withDefaults []string, added []string) {
	has := map[string]bool{}
	for _, name := range []string{"WEBHOOK_SECRET", "SERVER_BYPASS_TOKEN", "AUTH_WORKER_INTERNAL_URL"} {
		has[name] = config.Given(environ, name) || config.Given(environ, name+"_FILE")
	}
	withDefaults = append(withDefaults, environ...)
	for name, value := range map[string]string{"WEBHOOK_SECRET": DemoWebhookSecret, "SERVER_BYPASS_TOKEN": DemoBypassToken} {
		if !has[name] {
			withDefaults = append(withDefaults, name+"="+value)
			added = append(added, name)
		}
	}
	if !has["AUTH_WORKER_INTERNAL_URL"] {
		// The demo's own Auth Worker replaces it once it listens.
		withDefaults = append(withDefaults, "AUTH_WORKER_INTERNAL_URL=http://127.0.0.1")
	}
	return withDefaults, added
}
