// package storemanager keeps the stores of workspaces: a durable registry of what is monitored (SQLite), the fencing
// rules that make every change safe to repeat and to deliver late, and the HTTP form of both.
//
// The registry is where everything lives that must outlast a workflow: stores, tombstones, pending deletions, holds, pauses,
// pins, the newest events of each store, first sightings of orphans, and the reports of reconcile runs. Workflows decide; the
// registry refuses what contradicts what it already knows, inside one transaction, so that a retried or late call can do no
// harm.
package storemanager

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"time"
)

// IDPattern is the rule for store ids (docs/contracts/auth-worker.md).
const IDPattern = `^[a-zA-Z0-9][a-zA-Z0-9_-]{2,63}$`

var idPattern = regexp.MustCompile(IDPattern)

// ValidID reports whether id can be the id of a store.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// Errors that callers branch on with errors.Is, over HTTP too. Any other error is worth a retry.
var (
	// ErrNotFound: no store of that id is monitored (it may be a tombstone, or never have been known).
	ErrNotFound = errors.New("no such store is monitored")
	// ErrInvalid: the request can never succeed as it is; the wrapping error says why.
	ErrInvalid = errors.New("invalid request")
	// ErrTooEarly: the grace period of the deletion has not ended by the store manager's clock. Retry later.
	ErrTooEarly = errors.New("the grace period has not ended")
	// ErrLossUnacknowledged: the registry has lost what may have kept the store (Overview.Guard), and no operator has acknowledged it.
	// Retry later.
	ErrLossUnacknowledged = errors.New("the registry was lost, and nobody has acknowledged it")
	// ErrUnauthorized: the token was refused.
	ErrUnauthorized = errors.New("the store manager refused the token")
	// ErrNodeServer: the Node server that does the monitoring can't be reached, or refuses. Worth a retry.
	ErrNodeServer = errors.New("the Node server does not do its part")
	// ErrShutdown: the store manager is ending. Retry: another process may take its place.
	ErrShutdown = errors.New("the store manager is shutting down")
)

// Manager is a whole store manager. A registry whose stores are monitored answers in process, a client over HTTP. Whoever needs less asks for
// one of the interfaces that it consists of, or for some of their methods.
//
// Every method is safe to repeat: a repeat of a request that was carried out answers as the first time.
type Manager interface {
	Stores
	Deletions
	Pauses
	Reconciliations
}

// Stores ensures stores and tells of them.
type Stores interface {
	// Ensure makes the store monitored, unless a newer deletion is known.
	Ensure(ctx context.Context, r EnsureRequest) (EnsureResult, error)
	// EnsureBatch ensures up to MaxBatch stores; results come in the order of the requests, and an item that fails (Outcome
	// EnsureInvalid, EnsureFailed) does not stop the others. After an error any of them may have been.
	EnsureBatch(ctx context.Context, rs []EnsureRequest) ([]EnsureResult, error)

	// Get returns a store or a tombstone; ErrNotFound if the id was never known (or its tombstone has been pruned).
	Get(ctx context.Context, id string) (Store, error)
	// List returns monitored stores sorted by id.
	List(ctx context.Context, r ListRequest) (Page, error)
	// ListIDs returns the ids alone of what List lists, MaxBatch at a time, at a small part of its cost. The cursor is
	// IDPage.NextCursor of the page before, or any other id: the page has those after it. "" starts at the beginning.
	ListIDs(ctx context.Context, cursor string) (IDPage, error)
	// Overview counts; it is cheap enough for every health check and scrape.
	Overview(ctx context.Context) (Overview, error)
}

