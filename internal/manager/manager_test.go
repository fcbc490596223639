package manager_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/config"
	"storekeeper/internal/dbfile"
	"storekeeper/internal/demo"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/livestore"
	"storekeeper/internal/manager"
	"storekeeper/internal/process"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/telemetry"
	"storekeeper/tests/sentrytest"
)

func newProcess(t *testing.T, log *zap.Logger, settings ...string) *process.Process {
	t.Helper()
	cfg, err := config.Load(append(settings, "SERVER_BYPASS_TOKEN=the-token"), config.RoleStoreManager)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	return &process.Process{Role: config.RoleStoreManager, Config: cfg, Log: log, Metrics: metrics}
}

func openStores(t *testing.T, p *process.Process) *manager.Manager {
	t.Helper()
	stores, err := manager.Open(t.Context(), p, t.TempDir()+"/stores.db")
	require.NoError(t, err)
	t.Cleanup(stores.Close)
	return stores
}

// serve puts a client in front of the API of a store manager.
func serve(t *testing.T, p *process.Process, stores *manager.Manager) *storehttp.Client {
	t.Helper()
	api := httptest.NewServer(stores.Handler(p, nil))
	t.Cleanup(api.Close)
	client, err := storehttp.NewClient(api.URL, httpclient.Fixed("the-token"), nil)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
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
	stores := openStores(t, newProcess(t, zap.NewNop(), "STORE_IDS=pinned-store", "STORE_own-store_SYNC_URL="+backend.URL()+"/own", "LIVESTORE_SYNC_URL="+backend.URL(),
		"EVENT_SINK_URL="+sink.URL, "EVENT_SINK_SECRET=whsec_"+strings.Repeat("QUJD", 8)))
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

func TestAnErrorOfOpeningNamesThePathOnceAndLetsGoOfTheRegistry(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set    func(*config.Config)
		damage func(t *testing.T, path string)
		want   string
	}{
		"the file is none of ours": {
			damage: func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte("garbage"), 0o600)) },
			want:   "registry: PATH: it is damaged, or no registry",
		},
		"the mark can't be read": {
			damage: func(t *testing.T, path string) {
				require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(path), "registry-mark-of-stores.db"), 0o700))
			},
			want: "registry: PATH: mark of the registry: ",
		},
		"the sink has no secret":     {set: func(c *config.Config) { c.EventSinkURL = "http://127.0.0.1" }, want: "EVENT_SINK_URL: event sink secret: "},
		"the Node server has no URL": {set: func(c *config.Config) { c.StoreManagerKind = config.KindNode }, want: "node server URL: "},
		"an id can't be pinned":      {set: func(c *config.Config) { c.StoreIDs = config.IDs{"/"} }, want: "STORE_IDS: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, path := newProcess(t, zap.NewNop()), filepath.Join(t.TempDir(), "stores.db")
			if test.damage != nil {
				test.damage(t, path)
			}
			if test.set != nil {
				test.set(p.Config)
			}
			_, err := manager.Open(t.Context(), p, path)
			require.ErrorContains(t, err, strings.ReplaceAll(test.want, "PATH", path))
			require.LessOrEqual(t, strings.Count(err.Error(), path+":"), 1, err)
			lock, err := dbfile.Lock(path)
			require.NoError(t, err)
			require.NoError(t, lock.Close())
		})
	}
}

