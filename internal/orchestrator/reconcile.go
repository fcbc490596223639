package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/types/known/timestamppb"

	"storekeeper/contract"
)

// repair is the priority of all reconciliation. Activities and child workflows have that of their workflow, where they have none of
// their own: so a run that waits for a worker is no event that waits, and Backlog leaves it out.
var repair = temporal.Priority{PriorityKey: contract.PriorityRepair}

// ReconcileRun is a reconcile run that has been started or joined.
type ReconcileRun struct{ run client.WorkflowRun }

// ID is the run id.
func (r ReconcileRun) ID() string { return r.run.GetRunID() }

// Wait returns the report of the run, or its failure.
func (r ReconcileRun) Wait(ctx context.Context) (contract.ReconcileReport, error) {
	var report contract.ReconcileReport
	err := r.run.Get(ctx, &report)
	return report, err
}

// StartReconcile starts a run; ErrReconcileRunning if there is one.
func (c *Client) StartReconcile(ctx context.Context, in contract.ReconcileInput) (ReconcileRun, error) {
	return c.reconcile(ctx, in, enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL)
}

// JoinReconcile starts a run, or joins the one under way.
func (c *Client) JoinReconcile(ctx context.Context, in contract.ReconcileInput) (ReconcileRun, error) {
	return c.reconcile(ctx, in, enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)
}

// RequestReconcile starts a run whose lists are fetched after this call: when one is under way, it waits for its end first.
func (c *Client) RequestReconcile(ctx context.Context, in contract.ReconcileInput) error {
	for {
		_, err := c.StartReconcile(ctx, in)
		if !errors.Is(err, ErrReconcileRunning) {
			return err
		}
		// How that run ends does not matter, only that it does.
		_ = c.temporal.GetWorkflow(ctx, contract.ReconcileID, "").Get(ctx, nil)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-time.After(50 * time.Millisecond): // its end may show here before a new run may start
		}
	}
}

const (
	// planTimeout is more than the attempts of a comparison take: it ends only what nobody waits for any more.
	planTimeout = time.Hour
	// cancelTimeout bounds how long whoever gives up is kept waiting.
	cancelTimeout = 3 * time.Second
)

