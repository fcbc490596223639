package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
)

// deletion is a pending deletion of a lifecycle and the coroutine that carries it out.
type deletion struct {
	contract.PendingDeletion
	// waiting is the delivery of a deletion without a grace period, whose sender hears how the deletion ends; nil for every other
	// deletion.
	waiting *delivery
	// trace is that of the event that began it; nil for none.
	trace  any
	cancel workflow.CancelFunc
	// done is set by the coroutine as its last act. From then on result is valid.
	done   bool
	result contract.Result
}

// startDeletion starts the coroutine: it waits for DeleteAt, asks the Auth Worker again, and stops the store.
func (l *lifecycle) startDeletion(ctx workflow.Context, p contract.PendingDeletion, waiting *delivery) {
	dctx, cancel := workflow.WithCancel(ctx)
	d := &deletion{PendingDeletion: p, waiting: waiting, trace: traceOf(ctx), cancel: cancel}
	l.deletion = d
	l.show(ctx)
	workflow.Go(dctx, func(ctx workflow.Context) {
		d.result = l.carryOut(ctx, d)
		d.done = true
	})
}

// carryOut is the whole of a deletion from the start of the grace period on. Whoever ends it early cancels ctx.
func (l *lifecycle) carryOut(ctx workflow.Context, d *deletion) contract.Result {
	if wait := d.DeleteAt.Sub(workflow.Now(ctx)); wait > 0 && d.waiting == nil {
		timer := workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: "grace period"})
		if err := timer.Get(ctx, nil); err != nil {
			return l.interrupted(ctx, "the grace period", err)
		}
	}
	for askAgain := tooOldDelay; ; {
		attempt := ctx
		if d.waiting == nil {
			attempt = apart(ctx, "grace period over", l.id)
		}
		result, err := l.recheckAndStop(attempt, d)
		if err == nil {
			tell(attempt, "deletion ended", l.id, result)
			return result
		}
		if final(err) {
			return l.interrupted(ctx, "the re-check or the stop", err)
		}
		// The answer of the Auth Worker is too old by now to stop a store on it.
		delay := recheckDelay
		if errors.Is(err, errAskAgain) {
			delay = min(askAgain, recheckDelay)
			askAgain *= 2
		}
		if err := workflow.Sleep(ctx, delay); err != nil {
			return l.interrupted(ctx, "the wait for another re-check", err)
		}
	}
}

// errAskAgain: the store manager is there, but the Auth Worker must be asked again.
var errAskAgain = errors.New("the auth worker must be asked again")

// pendingStore names the pending deletion to the store manager, and who ends it.
func (l *lifecycle) pendingStore(by contract.Origin) contract.StoreInput {
	return contract.StoreInput{InstanceID: l.id, Owner: l.owner, EventAt: l.deletion.EventAt, Origin: by}
}

// recheckAndStop asks the Auth Worker and, if the workspace is gone, stops the store while that answer is fresh.
func (l *lifecycle) recheckAndStop(ctx workflow.Context, d *deletion) (contract.Result, error) {
	known := d.EventAt // what is reported while the list is on its way is newer than it
	absence, err := confirmAbsent(ctx, contract.AbsenceInput{InstanceID: l.id, ByEvent: d.Source != contract.SourceReconcile})
	if err != nil {
		return contract.Result{}, err
	}
	if !absence.Absent {
		kept, err := cancelStoreDeletion(ctx, contract.StoreInput{
			InstanceID: l.id, Owner: l.owner, EventAt: known, Origin: contract.Origin{Source: contract.SourceSystem, Reason: stillListed},
		})
		switch {
		case err != nil:
			return contract.Result{}, err
		case kept.Pending != nil && kept.Pending.EventAt.After(known): // it was deleted again meanwhile
			return contract.Result{}, errAskAgain
		}
		return contract.Result{Status: contract.StatusDeletionCancelled, Detail: stillListed}, nil
	}
	store, err := stopStore(ctx, contract.StoreInput{
		InstanceID: l.id, Owner: l.owner, AbsentAt: absence.AskedAt, List: absence.List, Origin: d.Origin,
	})
	switch {
	case err != nil:
		return contract.Result{}, err
	case store.AnswerTooOld:
		return contract.Result{}, errAskAgain
	case store.Monitored:
		return contract.Result{Status: contract.StatusDeletionCancelled, Detail: "the store manager no longer has this deletion as pending"}, nil
	}
	return contract.Result{Status: contract.StatusMonitoringStopped}, nil
}

