// Package storemanager is the contract of the store manager, which keeps one monitored store per workspace. It holds the interfaces that callers
// use, the requests, outcomes and errors that they see, and the checks of requests. It imports the standard library alone.
//
// The packages below it carry the contract out:
//   - registry decides, by fencing rules, and remembers. registry/sqlite is the database below it.
//   - monitor keeps a live subscription for each store; nodeserver drives an older server that does so instead.
//   - processor takes the events of stores, and changelog keeps the newest changes of connections.
//   - storehttp is the contract over HTTP, server and client.
//
// All that must outlast a workflow is kept here: stores, tombstones, pending deletions, holds, pauses, pins, the audit trail,
// first sightings of orphans, and the reports of reconcile runs. Workflows decide. The registry refuses what contradicts what it knows
// already, in one transaction, so a retried or late call can do no harm.
package storemanager

import (
	"context"
	"errors"
)

// Errors that callers branch on with errors.Is, over HTTP too. Any other error is worth a retry.
var (
	// ErrNotFound: no store of that id is monitored. It may be a tombstone, or nobody ever told of it.
	ErrNotFound = errors.New("no such store is monitored")
	// ErrInvalid: the request can never succeed as it is. The wrapping error says why.
	ErrInvalid = errors.New("invalid request")
	// ErrTooEarly: the grace period of the deletion has not ended by the store manager's clock. Retry later.
	ErrTooEarly = errors.New("the grace period has not ended")
	// ErrLossUnacknowledged: the registry has lost what may have kept the store (Overview.Guard), and no operator has acknowledged the loss.
	// Retry later.
	ErrLossUnacknowledged = errors.New("the registry was lost, and nobody has acknowledged it")
	// ErrUnauthorized: the token was refused.
	ErrUnauthorized = errors.New("the store manager refused the token")
	// ErrNodeServer: the Node server that does the monitoring can't be reached, or refuses. It is worth a retry.
	ErrNodeServer = errors.New("the Node server does not do its part")
	// ErrShutdown: the store manager is ending. Retry: another process may take its place.
	ErrShutdown = errors.New("the store manager is shutting down")
)

// Manager is a whole store manager: in process a registry whose stores are monitored, over HTTP a client. Whoever needs less asks for one of the
// interfaces that it consists of, or for some of their methods.
//
// Every method is safe to repeat, and safe for concurrent use. The repeat of a request that was carried out answers as the first time.
type Manager interface {
	Stores
	Deletions
	Pauses
	Reconciliations
	Audit
}

// Stores ensures stores and tells of them.
type Stores interface {
	// Ensure makes the store monitored, unless a newer deletion is known.
	Ensure(ctx context.Context, r EnsureRequest) (EnsureResult, error)
	// EnsureBatch ensures up to MaxBatch stores. Results come in the order of the requests. An item that fails (EnsureInvalid, EnsureFailed)
	// does not stop the others. After an error any of them may have been ensured.
	EnsureBatch(ctx context.Context, rs []EnsureRequest) ([]EnsureResult, error)

	// Get returns a store or a tombstone. ErrNotFound means that nobody ever told of the id, or that its tombstone has been pruned.
	Get(ctx context.Context, id string) (Store, error)
	// List returns a page of monitored stores, sorted by id.
	List(ctx context.Context, r ListRequest) (Page, error)
	// ListIDs returns only the ids of what List lists, MaxBatch at a time, at a small part of the cost. The page has the ids after the cursor.
	// The cursor is IDPage.NextCursor of the page before, or any other id; "" starts at the beginning.
	ListIDs(ctx context.Context, cursor string) (IDPage, error)
	// Overview counts. It is cheap enough for every health check and scrape.
	Overview(ctx context.Context) (Overview, error)
}