// Deletions are what ends the monitoring of a store, and what keeps it from that.
type Deletions interface {
	// BeginDeletion marks the store as pending deletion until DeleteAt, or says why not.
	BeginDeletion(ctx context.Context, r DeletionRequest) (DeletionResult, error)
	// CancelDeletion clears a pending deletion without leaving a hold. ErrNotFound if no such store is monitored; a store
	// without a pending deletion, or with another one than is meant, is returned unchanged.
	CancelDeletion(ctx context.Context, r CancelRequest) (Store, error)
	// TakeOverDeletion makes a run the owner of a pending deletion, all else of which stays: the run that had waited is no more.
	// ErrNotFound if no such store is monitored; a store without a pending deletion is returned unchanged.
	TakeOverDeletion(ctx context.Context, r TakeOverRequest) (Store, error)
	// Stop ends the monitoring of a store whose deletion is pending and due, and leaves a tombstone.
	// ErrTooEarly while the grace period runs, ErrLossUnacknowledged while that is so.
	Stop(ctx context.Context, r StopRequest) (StopResult, error)
	// RestoreDeletion gives a registry that was lost a pending deletion back which a run still waits for: the store is monitored, and the
	// deletion pending, unless anything newer is known. Once the loss is acknowledged it changes nothing. The answer is the store as it
	// is then, or its tombstone; ErrNotFound if it is unknown.
	RestoreDeletion(ctx context.Context, r RestoreRequest) (Store, error)
	// Hold keeps the store from every deletion until the hold expires or is released; a pending deletion is cancelled.
	Hold(ctx context.Context, id string, h Hold) (Store, error)
	// Release takes the hold off. A store without one is returned unchanged.
	Release(ctx context.Context, id string) (Store, error)
}

// Pauses keep reconciliation from stores.
type Pauses interface {
	// Pause makes reconciliation leave one store alone, or all of them; it replaces an earlier pause of the same scope. The
	// same pause again keeps its Since. Events are applied all the same. The store need not be known.
	Pause(ctx context.Context, p Pause) (Pause, error)
	// Resume ends a pause. Without one it does nothing.
	Resume(ctx context.Context, storeID string) error
	// Pauses returns those in force now, that of all stores first, the others sorted by id; never nil.
	Pauses(ctx context.Context) ([]Pause, error)
}

// Reconciliations is the memory of reconciliation: what its lists said, what its runs came to, and the loss that makes it keep back.
type Reconciliations interface {
	// MarkUnlisted keeps the first sightings of orphans across reconcile runs.
	MarkUnlisted(ctx context.Context, m ListMarks) error
	// RecordReconcile keeps the report of a finished reconcile run. A repeat with the same RunID replaces it.
	RecordReconcile(ctx context.Context, r ReconcileRun) error
	// Reconciliation returns the totals and the kept runs, newest first.
	Reconciliation(ctx context.Context) (Reconciliation, error)

	// AcknowledgeLoss ends what KeptBack.Lost says. Without a loss it does nothing.
	AcknowledgeLoss(ctx context.Context, a Acknowledgement) error
}

// MaxClockLead is how far ahead of the store manager's clock the clock of an event's origin may be. An event from further ahead counts as from
// then.
const MaxClockLead = 5 * time.Minute

// MaxBatch is the largest number of stores in one EnsureBatch or MarkUnlisted, and in a page.
const MaxBatch = 1000

// State of a store in the registry.
type State string

const (
	StateMonitored State = "monitored"
	// StateStopped is a tombstone: kept so that a late event can't bring the store back.
	StateStopped State = "stopped"
)

