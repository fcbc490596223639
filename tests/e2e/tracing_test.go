package e2e_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"storekeeper/contract"
	"storekeeper/internal/cli"
	"storekeeper/internal/config"
	"storekeeper/internal/demo"
	"storekeeper/internal/edge"
	"storekeeper/internal/livestore"
	"storekeeper/internal/manager"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/process"
	"storekeeper/internal/standalone"
	"storekeeper/internal/temporalserver"
	"storekeeper/tests/harness"
	"storekeeper/tests/proctest"
)

// fakeCollector takes spans over OTLP (HTTP, protobuf), as OpenTelemetry's collector does, and keeps them.
type fakeCollector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []span
	raw   []byte
}

// span is a span and the process that it is of.
type span struct {
	*tracepb.Span
	service string
}

func (s span) trace() string  { return hex.EncodeToString(s.TraceId) }
func (s span) id() string     { return hex.EncodeToString(s.SpanId) }
func (s span) parent() string { return hex.EncodeToString(s.ParentSpanId) }

func (s span) attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

func startFakeCollector(t *testing.T) *fakeCollector {
	t.Helper()
	c := &fakeCollector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request collectorpb.ExportTraceServiceRequest
		if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, &request) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw = append(c.raw, body...)
		for _, from := range request.ResourceSpans {
			var service string
			for _, a := range from.Resource.Attributes {
				if a.Key == "service.name" {
					service = a.Value.GetStringValue()
				}
			}
			for _, scope := range from.ScopeSpans {
				for _, s := range scope.Spans {
					c.spans = append(c.spans, span{s, service})
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *fakeCollector) all() []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

func (c *fakeCollector) of(trace string) (found []span) {
	return slices.DeleteFunc(c.all(), func(s span) bool { return s.trace() != trace })
}

// runRole is cmd/webhook, cmd/worker or cmd/storemanager.
func runRole(role config.Role) {
	run := map[config.Role]func(context.Context, *process.Process) error{
		config.RoleStoreManager: func(ctx context.Context, p *process.Process) error { return manager.Run(ctx, p, manager.Restore{}) },
		config.RoleWorker:       func(ctx context.Context, p *process.Process) error { return harness.RunWorker(ctx, p) },
		config.RoleWebhook:      runEdge,
	}[role]
	environ, _ := standalone.DemoEnviron(os.Environ())
	process.Main(process.Command(process.Options{
		Use: string(role), Role: role, Environ: func() ([]string, error) { return environ, nil }, Run: run,
	}))
}

func runEdge(ctx context.Context, p *process.Process) error {
	clients, err := p.Clients()
	if err != nil {
		return err
	}
	defer clients.Temporal.Close()
	server, err := edge.New(edge.Options{
		Config: p.Config, Orchestrator: orchestrator.New(clients.Temporal, clients.Namespace), StoreManager: clients.Manager,
		Metrics: p.Metrics, Sentry: p.Sentry, Log: p.Log,
	})
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.Config.Listen())
	if err != nil {
		return err
	}
	return server.Run(ctx, l)
}

// apart is an installation whose edge, worker and store manager are processes of their own.
type apart struct {
	*harness.Installation
	logs map[config.Role]*proctest.Log
	sync *demo.SyncBackend
	stop func()
}

func startApart(t *testing.T, settings ...string) *apart {
	t.Helper()
	temporal, err := temporalserver.Start(t.Context(), temporalserver.Options{Listen: "127.0.0.1:0", SearchAttributes: orchestrator.SearchAttributes()})
	require.NoError(t, err)
	t.Cleanup(temporal.Stop)
	backend, err := demo.StartSyncBackend(t.Context(), demo.SyncBackendOptions{Token: standalone.DemoBypassToken})
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Stop(context.Background()) })
	authWorker, err := demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{
		WebhookSecret: standalone.DemoWebhookSecret, BypassToken: standalone.DemoBypassToken,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = authWorker.Stop(context.Background()) })
	edgeAddress, err := proctest.FreeAddress(t.Context())
	require.NoError(t, err)
	managerAddress, err := proctest.FreeAddress(t.Context())
	require.NoError(t, err)

	a := &apart{sync: backend, logs: map[config.Role]*proctest.Log{}, Installation: &harness.Installation{
		T: t, System: &standalone.System{EdgeURL: "http://" + edgeAddress, AuthURL: authWorker.URL(), Auth: authWorker, TemporalAddress: temporal.Addr()},
	}}
	var children []*proctest.Child
	for _, role := range []config.Role{config.RoleStoreManager, config.RoleWorker, config.RoleWebhook} {
		cmd := proctest.Self(t.Context(), append([]string{
			"STOREKEEPER_TEST_RUN_ROLE=" + string(role), "TEMPORAL_ADDRESS=" + temporal.Addr(), "STORE_MANAGER_URL=http://" + managerAddress,
			"STORE_MANAGER_LISTEN=" + managerAddress, "LISTEN=" + edgeAddress, "AUTH_WORKER_INTERNAL_URL=" + authWorker.URL(),
			"STORE_DATA_PATH=" + t.TempDir(), "LIVESTORE_SYNC_URL=" + backend.URL(), "WORKSPACE_RECONCILE_INTERVAL_MS=86400000",
			"AUTH_LIST_MAX_AGE=1s", "WEBHOOK_WAIT=30s", "LOG_FORMAT=json", "OTEL_BSP_SCHEDULE_DELAY=100",
		}, settings...))
		a.logs[role] = &proctest.Log{}
		cmd.Stderr = a.logs[role]
		children = append(children, proctest.Start(t, cmd))
	}
	a.stop = sync.OnceFunc(func() {
		for _, c := range children {
			_ = c.Process.Signal(os.Interrupt)
		}
		for _, c := range children {
			require.NoError(t, c.Wait())
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			for role, log := range a.logs {
				t.Log(role, log.String())
			}
		}
	})
	a.Eventually("ready", func() bool {
		resp, err := http.Get(a.EdgeURL + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return a
}

// send sends an event with a traceparent and a request id.
func (a *apart) send(event, id, traceparent, requestID string) harness.Response {
	a.T.Helper()
	body := fmt.Sprintf(`{"event":%q,"instanceId":%q,"userId":"u-1","timestamp":%q}`, event, id, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	return a.Do(http.MethodPost, a.EdgeURL+"/webhooks/workspaces", body, "Content-Type", "application/json",
		"X-Webhook-Secret", standalone.DemoWebhookSecret, "Traceparent", traceparent, "X-Request-Id", requestID)
}

// lines are those of a process that have the message.
func (a *apart) lines(role config.Role, message string) (found []map[string]any) {
	for line := range strings.Lines(a.logs[role].String()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == message {
			found = append(found, fields)
		}
	}
	return found
}

// says waits for a line of a process with this message and these fields.
func (a *apart) says(role config.Role, message string, fields map[string]any) {
	a.T.Helper()
	a.Eventually(fmt.Sprintf("%s says %q with %v, not %v", role, message, fields, a.lines(role, message)), func() bool {
		return slices.ContainsFunc(a.lines(role, message), func(line map[string]any) bool {
			for key, want := range fields {
				if line[key] != want {
					return false
				}
			}
			return true
		})
	})
}

func newTrace() (traceparent, id string) {
	id = strings.ReplaceAll(uuid.NewString(), "-", "")
	return "00-" + id + "-00f067aa0ba902b7-01", id
}

func TestOneTraceLeadsFromTheWebhookToTheSinkAndTheEndOfADeletionLinksToItsBeginning(t *testing.T) {
	t.Parallel()
	collector := startFakeCollector(t)
	var posted sync.Map // by store: the traceparent of its first POST
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message struct{ Data struct{ StoreID string } }
		_ = json.NewDecoder(r.Body).Decode(&message)
		posted.LoadOrStore(message.Data.StoreID, [2]string{r.Header.Get("Traceparent"), r.Header.Get("X-Request-Id")})
	}))
	t.Cleanup(sink.Close)
	a := startApart(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_EXPORTER_OTLP_HEADERS=api-key=otlp-secret-value", "DELETION_GRACE_PERIOD=3s",
		"EVENT_SINK_URL="+sink.URL, "EVENT_SINK_SECRET=whsec_YmVuY2gtd2ViaG9vay1zaWduaW5nLWtleS0wMDAwMDA=")

	id := uuid.NewString()
	push(t, a.sync, id)
	traceparent, trace := newTrace()
	created := a.send("workspace.created", id, traceparent, "req-created")
	require.Equal(t, "monitoring_started", created.JSON("status"), created.Body)
	require.Contains(t, created.Header.Get("Traceresponse"), trace)

	// The sink gets the trace and the request id.
	a.Eventually("the sink is told", func() bool { _, ok := posted.Load(id); return ok })
	told, _ := posted.Load(id)
	require.Contains(t, told.([2]string)[0], trace)
	require.Equal(t, "req-created", told.([2]string)[1])

	// One trace, of all three processes, whose spans hang together.
	names := func() (all []string) {
		for _, s := range collector.of(trace) {
			all = append(all, s.service+" "+s.Name)
		}
		return all
	}
	for _, want := range []string{
		"storekeeper-webhook POST /webhooks/workspaces", "storekeeper-webhook UpdateWithStartWorkflow:apply-event", "storekeeper-worker HandleUpdate:apply-event",
		"storekeeper-worker RunActivity:EnsureStore", "storekeeper-worker PUT", "storekeeper-storemanager PUT /v1/stores/{id}",
		"storekeeper-storemanager storemanager ensure", "storekeeper-storemanager process events", "storekeeper-storemanager POST",
	} {
		a.Eventually(want, func() bool { return slices.Contains(names(), want) })
	}
	known := map[string]bool{"00f067aa0ba902b7": true}
	for _, s := range collector.of(trace) {
		known[s.id()] = true
	}
	for _, s := range collector.of(trace) {
		require.True(t, known[s.parent()], "%s %s has a parent that nobody sent: %v", s.service, s.Name, names())
	}

	// The lines of all three have both ids, and the action is told by whoever carries it out.
	for role, message := range map[config.Role]string{
		config.RoleWebhook: "webhook answered", config.RoleWorker: "event applied", config.RoleStoreManager: "store monitored",
	} {
		a.says(role, message, map[string]any{"storeId": id, "traceId": trace, "requestId": "req-created", "level": "info"})
	}
	a.says(config.RoleStoreManager, "store connected", map[string]any{"storeId": id, "traceId": trace, "requestId": "req-created"})

	// A deletion: its end is another trace, which links to its beginning.
	traceparent, trace = newTrace()
	scheduled := a.send("workspace.deleted", id, traceparent, "req-deleted")
	require.Equal(t, "deletion_scheduled", scheduled.JSON("status"))
	answeredAt := time.Now()
	deleteAt, err := time.Parse(time.RFC3339Nano, scheduled.JSON("deleteAt").(string))
	require.NoError(t, err)
	a.says(config.RoleStoreManager, "deletion scheduled", map[string]any{"storeId": id, "traceId": trace, "requestId": "req-deleted"})
	a.says(config.RoleWorker, "deletion ended", map[string]any{"storeId": id, "outcome": "monitoring_stopped", "requestId": "req-deleted"})
	var end span
	a.Eventually("the end of the deletion", func() bool {
		for _, s := range collector.all() {
			if s.Name == "grace period over" && s.attribute("storekeeper.store.id") == id {
				end = s
			}
		}
		return end.Span != nil
	})
	require.Empty(t, end.ParentSpanId, "it is the root of a trace")
	require.NotEqual(t, trace, end.trace())
	require.Len(t, end.Links, 1)
	require.Equal(t, trace, hex.EncodeToString(end.Links[0].TraceId))
	for _, want := range []string{"RunActivity:ConfirmAbsent", "GET", "RunActivity:StopStore", "POST /v1/stores/{id}/stop", "storemanager stop"} {
		a.Eventually(want, func() bool {
			return slices.ContainsFunc(collector.of(end.trace()), func(s span) bool { return s.Name == want })
		})
	}
	a.says(config.RoleStoreManager, "store stopped", map[string]any{"storeId": id, "traceId": end.trace(), "requestId": "req-deleted"})
	a.says(config.RoleStoreManager, "monitor stopped", map[string]any{"storeId": id, "traceId": end.trace(), "requestId": "req-deleted"})

	// An operator's request is traced too, and tells who acted.
	traceparent, trace = newTrace()
	require.Equal(t, http.StatusOK, a.Do(http.MethodPut, a.EdgeURL+"/admin/pause", `{"reason":"moving","actor":"ann"}`,
		"Authorization", "Bearer "+standalone.DemoBypassToken, "Traceparent", traceparent, "X-Request-Id", "req-pause").Code)
	for _, role := range []config.Role{config.RoleWebhook, config.RoleStoreManager} {
		a.says(role, "reconciliation paused", map[string]any{"traceId": trace, "requestId": "req-pause", "actor": "ann"})
	}

	a.stop()
	for _, s := range collector.all() {
		over := time.Unix(0, int64(s.StartTimeUnixNano)).Before(answeredAt) && time.Unix(0, int64(s.EndTimeUnixNano)).After(deleteAt)
		require.False(t, over, "%s is open over the grace period", s.Name)
	}
	for _, secret := range []string{standalone.DemoBypassToken, standalone.DemoWebhookSecret, "otlp-secret-value", "YmVuY2gtd2ViaG9vay1zaWduaW5nLWtleS0wMDAwMDA"} {
		require.NotContains(t, string(collector.raw), secret)
	}
}

