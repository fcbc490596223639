package contract

import "time"

// Triggers of a reconcile run.
const (
	TriggerSchedule = "schedule"
	TriggerManual   = "manual"
	TriggerEdge     = "edge"
)

// ReconcileInput starts a ReconcileWorkspaces.
type ReconcileInput struct {
	// Trigger is TriggerSchedule, TriggerManual or TriggerEdge.
	Trigger string `json:"trigger"`
	// Actor is who asked for the run, or approved the plan; "" where that is no person, or not known.
	Actor string `json:"actor,omitempty"`
	// ApprovedPlan is the hash of a plan whose removals an operator has approved, in a later round the hash of what is left of it; ""
	// approves none.
	ApprovedPlan string `json:"approvedPlan,omitempty"`
	// Origin says more of who asked for the run. Origin.Plan is the plan that was approved, in later rounds too.
	Origin Origin `json:"origin,omitzero"`
	// Mode "" is the worker's setting.
	Mode Mode `json:"mode,omitempty"`
	// Confirm: orphans may be confirmed by this run. All runs that an edge asks for only add and take note, because several edges may
	// ask within seconds.
	Confirm bool `json:"confirm"`
	// After is CompareInput.After of the next round.
	After Cursor `json:"after,omitzero"`
	// Carried is the report so far when the run continues an earlier one, and nil for a first run.
	Carried *ReconcileReport `json:"carried,omitempty"`
}

// ReconcileReport is the result of a reconcile run.
type ReconcileReport struct {
	Trigger string `json:"trigger"`
	// Actor is who asked for the run, or approved the plan; "" where that is no person, or not known.
	Actor       string    `json:"actor,omitempty"`
	StartedAt   time.Time `json:"startedAt"`
	CompletedAt time.Time `json:"completedAt"`
	DurationMs  int64     `json:"durationMs"`
	// Rounds is how many times the lists were compared: more than once when the drift was larger than a round's plan.
	Rounds int `json:"rounds"`

	Added int `json:"added"`
	// Removed counts orphans handed to their lifecycle, which stops them after the grace period and a re-check.
	Removed    int `json:"removed"`
	FailedAdds int `json:"failedAdds"`
	// Stale stores are listed but were not added, because a deletion at or after the start of the list's fetch is known.
	Stale          int `json:"stale"`
	FailedRemovals int `json:"failedRemovals"`
	// ListedAgain counts pending deletions that lifecycles were told to end, because two consecutive lists have the workspace.
	ListedAgain int `json:"listedAgain,omitempty"`
	// Resumed counts pending deletions that had no lifecycle and got one.
	Resumed int `json:"resumed,omitempty"`
	// Restored counts pending deletions that lifecycles were told to put back into a registry that was lost.
	Restored           int `json:"restored,omitempty"`
	AuthoritativeCount int `json:"authoritativeCount"`
	MonitoredCount     int `json:"monitoredCount"`
	// DriftCount is the sum of Missing, Orphaned and FirstSightings, as the first round found them.
	DriftCount int `json:"driftCount"`

	// Missing stores were listed and not monitored. Like the next three it says what the first round found.
	Missing int `json:"missing"`
	// Orphaned stores were monitored, unprotected, and in neither of two consecutive lists.
	Orphaned int `json:"orphaned"`
	// FirstSightings counts stores that this list is the first to lack. Nothing happens to them before the next list.
	FirstSightings int `json:"firstSightings"`
	// Skipped counts stores that the run leaves alone for a reason.
	Skipped Skipped `json:"skipped"`
	// QuarantinedCount and Quarantined (at most 20 of them) are listed ids that can be no store's.
	QuarantinedCount int      `json:"quarantinedCount"`
	Quarantined      []string `json:"quarantined,omitempty"`
	// SetAsideCount and SetAside are those of the Plan.
	SetAsideCount int      `json:"setAsideCount,omitempty"`
	SetAside      []string `json:"setAside,omitempty"`
	// Mode and Paused are those of the Plan. A run that observes has repaired nothing.
	Mode   Mode   `json:"mode,omitempty"`
	Paused string `json:"paused,omitempty"`
	// Adopted counts stores that had been monitored before anybody told us of them.
	Adopted int `json:"adopted,omitempty"`
	// Failing are up to MaxFailing stores that could not be added.
	Failing []FailingStore `json:"failing,omitempty"`
	// Phases say how long the parts of the run took, all rounds together.
	Phases Phases `json:"phases"`
	// PlanHash identifies what the first round was to do; once the guard has tripped, what an approval must name. "" when there was
	// nothing to do, or no approval helps.
	PlanHash string `json:"planHash,omitempty"`
	// Guard is "" when the plan passed, else why nothing was removed.
	Guard string `json:"guard,omitempty"`
	// GuardVerdict is what the run means for the guard from now on; "" leaves the guard as it is.
	GuardVerdict GuardVerdict `json:"guardVerdict,omitempty"`
	// ListAt is when the newest list of the run was asked for, FirstListAt when its first was.
	ListAt      time.Time `json:"listAt,omitzero"`
	FirstListAt time.Time `json:"firstListAt,omitzero"`
	// ListHash and FirstListHash are those of these lists (ListRef.Hash); "" in reports of older versions.
	ListHash      string `json:"listHash,omitempty"`
	FirstListHash string `json:"firstListHash,omitempty"`
	// Left counts what was planned and not done: reconciliation was paused meanwhile (Paused says by whom), the time was over, or the
	// lifecycle of a pending deletion could not be told.
	Left int `json:"left,omitempty"`
}

