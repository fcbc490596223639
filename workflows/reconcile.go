package workflows

import (
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
)

// maxRounds bounds the rounds of one run. What is left then is for the next run.
const maxRounds = 1000

// ReconcileWorkspaces makes what is monitored equal to the authoritative list, in rounds with a bounded plan each. There is at most one
// run, because it runs under ReconcileID alone.
func ReconcileWorkspaces(ctx workflow.Context, in contract.ReconcileInput) (contract.ReconcileReport, error) {
	r := &reconcileRun{in: in, report: contract.ReconcileReport{Trigger: in.Trigger, Actor: in.Actor, StartedAt: workflow.Now(ctx)}}
	if in.Carried != nil {
		r.report = *in.Carried
	} else if r.in.Origin.Plan == "" {
		r.in.Origin.Plan = in.ApprovedPlan // callers of an older version say no more
	}
	if err := workflow.SetQueryHandler(ctx, contract.QueryReport, func() (contract.ReconcileReport, error) { return r.report, nil }); err != nil {
		return contract.ReconcileReport{}, err
	}
	err := r.run(ctx)
	if workflow.IsContinueAsNewError(err) {
		return contract.ReconcileReport{}, err
	}
	r.record(ctx, err)
	return r.report, err
}

type reconcileRun struct {
	in     contract.ReconcileInput
	report contract.ReconcileReport
}

func (r *reconcileRun) run(ctx workflow.Context) error {
	for {
		again, err := r.round(ctx)
		if err != nil || !again {
			return err
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			r.in.Carried = &r.report
			return workflow.NewContinueAsNewError(ctx, ReconcileWorkspaces, r.in)
		}
	}
}

// round compares, repairs what the bounded plan holds, and says whether the plan leaves something to another round.
func (r *reconcileRun) round(ctx workflow.Context) (again bool, err error) {
	plan, err := compareLists(ctx, contract.CompareInput{
		RunID: workflow.GetInfo(ctx).FirstRunID, RunStartedAt: r.started(),
		ApprovedPlan: r.in.ApprovedPlan, Confirm: r.in.Confirm, Mode: r.in.Mode, After: r.in.After,
	})
	if err != nil {
		return false, err
	}
	r.take(plan)
	workflow.SetCurrentDetails(ctx, details(r.report))
	if r.in.ApprovedPlan = ""; plan.Released {
		r.in.ApprovedPlan = plan.RestHash // exactly these are left of the approved plan
	}
	if r.report.Rounds == 1 {
		if err := r.lookAfterDeletions(ctx, plan); err != nil {
			return false, err
		}
	}
	if err := r.add(ctx, plan); err != nil {
		return false, err
	}
	if err := r.remove(ctx, plan); err != nil {
		return false, err
	}
	r.in.After = plan.Next
	return plan.Next != (contract.Cursor{}) && r.report.Paused == "" && r.report.Rounds < maxRounds, nil
}

// add ensures the stores that the plan says are missing.
func (r *reconcileRun) add(ctx workflow.Context, plan contract.Plan) error {
	if len(plan.Missing) == 0 {
		return nil
	}
	began := workflow.Now(ctx)
	res, err := ensureMissing(ctx, contract.EnsureMissingInput{
		IDs: plan.Missing, ListAt: plan.ListAt, RunID: workflow.GetInfo(ctx).FirstRunID, Origin: r.origin(ctx, false),
	})
	if err != nil {
		return err
	}
	rep := &r.report
	rep.Phases.EnsureMs += workflow.Now(ctx).Sub(began).Milliseconds()
	rep.Added += res.Added
	rep.Adopted += res.Adopted
	rep.Failing = append(rep.Failing, res.Failing[:min(len(res.Failing), contract.MaxFailing-len(rep.Failing))]...)
	rep.FailedAdds += res.Failed
	r.left(res.Left, res.Paused)
	rep.Stale += res.Stale
	rep.MonitoredCount += res.Added
	return nil
}

