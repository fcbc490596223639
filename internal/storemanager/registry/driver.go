package registry

import (
	"context"
	"iter"
	"time"

	"storekeeper/internal/storemanager"
)

// Driver keeps what a Registry knows in a database. It decides nothing: it keeps what it is given, and gives back the same. The suite in
// registrytest says what all drivers have in common.
//
//   - Times are kept in microseconds, and come back in UTC. The zero time stands for none, and comes back as the zero time.
//   - Texts come back byte for byte, whatever characters they hold; a run's report too.
//   - Ids and scopes are compared and sorted by their bytes.
//   - What is not there is no error: the method says what stands for it. An error says what went wrong, for the log.
//   - All methods may be called at the same time, once Check has returned. What Change has kept is seen by every read that begins afterwards.
//     A read does not wait for a Change that is under way, and sees nothing of it. (A database in memory, which is for tests, may let it wait.)
type Driver interface {
	// Check compares the database with what it was when it was last used. It is called once, before all other methods.
	//
	// If the database has lost something, Check calls keep with a sentence that says what was found, in a transaction that also makes it a
	// database in its own right. The loss is found again by the next Check unless keep returns nil and the transaction is committed. An error
	// of keep is returned as it is.
	Check(ctx context.Context, keep func(tx Tx, found string) error) error
	// Change runs fn in one transaction. One Change runs at a time, and fn sees all that those before it have kept. fn is called once at the
	// most, because it has effects of its own; it uses no other Change. The wait for the others ends with ctx.
	//
	// When Change returns nil, all that fn changed is on disk. When fn fails, or panics, nothing of it is kept, and its error is returned as it
	// is. After an error of the commit itself either may be true.
	Change(ctx context.Context, fn func(Tx) error) error

	// Record returns what is kept of the id. An id that is unknown has the zero Record, but for its ID.
	Record(ctx context.Context, id string) (Record, error)
	// Records yields the monitored stores whose ids come after the given one, sorted by id, and limit at the most. With pending it yields only
	// those whose deletion is pending, and reads no others. An error ends it. The caller may stop early. It must not use the driver before the
	// end.
	Records(ctx context.Context, after string, limit int, pending bool) iter.Seq2[Record, error]
	// RecordsOf is Records of the stores whose UserID begins with user, which is not empty, and reads no others.
	RecordsOf(ctx context.Context, user, after string, limit int) iter.Seq2[Record, error]
	// IDs returns the ids of the monitored stores that Records yields without pending, at a small part of the cost. Unsettled is the first of
	// them that is unsettled as in storemanager.IDPage; "" for none.
	IDs(ctx context.Context, after string, limit int) (ids []string, unsettled string, err error)
	// MonitoredIDs returns the ids of all monitored stores, sorted.
	MonitoredIDs(ctx context.Context) ([]string, error)
	// Audit returns the entries of the audit trail that fit, in the order of their Seq, Limit at the most. Cursor is the Seq after which, in that
	// order, they begin; 0 begins with the first. It is never nil without an error.
	Audit(ctx context.Context, q storemanager.AuditQuery) ([]storemanager.AuditEntry, error)
	// Counts counts the stores and what else there is, as of these moments. What it costs does not grow with the number of monitored stores.
	Counts(ctx context.Context, at Moments) (Counts, error)
	// Pause returns the pause of the scope, which is a store's id or "" for all stores; nil if none is in force at now. A pause is in force
	// until the moment before its ExpiresAt.
	Pause(ctx context.Context, scope string, now time.Time) (*storemanager.Pause, error)
	// Pauses returns the pauses of the scopes from first to last, both included, that are in force at now, sorted by scope. It is never nil
	// without an error.
	Pauses(ctx context.Context, first, last string, now time.Time) ([]storemanager.Pause, error)
	// Runs returns the kept reconcile runs, and what was counted of all runs.
	Runs(ctx context.Context) (Runs, error)
	// Loss returns what was lost and is not acknowledged; nil for nothing. Lost is true. Since is when the first of these losses was found.
	// Reason has the sentences of all of them, in the order in which they were noted, with "; " between them.
	Loss(ctx context.Context) (*storemanager.KeptBack, error)
	// Cursor returns how far the events of a store are processed; the zero Cursor if none was kept.
	Cursor(ctx context.Context, id string) (Cursor, error)
	// Ping returns nil if the database can be read, and would keep a change.
	Ping(ctx context.Context) error
	// Close ends all use of the database. A method that is under way may fail, and later ones do. Close may be called again.
	Close() error
}