// Deletions ends the monitoring of stores, and keeps stores from that.
type Deletions interface {
	// BeginDeletion marks the store as pending deletion until DeleteAt, or says why not.
	BeginDeletion(ctx context.Context, r DeletionRequest) (DeletionResult, error)
	// CancelDeletion ends a pending deletion without leaving a hold. ErrNotFound means that no such store is monitored. A store is returned
	// unchanged if no deletion is pending, or another one than is meant.
	CancelDeletion(ctx context.Context, r CancelRequest) (Store, error)
	// TakeOverDeletion makes another run the owner of a pending deletion, because the run that waited is no more. All else of the deletion
	// stays. ErrNotFound means that no such store is monitored. A store without a pending deletion is returned unchanged.
	TakeOverDeletion(ctx context.Context, r TakeOverRequest) (Store, error)
	// Stop ends the monitoring of a store whose deletion is pending and due, and leaves a tombstone. It fails with ErrTooEarly while the
	// grace period runs, and with ErrLossUnacknowledged while a loss is not acknowledged.
	Stop(ctx context.Context, r StopRequest) (StopResult, error)
	// RestoreDeletion gives a registry that was lost a pending deletion back for which a run still waits: then the store is monitored and the
	// deletion pending, unless anything newer is known. Once the loss is acknowledged it changes nothing. It returns the store as it is then,
	// or its tombstone. ErrNotFound means that the store is unknown.
	RestoreDeletion(ctx context.Context, r RestoreRequest) (Store, error)
	// Hold keeps the store from every deletion until the hold expires or is released. It cancels a pending deletion. Reason and Actor are
	// required; Since is set by the store manager. ErrNotFound means that no such store is monitored.
	Hold(ctx context.Context, id string, r HoldRequest) (Store, error)
	// Release ends the hold. A store without one is returned unchanged. ErrNotFound means that no such store is monitored.
	Release(ctx context.Context, r ReleaseRequest) (Store, error)
}

// Pauses keeps reconciliation from stores.
type Pauses interface {
	// Pause makes reconciliation leave one store alone, or all of them. Events are applied all the same. It replaces an earlier pause of the
	// same scope; the same pause again keeps its Since. The store need not be known. Reason and Actor are required.
	Pause(ctx context.Context, r PauseRequest) (Pause, error)
	// Resume ends the pause of a store, or that of all stores (""). Without a pause it does nothing.
	Resume(ctx context.Context, r ResumeRequest) error
	// Pauses returns the pauses in force now: first that of all stores, then the others sorted by id. It is never nil without an error.
	Pauses(ctx context.Context) ([]Pause, error)
}

// Reconciliations is the memory of reconciliation: what its lists said, what came of its runs, and the loss that makes it keep removals back.
type Reconciliations interface {
	// MarkUnlisted keeps what a list says from one reconcile run to the next: which stores it lacks and which it has, and the verdict of the guard
	// on it. All of it is kept, or nothing.
	MarkUnlisted(ctx context.Context, m ListMarks) error
	// RecordReconcile keeps the report of a finished reconcile run. A repeat with the same RunID replaces the report.
	RecordReconcile(ctx context.Context, r ReconcileRun) error
	// Reconciliation returns the totals and the kept runs, newest first.
	Reconciliation(ctx context.Context) (Reconciliation, error)

	// AcknowledgeLoss ends what KeptBack.Lost says. Without a loss it does nothing.
	AcknowledgeLoss(ctx context.Context, a Acknowledgement) error
}

// Audit tells what was decided, by whom and why. What the other interfaces decide is in it by itself, from the same transaction.
type Audit interface {
	// Audit returns a page of the entries that fit.
	Audit(ctx context.Context, q AuditQuery) (AuditPage, error)
	// NoteBatch keeps that somebody asks for the same of several stores. The stores' own entries follow.
	NoteBatch(ctx context.Context, b Batch) error
	// NoteSettings keeps what a process has begun with. What differs from its start before is an entry each.
	NoteSettings(ctx context.Context, s Settings) error
}

// MaxBatch is the largest number of stores in one EnsureBatch or MarkUnlisted, and in a page.
const MaxBatch = 1000
