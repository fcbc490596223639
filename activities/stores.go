// Package activities holds every side effect that a workflow asks for, as methods on structs with injected, narrow
// interfaces. errors.go decides what Temporal may retry; everything here may be carried out twice.
package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/contract"
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
	Hold(ctx context.Context, id string, r storemanager.HoldRequest) (storemanager.Store, error)
	Release(ctx context.Context, r storemanager.ReleaseRequest) (storemanager.Store, error)
}

// Stores are the activities on one store.
type Stores struct {
	Manager StoreKeeper
	// GracePeriod is that of a deletion that names none of its own. 0 deletes at once.
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

// EnsureStore makes the store monitored unless a newer deletion is known.
func (s *Stores) EnsureStore(ctx context.Context, in contract.EnsureInput) (contract.EnsureResult, error) {
	res, err := s.Manager.Ensure(ctx, storemanager.EnsureRequest{StoreID: in.InstanceID, At: in.At, RequestID: in.DeliveryID, Origin: origin(in.Origin)})
	if err != nil {
		return contract.EnsureResult{}, wrap(err)
	}
	if res.Outcome == storemanager.EnsureCreated {
		s.Metrics.Provisioned(s.now().Sub(in.At))
		if !in.ReceivedAt.IsZero() {
			s.Metrics.WebhookProvisioned(s.now().Sub(in.ReceivedAt))
		}
	}
	return contract.EnsureResult{
		Created:  res.Outcome == storemanager.EnsureCreated,
		Existing: res.Outcome == storemanager.EnsureExists, Connection: string(res.Connection),
	}, nil
}

// BeginDeletion marks the store as pending deletion until the grace period ends, or says why not. The end is computed once, by the
// worker's clock: a retry finds the mark of the first attempt.
func (s *Stores) BeginDeletion(ctx context.Context, in contract.DeletionInput) (contract.DeletionResult, error) {
	grace := s.GracePeriod
	if in.GracePeriod != nil {
		grace = *in.GracePeriod
	}
	res, err := s.Manager.BeginDeletion(ctx, storemanager.DeletionRequest{
		StoreID: in.InstanceID, At: in.At, DeleteAt: s.now().Add(grace), GracePeriod: max(0, grace), Owner: in.Owner, ByList: in.ByList,
		List: storemanager.ListRef(in.List), Origin: origin(in.Origin),
	})
	if err != nil {
		return contract.DeletionResult{}, wrap(err)
	}
	out := contract.DeletionResult{Outcome: contract.DeletionOutcome(res.Outcome), DeleteAt: res.DeleteAt, EventAt: res.EventAt, Immediate: grace <= 0}
	if res.Hold != nil {
		out.HeldBecause, out.HeldBy = res.Hold.Reason, res.Hold.Actor
	}
	return out, nil
}

// CancelDeletion clears a pending deletion and leaves no hold. A deletion that was reported later than in.EventAt stays.
func (s *Stores) CancelDeletion(ctx context.Context, in contract.StoreInput) (contract.Kept, error) {
	store, err := s.Manager.CancelDeletion(ctx, storemanager.CancelRequest{
		StoreID: in.InstanceID, Owner: in.Owner, EventAt: in.EventAt, Origin: origin(in.Origin),
	})
	return pending(store, err)
}

// TakeOverDeletion makes in.Owner the one who waits for the end of a pending deletion. The run that waited before is gone.
func (s *Stores) TakeOverDeletion(ctx context.Context, in contract.StoreInput) (contract.Kept, error) {
	store, err := s.Manager.TakeOverDeletion(ctx, storemanager.TakeOverRequest{
		StoreID: in.InstanceID, Owner: in.Owner, Origin: system(in.Origin),
	})
	return pending(store, err)
}

// RestoreDeletion puts the pending deletion back into a registry that was lost. A registry that was not lost keeps what it has.
func (s *Stores) RestoreDeletion(ctx context.Context, in contract.RestoreInput) (contract.Kept, error) {
	store, err := s.Manager.RestoreDeletion(ctx, storemanager.RestoreRequest{
		StoreID: in.InstanceID, EventAt: in.EventAt, DeleteAt: in.DeleteAt, Owner: in.Owner, ByList: in.ByList, Origin: origin(in.Origin),
	})
	if err == nil && store.State == storemanager.StateStopped {
		return contract.Kept{}, nil
	}
	return pending(store, err)
}

func pending(store storemanager.Store, err error) (contract.Kept, error) {
	out, err := kept(err)
	if d := store.Deletion; err == nil && d != nil {
		out.Pending = &contract.PendingStore{EventAt: d.EventAt, DeleteAt: d.DeleteAt, ByList: d.ByList}
	}
	return out, err
}

// HoldStore keeps the store from every deletion and clears a pending one.
func (s *Stores) HoldStore(ctx context.Context, in contract.HoldInput) (contract.Kept, error) {
	_, err := s.Manager.Hold(ctx, in.InstanceID, storemanager.HoldRequest{
		Hold: storemanager.Hold{Reason: in.Reason, Actor: in.Actor, ExpiresAt: &in.ExpiresAt}, Origin: origin(in.Origin),
	})
	return kept(err)
}

// ReleaseStore takes the hold off.
func (s *Stores) ReleaseStore(ctx context.Context, in contract.StoreInput) (contract.Kept, error) {
	_, err := s.Manager.Release(ctx, storemanager.ReleaseRequest{StoreID: in.InstanceID, Origin: origin(in.Origin)})
	return kept(err)
}

// StopStore ends the monitoring of a store whose deletion is pending and due. Monitored is true when the store stays, because the deletion
// is no longer pending or the answer is too old.
func (s *Stores) StopStore(ctx context.Context, in contract.StoreInput) (contract.Kept, error) {
	res, err := s.Manager.Stop(ctx, storemanager.StopRequest{
		StoreID: in.InstanceID, Owner: in.Owner, AbsentAt: in.AbsentAt, Recheck: storemanager.ListRef(in.List), Origin: origin(in.Origin),
	})
	if err != nil {
		return contract.Kept{}, wrap(err)
	}
	if res.Outcome == storemanager.StopStopped {
		activity.GetLogger(ctx).Info("store stopped", telemetry.KeyStoreID, in.InstanceID)
	}
	old := res.Outcome == storemanager.StopAnswerTooOld
	if old {
		activity.GetLogger(ctx).Warn("store not stopped, the answer of the Auth Worker is too old", telemetry.KeyStoreID, in.InstanceID,
			"askedAt", in.AbsentAt)
	}
	return contract.Kept{Monitored: old || res.Outcome == storemanager.StopNotPending, AnswerTooOld: old}, nil
}

// kept makes an answer of "no such store": to these calls it is one.
func kept(err error) (contract.Kept, error) {
	if errors.Is(err, storemanager.ErrNotFound) {
		return contract.Kept{Monitored: false}, nil
	}
	return contract.Kept{Monitored: err == nil}, wrap(err)
}

// origin is who asks, as the store manager knows it.
func origin(o contract.Origin) storemanager.Origin {
	return storemanager.Origin{
		Source: storemanager.Source(o.Source), Actor: o.Actor, Via: o.Via, Reason: o.Reason, DeliveryID: o.DeliveryID, RunID: o.RunID,
		RequestID: o.RequestID, TraceID: o.TraceID, Batch: o.Batch, Plan: o.Plan, UserID: o.UserID,
	}
}

// system is origin for what nobody but Storekeeper itself asks for.
func system(o contract.Origin) storemanager.Origin {
	o.Source = contract.SourceSystem
	return origin(o)
}