// push puts one event into a store.
func push(t *testing.T, backend *demo.SyncBackend, id string) {
	t.Helper()
	conn, err := livestore.Dial(t.Context(), livestore.Options{
		URL: backend.URL(), StoreID: id, Payload: map[string]string{"serverBypass": standalone.DemoBypassToken},
	})
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.Push(t.Context(), "", []livestore.Event{{Name: "v1.Demo", Args: json.RawMessage(`{}`), Seq: 1}}))
}

func TestWithoutExportAndWithAGarbageTraceparentIDsAreMadeAndLoggedAllTheSame(t *testing.T) {
	t.Parallel()
	collector := startFakeCollector(t)
	a := startApart(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_SDK_DISABLED=true")
	for _, garbage := range []string{"garbage", "00-00000000000000000000000000000000-0000000000000000-01", "00-" + strings.Repeat("z", 32) + "-00f067aa0ba902b7-01"} {
		id := uuid.NewString()
		r := a.send("workspace.created", id, garbage, "")
		require.Equal(t, "monitoring_started", r.JSON("status"), r.Body)
		parts := strings.Split(r.Header.Get("Traceresponse"), "-")
		require.Len(t, parts, 4)
		require.NotContains(t, garbage, parts[1])
		for role, message := range map[config.Role]string{
			config.RoleWebhook: "webhook answered", config.RoleWorker: "event applied", config.RoleStoreManager: "store monitored",
		} {
			a.says(role, message, map[string]any{"storeId": id, "traceId": parts[1], "requestId": r.Header.Get("X-Request-Id")})
		}
	}
	// A known caller's trace goes on, although nothing is exported here.
	traceparent, trace := newTrace()
	id := uuid.NewString()
	require.Contains(t, a.send("workspace.created", id, traceparent, "").Header.Get("Traceresponse"), trace)
	a.says(config.RoleStoreManager, "store monitored", map[string]any{"storeId": id, "traceId": trace})
	a.stop()
	require.Empty(t, collector.all(), "OTEL_SDK_DISABLED")
}

func TestACollectorThatIsAwayBreaksNothing(t *testing.T) {
	t.Parallel()
	address, err := proctest.FreeAddress(t.Context())
	require.NoError(t, err)
	a := startApart(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+address, "OTEL_BSP_MAX_QUEUE_SIZE=8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=8")
	for range 20 { // more spans than the queue holds
		require.Equal(t, "monitoring_started", a.send("workspace.created", uuid.NewString(), "", "").JSON("status"))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.stop()
	}()
	select {
	case <-ended: // and each with success
	case <-time.After(harness.Patience):
		t.Fatal("a process waits for the collector")
	}
}

// logged are the lines of an installation that have all these texts.
func logged(in *harness.Installation, texts ...string) (found []string) {
	for line := range strings.Lines(in.Logs.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			found = append(found, line)
		}
	}
	return found
}