// origin says who asked for the run. Only what an approval has released is said to be approved.
func (r *reconcileRun) origin(ctx workflow.Context, approved bool) contract.Origin {
	o := r.in.Origin
	if !approved {
		o.Plan = ""
	}
	o.Source, o.RunID = contract.SourceReconcile, workflow.GetInfo(ctx).FirstRunID
	if o.Actor == "" {
		o.Actor = r.in.Actor
	}
	return o
}

// handOver is what lifecycles are told of these stores.
func handOver(ids []string, plan contract.Plan, by contract.Origin) contract.RequestDeletionsInput {
	return contract.RequestDeletionsInput{
		IDs: ids, ListAt: plan.ListAt, Origin: by,
		List: contract.ListRef{At: plan.ListAt, Hash: plan.ListHash, Entries: plan.AuthoritativeCount},
	}
}

// remove hands the orphans of the plan to their lifecycles.
func (r *reconcileRun) remove(ctx workflow.Context, plan contract.Plan) error {
	if len(plan.Orphans) == 0 {
		return nil
	}
	began := workflow.Now(ctx)
	res, err := requestDeletions(ctx, handOver(plan.Orphans, plan, r.origin(ctx, plan.Released)))
	if err != nil {
		return err
	}
	r.report.Phases.RemoveMs += workflow.Now(ctx).Sub(began).Milliseconds()
	r.report.Removed += res.Requested
	r.report.FailedRemovals += res.Failed
	r.left(res.Left, res.Paused)
	if plan.Released && res.Requested > 0 {
		r.report.GuardVerdict = contract.GuardApproved
	}
	return nil
}

// changeLookAfterDeletions is the version gate of runs that did not look after pending deletions. It stays although no worker without this step
// is left: workers of the versions before ask for it too, and to them a history without its marker is that of a run without the step. While an
// upgrade rolls, or after it was taken back, they may go on with a run of ours. The golden history reconcile-resumes-and-keeps bears the marker.
const changeLookAfterDeletions = "look-after-deletions"

