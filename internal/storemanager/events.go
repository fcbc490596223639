package storemanager

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
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

const (
	selectEvents      = `SELECT at, kind, outcome, detail FROM store_events WHERE store_id = ? ORDER BY seq DESC`
	selectNewestEvent = `SELECT seq, kind, outcome, detail FROM store_events WHERE store_id = ? ORDER BY seq DESC LIMIT 1`
	saveEvent         = `REPLACE INTO store_events (store_id, seq, at, kind, outcome, detail) VALUES (?, ?, ?, ?, ?, ?)`
	deleteEvents      = `DELETE FROM store_events WHERE store_id = ? AND seq <= ?`
)

// ReconcileRequest begins the EnsureRequest.RequestID of what no event has asked for, but reconciliation.
const ReconcileRequest = "reconcile/"

// restoreRequest is the EnsureRequest.RequestID of a Node that gives its server back what that has lost.
const restoreRequest = "restore"

// decide is apply for a rule that also says what is to be told of it; an event without a Kind is nothing.
func (tx *changes) decide(ctx context.Context, id string, rule func(*record) (StoreEvent, error)) error {
	var e StoreEvent
	var before, after record
	err := tx.apply(ctx, id, func(s *record) (err error) {
		before = *s
		e, err = rule(s)
		after = *s
		return err
	})
	if err != nil || e.Kind == "" || after.unknown() {
		return err
	}
	return tx.keep(ctx, id, e, before.unknown())
}

// tell keeps an event that changes no record, if the store is known.
func (tx *changes) tell(ctx context.Context, id string, e StoreEvent) error {
	return tx.decide(ctx, id, func(*record) (StoreEvent, error) { return e, nil })
}

// noteEvent is tell in a transaction of its own.
func (r *Registry) noteEvent(ctx context.Context, id string, e StoreEvent) error {
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) { return struct{}{}, tx.tell(ctx, id, e) })
	return err
}

// keep keeps an event of a store, the first one if the store was unknown before. One that says the same as the newest takes its
// place, so that what is repeated every few minutes doesn't push out the rest.
func (tx *changes) keep(ctx context.Context, id string, e StoreEvent, first bool) error {
	var newest StoreEvent
	seq := int64(0)
	if !first {
		err := tx.newest.QueryRowContext(ctx, id).Scan(&seq, &newest.Kind, &newest.Outcome, &newest.Detail)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read registry: %w", err)
		}
	}
	e.Detail = cut(e.Detail)
	if newest != e {
		seq++
	}
	if _, err := tx.note.ExecContext(ctx, id, seq, column(tx.now), e.Kind, e.Outcome, e.Detail); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	if newest != e && seq > KeptStoreEvents {
		if _, err := tx.forget.ExecContext(ctx, id, seq-KeptStoreEvents); err != nil {
			return fmt.Errorf("write registry: %w", err)
		}
	}
	return nil
}

// storeEvents are those of a store, newest first; nil for none.
func (r *Registry) storeEvents(ctx context.Context, id string) ([]StoreEvent, error) {
	rows, err := r.events.QueryContext(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var events []StoreEvent
	for rows.Next() {
		var e StoreEvent
		if err := rows.Scan((*column)(&e.At), &e.Kind, &e.Outcome, &e.Detail); err != nil {
			return nil, fmt.Errorf("read registry: %w", err)
		}
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	return events, nil
}

func (q EnsureRequest) event(res EnsureResult) StoreEvent {
	var detail []string
	if strings.HasPrefix(q.RequestID, ReconcileRequest) {
		detail = append(detail, "from reconciliation")
		if res.DeletionCancelled {
			detail = append(detail, "listed again")
		}
	}
	if q.RequestID == restoreRequest {
		detail = append(detail, "restored")
	}
	if res.DeletionCancelled {
		detail = append(detail, "cancelled the pending deletion")
	}
	return StoreEvent{Kind: eventEnsure, Outcome: string(res.Outcome), Detail: strings.Join(detail, ", ")}
}

// answered is the event of a store of which the server of a Node was told; err is why it did not take it.
func (q EnsureRequest) answered(res EnsureResult, err error) StoreEvent {
	if err == nil {
		return q.event(res)
	}
	res.Outcome = EnsureFailed
	e := q.event(res)
	if e.Detail != "" {
		e.Detail += ", "
	}
	e.Detail += shown(err)
	return e
}

func (res DeletionResult) event() StoreEvent {
	e := StoreEvent{Kind: eventDeletion, Outcome: string(res.Outcome)}
	switch {
	case res.Outcome == DeletionScheduled:
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
