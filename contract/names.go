// Package contract is what travels between the processes of Storekeeper by way of Temporal: names, ids, events, results,
// plans and reports. An operator's script or a recorded history may hold any of it, so neither a name nor a JSON tag here may change.
// The package imports the standard library alone, so that whoever sends an event links nothing of the code that carries it out.
//
// It repeats some values of internal/storemanager (DeletionOutcome, GuardVerdict, ReconcileDelivery) on purpose: histories keep those here, and the
// store manager's API and database those there, so that each side may get what the other does not have. As long as activities pass them on as they
// are, they must be equal; TestContractAndStoreManagerHaveTheSameValues in package activities compares all of them.
package contract

import "strings"

// TaskQueue is where every workflow and activity of Storekeeper runs.
const TaskQueue = "workspace-orchestration"

// Workflow types.
const (
	TypeWorkspaceLifecycle  = "WorkspaceLifecycle"
	TypeReconcileWorkspaces = "ReconcileWorkspaces"
	TypePlanReconcile       = "PlanReconcile"
	TypeScheduledReconcile  = "ScheduledReconcile"
	TypeResumeDeletions     = "ResumeDeletions"
)

// Activity types.
const (
	ActivityEnsureStore      = "EnsureStore"
	ActivityBeginDeletion    = "BeginDeletion"
	ActivityCancelDeletion   = "CancelDeletion"
	ActivityTakeOverDeletion = "TakeOverDeletion"
	ActivityRestoreDeletion  = "RestoreDeletion"
	ActivityStopStore        = "StopStore"
	ActivityHoldStore        = "HoldStore"
	ActivityReleaseStore     = "ReleaseStore"
	ActivityConfirmAbsent    = "ConfirmAbsent"
	ActivityCompareLists     = "CompareLists"
	ActivityEnsureMissing    = "EnsureMissing"
	ActivityRequestDeletions = "RequestDeletions"
	ActivityEndDeletions     = "EndDeletions"
	ActivityRecordRun        = "RecordRun"
	ActivityResumeDeletions  = "ResumeDeletions"
)

// Ids of workflows that are not per workspace, and of the schedule.
const (
	// ReconcileID is the one id of every reconcile run, so that at most one run exists, whoever asked for it.
	ReconcileID = "reconcile"
	// PlanReconcileID begins the ids of plans. A plan changes nothing, so many may be made at once.
	PlanReconcileID = "reconcile-plan/"
	// ResumeDeletionsID is the one id of ResumeDeletions, however many workers start.
	ResumeDeletionsID = "resume-deletions"
	// ScheduledReconcileID is the id of the schedule's own thin workflow; the schedule appends the time.
	ScheduledReconcileID = "scheduled-reconcile"
	// ReconcileScheduleID is the id of the Temporal Schedule.
	ReconcileScheduleID = "workspace-reconcile"
)

// lifecycleIDPrefix begins the ids of lifecycles.
const lifecycleIDPrefix = "workspace/"

// LifecycleID is the id of the workflow that does everything for one workspace.
func LifecycleID(instanceID string) string { return lifecycleIDPrefix + instanceID }

// LifecycleInstance is the workspace that a lifecycle's id stands for.
func LifecycleInstance(workflowID string) string {
	return strings.TrimPrefix(workflowID, lifecycleIDPrefix)
}

// Messages to a workflow.
const (
	// ApplyEvent is the name of the update that applies an Event and answers its Result. The signal of the same name carries the
	// Event when nobody waits for the answer.
	ApplyEvent = "apply-event"
	// CancelDeletion is the signal that ends a pending deletion and leaves a hold. Its argument is a Cancellation.
	CancelDeletion = "cancel-deletion"
	// QueryStatus is the query to a WorkspaceLifecycle that answers a LifecycleStatus.
	QueryStatus = "status"
	// QueryReport is the query to a ReconcileWorkspaces that answers its ReconcileReport as far as it has got.
	QueryReport = "report"
)

// Search attributes of a WorkspaceLifecycle. They are set once a deletion is pending; a creation needs none.
const (
	// AttributeWorkspaceState (keyword) is StateDeletionPending or StateIdle.
	AttributeWorkspaceState = "WorkspaceState"
	// AttributeDeleteAt (datetime) is the end of the grace period.
	AttributeDeleteAt = "DeleteAt"
)

// PriorityRepair is the Temporal priority of all reconciliation. Events have the default, 3; a lower number comes first.
const PriorityRepair = 5
