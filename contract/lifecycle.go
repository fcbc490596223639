package contract

import "time"

// States of a LifecycleStatus.
const (
	StateIdle            = "idle"
	StateDeletionPending = "deletion_pending"
)

// LifecycleStatus answers QueryStatus.
type LifecycleStatus struct {
	InstanceID string `json:"instanceId"`
	// State is StateIdle or StateDeletionPending.
	State string `json:"state"`
	// Deletion is nil unless State is StateDeletionPending.
	Deletion *PendingDeletion `json:"deletion,omitempty"`
	// LastEvent and LastResult are nil until the first event has been applied.
	LastEvent  *Event  `json:"lastEvent,omitempty"`
	LastResult *Result `json:"lastResult,omitempty"`
}

// PendingDeletion is a deletion whose grace period runs, or whose re-check is under way.
type PendingDeletion struct {
	// EventAt is the moment at which the workspace was known to be gone.
	EventAt  time.Time `json:"eventAt"`
	DeleteAt time.Time `json:"deleteAt"`
	// Source is SourceReconcile as long as no event has confirmed what the list said.
	Source Source `json:"source"`
	// Origin says who asked for it.
	Origin Origin `json:"origin,omitzero"`
}

// LifecycleInput starts a WorkspaceLifecycle.
type LifecycleInput struct {
	InstanceID string `json:"instanceId"`
	// Carried is set when the run continues an earlier one, and nil for a first run.
	Carried *CarriedForward `json:"carried,omitempty"`
}

// CarriedForward is what a WorkspaceLifecycle takes along when it continues as new.
type CarriedForward struct {
	// Owner is the run id of the first run. To the store manager the whole chain of runs is one owner.
	Owner    string          `json:"owner"`
	Deletion PendingDeletion `json:"deletion"`
	// Delivered are the newest deliveries and their results.
	Delivered []Delivered `json:"delivered,omitempty"`
}

// Delivered is a delivery that has been applied.
type Delivered struct {
	DeliveryID string `json:"deliveryId"`
	Result     Result `json:"result"`
}

// LifecycleResult is what a WorkspaceLifecycle leaves behind.
type LifecycleResult struct {
	// Events counts what this run applied.
	Events int `json:"events"`
	// Last is the newest outcome; the end of a deletion is one too.
	Last Result `json:"last"`
}
