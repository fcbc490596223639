package workflows_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
	"storekeeper/workflows"
)

// priorities notes the priority key with which each activity is scheduled; 0 is that of its workflow. The test environment does not
// hand it on to the activities, so they can't be asked.
type priorities struct {
	interceptor.WorkerInterceptorBase
	keys map[string]int
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	keys map[string]int
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	keys map[string]int
}

func (p *priorities) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &inbound{keys: p.keys}
	in.Next = next
	return in
}

func (i *inbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	out := &outbound{keys: i.keys}
	out.Next = next
	return i.Next.Init(out)
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	o.keys[name] = workflow.GetActivityOptions(ctx).Priority.PriorityKey
	return o.Next.ExecuteActivity(ctx, name, args...)
}

func TestRepairGivesWayToEvents(t *testing.T) {
	t.Parallel()
	require.Greater(t, contract.PriorityRepair, 3, "events have Temporal's default, 3, and a lower number comes first")
	scheduled := &priorities{keys: map[string]int{}}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{scheduled}})
	registerRepair(env, contract.Plan{MissingCount: 1, Missing: []string{"missing"}, OrphanCount: 1, Orphans: []string{"orphan"}})
	env.ExecuteWorkflow(workflows.ReconcileWorkspaces, contract.ReconcileInput{Confirm: true})
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, map[string]int{
		"EnsureMissing": contract.PriorityRepair, "RequestDeletions": contract.PriorityRepair, "ResumeDeletions": contract.PriorityRepair,
		"CompareLists": 0, "RecordRun": 0, // as the run, and whoever starts one gives it PriorityRepair (internal/orchestrator)
	}, scheduled.keys)
}

// registerRepair registers activities that find the plan and carry it out.
func registerRepair(env *testsuite.TestWorkflowEnvironment, plan contract.Plan) {
	register := func(name string, fn any) { env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name}) }
	register("CompareLists", func(context.Context, contract.CompareInput) (contract.Plan, error) { return plan, nil })
	register("EnsureMissing", func(_ context.Context, in contract.EnsureMissingInput) (contract.EnsureMissingResult, error) {
		return contract.EnsureMissingResult{Added: len(in.IDs)}, nil
	})
	register("RequestDeletions", func(_ context.Context, in contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
		return contract.RequestDeletionsResult{Requested: len(in.IDs)}, nil
	})
	register("RecordRun", func(context.Context, contract.RecordInput) error { return nil })
}
