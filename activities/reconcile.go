package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

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
	List(ctx context.Context, r storemanager.ListRequest) (storemanager.Page, error)
	ListIDs(ctx context.Context, cursor string) (storemanager.IDPage, error)
	Overview(ctx context.Context) (storemanager.Overview, error)
	Pauses(ctx context.Context) ([]storemanager.Pause, error)
	MarkMissing(ctx context.Context, m storemanager.MissingMarks) error
	EnsureBatch(ctx context.Context, rs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error)
	RecordReconcile(ctx context.Context, r storemanager.ReconcileRun) error
}

// DeletionRequester hands an orphan to the lifecycle of its workspace. It returns once the request is durable; whether and
// when the store is stopped is the lifecycle's affair.
type DeletionRequester interface {
	RequestDeletion(ctx context.Context, instanceID string, at time.Time) error
}

// Reconcile are the activities of reconciliation.
type Reconcile struct {
	AuthWorker Lister
	Manager    ReconcileKeeper
	Deletions  DeletionRequester
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
	Trigger     string    `json:"trigger"`
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
	Stale              int `json:"stale"`
	FailedRemovals     int `json:"failedRemovals"`
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
	// Left counts what was planned and not done: reconciliation was paused meanwhile (Paused says by whom), or the time was over.
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

// ensureBatch is how many stores are ensured in one call: a fraction of a second of the store manager's one writer, so
// that an event need not wait long behind it.
const ensureBatch = 200

// EnsureMissingInput names stores that a complete list holds and that are not monitored.
type EnsureMissingInput struct {
	reconcilePhase
	IDs []string `json:"ids"`
	// ListAt is the start of the list's fetch: a deletion known since then wins.
	ListAt time.Time `json:"listAt"`
	RunID  string    `json:"runId"`
}

// EnsureMissingResult counts what was repaired. Stale ones were deleted after the list had been asked for.
type EnsureMissingResult struct {
	Added int `json:"added"`
	// Adopted stores were monitored already.
	Adopted int `json:"adopted,omitempty"`
	Stale   int `json:"stale"`
	Failed  int `json:"failed"`
	// Failing are the first 20 of Failed.
	Failing []FailingStore `json:"failing,omitempty"`
	// Left counts those that were not asked for, because all of reconciliation was paused meanwhile (Paused says by whom) or the
	// time was over.
	Left   int    `json:"left,omitempty"`
	Paused string `json:"paused,omitempty"`
}

// Progress is what the activities of a run tell while they run (their heartbeat), and what a retry goes on from.
type Progress struct {
	// Phase is one of the Phase constants.
	Phase string `json:"phase"`
	// Done counts entries of the list, or stores; Total is 0 where it is not known.
	Done  int `json:"done"`
	Total int `json:"total,omitempty"`
	// Ensured is what PhaseEnsure has done so far, Removed what PhaseRemove has.
	Ensured EnsureMissingResult    `json:"ensured,omitzero"`
	Removed RequestDeletionsResult `json:"removed,omitzero"`
}

// The phases of a run.
const (
	PhaseFetch   = "fetch"
	PhaseCompare = "compare"
	PhaseEnsure  = "ensure"
	PhaseRemove  = "remove"
)

// ensureTime is how long an EnsureMissing goes on: what a low MaxRate leaves is for the next run.
const ensureTime = 10 * time.Minute

// EnsureMissing ensures the stores in batches, no faster than MaxRate. A retry goes on where the attempt before had got to.
func (r *Reconcile) EnsureMissing(ctx context.Context, in EnsureMissingInput) (EnsureMissingResult, error) {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	p := Progress{Phase: PhaseEnsure, Total: len(in.IDs)}
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &p); err != nil || p.Phase != PhaseEnsure {
			p = Progress{Phase: PhaseEnsure, Total: len(in.IDs)} // ensuring twice does no harm
		}
	}
	size, pace := ensureBatch, rate.NewLimiter(rate.Inf, 0)
	if r.MaxRate > 0 {
		size = min(size, r.MaxRate)
		pace = rate.NewLimiter(rate.Limit(r.MaxRate), size)
	}
	until := time.Now().Add(ensureTime)
	var paused string
	for p.Done < len(in.IDs) && time.Now().Before(until) {
		var batch []string
		var err error
		batch, paused, err = r.unpaused(ctx, in.IDs[p.Done:min(p.Done+size, len(in.IDs))])
		if err != nil {
			return EnsureMissingResult{}, wrap(err)
		}
		if paused != "" {
			break
		}
		activity.RecordHeartbeat(ctx, p) // what comes now may take as long again
		if err := pace.WaitN(ctx, len(batch)); err != nil {
			return EnsureMissingResult{}, wrap(err)
		}
		if err := r.ensure(ctx, in, batch, &p); err != nil {
			return EnsureMissingResult{}, wrap(err)
		}
		p.Done = min(p.Done+size, len(in.IDs))
		activity.RecordHeartbeat(ctx, p)
	}
	p.Ensured.Left, p.Ensured.Paused = len(in.IDs)-p.Done, paused
	return p.Ensured, nil
}

// unpaused are those of the stores that reconciliation does not leave alone now; all says who has it leave all alone, and why.
func (r *Reconcile) unpaused(ctx context.Context, ids []string) (_ []string, all string, err error) {
	paused, err := r.pauses(ctx)
	if err != nil || paused.all != "" {
		return nil, paused.all, err
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return paused.stores[id] }), "", nil
}

