package alerts_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"storekeeper/internal/config"
	"storekeeper/internal/demo"
	"storekeeper/internal/edge"
	"storekeeper/internal/figures"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/manager"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/process"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/temporalserver"
	"storekeeper/internal/worker"
	"storekeeper/tests/harness"
)

// apart is an installation whose roles are apart, each with metrics of its own.
type apart struct {
	*harness.Installation
	temporal            *temporalserver.Server
	sync                *demo.SyncBackend
	api                 *httptest.Server // of the store manager
	worker, storeKeeper *process.Process
	workerURL           string
	startWorker         func()
}

// tokens are those of each role where it is not the right one.
type tokens struct{ edge, worker, sync string }

func newProcess(t *testing.T, role config.Role, settings ...string) *process.Process {
	t.Helper()
	environ, _ := standalone.DemoEnviron(append([]string{
		"WORKSPACE_RECONCILE_INTERVAL_MS=86400000", "AUTH_LIST_MAX_AGE=1s", "STORE_MANAGER_URL=http://127.0.0.1", "WEBHOOK_WAIT=100ms",
	}, settings...))
	cfg, err := config.Load(environ, role)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	return &process.Process{Role: role, Config: cfg, Log: zap.NewNop(), Metrics: metrics}
}

func or(token string) string {
	if token != "" {
		return token
	}
	return standalone.DemoBypassToken
}

func startApart(t *testing.T, wrong tokens) *apart {
	t.Helper()
	a := &apart{}
	var err error
	a.sync, err = demo.StartSyncBackend(t.Context(), demo.SyncBackendOptions{Token: or(wrong.sync)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.sync.Stop(context.Background()) })
	a.temporal, err = temporalserver.Start(t.Context(), temporalserver.Options{
		Listen: "127.0.0.1:0", DatabasePath: filepath.Join(t.TempDir(), "temporal.db"), SearchAttributes: orchestrator.SearchAttributes(),
	})
	require.NoError(t, err)
	t.Cleanup(a.temporal.Stop)

	a.storeKeeper = newProcess(t, config.RoleStoreManager, "LIVESTORE_SYNC_URL="+a.sync.URL())
	stores, err := manager.Open(t.Context(), a.storeKeeper, filepath.Join(t.TempDir(), "stores.db"))
	require.NoError(t, err)
	t.Cleanup(stores.Close)
	figures.Register(a.storeKeeper.Metrics, stores, nil)
	a.api = httptest.NewServer(stores.Handler(a.storeKeeper, nil))
	t.Cleanup(a.api.Close)

	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	auth, err := demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{
		WebhookURL: "http://" + l.Addr().String() + "/webhooks/workspaces", WebhookSecret: standalone.DemoWebhookSecret, BypassToken: standalone.DemoBypassToken,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = auth.Stop(context.Background()) })

	edgeProcess := newProcess(t, config.RoleWebhook, "SERVER_BYPASS_TOKEN="+or(wrong.edge))
	temporalOf := func(p *process.Process) client.Client {
		c, err := client.NewLazyClient(p.TemporalOptions(client.Options{HostPort: a.temporal.Addr()}))
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c
	}
	managerOf := func(token string) *storehttp.Client {
		c, err := storehttp.NewClient(a.api.URL, httpclient.Fixed(token), nil)
		require.NoError(t, err)
		t.Cleanup(c.CloseIdleConnections)
		return c
	}
	c, m := temporalOf(edgeProcess), managerOf(or(wrong.edge))
	orch := orchestrator.New(c, client.DefaultNamespace)
	figures.Register(edgeProcess.Metrics, m, orch)
	server, err := edge.New(edge.Options{Config: edgeProcess.Config, Orchestrator: orch, StoreManager: m, Metrics: edgeProcess.Metrics, Log: zap.NewNop()})
	require.NoError(t, err)
	goUntilTheEnd(t, func(ctx context.Context) error { return server.Run(ctx, l) })
	a.Installation = &harness.Installation{T: t, Orchestrator: orch, System: &standalone.System{
		EdgeURL: "http://" + l.Addr().String(), AuthURL: auth.URL(), Auth: auth, Sync: a.sync, Stores: stores, Temporal: c,
	}}

	a.worker = newProcess(t, config.RoleWorker, "SERVER_BYPASS_TOKEN="+or(wrong.worker))
	workerTemporal, workerManager := temporalOf(a.worker), managerOf(standalone.DemoBypassToken)
	figures.Register(a.worker.Metrics, workerManager, orchestrator.New(workerTemporal, client.DefaultNamespace))
	lists, err := a.worker.AuthWorker(auth.URL(), "")
	require.NoError(t, err)
	workerMetrics := httptest.NewServer(a.worker.Metrics.Handler())
	t.Cleanup(workerMetrics.Close)
	a.workerURL = workerMetrics.URL
	a.startWorker = func() {
		goUntilTheEnd(t, func(ctx context.Context) error {
			return worker.Run(ctx, worker.Options{
				Temporal: workerTemporal, Namespace: client.DefaultNamespace, Manager: workerManager, AuthWorker: lists,
				Config: a.worker.Config, Log: zap.NewNop(), Metrics: a.worker.Metrics,
			})
		})
	}
	return a
}

// goUntilTheEnd runs a role until the test ends.
func goUntilTheEnd(t *testing.T, role func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := role(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a role ended with: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// scrape scrapes all three.
func (a *apart) scrape() scrape {
	a.T.Helper()
	at := time.Now()
	get := func(url, instance string) scrape {
		return parse(a.T, a.Do(http.MethodGet, url, "").Body, instance, at)
	}
	all := []scrape{get(a.EdgeURL+"/metrics", "edge"), get(a.workerURL, "worker")}
	rec := httptest.NewRecorder()
	a.storeKeeper.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	return together(append(all, parse(a.T, rec.Body.String(), "storemanager", at))...)
}
