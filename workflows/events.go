package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
)

// apply carries out one event.
func (l *lifecycle) apply(ctx workflow.Context, d *delivery) {
	l.applied++
	l.lastEvent = &d.event
	ctx = withTrace(ctx, d.trace)
	var result contract.Result
	var err error
	switch d.event.Type {
	case contract.WorkspaceCreated:
		result, err = l.created(ctx, d.event)
	case contract.WorkspaceDeleted:
		result, err = l.deleted(ctx, d)
		if err == nil && result.Status == "" {
			return // settled when the deletion ends
		}
	case contract.StoreHold:
		if d.cancel && l.deletion == nil {
			workflow.GetLogger(ctx).Info("no deletion is pending, nothing to cancel")
			return
		}
		result, err = l.hold(ctx, d.event)
	case contract.StoreRelease:
		result, err = l.release(ctx, d.event)
	case contract.DeletionResume:
		result, err = l.resume(ctx)
	}
	if err != nil {
		workflow.GetLogger(ctx).Error("event failed", "storeId", l.id, "event", d.event.Type, "error", err)
	} else {
		l.last = result
		tell(ctx, "event applied", l.id, result, append(actorOf(d.event), "event", d.event.Type, "source", d.event.Source, "deliveryId", d.event.DeliveryID)...)
	}
	d.settle(result, err)
}

func (l *lifecycle) created(ctx workflow.Context, ev contract.Event) (contract.Result, error) {
	res, err := ensureStore(ctx, contract.EnsureInput{InstanceID: l.id, At: ev.Timestamp, DeliveryID: ev.DeliveryID, ReceivedAt: ev.ReceivedAt, Origin: ev.From()})
	if err != nil {
		return contract.Result{}, err
	}
	stale := contract.Result{Status: contract.StatusStaleIgnored, Detail: "a newer deletion of this workspace is known"}
	switch {
	case !res.Created && !res.Existing:
		return stale, nil
	case l.deletion != nil && !ev.Timestamp.After(l.deletion.EventAt) && workflow.GetVersion(ctx, changeOlderCreation, workflow.DefaultVersion, 1) >= 1:
		// Whatever the store manager answers, a creation that is no newer ends no deletion.
		return stale, nil
	case l.deletion != nil:
		// The store manager has cleared the mark already. Only the timer is left.
		why := "a newer event says that the workspace exists"
		if ev.Source == contract.SourceReconcile {
			why = "listed again: two consecutive lists that were asked for since have the workspace"
		}
		if ended := l.endDeletion(ctx, why); ended.Status == contract.StatusDeletionCancelled {
			return ended, nil
		}
	}
	if res.Created {
		return contract.Result{Status: contract.StatusMonitoringStarted, Connection: res.Connection}, nil
	}
	return contract.Result{Status: contract.StatusAlreadyMonitored, Connection: res.Connection}, nil
}

// changeOlderCreation is the version gate of histories in which a creation ended a deletion that was newer. The golden history
// lifecycle-ended-by-an-older-creation is one.
const changeOlderCreation = "older-creation-ends-no-deletion"

// deleted makes a deletion pending. The zero Result means that the delivery is settled when the deletion ends.
func (l *lifecycle) deleted(ctx workflow.Context, d *delivery) (contract.Result, error) {
	ev := d.event
	res, err := beginDeletion(ctx, contract.DeletionInput{
		InstanceID: l.id, At: ev.Timestamp, Owner: l.owner, GracePeriod: ev.GracePeriod,
		ByList: ev.Source == contract.SourceReconcile, List: ev.List, Origin: ev.From(),
	})
	if err != nil {
		return contract.Result{}, err
	}
	switch res.Outcome {
	case contract.DeletionScheduled:
		return l.scheduled(ctx, d, res), nil
	case contract.DeletionAlreadyStopped:
		l.endDeletion(ctx, "the store is already stopped")
		return contract.Result{Status: contract.StatusAlreadyStopped}, nil
	case contract.DeletionStale:
		return contract.Result{Status: contract.StatusStaleIgnored, Detail: "newer than this deletion: the workspace exists, or this deletion was cancelled"}, nil
	case contract.DeletionHeld:
		return l.endDeletion(ctx, fmt.Sprintf("the store is held by %s: %s; release it first", res.HeldBy, res.HeldBecause)), nil
	case contract.DeletionPinned:
		return l.endDeletion(ctx, "the store is pinned by STORE_IDS; take it out of the list first"), nil
	}
	return contract.Result{}, temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("unknown deletion outcome %q", res.Outcome), contract.ErrTypeInvalid, nil)
}

