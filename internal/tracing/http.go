package tracing

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// HeaderRequestID has the id of a request, in the request as in its answer.
const HeaderRequestID = "X-Request-Id"

// headerTraceparent has the trace of a request.
const headerTraceparent = "Traceparent"

// Attributes of OpenTelemetry's semantic conventions.
const (
	httpMethod    = attribute.Key("http.request.method")
	httpRoute     = attribute.Key("http.route")
	httpStatus    = attribute.Key("http.response.status_code")
	serverAddress = attribute.Key("server.address")
	urlPath       = attribute.Key("url.path")
	urlScheme     = attribute.Key("url.scheme")
	errorType     = attribute.Key("error.type")
)

// FromCaller says whether the request names a trace that it belongs to. What it names may be garbage.
func FromCaller(r *http.Request) bool { return r.Header.Get(headerTraceparent) != "" }

// Serve begins the span of a request that came at a time, in the trace that its traceparent names; one that is garbage is as none. route is the
// pattern of its path. end takes the status of the answer.
func Serve(ctx context.Context, r *http.Request, route string, at time.Time) (_ context.Context, end func(status int)) {
	ctx = wire.Extract(ctx, propagation.HeaderCarrier(r.Header))
	ctx, span := Tracer().Start(ctx, r.Method+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(at),
		trace.WithAttributes(httpMethod.String(r.Method), httpRoute.String(route), urlPath.String(r.URL.Path)))
	return ctx, func(status int) {
		span.SetAttributes(httpStatus.Int(status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Response is what the answer to a request says of the trace of ctx; "" if there is none.
func Response(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	wire.Inject(ctx, carrier)
	return carrier.Get("traceparent")
}

// Transport is a RoundTripper that tells the other side the trace and the id of the request that a call is made for. A call within a trace gets a
// span, from its beginning until the head of the answer has come. A call that is made for nothing, such as a look at another side's health, gets
// none.
type Transport struct{ Base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	traced, id := trace.SpanContextFromContext(ctx).IsValid(), RequestID(ctx)
	if !traced && id == "" {
		return t.Base.RoundTrip(r)
	}
	var span trace.Span = trace.SpanFromContext(nil) //nolint:staticcheck // documented: one that does nothing
	if traced {
		// Neither user nor query: they may hold secrets.
		ctx, span = Tracer().Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			httpMethod.String(r.Method), serverAddress.String(r.URL.Host), urlScheme.String(r.URL.Scheme), urlPath.String(r.URL.Path)))
	}
	defer span.End()
	r = r.Clone(ctx)
	wire.Inject(ctx, propagation.HeaderCarrier(r.Header))
	if id != "" {
		r.Header.Set(HeaderRequestID, id)
	}
	resp, err := t.Base.RoundTrip(r)
	switch {
	case err != nil:
		span.SetStatus(codes.Error, "")
		span.SetAttributes(errorType.String("no_answer"))
	default:
		span.SetAttributes(httpStatus.Int(resp.StatusCode))
		if resp.StatusCode >= http.StatusBadRequest {
			span.SetStatus(codes.Error, "")
		}
	}
	return resp, err
}

// CloseIdleConnections is what http.Client.CloseIdleConnections asks for.
func (t Transport) CloseIdleConnections() {
	if c, ok := t.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
