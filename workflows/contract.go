// Package workflows holds the decisions of Storekeeper, and in this file their wire contract: whatever another process,
// an operator's script or a recorded history names. Nothing here does I/O or reads a clock; the effects are in package
// activities.
package workflows

import (
	"strings"
	"time"

	"storekeeper/activities"
)

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

// Workflow and schedule ids that are not per workspace.
const (
	// ReconcileID is the one id of every reconcile run, so that at most one exists whoever asked for it.
	ReconcileID = "reconcile"
	// PlanReconcileID begins the ids of plans, which change nothing and of which many may be made at once.
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

// LifecycleID is the id of the workflow that has all to do with one workspace.
func LifecycleID(instanceID string) string { return lifecycleIDPrefix + instanceID }

// LifecycleInstance is the workspace of a lifecycle's id.
func LifecycleInstance(workflowID string) string {
	return strings.TrimPrefix(workflowID, lifecycleIDPrefix)
}

// Messages to a WorkspaceLifecycle.
const (
	// ApplyEvent is the name of the update that applies an Event and answers its Result, and of the signal that
	// carries the same Event when nobody waits for the answer.
	ApplyEvent = "apply-event"
	// CancelDeletion is the signal that stops a pending deletion and leaves a hold; its argument is a Cancellation.
	CancelDeletion = "cancel-deletion"
	// QueryStatus is the query that answers a LifecycleStatus.
	QueryStatus = "status"
	// QueryReport is the query that answers the ReconcileReport of a run as far as it has got.
	QueryReport = "report"
)

// Search attributes of a WorkspaceLifecycle. They are set only while a deletion is pending: a creation needs none.
const (
	// AttributeWorkspaceState (keyword) is StateDeletionPending or StateIdle.
	AttributeWorkspaceState = "WorkspaceState"
	// AttributeDeleteAt (datetime) is the end of the grace period.
	AttributeDeleteAt = "DeleteAt"
)

// EventType says what happened, or what an operator asks for.
type EventType string

const (
	WorkspaceCreated EventType = "workspace.created"
	WorkspaceDeleted EventType = "workspace.deleted"
	// StoreHold keeps the store from every deletion and cancels a pending one.
	StoreHold EventType = "store.hold"
	// StoreRelease takes the hold off.
	StoreRelease EventType = "store.release"
	// DeletionResume makes the lifecycle and the store manager agree on the pending deletion after one of them has lost its database: a
	// lifecycle without one goes on with what the store manager has as pending, as it is; one that has one puts it back there.
	DeletionResume EventType = "deletion.resume"
)

// Source says who sent an Event.
type Source string

const (
	SourceWebhook   Source = "webhook"
	SourceOperator  Source = "operator"
	SourceReconcile Source = "reconcile"
	// SourceSystem is Storekeeper itself, that repairs what a lost database has cost.
	SourceSystem Source = "system"
)

// ReconcileDelivery begins the DeliveryID of events of SourceReconcile.
const ReconcileDelivery = "reconcile/"

// Event is one thing to apply to one workspace. It never carries a secret.
type Event struct {
	// DeliveryID identifies the delivery: the same id is applied once within a run, by update or by signal.
	DeliveryID string    `json:"deliveryId"`
	Type       EventType `json:"type"`
	InstanceID string    `json:"instanceId"`
	UserID     string    `json:"userId,omitempty"`
	// Timestamp is the moment of the event by the clock of its origin; older events never undo newer ones.
	Timestamp time.Time `json:"timestamp"`
	Source    Source    `json:"source"`
	// GracePeriod (nanoseconds) of a deletion; nil means the worker's DELETION_GRACE_PERIOD.
	GracePeriod *time.Duration `json:"gracePeriod,omitempty"`
	// Hold belongs to StoreHold alone.
	Hold *Cancellation `json:"hold,omitempty"`
}

// Cancellation is the argument of CancelDeletion, and what a hold consists of.
type Cancellation struct {
	Reason string `json:"reason"`
	Actor  string `json:"actor"`
	// ExpiresAt ends the hold; nil means DefaultHold from the moment it is applied.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
}

// DefaultHold is how long a hold lasts when nobody says otherwise: long enough to sort a mistake out, short enough that a
// forgotten hold does not keep an orphan for ever.
const DefaultHold = 7 * 24 * time.Hour

// Status is the outcome of an Event, in webhook bodies and in the CLI alike.
type Status string

const (
	StatusMonitoringStarted        Status = "monitoring_started"
	StatusAlreadyMonitored         Status = "already_monitored"
	StatusDeletionScheduled        Status = "deletion_scheduled"
	StatusDeletionAlreadyScheduled Status = "deletion_already_scheduled"
	// StatusDeletionCancelled: no deletion is pending now, and the store stays; Result.Detail says why.
	StatusDeletionCancelled Status = "deletion_cancelled"
	StatusMonitoringStopped Status = "monitoring_stopped"
	StatusAlreadyStopped    Status = "already_stopped"
	// StatusStaleIgnored: something newer is known; nothing was changed.
	StatusStaleIgnored Status = "stale_ignored"
	// StatusAccepted: the event is durable and its outcome not yet known.
	StatusAccepted Status = "accepted"
	// StatusDeletionResumed: the pending deletion goes on at its own time.
	StatusDeletionResumed Status = "deletion_resumed"
	StatusHeld            Status = "held"
	StatusReleased        Status = "released"
)

// ErrTypeInvalid is the type of the error of an event that can never be applied.
const ErrTypeInvalid = activities.ErrTypeInvalid

// Result is the outcome of an Event.
type Result struct {
	Status Status `json:"status"`
	// DeleteAt is nil unless a deletion is pending.
	DeleteAt *time.Time `json:"deleteAt,omitempty"`
	// Detail is a sentence for people; "" where Status says it all.
	Detail string `json:"detail,omitempty"`
	// Connection is the state of the store's live subscription at that moment, in the words of the store manager; "" but after
	// an ensure. Nobody waits for the sync backend, so a new store is still "connecting".
	Connection string `json:"connection,omitempty"`
}

// States of a LifecycleStatus.
const (
	StateIdle            = "idle"
	StateDeletionPending = "deletion_pending"
)

// LifecycleStatus answers QueryStatus.
type LifecycleStatus struct {
	InstanceID string `json:"instanceId"`
	State      string `json:"state"`
	// Deletion is nil unless State is StateDeletionPending.
	Deletion *PendingDeletion `json:"deletion,omitempty"`
	// LastEvent and LastResult are nil before the first event has been applied.
	LastEvent  *Event  `json:"lastEvent,omitempty"`
	LastResult *Result `json:"lastResult,omitempty"`
}

// PendingDeletion is a deletion whose grace period runs, or whose re-check is under way.
type PendingDeletion struct {
	// EventAt is the moment at which the workspace was known to be gone.
	EventAt  time.Time `json:"eventAt"`
	DeleteAt time.Time `json:"deleteAt"`
	// Source is SourceReconcile as long as no event has confirmed what the list said.
	Source Source `json:"source"`
}

// LifecycleInput starts a WorkspaceLifecycle. Carried is nil but after continue-as-new.
type LifecycleInput struct {
	InstanceID string          `json:"instanceId"`
	Carried    *CarriedForward `json:"carried,omitempty"`
}

// CarriedForward is what a WorkspaceLifecycle takes along when it continues as new.
type CarriedForward struct {
	// Owner is the run id of the first run: to the store manager the whole chain is one owner.
	Owner    string          `json:"owner"`
	Deletion PendingDeletion `json:"deletion"`
	// Delivered are the newest deliveries and their results.
	Delivered []Delivered `json:"delivered,omitempty"`
}

// Delivered is a delivery that has been applied.
type Delivered struct {
	DeliveryID string `json:"deliveryId"`
	Result     Result `json:"result"`
}

// LifecycleResult is what a WorkspaceLifecycle leaves behind.
type LifecycleResult struct {
	// Events counts what this run applied.
	Events int `json:"events"`
	// Last is the newest outcome, that of a finished or cancelled deletion included.
	Last Result `json:"last"`
}

// Triggers of a reconcile run.
const (
	TriggerSchedule = "schedule"
	TriggerManual   = "manual"
	TriggerEdge     = "edge"
)

// ReconcileInput starts a ReconcileWorkspaces.
type ReconcileInput struct {
	Trigger string `json:"trigger"`
	// Actor is who asked for the run, or approved the plan; "" where that is no person, or not known.
	Actor string `json:"actor,omitempty"`
	// ApprovedPlan is the hash of a plan whose removals an operator has approved, in a later round that of what is left of it; ""
	// approves none.
	ApprovedPlan string `json:"approvedPlan,omitempty"`
	// Mode "" is the worker's setting.
	Mode ReconcileMode `json:"mode,omitempty"`
	// Confirm: orphans may be confirmed by this run. The runs that the edge asks for at its start only add and take note, for
	// several edges may start within seconds.
	Confirm bool `json:"confirm"`
	// After is CompareInput.After of the next round.
	After activities.Cursor `json:"after,omitzero"`
	// Carried is nil but after continue-as-new.
	Carried *ReconcileReport `json:"carried,omitempty"`
}

// ReconcileMode says what a run may do.
type ReconcileMode = activities.Mode

// The modes.
const (
	ModeFull       = activities.ModeFull
	ModeCreateOnly = activities.ModeCreateOnly
	ModeObserve    = activities.ModeObserve
)

// Plan is the result of PlanReconcile.
type Plan = activities.Plan

// Skipped counts the stores that a plan leaves alone.
type Skipped = activities.Skipped

// ReasonInvalidID is why a plan skips a listed id that can be no store's.
const ReasonInvalidID = activities.ReasonInvalidID

// ReconcileProgress is what the activity under way in a run tells in its heartbeat.
type ReconcileProgress = activities.Progress

// ErrTypePlanChanged is the type of the error of a run whose approved plan is no longer the plan.
const ErrTypePlanChanged = activities.ErrTypePlanChanged

// PriorityRepair is the priority of repair work. Events have Temporal's default, 3; a lower number comes first.
const PriorityRepair = 5

// ReconcileReport is the result of a reconcile run.
type ReconcileReport = activities.ReconcileReport
