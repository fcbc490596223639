package manager_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/config"
	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
	"storekeeper/internal/manager"
	"storekeeper/internal/process"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/telemetry"
)

func openStores(t *testing.T, settings ...string) *manager.Manager {
	t.Helper()
	cfg, err := config.Load(append(settings, "SERVER_BYPASS_TOKEN=the-token"), config.RoleStoreManager)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	p := &process.Process{Config: cfg, Log: zap.NewNop(), Metrics: metrics}
	stores, err := manager.Open(t.Context(), p, t.TempDir()+"/stores.db")
	require.NoError(t, err)
	t.Cleanup(stores.Close)
	return stores
}

func TestTheStoreManagerMonitorsAsTheSettingsSay(t *testing.T) {
	t.Parallel()
	backend, err := demo.StartSyncBackend(t.Context(), demo.SyncBackendOptions{Token: "the-token"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Stop(context.Background()) })
	bodies := make(chan string, 10)
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
	}))
	t.Cleanup(sink.Close)
	stores := openStores(t, "STORE_IDS=pinned-store", "STORE_own-store_SYNC_URL="+backend.URL()+"/own", "LIVESTORE_SYNC_URL="+backend.URL(),
		"EVENT_SINK_URL="+sink.URL, "EVENT_SINK_SECRET=whsec_"+strings.Repeat("QUJD", 8))
	_, err = stores.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "own-store", At: time.Now()})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		o, err := stores.Overview(t.Context())
		return err == nil && o.Connections[storemanager.ConnectionConnected] == 2
	}, 20*time.Second, 5*time.Millisecond)

	conn, err := livestore.Dial(t.Context(), livestore.Options{
		URL: backend.URL(), StoreID: "pinned-store", Payload: map[string]string{"serverBypass": "the-token"},
	})
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.Push(t.Context(), "", []livestore.Event{{Name: "v1.Test", Args: []byte(`{}`), Seq: 1}}))
	require.Contains(t, <-bodies, `"storeId":"pinned-store"`)
}

func TestANodeServerIsDrivenWhenTheSettingsSaySo(t *testing.T) {
	t.Parallel()
	posts := make(chan string, 10)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"stores":[]}`)
			return
		}
		body, _ := io.ReadAll(r.Body)
		posts <- r.Header.Get("X-Webhook-Secret") + " " + string(body)
		_, _ = io.WriteString(w, `{"status":"monitoring_started"}`)
	}))
	t.Cleanup(node.Close)
	stores := openStores(t, "STORE_MANAGER_KIND=node", "NODE_SERVER_URL="+node.URL, "NODE_SERVER_WEBHOOK_SECRET=node-secret")
	_, err := stores.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "some-store", At: time.Now()})
	require.NoError(t, err)
	post := <-posts
	require.Contains(t, post, "node-secret ")
	require.Contains(t, post, `"instanceId":"some-store"`)
}

func TestMetricsOfReconciliationSayWhetherTheNewestListWasBelieved(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load([]string{"SERVER_BYPASS_TOKEN=the-token"}, config.RoleStoreManager)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	stores, err := manager.Open(t.Context(), &process.Process{Config: cfg, Log: zap.NewNop(), Metrics: metrics}, "")
	require.NoError(t, err)
	t.Cleanup(stores.Close)
	scrape := func() string {
		w := httptest.NewRecorder()
		metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	at := time.Unix(1_700_000_000, 0)
	record := func(failure, report string) {
		at = at.Add(time.Minute)
		require.NoError(t, stores.RecordReconcile(t.Context(), storemanager.ReconcileRun{
			RunID: at.String(), StartedAt: at, CompletedAt: at, Error: failure, Report: []byte(report),
		}))
	}
	for _, unknown := range []string{"reconcile_implausible", "reconcile_drift", "reconcile_failing", "reconcile_last_success"} {
		require.NotContains(t, scrape(), unknown, "nothing is known of it yet")
	}
	record("", `{"missing":3,"orphaned":1,"firstSightings":1,"quarantinedCount":1,"failedAdds":3,"failedRemovals":1}`)
	body := scrape()
	for _, want := range []string{
		`storekeeper_reconcile_drift{kind="missing"} 3`,
		`storekeeper_reconcile_drift{kind="orphaned"} 2`,
		`storekeeper_reconcile_drift{kind="quarantined"} 1`,
		`storekeeper_reconcile_failing_stores 4`,
		`storekeeper_reconcile_implausible 0`,
		`storekeeper_reconcile_last_success_timestamp_seconds 1.70000006e+09`,
	} {
		require.Contains(t, body, want+"\n")
	}
	for _, step := range []struct{ failure, report, want string }{
		{"the workspace list is damaged: 3 entries where 4 were promised", `{}`, "1"},
		{"the auth worker took too long", `{}`, "1"}, // no list came
		{"", `{}`, "0"},
		{"", `{"guard":"the list is empty"}`, "1"},
		{"", `{}`, "0"},
		{"", `{"guard":"7 removals are too many","guardVerdict":"held"}`, "1"},
		{"the auth worker took too long", `{}`, "1"},
		{"", `{}`, "0"},
		{"the auth worker took too long", `{}`, "0"},
		{"the auth worker answered with status 502: the workspace list is damaged", `{}`, "0"}, // no list came
	} {
		record(step.failure, step.report)
		require.Contains(t, scrape(), "storekeeper_reconcile_implausible "+step.want+"\n", "%+v", step)
	}
	require.Contains(t, scrape(), `storekeeper_reconcile_drift{kind="missing"} 0`+"\n")
}

func TestTheAPITellsOfChangesOfConnectionsAndPingsWhatMonitors(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load([]string{"SERVER_BYPASS_TOKEN=the-token"}, config.RoleStoreManager)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	p := &process.Process{Config: cfg, Log: zap.NewNop(), Metrics: metrics}
	stores, err := manager.Open(t.Context(), p, "")
	require.NoError(t, err)
	t.Cleanup(stores.Close)
	api := httptest.NewServer(stores.Handler(p))
	t.Cleanup(api.Close)
	client, err := storehttp.NewClient(api.URL, "the-token", nil)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	enough := errors.New("enough")
	require.ErrorIs(t, client.Watch(t.Context(), "", func(c storemanager.Change) error {
		require.True(t, c.Lost)
		return enough
	}), enough)
	n, err := client.Count(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}