// lookAfterDeletions resumes pending deletions that no lifecycle waits for, and ends those whose workspaces are listed again. What can't
// be resumed now is for the next run.
func (r *reconcileRun) lookAfterDeletions(ctx workflow.Context, plan contract.Plan) error {
	// An empty registry may be a new one.
	resume := plan.PendingCount > 0 || plan.RegistryLost || plan.MonitoredCount == 0
	if !resume && len(plan.ListedAgain) == 0 {
		return nil
	}
	if workflow.GetVersion(ctx, changeLookAfterDeletions, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	if resume {
		res, err := resumeDeletions(workflow.WithActivityOptions(ctx, repairOptions))
		switch {
		case temporal.IsCanceledError(err):
			return err
		case err != nil:
			workflow.GetLogger(ctx).Error("pending deletions not resumed", "error", err)
		}
		r.report.Resumed, r.report.Restored = res.Resumed, res.Restored
		r.left(res.Failed, "")
	}
	if len(plan.ListedAgain) == 0 {
		return nil
	}
	res, err := endDeletions(ctx, handOver(plan.ListedAgain, plan, r.origin(ctx, false)))
	r.report.ListedAgain = res.Requested
	r.left(res.Left+res.Failed, res.Paused)
	return err
}

// left counts what was planned and not done.
func (r *reconcileRun) left(n int, paused string) {
	r.report.Left += n
	if paused != "" {
		r.report.Paused = paused
	}
}

// started is the start of the run by the clock of the lists, once that is known: sightings are told by that clock.
func (r *reconcileRun) started() time.Time {
	if first := r.report.FirstListAt; !first.IsZero() && first.Before(r.report.StartedAt) {
		return first
	}
	return r.report.StartedAt
}

// details is what the Web UI shows of a run under way, and of one that has ended.
func details(rep contract.ReconcileReport) string {
	text := fmt.Sprintf("%d listed, %d monitored; at first %d missing, %d orphans, %d sighted for the first time", rep.AuthoritativeCount,
		rep.MonitoredCount, rep.Missing, rep.Orphaned, rep.FirstSightings)
	if rep.Paused != "" {
		text += "\n\n**Paused** by " + rep.Paused
	}
	if rep.Guard != "" {
		text += "\n\n**The guard holds removals back:** " + rep.Guard
	}
	return text
}

// take puts what the plan says into the report. What a run found is what its first round found; later rounds find only what is left.
func (r *reconcileRun) take(plan contract.Plan) {
	rep := &r.report
	rep.Rounds++
	rep.AuthoritativeCount, rep.MonitoredCount = plan.AuthoritativeCount, plan.MonitoredCount
	rep.QuarantinedCount, rep.Quarantined = plan.QuarantinedCount, plan.Quarantined
	rep.SetAsideCount, rep.SetAside = plan.SetAsideCount, plan.SetAside
	rep.Mode, rep.Paused = plan.Mode, plan.Paused
	rep.ListAt, rep.ListHash = plan.ListAt, plan.ListHash
	rep.Phases.FetchMs += plan.FetchMs
	rep.Phases.CompareMs += plan.CompareMs
	if rep.Rounds == 1 {
		rep.Skipped = plan.Skipped
		rep.FirstListAt, rep.FirstListHash = plan.ListAt, plan.ListHash
		rep.Missing, rep.Orphaned, rep.FirstSightings = plan.MissingCount, plan.OrphanCount, plan.FirstSightings
		rep.DriftCount = plan.MissingCount + plan.OrphanCount + plan.FirstSightings
		rep.PlanHash = plan.Hash
	}
	if rep.Guard == "" && plan.Guard != "" && plan.Mode == contract.ModeFull {
		rep.Guard, rep.PlanHash = plan.Guard, ""
		if plan.Approvable {
			rep.PlanHash = plan.Approve
		}
	}
	switch {
	case plan.Mode != contract.ModeFull:
	case plan.KeptBack:
		rep.GuardVerdict = contract.GuardKeepsBack
	case plan.LacksNothing && rep.Rounds == 1:
		rep.GuardVerdict = contract.GuardCleared
	}
}

// record keeps the report, also that of a cancelled run. A run whose report can't be kept has done its work all the same.
func (r *reconcileRun) record(ctx workflow.Context, cause error) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	r.report.CompletedAt = workflow.Now(ctx)
	r.report.DurationMs = r.report.CompletedAt.Sub(r.report.StartedAt).Milliseconds()
	in := contract.RecordInput{RunID: workflow.GetInfo(ctx).FirstRunID, Report: r.report, Error: safeMessage(cause), Refused: refused(cause), Origin: r.origin(ctx, true)}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, recordOptions), reconcile.RecordRun, in).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Error("reconcile report not recorded", "error", err)
	}
}

// refused says whether the run was refused because the plan is not the approved one.
func refused(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.Type() == contract.ErrTypePlanChanged
}

// safeMessage is the innermost message of an activity's failure. Activities put nothing into it that may not be shown.
func safeMessage(err error) string {
	var app *temporal.ApplicationError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &app):
		return app.Message()
	case temporal.IsCanceledError(err):
		return contract.RunCancelled
	case temporal.IsTimeoutError(err):
		return "timed out"
	}
	return "failed; the Temporal Web UI shows the run"
}

// ResumeDeletions makes the lifecycles of all pending deletions go on, and tells a new database of Temporal of events again. Each worker
// asks for it at its start, under one id.
func ResumeDeletions(ctx workflow.Context) (contract.ResumeResult, error) {
	return resumeDeletions(workflow.WithActivityOptions(ctx, resumeAtStartOptions))
}

