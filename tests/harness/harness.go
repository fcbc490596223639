// Package harness starts a whole installation for tests that need more than one package: the embedded Temporal server, the
// demo Auth Worker, the edge, a worker and the store manager, all real, on free ports of the loopback interface.
package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/config"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/process"
	"storekeeper/internal/standalone"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/tracing/export"
	"storekeeper/tests/proctest"
)

// Patience is how long a test waits for a condition before it fails. It is no measure of speed: this is for slow machines.
const Patience = 60 * time.Second

// Installation is a running system.
type Installation struct {
	*standalone.System
	T            *testing.T
	Orchestrator *orchestrator.Client
	Logs         *proctest.Log

	stop func()
}

// traced: all installations of this process make ids for their spans, as processes do, and send none anywhere.
var traced sync.Once

// Start starts an installation in memory with these settings ("NAME=value") on top of the demo's, and stops it when the test
// ends. Reconciliation runs only on demand unless a setting says otherwise.
func Start(t *testing.T, settings ...string) *Installation {
	t.Helper()
	return StartWith(t, standalone.Options{Ephemeral: true}, settings...)
}

// StartWith is Start with options; addresses are filled in.
func StartWith(t *testing.T, o standalone.Options, settings ...string) *Installation {
	t.Helper()
	environ, _ := standalone.DemoEnviron(append([]string{
		"WORKSPACE_RECONCILE_INTERVAL_MS=86400000", "MANUAL_RECONCILE_MIN_INTERVAL_MS=0", "AUTH_LIST_MAX_AGE=1s",
	}, settings...))
	cfg, err := config.Load(environ, config.RoleStandalone)
	require.NoError(t, err)
	logs := &proctest.Log{}
	redactor := telemetry.NewRedactor(cfg.Secrets()...)
	log, err := telemetry.NewLogger("info", "json", logs, redactor)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(log)
	require.NoError(t, err)
	traced.Do(func() { _, err = export.Start(context.Background(), export.Options{Service: "test"}) })
	require.NoError(t, err)
	sentry, err := telemetry.NewSentry(telemetry.SentryOptions{DSN: string(cfg.SentryDSN), Environment: "test", Redactor: redactor})
	require.NoError(t, err)

	in := &Installation{T: t, Logs: logs}
	ready := make(chan struct{})
	o.Demo = true
	o.Listen, o.TemporalListen, o.AuthListen, o.SyncListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	o.Ready = func(sys *standalone.System) { in.System = sys; close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- standalone.Run(ctx, &process.Process{Role: config.RoleStandalone, Config: cfg, Log: log, Metrics: metrics, Sentry: sentry}, o)
	}()
	in.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the installation ended with: %v", err)
		}
		sentry.Flush(time.Second)
		sentry.Close()
	})
	t.Cleanup(in.stop)
	t.Cleanup(func() {
		if t.Failed() && testing.Verbose() {
			t.Log(logs.String())
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("the installation did not start: %v\n%s", err, logs)
	case <-time.After(Patience):
		t.Fatalf("the installation is not ready after %s\n%s", Patience, logs)
	}
	in.Orchestrator = orchestrator.New(in.Temporal, "default")
	in.Settle()
	return in
}

// Stop ends the installation before the test does.
func (in *Installation) Stop() { in.stop() }

// Settle waits until no reconcile run is under way: the edge asks for one at its start.
func (in *Installation) Settle() {
	in.T.Helper()
	in.Eventually("the first reconcile run is recorded", func() bool {
		known, err := in.Stores.Reconciliation(in.T.Context())
		return err == nil && known.Runs > 0
	})
	// Recorded is not yet closed.
	_ = in.Temporal.GetWorkflow(in.T.Context(), contract.ReconcileID, "").Get(in.T.Context(), nil)
}

// Eventually waits for the condition.
func (in *Installation) Eventually(what string, condition func() bool) {
	in.T.Helper()
	require.Eventually(in.T, condition, Patience, 10*time.Millisecond, what)
}

// Response is what an HTTP request was answered.
type Response struct {
	Code   int
	Header http.Header
	Body   string
}

// JSON returns a member of the body by its dotted path; nil when it is not there.
func (r Response) JSON(path string) any {
	var v any
	if json.Unmarshal([]byte(r.Body), &v) != nil {
		return nil
	}
	for name := range strings.SplitSeq(path, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

// Do sends a request. Headers come in pairs of name and value.
func (in *Installation) Do(method, url, body string, headers ...string) Response {
	in.T.Helper()
	req, err := http.NewRequestWithContext(in.T.Context(), method, url, bytes.NewBufferString(body))
	require.NoError(in.T, err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(in.T, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(in.T, err)
	return Response{Code: resp.StatusCode, Header: resp.Header, Body: string(text)}
}

// Webhook sends an event to the edge, as the Auth Worker would.
func (in *Installation) Webhook(event, instanceID string, at time.Time) Response {
	in.T.Helper()
	body := fmt.Sprintf(`{"event":%q,"instanceId":%q,"userId":%q,"timestamp":%q}`,
		event, instanceID, uuid.NewString(), at.UTC().Format("2006-01-02T15:04:05.000Z"))
	return in.Do(http.MethodPost, in.EdgeURL+"/webhooks/workspaces", body,
		"Content-Type", "application/json", "X-Webhook-Secret", standalone.DemoWebhookSecret)
}

// Edge asks the edge with the token.
func (in *Installation) Edge(method, path string) Response {
	in.T.Helper()
	return in.Do(method, in.EdgeURL+path, "", "Authorization", "Bearer "+standalone.DemoBypassToken)
}

// Monitored says whether the edge shows the store as monitored.
func (in *Installation) Monitored(id string) bool {
	in.T.Helper()
	r := in.Edge(http.MethodGet, "/stores/"+id)
	return r.Code == http.StatusOK && r.JSON("orchestrator.status") == "monitoring"
}

// Reconcile runs one reconcile at the edge and returns its answer.
func (in *Installation) Reconcile() Response {
	in.T.Helper()
	var r Response
	in.Eventually("a reconcile run starts", func() bool {
		r = in.Edge(http.MethodPost, "/admin/reconcile")
		return r.Code != http.StatusConflict
	})
	return r
}

// User is a signed-up user of the demo Auth Worker.
type User struct {
	in *Installation
	ID string
	// Default is the id of the workspace that came with the sign-up.
	Default string
	token   string
}

// SignUp makes a user.
func (in *Installation) SignUp() *User {
	in.T.Helper()
	r := in.Do(http.MethodPost, in.AuthURL+"/signup", fmt.Sprintf(`{"email":"%s@example.com","password":"correct-horse"}`, uuid.NewString()),
		"Content-Type", "application/json")
	require.Equal(in.T, http.StatusOK, r.Code, r.Body)
	return &User{in: in, ID: r.JSON("user.id").(string), Default: r.JSON("defaultInstanceId").(string), token: r.JSON("accessToken").(string)}
}

// SignUpSilently makes a user whose sign-up no webhook tells of, and returns the id of the default workspace.
func (in *Installation) SignUpSilently() string {
	in.T.Helper()
	in.Auth.SetWebhooksLost(true)
	defer in.Auth.SetWebhooksLost(false)
	return in.SignUp().Default
}

// At is the user at an installation that was started again on the same data.
func (u *User) At(in *Installation) *User {
	again := *u
	again.in = in
	return &again
}

// Create makes a workspace and returns its id.
func (u *User) Create() string { u.in.T.Helper(); return u.CreateNamed(uuid.NewString()) }

// CreateNamed is Create with a name.
func (u *User) CreateNamed(name string) string {
	u.in.T.Helper()
	r := u.in.Do(http.MethodPost, u.in.AuthURL+"/workspaces", fmt.Sprintf(`{"name":%q}`, name),
		"Content-Type", "application/json", "Authorization", "Bearer "+u.token)
	require.Equal(u.in.T, http.StatusCreated, r.Code, r.Body)
	return r.JSON("instance.id").(string)
}

// Delete deletes a workspace.
func (u *User) Delete(id string) {
	u.in.T.Helper()
	r := u.in.Do(http.MethodDelete, u.in.AuthURL+"/workspaces/"+id, "", "Authorization", "Bearer "+u.token)
	require.Equal(u.in.T, http.StatusOK, r.Code, r.Body)
}
