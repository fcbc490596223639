package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// Lister fetches the complete authoritative list.
type Lister interface {
	Sorted(ctx context.Context, progress func(entries int)) (*authclient.Listing, error)
}

// ReconcileKeeper is what reconciliation asks of the store manager.
type ReconcileKeeper interface {
	Get(ctx context.Context, id string) (storemanager.Store, error)
	List(ctx context.Context, r storemanager.ListRequest) (storemanager.Page, error)
	ListIDs(ctx context.Context, cursor string) (storemanager.IDPage, error)
	Overview(ctx context.Context) (storemanager.Overview, error)
	Pauses(ctx context.Context) ([]storemanager.Pause, error)
	MarkMissing(ctx context.Context, m storemanager.MissingMarks) error
	EnsureBatch(ctx context.Context, rs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error)
	RecordReconcile(ctx context.Context, r storemanager.ReconcileRun) error
	Unheard(ctx context.Context, q storemanager.UnheardRequest) ([]storemanager.AcceptedEvent, error)
	EngineTold(ctx context.Context, q storemanager.EngineRequest) error
}

// Lifecycles are those of the workspaces. What tells one something returns once that is durable; what comes of it, and when, is the
// lifecycle's affair.
type Lifecycles interface {
	// RequestDeletion hands an orphan over: at is when it was known to be gone.
	RequestDeletion(ctx context.Context, instanceID string, at time.Time) error
	// ReportListed says that a workspace whose deletion is pending is listed again, in a list that was asked for at that moment.
	ReportListed(ctx context.Context, instanceID string, at time.Time) error
	// ResumeDeletion has the lifecycle and the store manager agree on the pending deletion.
	ResumeDeletion(ctx context.Context, instanceID string) error
	// DeletionsPending are the ids of the workspaces whose lifecycles wait for the end of a grace period. One that has just begun may
	// not be among them yet.
	DeletionsPending(ctx context.Context) (map[string]bool, error)
	// Repeat tells the lifecycle of an event that another database of Temporal knew; event is its JSON.
	Repeat(ctx context.Context, event []byte) error
	// Engine identifies the database of Temporal.
	Engine(ctx context.Context) (string, error)
}

// Reconcile are the activities of reconciliation.
type Reconcile struct {
	AuthWorker Lister
	Manager    ReconcileKeeper
	Lifecycles Lifecycles
	Guard      Guard
	// Mode of runs that ask for none; "" is ModeFull.
	Mode Mode
	// MaxRate is how many stores a second are ensured at the most; 0 is no limit.
	MaxRate int
	Metrics *telemetry.Metrics
	// Sentry hears of a guard that holds removals back. Nil is nobody.
	Sentry *telemetry.Sentry
}

// reconcilePhase implements telemetry.Phaser for what it is embedded in.
type reconcilePhase struct{}

// TelemetryPhase implements telemetry.Phaser.
func (reconcilePhase) TelemetryPhase() string { return "reconcile" }

// ReconcileReport is the result of a reconcile run; the fields without a comment are those of contracts/multi-store-server.md.
type ReconcileReport struct {
	Trigger string `json:"trigger"`
	// Actor is who asked for the run, or approved the plan; "" where that is no person, or not known.
	Actor       string    `json:"actor,omitempty"`
	StartedAt   time.Time `json:"startedAt"`
	CompletedAt time.Time `json:"completedAt"`
	DurationMs  int64     `json:"durationMs"`
	// Rounds is how many times the lists were compared; more than one when the drift was larger than a round's plan.
	Rounds int `json:"rounds"`

	Added int `json:"added"`
	// Removed counts orphans handed to their lifecycle, which stops them after the grace period and a re-check.
	Removed    int `json:"removed"`
	FailedAdds int `json:"failedAdds"`
	// Stale stores are listed but were not added, because a deletion at or after the start of the list's fetch is known.
	Stale          int `json:"stale"`
	FailedRemovals int `json:"failedRemovals"`
	// ListedAgain counts pending deletions that lifecycles were told to end, for two consecutive lists have the workspace, Resumed those
	// that had no lifecycle and got one, Restored those that lifecycles were told to put back into a registry that was lost.
	ListedAgain        int `json:"listedAgain,omitempty"`
	Resumed            int `json:"resumed,omitempty"`
	Restored           int `json:"restored,omitempty"`
	AuthoritativeCount int `json:"authoritativeCount"`
	MonitoredCount     int `json:"monitoredCount"`
	// DriftCount is Missing and Orphaned and FirstSightings as the first round found them.
	DriftCount int `json:"driftCount"`

	// Missing stores were listed and not monitored.
	Missing int `json:"missing"`
	// Orphaned stores were monitored, unprotected, and in neither of two consecutive lists.
	Orphaned int `json:"orphaned"`
	// FirstSightings were orphans in this list alone; nothing happens to them before the next.
	FirstSightings int `json:"firstSightings"`
	// Skipped counts stores that the list lacks and that stay for a reason.
	Skipped Skipped `json:"skipped"`
	// QuarantinedCount and Quarantined (at most 20 of them) are listed ids that can be no store's.
	QuarantinedCount int      `json:"quarantinedCount"`
	Quarantined      []string `json:"quarantined,omitempty"`
	// SetAsideCount and SetAside are those of the Plan.
	SetAsideCount int      `json:"setAsideCount,omitempty"`
	SetAside      []string `json:"setAside,omitempty"`
	// Mode and Paused are those of the Plan: a run that observes has repaired nothing.
	Mode   Mode   `json:"mode,omitempty"`
	Paused string `json:"paused,omitempty"`
	// Adopted counts stores that had been monitored before anybody told us of them.
	Adopted int `json:"adopted,omitempty"`
	// Failing are up to 20 stores that could not be added.
	Failing []FailingStore `json:"failing,omitempty"`
	// Phases say how long the parts of the run took, all rounds together.
	Phases Phases `json:"phases"`
	// PlanHash identifies what the first round was to do; once the guard has tripped, what is left of it when all has been
	// added: that is what an approval names. "" when there was nothing, or no approval helps.
	PlanHash string `json:"planHash,omitempty"`
	// Guard is "" when the plan passed, else why nothing was removed.
	Guard string `json:"guard,omitempty"`
	// GuardVerdict is what the run means for the guard from now on; "" leaves it as it is.
	GuardVerdict storemanager.GuardVerdict `json:"guardVerdict,omitempty"`
	// ListAt is when the newest list of the run was asked for.
	ListAt time.Time `json:"listAt,omitzero"`
	// FirstListAt is when its first was.
	FirstListAt time.Time `json:"firstListAt,omitzero"`
	// Left counts what was planned and not done: reconciliation was paused meanwhile (Paused says by whom), the time was over, or the
	// lifecycle of a pending deletion could not be told.
	Left int `json:"left,omitempty"`
}

