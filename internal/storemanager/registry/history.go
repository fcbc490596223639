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
