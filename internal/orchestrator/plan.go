package orchestrator

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
)

const (
	// planTimeout is longer than all attempts of a comparison take. It ends only what nobody waits for any more.
	planTimeout = time.Hour
	// forgetTimeout bounds how long a caller who has a plan, or gives up, is kept waiting.
	forgetTimeout = 3 * time.Second
)

// PlanRun is a comparison that has been started. Its starter must call Wait.
type PlanRun struct {
	client *Client
	run    client.WorkflowRun
}

// StartPlan has a worker find out what a run would do now. It changes nothing, and runs beside a run under way. ErrUnavailable if it could
// not be started.
func (c *Client) StartPlan(ctx context.Context) (PlanRun, error) {
	id := contract.PlanReconcileID + uuid.NewString()
	run, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: contract.TaskQueue, WorkflowExecutionTimeout: planTimeout, Priority: repair,
	}, contract.TypePlanReconcile)
	if err != nil {
		c.forget(ctx, id) // it may have begun
		return PlanRun{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return PlanRun{client: c, run: run}, nil
}

// Wait returns the plan. The comparison ends with ctx, and Temporal forgets it in any case, within minutes: a plan is an answer to one question,
// and many of them would hide the workflows that matter. A *temporal.WorkflowExecutionError if it failed, timed out, or was cancelled or terminated. Any
// other error is that of ctx, or Temporal can't be reached.
func (r PlanRun) Wait(ctx context.Context) (contract.Plan, error) {
	defer r.client.forget(ctx, r.run.GetID())
	var plan contract.Plan
	err := r.run.Get(ctx, &plan)
	return plan, err
}

// Progress is that of ReconcileProgress for a plan.
func (r PlanRun) Progress(ctx context.Context) (*contract.Progress, error) {
	return r.client.progress(ctx, r.run.GetID())
}

// forget has Temporal delete a workflow, and end it before if it still runs. If that can't be asked for, planTimeout ends it, and the namespace's
// retention deletes it.
func (c *Client) forget(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTimeout)
	defer cancel()
	_, _ = c.temporal.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
		Namespace: c.namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id},
	})
}