func TestAnEventThatIsSignalledAndACommandOfAnOperatorHaveTheirIDsInEachLine(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WEBHOOK_WAIT=0s")
	id := uuid.NewString()
	answer := in.Webhook("workspace.created", id, time.Now())
	require.Equal(t, http.StatusAccepted, answer.Code)
	trace, request := strings.Split(answer.Header.Get("Traceresponse"), "-")[1], answer.Header.Get("X-Request-Id")
	for _, message := range []string{"webhook answered", "event applied", "store monitored"} {
		in.Eventually(message, func() bool { return len(logged(in, `"msg":"`+message, id, trace, request)) == 1 })
	}

	var out, stderr strings.Builder
	require.Zero(t, cli.Run(t.Context(), cli.Options{
		Args: []string{"hold", id, "--reason", "needed", "--actor", "ann"}, Stdout: &out, Stderr: &stderr,
		Environ: []string{"TEMPORAL_ADDRESS=" + in.TemporalAddress, "STOREKEEPER_URL=" + in.EdgeURL, "TEMPORAL_CONFIG_FILE=/nowhere"},
	}), stderr.String())
	in.Eventually("the hold is told", func() bool { return len(logged(in, `"msg":"store held"`, id, `"actor":"ann"`)) == 1 })
	var held struct{ TraceID, RequestID string }
	require.NoError(t, json.Unmarshal([]byte(logged(in, `"msg":"store held"`, id)[0]), &held))
	require.NotEmpty(t, held.TraceID)
	require.NotEqual(t, trace, held.TraceID)
	in.Eventually("the worker tells of the same request", func() bool {
		return len(logged(in, `"msg":"event applied"`, id, held.TraceID, held.RequestID, `"outcome":"held"`, `"actor":"ann"`)) == 1
	})
}

