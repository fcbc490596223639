// Package workflows holds the decisions of Storekeeper. Nothing here does I/O or reads a clock; the effects are in package
// activities, what travels is in package contract.
package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
)

// keptDeliveries bounds how many delivery ids survive a continue-as-new; duplicates come within seconds of the original.
const keptDeliveries = 100

// firstEventTimeout is how long a run waits for its first event.
const firstEventTimeout = time.Minute

// WorkspaceLifecycle applies the events of one workspace, one after the other, and waits out the grace period of a deletion.
// It ends as soon as nothing is left to do, so that an idle workspace costs nothing.
func WorkspaceLifecycle(ctx workflow.Context, in contract.LifecycleInput) (contract.LifecycleResult, error) {
	l := &lifecycle{id: in.InstanceID, deliveries: map[string]*delivery{}}
	if err := l.setup(ctx, in); err != nil {
		return contract.LifecycleResult{}, err
	}
	if err := l.run(ctx); err != nil {
		return contract.LifecycleResult{}, err
	}
	return contract.LifecycleResult{Events: l.applied, Last: l.last}, nil
}

type lifecycle struct {
	id string
	// owner stands for this workflow at the store manager: the run id of the first of its runs.
	owner string
	// events is the context of all work on events and deletions: an event that was answered 2xx takes effect even if an
	// operator cancels the workflow, which ends a pending deletion and nothing else.
	events  workflow.Context
	signals workflow.ReceiveChannel
	cancels workflow.ReceiveChannel

	// inbox holds what has arrived and is not applied yet, in order; deliveries also what has been.
	inbox      []*delivery
	deliveries map[string]*delivery
	delivered  []*delivery

	// deletion is nil unless one is pending.
	deletion *deletion

	applied   int
	lastEvent *contract.Event
	last      contract.Result
}

// delivery is an event on its way through the workflow.
type delivery struct {
	event contract.Event
	// cancel: this is a CancelDeletion signal, which without a pending deletion does nothing.
	cancel bool
	done   bool
	result contract.Result
	err    error
}

func (d *delivery) settle(r contract.Result, err error) { d.result, d.err, d.done = r, err, true }

func (l *lifecycle) setup(ctx workflow.Context, in contract.LifecycleInput) error {
	if in.InstanceID == "" {
		return temporal.NewNonRetryableApplicationError("instanceId is required", contract.ErrTypeInvalid, nil)
	}
	l.events, _ = workflow.NewDisconnectedContext(ctx)
	l.owner = workflow.GetInfo(ctx).WorkflowExecution.RunID
	l.signals = workflow.GetSignalChannel(ctx, contract.ApplyEvent)
	l.cancels = workflow.GetSignalChannel(ctx, contract.CancelDeletion)
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, l.status); err != nil {
		return err
	}
	if in.Carried != nil {
		l.owner = in.Carried.Owner
		for _, d := range in.Carried.Delivered {
			l.deliveries[d.DeliveryID] = &delivery{event: contract.Event{DeliveryID: d.DeliveryID}, done: true, result: d.Result}
			l.delivered = append(l.delivered, l.deliveries[d.DeliveryID])
		}
		l.startDeletion(l.events, in.Carried.Deletion, nil)
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, contract.ApplyEvent, l.handleEvent,
		workflow.UpdateHandlerOptions{Validator: l.validateEvent, Description: "Apply an event of the workspace and answer its outcome."})
}

// run applies events until none is left and no deletion is pending.
func (l *lifecycle) run(ctx workflow.Context) error {
	if err := l.awaitFirstEvent(ctx); err != nil && !l.hasEvent() {
		return err
	}
	for {
		l.drainSignals(ctx)
		switch {
		case len(l.inbox) > 0:
			next := l.inbox[0]
			l.inbox = l.inbox[1:]
			l.apply(l.events, next)
		case l.deletion != nil && l.deletion.done:
			l.finishDeletion(l.events)
		case l.deletion == nil && workflow.AllHandlersFinished(ctx):
			return ctx.Err() // nil unless an operator cancelled the workflow
		case l.shouldContinueAsNew(ctx):
			return l.continueAsNew(ctx)
		default:
			if err := workflow.Await(ctx, func() bool { return l.hasWork(ctx) }); err != nil {
				if l.deletion == nil {
					return err
				}
				if err := l.abandon(l.events); err != nil {
					return err
				}
			}
		}
	}
}

// awaitFirstEvent: the update that starts a run is delivered just after the start. If it never is (its sender gave up before
// a worker was there, and the signal went to an earlier run), there is nothing to stay for.
func (l *lifecycle) awaitFirstEvent(ctx workflow.Context) error {
	// The update's handler has its turn before this coroutine does, so that the timer below is rarely needed.
	handlersRan := false
	workflow.Go(ctx, func(workflow.Context) { handlersRan = true })
	if err := workflow.Await(ctx, func() bool { return handlersRan }); err != nil || l.hasEvent() {
		return err
	}
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel() // the timer
	_, err := workflow.AwaitWithTimeout(ctx, firstEventTimeout, l.hasEvent)
	return err
}