// PlanReconcile waits for what a run would do now. It changes nothing, and runs beside a run under way. When ctx ends before,
// so does the comparison.
func (c *Client) PlanReconcile(ctx context.Context) (_ contract.Plan, err error) {
	id := contract.PlanReconcileID + uuid.NewString()
	defer func() {
		if _, ended := errors.AsType[*temporal.WorkflowExecutionError](err); err == nil || ended {
			return
		}
		cancelCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
		defer cancel()
		_ = c.temporal.CancelWorkflow(cancelCtx, id, "") // else planTimeout ends it; it may never have begun
	}()
	run, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: contract.TaskQueue, WorkflowExecutionTimeout: planTimeout, Priority: repair,
	}, contract.TypePlanReconcile)
	if err != nil {
		return contract.Plan{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var plan contract.Plan
	err = run.Get(ctx, &plan)
	return plan, err
}

// ReconcileProgress is what the activity under way in a run tells; nil without an error when none does. ErrUnavailable if
// Temporal can't be asked.
func (c *Client) ReconcileProgress(ctx context.Context, run ReconcileRun) (*contract.Progress, error) {
	desc, err := c.temporal.DescribeWorkflowExecution(ctx, run.run.GetID(), "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, a := range desc.GetPendingActivities() {
		var p contract.Progress
		details := a.GetHeartbeatDetails()
		if details != nil && converter.GetDefaultDataConverter().FromPayloads(details, &p) == nil {
			return &p, nil
		}
	}
	return nil, nil //nolint:nilnil // documented: nothing is told
}

func (c *Client) reconcile(ctx context.Context, in contract.ReconcileInput, conflict enumspb.WorkflowIdConflictPolicy) (ReconcileRun, error) {
	run, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       contract.ReconcileID,
		TaskQueue:                                contract.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy:                 conflict,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		Priority:                                 repair,
	}, contract.TypeReconcileWorkspaces, in)
	switch {
	case temporal.IsWorkflowExecutionAlreadyStartedError(err):
		return ReconcileRun{}, ErrReconcileRunning
	case err != nil:
		return ReconcileRun{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return ReconcileRun{run: run}, nil
}

// UnderWay is a reconcile run that has not ended; all zero when there is none.
type UnderWay struct {
	StartedAt time.Time
	// LastSign is the newest sign that it goes on: a step was scheduled or begun, or told how far it is.
	LastSign time.Time
	// List is nil when the run has no news of its list yet.
	List *ListAttempt
}

// ReconcileRunning returns the run under way. ErrUnavailable if Temporal can't be asked.
func (c *Client) ReconcileRunning(ctx context.Context) (UnderWay, error) {
	desc, err := c.temporal.DescribeWorkflowExecution(ctx, contract.ReconcileID, "")
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return UnderWay{}, nil // none ever ran, or the last is past its retention
	case err != nil:
		return UnderWay{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	info := desc.GetWorkflowExecutionInfo()
	if info.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return UnderWay{}, nil
	}
	run := UnderWay{StartedAt: info.GetStartTime().AsTime()}
	run.LastSign = latest(run.StartedAt, desc.GetPendingWorkflowTask().GetScheduledTime().AsTime())
	for _, a := range desc.GetPendingActivities() {
		for _, at := range []*timestamppb.Timestamp{a.GetScheduledTime(), a.GetLastStartedTime(), a.GetLastHeartbeatTime()} {
			run.LastSign = latest(run.LastSign, at.AsTime())
		}
		if list := listAttempt(a); list != nil { // one activity at a time
			run.List = list
		}
	}
	if first := info.GetFirstRunId(); first != "" && first != info.GetExecution().GetRunId() { // a long run goes on under a new run id
		if desc, err := c.temporal.DescribeWorkflowExecution(ctx, contract.ReconcileID, first); err == nil {
			run.StartedAt = desc.GetWorkflowExecutionInfo().GetStartTime().AsTime()
		}
	}
	return run, nil
}

// ListAttempt is what a run under way tells of the list that it asked the Auth Worker for last. What a run comes to is recorded at its end,
// and an attempt that failed may be minutes before that.
type ListAttempt struct {
	// EndedAt is when that ended. Failure is the text of why there is nothing to compare, the list's or another side's; "" when there was a
	// list, whose repair is under way.
	EndedAt time.Time
	Failure string
	// NextAt is when it tries again; zero when it does so now.
	NextAt time.Time
}

// listAttempt is what an activity under way tells of the list; nil when that is nothing.
func listAttempt(a *workflowpb.PendingActivityInfo) *ListAttempt {
	switch a.GetActivityType().GetName() {
	case contract.ActivityCompareLists:
		if a.GetLastFailure() == nil {
			return nil
		}
		attempt := &ListAttempt{EndedAt: a.GetLastAttemptCompleteTime().AsTime(), Failure: a.GetLastFailure().GetMessage()}
		if next := a.GetNextAttemptScheduleTime(); next != nil {
			attempt.NextAt = next.AsTime()
		}
		return attempt
	case contract.ActivityResumeDeletions, contract.ActivityEndDeletions, contract.ActivityEnsureMissing, contract.ActivityRequestDeletions:
		return &ListAttempt{EndedAt: a.GetScheduledTime().AsTime()}
	}
	return nil
}

// noteDisabled marks a schedule that is paused because of the setting, so that an operator's own pause is left alone.
const noteDisabled = "WORKSPACE_RECONCILE_ENABLED is false"

// EnsureSchedule creates the reconcile schedule or makes the one that is there agree with the settings. A pause that an
// operator made stays.
func (c *Client) EnsureSchedule(ctx context.Context, interval time.Duration, enabled bool) error {
	want := schedule(interval, enabled)
	_, err := c.temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:            contract.ReconcileScheduleID,
		Spec:          *want.Spec,
		Action:        want.Action,
		Overlap:       want.Policy.Overlap,
		CatchupWindow: want.Policy.CatchupWindow,
		Paused:        want.State.Paused,
		Note:          want.State.Note,
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return err
	}
	handle := c.temporal.ScheduleClient().GetHandle(ctx, contract.ReconcileScheduleID)
	return handle.Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			state := in.Description.Schedule.State
			if byOperator := state.Paused && state.Note != noteDisabled; !byOperator {
				state.Paused, state.Note = want.State.Paused, want.State.Note
			}
			want.State = state
			return &client.ScheduleUpdate{Schedule: &want}, nil
		},
	})
}

