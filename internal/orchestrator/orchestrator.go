// Package orchestrator is the client side of the workflows. The edge, the CLI and the worker send events, ask for reconcile runs and read
// states through it. All calls of Storekeeper to Temporal go through it, but for the polls of a worker; the connection is its caller's.
package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
)

// Errors to branch on with errors.Is.
var (
	// ErrUnavailable: Temporal did not take the request, so nothing of it is durable. Send it again.
	ErrUnavailable = errors.New("temporal can't be reached")
	// ErrDatabase goes with ErrUnavailable: it is known to be Temporal's database.
	ErrDatabase = errors.New("temporal can't use its database")
	// ErrInvalid: the workflow refused the event; the same event would be refused again.
	ErrInvalid = errors.New("the event was refused")
	// ErrNoPendingDeletion: no deletion of that workspace is pending.
	ErrNoPendingDeletion = errors.New("no deletion is pending")
	// ErrReconcileRunning: a reconcile run is under way.
	ErrReconcileRunning = errors.New("a reconcile run is under way")
)

// Client talks to Temporal. It is safe for concurrent use.
type Client struct {
	temporal  client.Client
	namespace string

	workersAway absence
}

// New returns a Client on an open connection, which stays the caller's to close.
func New(temporalClient client.Client, namespace string) *Client {
	return &Client{temporal: temporalClient, namespace: namespace}
}

// NewDeliveryID returns an id for a delivery that brings none of its own.
func NewDeliveryID() string { return uuid.NewString() }

// Signal makes the event durable without waiting for its outcome. ErrUnavailable if Temporal did not take it.
func (c *Client) Signal(ctx context.Context, ev contract.Event) error {
	ctx, cancel := context.WithTimeout(ctx, durableTimeout)
	defer cancel()
	options := lifecycleOptions(ev.InstanceID)
	if ev.Source == contract.SourceReconcile || ev.Source == contract.SourceSystem {
		options.Priority = repair
	}
	_, err := c.temporal.SignalWithStartWorkflow(ctx, contract.LifecycleID(ev.InstanceID), contract.ApplyEvent, ev,
		options, contract.TypeWorkspaceLifecycle, contract.LifecycleInput{InstanceID: ev.InstanceID})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// RequestDeletion makes the deletion of an orphan durable, which the list lacks. Its lifecycle gives way to those of events.
func (c *Client) RequestDeletion(ctx context.Context, instanceID string, s contract.Sighting) error {
	return c.Signal(ctx, contract.Event{
		DeliveryID: contract.ReconcileDelivery + s.At.UTC().Format(time.RFC3339Nano), Type: contract.WorkspaceDeleted,
		InstanceID: instanceID, Timestamp: s.At, Source: contract.SourceReconcile, Origin: s.Origin, List: s.List,
	})
}

// ReportListed makes it durable that a workspace whose deletion is pending is listed again. To the lifecycle that is a creation at the moment of the
// list.
func (c *Client) ReportListed(ctx context.Context, instanceID string, s contract.Sighting) error {
	return c.Signal(ctx, contract.Event{
		DeliveryID: contract.ReconcileDelivery + "listed/" + s.At.UTC().Format(time.RFC3339Nano), Type: contract.WorkspaceCreated,
		InstanceID: instanceID, Timestamp: s.At, Source: contract.SourceReconcile, Origin: s.Origin,
	})
}

// ResumeDeletion makes it durable that the lifecycle of a workspace goes on with its pending deletion. A new lifecycle starts if none
// runs.
func (c *Client) ResumeDeletion(ctx context.Context, instanceID string) error {
	return c.Signal(ctx, contract.Event{
		DeliveryID: "resume/" + NewDeliveryID(), Type: contract.DeletionResume,
		InstanceID: instanceID, Timestamp: time.Now().UTC(), Source: contract.SourceSystem,
	})
}

// Repeat sends an event again that an earlier database of Temporal had taken. event is the JSON of a contract.Event: ErrInvalid if it is
// not. ErrUnavailable if Temporal did not take it.
func (c *Client) Repeat(ctx context.Context, event []byte) error {
	var ev contract.Event
	if err := json.Unmarshal(event, &ev); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c.Signal(ctx, ev)
}

// Engine identifies the database of Temporal: a new database has a namespace of the same name and another id. ErrUnavailable if Temporal
// can't be asked.
func (c *Client) Engine(ctx context.Context) (string, error) {
	desc, err := c.temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: c.namespace})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return desc.GetNamespaceInfo().GetId(), nil
}

// pendingQuery finds the lifecycles that wait for the end of a grace period.
const pendingQuery = "WorkflowType = '" + contract.TypeWorkspaceLifecycle + "' AND ExecutionStatus = 'Running' AND " +
	contract.AttributeWorkspaceState + " = '" + contract.StateDeletionPending + "'"