// ensure ensures the stores of one batch. A store manager that is slow does a part at a time: those that it says to ask for again
// are asked for again, as long as others get done.
func (r *Reconcile) ensure(ctx context.Context, in EnsureMissingInput, ids []string, p *Progress) error {
	done := p.Ensured
	// Not before the end: a retry goes on from p as a heartbeat has it, and would count this batch again.
	defer func() { p.Ensured = done }()
	for len(ids) > 0 {
		requests := make([]storemanager.EnsureRequest, len(ids))
		for i, id := range ids {
			requests[i] = storemanager.EnsureRequest{StoreID: id, At: in.ListAt, RequestID: storemanager.ReconcileRequest + in.RunID}
		}
		results, err := r.Manager.EnsureBatch(ctx, requests)
		if err != nil {
			return err
		}
		var again []string
		var failing []FailingStore
		for i, res := range results {
			switch res.Outcome {
			case storemanager.EnsureCreated:
				done.Added++
			case storemanager.EnsureExists:
				done.Adopted++
			case storemanager.EnsureStale:
				done.Stale++
			case storemanager.EnsureInvalid:
				done.Failed++
			case storemanager.EnsureFailed:
				again = append(again, ids[i])
				failing = append(failing, FailingStore{ids[i], res.Error, res.NextAttemptAt})
			}
		}
		if len(again) == len(ids) {
			done.Failed += len(again)
			done.Failing = append(done.Failing, failing[:min(len(failing), MaxFailing-len(done.Failing))]...)
			return nil
		}
		ids = again
		activity.RecordHeartbeat(ctx, *p)
	}
	return nil
}

// RequestDeletionsInput names confirmed orphans.
type RequestDeletionsInput struct {
	reconcilePhase
	IDs []string `json:"ids"`
	// ListAt is the start of the fetch of the list that confirmed them.
	ListAt time.Time `json:"listAt"`
}

// RequestDeletionsResult counts what was handed over.
type RequestDeletionsResult struct {
	Requested int `json:"requested"`
	Failed    int `json:"failed"`
	// Left and Paused are those of EnsureMissingResult.
	Left   int    `json:"left,omitempty"`
	Paused string `json:"paused,omitempty"`
}

// requestParallelism bounds the load that a reconcile puts on Temporal beside the webhooks, removeBatch how many orphans are
// handed over before pauses are looked at again.
const (
	requestParallelism = 4
	removeBatch        = 100
)

// RequestDeletions hands each orphan to the lifecycle of its workspace. One that fails stops none of the others: the next
// run finds it again. A retry goes on where the attempt before had got to.
func (r *Reconcile) RequestDeletions(ctx context.Context, in RequestDeletionsInput) (RequestDeletionsResult, error) {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	p := Progress{Phase: PhaseRemove, Total: len(in.IDs)}
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &p); err != nil || p.Phase != PhaseRemove {
			p = Progress{Phase: PhaseRemove, Total: len(in.IDs)} // asking twice does no harm
		}
	}
	for p.Done < len(in.IDs) {
		end := min(p.Done+removeBatch, len(in.IDs))
		batch, paused, err := r.unpaused(ctx, in.IDs[p.Done:end])
		if err != nil {
			return RequestDeletionsResult{}, wrap(err)
		}
		if paused != "" {
			p.Removed.Left, p.Removed.Paused = len(in.IDs)-p.Done, paused
			break
		}
		failed, err := r.requestDeletions(ctx, batch, in.ListAt, func() { activity.RecordHeartbeat(ctx, p) })
		if err != nil {
			return RequestDeletionsResult{}, wrap(err)
		}
		p.Removed.Requested += len(batch) - failed
		p.Removed.Failed += failed
		p.Done = end
		activity.RecordHeartbeat(ctx, p)
	}
	return p.Removed, nil
}

// requestDeletions returns how many failed; an error only when ctx has ended. alive is called after each.
func (r *Reconcile) requestDeletions(ctx context.Context, ids []string, listAt time.Time, alive func()) (int, error) {
	var failed atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(requestParallelism)
	for _, id := range ids {
		g.Go(func() error {
			err := r.Deletions.RequestDeletion(gctx, id, listAt)
			alive()
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				failed.Add(1)
				activity.GetLogger(ctx).Warn("deletion of an orphan not requested", telemetry.KeyStoreID, id, telemetry.KeyError, err)
			}
			return nil
		})
	}
	err := g.Wait()
	return int(failed.Load()), err
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
		ApprovedListAt: in.approvedListAt(),
	})
	if err != nil {
		return wrap(err)
	}
	run := telemetry.ReconcileRun{
		Outcome:     telemetry.OutcomeSucceeded,
		Duration:    time.Duration(in.Report.DurationMs) * time.Millisecond,
		EndedAt:     in.Report.CompletedAt,
		Failing:     in.Report.FailedAdds + in.Report.FailedRemovals,
		Missing:     in.Report.Missing,
		Orphaned:    in.Report.Orphaned + in.Report.FirstSightings,
		Quarantined: in.Report.QuarantinedCount,
	}
	if in.Error != "" {
		run.Outcome = telemetry.OutcomeFailed
	}
	r.Metrics.Reconciled(run)
	activity.GetLogger(ctx).Info("reconcile run ended", telemetry.KeyTrigger, in.Report.Trigger, telemetry.KeyOutcome, run.Outcome,
		telemetry.KeyDurationMs, in.Report.DurationMs, "drift", in.Report.DriftCount, "added", in.Report.Added,
		"removed", in.Report.Removed, "guard", in.Report.Guard, telemetry.KeyError, in.Error)
	return nil
}
