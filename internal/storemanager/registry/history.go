package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"storekeeper/internal/storemanager"
)

const (
	outcomeAdopted  = "adopted"
	outcomeDone     = "done"
	outcomeResumed  = "resumed" // a deletion was taken over by another run
	outcomeRestored = "restored"
)

// repeatInterval is how long a repeat of what Storekeeper itself asks for again and again stays out of the audit trail.
const repeatInterval = time.Hour

// audit adds an entry to the audit trail. It leaves out the retry of a call, and for a while what nobody but Storekeeper itself asks for again: else a
// store that fails for days would fill the trail. Whoever adds an entry also removes some that are too old, so nobody else has to.
func (tx *transaction) audit(ctx context.Context, e storemanager.AuditEntry) error {
	e.Detail, e.Origin = storemanager.Cut(e.Detail), e.Cut()
	newest, err := tx.NewestEntry(ctx, e.StoreID)
	if err != nil {
		return err
	}
	if repeats(newest, e, tx.now) {
		return nil
	}
	e.At = tx.now
	if err := tx.Append(ctx, e); err != nil {
		return err
	}
	return tx.PruneAudit(ctx, tx.now.Add(-tx.auditRetention), prunedEntries)
}

// prunedEntries is how many old entries make room for each new one. More than one, so that a shorter retention is reached.
const prunedEntries = 3

// repeats says whether e says nothing that the newest entry of its store does not say.
func repeats(newest, e storemanager.AuditEntry, now time.Time) bool {
	if newest.Kind != e.Kind || newest.Outcome != e.Outcome || newest.Detail != e.Detail {
		return false
	}
	if newest.Origin == e.Origin && newest.Origin != (storemanager.Origin{}) {
		return true // a retry
	}
	asked := e.Source == storemanager.SourceWebhook || e.Source == storemanager.SourceOperator
	return !asked && newest.Source == e.Source && newest.Actor == e.Actor && now.Sub(newest.At) < repeatInterval
}

// Audit implements Audit.
func (r *Registry) Audit(ctx context.Context, q storemanager.AuditQuery) (storemanager.AuditPage, error) {
	if err := q.Validate(); err != nil {
		return storemanager.AuditPage{}, err
	}
	limit := cmp.Or(q.Limit, storemanager.DefaultLimit)
	q.Limit = limit + 1 // one more than wanted tells whether there is a next page
	entries, err := r.driver.Audit(ctx, q)
	if err != nil {
		return storemanager.AuditPage{}, err
	}
	page := storemanager.AuditPage{Entries: entries}
	if len(entries) > limit {
		page.Entries = entries[:limit]
		page.NextCursor = entries[limit-1].Seq
	}
	return page, nil
}

// NoteBatch implements Audit.
func (r *Registry) NoteBatch(ctx context.Context, b storemanager.Batch) error {
	if err := b.Validate(); err != nil {
		return err
	}
	first, last := b.StoreIDs[0], b.StoreIDs[len(b.StoreIDs)-1]
	return r.note(ctx, storemanager.AuditEntry{
		Kind: storemanager.AuditBatch, Outcome: b.Verb, Origin: b.Origin, Evidence: &storemanager.Evidence{StoreIDs: b.StoreIDs},
		Detail: fmt.Sprintf("%d stores, from %s to %s", len(b.StoreIDs), first, last), // the ids tell the parts of a large one apart
	})
}

// note adds an entry for which nothing else changes.
func (r *Registry) note(ctx context.Context, e storemanager.AuditEntry) error {
	_, err := change(ctx, r, func(tx *transaction) (struct{}, error) { return struct{}{}, tx.audit(ctx, e) })
	return err
}

// NoteSettings implements Audit. The first start of a process is compared with nothing.
func (r *Registry) NoteSettings(ctx context.Context, s storemanager.Settings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	_, err := change(ctx, r, func(tx *transaction) (struct{}, error) {
		before, err := tx.Settings(ctx, s.Process)
		if err != nil {
			return struct{}{}, err
		}
		if before != nil {
			for _, changed := range changedSettings(*before, s) {
				if err := tx.audit(ctx, storemanager.AuditEntry{
					Kind: storemanager.AuditSetting, Outcome: "changed", Detail: changed,
					Origin: storemanager.Origin{Source: storemanager.SourceSystem, Actor: s.Process, Via: "settings"},
				}); err != nil {
					return struct{}{}, err
				}
			}
		}
		return struct{}{}, tx.SaveSettings(ctx, s)
	})
	return err
}

// changedSettings says what differs, a line for each name, in the order of the names.
func changedSettings(before, after storemanager.Settings) (lines []string) {
	names := map[string]bool{}
	for name := range before.Values {
		names[name] = true
	}
	for name := range after.Values {
		names[name] = true
	}
	if before.Version != after.Version {
		lines = append(lines, "version: "+before.Version+" → "+after.Version)
	}
	for _, name := range sorted(names) {
		if old, now := before.Values[name], after.Values[name]; old != now {
			lines = append(lines, name+": "+quoted(old)+" → "+quoted(now))
		}
	}
	return lines
}

func quoted(value string) string { return cmp.Or(value, "(empty)") }