func TestALifecycleThatGoesOnAsANewRunKeepsTheRequestOfItsDeletion(t *testing.T) {
	t.Parallel()
	in := harness.StartWith(t, standalone.Options{Ephemeral: true, TemporalHistoryLimit: 16}, "WEBHOOK_WAIT=30s", "DELETION_GRACE_PERIOD=10s")
	id := uuid.NewString()
	require.Equal(t, "monitoring_started", in.Webhook("workspace.created", id, time.Now()).JSON("status"))
	deleted := in.Webhook("workspace.deleted", id, time.Now())
	require.Equal(t, "deletion_scheduled", deleted.JSON("status"))
	run := func() string {
		desc, err := in.Temporal.DescribeWorkflowExecution(t.Context(), contract.LifecycleID(id), "")
		require.NoError(t, err)
		return desc.GetWorkflowExecutionInfo().GetExecution().GetRunId()
	}
	first := run()
	in.Eventually("continued", func() bool {
		in.Webhook("workspace.deleted", id, time.Now())
		return run() != first
	})
	in.Eventually("the end is that of the first request", func() bool {
		return len(logged(in, `"msg":"deletion ended"`, id, deleted.Header.Get("X-Request-Id"), "monitoring_stopped")) == 1
	})
	in.Eventually("so it is in the store manager", func() bool {
		return len(logged(in, `manager/actions.go`, `"msg":"store stopped"`, id, deleted.Header.Get("X-Request-Id"))) == 1
	})
}
