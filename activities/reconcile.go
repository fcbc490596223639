package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// Lister fetches the complete authoritative list.
type Lister interface {
	Sorted(ctx context.Context, progress func(entries int)) (*authclient.Listing, error)
}

// ComparedStores are the store manager's side of a comparison, and where it leaves its marks.
type ComparedStores interface {
	List(ctx context.Context, r storemanager.ListRequest) (storemanager.Page, error)
	ListIDs(ctx context.Context, cursor string) (storemanager.IDPage, error)
	MarkUnlisted(ctx context.Context, m storemanager.ListMarks) error
}

// ReconcileKeeper is what reconciliation asks of the store manager.
type ReconcileKeeper interface {
	ComparedStores
	Get(ctx context.Context, id string) (storemanager.Store, error)
	Overview(ctx context.Context) (storemanager.Overview, error)
	Pauses(ctx context.Context) ([]storemanager.Pause, error)
	EnsureBatch(ctx context.Context, rs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error)
	RecordReconcile(ctx context.Context, r storemanager.ReconcileRun) error
	Reconciliation(ctx context.Context) (storemanager.Reconciliation, error)
}

// AcceptedEvents is the memory of events that webhooks were answered for without an outcome.
type AcceptedEvents interface {
	Unheard(ctx context.Context, q deliveries.UnheardRequest) ([]deliveries.AcceptedEvent, error)
	EngineTold(ctx context.Context, q deliveries.EngineRequest) error
}

// Lifecycles are the workflows of the workspaces. A method that tells a lifecycle something returns once that is durable. What comes of
// it, and when, is up to the lifecycle.
type Lifecycles interface {
	// RequestDeletion hands over an orphan, which the list lacks.
	RequestDeletion(ctx context.Context, instanceID string, s contract.Sighting) error
	// ReportListed says that a workspace whose deletion is pending is listed again.
	ReportListed(ctx context.Context, instanceID string, s contract.Sighting) error
	// ResumeDeletion makes the lifecycle and the store manager agree on the pending deletion.
	ResumeDeletion(ctx context.Context, instanceID string) error
	// DeletionsPending are the ids of the workspaces whose lifecycles wait for the end of a grace period. A wait that has just begun may
	// not be among them yet.
	DeletionsPending(ctx context.Context) (map[string]bool, error)
	// Repeat tells the lifecycle of an event that an earlier database of Temporal knew; event is its JSON.
	Repeat(ctx context.Context, event []byte) error
	// Engine identifies the database of Temporal.
	Engine(ctx context.Context) (string, error)
}

// Reconcile are the activities of reconciliation.
type Reconcile struct {
	AuthWorker Lister
	Manager    ReconcileKeeper
	Accepted   AcceptedEvents
	Lifecycles Lifecycles
	Guard      GuardLimits
	// Mode of runs that ask for none; "" is ModeFull.
	Mode contract.Mode
	// MaxRate is how many stores at most are ensured a second; 0 means no limit.
	MaxRate int
	Metrics *telemetry.Metrics
	// Sentry hears of a guard that keeps removals back, and of runs that fail; nil means that nobody does.
	Sentry *telemetry.Sentry

	unproven atomic.Bool // the newest list proves nothing
}

// untilStop ends ctx when the worker stops, too. The attempt then fails while Temporal can still be told, and another worker goes on at
// once. Otherwise it would wait for a heartbeat that does not come.
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

// beat sends heartbeats until the returned function is called. It is for an activity that waits and has no progress to tell.
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

// approvedListAt is when the newest list was asked for whose removals were approved and have begun; nil for none.
func approvedListAt(in contract.RecordInput) *time.Time {
	if in.Report.GuardVerdict != contract.GuardApproved {
		return nil
	}
	return &in.Report.ListAt
}

