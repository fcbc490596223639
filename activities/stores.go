// Package activities holds every side effect that a workflow asks for, as methods on structs with injected, narrow
// interfaces. errors.go decides what Temporal may retry; everything here may be carried out twice.
package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// StoreKeeper is what a workspace's lifecycle asks of the store manager.
type StoreKeeper interface {
	Ensure(ctx context.Context, r storemanager.EnsureRequest) (storemanager.EnsureResult, error)
	BeginDeletion(ctx context.Context, r storemanager.DeletionRequest) (storemanager.DeletionResult, error)
	CancelDeletion(ctx context.Context, r storemanager.CancelRequest) (storemanager.Store, error)
	TakeOverDeletion(ctx context.Context, r storemanager.TakeOverRequest) (storemanager.Store, error)
	RestoreDeletion(ctx context.Context, r storemanager.RestoreRequest) (storemanager.Store, error)
	Stop(ctx context.Context, r storemanager.StopRequest) (storemanager.StopResult, error)
	Hold(ctx context.Context, id string, h storemanager.Hold) (storemanager.Store, error)
	Release(ctx context.Context, id string) (storemanager.Store, error)
}

// Stores are the activities on one store.
type Stores struct {
	Manager StoreKeeper
	// GracePeriod of a deletion that names none of its own. 0 deletes at once.
	GracePeriod time.Duration
	// Metrics counts what was provisioned, and how fast.
	Metrics *telemetry.Metrics
	// Now is the clock that grace periods start by; nil means time.Now.
	Now func() time.Time
}

func (s *Stores) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC()
	}
	return time.Now().UTC()
}

