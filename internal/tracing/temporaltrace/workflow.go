package temporaltrace

import (
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/tracing"
)

// InterceptWorkflow implements interceptor.WorkerInterceptor. It is called once for each run.
func (b *both) InterceptWorkflow(ctx workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{
		WorkflowInboundInterceptorBase: interceptor.WorkflowInboundInterceptorBase{Next: next},
		run:                            &run{id: workflow.GetInfo(ctx).WorkflowExecution.RunID, signalled: map[string]*Trace{}},
	}
}

// inbound is part of the deterministic code of workflows. It makes no command, and defers nothing, because a deferred call would also run when the
// cache evicts the workflow.
type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	run *run
}

// Init implements interceptor.WorkflowInboundInterceptor.
func (i *inbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outbound{interceptor.WorkflowOutboundInterceptorBase{Next: out}})
}

// ExecuteWorkflow implements interceptor.WorkflowInboundInterceptor.
func (i *inbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	t := i.run.read(interceptor.WorkflowHeader(ctx))
	name := workflow.GetInfo(ctx).WorkflowType.Name
	if name == waiting {
		return i.Next.ExecuteWorkflow(workflow.WithValue(ctx, contract.TraceKey{}, t), in)
	}
	t, span := t.begin(ctx, "RunWorkflow:"+name, "")
	result, err := i.Next.ExecuteWorkflow(workflow.WithValue(ctx, contract.TraceKey{}, t), in)
	end(ctx, span, err)
	return result, err
}

// ExecuteUpdate implements interceptor.WorkflowInboundInterceptor. The span lasts as long as the sender of the update may wait for its outcome.
func (i *inbound) ExecuteUpdate(ctx workflow.Context, in *interceptor.UpdateInput) (any, error) {
	t, span := i.run.read(interceptor.WorkflowHeader(ctx)).begin(ctx, "HandleUpdate:"+in.Name, workflow.GetCurrentUpdateInfo(ctx).ID)
	result, err := i.Next.ExecuteUpdate(workflow.WithValue(ctx, contract.TraceKey{}, t), in)
	end(ctx, span, err)
	return result, err
}

// HandleSignal implements interceptor.WorkflowInboundInterceptor. The workflow gets the signal later, out of a channel.
func (i *inbound) HandleSignal(ctx workflow.Context, in *interceptor.HandleSignalInput) error {
	var delivery struct {
		ID string `json:"deliveryId"`
	}
	_ = converter.GetDefaultDataConverter().FromPayloads(in.Arg, &delivery) // what can't be read has no id
	i.run.signalled[in.SignalName+"/"+delivery.ID] = i.run.read(interceptor.WorkflowHeader(ctx))
	return i.Next.HandleSignal(ctx, in)
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
}

// tell puts the trace of ctx into the header of the call that is made with it.
func (o *outbound) tell(ctx workflow.Context) {
	if t, ok := ctx.Value(contract.TraceKey{}).(*Trace); ok {
		t.write(interceptor.WorkflowHeader(ctx))
	}
}

// ExecuteActivity implements interceptor.WorkflowOutboundInterceptor.
func (o *outbound) ExecuteActivity(ctx workflow.Context, activityType string, args ...any) workflow.Future {
	o.tell(ctx)
	return o.Next.ExecuteActivity(ctx, activityType, args...)
}

// ExecuteLocalActivity implements interceptor.WorkflowOutboundInterceptor.
func (o *outbound) ExecuteLocalActivity(ctx workflow.Context, activityType string, args ...any) workflow.Future {
	o.tell(ctx)
	return o.Next.ExecuteLocalActivity(ctx, activityType, args...)
}

// ExecuteChildWorkflow implements interceptor.WorkflowOutboundInterceptor.
func (o *outbound) ExecuteChildWorkflow(ctx workflow.Context, childWorkflowType string, args ...any) workflow.ChildWorkflowFuture {
	o.tell(ctx)
	return o.Next.ExecuteChildWorkflow(ctx, childWorkflowType, args...)
}

// NewContinueAsNewError implements interceptor.WorkflowOutboundInterceptor.
func (o *outbound) NewContinueAsNewError(ctx workflow.Context, wfn any, args ...any) error {
	o.tell(ctx)
	return o.Next.NewContinueAsNewError(ctx, wfn, args...)
}

// Field is what log lines have of the context of a workflow (tracing.Field).
func Field(ctx workflow.Context) zap.Field {
	if t, ok := ctx.Value(contract.TraceKey{}).(*Trace); ok {
		return tracing.Field(t.ctx)
	}
	return zap.Skip()
}

// GetLogger implements interceptor.WorkflowOutboundInterceptor.
func (o *outbound) GetLogger(ctx workflow.Context) log.Logger {
	logger := o.Next.GetLogger(ctx)
	t, ok := ctx.Value(contract.TraceKey{}).(*Trace)
	if !ok {
		return logger
	}
	if id := tracing.TraceID(t.ctx); id != "" {
		logger = log.With(logger, tracing.KeyTraceID, id)
	}
	if id := tracing.RequestID(t.ctx); id != "" {
		logger = log.With(logger, tracing.KeyRequestID, id)
	}
	return logger
}
