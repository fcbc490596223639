package telemetry_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"storekeeper/internal/telemetry"
	"storekeeper/tests/proctest"
	"storekeeper/tests/sentrytest"
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

// newSentry returns a Sentry and the server it sends to; both end with the test.
func newSentry(t *testing.T, secrets ...string) (*telemetry.Sentry, *sentrytest.Fake) {
	t.Helper()
	fake := sentrytest.Start(t)
	s, err := telemetry.NewSentry(telemetry.SentryOptions{DSN: fake.DSN, Environment: "test", Secrets: secrets})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s, fake
}

// sent returns the events sent so far, after a flush.
func sent(t *testing.T, s *telemetry.Sentry, fake *sentrytest.Fake) []sentrytest.Event {
	t.Helper()
	require.True(t, s.Flush(10*time.Second))
	return fake.Events()
}

// scrape returns the body of /metrics.
func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	return rec.Body.String()
}
