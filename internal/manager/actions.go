package manager

import (
	"context"

	"go.uber.org/zap"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/tracing"
)

// actions is a Manager that tells of what it does: each action is a span, and a line in the log, with the trace and the id of the request that it
// is for. What changes something is information. What changes nothing, such as the repeat of an event, is for whoever looks for a fault.
type actions struct {
	storemanager.Manager
	log *zap.Logger
}

// begin begins an action on a store; "" for all stores.
func (a actions) begin(ctx context.Context, operation, storeID string) (context.Context, action) {
	ctx, end := tracing.Begin(ctx, "storemanager "+operation)
	tracing.Note(ctx, tracing.StoreID.String(storeID))
	return ctx, action{log: a.log, ctx: ctx, end: end, operation: operation, storeID: storeID}
}

// action is an action under way.
type action struct {
	log                *zap.Logger
	ctx                context.Context //nolint:containedctx // for as long as the action takes
	end                func(error)
	operation, storeID string
}

// did ends the action. message is what it has changed; "" means nothing.
func (a action) did(message, outcome string, err error, more ...zap.Field) {
	tracing.Note(a.ctx, tracing.Outcome.String(outcome))
	a.end(err)
	fields := append([]zap.Field{
		zap.String(telemetry.KeyOperation, a.operation), zap.String(telemetry.KeyStoreID, a.storeID), zap.String(telemetry.KeyOutcome, outcome), tracing.Field(a.ctx),
	}, more...)
	switch {
	case err != nil: // whoever asked tells of it, and tries again
		a.log.Debug("action failed", append(fields, zap.Error(err))...)
	case message == "":
		a.log.Debug("nothing to do", fields...)
	default:
		a.log.Info(message, fields...)
	}
}

// when is message if it is so, and otherwise "".
func when(so bool, message string) string {
	if so {
		return message
	}
	return ""
}

// Ensure implements storemanager.Stores.
func (a actions) Ensure(ctx context.Context, q storemanager.EnsureRequest) (storemanager.EnsureResult, error) {
	ctx, act := a.begin(ctx, "ensure", q.StoreID)
	res, err := a.Manager.Ensure(ctx, q)
	message := when(res.Outcome == storemanager.EnsureCreated, "store monitored")
	if res.DeletionCancelled {
		message = "deletion cancelled"
	}
	act.did(message, string(res.Outcome), err, zap.String(telemetry.KeyDeliveryID, q.RequestID))
	return res, err
}

// EnsureBatch implements storemanager.Stores. The line is one for all stores: they may be a million.
func (a actions) EnsureBatch(ctx context.Context, qs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error) {
	ctx, act := a.begin(ctx, "ensure batch", "")
	results, err := a.Manager.EnsureBatch(ctx, qs)
	outcomes, changed := map[storemanager.EnsureOutcome]int{}, false
	for _, res := range results {
		outcomes[res.Outcome]++
		changed = changed || res.Outcome == storemanager.EnsureCreated || res.DeletionCancelled
		a.log.Debug("store of a batch ensured", zap.String(telemetry.KeyStoreID, res.StoreID), zap.String(telemetry.KeyOutcome, string(res.Outcome)), tracing.Field(ctx))
	}
	tracing.Note(ctx, tracing.Stores.Int(len(qs)))
	act.did(when(changed, "stores monitored"), "", err, zap.Any("stores", outcomes))
	return results, err
}

// BeginDeletion implements storemanager.Deletions.
func (a actions) BeginDeletion(ctx context.Context, q storemanager.DeletionRequest) (storemanager.DeletionResult, error) {
	ctx, act := a.begin(ctx, "begin deletion", q.StoreID)
	res, err := a.Manager.BeginDeletion(ctx, q)
	var message string
	var more []zap.Field
	switch res.Outcome {
	case storemanager.DeletionScheduled:
		message, more = "deletion scheduled", []zap.Field{zap.Time("deleteAt", res.DeleteAt)}
	case storemanager.DeletionHeld, storemanager.DeletionPinned:
		message = "deletion refused"
	case storemanager.DeletionAlreadyStopped, storemanager.DeletionStale: // nothing changes
	}
	act.did(message, string(res.Outcome), err, more...)
	return res, err
}

// CancelDeletion implements storemanager.Deletions.
func (a actions) CancelDeletion(ctx context.Context, q storemanager.CancelRequest) (storemanager.Store, error) {
	ctx, act := a.begin(ctx, "cancel deletion", q.StoreID)
	st, err := a.Manager.CancelDeletion(ctx, q)
	act.did(when(st.Deletion == nil, "deletion cancelled"), "done", err)
	return st, err
}