// Store is one row of the registry. Times are UTC with microsecond precision; nil or zero means never.
type Store struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Connection is the state of the live subscription.
	Connection ConnectionState `json:"connection"`
	// Monitor says more of the subscription; nil for a store without a monitor.
	Monitor *MonitorStatus `json:"monitor,omitempty"`
	// EventAt is the moment of the newest knowledge about the workspace, by the clock of the one who knew it (the
	// timestamp of an event, the start of a list's fetch). Older knowledge changes nothing.
	EventAt          time.Time  `json:"eventAt"`
	FirstMonitoredAt *time.Time `json:"firstMonitoredAt,omitempty"`
	LastEnsuredAt    *time.Time `json:"lastEnsuredAt,omitempty"`
	LastStoppedAt    *time.Time `json:"lastStoppedAt,omitempty"`
	// Deletion is nil unless a deletion is pending.
	Deletion *Deletion `json:"deletion,omitempty"`
	// Hold is nil unless a hold is in force now.
	Hold *Hold `json:"hold,omitempty"`
	// Pinned is set by STORE_IDS.
	Pinned bool `json:"pinned,omitempty"`
	// Pause is nil unless reconciliation leaves this very store alone.
	Pause *Pause `json:"pause,omitempty"`
	// Events are the newest KeptHistory, newest first; of Get alone.
	History []HistoryEntry `json:"events,omitempty"`
	// Failing is nil unless a Node server did not take the store when it was last asked to; of Get alone.
	Failing *Failure `json:"failing,omitempty"`
	// UnlistedSince is the start of the fetch of the first complete list that lacked the store; nil while the lists have it.
	UnlistedSince *time.Time `json:"missingSince,omitempty"`
	// ListedSince is the start of the fetch of the first complete list after the pending deletion began that has the workspace; nil
	// without one. If the next list has it too, the deletion ends.
	ListedSince *time.Time `json:"listedSince,omitempty"`
}

// Failure is why a store is not monitored where it should be. It is forgotten when the process ends.
type Failure struct {
	// Since is when the first attempt in a row failed, Attempts how many did.
	Since    time.Time `json:"since"`
	Attempts int       `json:"attempts"`
	// LastError is one line that is safe to show.
	LastError string `json:"lastError"`
	// NextAttemptAt is when EnsureBatch asks for the store again at the earliest. Ensure does not wait for it.
	NextAttemptAt time.Time `json:"nextAttemptAt"`
}

// Deletion is a pending deletion.
type Deletion struct {
	// EventAt is the newest moment at which the workspace was known to be gone.
	EventAt time.Time `json:"eventAt"`
	// Since is when the registry took the deletion in, by its own clock: its grace period runs from then on, and lists that were
	// fetched before say nothing against it. Zero for one that an older version took in.
	Since    time.Time `json:"since,omitzero"`
	DeleteAt time.Time `json:"deleteAt"`
	// ByList: no event has asked for it, but lists lacked the workspace.
	ByList bool `json:"byList,omitempty"`
	// Owner is the run that waits for DeleteAt; only it may stop the store.
	Owner string `json:"owner"`
}

// OutdatedBy says whether a list that was asked for at that moment can speak against the deletion: one that was asked for before it
// began can't.
func (p Deletion) OutdatedBy(listAt time.Time) bool {
	return listAt.After(p.Since) && listAt.After(p.EventAt)
}

// Hold protects a store from deletion.
type Hold struct {
	Reason string    `json:"reason"`
	Actor  string    `json:"actor"`
	Since  time.Time `json:"since"`
	// ExpiresAt nil: until released.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
}

// Pause keeps reconciliation from stores. One that has expired counts as none.
type Pause struct {
	// StoreID "" is all stores.
	StoreID string `json:"storeId,omitempty"`
	Reason  string `json:"reason"`
	Actor   string `json:"actor"`
	// Since is set by the store manager.
	Since time.Time `json:"since"`
	// ExpiresAt nil: until resumed.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
}

// HistoryEntry is something that was asked about a store, and what came of it. One that repeats the newest is kept as one.
type HistoryEntry struct {
	// At is when the store manager decided, by its clock; of a repeated one, the last time.
	At time.Time `json:"at"`
	// Kind is ensure, deletion, cancel_deletion, stop, hold, release, pause or resume.
	Kind string `json:"kind"`
	// Outcome is that of the answer, such as created, exists, stale, scheduled, held, stopped; done where there is but one.
	Outcome string `json:"outcome"`
	// Detail says who and why, where it is known.
	Detail string `json:"detail,omitempty"`
}

// KeptHistory is how many events of a store are kept.
const KeptHistory = 10