// EnsureInput asks for the store of a workspace that existed at At.
type EnsureInput struct {
	InstanceID string    `json:"instanceId"`
	At         time.Time `json:"at"`
	DeliveryID string    `json:"deliveryId"`
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

// EnsureStore makes the store monitored unless a newer deletion is known.
func (s *Stores) EnsureStore(ctx context.Context, in EnsureInput) (EnsureResult, error) {
	res, err := s.Manager.Ensure(ctx, storemanager.EnsureRequest{StoreID: in.InstanceID, At: in.At, RequestID: in.DeliveryID})
	if err != nil {
		return EnsureResult{}, wrap(err)
	}
	if res.Outcome == storemanager.EnsureCreated {
		s.Metrics.Provisioned(s.now().Sub(in.At))
	}
	return EnsureResult{
		Created:  res.Outcome == storemanager.EnsureCreated,
		Existing: res.Outcome == storemanager.EnsureExists, Connection: string(res.Connection),
	}, nil
}

// DeletionInput asks for a deletion to become pending.
type DeletionInput struct {
	InstanceID string `json:"instanceId"`
	// At is the moment at which the workspace was known to be gone.
	At time.Time `json:"at"`
	// Owner is who will wait for the end of the grace period: the same through retries and continue-as-new.
	Owner string `json:"owner"`
	// GracePeriod (nanoseconds); nil means the worker's own.
	GracePeriod *time.Duration `json:"gracePeriod,omitempty"`
	// ByList: no event has said so, but lists lacked the workspace.
	ByList bool `json:"byList,omitempty"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in DeletionInput) TelemetryStoreID() string { return in.InstanceID }

// TelemetryPhase implements telemetry.Phaser.
func (DeletionInput) TelemetryPhase() string { return "deletion" }

// DeletionOutcome says what became of a DeletionInput; the values are the store manager's.
type DeletionOutcome = string

// The outcomes of BeginDeletion.
const (
	DeletionScheduled      DeletionOutcome = DeletionOutcome(storemanager.DeletionScheduled)
	DeletionAlreadyStopped DeletionOutcome = DeletionOutcome(storemanager.DeletionAlreadyStopped)
	DeletionStale          DeletionOutcome = DeletionOutcome(storemanager.DeletionStale)
	DeletionHeld           DeletionOutcome = DeletionOutcome(storemanager.DeletionHeld)
	DeletionPinned         DeletionOutcome = DeletionOutcome(storemanager.DeletionPinned)
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

// BeginDeletion marks the store as pending deletion until the grace period ends, or says why not. The worker's clock sets
// the end once: a retry finds the mark of the first attempt.
func (s *Stores) BeginDeletion(ctx context.Context, in DeletionInput) (DeletionResult, error) {
	grace := s.GracePeriod
	if in.GracePeriod != nil {
		grace = *in.GracePeriod
	}
	res, err := s.Manager.BeginDeletion(ctx, storemanager.DeletionRequest{
		StoreID: in.InstanceID, At: in.At, DeleteAt: s.now().Add(grace), GracePeriod: max(0, grace), Owner: in.Owner, ByList: in.ByList,
	})
	if err != nil {
		return DeletionResult{}, wrap(err)
	}
	out := DeletionResult{Outcome: DeletionOutcome(res.Outcome), DeleteAt: res.DeleteAt, EventAt: res.EventAt, Immediate: grace <= 0}
	if res.Hold != nil {
		out.HeldBecause, out.HeldBy = res.Hold.Reason, res.Hold.Actor
	}
	return out, nil
}

// StoreInput names a store.
type StoreInput struct {
	InstanceID string `json:"instanceId"`
	// Owner is that of the pending deletion; set for what may end one, or goes on with one.
	Owner string `json:"owner,omitempty"`
	// EventAt is that of the pending deletion which CancelDeletion is to end; zero is any.
	EventAt time.Time `json:"eventAt,omitzero"`
	// AbsentAt is AbsenceResult.AskedAt, for StopStore.
	AbsentAt time.Time `json:"absentAt,omitzero"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in StoreInput) TelemetryStoreID() string { return in.InstanceID }

// TelemetryPhase implements telemetry.Phaser.
func (StoreInput) TelemetryPhase() string { return "deletion" }

// Kept says what a store is after a call.
type Kept struct {
	// Monitored: it is still monitored.
	Monitored bool `json:"monitored"`
	// Pending is the deletion that is pending all the same, after CancelDeletion, or that is taken over; nil for none.
	Pending *PendingStore `json:"pending,omitempty"`
	// AnswerTooOld: StopStore has stopped nothing, and the deletion is pending still. Ask the Auth Worker again.
	AnswerTooOld bool `json:"answerTooOld,omitempty"`
}

// PendingStore is the pending deletion of a store, as the store manager has it.
type PendingStore struct {
	EventAt  time.Time `json:"eventAt"`
	DeleteAt time.Time `json:"deleteAt"`
	// ByList: no event has asked for it, but lists lacked the workspace.
	ByList bool `json:"byList,omitempty"`
}

// CancelDeletion clears a pending deletion and leaves no hold. One that was reported later than the one that is meant stays.
func (s *Stores) CancelDeletion(ctx context.Context, in StoreInput) (Kept, error) {
	store, err := s.Manager.CancelDeletion(ctx, storemanager.CancelRequest{StoreID: in.InstanceID, Owner: in.Owner, EventAt: in.EventAt})
	return pending(store, err)
}

// TakeOverDeletion makes Owner the one who waits for the end of a pending deletion, whose own run is no more.
func (s *Stores) TakeOverDeletion(ctx context.Context, in StoreInput) (Kept, error) {
	store, err := s.Manager.TakeOverDeletion(ctx, storemanager.TakeOverRequest{StoreID: in.InstanceID, Owner: in.Owner})
	return pending(store, err)
}

// RestoreInput is a pending deletion that a run waits for.
type RestoreInput struct {
	InstanceID string    `json:"instanceId"`
	Owner      string    `json:"owner"`
	EventAt    time.Time `json:"eventAt"`
	DeleteAt   time.Time `json:"deleteAt"`
	ByList     bool      `json:"byList,omitempty"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in RestoreInput) TelemetryStoreID() string { return in.InstanceID }

// TelemetryPhase implements telemetry.Phaser.
func (RestoreInput) TelemetryPhase() string { return "deletion" }

// RestoreDeletion gives a registry that was lost the pending deletion back. One that was not lost keeps to what it has.
func (s *Stores) RestoreDeletion(ctx context.Context, in RestoreInput) (Kept, error) {
	store, err := s.Manager.RestoreDeletion(ctx, storemanager.RestoreRequest{
		StoreID: in.InstanceID, EventAt: in.EventAt, DeleteAt: in.DeleteAt, Owner: in.Owner, ByList: in.ByList,
	})
	if err == nil && store.State == storemanager.StateStopped {
		return Kept{}, nil
	}
	return pending(store, err)
}

func pending(store storemanager.Store, err error) (Kept, error) {
	out, err := kept(err)
	if d := store.Deletion; err == nil && d != nil {
		out.Pending = &PendingStore{EventAt: d.EventAt, DeleteAt: d.DeleteAt, ByList: d.ByList}
	}
	return out, err
}

// HoldInput asks for a hold.
type HoldInput struct {
	InstanceID string    `json:"instanceId"`
	Reason     string    `json:"reason"`
	Actor      string    `json:"actor"`
	ExpiresAt  time.Time `json:"expiresAt"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in HoldInput) TelemetryStoreID() string { return in.InstanceID }

// TelemetryPhase implements telemetry.Phaser.
func (HoldInput) TelemetryPhase() string { return "deletion" }

// HoldStore keeps the store from every deletion and clears a pending one.
func (s *Stores) HoldStore(ctx context.Context, in HoldInput) (Kept, error) {
	_, err := s.Manager.Hold(ctx, in.InstanceID, storemanager.Hold{Reason: in.Reason, Actor: in.Actor, ExpiresAt: &in.ExpiresAt})
	return kept(err)
}

// ReleaseStore takes the hold off.
func (s *Stores) ReleaseStore(ctx context.Context, in StoreInput) (Kept, error) {
	_, err := s.Manager.Release(ctx, in.InstanceID)
	return kept(err)
}

// StopStore ends the monitoring of a store whose deletion is pending and due. Monitored is true when the deletion is no
// longer pending, or the answer too old, so that the store stays.
func (s *Stores) StopStore(ctx context.Context, in StoreInput) (Kept, error) {
	res, err := s.Manager.Stop(ctx, storemanager.StopRequest{StoreID: in.InstanceID, Owner: in.Owner, AbsentAt: in.AbsentAt})
	if err != nil {
		return Kept{}, wrap(err)
	}
	if res.Outcome == storemanager.StopStopped {
		activity.GetLogger(ctx).Info("store stopped", telemetry.KeyStoreID, in.InstanceID)
	}
	old := res.Outcome == storemanager.StopAnswerTooOld
	if old {
		activity.GetLogger(ctx).Warn("store not stopped, the answer of the Auth Worker is too old", telemetry.KeyStoreID, in.InstanceID,
			"askedAt", in.AbsentAt)
	}
	return Kept{Monitored: old || res.Outcome == storemanager.StopNotPending, AnswerTooOld: old}, nil
}

// kept turns "no such store" into an answer: for these calls it is one.
func kept(err error) (Kept, error) {
	if errors.Is(err, storemanager.ErrNotFound) {
		return Kept{Monitored: false}, nil
	}
	return Kept{Monitored: err == nil}, wrap(err)
}
