package contract

import (
	"cmp"
	"time"
)

// EventType says what happened, or what an operator asks for.
type EventType string

const (
	WorkspaceCreated EventType = "workspace.created"
	WorkspaceDeleted EventType = "workspace.deleted"
	// StoreHold keeps the store from every deletion and ends a pending one.
	StoreHold EventType = "store.hold"
	// StoreRelease takes the hold off.
	StoreRelease EventType = "store.release"
	// DeletionResume makes the lifecycle and the store manager agree on the pending deletion after one of them has lost its database.
	// A lifecycle without a deletion goes on with the store manager's; a lifecycle with one puts it back into the store manager.
	DeletionResume EventType = "deletion.resume"
)

// Source says who sent an Event.
type Source string

const (
	SourceWebhook   Source = "webhook"
	SourceOperator  Source = "operator"
	SourceReconcile Source = "reconcile"
	// SourceSystem is Storekeeper itself, which repairs what the loss of a database has cost.
	SourceSystem Source = "system"
)

// ReconcileDelivery begins the DeliveryID of events of SourceReconcile. The registry tells by it that no event asked (see the package comment).
const ReconcileDelivery = "reconcile/"

// Event is one thing to apply to one workspace. It never carries a secret.
type Event struct {
	// DeliveryID identifies the delivery. The same id is applied once within a run, whether it comes by update or by signal.
	DeliveryID string    `json:"deliveryId"`
	Type       EventType `json:"type"`
	InstanceID string    `json:"instanceId"`
	UserID     string    `json:"userId,omitempty"`
	// Timestamp is the moment of the event by the clock of its origin. An older event never undoes a newer one.
	Timestamp time.Time `json:"timestamp"`
	Source    Source    `json:"source"`
	// ReceivedAt is when the webhook arrived at the edge, by the edge's clock; zero for an event that no webhook brought, and for one of an older
	// edge. It is for measuring alone.
	ReceivedAt time.Time `json:"receivedAt,omitzero"`
	// GracePeriod (nanoseconds) of a deletion; nil means the worker's DELETION_GRACE_PERIOD.
	GracePeriod *time.Duration `json:"gracePeriod,omitempty"`
	// Hold is set for StoreHold and nil for every other type.
	Hold *Cancellation `json:"hold,omitempty"`
	// Origin says more of who asks. From completes it.
	Origin Origin `json:"origin,omitzero"`
	// List is the list that lacks the workspace, for a deletion that lists ask for.
	List ListRef `json:"list,omitzero"`
}

// From is the whole origin of the event.
func (ev Event) From() Origin {
	o := ev.Origin
	o.Source, o.DeliveryID, o.UserID = ev.Source, ev.DeliveryID, cmp.Or(o.UserID, ev.UserID)
	if h := ev.Hold; h != nil {
		o.Actor, o.Reason = cmp.Or(o.Actor, h.Actor), cmp.Or(o.Reason, h.Reason)
	}
	return o
}

// Cancellation is the argument of CancelDeletion, and as Event.Hold that of a StoreHold. Both want the same, because a cancelled deletion leaves
// a hold.
type Cancellation struct {
	Reason string `json:"reason"`
	Actor  string `json:"actor"`
	// ExpiresAt ends the hold; nil means DefaultHold from the moment it is applied.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// Origin says more of who asks: of a signal, the rest is known by the fields above.
	Origin Origin `json:"origin,omitzero"`
}

// DefaultHold is how long a hold lasts when nobody says otherwise. It is long enough to sort a mistake out, and short enough that a
// forgotten hold does not keep an orphan for ever.
const DefaultHold = 7 * 24 * time.Hour

// Status is the outcome of an Event, in webhook answers and in the CLI alike.
type Status string

const (
	StatusMonitoringStarted        Status = "monitoring_started"
	StatusAlreadyMonitored         Status = "already_monitored"
	StatusDeletionScheduled        Status = "deletion_scheduled"
	StatusDeletionAlreadyScheduled Status = "deletion_already_scheduled"
	// StatusDeletionCancelled: no lifecycle waits for a deletion any more, and the store stays; Result.Detail says why. After a failure
	// (Detail: interrupted during …) the registry still has the deletion as pending, until the next reconcile run resumes it.
	StatusDeletionCancelled Status = "deletion_cancelled"
	StatusMonitoringStopped Status = "monitoring_stopped"
	StatusAlreadyStopped    Status = "already_stopped"
	// StatusStaleIgnored: something newer is known; nothing was changed.
	StatusStaleIgnored Status = "stale_ignored"
	// StatusAccepted: the event is durable, and its outcome is not known yet.
	StatusAccepted Status = "accepted"
	// StatusDeletionResumed: the pending deletion goes on at its own time.
	StatusDeletionResumed Status = "deletion_resumed"
	StatusHeld            Status = "held"
	StatusReleased        Status = "released"
)

// Result is the outcome of an Event.
type Result struct {
	Status Status `json:"status"`
	// DeleteAt is nil unless a deletion is pending.
	DeleteAt *time.Time `json:"deleteAt,omitempty"`
	// Detail is a sentence for people; "" where Status says it all.
	Detail string `json:"detail,omitempty"`
	// Connection is the state of the store's live subscription right after a creation, in the words of the store manager; "" after
	// any other event. Nobody waits for the sync backend, so a new store is still "connecting".
	Connection string `json:"connection,omitempty"`
}