func TestTheLogSaysWhichRegistryWasOpenedAndLost(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	path := filepath.Join(link, "stores.db")
	open := func() *manager.Manager {
		stores, err := manager.Open(t.Context(), newProcess(t, zap.New(core)), path)
		require.NoError(t, err)
		return stores
	}
	stores := open()
	_, err := stores.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "some-store", At: time.Now()})
	require.NoError(t, err)
	stores.Close()
	require.NoError(t, os.Truncate(path, 0))
	logs.TakeAll()
	stores = open()
	require.NoError(t, stores.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ann"}))
	stores.Close()

	fields := map[string]map[string]any{}
	for _, line := range logs.TakeAll() {
		fields[line.Message] = line.ContextMap()
	}
	require.Equal(t, path, fields["registry opened"]["path"])
	lost := fields["the registry was lost: no store is stopped before an operator has agreed (starter acknowledge)"]
	require.Equal(t, filepath.Join(dir, "stores.db"), lost["path"])
	require.Contains(t, lost["found"], "the registry is new")
	require.Equal(t, map[string]any{"actor": "ann", "reason": "known"},
		fields["the loss of the registry is acknowledged, stores may be stopped again"])

	require.NoError(t, os.Mkdir(filepath.Join(dir, "registry-mark-of-another.db"), 0o700))
	_, err = manager.Open(t.Context(), newProcess(t, zap.New(core)), filepath.Join(dir, "another.db"))
	require.Error(t, err)
	require.Zero(t, logs.FilterMessage("registry opened").Len(), "it was not")
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
	p := newProcess(t, zap.NewNop(), "STORE_MANAGER_KIND=node", "NODE_SERVER_URL="+node.URL, "NODE_SERVER_WEBHOOK_SECRET=node-secret")
	stores := openStores(t, p)
	_, err := stores.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "some-store", At: time.Now()})
	require.NoError(t, err)
	post := <-posts
	require.Contains(t, post, "node-secret ")
	require.Contains(t, post, `"instanceId":"some-store"`)

	client := serve(t, p, stores)
	require.ErrorContains(t, client.Watch(t.Context(), "", nil), "this store manager does not tell of changes")
}

func TestAStoreManagerWhoseNodeServerRefusesTheSecretIsNotReady(t *testing.T) {
	t.Parallel()
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet { // a list needs no secret
			_, _ = io.WriteString(w, `{"stores":[]}`)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(node.Close)
	p := newProcess(t, zap.NewNop(), "STORE_MANAGER_KIND=node", "NODE_SERVER_URL="+node.URL, "NODE_SERVER_WEBHOOK_SECRET=wrong-secret")
	stores := openStores(t, p)
	require.Error(t, stores.Ping(t.Context()))
	w := httptest.NewRecorder()
	stores.Handler(p, nil).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}

func TestTheAPITellsOfChangesOfConnectionsAndPingsWhatMonitors(t *testing.T) {
	t.Parallel()
	p := newProcess(t, zap.NewNop())
	client := serve(t, p, openStores(t, p))
	enough := errors.New("enough")
	require.ErrorIs(t, client.Watch(t.Context(), "", func(c storemanager.Change) error {
		require.True(t, c.Lost)
		return enough
	}), enough)
	n, err := client.Count(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestTheLossOfTheRegistryIsToldInSentryOnceAndItsEndOnce(t *testing.T) {
	t.Parallel()
	fake := sentrytest.Start(t)
	path := filepath.Join(t.TempDir(), "stores.db")
	open := func() *manager.Manager {
		p := newProcess(t, zap.NewNop())
		var err error
		p.Sentry, err = telemetry.NewSentry(telemetry.SentryOptions{DSN: fake.DSN})
		require.NoError(t, err)
		t.Cleanup(p.Sentry.Close)
		stores, err := manager.Open(t.Context(), p, path)
		require.NoError(t, err)
		t.Cleanup(func() { require.True(t, p.Sentry.Flush(30*time.Second)) })
		return stores
	}
	first := open()
	_, err := first.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "store-1", At: time.Now()})
	require.NoError(t, err)
	first.Close()
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		require.True(t, os.Remove(file) == nil || file != path)
	}

	told := func(n int) func() bool {
		return func() bool { return len(fake.Events()) == n }
	}
	second := open()
	require.Eventually(t, told(1), 30*time.Second, time.Millisecond)
	require.Contains(t, fake.Events()[0].Text(), "the registry was lost, no store is stopped until somebody acknowledges it: ")
	second.Close()
	third := open()
	require.Never(t, func() bool { return len(fake.Events()) > 1 }, 1500*time.Millisecond, 10*time.Millisecond, "it was told before this start")
	require.NoError(t, third.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "restored", Actor: "alice"}))
	require.Eventually(t, told(2), 30*time.Second, time.Millisecond)
	require.Contains(t, fake.Events()[1].Text(), "the loss of the registry is acknowledged: stores may be stopped again after ")
	third.Close()
}