const stillListed = "the Auth Worker still lists the workspace"

// interrupted is the result of a deletion that did not reach the stop. If it was cancelled, endDeletion fills in why. If an activity has
// failed for good, the store stays monitored and its deletion pending, and the next reconcile run resumes it.
func (l *lifecycle) interrupted(ctx workflow.Context, during string, err error) contract.Result {
	if !temporal.IsCanceledError(err) {
		workflow.GetLogger(ctx).Error("deletion given up", "storeId", l.id, "during", during, "error", err)
	}
	return contract.Result{Status: contract.StatusDeletionCancelled, Detail: "interrupted during " + during}
}

// abandon ends the deletion of a workflow that an operator cancels, so that nobody is told that it is still pending. Events that come
// meanwhile are applied after it.
func (l *lifecycle) abandon(ctx workflow.Context) error {
	if _, err := cancelStoreDeletion(ctx, l.pendingStore(contract.Origin{
		Source: contract.SourceOperator, Via: contract.ViaTemporal, Reason: "the workflow was cancelled",
	})); err != nil {
		return err
	}
	l.endDeletion(ctx, "the workflow was cancelled")
	return nil
}

// endDeletion ends a pending deletion, if there is one, and returns how it ended: StatusDeletionCancelled for the reason given, or
// StatusMonitoringStopped when the stop had come first.
func (l *lifecycle) endDeletion(ctx workflow.Context, why string) contract.Result {
	d := l.deletion
	if d == nil {
		return contract.Result{Status: contract.StatusDeletionCancelled, Detail: why}
	}
	if !d.done {
		d.cancel()
		// The coroutine obeys its cancellation within this workflow task, because all that it waits for can be cancelled.
		_ = workflow.Await(ctx, func() bool { return d.done })
		if d.result.Status == contract.StatusDeletionCancelled {
			d.result.Detail = why
		}
	}
	result := d.result
	l.finishDeletion(ctx)
	return result
}

// finishDeletion notes how the deletion ended and answers the sender who waits for it.
func (l *lifecycle) finishDeletion(ctx workflow.Context) {
	d := l.deletion
	l.deletion = nil
	l.last = d.result
	if d.waiting != nil {
		d.waiting.settle(d.result, nil)
	}
	l.show(ctx)
}

// show makes the state visible to operators: search attributes and the current details in the Temporal Web UI.
func (l *lifecycle) show(ctx workflow.Context) {
	if l.deletion == nil {
		workflow.SetCurrentDetails(ctx, "")
		l.upsert(ctx, attributeWorkspaceState.ValueSet(contract.StateIdle), attributeDeleteAt.ValueUnset())
		return
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf(
		"**Deletion pending**: the store is stopped at %s if the Auth Worker then no longer lists the workspace. "+
			"To keep it: `starter cancel-delete %s --reason ...`", l.deletion.DeleteAt.UTC().Format(time.RFC3339), l.id))
	l.upsert(ctx, attributeWorkspaceState.ValueSet(contract.StateDeletionPending), attributeDeleteAt.ValueSet(l.deletion.DeleteAt))
}

var (
	attributeWorkspaceState = temporal.NewSearchAttributeKeyKeyword(contract.AttributeWorkspaceState)
	attributeDeleteAt       = temporal.NewSearchAttributeKeyTime(contract.AttributeDeleteAt)
)

// upsert only logs a failure: the attributes are for people, and the deletion does not depend on them.
func (l *lifecycle) upsert(ctx workflow.Context, updates ...temporal.SearchAttributeUpdate) {
	if err := workflow.UpsertTypedSearchAttributes(ctx, updates...); err != nil {
		workflow.GetLogger(ctx).Error("search attributes not set", "error", err)
	}
}