// Tx is a transaction of a Driver, which one goroutine uses at a time. It is over when the function that was given it returns.
type Tx interface {
	// Record is as in Driver, with what the transaction has changed.
	Record(ctx context.Context, id string) (Record, error)
	// SaveRecord keeps a record in place of the one of its id.
	SaveRecord(ctx context.Context, s Record) error
	// Count adds to the totals of stores that were provisioned and stopped. If a number is not 0, at becomes the newest moment of its kind. It is
	// kept with the transaction. The registry calls it in each transaction in which stores become monitored, or no longer are.
	Count(provisioned, stopped int, at time.Time)
	// Prune forgets the tombstones from before oldest (TombstoneAt), with their cursors. Their pauses and the audit trail stay.
	Prune(ctx context.Context, oldest time.Time) error
	// Unpin takes the pins off all stores, and returns those that had one, sorted.
	Unpin(ctx context.Context) ([]string, error)
	// NoteListRemoval keeps for Counts that a store was stopped at a moment because lists lacked it; listAt is when the newest of these lists was
	// asked for. It forgets the removals of oldest and before.
	NoteListRemoval(ctx context.Context, id string, listAt, at, oldest time.Time) error

	// NewestEntry returns the newest entry of the audit trail about a store, or about no store (""), without its Evidence. It is the zero entry
	// if there is none.
	NewestEntry(ctx context.Context, id string) (storemanager.AuditEntry, error)
	// Append adds an entry at the end of the audit trail. It gives it a Seq that is higher than that of every entry that there ever was.
	Append(ctx context.Context, e storemanager.AuditEntry) error
	// PruneAudit looks at so many entries with the lowest Seq, and forgets those of them that are from before oldest (At), but for the newest entry
	// of all.
	PruneAudit(ctx context.Context, oldest time.Time, most int) error
	// Settings returns what a process began with when that was last kept; nil if it never was.
	Settings(ctx context.Context, process string) (*storemanager.Settings, error)
	// SaveSettings keeps what a process began with in place of what was kept of it.
	SaveSettings(ctx context.Context, s storemanager.Settings) error

	// Pause is as in Driver, with what the transaction has changed.
	Pause(ctx context.Context, scope string, now time.Time) (*storemanager.Pause, error)
	// SavePause keeps a pause in place of the one of its scope.
	SavePause(ctx context.Context, p storemanager.Pause) error
	// DropPause forgets the pause of a scope, and says whether there was one, in force or not.
	DropPause(ctx context.Context, scope string) (bool, error)
	// DropExpiredPauses forgets the pauses that are no longer in force at now.
	DropExpiredPauses(ctx context.Context, now time.Time) error

	// SaveRun keeps a run in place of one of its RunID, and counts it in place of that one. A run without an Error is a success. Then it forgets
	// all but as many runs as are to be kept: the newest by CompletedAt, and of the same moment those of the first RunIDs. What is forgotten
	// stays counted. ApprovedListAt and Actor are not kept.
	SaveRun(ctx context.Context, run storemanager.ReconcileRun, kept int) error
	// KeepBack keeps that the guard keeps removals back, since when and why, and says whether that is new. If it does already, the first of both
	// stay.
	KeepBack(ctx context.Context, reason string, since time.Time) (bool, error)
	// LetGo ends what KeepBack has begun, and says whether it had.
	LetGo(ctx context.Context) (bool, error)
	// Approve ends it as well, and keeps up to which list removals are approved. The newest listAt that there ever was stays.
	Approve(ctx context.Context, listAt time.Time) error

	// Loss is as in Driver, with what the transaction has changed.
	Loss(ctx context.Context) (*storemanager.KeptBack, error)
	// NoteLoss keeps that something was lost, when that was found, and what was found.
	NoteLoss(ctx context.Context, found string, at time.Time) error
	// Acknowledge ends the losses that were found before that moment, nil for all of them, and says how many they were. It keeps who did so, why
	// and when.
	Acknowledge(ctx context.Context, a storemanager.Acknowledgement, at time.Time, before *time.Time) (int64, error)

	// SaveCursors keeps how far the events of stores are processed, by store id, in place of what was kept of these stores. The stores need not be
	// known.
	SaveCursors(ctx context.Context, cursors map[string]Cursor) error
}

// Moments are those that Counts depends on.
type Moments struct {
	// Now decides which holds and pauses are in force.
	Now time.Time
	// PendingBefore bounds PendingLong: a deletion counts that began at this moment or before (Deletion.Since). One with the zero Since counts.
	PendingBefore time.Time
	// OverdueBefore bounds Overdue: a deletion counts that was due at this moment or before (Deletion.DeleteAt).
	OverdueBefore time.Time
	// RemovedAfter bounds ListRemovals: a removal counts that was noted for a moment after this one.
	RemovedAfter time.Time
}

// Counts are what a Driver has counted. Names that Overview has mean the same.
type Counts struct {
	Monitored, DeletionPending, DeletionPendingLong, DeletionOverdue int
	Held, Pinned, Tombstones, PausedStores                           int
	// OldestDeletionAt and FirstDeletionDueAt are nil without a pending deletion.
	OldestDeletionAt, FirstDeletionDueAt *time.Time
	// ListRemovals counts only removals whose list was asked for after Approved.
	ListRemovals                     int
	TotalProvisioned, TotalStopped   int64
	LastProvisionedAt, LastStoppedAt *time.Time
	// Guard is nil unless the guard keeps removals back. It says nothing of a loss.
	Guard *storemanager.KeptBack
	// Approved is the newest listAt of Approve; nil before the first.
	Approved *time.Time
}

// Runs are the kept reconcile runs, and what was counted of all.
type Runs struct {
	Successes, Failures int64
	// LastSuccessAt is the newest CompletedAt that a success ever had; nil before the first.
	LastSuccessAt *time.Time
	// Kept is sorted by CompletedAt, newest first, and then by RunID. It is never nil without an error.
	Kept []storemanager.ReconcileRun
}