func (l *lifecycle) hasEvent() bool {
	return len(l.inbox) > 0 || l.signals.Len() > 0 || l.cancels.Len() > 0 || l.deletion != nil
}

func (l *lifecycle) hasWork(ctx workflow.Context) bool {
	switch {
	case len(l.inbox) > 0, l.signals.Len() > 0, l.cancels.Len() > 0, l.shouldContinueAsNew(ctx):
		return true
	case l.deletion != nil:
		return l.deletion.done
	}
	return workflow.AllHandlersFinished(ctx)
}

// validateEvent refuses what must not even enter the history.
func (l *lifecycle) validateEvent(_ workflow.Context, ev contract.Event) error { return l.validate(ev) }

func (l *lifecycle) validate(ev contract.Event) error {
	var problem string
	switch {
	case ev.InstanceID != l.id:
		problem = fmt.Sprintf("the event is for instance %q, this workflow for %q", ev.InstanceID, l.id)
	case ev.DeliveryID == "":
		problem = "deliveryId is required"
	case ev.Timestamp.IsZero():
		problem = "timestamp is required"
	case ev.GracePeriod != nil && *ev.GracePeriod < 0:
		problem = "gracePeriod must not be negative"
	case ev.Type == contract.StoreHold && (ev.Hold == nil || ev.Hold.Reason == "" || ev.Hold.Actor == ""):
		problem = "a hold needs a reason and an actor"
	case ev.Type != contract.WorkspaceCreated && ev.Type != contract.WorkspaceDeleted && ev.Type != contract.StoreHold && ev.Type != contract.StoreRelease &&
		ev.Type != contract.DeletionResume:
		problem = fmt.Sprintf("unknown event type %q", ev.Type)
	default:
		return nil
	}
	return temporal.NewNonRetryableApplicationError(problem, contract.ErrTypeInvalid, nil)
}

// handleEvent answers with the outcome of the event. A deletion without a grace period answers when it is over.
func (l *lifecycle) handleEvent(ctx workflow.Context, ev contract.Event) (contract.Result, error) {
	d := l.deliver(ev)
	if err := workflow.Await(ctx, func() bool { return d.done }); err != nil {
		return contract.Result{}, err
	}
	return d.result, d.err
}

// deliver puts the event into the inbox, unless the same delivery has come before, by whichever way.
func (l *lifecycle) deliver(ev contract.Event) *delivery {
	if known, ok := l.deliveries[ev.DeliveryID]; ok {
		return known
	}
	d := &delivery{event: ev}
	l.deliveries[ev.DeliveryID] = d
	l.delivered = append(l.delivered, d)
	l.inbox = append(l.inbox, d)
	return d
}

func (l *lifecycle) drainSignals(ctx workflow.Context) {
	for ev := (contract.Event{}); l.signals.ReceiveAsync(&ev); ev = (contract.Event{}) {
		if err := l.validate(ev); err != nil {
			workflow.GetLogger(ctx).Warn("signalled event refused", "error", err)
			continue
		}
		l.deliver(ev)
	}
	for c := (contract.Cancellation{}); l.cancels.ReceiveAsync(&c); c = (contract.Cancellation{}) {
		l.inbox = append(l.inbox, cancelDelivery(l.id, workflow.Now(ctx), c))
	}
}

// cancelDelivery turns the signal into a hold, filling in what a hand-written signal may lack.
func cancelDelivery(instanceID string, at time.Time, c contract.Cancellation) *delivery {
	if c.Reason == "" {
		c.Reason = "cancelled by signal"
	}
	if c.Actor == "" {
		c.Actor = "unknown"
	}
	return &delivery{cancel: true, event: contract.Event{
		Type: contract.StoreHold, InstanceID: instanceID, Timestamp: at, Source: contract.SourceOperator, Hold: &c,
	}}
}

// apply carries out one event.
func (l *lifecycle) apply(ctx workflow.Context, d *delivery) {
	l.applied++
	l.lastEvent = &d.event
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
		result, err = l.release(ctx)
	case contract.DeletionResume:
		result, err = l.resume(ctx)
	}
	if err != nil {
		workflow.GetLogger(ctx).Error("event failed", "event", d.event.Type, "error", err)
	} else {
		l.last = result
	}
	d.settle(result, err)
}

