package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/internal/cli/exit"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager/storetest"

	sdkworker "go.temporal.io/sdk/worker"
	"go.uber.org/zap"

	"storekeeper/activities"
	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	realedge "storekeeper/internal/edge"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/temporalserver"
	"storekeeper/internal/worker"
	"storekeeper/tests/proctest"
)

const (
	testToken  = "bypass-token-that-must-not-show"
	testAPIKey = "api-key-that-must-not-show"
)

// operator runs commands in process, away from the environment and the home directory of whoever runs the tests.
type operator struct {
	environ []string
}

func setup(t *testing.T, environ ...string) *operator {
	t.Helper()
	return &operator{append([]string{
		"USER=ann", "SERVER_BYPASS_TOKEN=" + testToken,
		"TEMPORAL_CONFIG_FILE=" + filepath.Join(t.TempDir(), "none.toml"),
	}, environ...)}
}

type outcome struct {
	exit           exit.Code
	stdout, stderr string
}

func (c *operator) run(t *testing.T, args ...string) outcome {
	t.Helper()
	return c.runContext(t.Context(), t, args...)
}

func (c *operator) runContext(ctx context.Context, t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Run(ctx, Options{
		Args: args, Stdout: &stdout, Stderr: &stderr, Environ: c.environ,
	})
	for _, secret := range []string{testToken, testAPIKey} {
		require.NotContains(t, stdout.String()+stderr.String(), secret, "a secret is shown by %v", args)
	}
	return outcome{exit.Code(code), stdout.String(), stderr.String()}
}

// fields decodes the one JSON object on stdout.
func (o outcome) fields(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(o.stdout), &v), "stdout: %s stderr: %s", o.stdout, o.stderr)
	return v
}

// errorCode decodes the one JSON object on stderr.
func (o outcome) errorCode(t *testing.T) string {
	t.Helper()
	var v struct {
		Error struct{ Code, Message string }
	}
	require.NoError(t, json.Unmarshal([]byte(o.stderr), &v), o.stderr)
	require.NotEmpty(t, v.Error.Message)
	return v.Error.Code
}

// closedPort is an address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	address, err := proctest.FreeAddress(t.Context())
	require.NoError(t, err)
	return address
}

// serve is an edge that answers as handler does.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// edgeOver serves the real edge over these stores, with the installation's Temporal, and returns its URL. It takes testToken and emitSecret.
func edgeOver(t *testing.T, stores realedge.StoreManager) string {
	t.Helper()
	return edgeBetween(t, installed(t).orch, stores)
}

// edgeBetween is edgeOver with a Temporal that may be away.
func edgeBetween(t *testing.T, temporal *orchestrator.Client, stores realedge.StoreManager) string {
	t.Helper()
	return edgeOf(t, realedge.Options{Orchestrator: temporal, StoreManager: stores})
}

// edgeOf is the edge of these options, to which all that is missing is added.
func edgeOf(t *testing.T, o realedge.Options) string {
	t.Helper()
	cfg, err := config.Load([]string{
		"SERVER_BYPASS_TOKEN=" + testToken, "WEBHOOK_SECRET=" + emitSecret, "STORE_MANAGER_URL=http://127.0.0.1",
	}, config.RoleWebhook)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	o.Config, o.Metrics, o.Log = cfg, metrics, zap.NewNop()
	e, err := realedge.New(o)
	require.NoError(t, err)
	return serve(t, e.Handler().ServeHTTP)
}

// installation is a real Temporal server with a real worker and a registry in memory; only the Auth Worker is a fake.
type installation struct {
	address    string
	sdk        client.Client
	orch       *orchestrator.Client
	registry   *storetest.Database
	authWorker *fakeAuthWorker
	// Reconcile runs compare a list and a registry of their own, so that they do not meddle with other tests.
	reconcileList *fakeAuthWorker
	reconciled    *storetest.Database
	stop          []func()
}

var shared struct {
	once sync.Once
	installation
	err error
}

