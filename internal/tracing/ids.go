package tracing

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
)

// Generator makes the ids of spans. It implements the IDGenerator of OpenTelemetry's SDK.
type Generator struct{}

type wantedKey struct{}

type wanted struct {
	trace trace.TraceID
	span  trace.SpanID
}

// WithIDs has the span that is begun with ctx get this id, and if it begins a trace, the trace that one. A workflow needs it: when it is replayed,
// it must come to the ids that it has told others before.
func WithIDs(ctx context.Context, traceID trace.TraceID, spanID trace.SpanID) context.Context {
	return context.WithValue(ctx, wantedKey{}, wanted{traceID, spanID})
}

// NewIDs returns ids for the first span of a trace.
func (Generator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if w, ok := ctx.Value(wantedKey{}).(wanted); ok {
		return w.trace, w.span
	}
	var id trace.TraceID
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // it guards nothing
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // it guards nothing
	}
	return id, newSpanID()
}

// NewSpanID returns an id for a further span of a trace.
func (Generator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if w, ok := ctx.Value(wantedKey{}).(wanted); ok {
		return w.span
	}
	return newSpanID()
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64()) //nolint:gosec // it guards nothing
	}
	return id
}
