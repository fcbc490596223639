package registry

import (
	"context"
	"iter"
	"time"

	"storekeeper/internal/storemanager"
)

// Driver keeps what a Registry knows in a database. It decides nothing: it reads, and it keeps what it is given, exactly, times as precise as
// microseconds. Errors say what went wrong; what a driver can't find is no error unless its method says so. It is safe for concurrent use.
type Driver interface {
	// Check compares the database with what it was when it was last used. If it has lost something, keep is called in the transaction that
	// makes it a database in its own right, with a sentence that says what was found; it is found again until keep has returned nil and the
	// transaction is committed. Nothing else is called before Check.
	Check(ctx context.Context, keep func(tx Tx, found string) error) error
	// Change runs fn in one transaction, one at a time. All that it changes is on disk when Change returns nil, and none of it after an
	// error of fn, which is returned as it is. After an error of the commit itself either may be true.
	Change(ctx context.Context, fn func(Tx) error) error

	// Record is that of the id; the zero Record but for its id if that is unknown.
	Record(ctx context.Context, id string) (Record, error)
	// Records are those of up to limit monitored stores with ids after the given one, sorted by id; of those alone whose deletion is pending
	// if that is asked for. The registry must not be used while they are read.
	Records(ctx context.Context, after string, limit int, pending bool) iter.Seq2[Record, error]
	// IDs are those of up to limit monitored stores after the given one, sorted. Unsettled is the first of them as in IDPage.
	IDs(ctx context.Context, after string, limit int) (ids []string, unsettled string, err error)
	// MonitoredIDs are those of all monitored stores, sorted.
	MonitoredIDs(ctx context.Context) ([]string, error)
	// History are those of a store, newest first; nil for none.
	History(ctx context.Context, id string) ([]storemanager.HistoryEntry, error)
	// Counts counts the stores, and what else there is of each kind, as of these moments.
	Counts(ctx context.Context, at Moments) (Counts, error)
	// Pause is that of the scope, a store's id or "" for all; nil for none that is in force at now.
	Pause(ctx context.Context, scope string, now time.Time) (*storemanager.Pause, error)
	// Pauses are those of the scopes from first to last, both included, that are in force at now, sorted by scope; never nil.
	Pauses(ctx context.Context, first, last string, now time.Time) ([]storemanager.Pause, error)
	// Runs are the kept reconcile runs, the newest first by CompletedAt, and what was counted of all.
	Runs(ctx context.Context) (Runs, error)
	// Loss is what was lost and is not acknowledged; nil for nothing.
	Loss(ctx context.Context) (*storemanager.KeptBack, error)
	// Cursor is how far the events of a store are processed; the zero Cursor without any.
	Cursor(ctx context.Context, id string) (Cursor, error)
	// Ping returns nil if the database can be read, and keeps what is changed.
	Ping(ctx context.Context) error
	// Close ends all use of the database. A method that is under way may fail.
	Close() error
}

// Tx is a transaction of a Driver. It is over when the function that was given it returns.
type Tx interface {
	// Record is as in Driver, with what the transaction has changed.
	Record(ctx context.Context, id string) (Record, error)
	// SaveRecord keeps a record in place of the one of its id.
	SaveRecord(ctx context.Context, s Record) error
	// Count adds to the totals: stores that were provisioned and stopped, and when. It is kept with the transaction.
	Count(provisioned, stopped int, at time.Time)
	// Prune forgets the tombstones from before oldest, with their events and cursors.
	Prune(ctx context.Context, oldest time.Time) error
	// Unpin takes the pins off all stores.
	Unpin(ctx context.Context) error
	// NoteListRemoval keeps for the guard that a store was stopped because lists lacked it, and when the newest of them was asked for. Those
	// of oldest and before are forgotten.
	NoteListRemoval(ctx context.Context, id string, listAt, at, oldest time.Time) error

	// NewestEvent is that of a store, without its moment, and its number; 0 for none.
	NewestEntry(ctx context.Context, id string) (seq int64, e storemanager.HistoryEntry, err error)
	// SaveEvent keeps an event in place of the one of its number.
	SaveEntry(ctx context.Context, id string, seq int64, e storemanager.HistoryEntry) error
	// DropEvents forgets the events of a store up to that number.
	DropEntries(ctx context.Context, id string, upTo int64) error

	// Pause is as in Driver.
	Pause(ctx context.Context, scope string, now time.Time) (*storemanager.Pause, error)
	// SavePause keeps a pause in place of the one of its scope.
	SavePause(ctx context.Context, p storemanager.Pause) error
	// DropPause ends the pause of a scope, and says whether there was one.
	DropPause(ctx context.Context, scope string) (bool, error)
	// DropExpiredPauses forgets the pauses that have ended by then.
	DropExpiredPauses(ctx context.Context, now time.Time) error

	// SaveRun keeps a run, in place of one of its id, counts it, and forgets all but the newest kept runs.
	SaveRun(ctx context.Context, run storemanager.ReconcileRun, kept int) error
	// KeepBack keeps since when the guard keeps removals back and why. The first of both stay.
	KeepBack(ctx context.Context, reason string, since time.Time) error
	// LetGo ends that.
	LetGo(ctx context.Context) error
	// Approve ends it as well, and keeps up to which list removals are approved, the newest there was.
	Approve(ctx context.Context, listAt time.Time) error

	// Loss is as in Driver.
	Loss(ctx context.Context) (*storemanager.KeptBack, error)
	// NoteLoss keeps that something was lost.
	NoteLoss(ctx context.Context, found string, at time.Time) error
	// Acknowledge ends the losses that were found before that moment, nil for all, and says how many they were.
	Acknowledge(ctx context.Context, a storemanager.Acknowledgement, at time.Time, before *time.Time) (int64, error)

	// SaveCursors keeps how far the events of stores are processed.
	SaveCursors(ctx context.Context, cursors map[string]Cursor) error
}

// Moments are those that Counts depends on.
type Moments struct {
	// Now decides which holds and pauses are in force.
	Now time.Time
	// PendingBefore is when a deletion has begun that counts as PendingLong, at the latest.
	PendingBefore time.Time
	// OverdueBefore is when a deletion was due that counts as Overdue, at the latest.
	OverdueBefore time.Time
	// RemovedAfter is when a store was stopped that counts as one of ListRemovals, at the earliest.
	RemovedAfter time.Time
}

// Counts are what a Driver has counted. Names are those of Overview.
type Counts struct {
	Monitored, DeletionPending, DeletionPendingLong, DeletionOverdue int
	Held, Pinned, Tombstones, PausedStores, ListRemovals             int
	TotalProvisioned, TotalStopped                                   int64
	LastProvisionedAt, LastStoppedAt                                 *time.Time
	// Guard is nil unless the guard keeps removals back, Approved nil before the first approval.
	Guard    *storemanager.KeptBack
	Approved *time.Time
}

// Runs are the kept reconcile runs and what was counted of all.
type Runs struct {
	Successes, Failures int64
	LastSuccessAt       *time.Time
	Kept                []storemanager.ReconcileRun
}
