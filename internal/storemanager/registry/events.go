package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"storekeeper/internal/storemanager"
)

// What StoreEvent.Kind may be.
const (
	eventEnsure         = "ensure"
	eventDeletion       = "deletion"
	eventCancelDeletion = "cancel_deletion"
	eventStop           = "stop"
	eventHold           = "hold"
	eventRelease        = "release"
	eventPause          = "pause"
	eventResume         = "resume"

	outcomeDone     = "done"
	outcomeResumed  = "resumed" // of a deletion, by another run
	outcomeRestored = "restored"
)

// RestoreRequestID is the EnsureRequest.RequestID of whoever gives another server back what that has lost.
const RestoreRequestID = "restore"

// decide is apply for a rule that also says what is to be told of it; an event without a Kind is nothing.
func (tx *changes) decide(ctx context.Context, id string, rule func(*Record) (storemanager.StoreEvent, error)) error {
	var e storemanager.StoreEvent
	var before, after Record
	err := tx.apply(ctx, id, func(s *Record) (err error) {
		before = *s
		e, err = rule(s)
		after = *s
		return err
	})
	if err != nil || e.Kind == "" || after.Unknown() {
		return err
	}
	return tx.keep(ctx, id, e, before.Unknown())
}

// tell keeps an event that changes no record, if the store is known.
func (tx *changes) tell(ctx context.Context, id string, e storemanager.StoreEvent) error {
	return tx.decide(ctx, id, func(*Record) (storemanager.StoreEvent, error) { return e, nil })
}

// NoteEnsured keeps the event of a store that Enter has ensured, and another server was told of. failure is why it did not take the
// store, one line that is safe to show; "" if it did.
func (r *Registry) NoteEnsured(ctx context.Context, q storemanager.EnsureRequest, res storemanager.EnsureResult, failure string) error {
	if failure != "" {
		res.Outcome = storemanager.EnsureFailed
	}
	e := ensureEvent(q, res)
	e.Detail = strings.Join(slices.DeleteFunc([]string{e.Detail, failure}, func(s string) bool { return s == "" }), ", ")
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) { return struct{}{}, tx.tell(ctx, q.StoreID, e) })
	return err
}

// keep keeps an event of a store, the first one if the store was unknown before. One that says the same as the newest takes its
// place, so that what is repeated every few minutes doesn't push out the rest.
func (tx *changes) keep(ctx context.Context, id string, e storemanager.StoreEvent, first bool) error {
	var newest storemanager.StoreEvent
	seq := int64(0)
	if !first {
		var err error
		if seq, newest, err = tx.NewestEvent(ctx, id); err != nil {
			return err
		}
	}
	e.Detail = cut(e.Detail)
	repeated := newest == e
	if !repeated {
		seq++
	}
	e.At = tx.now
	if err := tx.SaveEvent(ctx, id, seq, e); err != nil {
		return err
	}
	if !repeated && seq > storemanager.KeptStoreEvents {
		return tx.DropEvents(ctx, id, seq-storemanager.KeptStoreEvents)
	}
	return nil
}

// ensureEvent is what is told of an ensure.
func ensureEvent(q storemanager.EnsureRequest, res storemanager.EnsureResult) storemanager.StoreEvent {
	var detail []string
	if strings.HasPrefix(q.RequestID, storemanager.ReconcileRequest) {
		detail = append(detail, "from reconciliation")
		if res.DeletionCancelled {
			detail = append(detail, "listed again")
		}
	}
	if q.RequestID == RestoreRequestID {
		detail = append(detail, "restored")
	}
	if res.DeletionCancelled {
		detail = append(detail, "cancelled the pending deletion")
	}
	return storemanager.StoreEvent{Kind: eventEnsure, Outcome: string(res.Outcome), Detail: strings.Join(detail, ", ")}
}

// deletionEvent is what is told of a deletion that was asked for.
func deletionEvent(res storemanager.DeletionResult) storemanager.StoreEvent {
	e := storemanager.StoreEvent{Kind: eventDeletion, Outcome: string(res.Outcome)}
	switch {
	case res.Outcome == storemanager.DeletionScheduled:
		e.Detail = "due " + res.DeleteAt.Format(time.RFC3339)
	case res.Hold != nil:
		e.Detail = protection(res.Hold.Reason, res.Hold.Actor, res.Hold.ExpiresAt)
	}
	return e
}

// protection says in one line who holds or pauses a store, until when and why.
func protection(reason, actor string, expiresAt *time.Time) string {
	if expiresAt == nil {
		return "by " + actor + ": " + reason
	}
	return "by " + actor + " until " + expiresAt.Format(time.RFC3339) + ": " + reason
}
