package storemanager

import "time"

// DeletionRequest asks for a deletion to become pending.
type DeletionRequest struct {
	StoreID string `json:"storeId"`
	// At is the moment at which the workspace was known to be gone. It is bounded like EnsureRequest.At.
	At time.Time `json:"at"`
	// DeleteAt is the end of the grace period, by the clock of the one who asks.
	DeleteAt time.Time `json:"deleteAt"`
	// GracePeriod (nanoseconds) is how long the grace period is at least, by the registry's own clock. 0 adds nothing: workers of an older
	// version send that.
	GracePeriod time.Duration `json:"gracePeriod,omitempty"`
	// Owner is the run that will wait. A repeat keeps the first DeleteAt, whoever brings it. A deletion replaces the pending one if it is newer
	// and another run's.
	Owner string `json:"owner"`
	// ByList: no event has asked for the deletion, but lists lacked the workspace. Without it the store no longer counts as unlisted, because
	// what events delete says nothing about the list.
	ByList bool `json:"byList,omitempty"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
	// List is the list that lacks the workspace, if ByList.
	List ListRef `json:"list,omitzero"`
}

// Cause is why the deletion becomes pending. firstList is the first of the two lists, if lists ask for it.
func (q DeletionRequest) Cause(firstList ListRef) Cause {
	c := Cause{Origin: q.Origin.Cut()}
	if q.ByList {
		c.Source = SourceReconcile
		c.FirstList, c.SecondList = firstList, q.List.AsOf(q.At)
	}
	return c
}

// DeletionOutcome says what became of a DeletionRequest.
type DeletionOutcome string

const (
	DeletionScheduled DeletionOutcome = "scheduled"
	// DeletionAlreadyStopped: nothing is monitored. A tombstone now remembers the deletion.
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
	// Owner is that of the deletion; "" means any.
	Owner string `json:"owner,omitempty"`
	// EventAt is Deletion.EventAt as the caller knows it: a deletion that was reported since is not meant. Zero means any.
	EventAt time.Time `json:"eventAt,omitzero"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// TakeOverRequest names the run that goes on with a pending deletion.
type TakeOverRequest struct {
	StoreID string `json:"storeId"`
	Owner   string `json:"owner"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// StopRequest asks for the end of a pending deletion: the store is to be stopped.
type StopRequest struct {
	StoreID string `json:"storeId"`
	Owner   string `json:"owner"`
	// AbsentAt is the moment as of which the Auth Worker answered that the workspace is gone. Nothing is stopped on an answer that is older
	// than MaxAnswerAge. Nothing is stopped without it either: workers of an older version don't send it, and get an error that a newer one can
	// retry.
	AbsentAt time.Time `json:"absentAt,omitzero"`
	// Origin says who asks: that of the deletion, where the run knows it.
	Origin Origin `json:"origin,omitzero"`
	// Recheck is the list that the answer stands in. Its At is AbsentAt.
	Recheck ListRef `json:"recheck,omitzero"`
}

const (
	// MaxAnswerAge is how old the Auth Worker's answer may be when a store is stopped on it. With MaxAnswerLead, by which the clock of the one
	// who asked may be ahead, it is a minute.
	MaxAnswerAge = time.Minute - MaxAnswerLead
	// MaxAnswerLead is how far ahead of the registry's clock the clock of the one who asked the Auth Worker may be. An answer from further ahead
	// could be of any age, so it counts as too old.
	MaxAnswerLead = 5 * time.Second
)

// StopOutcome says what became of a StopRequest.
type StopOutcome string

const (
	StopStopped StopOutcome = "stopped"
	// StopAlreadyStopped: nothing was monitored.
	StopAlreadyStopped StopOutcome = "already_stopped"
	// StopAnswerTooOld: the answer of the Auth Worker is older than MaxAnswerAge, or older than a list that has the workspace, or from a clock
	// that is more than MaxAnswerLead ahead. Ask again; the deletion stays pending.
	StopAnswerTooOld StopOutcome = "answer_too_old"
	// StopNotPending: the deletion is no longer pending for this owner: it was cancelled, held, pinned, or overtaken by newer knowledge. The
	// store stays.
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
	// ByList is as in DeletionRequest.
	ByList bool `json:"byList,omitempty"`
	// Origin says who asked for the deletion.
	Origin Origin `json:"origin,omitzero"`
}

// HoldRequest asks for a hold.
type HoldRequest struct {
	Hold
	// Origin says who asks. Without an actor and a reason it has those of the hold.
	Origin Origin `json:"origin,omitzero"`
}

// ReleaseRequest asks for the end of a hold.
type ReleaseRequest struct {
	StoreID string
	Origin  Origin
}
