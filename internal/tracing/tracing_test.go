package tracing

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap/zapcore"
)

// recorded are the spans of this process that have ended.
var recorded = tracetest.NewSpanRecorder()

func TestMain(m *testing.M) {
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(Generator{}), sdktrace.WithSpanProcessor(recorded)))
	m.Run()
}

func spansOf(ctx context.Context) (found []sdktrace.ReadOnlySpan) {
	for _, s := range recorded.Ended() {
		if s.SpanContext().TraceID().String() == TraceID(ctx) {
			found = append(found, s)
		}
	}
	return found
}

func TestARequestIDIsPlainOrThereIsNone(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"req-1", "01J8Z0", "a.b_c:d+e/f=", strings.Repeat("x", 128)} {
		require.Equal(t, id, RequestID(WithRequestID(t.Context(), id)))
	}
	for _, id := range []string{"", "two words", "line\nbreak", `quote"`, strings.Repeat("x", 129)} {
		require.Empty(t, RequestID(WithRequestID(t.Context(), id)))
	}
}

func TestLogLinesHaveTheIDsThatThereAre(t *testing.T) {
	t.Parallel()
	fields := func(ctx context.Context) map[string]any {
		e := zapcore.NewMapObjectEncoder()
		Field(ctx).AddTo(e)
		return e.Fields
	}
	require.Empty(t, fields(t.Context()))
	require.Equal(t, map[string]any{KeyRequestID: "r"}, fields(WithRequestID(t.Context(), "r")))
	ctx, end := Begin(WithRequestID(t.Context(), "r"), "work")
	defer end(nil)
	require.Equal(t, map[string]any{KeyRequestID: "r", KeyTraceID: TraceID(ctx)}, fields(ctx))
}

func TestAFailedSpanSaysThatItFailedAndNotWhy(t *testing.T) {
	t.Parallel()
	ctx, end := Begin(t.Context(), "work")
	end(errors.New("a secret"))
	spans := spansOf(ctx)
	require.Len(t, spans, 1)
	require.Equal(t, "Error", spans[0].Status().Code.String())
	require.Empty(t, spans[0].Status().Description)
	require.Empty(t, spans[0].Events())
}

func TestWhatALastingThingDoesLateIsATraceOfItsOwnWithALink(t *testing.T) {
	t.Parallel()
	ctx, end := Begin(WithRequestID(t.Context(), "r"), "event")
	end(nil)
	soon, end := CauseOf(ctx).Begin(context.Background(), "soon")
	end(nil)
	require.Equal(t, TraceID(ctx), TraceID(soon))
	require.Equal(t, "r", RequestID(soon))

	late, end := Cause{ctx, time.Now().Add(-belongs - time.Second)}.Begin(context.Background(), "late")
	end(nil)
	require.NotEqual(t, TraceID(ctx), TraceID(late))
	require.Equal(t, "r", RequestID(late))
	spans := spansOf(late)
	require.Len(t, spans, 1)
	require.False(t, spans[0].Parent().IsValid())
	require.Len(t, spans[0].Links(), 1)
	require.Equal(t, TraceID(ctx), spans[0].Links()[0].SpanContext.TraceID().String())

	none, end := Cause{}.Begin(t.Context(), "by itself")
	end(nil)
	require.Empty(t, spansOf(none)[0].Links())
}

func TestACallWithinATraceTellsOfItAndOneForNothingDoesNot(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(server.Close)
	call := func(ctx context.Context) http.Header {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(server.URL, "http://", "http://user:password@", 1)+"/path?token=secret", http.NoBody)
		require.NoError(t, err)
		resp, err := Transport{server.Client().Transport}.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Empty(t, r.Header, "the caller's request is left alone")
		return <-got
	}
	header := call(t.Context())
	require.NotContains(t, header, "Traceparent")
	require.NotContains(t, header, HeaderRequestID)
	require.Equal(t, "r", call(WithRequestID(t.Context(), "r")).Get(HeaderRequestID))

	ctx, end := Begin(WithRequestID(t.Context(), "r"), "work")
	header = call(ctx)
	end(nil)
	require.Contains(t, header.Get("Traceparent"), TraceID(ctx))
	require.Equal(t, "r", header.Get(HeaderRequestID))
	require.NotContains(t, header, "Baggage")
	spans := spansOf(ctx)
	require.Len(t, spans, 2)
	for _, a := range spans[0].Attributes() {
		require.NotContains(t, a.Value.String(), "secret")
		require.NotContains(t, a.Value.String(), "password")
	}
	require.Equal(t, "Error", spans[0].Status().Code.String(), "status 418")
}

func TestAGarbageTraceparentIsAsNone(t *testing.T) {
	t.Parallel()
	for _, garbage := range []string{"", "garbage", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-" + strings.Repeat("a", 32) + "-00f067aa0ba902b7-01"} {
		r := httptest.NewRequest(http.MethodPost, "/path", http.NoBody)
		r.Header.Set("Traceparent", garbage)
		ctx, end := Serve(t.Context(), r, "/path", time.Now())
		end(http.StatusOK)
		require.NotContains(t, garbage, TraceID(ctx))
		require.False(t, spansOf(ctx)[0].Parent().IsValid(), "it begins a trace")
	}
}

func TestIDsCanBeWanted(t *testing.T) {
	t.Parallel()
	wantedTrace, wantedSpan := trace.TraceID{1}, trace.SpanID{2}
	for range 2 { // as a replay does
		_, span := Tracer().Start(WithIDs(t.Context(), wantedTrace, wantedSpan), "once")
		require.Equal(t, wantedTrace, span.SpanContext().TraceID())
		require.Equal(t, wantedSpan, span.SpanContext().SpanID())
	}
}
