// Package temporaltrace takes traces and request ids through Temporal. The clients' and the activities' part is that of Temporal's own library
// (contrib/opentelemetry). The workflows' part is ours: theirs has a span open as long as the workflow runs, which may be days, loses it with the
// worker, and knows no event but the one that a workflow was started by. Here a workflow hands the trace of an event on to what it has done for
// it, and what it does for a deletion after the grace period is a new trace, with a link to the first.
//
// Headers are no commands: histories from before replay with it, and those with it replay without.
package temporaltrace

import (
	"context"
	"crypto/sha256"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
	"storekeeper/internal/tracing"
)

// headerKey is where Temporal's SDKs have it.
const headerKey = "_tracer-data"

// waiting is the type of workflows that run as long as a grace period waits: they get no span of their own.
const waiting = contract.TypeWorkspaceLifecycle

// New returns the interceptor for the options of a client, whose workers have it too, and of a replayer.
func New() interceptor.Interceptor {
	theirs, err := opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{
		Tracer: tracing.Tracer(), DisableQueryTracing: true, AllowInvalidParentSpans: true,
		SpanStarter: func(ctx context.Context, t trace.Tracer, name string, opts ...trace.SpanStartOption) trace.Span {
			_, span := t.Start(ctx, name, opts...)
			return discreet{span}
		},
	})
	if err != nil {
		panic(err) // it has all that it wants
	}
	return &both{theirs}
}

// discreet is a span that keeps the texts of errors to itself: they may hold anything.
type discreet struct{ trace.Span }

// RecordError does nothing.
func (discreet) RecordError(error, ...trace.EventOption) {}

// SetStatus leaves the text out.
func (d discreet) SetStatus(code codes.Code, _ string) { d.Span.SetStatus(code, "") }

type both struct{ interceptor.Interceptor }

// InterceptActivity implements interceptor.WorkerInterceptor.
func (b *both) InterceptActivity(ctx context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return b.Interceptor.InterceptActivity(ctx, &activityInbound{interceptor.ActivityInboundInterceptorBase{Next: next}})
}

// activityInbound has the log lines of activities say for which request they are. The trace is there already.
type activityInbound struct {
	interceptor.ActivityInboundInterceptorBase
}

// Init implements interceptor.ActivityInboundInterceptor.
func (i *activityInbound) Init(out interceptor.ActivityOutboundInterceptor) error {
	return i.Next.Init(&activityOutbound{interceptor.ActivityOutboundInterceptorBase{Next: out}})
}

// ExecuteActivity implements interceptor.ActivityInboundInterceptor.
func (i *activityInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	tracing.Note(ctx, attribute.Int("temporalAttempt", int(activity.GetInfo(ctx).Attempt)))
	return i.Next.ExecuteActivity(ctx, in)
}

type activityOutbound struct {
	interceptor.ActivityOutboundInterceptorBase
}

// GetLogger implements interceptor.ActivityOutboundInterceptor.
func (o *activityOutbound) GetLogger(ctx context.Context) log.Logger {
	logger := o.Next.GetLogger(ctx)
	if id := tracing.RequestID(ctx); id != "" {
		logger = log.With(logger, tracing.KeyRequestID, id)
	}
	return logger
}

// Trace is what a workflow hands on: the trace and the request id of an event, each if there is one.
type Trace struct {
	run *run
	ctx context.Context //nolint:containedctx // it is what travels
}

// run is one run of a workflow.
type run struct {
	id string
	// signalled are the traces of signals that have come and were not asked for yet, by their name and the delivery id in them.
	signalled map[string]*Trace
}

// wire is what is in the header: of baggage, only our request id is ever put into a context.
var wire = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// read is what a header has. One that makes no sense has nothing.
func (r *run) read(header map[string]*commonpb.Payload) *Trace {
	ctx := context.Background() //nolint:forbidigo // a workflow has no context.Context
	var carrier propagation.MapCarrier
	if payload := header[headerKey]; payload != nil && converter.GetDefaultDataConverter().FromPayload(payload, &carrier) == nil {
		ctx = wire.Extract(ctx, carrier)
	}
	return &Trace{r, ctx}
}

func (t *Trace) write(header map[string]*commonpb.Payload) {
	carrier := propagation.MapCarrier{}
	wire.Inject(t.ctx, carrier)
	if len(carrier) == 0 {
		return
	}
	if payload, err := converter.GetDefaultDataConverter().ToPayload(carrier); err == nil { // strings can be encoded
		header[headerKey] = payload
	}
}

// begin begins a span as of the workflow's time. Its ids follow from the run and the key, so that a replay comes to the same ones.
func (t *Trace) begin(ctx workflow.Context, name, key string, options ...trace.SpanStartOption) (*Trace, trace.Span) {
	sum := sha256.Sum256([]byte(t.run.id + "\x00" + name + "\x00" + key))
	info := workflow.GetInfo(ctx)
	options = append(slices.Clip(options), trace.WithTimestamp(workflow.Now(ctx)), trace.WithAttributes(
		attribute.String("temporalWorkflowID", info.WorkflowExecution.ID), attribute.String("temporalRunID", info.WorkflowExecution.RunID)))
	goCtx, span := tracing.Tracer().Start(tracing.WithIDs(t.ctx, trace.TraceID(sum[:16]), trace.SpanID(sum[16:24])), name, options...)
	return &Trace{t.run, goCtx}, span
}

// end ends the span, unless that was done before this replay. A span that is never ended is never sent.
func end(ctx workflow.Context, span trace.Span, err error) {
	if workflow.IsReplaying(ctx) {
		return
	}
	if err != nil && !workflow.IsContinueAsNewError(err) {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(later(workflow.Now(ctx), time.Now())))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Signalled is the trace of the newest signal of this name with this delivery id in it, which may be "". Nil: none has come, or it was asked for
// before.
func (t *Trace) Signalled(name, deliveryID string) any {
	found, ok := t.run.signalled[name+"/"+deliveryID]
	if !ok {
		return nil
	}
	delete(t.run.signalled, name+"/"+deliveryID)
	return found
}

// Apart is ctx with a new trace for what is done much later than its cause, with a link to the cause. The span that it begins with is a
// moment, so none is open as long as somebody waits.
func (t *Trace) Apart(ctx workflow.Context, name, storeID string) workflow.Context {
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithAttributes(tracing.StoreID.String(storeID))}
	if cause := trace.SpanContextFromContext(t.ctx); cause.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: cause}))
	}
	now := workflow.Now(ctx)
	apart, span := t.begin(ctx, name, strconv.FormatInt(now.UnixNano(), 10), options...)
	if !workflow.IsReplaying(ctx) {
		span.End(trace.WithTimestamp(now))
	}
	return workflow.WithValue(ctx, contract.TraceKey{}, apart)
}
