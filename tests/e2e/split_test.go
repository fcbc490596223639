package e2e_test

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

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/demo"
	"storekeeper/internal/edge"
	"storekeeper/internal/figures"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/manager"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/process"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager/monitor"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/temporalserver"
	"storekeeper/internal/worker"
	"storekeeper/tests/harness"
)

// split is an installation whose roles are apart, as with the separate binaries: the store manager is asked over HTTP, and
// Temporal can go away and come back at its address.
type split struct {
	*harness.Installation
	process  *process.Process
	temporal *temporalserver.Server
	address  string
	database string
	client   client.Client
	manager  *storehttp.Client
	auth     *authclient.Client
	// Where the store manager and the Auth Worker answer, for workers in processes of their own.
	managerURL, authURL string
}

func startSplit(t *testing.T, settings ...string) *split {
	t.Helper()
	s := &split{database: filepath.Join(t.TempDir(), "temporal.db"), address: "127.0.0.1:0"}
	environ, _ := standalone.DemoEnviron(append(settings, "WORKSPACE_RECONCILE_INTERVAL_MS=86400000", "AUTH_LIST_MAX_AGE=1s", "STORE_MANAGER_URL=http://127.0.0.1"))
	cfg, err := config.Load(environ, config.RoleWebhook)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	s.process = &process.Process{Role: config.RoleStoreManager, Config: cfg, Log: zap.NewNop(), Metrics: metrics}

	registry, err := storetest.TryOpen(t.Context(), storetest.Settings{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	stores, err := monitor.Supervise(t.Context(), registry.Registry, monitor.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stores.Close()) })
	api := httptest.NewServer(storehttp.Handler(storehttp.Options{
		Manager: stores, Memory: registry, Watcher: stores, Ping: stores.Ping, Tokens: httpserver.FixedTokens(standalone.DemoBypassToken),
	}))
	t.Cleanup(api.Close)
	s.managerURL = api.URL
	s.manager, err = storehttp.NewClient(api.URL, httpclient.Fixed(standalone.DemoBypassToken), nil)
	require.NoError(t, err)

	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	authWorker, err := demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{
		WebhookURL: "http://" + l.Addr().String() + "/webhooks/workspaces", WebhookSecret: standalone.DemoWebhookSecret,
		BypassToken: standalone.DemoBypassToken,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = authWorker.Stop(context.Background()) })
	s.authURL = authWorker.URL()
	s.auth, err = authclient.New(authclient.Options{BaseURL: authWorker.URL(), Token: httpclient.Fixed(standalone.DemoBypassToken), ListMaxAge: cfg.AuthListMaxAge})
	require.NoError(t, err)

	s.startTemporal(t)
	s.client, err = client.NewLazyClient(s.process.TemporalOptions(client.Options{HostPort: s.address}))
	require.NoError(t, err)
	t.Cleanup(s.client.Close)
	s.Installation = &harness.Installation{T: t, System: &standalone.System{
		EdgeURL: "http://" + l.Addr().String(), AuthURL: authWorker.URL(), Auth: authWorker, Stores: &manager.Manager{Manager: stores, Memory: registry}, Temporal: s.client,
	}, Orchestrator: orchestrator.New(s.client, client.DefaultNamespace)}
	figures.Register(metrics, s.manager, s.Orchestrator)
	server, err := edge.New(edge.Options{
		Config: cfg, Orchestrator: s.Orchestrator, StoreManager: s.manager, Metrics: metrics, Log: zap.NewNop(),
	})
	require.NoError(t, err)
	s.run(t, func(ctx context.Context) error { return server.Run(ctx, l) })
	return s
}

