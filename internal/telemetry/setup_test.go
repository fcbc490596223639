package telemetry_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"storekeeper/internal/telemetry"
	"storekeeper/tests/proctest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// logged returns the JSON lines logged so far.
func logged(t *testing.T, log *proctest.Log) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(log.String()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		out = append(out, entry)
	}
	return out
}

func newLogger(t *testing.T, secrets ...string) (*zap.Logger, *proctest.Log) {
	t.Helper()
	out := &proctest.Log{}
	log, err := telemetry.NewLogger("debug", "json", out, secrets)
	require.NoError(t, err)
	return log, out
}

// fakeSentry is a Sentry ingest endpoint that keeps what it is sent.
type fakeSentry struct {
	dsn string
	mu  sync.Mutex
	raw []string
}

// sentryEvent is the part of a Sentry event that the tests look at.
type sentryEvent struct {
	Message     string            `json:"message"`
	Release     string            `json:"release"`
	Environment string            `json:"environment"`
	Tags        map[string]string `json:"tags"`
	Request     map[string]any    `json:"request"`
	User        map[string]any    `json:"user"`
	Exception   []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"exception"`
	Breadcrumbs []struct {
		Type     string         `json:"type"`
		Category string         `json:"category"`
		Message  string         `json:"message"`
		Level    string         `json:"level"`
		Data     map[string]any `json:"data"`
	} `json:"breadcrumbs"`
}

// newSentry returns a Sentry and the endpoint it sends to; both end with the test.
func newSentry(t *testing.T, secrets ...string) (*telemetry.Sentry, *fakeSentry) {
	t.Helper()
	fake := &fakeSentry{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fake.mu.Lock()
		fake.raw = append(fake.raw, string(body))
		fake.mu.Unlock()
	}))
	t.Cleanup(srv.Close)
	fake.dsn = strings.Replace(srv.URL, "http://", "http://key@", 1) + "/1"

	s, err := telemetry.NewSentry(telemetry.SentryOptions{DSN: fake.dsn, Environment: "test", Secrets: secrets})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s, fake
}

// events returns the error events sent so far, after a flush.
func (f *fakeSentry) events(t *testing.T, s *telemetry.Sentry) []sentryEvent {
	t.Helper()
	require.True(t, s.Flush(10*time.Second))
	var out []sentryEvent
	for _, envelope := range f.envelopes() {
		lines := strings.Split(envelope, "\n") // envelope header, then pairs of an item's header and its payload
		for i := 1; i+1 < len(lines); i += 2 {
			var header struct {
				Type string `json:"type"`
			}
			require.NoError(t, json.Unmarshal([]byte(lines[i]), &header), envelope)
			if header.Type != "event" {
				continue
			}
			var event sentryEvent
			require.NoError(t, json.Unmarshal([]byte(lines[i+1]), &event), envelope)
			out = append(out, event)
		}
	}
	return out
}

func (f *fakeSentry) envelopes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.raw...)
}

// scrape returns the body of /metrics.
func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	return rec.Body.String()
}
