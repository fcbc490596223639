package contract

import "time"

// deletionPhase tells telemetry that an activity belongs to a deletion.
type deletionPhase struct{}

// TelemetryPhase implements telemetry.Phaser.
func (deletionPhase) TelemetryPhase() string { return "deletion" }

// EnsureInput asks for the store of a workspace that existed at At.
type EnsureInput struct {
	InstanceID string    `json:"instanceId"`
	At         time.Time `json:"at"`
	DeliveryID string    `json:"deliveryId"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
	// ReceivedAt is that of the Event.
	ReceivedAt time.Time `json:"receivedAt,omitzero"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in EnsureInput) TelemetryStoreID() string { return in.InstanceID }

// TelemetryPhase implements telemetry.Phaser.
func (EnsureInput) TelemetryPhase() string { return "provision" }

// EnsureResult says what the store manager found.
type EnsureResult struct {
	// Created: the store was not monitored before. Existing: it was. Neither: a newer deletion is known.
	Created  bool `json:"created,omitempty"`
	Existing bool `json:"existing,omitempty"`
	// Connection is the state of the store's live subscription right after the call; "" when the store is not monitored.
	Connection string `json:"connection,omitempty"`
}

// DeletionInput asks for a deletion to become pending.
type DeletionInput struct {
	deletionPhase
	InstanceID string `json:"instanceId"`
	// At is the moment at which the workspace was known to be gone.
	At time.Time `json:"at"`
	// Owner is who will wait for the end of the grace period. It stays the same through retries and continue-as-new.
	Owner string `json:"owner"`
	// GracePeriod (nanoseconds); nil means the worker's own.
	GracePeriod *time.Duration `json:"gracePeriod,omitempty"`
	// ByList: no event asks for the deletion; lists lacked the workspace. List is the newest of them.
	ByList bool    `json:"byList,omitempty"`
	List   ListRef `json:"list,omitzero"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in DeletionInput) TelemetryStoreID() string { return in.InstanceID }

// DeletionOutcome says what became of a DeletionInput. The values are the store manager's (see the package comment).
type DeletionOutcome string

const (
	DeletionScheduled      DeletionOutcome = "scheduled"
	DeletionAlreadyStopped DeletionOutcome = "already_stopped"
	// DeletionStale: a newer creation or cancellation is known.
	DeletionStale  DeletionOutcome = "stale"
	DeletionHeld   DeletionOutcome = "held"
	DeletionPinned DeletionOutcome = "pinned"
)

// DeletionResult answers a DeletionInput.
type DeletionResult struct {
	Outcome DeletionOutcome `json:"outcome"`
	// DeleteAt and EventAt are those of the pending deletion; the zero time unless Outcome is DeletionScheduled.
	DeleteAt time.Time `json:"deleteAt,omitzero"`
	EventAt  time.Time `json:"eventAt,omitzero"`
	// Immediate: there is no grace period.
	Immediate bool `json:"immediate,omitempty"`
	// HeldBecause and HeldBy are set with DeletionHeld.
	HeldBecause string `json:"heldBecause,omitempty"`
	HeldBy      string `json:"heldBy,omitempty"`
}

// StoreInput names a store.
type StoreInput struct {
	deletionPhase
	InstanceID string `json:"instanceId"`
	// Owner is that of the pending deletion. It is set for activities that may end one or go on with one.
	Owner string `json:"owner,omitempty"`
	// EventAt is that of the pending deletion which CancelDeletion is to end; zero means any.
	EventAt time.Time `json:"eventAt,omitzero"`
	// AbsentAt is AbsenceResult.AskedAt, for StopStore. List is AbsenceResult.List.
	AbsentAt time.Time `json:"absentAt,omitzero"`
	List     ListRef   `json:"list,omitzero"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in StoreInput) TelemetryStoreID() string { return in.InstanceID }

// RestoreInput is a pending deletion that a run waits for.
type RestoreInput struct {
	deletionPhase
	InstanceID string    `json:"instanceId"`
	Owner      string    `json:"owner"`
	EventAt    time.Time `json:"eventAt"`
	DeleteAt   time.Time `json:"deleteAt"`
	ByList     bool      `json:"byList,omitempty"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in RestoreInput) TelemetryStoreID() string { return in.InstanceID }

// HoldInput asks for a hold.
type HoldInput struct {
	deletionPhase
	InstanceID string    `json:"instanceId"`
	Reason     string    `json:"reason"`
	Actor      string    `json:"actor"`
	ExpiresAt  time.Time `json:"expiresAt"`
	// Origin says who asks.
	Origin Origin `json:"origin,omitzero"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in HoldInput) TelemetryStoreID() string { return in.InstanceID }

// Kept says what a store is after a call.
type Kept struct {
	// Monitored: it is still monitored.
	Monitored bool `json:"monitored"`
	// Pending is the deletion that is still pending after CancelDeletion, or that TakeOverDeletion or RestoreDeletion found; nil for none.
	Pending *PendingStore `json:"pending,omitempty"`
	// AnswerTooOld: StopStore has stopped nothing, and the deletion is still pending. Ask the Auth Worker again.
	AnswerTooOld bool `json:"answerTooOld,omitempty"`
}

// PendingStore is the pending deletion of a store, as the store manager has it.
type PendingStore struct {
	EventAt  time.Time `json:"eventAt"`
	DeleteAt time.Time `json:"deleteAt"`
	// ByList: no event has asked for the deletion; lists lacked the workspace.
	ByList bool `json:"byList,omitempty"`
}

// AbsenceInput asks whether a workspace is gone.
type AbsenceInput struct {
	deletionPhase
	InstanceID string `json:"instanceId"`
	// ByEvent: an event said that the workspace is gone, so even an empty list agrees with it. Without an event an empty list
	// proves nothing.
	ByEvent bool `json:"byEvent"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in AbsenceInput) TelemetryStoreID() string { return in.InstanceID }

// AbsenceResult answers an AbsenceInput.
type AbsenceResult struct {
	Absent bool `json:"absent"`
	// AskedAt is the moment from which the answer counts.
	AskedAt time.Time `json:"askedAt,omitzero"`
	// List is the list that the answer stands in.
	List ListRef `json:"list,omitzero"`
}
