package workflows

import (
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
)

// trace is the trace of an event: what the worker's interceptor keeps under contract.TraceKey. Where there is no interceptor, as in a test, there
// is none. It makes no command.
type trace interface {
	// Signalled is the trace of the signal of that name with that delivery id; nil for none.
	Signalled(name, deliveryID string) any
	// Apart is ctx with a new trace, for what is done long after its cause.
	Apart(ctx workflow.Context, name, storeID string) workflow.Context
}

func traceOf(ctx workflow.Context) any { return ctx.Value(contract.TraceKey{}) }

// withTrace is ctx with the trace; with its own, if the trace is nil.
func withTrace(ctx workflow.Context, t any) workflow.Context {
	if t == nil {
		return ctx
	}
	return workflow.WithValue(ctx, contract.TraceKey{}, t)
}

// traceOfSignal is that of a signal which has just been received; nil for none.
func traceOfSignal(ctx workflow.Context, name, deliveryID string) any {
	if t, ok := traceOf(ctx).(trace); ok {
		return t.Signalled(name, deliveryID)
	}
	return nil
}

// apart is ctx with a new trace, which has a link to the one of ctx.
func apart(ctx workflow.Context, name, storeID string) workflow.Context {
	if t, ok := traceOf(ctx).(trace); ok {
		return t.Apart(ctx, name, storeID)
	}
	return ctx
}
