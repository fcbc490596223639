package storemanager

import "time"

// EnsureRequest asks for a store to be monitored.
type EnsureRequest struct {
	StoreID string `json:"storeId"`
	// At is the moment at which the workspace was known to exist: an event's timestamp, or the start of a list's fetch. A moment more than
	// MaxClockLead in the future counts as MaxClockLead in the future.
	At time.Time `json:"at"`
	// RequestID makes the answer repeatable: the request that created a store is answered EnsureCreated each time. "" makes it not repeatable.
	RequestID string `json:"requestId,omitempty"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// ReconcileRequest begins the EnsureRequest.RequestID of what reconciliation asks for, and no event.
const ReconcileRequest = "reconcile/"

// EnsureOutcome says what an ensure found.
type EnsureOutcome string

const (
	EnsureCreated EnsureOutcome = "created"
	EnsureExists  EnsureOutcome = "exists"
	// EnsureStale: a deletion at or after EnsureRequest.At is known. Nothing was changed.
	EnsureStale EnsureOutcome = "stale"
	// EnsureInvalid: the request can never succeed as it is. Only batches answer it; Ensure fails with ErrInvalid.
	EnsureInvalid EnsureOutcome = "invalid"
	// EnsureFailed: the store manager could not carry it out now; it is worth a retry. Only batches answer it; Ensure fails with an error.
	EnsureFailed EnsureOutcome = "failed"
)

// EnsureResult answers an EnsureRequest.
type EnsureResult struct {
	StoreID string        `json:"storeId"`
	Outcome EnsureOutcome `json:"outcome"`
	// DeletionCancelled: a deletion by an older event was pending, and no longer is.
	DeletionCancelled bool `json:"deletionCancelled,omitempty"`
	// Connection is that of the store after the call; "" when it is not monitored. The call does not wait for the sync backend, so a store that
	// was just created is ConnectionConnecting.
	Connection ConnectionState `json:"connection,omitempty"`
	// Error is why the outcome is EnsureFailed, in one line that is safe to show; "" for all other outcomes.
	Error string `json:"error,omitempty"`
	// NextAttemptAt is set for EnsureFailed if the store will fail at once until then; nil: it may be asked for again now.
	NextAttemptAt *time.Time `json:"nextAttemptAt,omitempty"`
}
