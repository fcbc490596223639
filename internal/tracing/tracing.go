// Package tracing is what all processes have in common to follow one event through all of them: the trace that a piece of work belongs to
// (OpenTelemetry), and the id of the request that began it. Both are in the context, in headers of HTTP (http.go) and of Temporal (package
// temporaltrace), and in log lines (Field). Package export sends spans away, if the settings say where to.
//
// Of what is not traced nothing begins a trace but Begin. A call within a trace belongs to it (Transport).
package tracing

import (
	"context"
	"regexp"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Keys of log fields.
const (
	KeyTraceID   = "traceId"
	KeyRequestID = "requestId"
)

// Attributes of spans. None may hold a secret.
const (
	StoreID    = attribute.Key("storekeeper.store.id")
	Event      = attribute.Key("storekeeper.event")
	DeliveryID = attribute.Key("storekeeper.delivery.id")
	Outcome    = attribute.Key("storekeeper.outcome")
	Stores     = attribute.Key("storekeeper.stores")
	Events     = attribute.Key("storekeeper.events")
	Attempt    = attribute.Key("storekeeper.attempt")
)

// Tracer makes our spans. It is that of package export once the process has started it; before, and without, spans have no ids of their own.
func Tracer() trace.Tracer { return otel.Tracer("storekeeper") }

// wire is how a trace travels between processes. Baggage of strangers does not: nobody knows what it holds.
var wire = propagation.TraceContext{}

// Begin begins a span, in the trace of ctx or in a new one. end ends it; it fails the span with an error, whose text stays out of it.
func Begin(ctx context.Context, name string, attributes ...attribute.KeyValue) (_ context.Context, end func(error)) {
	return begin(ctx, name, trace.WithAttributes(attributes...))
}

func begin(ctx context.Context, name string, options ...trace.SpanStartOption) (_ context.Context, end func(error)) {
	ctx, span := Tracer().Start(ctx, name, options...)
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Note adds attributes to the span of ctx, but those that are "".
func Note(ctx context.Context, attributes ...attribute.KeyValue) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	for _, a := range attributes {
		if a.Value.String() != "" {
			span.SetAttributes(a)
		}
	}
}

// plainRequestID are UUIDs, ULIDs, trace ids, base64, and what else has letters, digits and these signs.
var plainRequestID = regexp.MustCompile(`^[A-Za-z0-9._:+/=-]{1,128}$`)

// ValidRequestID says whether a text may be the id of a request. It is repeated in headers and log lines: a longer one could fill the log, and
// any other text could say there what its sender likes.
func ValidRequestID(id string) bool { return plainRequestID.MatchString(id) }

// WithRequestID is ctx with the id of the request that is worked on; ctx itself if there can be no such id. It is kept as OpenTelemetry's
// baggage, so that it goes wherever a span goes within a process, and into Temporal's headers.
func WithRequestID(ctx context.Context, id string) context.Context {
	if !ValidRequestID(id) {
		return ctx
	}
	member, err := baggage.NewMemberRaw(KeyRequestID, id)
	if err != nil {
		return ctx
	}
	bag, err := baggage.New(member)
	if err != nil {
		return ctx
	}
	return baggage.ContextWithBaggage(ctx, bag)
}

// RequestID is the id of the request that ctx belongs to; "" if there is none.
func RequestID(ctx context.Context) string {
	id := baggage.FromContext(ctx).Member(KeyRequestID).Value()
	if !ValidRequestID(id) { // it may have come through Temporal from anybody
		return ""
	}
	return id
}

// TraceID is that of ctx; "" if there is none.
func TraceID(ctx context.Context) string {
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		return id.String()
	}
	return ""
}

// Field is what log lines have of ctx: traceId and requestId, each where there is one.
func Field(ctx context.Context) zap.Field { return IDs(TraceID(ctx), RequestID(ctx)) }

// IDs is Field of a context that has these.
func IDs(traceID, requestID string) zap.Field { return zap.Inline(ids{traceID, requestID}) }

type ids struct{ trace, request string }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (i ids) MarshalLogObject(e zapcore.ObjectEncoder) error {
	if i.trace != "" {
		e.AddString(KeyTraceID, i.trace)
	}
	if i.request != "" {
		e.AddString(KeyRequestID, i.request)
	}
	return nil
}

// belongs is how long what follows from an event later on, and is not waited for, counts as part of its trace: as long as a store may take
// until it is monitored.
const belongs = time.Minute

// Cause is the event that a lasting thing has come from, such as the monitoring of a store. The zero value is none.
type Cause struct {
	ctx   context.Context
	began time.Time
}

// CauseOf is that of what begins now for ctx.
func CauseOf(ctx context.Context) Cause { return Cause{ctx, time.Now()} }

// In is ctx with the trace and the request id of the cause, for log lines.
func (c Cause) In(ctx context.Context) context.Context {
	if c.ctx == nil {
		return ctx
	}
	ctx = trace.ContextWithRemoteSpanContext(ctx, trace.SpanContextFromContext(c.ctx))
	return baggage.ContextWithBaggage(ctx, baggage.FromContext(c.ctx))
}

// Begin is Begin for what the thing does now: soon after its beginning in the trace of the cause, later in a new trace with a link to it. So no
// trace lasts as long as the thing.
func (c Cause) Begin(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, func(error)) {
	ctx = c.In(ctx)
	options := []trace.SpanStartOption{trace.WithAttributes(attributes...)}
	if cause := trace.SpanContextFromContext(ctx); cause.IsValid() && time.Since(c.began) > belongs {
		options = append(options, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: cause}))
	}
	return begin(ctx, name, options...)
}