// DeletionsPending are the ids of the workspaces whose lifecycles wait for the end of a grace period, as far as Temporal shows them: a
// wait that has just begun may be missing. ErrUnavailable if Temporal can't be asked.
func (c *Client) DeletionsPending(ctx context.Context) (map[string]bool, error) {
	pending := map[string]bool{}
	var token []byte
	for {
		page, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: c.namespace, PageSize: 1000, NextPageToken: token, Query: pendingQuery,
		})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		for _, execution := range page.GetExecutions() {
			pending[contract.LifecycleInstance(execution.GetExecution().GetWorkflowId())] = true
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return pending, nil
		}
	}
}

// CountDeletionsPending is how many DeletionsPending finds. ErrUnavailable if Temporal can't be asked.
func (c *Client) CountDeletionsPending(ctx context.Context) (int, error) {
	count, err := c.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: c.namespace, Query: pendingQuery})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return int(count.GetCount()), nil
}

// ResumeDeletions starts the workflow that looks for pending deletions nobody waits for, unless it runs already. It does not wait for its
// end. ErrUnavailable if Temporal did not take it.
func (c *Client) ResumeDeletions(ctx context.Context) error {
	_, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       contract.ResumeDeletionsID,
		TaskQueue:                                contract.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowExecutionErrorWhenAlreadyStarted: false,
		Priority:                                 repair,
	}, contract.TypeResumeDeletions)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func lifecycleOptions(instanceID string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       contract.LifecycleID(instanceID),
		TaskQueue:                contract.TaskQueue,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		// A running lifecycle is what the event is for, and no error.
		WorkflowExecutionErrorWhenAlreadyStarted: false,
	}
}

// LifecycleStatus asks the running lifecycle of a workspace. Nil without an error means that none runs, so nothing is under way.
// ErrUnavailable if Temporal can't be asked.
func (c *Client) LifecycleStatus(ctx context.Context, instanceID string) (*contract.LifecycleStatus, error) {
	resp, err := c.temporal.QueryWorkflowWithOptions(ctx, &client.QueryWorkflowWithOptionsRequest{
		WorkflowID:           contract.LifecycleID(instanceID),
		QueryType:            contract.QueryStatus,
		QueryRejectCondition: enumspb.QUERY_REJECT_CONDITION_NOT_OPEN,
	})
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return nil, nil //nolint:nilnil // documented: no lifecycle runs
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case resp.QueryRejected != nil:
		return nil, nil //nolint:nilnil // documented: no lifecycle runs
	}
	var status contract.LifecycleStatus
	if err := resp.QueryResult.Get(&status); err != nil {
		return nil, err
	}
	return &status, nil
}

// CancelDeletion cancels the pending deletion of a workspace, leaves a hold, and waits for the outcome, which is StatusDeletionCancelled
// unless the store was stopped first. The signal is durable even while no worker runs; then the wait lasts until ctx ends.
// ErrNoPendingDeletion when no lifecycle runs, ErrUnavailable if Temporal did not take the signal. Any other error is one of LifecycleEnd: the
// signal was taken.
func (c *Client) CancelDeletion(ctx context.Context, instanceID string, cancellation contract.Cancellation) (contract.Result, error) {
	err := c.temporal.SignalWorkflow(ctx, contract.LifecycleID(instanceID), "", contract.CancelDeletion, cancellation)
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return contract.Result{}, ErrNoPendingDeletion
	case err != nil:
		return contract.Result{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return c.LifecycleEnd(ctx, instanceID)
}

// LifecycleEnd waits until the lifecycle of a workspace has nothing left to do, and returns its last outcome. If none runs, that is the
// outcome of the last one that ran. A *temporal.WorkflowExecutionError if that lifecycle failed, or somebody cancelled or terminated it; a
// *serviceerror.NotFound if Temporal knows of none. After any other error it goes on, and only the wait has ended: with ctx, or because Temporal
// can't be reached.
func (c *Client) LifecycleEnd(ctx context.Context, instanceID string) (contract.Result, error) {
	var result contract.LifecycleResult
	if err := c.temporal.GetWorkflow(ctx, contract.LifecycleID(instanceID), "").Get(ctx, &result); err != nil {
		return contract.Result{}, err
	}
	return result.Last, nil
}

// Reachable asks Temporal's frontend for its health; ErrUnavailable if it does not answer.
func (c *Client) Reachable(ctx context.Context) error {
	if _, err := c.temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// Backlog is how long the oldest event has waited for a worker, by what the task queue itself says; 0 when none waits. Repairs give way to
// events and don't count. ErrUnavailable if Temporal can't be asked.
func (c *Client) Backlog(ctx context.Context) (time.Duration, error) {
	var oldest time.Duration
	for _, kind := range []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY} {
		resp, err := c.temporal.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
			Namespace: c.namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: contract.TaskQueue}, TaskQueueType: kind, ReportStats: true,
		})
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if len(resp.GetStatsByPriorityKey()) == 0 { // a server that knows no priorities
			oldest = max(oldest, resp.GetStats().GetApproximateBacklogAge().AsDuration())
		}
		for priority, stats := range resp.GetStatsByPriorityKey() {
			if priority < contract.PriorityRepair {
				oldest = max(oldest, stats.GetApproximateBacklogAge().AsDuration())
			}
		}
	}
	return oldest, nil
}