func schedule(interval time.Duration, enabled bool) client.Schedule {
	s := client.Schedule{
		Spec: &client.ScheduleSpec{
			Intervals: []client.ScheduleIntervalSpec{{Every: interval}},
			// Several installations must not ask one Auth Worker in the same second.
			Jitter: min(interval/10, 30*time.Second),
		},
		Action: &client.ScheduleWorkflowAction{
			ID:        contract.ScheduledReconcileID,
			Workflow:  contract.TypeScheduledReconcile,
			TaskQueue: contract.TaskQueue,
			Priority:  repair,
		},
		Policy: &client.SchedulePolicies{
			Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
			// One late run repairs as much as all that were missed; the default would catch up a year of them.
			CatchupWindow: max(time.Minute, min(interval, 10*time.Minute)),
		},
		State: &client.ScheduleState{Paused: !enabled},
	}
	if !enabled {
		s.State.Note = noteDisabled
	}
	return s
}

// Schedule is the state of the reconcile schedule.
type Schedule struct {
	// Every is its interval, 0 for a schedule that no worker has created yet.
	Every  time.Duration
	Paused bool
	// Note is of whoever paused it.
	Note string
}

// ReconcileSchedule returns the state of the schedule. ErrUnavailable if Temporal can't be asked.
func (c *Client) ReconcileSchedule(ctx context.Context) (Schedule, error) {
	desc, err := c.temporal.ScheduleClient().GetHandle(ctx, contract.ReconcileScheduleID).Describe(ctx)
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return Schedule{}, nil
	case err != nil:
		return Schedule{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s := Schedule{Paused: desc.Schedule.State.Paused, Note: desc.Schedule.State.Note}
	for _, interval := range desc.Schedule.Spec.Intervals {
		s.Every = interval.Every
	}
	return s, nil
}

// SearchAttributes are those that the workflows set, for whoever sets up a namespace.
func SearchAttributes() map[string]enumspb.IndexedValueType {
	return map[string]enumspb.IndexedValueType{
		contract.AttributeWorkspaceState: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		contract.AttributeDeleteAt:       enumspb.INDEXED_VALUE_TYPE_DATETIME,
	}
}

// EnsureSearchAttributes adds what is missing in the namespace. Without them a deletion could not be shown, and its
// workflow task would fail for ever, so a worker must not start.
func (c *Client) EnsureSearchAttributes(ctx context.Context) error {
	list, err := c.temporal.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: c.namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	for name, kind := range SearchAttributes() {
		have, ok := list.GetCustomAttributes()[name]
		switch {
		case !ok:
			missing[name] = kind
		case have != kind:
			return fmt.Errorf("search attribute %s of namespace %s is a %s and must be a %s", name, c.namespace, have, kind)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.temporal.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: c.namespace, SearchAttributes: missing,
	})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("add search attributes %v to namespace %s (an administrator can do it with "+
			"`temporal operator search-attribute create`): %w", missing, c.namespace, err)
	}
	return nil
}