// installed returns the one installation of the test binary.
func installed(t *testing.T) *installation {
	t.Helper()
	shared.once.Do(func() { shared.err = shared.start() })
	require.NoError(t, shared.err)
	return &shared.installation
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range slices.Backward(shared.stop) {
		stop()
	}
	os.Exit(code)
}

func (i *installation) start() error {
	ctx := context.Background()
	server, err := temporalserver.Start(ctx, temporalserver.Options{
		Listen: "127.0.0.1:0", SearchAttributes: orchestrator.SearchAttributes(),
	})
	if err != nil {
		return err
	}
	i.stop = append(i.stop, server.Stop)
	i.address = server.Addr()
	log := telemetry.SDKLogger(zap.NewNop())
	if i.sdk, err = client.Dial(client.Options{HostPort: i.address, Logger: log}); err != nil {
		return err
	}
	i.stop = append(i.stop, i.sdk.Close)
	i.orch = orchestrator.New(i.sdk, client.DefaultNamespace)
	if i.registry, err = storetest.TryOpen(ctx, storetest.Settings{}); err != nil {
		return err
	}
	if i.reconciled, err = storetest.TryOpen(ctx, storetest.Settings{}); err != nil {
		return err
	}
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	if err != nil {
		return err
	}
	i.authWorker = &fakeAuthWorker{listed: map[string]bool{}}
	i.reconcileList = &fakeAuthWorker{listed: map[string]bool{}}
	w := sdkworker.New(i.sdk, contract.TaskQueue, sdkworker.Options{MaxHeartbeatThrottleInterval: time.Second})
	worker.Register(w, worker.ActivitySet{
		Stores:    &activities.Stores{Manager: i.registry, GracePeriod: time.Hour, Metrics: metrics},
		Authority: &activities.Authority{AuthWorker: i.authWorker},
		Reconcile: &activities.Reconcile{
			AuthWorker: i.reconcileList, Manager: i.reconciled, Accepted: i.reconciled, Lifecycles: i.orch, Metrics: metrics,
			Guard: activities.GuardLimits{MaxDeletePercent: 10, MaxDeletes: 50},
		},
	})
	if err := w.Start(); err != nil {
		return err
	}
	i.stop = append(i.stop, func() { _, _ = i.registry.Close(), i.reconciled.Close() }, w.Stop)
	return nil
}

// fakeAuthWorker lists what the tests put in.
type fakeAuthWorker struct {
	mu     sync.Mutex
	listed map[string]bool
	// gate, unless nil, keeps a list waiting until it is closed.
	gate chan struct{}
	// err fails each list.
	err error
	// waiting counts the lists that wait for the gate.
	waiting atomic.Int32
}

func (f *fakeAuthWorker) list(id string, listed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listed[id] = listed
}

func (f *fakeAuthWorker) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// hold keeps lists waiting until release is called.
func (f *fakeAuthWorker) hold() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gate := make(chan struct{})
	f.gate = gate
	return sync.OnceFunc(func() { close(gate) })
}

// Absent implements activities.AbsenceChecker.
func (f *fakeAuthWorker) Absent(_ context.Context, id string) (authclient.Absence, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return authclient.Absence{Absent: !f.listed[id], ListEntries: len(f.listed), FetchedAt: time.Now()}, nil
}

// Sorted implements activities.Lister: the real client asks a server of its own.
func (f *fakeAuthWorker) Sorted(ctx context.Context, progress func(int)) (*authclient.Listing, error) {
	f.mu.Lock()
	gate, workspaces := f.gate, []map[string]string{}
	for id, listed := range f.listed {
		if listed {
			workspaces = append(workspaces, map[string]string{"instanceId": id})
		}
	}
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if gate != nil {
		f.waiting.Add(1)
		defer f.waiting.Add(-1)
		for open := false; !open; {
			progress(0) // whoever does not heartbeat does not hear that it is to end
			select {
			case <-gate:
				open = true
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"workspaces": workspaces})
	}))
	defer server.Close()
	c, err := authclient.New(authclient.Options{BaseURL: server.URL, Token: httpclient.Fixed("token")})
	if err != nil {
		return nil, err
	}
	return c.Sorted(ctx, progress)
}