// RecordRun keeps the report where health checks and operators find it, and counts it.
func (r *Reconcile) RecordRun(ctx context.Context, in contract.RecordInput) error {
	report, err := json.Marshal(in.Report)
	if err != nil {
		return wrap(fmt.Errorf("%w: report: %w", storemanager.ErrInvalid, err))
	}
	before := r.before(ctx)
	repaired := r.repairAge(ctx, in)
	err = r.Manager.RecordReconcile(ctx, storemanager.ReconcileRun{
		RunID: in.RunID, StartedAt: in.Report.StartedAt, CompletedAt: in.Report.CompletedAt, Error: in.Error, Report: report,
		ApprovedListAt: approvedListAt(in), Actor: in.Report.Actor, Origin: origin(in.Origin), Summary: summary(in.Report), Lists: listsOf(in.Report),
		Refused: in.Refused,
	})
	if err != nil {
		return wrap(err)
	}
	if in.Refused {
		activity.GetLogger(ctx).Info("reconcile run refused", telemetry.KeyTrigger, in.Report.Trigger, telemetry.KeyReason, in.Error)
		return nil
	}
	run := telemetry.ReconcileRun{Outcome: telemetry.OutcomeSucceeded, Duration: time.Duration(in.Report.DurationMs) * time.Millisecond}
	if in.Error != "" {
		run.Outcome = telemetry.OutcomeFailed
	}
	r.Metrics.Reconciled(run)
	r.tellOfRun(ctx, in, before)
	if repaired > 0 {
		r.Metrics.Repaired(in.Report.Added, repaired)
	}
	activity.GetLogger(ctx).Info("reconcile run ended", telemetry.KeyTrigger, in.Report.Trigger, telemetry.KeyOutcome, run.Outcome,
		telemetry.KeyDurationMs, in.Report.DurationMs, "drift", in.Report.DriftCount, "added", in.Report.Added,
		"removed", in.Report.Removed, "guard", in.Report.Guard, telemetry.KeyError, in.Error)
	return nil
}

// summary is the report in one line.
func summary(r contract.ReconcileReport) string {
	text := fmt.Sprintf("%d listed, %d monitored, %d added, %d handed over for removal", r.AuthoritativeCount, r.MonitoredCount, r.Added, r.Removed)
	if n := r.FailedAdds + r.FailedRemovals; n > 0 {
		text += fmt.Sprintf(", %d failed", n)
	}
	if r.Paused != "" {
		text += ", paused by " + r.Paused
	}
	if r.Guard != "" {
		text += ", the guard keeps removals back: " + r.Guard
	}
	return text
}

// listsOf are the first and the last list of a run.
func listsOf(r contract.ReconcileReport) (lists []storemanager.ListRef) {
	if !r.FirstListAt.IsZero() {
		lists = append(lists, storemanager.ListRef{At: r.FirstListAt, Hash: r.FirstListHash})
	}
	if !r.ListAt.IsZero() && !r.ListAt.Equal(r.FirstListAt) {
		lists = append(lists, storemanager.ListRef{At: r.ListAt, Hash: r.ListHash})
	}
	if n := len(lists); n > 0 {
		lists[n-1].Entries = r.AuthoritativeCount
	}
	return lists
}

// repairAge is how long ago, at the most, the workspaces were created whose missing stores the run has added: they were in none of the lists from
// which an earlier run has added all that was missing. 0 when that is not known, or the run has added none. A run that is recorded again, because
// its worker died meanwhile, is not measured again.
func (r *Reconcile) repairAge(ctx context.Context, in contract.RecordInput) time.Duration {
	if in.Report.Added == 0 {
		return 0
	}
	past, err := r.Manager.Reconciliation(ctx)
	if err != nil {
		return 0 // it only measures
	}
	for _, run := range past.Recent {
		if run.RunID == in.RunID {
			return 0
		}
		var report contract.ReconcileReport
		if run.Error != "" || json.Unmarshal(run.Report, &report) != nil || !addedAll(report) {
			continue
		}
		return max(0, in.Report.CompletedAt.Sub(report.FirstListAt))
	}
	return 0
}

// addedAll says whether the run left no missing store behind.
func addedAll(r contract.ReconcileReport) bool {
	return !r.FirstListAt.IsZero() && r.Mode != contract.ModeObserve && r.Paused == "" && r.FailedAdds+r.Left+r.Skipped.Paused+r.SetAsideCount == 0
}
