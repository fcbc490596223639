package httpserver_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/httpserver"
	"storekeeper/internal/tracing"
)

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent  = "00-" + callersTrace + "-00f067aa0ba902b7-01"
)

// traced is a server whose one route logs the ids that it finds by its answer and by its context.
func traced(t *testing.T) (http.Handler, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	log := zap.New(core)
	r := chi.NewRouter()
	r.Use(httpserver.Identify)
	r.With(httpserver.Trace).HandleFunc("/things/{id}", func(w http.ResponseWriter, r *http.Request) {
		log.Info("by answer", httpserver.LogRequestID(w))
		log.Info("by context", tracing.Field(r.Context()))
	})
	return r, logs
}

func TestARequestThatIsTracedHasItsIDsInAnswerAndLines(t *testing.T) {
	t.Parallel()
	handler, logs := traced(t)
	r := httptest.NewRequest(http.MethodPut, "/things/1", http.NoBody)
	r.Header.Set("Traceparent", traceparent)
	r.Header.Set("X-Request-Id", "req-1")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.True(t, strings.HasPrefix(w.Header().Get("Traceresponse"), "00-"+callersTrace+"-"), w.Header())
	require.Len(t, logs.All(), 2)
	for _, line := range logs.All() {
		require.Equal(t, map[string]any{"traceId": callersTrace, "requestId": "req-1"}, line.ContextMap(), line.Message)
	}
}

func TestALookThatBelongsToNoTraceBeginsNone(t *testing.T) {
	t.Parallel()
	handler, logs := traced(t)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/things/1", http.NoBody))
	require.NotContains(t, w.Header(), "Traceresponse")
	require.NotContains(t, logs.All()[0].ContextMap(), "traceId")

	w = httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/things/1", http.NoBody)
	r.Header.Set("Traceparent", traceparent)
	handler.ServeHTTP(w, r)
	require.Contains(t, w.Header().Get("Traceresponse"), callersTrace)
}
