package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"storekeeper/internal/storemanager"
)

// What HistoryEntry.Kind may be.
const (
	kindEnsure         = "ensure"
	kindDeletion       = "deletion"
	kindCancelDeletion = "cancel_deletion"
	kindStop           = "stop"
	kindHold           = "hold"
	kindRelease        = "release"
	kindPause          = "pause"
	kindResume         = "resume"

	outcomeDone     = "done"
	outcomeResumed  = "resumed" // a deletion was taken over by another run
	outcomeRestored = "restored"
)

// RestoreRequestID is the EnsureRequest.RequestID of whoever gives another server a store back that it has lost.
const RestoreRequestID = "restore"

// decide is apply for a rule that also returns what the history is to say of it; an entry without a Kind is not kept.
func (tx *transaction) decide(ctx context.Context, id string, rule func(*Record) (storemanager.HistoryEntry, error)) error {
	var e storemanager.HistoryEntry
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

// note keeps an entry that changes no record, if there is a record.
func (tx *transaction) note(ctx context.Context, id string, e storemanager.HistoryEntry) error {
	return tx.decide(ctx, id, func(*Record) (storemanager.HistoryEntry, error) { return e, nil })
}

// NoteEnsured keeps in the history of a store that Enter has ensured it, and that another server was told of it. failure is why the server did not take
// the store, in one line that is safe to show; "" if it took it.
func (r *Registry) NoteEnsured(ctx context.Context, q storemanager.EnsureRequest, res storemanager.EnsureResult, failure string) error {
	if failure != "" {
		res.Outcome = storemanager.EnsureFailed
	}
	e := ensureEntry(q, res)
	e.Detail = strings.Join(slices.DeleteFunc([]string{e.Detail, failure}, func(s string) bool { return s == "" }), ", ")
	_, err := change(ctx, r, func(tx *transaction) (struct{}, error) { return struct{}{}, tx.note(ctx, q.StoreID, e) })
	return err
}

// keep keeps a history entry of a store; first means that there was no record of the store before. An entry that says the same as the newest one takes its
// place, so that what is repeated every few minutes doesn't push out the rest.
func (tx *transaction) keep(ctx context.Context, id string, e storemanager.HistoryEntry, first bool) error {
	var newest storemanager.HistoryEntry
	seq := int64(0)
	if !first {
		var err error
		if seq, newest, err = tx.NewestEntry(ctx, id); err != nil {
			return err
		}
	}
	e.Detail = cut(e.Detail)
	repeated := newest == e
	if !repeated {
		seq++
	}
	e.At = tx.now
	if err := tx.SaveEntry(ctx, id, seq, e); err != nil {
		return err
	}
	if !repeated && seq > storemanager.KeptHistory {
		return tx.DropEntries(ctx, id, seq-storemanager.KeptHistory)
	}
	return nil
}

// ensureEntry is what the history says of an ensure.
func ensureEntry(q storemanager.EnsureRequest, res storemanager.EnsureResult) storemanager.HistoryEntry {
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
	return storemanager.HistoryEntry{Kind: kindEnsure, Outcome: string(res.Outcome), Detail: strings.Join(detail, ", ")}
}

// deletionEntry is what the history says of a deletion that was asked for.
func deletionEntry(res storemanager.DeletionResult) storemanager.HistoryEntry {
	e := storemanager.HistoryEntry{Kind: kindDeletion, Outcome: string(res.Outcome)}
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
