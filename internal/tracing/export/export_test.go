package export_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/tracing"
	"storekeeper/internal/tracing/export"
)

func TestABadSettingIsNamedAndNotQuoted(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"OTEL_SDK_DISABLED=yes-please", "OTEL_TRACES_EXPORTER=zipkin", "OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "OTEL_TRACES_SAMPLER=sometimes",
		"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=unix:/secret", "OTEL_TRACES_SAMPLER_ARG=NaN",
	} {
		_, err := export.Start(t.Context(), export.Options{Environ: []string{bad}})
		name, value, _ := strings.Cut(bad, "=")
		require.ErrorContains(t, err, name+" is not accepted: want ")
		require.NotContains(t, err.Error(), value)
	}
}

func TestWhatTheCollectorKnowsUsByIsSecret(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"abc%20d", "abc d", "xyz", "xyz", "pw"}, export.Secrets([]string{
		"OTEL_EXPORTER_OTLP_HEADERS=api-key=abc%20d", "OTEL_EXPORTER_OTLP_TRACES_HEADERS= other = xyz ,empty=", "OTEL_EXPORTER_OTLP_ENDPOINT=https://me:pw@collector",
	}))
	require.Empty(t, export.Secrets(nil))
}

// The spans of a process have one provider, so that these are one test.
func TestSpansAreSentIfTheSettingsSayWhereToAndAtTheEndWithinABound(t *testing.T) {
	var requests atomic.Int64
	release := make(chan struct{})
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer collector.Close()
	defer close(release)
	span := func() string {
		ctx, end := tracing.Begin(context.Background(), "work")
		end(nil)
		return tracing.TraceID(ctx)
	}
	for _, off := range [][]string{
		nil,
		{"OTEL_SDK_DISABLED=true", "OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL},
		{"OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL},
		{"OTEL_EXPORTER_OTLP_ENDPOINT="},
	} {
		stop, err := export.Start(t.Context(), export.Options{Environ: off, Service: "test"})
		require.NoError(t, err)
		require.NotEmpty(t, span(), "ids are made all the same")
		stop()
	}
	require.Zero(t, requests.Load())

	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL) // the library reads the process's own
	failed := make(chan error, 10)
	stop, err := export.Start(t.Context(), export.Options{
		Environ: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL}, Service: "test", Failed: func(err error) { failed <- err },
	})
	require.NoError(t, err)
	require.NotEmpty(t, span())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stop()
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the end waits for a collector that takes nothing")
	}
	require.NotZero(t, requests.Load())
	require.Error(t, <-failed, "somebody hears that spans were lost")
}
