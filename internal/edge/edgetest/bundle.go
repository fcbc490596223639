// Package edgetest is what the tests of the edge and of its rooms have in common: doubles of those whom the edge asks, and a client that holds
// every answer against openapi.json and searches it for secrets.
package edgetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	"go.uber.org/zap/zapcore"

	"storekeeper/contract"
	"storekeeper/internal/config"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"
	"storekeeper/tests/proctest"
)

// What the tests send.
const (
	Secret      = "the-webhook-secret" //nolint:gosec // of a test
	OtherSecret = "the-next-webhook-secret"
	Token       = "the-bypass-token"
	StoreA      = "0b5a3b46-7a2e-4a6a-9a53-0d4c1d0c8f11"
	UserID      = "5e5b9d0a-0f6e-4b0e-8a57-1f2f5f9a7a10"
	// Webhooks is where events go.
	Webhooks = "/webhooks/workspaces"
)

// Bundle is all that an edge, or a room of it, is made with.
type Bundle struct {
	Temporal *Orchestrator
	Registry *storetest.Database
	// Auth nil: workers are other processes.
	Auth *AuthWorker
	// Directory nil: names of workspaces are not known.
	Directory *Directory
	Config    *config.Config
	Logs      *proctest.Log
	Logger    *zap.Logger
	Metrics   *telemetry.Metrics
	URL       string
}

// New returns a Bundle that is served nowhere yet.
func New(t *testing.T) *Bundle {
	t.Helper()
	registry, err := storetest.TryOpen(t.Context(), storetest.Settings{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	b := &Bundle{
		Temporal: &Orchestrator{Requested: make(chan contract.ReconcileInput, 10)},
		Registry: registry,
		Auth:     &AuthWorker{},
		Logs:     &proctest.Log{},
		Config: &config.Config{
			WebhookSecrets: config.Secrets{Secret, OtherSecret}, BypassTokens: config.Secrets{Token}, WebhookWait: time.Second,
			WebhookMaxBacklog: time.Minute,
			ReconcileEnabled:  true, ReconcileInterval: config.Milliseconds(time.Hour), ManualReconcileLimit: config.Milliseconds(time.Minute),
		},
	}
	b.Logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), b.Logs, zap.DebugLevel))
	b.Metrics, err = telemetry.NewMetrics(b.Logger)
	require.NoError(t, err)
	return b
}

// Serve serves h. Whatever it answers must be as openapi.json says. At the end the log is searched for the secrets.
func (b *Bundle) Serve(t *testing.T, h http.Handler) {
	t.Helper()
	server := httptest.NewServer(Documented(t, h))
	b.URL = server.URL
	t.Cleanup(func() {
		server.Close()
		RequireNoSecret(t, b.Logs.String())
	})
}

// Response is an answer.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// JSON is the object in the body.
func (r Response) JSON(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.Body), &v), r.Body)
	return v
}

// Do sends a request; headers are names and values in turn. The answer is searched for the secrets.
func (b *Bundle) Do(t *testing.T, method, path, body string, headers ...string) Response {
	t.Helper()
	resp, err := b.Exchange(t, method, path, body, headers...)
	require.NoError(t, err)
	var header bytes.Buffer
	require.NoError(t, resp.Header.Write(&header))
	RequireNoSecret(t, header.String()+resp.Body)
	require.NotEmpty(t, resp.Header.Get("X-Request-Id"))
	return resp
}

// Exchange is Do for goroutines: it asserts nothing.
func (b *Bundle) Exchange(t *testing.T, method, path, body string, headers ...string) (Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.URL+path, strings.NewReader(body))
	if err != nil {
		return Response{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := HTTPClient(t).Do(req)
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return Response{resp.StatusCode, resp.Header, string(text)}, err
}

// HTTPClient has connections of its own, which end with the test.
func HTTPClient(t *testing.T) *http.Client {
	t.Helper()
	transport := httpclient.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// Get brings the token.
func (b *Bundle) Get(t *testing.T, path string) Response {
	t.Helper()
	return b.Ask(t, http.MethodGet, path, "")
}

// Ask brings the token.
func (b *Bundle) Ask(t *testing.T, method, path, body string) Response {
	t.Helper()
	return b.Do(t, method, path, body, "Authorization", "Bearer "+Token)
}

// Send sends a webhook.
func (b *Bundle) Send(t *testing.T, body string, headers ...string) Response {
	t.Helper()
	return b.Do(t, http.MethodPost, Webhooks, body,
		append([]string{"X-Webhook-Secret", Secret, "Content-Type", "application/json"}, headers...)...)
}

// Event is the body of a webhook of StoreA.
func Event(eventType string) string {
	return fmt.Sprintf(`{"event":%q,"instanceId":%q,"userId":%q,"timestamp":"2025-11-23T18:29:10.028Z"}`, eventType, StoreA, UserID)
}

// Ensure has the stores monitored.
func (b *Bundle) Ensure(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := b.Registry.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: time.Now()})
		require.NoError(t, err)
	}
}

// Record keeps a reconcile run in the registry, which failed if there is a failure.
func (b *Bundle) Record(t *testing.T, id, failure string, report contract.ReconcileReport) {
	t.Helper()
	raw, err := json.Marshal(report)
	require.NoError(t, err)
	require.NoError(t, b.Registry.RecordReconcile(t.Context(), storemanager.ReconcileRun{
		RunID: id, StartedAt: report.CompletedAt.Add(-time.Second), CompletedAt: report.CompletedAt, Error: failure, Report: raw,
	}))
}

// RequireProblem wants an answer of RFC 9457 that also has the contract's error.
func RequireProblem(t *testing.T, resp Response, status int, code, text string) {
	t.Helper()
	require.Equal(t, status, resp.Status, resp.Body)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	got := resp.JSON(t)
	delete(got, "retryAfterMs")
	require.NotEmpty(t, got["title"])
	delete(got, "title")
	require.Equal(t, map[string]any{
		"type": "/docs/problems/" + code, "status": float64(status), "detail": text, "error": text, "requestId": resp.Header.Get("X-Request-Id"),
	}, got)
}

// RequireError wants a problem with the text.
func RequireError(t *testing.T, resp Response, text string) {
	t.Helper()
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	require.Equal(t, text, resp.JSON(t)["error"])
}

// RequireNoSecret wants none of the secrets in the text.
func RequireNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, s := range []string{Secret, OtherSecret, Token} {
		require.NotContains(t, text, s)
	}
}

// Run runs a role until the test ends or stop is called, which waits for its end.
func Run(t *testing.T, role func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		role(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// Lose returns a registry that had StoreA and was deleted.
func Lose(t *testing.T) *storetest.Database {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stores.db")
	open := func() *storetest.Database {
		r, err := storetest.TryOpen(t.Context(), storetest.Settings{Path: path})
		require.NoError(t, err)
		return r
	}
	r := open()
	_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: StoreA, At: time.Now()})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, os.Remove(path))
	r = open()
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}