// EnsureRequest asks for a store to be monitored.
type EnsureRequest struct {
	StoreID string `json:"storeId"`
	// At is the moment at which the workspace was known to exist: an event's timestamp, or the start of a list's fetch. More
	// than MaxClockLead in the future counts as that.
	At time.Time `json:"at"`
	// RequestID makes the answer repeatable: the request that created a store hears EnsureCreated each time. "": not repeatable.
	RequestID string `json:"requestId,omitempty"`
}

// ReconcileRequest begins the EnsureRequest.RequestID of what reconciliation asks for, and no event.
const ReconcileRequest = "reconcile/"

// EnsureOutcome says what an ensure found.
type EnsureOutcome string

const (
	EnsureCreated EnsureOutcome = "created"
	EnsureExists  EnsureOutcome = "exists"
	// EnsureStale: a deletion at or after EnsureRequest.At is known; nothing was changed.
	EnsureStale EnsureOutcome = "stale"
	// EnsureInvalid: the id can be no store's (batches only; Ensure itself answers ErrInvalid).
	EnsureInvalid EnsureOutcome = "invalid"
	// EnsureFailed: the store manager could not carry it out now; worth a retry (batches only; Ensure itself answers an error).
	EnsureFailed EnsureOutcome = "failed"
)

// EnsureResult answers an EnsureRequest.
type EnsureResult struct {
	StoreID string        `json:"storeId"`
	Outcome EnsureOutcome `json:"outcome"`
	// DeletionCancelled: the store was pending deletion by an older event, and no longer is.
	DeletionCancelled bool `json:"deletionCancelled,omitempty"`
	// Connection of the store after the call; "" when it is not monitored. It does not wait for the sync backend, so a store
	// that was just created is ConnectionConnecting.
	Connection ConnectionState `json:"connection,omitempty"`
	// Error is why, for EnsureFailed: one line that is safe to show. "" for all others.
	Error string `json:"error,omitempty"`
	// NextAttemptAt is set for EnsureFailed if the store will fail at once until then; nil: it may be asked for again now.
	NextAttemptAt *time.Time `json:"nextAttemptAt,omitempty"`
}

// DeletionRequest asks for a deletion to become pending.
type DeletionRequest struct {
	StoreID string `json:"storeId"`
	// At is the moment at which the workspace was known to be gone, bounded like EnsureRequest.At.
	At time.Time `json:"at"`
	// DeleteAt is the end of the grace period, by the clock of the one who asks.
	DeleteAt time.Time `json:"deleteAt"`
	// GracePeriod (nanoseconds) is how long it is at least, by the registry's own clock; 0, as from a worker of an older version, adds
	// nothing.
	GracePeriod time.Duration `json:"gracePeriod,omitempty"`
	// Owner is the run that will wait. A repeat keeps the first DeleteAt, whoever brings it; a deletion that is newer than the one that is
	// pending, and is another run's, replaces it.
	Owner string `json:"owner"`
	// ByList: no event has said so, but lists lacked the workspace. Without it the store no longer counts as sighted missing: what
	// events delete says nothing about the list.
	ByList bool `json:"byList,omitempty"`
}

// DeletionOutcome says what became of a DeletionRequest.
type DeletionOutcome string

const (
	DeletionScheduled DeletionOutcome = "scheduled"
	// DeletionAlreadyStopped: nothing is monitored; a tombstone now remembers the deletion.
	DeletionAlreadyStopped DeletionOutcome = "already_stopped"
	// DeletionStale: newer knowledge says that the workspace exists, or this very deletion was cancelled.
	DeletionStale  DeletionOutcome = "stale"
	DeletionHeld   DeletionOutcome = "held"
	DeletionPinned DeletionOutcome = "pinned"
)