// GuardVerdict is what a run means for the guard. The values are the store manager's (see the package comment).
type GuardVerdict string

const (
	// GuardKeepsBack: the list lacks more than may be removed, or an earlier one did. Removals wait for an approval.
	GuardKeepsBack GuardVerdict = "held"
	// GuardCleared: the list lacks nothing that is unprotected.
	GuardCleared GuardVerdict = "cleared"
	// GuardApproved: the removals were approved and have begun.
	GuardApproved GuardVerdict = "approved"
)

// Phases are durations in milliseconds.
type Phases struct {
	FetchMs   int64 `json:"fetchMs"`
	CompareMs int64 `json:"compareMs"`
	EnsureMs  int64 `json:"ensureMs"`
	RemoveMs  int64 `json:"removeMs"`
}

// MaxFailing bounds ReconcileReport.Failing.
const MaxFailing = 20

// FailingStore is a store that the store manager could not ensure.
type FailingStore struct {
	StoreID string `json:"storeId"`
	Error   string `json:"error,omitempty"`
	// NextAttemptAt is when the store manager tries it again; nil: with the next run.
	NextAttemptAt *time.Time `json:"nextAttemptAt,omitempty"`
}

// The phases of a run, as Progress tells them.
const (
	PhaseFetch   = "fetch"
	PhaseCompare = "compare"
	PhaseEnsure  = "ensure"
	PhaseRemove  = "remove"
)

// Progress is the heartbeat of a run's activities: it tells how far they are, and a retry goes on from it.
type Progress struct {
	// Phase is one of the Phase constants.
	Phase string `json:"phase"`
	// Done counts entries of the list, or stores. Total is 0 where it is not known.
	Done  int `json:"done"`
	Total int `json:"total,omitempty"`
	// Ensured is what PhaseEnsure has done so far, Removed what PhaseRemove has.
	Ensured EnsureMissingResult    `json:"ensured,omitzero"`
	Removed RequestDeletionsResult `json:"removed,omitzero"`
}

// reconcilePhase tells telemetry that an activity belongs to reconciliation.
type reconcilePhase struct{}

// TelemetryPhase implements telemetry.Phaser.
func (reconcilePhase) TelemetryPhase() string { return "reconcile" }

// EnsureMissingInput names stores that a complete list holds and that are not monitored.
type EnsureMissingInput struct {
	reconcilePhase
	IDs []string `json:"ids"`
	// ListAt is the start of the list's fetch. A deletion that is known since then wins.
	ListAt time.Time `json:"listAt"`
	RunID  string    `json:"runId"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// EnsureMissingResult counts what was repaired.
type EnsureMissingResult struct {
	Added int `json:"added"`
	// Adopted stores were monitored already.
	Adopted int `json:"adopted,omitempty"`
	// Stale stores were deleted after the list had been asked for.
	Stale  int `json:"stale"`
	Failed int `json:"failed"`
	// Failing are the first MaxFailing of Failed.
	Failing []FailingStore `json:"failing,omitempty"`
	// Left counts those that were not asked for, because all of reconciliation was paused meanwhile (Paused says by whom) or the
	// time was over.
	Left   int    `json:"left,omitempty"`
	Paused string `json:"paused,omitempty"`
}

// RequestDeletionsInput names confirmed orphans, or for EndDeletions workspaces that are listed again.
type RequestDeletionsInput struct {
	reconcilePhase
	IDs []string `json:"ids"`
	// ListAt is the start of the fetch of the list that confirmed them. List says more of it.
	ListAt time.Time `json:"listAt"`
	List   ListRef   `json:"list,omitzero"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// RequestDeletionsResult counts what was handed over.
type RequestDeletionsResult struct {
	Requested int `json:"requested"`
	Failed    int `json:"failed"`
	// Left and Paused are those of EnsureMissingResult.
	Left   int    `json:"left,omitempty"`
	Paused string `json:"paused,omitempty"`
}

// ResumeResult counts what ResumeDeletions has done. Resumed and Restored count the lifecycles that were told, Failed those that
// could not be told.
type ResumeResult struct {
	// Resumed deletions had no lifecycle.
	Resumed int `json:"resumed"`
	// Restored deletions were missing in a registry that was lost.
	Restored int `json:"restored,omitempty"`
	Failed   int `json:"failed"`
	// Repeated are events of which a new database of Temporal was told.
	Repeated int `json:"repeated,omitempty"`
}

// RecordInput is a finished run.
type RecordInput struct {
	reconcilePhase
	RunID  string          `json:"runId"`
	Report ReconcileReport `json:"report"`
	// Error is "" for a run that succeeded.
	Error string `json:"error,omitempty"`
	// Refused: the run did nothing, because it could not do what was approved. That is an answer, and not recorded as a failure.
	Refused bool `json:"refused,omitempty"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// TelemetryRecorded implements telemetry.Recorder: ActivityRecordRun tells of runs that fail.
func (ReconcileInput) TelemetryRecorded() {}

// RunCancelled is the error of a run that somebody cancelled.
const RunCancelled = "cancelled"