func (l *lifecycle) created(ctx workflow.Context, ev contract.Event) (contract.Result, error) {
	res, err := ensureStore(ctx, contract.EnsureInput{InstanceID: l.id, At: ev.Timestamp, DeliveryID: ev.DeliveryID})
	if err != nil {
		return contract.Result{}, err
	}
	stale := contract.Result{Status: contract.StatusStaleIgnored, Detail: "a newer deletion of this workspace is known"}
	switch {
	case !res.Created && !res.Existing:
		return stale, nil
	case l.deletion != nil && !ev.Timestamp.After(l.deletion.EventAt) && workflow.GetVersion(ctx, changeOlderCreation, workflow.DefaultVersion, 1) >= 1:
		// Whatever the store manager answers: what is no newer ends nothing.
		return stale, nil
	case l.deletion != nil:
		// The store manager has cleared the mark already; what is left is the timer.
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

// changeOlderCreation is the version gate of histories in which a creation ended a deletion that was newer.
const changeOlderCreation = "older-creation-ends-no-deletion"

// deleted makes a deletion pending. The zero Result means that the delivery is settled when the deletion ends.
func (l *lifecycle) deleted(ctx workflow.Context, d *delivery) (contract.Result, error) {
	ev := d.event
	res, err := beginDeletion(ctx, contract.DeletionInput{
		InstanceID: l.id, At: ev.Timestamp, Owner: l.owner, GracePeriod: ev.GracePeriod,
		ByList: ev.Source == contract.SourceReconcile,
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
		// The store manager has cleared the mark of the one before, which is about to end, and has set a new one.
		l.endDeletion(ctx, "a newer deletion took its place")
	}
	if l.deletion != nil {
		p := &l.deletion.PendingDeletion
		p.EventAt = known(res, d.event, p.EventAt)
		if p.Source == contract.SourceReconcile && d.event.Source != contract.SourceReconcile {
			// From now on even an empty list agrees; a re-check that waits for another one must not go on waiting.
			p.Source = d.event.Source
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
	p := contract.PendingDeletion{EventAt: known(res, d.event, time.Time{}), DeleteAt: res.DeleteAt, Source: d.event.Source}
	if res.Immediate {
		l.startDeletion(ctx, p, d)
		return contract.Result{}
	}
	l.startDeletion(ctx, p, nil)
	return contract.Result{Status: contract.StatusDeletionScheduled, DeleteAt: &p.DeleteAt}
}

// known is the newest moment at which the workspace is known to be gone, before that of the event: the store manager says it, unless it
// is one of an older version.
func known(res contract.DeletionResult, ev contract.Event, before time.Time) time.Time {
	switch {
	case !res.EventAt.IsZero():
		return res.EventAt
	case ev.Timestamp.After(before):
		return ev.Timestamp
	}
	return before
}

// resume goes on with the deletion that the store manager has as pending. Whoever waited for it is no more: Temporal's database was
// lost, or an operator has terminated the run.
func (l *lifecycle) resume(ctx workflow.Context) (contract.Result, error) {
	if d := l.deletion; d != nil {
		// The registry may be the one that has lost it. If it was not, it keeps to what it has.
		_, err := restoreDeletion(ctx, contract.RestoreInput{
			InstanceID: l.id, Owner: l.owner, EventAt: d.EventAt, DeleteAt: d.DeleteAt, ByList: d.Source == contract.SourceReconcile,
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
		InstanceID: l.id, Reason: ev.Hold.Reason, Actor: ev.Hold.Actor, ExpiresAt: expires,
	})
	if err != nil {
		if keepErr := l.keepWithoutHold(ctx); keepErr != nil {
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

// keepWithoutHold cancels a pending deletion although the hold could not be placed: whoever asks for a hold wants the store to
// stay.
func (l *lifecycle) keepWithoutHold(ctx workflow.Context) error {
	if l.deletion == nil {
		return nil
	}
	_, err := cancelStoreDeletion(ctx, l.pendingStore())
	l.endDeletion(ctx, "cancelled, but the hold could not be placed")
	return err
}

func (l *lifecycle) release(ctx workflow.Context) (contract.Result, error) {
	kept, err := releaseStore(ctx, contract.StoreInput{InstanceID: l.id})
	switch {
	case err != nil:
		return contract.Result{}, err
	case !kept.Monitored:
		return contract.Result{Status: contract.StatusAlreadyStopped, Detail: "no such store is monitored, so there is nothing to release"}, nil
	}
	return contract.Result{Status: contract.StatusReleased}, nil
}

func (l *lifecycle) status() (contract.LifecycleStatus, error) {
	s := contract.LifecycleStatus{InstanceID: l.id, State: contract.StateIdle, LastEvent: l.lastEvent}
	if l.last.Status != "" {
		s.LastResult = &l.last
	}
	if l.deletion != nil {
		s.State, s.Deletion = contract.StateDeletionPending, &l.deletion.PendingDeletion
	}
	return s, nil
}

// shouldContinueAsNew: only between events and while every sender has had its answer.
func (l *lifecycle) shouldContinueAsNew(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && len(l.inbox) == 0 && l.deletion != nil &&
		!l.deletion.done && l.deletion.waiting == nil && workflow.AllHandlersFinished(ctx)
}

func (l *lifecycle) continueAsNew(ctx workflow.Context) error {
	carried := &contract.CarriedForward{Owner: l.owner, Deletion: l.deletion.PendingDeletion}
	for _, d := range l.delivered[max(0, len(l.delivered)-keptDeliveries):] {
		if d.err == nil {
			carried.Delivered = append(carried.Delivered, contract.Delivered{DeliveryID: d.event.DeliveryID, Result: d.result})
		}
	}
	return workflow.NewContinueAsNewError(ctx, WorkspaceLifecycle, contract.LifecycleInput{InstanceID: l.id, Carried: carried})
}