// DeletionResult answers a DeletionRequest.
type DeletionResult struct {
	Outcome DeletionOutcome `json:"outcome"`
	// DeleteAt and EventAt are those of the pending deletion; zero unless Outcome is DeletionScheduled.
	DeleteAt time.Time `json:"deleteAt,omitzero"`
	EventAt  time.Time `json:"eventAt,omitzero"`
	// Hold is nil unless Outcome is DeletionHeld.
	Hold *Hold `json:"hold,omitempty"`
}

// CancelRequest names a pending deletion to cancel.
type CancelRequest struct {
	StoreID string `json:"storeId"`
	// Owner of the deletion; "" is any.
	Owner string `json:"owner,omitempty"`
	// EventAt is Deletion.EventAt as the caller knows it: a deletion that was reported since is not meant. Zero means any.
	EventAt time.Time `json:"eventAt,omitzero"`
}

// TakeOverRequest names the run that goes on with a pending deletion.
type TakeOverRequest struct {
	StoreID string `json:"storeId"`
	Owner   string `json:"owner"`
}

// StopRequest asks for the end of a pending deletion.
type StopRequest struct {
	StoreID string `json:"storeId"`
	Owner   string `json:"owner"`
	// AbsentAt is the moment from which the Auth Worker's answer counts that the workspace is gone: nothing is stopped on one that is
	// older than MaxAnswerAge. Without it, as from a worker of an older version, nothing is stopped: an error that is worth a retry by a newer one.
	AbsentAt time.Time `json:"absentAt,omitzero"`
}

const (
	// MaxAnswerAge is how old the Auth Worker's answer may be when a store is stopped on it: a minute, less what the clock of the one who
	// asked may be ahead.
	MaxAnswerAge = time.Minute - MaxAnswerLead
	// MaxAnswerLead is how far ahead of the registry's clock the one who asked may be. An answer from further ahead could be of any age.
	MaxAnswerLead = 5 * time.Second
)

// StopOutcome says what became of a StopRequest.
type StopOutcome string

const (
	StopStopped StopOutcome = "stopped"
	// StopAlreadyStopped: nothing was monitored.
	StopAlreadyStopped StopOutcome = "already_stopped"
	// StopAnswerTooOld: the answer of the Auth Worker is older than MaxAnswerAge, or than a list that has the workspace, or from a clock
	// that is ahead of ours. Ask again; the deletion stays pending.
	StopAnswerTooOld StopOutcome = "answer_too_old"
	// StopNotPending: the deletion is no longer pending for this owner (cancelled, held, pinned, or overtaken by newer
	// knowledge); the store stays.
	StopNotPending StopOutcome = "not_pending"
)

// StopResult answers a StopRequest.
type StopResult struct {
	Outcome StopOutcome `json:"outcome"`
}

// RestoreRequest says which deletion was pending.
type RestoreRequest struct {
	StoreID string `json:"storeId"`
	// EventAt, DeleteAt and Owner are those of Deletion.
	EventAt  time.Time `json:"eventAt"`
	DeleteAt time.Time `json:"deleteAt"`
	Owner    string    `json:"owner"`
	// ByList: as in DeletionRequest.
	ByList bool `json:"byList,omitempty"`
}

// ListRequest selects a page of monitored stores.
type ListRequest struct {
	// Cursor is Page.NextCursor of the page before; "" starts at the beginning.
	Cursor string
	// Limit is 1 to MaxBatch; 0 means DefaultLimit.
	Limit int
	// States keeps the stores to which at least one of these applies: StoreDeletionPending, StoreHeld, StorePinned, or a
	// ConnectionState. Empty keeps all. A page may then be short, even empty, and not be the last: go on while it has a
	// NextCursor.
	States []string
}

// Matches says whether a state of States applies to the store, or there are none.
func (q ListRequest) Matches(s Store) bool {
	return len(q.States) == 0 || slices.ContainsFunc(q.States, func(state string) bool {
		switch state {
		case StoreDeletionPending:
			return s.Deletion != nil
		case StoreHeld:
			return s.Hold != nil
		case StorePinned:
			return s.Pinned
		default:
			return state == string(s.Connection)
		}
	})
}