// run runs a role until stop is called, or the test ends.
func (s *split) run(t *testing.T, role func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- role(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a role ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (s *split) startWorker(t *testing.T) (stop func()) {
	t.Helper()
	return s.run(t, func(ctx context.Context) error {
		return worker.Run(ctx, worker.Options{
			Temporal: s.client, Namespace: client.DefaultNamespace, Manager: s.manager, AuthWorker: s.auth,
			Config: s.process.Config, Log: zap.NewNop(), Metrics: s.process.Metrics,
		})
	})
}

func (s *split) startTemporal(t *testing.T) {
	t.Helper()
	var err error
	s.temporal, err = temporalserver.Start(t.Context(), temporalserver.Options{
		Listen: s.address, DatabasePath: s.database, SearchAttributes: orchestrator.SearchAttributes(),
	})
	require.NoError(t, err)
	s.address = s.temporal.Addr()
	t.Cleanup(s.temporal.Stop)
}

func TestTheRolesWorkApart(t *testing.T) {
	t.Parallel()
	s := startSplit(t, "WEBHOOK_WAIT=30s")
	require.Equal(t, http.StatusServiceUnavailable, s.Do(http.MethodGet, s.EdgeURL+"/readyz", "").Code, "no worker yet")
	s.startWorker(t)
	s.Eventually("ready", func() bool { return s.Do(http.MethodGet, s.EdgeURL+"/readyz", "").Code == http.StatusOK })
	user := s.SignUp()
	s.Eventually("monitored", func() bool { return s.Monitored(user.Default) })
	s.Eventually("healthy", func() bool { return s.Do(http.MethodGet, s.EdgeURL+"/health", "").Code == http.StatusOK })
}

func TestAnEventIsDurableWhileNoWorkerRuns(t *testing.T) {
	t.Parallel()
	s := startSplit(t, "WEBHOOK_WAIT=100ms")
	id := uuid.NewString()
	require.Equal(t, http.StatusAccepted, s.Webhook("workspace.created", id, time.Now()).Code)
	s.startWorker(t)
	s.Eventually("monitored", func() bool { return s.Monitored(id) })
}

func TestWhileTemporalIsAwayEventsAreRefusedAndAReconcileFollowsItsReturn(t *testing.T) {
	t.Parallel()
	s := startSplit(t, "WEBHOOK_WAIT=500ms")
	s.startWorker(t)
	s.Settle()
	s.temporal.Stop()
	id := s.SignUpSilently()
	r := s.Webhook("workspace.created", id, time.Now())
	require.Equal(t, http.StatusServiceUnavailable, r.Code, r.Body)
	require.NotEmpty(t, r.Header.Get("Retry-After"))
	health := s.Do(http.MethodGet, s.EdgeURL+"/health", "")
	require.Equal(t, http.StatusServiceUnavailable, health.Code)
	require.Contains(t, health.Body, "Temporal can't be reached")
	require.Equal(t, http.StatusServiceUnavailable, s.Do(http.MethodGet, s.EdgeURL+"/readyz", "").Code)

	s.startTemporal(t)
	s.Eventually("the refused workspace is found without anybody asking", func() bool { return s.Monitored(id) })
}

func TestAWorkerThatStopsHandsItsReconcileOver(t *testing.T) {
	t.Parallel()
	s := startSplit(t)
	stop := s.startWorker(t)
	s.Settle()
	s.Auth.SetFault(demo.FaultSlow)
	run, err := s.Orchestrator.StartReconcile(t.Context(), reconcileInput)
	require.NoError(t, err)
	s.Eventually("the list is being fetched", func() bool {
		d, err := s.client.DescribeWorkflowExecution(t.Context(), "reconcile", run.ID())
		return err == nil && len(d.PendingActivities) == 1 && d.PendingActivities[0].State == enums.PENDING_ACTIVITY_STATE_STARTED
	})
	stop()
	d, err := s.client.DescribeWorkflowExecution(t.Context(), "reconcile", run.ID())
	require.NoError(t, err)
	require.Len(t, d.PendingActivities, 1)
	require.Equal(t, enums.PENDING_ACTIVITY_STATE_SCHEDULED, d.PendingActivities[0].State, "nobody waits for a heartbeat of the stopped worker")

	s.Auth.SetFault(demo.FaultNone)
	s.startWorker(t)
	_, err = run.Wait(t.Context())
	require.NoError(t, err)
}

func TestTheScheduleFollowsTheSettingsAndKeepsAnOperatorsPause(t *testing.T) {
	t.Parallel()
	s := startSplit(t)
	handle := s.client.ScheduleClient().GetHandle(t.Context(), "workspace-reconcile")
	every := func() time.Duration {
		d, err := handle.Describe(t.Context())
		require.NoError(t, err)
		return d.Schedule.Spec.Intervals[0].Every
	}
	paused := func() bool {
		schedule, err := s.Orchestrator.ReconcileSchedule(t.Context())
		require.NoError(t, err)
		return schedule.Paused
	}
	require.False(t, paused(), "there is none yet")
	require.NoError(t, s.Orchestrator.EnsureSchedule(t.Context(), time.Hour, true))
	require.NoError(t, s.Orchestrator.EnsureSchedule(t.Context(), time.Hour, true), "a second worker starts")
	require.NoError(t, s.Orchestrator.EnsureSchedule(t.Context(), 2*time.Hour, true), "a worker starts with another interval")
	require.Equal(t, 2*time.Hour, every())
	require.False(t, paused())

	require.NoError(t, s.Orchestrator.EnsureSchedule(t.Context(), 2*time.Hour, false))
	require.True(t, paused(), "disabled")
	require.NoError(t, s.Orchestrator.EnsureSchedule(t.Context(), 2*time.Hour, true))
	require.False(t, paused(), "enabled again")

	require.NoError(t, handle.Pause(t.Context(), client.SchedulePauseOptions{Note: "maintenance"}))
	require.NoError(t, s.Orchestrator.EnsureSchedule(t.Context(), 3*time.Hour, true))
	require.True(t, paused(), "an operator's pause stays")
	require.Equal(t, 3*time.Hour, every())
	require.NoError(t, s.Orchestrator.EnsureSchedule(t.Context(), 3*time.Hour, false))
	require.NoError(t, s.Orchestrator.EnsureSchedule(t.Context(), 3*time.Hour, true))
	require.True(t, paused(), "and outlives a time of being disabled")
}
