// Package workflows holds the decisions of Storekeeper. Nothing here does I/O or reads a clock. The effects are in package activities, and
// what travels between processes is in package contract.
package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
)

// keptDeliveries bounds how many delivery ids survive a continue-as-new. Duplicates come within seconds of the original.
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
	// owner is who this workflow is to the store manager: the run id of the first run of its chain.
	owner string
	// events is the context of all work on events and deletions. It outlives a cancellation of the workflow: an event that was answered
	// 2xx takes effect all the same, and only a pending deletion ends.
	events  workflow.Context
	signals workflow.ReceiveChannel
	cancels workflow.ReceiveChannel

	// inbox holds, in order, what has arrived and is not applied yet. deliveries and delivered also hold what has been applied.
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
	// cancel: this is a CancelDeletion signal, which does nothing unless a deletion is pending.
	cancel bool
	// trace is that of the event; nil for none.
	trace  any
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

// awaitFirstEvent waits for the update that starts a run, which is delivered just after the start. It may never come: its sender gave up
// before a worker was there, and the signal went to an earlier run. Then there is nothing to stay for.
func (l *lifecycle) awaitFirstEvent(ctx workflow.Context) error {
	// The update's handler runs before this coroutine does, so that the timer below is rarely needed.
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

// validateEvent refuses an event before it enters the history.
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
	d := l.deliver(ev, traceOf(ctx))
	if err := workflow.Await(ctx, func() bool { return d.done }); err != nil {
		return contract.Result{}, err
	}
	return d.result, d.err
}

// deliver puts the event into the inbox, unless the same delivery has come before, by update or by signal.
func (l *lifecycle) deliver(ev contract.Event, trace any) *delivery {
	if known, ok := l.deliveries[ev.DeliveryID]; ok {
		return known
	}
	d := &delivery{event: ev, trace: trace}
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
		l.deliver(ev, traceOfSignal(ctx, contract.ApplyEvent, ev.DeliveryID))
	}
	for c := (contract.Cancellation{}); l.cancels.ReceiveAsync(&c); c = (contract.Cancellation{}) {
		d := cancelDelivery(l.id, workflow.Now(ctx), c)
		d.trace = traceOfSignal(ctx, contract.CancelDeletion, "")
		l.inbox = append(l.inbox, d)
	}
}

// cancelDelivery makes a hold of the signal, and fills in what a hand-written signal may lack.
func cancelDelivery(instanceID string, at time.Time, c contract.Cancellation) *delivery {
	if c.Reason == "" {
		c.Reason = "cancelled by signal"
	}
	if c.Actor == "" {
		c.Actor = "unknown"
	}
	o := c.Origin
	if o.Via == "" {
		o.Via = contract.ViaTemporal
	}
	return &delivery{cancel: true, event: contract.Event{
		Type: contract.StoreHold, InstanceID: instanceID, Timestamp: at, Source: contract.SourceOperator, Hold: &c, Origin: o,
	}}
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

// shouldContinueAsNew says whether the run should end in favour of a new one: only between events, and while no sender waits for an
// answer.
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
	return workflow.NewContinueAsNewError(withTrace(ctx, l.deletion.trace), WorkspaceLifecycle, contract.LifecycleInput{InstanceID: l.id, Carried: carried})
}