// DefaultLimit is how many stores a page of List has when nobody says otherwise.
const DefaultLimit = 100

// What a store can be, beside its ConnectionState; of ListRequest.States, and of metrics.
const (
	StoreDeletionPending = "deletion_pending"
	StoreHeld            = "held"
	StorePinned          = "pinned"
)

// ListStates are what ListRequest.States may hold.
func ListStates() []string {
	states := []string{StoreDeletionPending, StoreHeld, StorePinned}
	for _, connection := range ConnectionStates() {
		states = append(states, string(connection))
	}
	return states
}

// Page is a page of stores sorted by id.
type Page struct {
	Stores []Store `json:"stores"`
	// NextCursor is "" on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// IDPage is a page of ids of monitored stores, sorted.
type IDPage struct {
	IDs []string `json:"ids"`
	// Unsettled is the first of IDs whose store a reconcile run may have to do something about though it is listed: it has a
	// UnlistedSince, its deletion is pending, or nobody ever told of it (its EventAt is 1970). "" when there is none.
	Unsettled string `json:"unsettled,omitempty"`
	// NextCursor is "" on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// Overview counts the registry. Monitored includes the pending, held and pinned ones.
type Overview struct {
	// Connections counts the monitored stores by the state of their connection; a state that no store is in is left out.
	Connections     map[ConnectionState]int `json:"connections"`
	Monitored       int                     `json:"monitored"`
	DeletionPending int                     `json:"deletionPending"`
	// DeletionPendingLong counts those of DeletionPending that have been pending for longer than a minute: each has a lifecycle that
	// can be seen by then.
	DeletionPendingLong int `json:"deletionPendingLong"`
	// DeletionOverdue counts those of DeletionPending that were due five minutes ago: a re-check or a stop does not get on.
	DeletionOverdue   int        `json:"deletionOverdue"`
	Held              int        `json:"held"`
	Pinned            int        `json:"pinned"`
	Tombstones        int        `json:"tombstones"`
	TotalProvisioned  int64      `json:"totalProvisioned"`
	TotalStopped      int64      `json:"totalStopped"`
	LastProvisionedAt *time.Time `json:"lastProvisionedAt,omitempty"`
	LastStoppedAt     *time.Time `json:"lastStoppedAt,omitempty"`
	// Paused is the pause of all stores; nil when none is in force.
	Paused *Pause `json:"paused,omitempty"`
	// PausedStores counts the pauses in force of single stores, known or not.
	PausedStores int `json:"pausedStores"`
	// Deliveries is how many webhooks are remembered. A Manager in process knows nothing of them: over HTTP it is the count of the memory that
	// is served beside it.
	Deliveries int64 `json:"deliveries"`
	// ListRemovals counts the stores that were stopped within the last day because lists lacked them: no event had asked for it, and
	// no operator has approved it.
	ListRemovals int `json:"listRemovals"`
	// Guard is nil unless the guard of reconciliation holds removals back, or the registry was lost.
	Guard *KeptBack `json:"guard,omitempty"`
	// GuardApprovedAt is the newest ReconcileRun.ApprovedListAt: deletions that lists asked for up to then are approved. Nil before
	// the first.
	GuardApprovedAt *time.Time `json:"guardApprovedAt,omitempty"`
	// SyncURL is where the events of stores in general are to be had, without what may be secret; "" means nowhere, or that it is
	// not known.
	SyncURL string `json:"syncUrl,omitempty"`
	// Monitors is nil without monitors.
	Monitors *MonitorTotals `json:"monitors,omitempty"`
}

// Loss is the Guard that says that the registry was lost, and nobody has acknowledged it; nil without one, and of an Overview that is not known.
func (o *Overview) Loss() *KeptBack {
	if o == nil || o.Guard == nil || !o.Guard.Lost {
		return nil
	}
	return o.Guard
}

// MonitorTotals are what the monitors did, all together, since the process began.
type MonitorTotals struct {
	// Events counts those that the processor took; the others are the sums of MonitorStatus.
	Events     int64 `json:"events"`
	Errors     int64 `json:"errors"`
	Reconnects int64 `json:"reconnects"`
	Resets     int64 `json:"resets"`
	// Subscribed is how many stores have a subscription now.
	Subscribed int64 `json:"subscribed"`
	// Dialing is how many connections are being made now.
	Dialing int64 `json:"dialing"`
}

// ListMarks is what one complete authoritative list says of first sightings.
type ListMarks struct {
	// ListAt is the start of the list's fetch.
	ListAt time.Time `json:"listAt"`
	// Missing stores were not in the list: UnlistedSince is set where it was nil, unless a deletion is pending; ListedSince is cleared.
	Unlisted []string `json:"missing,omitempty"`
	// Listed stores were in the list: UnlistedSince is cleared; ListedSince is set where it was nil and a deletion is pending that had
	// begun when the list was asked for.
	Listed []string `json:"listed,omitempty"`
	// Guard is GuardKeepsBack or GuardCleared, or "", and GuardReason why the guard holds: the first reason stays.
	Guard       GuardVerdict `json:"guard,omitempty"`
	GuardReason string       `json:"guardReason,omitempty"`
}

// ReconcileRun is the record of one finished reconcile run.
type ReconcileRun struct {
	RunID       string    `json:"runId"`
	StartedAt   time.Time `json:"startedAt"`
	CompletedAt time.Time `json:"completedAt"`
	// Error is "" for a run that succeeded; else one line that is safe to show.
	Error string `json:"error,omitempty"`
	// Report is the workflow's own report, kept as it is.
	Report json.RawMessage `json:"report,omitempty"`
	// ApprovedListAt is ListMarks.ListAt of the newest list whose removals were approved in this run; nil for none. It releases the
	// guard (Overview.Guard), acknowledges a loss that was found before, and is not kept with the run.
	ApprovedListAt *time.Time `json:"approvedListAt,omitempty"`
	// Actor is who approved them, and so acknowledges the loss; "" where it is not known. It is not kept with the run either: Report says it.
	Actor string `json:"actor,omitempty"`
}

// GuardVerdict is what a list, or a run, means for the guard that holds removals back until an operator approves them.
type GuardVerdict string

// The verdicts. "" leaves the guard as it is.
const (
	// GuardKeepsBack: the list lacks more than may be removed. The guard holds from now on, whatever later lists lack.
	GuardKeepsBack GuardVerdict = "held"
	// GuardCleared: the list lacks nothing that is not protected.
	GuardCleared GuardVerdict = "cleared"
	// GuardApproved: the removals were approved.
	GuardApproved GuardVerdict = "approved"
)

// KeptBack says that the guard of reconciliation holds removals back.
type KeptBack struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	// Lost: the registry is new, older or another one than it should be, as Reason says. Until an operator acknowledges that, or approves
	// a plan that was made since, no store is stopped, whoever asks; a list that lacks nothing does not end it.
	Lost bool `json:"lost,omitempty"`
}

// Acknowledgement is an operator's word that a loss is known, and stores may be stopped again.
type Acknowledgement struct {
	Reason string `json:"reason"`
	Actor  string `json:"actor"`
}

// KeptReconcileRuns is how many runs are kept.
const KeptReconcileRuns = 50

// Reconciliation is what is known of past reconcile runs.
type Reconciliation struct {
	Runs      int64 `json:"runs"`
	Successes int64 `json:"successes"`
	Failures  int64 `json:"failures"`
	// LastSuccessAt is nil before the first success.
	LastSuccessAt *time.Time `json:"lastSuccessAt,omitempty"`
	// LastError is the newest failed run, however old; nil if there was none among the kept.
	LastError *ReconcileRun  `json:"lastError,omitempty"`
	Recent    []ReconcileRun `json:"recent"`
}