func (l *lifecycle) scheduled(ctx workflow.Context, d *delivery, res contract.DeletionResult) contract.Result {
	if l.deletion != nil && !l.deletion.DeleteAt.Equal(res.DeleteAt) {
		// The store manager has replaced the mark of the earlier deletion, which is about to end.
		l.endDeletion(ctx, "a newer deletion took its place")
	}
	if l.deletion != nil {
		p := &l.deletion.PendingDeletion
		p.EventAt = goneAt(res, d.event, p.EventAt)
		if p.Source == contract.SourceReconcile && d.event.Source != contract.SourceReconcile {
			// From now on even an empty list confirms the deletion. A re-check that waits for another list starts again.
			p.Source, p.Origin = d.event.Source, d.event.From()
			l.deletion.cancel()
			l.startDeletion(ctx, *p, l.deletion.waiting)
			p = &l.deletion.PendingDeletion
		}
		result := contract.Result{Status: contract.StatusDeletionAlreadyScheduled, DeleteAt: &p.DeleteAt}
		if g := d.event.GracePeriod; g != nil && workflow.Now(ctx).Add(*g).Sub(p.DeleteAt).Abs() > time.Minute {
			result.Detail = "the pending deletion keeps its grace period; cancel it first to choose another"
		}
		return result
	}
	p := contract.PendingDeletion{EventAt: goneAt(res, d.event, time.Time{}), DeleteAt: res.DeleteAt, Source: d.event.Source, Origin: d.event.From()}
	if res.Immediate {
		l.startDeletion(ctx, p, d)
		return contract.Result{}
	}
	l.startDeletion(ctx, p, nil)
	return contract.Result{Status: contract.StatusDeletionScheduled, DeleteAt: &p.DeleteAt}
}

// goneAt is the newest moment at which the workspace is known to be gone. The store manager says it. A result in a history of before it did so
// lacks it; then it is the time of the event, unless the moment known before is newer.
func goneAt(res contract.DeletionResult, ev contract.Event, before time.Time) time.Time {
	switch {
	case !res.EventAt.IsZero():
		return res.EventAt
	case ev.Timestamp.After(before):
		return ev.Timestamp
	}
	return before
}

// resume goes on with the deletion that the store manager has as pending. Nobody waits for it any more: the database of Temporal was lost,
// or an operator has terminated the run.
func (l *lifecycle) resume(ctx workflow.Context) (contract.Result, error) {
	if d := l.deletion; d != nil {
		// The registry may be the one that has lost the deletion. A registry that has not lost it keeps what it has.
		_, err := restoreDeletion(ctx, contract.RestoreInput{
			InstanceID: l.id, Owner: l.owner, EventAt: d.EventAt, DeleteAt: d.DeleteAt, ByList: d.Source == contract.SourceReconcile,
			Origin: d.Origin,
		})
		return contract.Result{Status: contract.StatusDeletionAlreadyScheduled, DeleteAt: &d.DeleteAt}, err
	}
	kept, err := takeOverDeletion(ctx, contract.StoreInput{InstanceID: l.id, Owner: l.owner})
	switch {
	case err != nil:
		return contract.Result{}, err
	case !kept.Monitored:
		return contract.Result{Status: contract.StatusAlreadyStopped, Detail: "no such store is monitored"}, nil
	case kept.Pending == nil:
		return contract.Result{Status: contract.StatusDeletionCancelled, Detail: "no deletion is pending any more"}, nil
	}
	p := contract.PendingDeletion{EventAt: kept.Pending.EventAt, DeleteAt: kept.Pending.DeleteAt, Source: contract.SourceWebhook}
	if kept.Pending.ByList {
		p.Source = contract.SourceReconcile
	}
	l.startDeletion(ctx, p, nil)
	return contract.Result{Status: contract.StatusDeletionResumed, DeleteAt: &p.DeleteAt}, nil
}