// PlanReconcile says what a reconcile run would do now. It repairs nothing and keeps no first sightings.
func PlanReconcile(ctx workflow.Context) (contract.Plan, error) {
	return compareLists(ctx, contract.CompareInput{RunStartedAt: workflow.Now(ctx), Confirm: true, ReadOnly: true})
}

// ScheduledReconcile is what the Schedule starts. It runs ReconcileWorkspaces under its one id, and does nothing when a run is under way
// already.
func ScheduledReconcile(ctx workflow.Context) error {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            contract.ReconcileID,
		TaskQueue:             contract.TaskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		// A run that has begun goes on even if somebody terminates this workflow.
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
	})
	err := workflow.ExecuteChildWorkflow(ctx, ReconcileWorkspaces, contract.ReconcileInput{
		Trigger: contract.TriggerSchedule, Confirm: true, Origin: contract.Origin{Via: contract.ViaSchedule},
	}).Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		workflow.GetLogger(ctx).Info("a reconcile run is under way already")
		return nil
	}
	return err
}

// A run that can't read one of the sides fails soon, so that it shows. The next interval tries again.
var reconcileRetry = &temporal.RetryPolicy{
	InitialInterval:    time.Second,
	BackoffCoefficient: 2,
	MaximumInterval:    10 * time.Second,
	MaximumAttempts:    3,
}

var compareOptions = workflow.ActivityOptions{
	StartToCloseTimeout: 15 * time.Minute, // a million workspaces and a slow Auth Worker
	HeartbeatTimeout:    time.Minute,      // more than authclient's idle time-out, which gives the better error
	RetryPolicy:         reconcileRetry,
	Summary:             "compare the lists",
}

// Repair gives way to events wherever both wait for a worker.
var repairOptions = workflow.ActivityOptions{
	Priority:            temporal.Priority{PriorityKey: contract.PriorityRepair},
	StartToCloseTimeout: 15 * time.Minute,
	HeartbeatTimeout:    30 * time.Second, // more than a batch takes at a Node server (20 s): another worker waits as long for a dead one
	RetryPolicy:         reconcileRetry,
	Summary:             "repair",
}

// At a start the other sides may be away for a while. Each reconcile run tries again, too.
var resumeAtStartOptions = workflow.ActivityOptions{
	Priority:               temporal.Priority{PriorityKey: contract.PriorityRepair},
	StartToCloseTimeout:    15 * time.Minute,
	ScheduleToCloseTimeout: time.Hour,
	HeartbeatTimeout:       30 * time.Second,
	RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute},
	Summary:                "resume pending deletions",
}

var recordOptions = workflow.ActivityOptions{
	StartToCloseTimeout:    10 * time.Second,
	ScheduleToCloseTimeout: time.Minute,
	RetryPolicy:            reconcileRetry,
	Summary:                "record the run",
}

func compareLists(ctx workflow.Context, in contract.CompareInput) (contract.Plan, error) {
	return execute[contract.Plan](workflow.WithActivityOptions(ctx, compareOptions), reconcile.CompareLists, in)
}

func ensureMissing(ctx workflow.Context, in contract.EnsureMissingInput) (contract.EnsureMissingResult, error) {
	return execute[contract.EnsureMissingResult](workflow.WithActivityOptions(ctx, repairOptions), reconcile.EnsureMissing, in)
}

func endDeletions(ctx workflow.Context, in contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
	return execute[contract.RequestDeletionsResult](workflow.WithActivityOptions(ctx, repairOptions), reconcile.EndDeletions, in)
}

func resumeDeletions(ctx workflow.Context) (contract.ResumeResult, error) {
	var out contract.ResumeResult
	err := workflow.ExecuteActivity(ctx, reconcile.ResumeDeletions).Get(ctx, &out)
	return out, err
}

func requestDeletions(ctx workflow.Context, in contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
	return execute[contract.RequestDeletionsResult](workflow.WithActivityOptions(ctx, repairOptions), reconcile.RequestDeletions, in)
}