// TakeOverDeletion implements storemanager.Deletions.
func (a actions) TakeOverDeletion(ctx context.Context, q storemanager.TakeOverRequest) (storemanager.Store, error) {
	ctx, act := a.begin(ctx, "take over deletion", q.StoreID)
	st, err := a.Manager.TakeOverDeletion(ctx, q)
	act.did(when(st.Deletion != nil, "deletion taken over"), "done", err)
	return st, err
}

// RestoreDeletion implements storemanager.Deletions.
func (a actions) RestoreDeletion(ctx context.Context, q storemanager.RestoreRequest) (storemanager.Store, error) {
	ctx, act := a.begin(ctx, "restore deletion", q.StoreID)
	st, err := a.Manager.RestoreDeletion(ctx, q)
	act.did(when(st.Deletion != nil, "deletion restored"), "done", err)
	return st, err
}

// Stop implements storemanager.Deletions.
func (a actions) Stop(ctx context.Context, q storemanager.StopRequest) (storemanager.StopResult, error) {
	ctx, act := a.begin(ctx, "stop", q.StoreID)
	res, err := a.Manager.Stop(ctx, q)
	act.did(when(res.Outcome == storemanager.StopStopped, "store stopped"), string(res.Outcome), err)
	return res, err
}

// Hold implements storemanager.Deletions.
func (a actions) Hold(ctx context.Context, id string, q storemanager.HoldRequest) (storemanager.Store, error) {
	ctx, act := a.begin(ctx, "hold", id)
	st, err := a.Manager.Hold(ctx, id, q)
	act.did("store held", "done", err, zap.String(telemetry.KeyActor, q.Actor), zap.String(telemetry.KeyReason, q.Reason), zap.Timep("expiresAt", q.ExpiresAt))
	return st, err
}

// Release implements storemanager.Deletions.
func (a actions) Release(ctx context.Context, q storemanager.ReleaseRequest) (storemanager.Store, error) {
	ctx, act := a.begin(ctx, "release", q.StoreID)
	st, err := a.Manager.Release(ctx, q)
	act.did("store released", "done", err, zap.String(telemetry.KeyActor, q.Origin.Actor), zap.String(telemetry.KeyReason, q.Origin.Reason))
	return st, err
}

// Pause implements storemanager.Pauses.
func (a actions) Pause(ctx context.Context, q storemanager.PauseRequest) (storemanager.Pause, error) {
	ctx, act := a.begin(ctx, "pause", q.StoreID)
	made, err := a.Manager.Pause(ctx, q)
	act.did("reconciliation paused", "done", err, zap.String(telemetry.KeyActor, q.Actor), zap.String(telemetry.KeyReason, q.Reason), zap.Timep("expiresAt", q.ExpiresAt))
	return made, err
}

// Resume implements storemanager.Pauses.
func (a actions) Resume(ctx context.Context, q storemanager.ResumeRequest) error {
	ctx, act := a.begin(ctx, "resume", q.StoreID)
	err := a.Manager.Resume(ctx, q)
	act.did("reconciliation resumed", "done", err, zap.String(telemetry.KeyActor, q.Origin.Actor), zap.String(telemetry.KeyReason, q.Origin.Reason))
	return err
}

// RecordReconcile implements storemanager.Reconciliations.
func (a actions) RecordReconcile(ctx context.Context, run storemanager.ReconcileRun) error {
	ctx, act := a.begin(ctx, "record run", "")
	err := a.Manager.RecordReconcile(ctx, run)
	message := "reconcile run recorded"
	if run.ApprovedListAt != nil {
		message = "removals approved"
	}
	act.did(message, "done", err, zap.String(telemetry.KeyRunID, run.RunID), zap.String(telemetry.KeyActor, run.Actor))
	return err
}

// AcknowledgeLoss implements storemanager.Reconciliations.
func (a actions) AcknowledgeLoss(ctx context.Context, k storemanager.Acknowledgement) error {
	ctx, act := a.begin(ctx, "acknowledge loss", "")
	err := a.Manager.AcknowledgeLoss(ctx, k)
	act.did("loss of the registry acknowledged", "done", err, zap.String(telemetry.KeyActor, k.Actor), zap.String(telemetry.KeyReason, k.Reason))
	return err
}