func (l *lifecycle) hold(ctx workflow.Context, ev contract.Event) (contract.Result, error) {
	expires := workflow.Now(ctx).Add(contract.DefaultHold)
	if at := ev.Hold.ExpiresAt; at != nil && at.After(workflow.Now(ctx)) { // else: it came late, or from another time zone
		expires = *at
	}
	kept, err := holdStore(ctx, contract.HoldInput{
		InstanceID: l.id, Reason: ev.Hold.Reason, Actor: ev.Hold.Actor, ExpiresAt: expires, Origin: ev.From(),
	})
	if err != nil {
		if keepErr := l.keepWithoutHold(ctx, ev.From()); keepErr != nil {
			workflow.GetLogger(ctx).Error("pending deletion not cancelled", "error", keepErr)
		}
		return contract.Result{}, err
	}
	if !kept.Monitored {
		l.endDeletion(ctx, "the store is already stopped")
		return contract.Result{Status: contract.StatusAlreadyStopped, Detail: "no such store is monitored, so there is nothing to hold"}, nil
	}
	detail := fmt.Sprintf("held by %s until %s: %s", ev.Hold.Actor, expires.UTC().Format(time.RFC3339), ev.Hold.Reason)
	if l.deletion != nil {
		return l.endDeletion(ctx, detail), nil
	}
	return contract.Result{Status: contract.StatusHeld, Detail: detail}, nil
}

// keepWithoutHold cancels a pending deletion although the hold could not be placed, because whoever asks for a hold wants the store to
// stay.
func (l *lifecycle) keepWithoutHold(ctx workflow.Context, by contract.Origin) error {
	if l.deletion == nil {
		return nil
	}
	_, err := cancelStoreDeletion(ctx, l.pendingStore(by))
	l.endDeletion(ctx, "cancelled, but the hold could not be placed")
	return err
}

func (l *lifecycle) release(ctx workflow.Context, ev contract.Event) (contract.Result, error) {
	kept, err := releaseStore(ctx, contract.StoreInput{InstanceID: l.id, Origin: ev.From()})
	switch {
	case err != nil:
		return contract.Result{}, err
	case !kept.Monitored:
		return contract.Result{Status: contract.StatusAlreadyStopped, Detail: "no such store is monitored, so there is nothing to release"}, nil
	}
	return contract.Result{Status: contract.StatusReleased}, nil
}

// actorOf is who asked for an event, for its log line.
func actorOf(ev contract.Event) []any {
	if ev.Hold == nil {
		return nil
	}
	return []any{"actor", ev.Hold.Actor, "reason", ev.Hold.Reason}
}

// tell logs an outcome: as information when it changed something, else for those who look for a fault.
func tell(ctx workflow.Context, message, storeID string, result contract.Result, more ...any) {
	line := workflow.GetLogger(ctx).Info
	switch result.Status {
	case contract.StatusAlreadyMonitored, contract.StatusDeletionAlreadyScheduled, contract.StatusAlreadyStopped, contract.StatusStaleIgnored:
		line = workflow.GetLogger(ctx).Debug
	default:
	}
	line(message, append([]any{"storeId", storeID, "outcome", result.Status, "detail", result.Detail}, more...)...)
}