func sorted(set map[string]bool) []string {
	var all []string
	for name := range set {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// RestoreRequestID is the EnsureRequest.RequestID of whoever gives another server a store back that it has lost.
const RestoreRequestID = "restore"

// NoteEnsured keeps in the audit trail that Enter has ensured a store, and that another server was told of it. failure is why the server did not take
// the store, in one line that is safe to show; "" if it took it.
func (r *Registry) NoteEnsured(ctx context.Context, q storemanager.EnsureRequest, res storemanager.EnsureResult, failure string) error {
	if failure != "" {
		res.Outcome = storemanager.EnsureFailed
	}
	e := ensureEntry(q, res, storemanager.Deletion{})
	e.Detail = strings.Join(slices.DeleteFunc([]string{e.Detail, failure}, func(s string) bool { return s == "" }), ", ")
	_, err := change(ctx, r, func(tx *transaction) (struct{}, error) {
		return struct{}{}, tx.decide(ctx, q.StoreID, func(*Record) (storemanager.AuditEntry, error) { return e, nil })
	})
	return err
}

// ensureEntry is what the audit trail says of an ensure. pending is the deletion of the store before.
func ensureEntry(q storemanager.EnsureRequest, res storemanager.EnsureResult, pending storemanager.Deletion) storemanager.AuditEntry {
	var detail []string
	e := storemanager.AuditEntry{Kind: storemanager.AuditEnsure, Outcome: string(res.Outcome), Origin: q.Origin}
	if run, ok := strings.CutPrefix(q.RequestID, storemanager.ReconcileRequest); ok {
		detail = append(detail, "from reconciliation")
		if res.DeletionCancelled {
			detail = append(detail, "listed again")
		}
		e.Source, e.RunID = storemanager.SourceReconcile, cmp.Or(e.RunID, run)
	}
	if q.RequestID == RestoreRequestID {
		detail = append(detail, "restored")
		e.Source = storemanager.SourceSystem
	}
	if res.DeletionCancelled {
		detail = append(detail, "cancelled the pending deletion")
		if pending != (storemanager.Deletion{}) {
			e.Evidence = &storemanager.Evidence{Deletion: &pending}
		}
	}
	e.Detail = strings.Join(detail, ", ")
	return e
}

// deletionEntry is what the audit trail says of a deletion that was asked for. pending is the deletion of the store afterwards.
func deletionEntry(q storemanager.DeletionRequest, res storemanager.DeletionResult, pending storemanager.Deletion) storemanager.AuditEntry {
	e := storemanager.AuditEntry{Kind: storemanager.AuditDeletion, Outcome: string(res.Outcome), Origin: q.Cause(storemanager.ListRef{}).Origin}
	switch {
	case res.Outcome == storemanager.DeletionScheduled:
		e.Detail = "due " + res.DeleteAt.Format(time.RFC3339)
		e.Evidence = &storemanager.Evidence{Deletion: &pending}
	case res.Hold != nil:
		e.Detail = protection(res.Hold.Reason, res.Hold.Actor, res.Hold.ExpiresAt)
	}
	return e
}

// stopEntry is what the audit trail says of a stop. pending is the deletion of the store before; decidedAt is zero for now. The stop is asked for by whoever asked for the deletion.
func stopEntry(q storemanager.StopRequest, res storemanager.StopResult, pending storemanager.Deletion, decidedAt time.Time) storemanager.AuditEntry {
	e := storemanager.AuditEntry{Kind: storemanager.AuditStop, Outcome: string(res.Outcome), Origin: pending.Cause.Origin}
	if e.Origin == (storemanager.Origin{}) {
		e.Origin = q.Origin
	}
	if !pending.DeleteAt.IsZero() {
		e.Evidence = &storemanager.Evidence{Deletion: &pending, Recheck: q.Recheck.AsOf(q.AbsentAt), DecidedAt: decidedAt}
	}
	return e
}

// auditList tells of the stores that a list is the first to lack.
func (tx *transaction) auditList(ctx context.Context, m storemanager.ListMarks, news []string) error {
	if len(news) == 0 {
		return nil
	}
	detail := news[0] + " is not in the list"
	if n := len(news); n > 1 { // the ids tell the parts of a long list apart
		detail = fmt.Sprintf("%d stores are not in the list, from %s to %s", n, news[0], news[n-1])
	}
	return tx.audit(ctx, storemanager.AuditEntry{
		Kind: storemanager.AuditList, Outcome: "first_sighting", Detail: detail, Origin: reconcileOrigin(m.Origin),
		Evidence: &storemanager.Evidence{Lists: []storemanager.ListRef{m.List.AsOf(m.ListAt)}, StoreIDs: news[:min(len(news), storemanager.MaxNamed)]},
	})
}

// reconcileOrigin is the origin of what reconciliation asks for.
func reconcileOrigin(o storemanager.Origin) storemanager.Origin {
	o.Source = cmp.Or(o.Source, storemanager.SourceReconcile)
	return o
}

// protection says in one line who holds or pauses a store, until when and why.
func protection(reason, actor string, expiresAt *time.Time) string {
	if expiresAt == nil {
		return "by " + actor + ": " + reason
	}
	return "by " + actor + " until " + expiresAt.Format(time.RFC3339) + ": " + reason
}

// operator completes the origin of what carries an actor and a reason itself.
func operator(o storemanager.Origin, actor, reason string) storemanager.Origin {
	o.Source = cmp.Or(o.Source, storemanager.SourceOperator)
	o.Actor, o.Reason = cmp.Or(o.Actor, actor), cmp.Or(o.Reason, reason)
	return o
}