// Phases are durations in milliseconds.
type Phases struct {
	FetchMs   int64 `json:"fetchMs"`
	CompareMs int64 `json:"compareMs"`
	EnsureMs  int64 `json:"ensureMs"`
	RemoveMs  int64 `json:"removeMs"`
}

// FailingStore is a store that the store manager could not ensure.
type FailingStore struct {
	StoreID string `json:"storeId"`
	Error   string `json:"error,omitempty"`
	// NextAttemptAt is when the store manager tries it again; nil: with the next run.
	NextAttemptAt *time.Time `json:"nextAttemptAt,omitempty"`
}

// MaxFailing bounds ReconcileReport.Failing.
const MaxFailing = 20

// What ReconcileReport.GuardVerdict may be.
const (
	GuardHeld     = storemanager.GuardHeld
	GuardCleared  = storemanager.GuardCleared
	GuardApproved = storemanager.GuardApproved
)

// Skipped counts, by reason, stores that the authoritative list lacks and that are no orphans.
type Skipped struct {
	Held    int `json:"held"`
	Pinned  int `json:"pinned"`
	Pending int `json:"pending"`
	// TooYoung stores came after the list had been asked for.
	TooYoung int `json:"tooYoung"`
	Paused   int `json:"paused,omitempty"`
}

// untilStop ends ctx when the worker stops too: the attempt then fails while Temporal can still be told, and another worker
// goes on at once instead of after a heartbeat that does not come.
func untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stopping := activity.GetWorkerStopChannel(ctx)
	go func() {
		select {
		case <-stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// beat heartbeats until the returned function is called: for what waits and has no progress to tell.
func beat(ctx context.Context, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
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
}

// approvedListAt is that of the newest list whose removals were approved and have begun; nil for none.
func (in RecordInput) approvedListAt() *time.Time {
	if in.Report.GuardVerdict != GuardApproved {
		return nil
	}
	return &in.Report.ListAt
}

// RecordRun keeps the report where health checks and operators find it, and counts it.
func (r *Reconcile) RecordRun(ctx context.Context, in RecordInput) error {
	if in.Refused {
		activity.GetLogger(ctx).Info("reconcile run refused", telemetry.KeyTrigger, in.Report.Trigger, telemetry.KeyReason, in.Error)
		return nil
	}
	report, err := json.Marshal(in.Report)
	if err != nil {
		return wrap(fmt.Errorf("%w: report: %w", storemanager.ErrInvalid, err))
	}
	err = r.Manager.RecordReconcile(ctx, storemanager.ReconcileRun{
		RunID: in.RunID, StartedAt: in.Report.StartedAt, CompletedAt: in.Report.CompletedAt, Error: in.Error, Report: report,
		ApprovedListAt: in.approvedListAt(), Actor: in.Report.Actor,
	})
	if err != nil {
		return wrap(err)
	}
	run := telemetry.ReconcileRun{Outcome: telemetry.OutcomeSucceeded, Duration: time.Duration(in.Report.DurationMs) * time.Millisecond}
	if in.Error != "" {
		run.Outcome = telemetry.OutcomeFailed
	}
	r.Metrics.Reconciled(run)
	activity.GetLogger(ctx).Info("reconcile run ended", telemetry.KeyTrigger, in.Report.Trigger, telemetry.KeyOutcome, run.Outcome,
		telemetry.KeyDurationMs, in.Report.DurationMs, "drift", in.Report.DriftCount, "added", in.Report.Added,
		"removed", in.Report.Removed, "guard", in.Report.Guard, telemetry.KeyError, in.Error)
	return nil
}
