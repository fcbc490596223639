package registrytest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/storetest"
)

var (
	bySender   = storemanager.Origin{Source: storemanager.SourceWebhook, Actor: "sender-1", DeliveryID: "delivery-1", RequestID: "request-1", TraceID: "trace-1"}
	byOps      = storemanager.Origin{Source: storemanager.SourceOperator, Actor: "ann", Via: "api", Reason: "why", RequestID: "request-2", Batch: "batch-1"}
	byRun      = storemanager.Origin{Source: storemanager.SourceReconcile, Actor: "ann", Via: "cli", Reason: "reviewed", RunID: "run-1", Plan: "plan-1"}
	bySystem   = storemanager.Origin{Source: storemanager.SourceSystem}
	bySettings = storemanager.Origin{Source: storemanager.SourceSystem, Via: "settings"}
)

func list(second int, hash string) storemanager.ListRef {
	return storemanager.ListRef{At: storetest.At(second), Hash: hash, Entries: 7}
}

// decision is what the trail is to say of the store, at T0.
func decision(kind storemanager.AuditKind, outcome, detail string, by storemanager.Origin, evidence *storemanager.Evidence) storemanager.AuditEntry {
	return storemanager.AuditEntry{At: storetest.T0, Kind: kind, StoreID: storetest.ID, Outcome: outcome, Detail: detail, Origin: by, Evidence: evidence}
}

func begin(t *testing.T, b *storetest.Bundle, q storemanager.DeletionRequest) {
	t.Helper()
	q.StoreID, q.DeleteAt, q.Owner = storetest.ID, storetest.T0, "run"
	_, err := b.BeginDeletion(t.Context(), q)
	require.NoError(t, err)
}

func stop(t *testing.T, b *storetest.Bundle, q storemanager.StopRequest) {
	t.Helper()
	q.StoreID, q.Owner, q.AbsentAt = storetest.ID, "run", b.Clock.Now()
	_, err := b.Stop(t.Context(), q)
	require.NoError(t, err)
}

// after is what the trail says of all stores since some entries, the oldest first.
func after(t *testing.T, b *storetest.Bundle, seen int) []storemanager.AuditEntry {
	t.Helper()
	page, err := b.Audit(t.Context(), storemanager.AuditQuery{OldestFirst: true, Limit: storemanager.MaxBatch})
	require.NoError(t, err)
	for i := range page.Entries {
		page.Entries[i].Seq = 0
	}
	return page.Entries[seen:]
}

func (on suite) TestTheAuditTrailSaysWhoAskedAndWhatTheDecisionWasBasedOn(t *testing.T) {
	t.Parallel()
	dueNow := "due " + storetest.T0.Format(time.RFC3339)
	byEvent := storemanager.Deletion{
		EventAt: storetest.At(2), Since: storetest.T0, DeleteAt: storetest.T0, Owner: "run", Cause: storemanager.Cause{Origin: bySender},
	}
	byLists := storemanager.Deletion{
		EventAt: storetest.At(9), Since: storetest.T0, DeleteAt: storetest.T0, Owner: "run", ByList: true,
		Cause: storemanager.Cause{Origin: byRun, FirstList: storemanager.ListRef{At: storetest.At(5), Hash: "first"}, SecondList: list(9, "second")},
	}
	of := func(d storemanager.Deletion) *storemanager.Evidence { return &storemanager.Evidence{Deletion: &d} }
	stopped := func(d storemanager.Deletion, recheck storemanager.ListRef) *storemanager.Evidence {
		return &storemanager.Evidence{Deletion: &d, Recheck: recheck}
	}
	beginByLists := func(t *testing.T, b *storetest.Bundle) {
		require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(5), Unlisted: []string{storetest.ID}, List: list(5, "first"), Origin: byRun}))
		begin(t, b, storemanager.DeletionRequest{At: storetest.At(9), ByList: true, List: list(9, "second"), Origin: byRun})
	}
	for name, test := range map[string]struct {
		do   func(t *testing.T, b *storetest.Bundle)
		want []storemanager.AuditEntry
	}{
		"an event": {func(t *testing.T, b *storetest.Bundle) {
			_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(1), Origin: bySender})
			require.NoError(t, err)
			begin(t, b, storemanager.DeletionRequest{At: storetest.At(2), Origin: bySender})
			stop(t, b, storemanager.StopRequest{Origin: bySystem, Recheck: list(7, "third")})
		}, []storemanager.AuditEntry{
			decision("ensure", "exists", "", bySender, nil),
			decision("deletion", "scheduled", dueNow, bySender, of(byEvent)),
			decision("stop", "stopped", "", bySender, stopped(byEvent, list(0, "third"))),
		}},
		"two lists": {func(t *testing.T, b *storetest.Bundle) {
			beginByLists(t, b)
			stop(t, b, storemanager.StopRequest{Recheck: list(7, "third")})
		}, []storemanager.AuditEntry{
			{
				At: storetest.T0, Kind: "list", Outcome: "first_sighting", Detail: storetest.ID + " is not in the list", Origin: byRun,
				Evidence: &storemanager.Evidence{Lists: []storemanager.ListRef{list(5, "first")}, StoreIDs: []string{storetest.ID}},
			},
			decision("deletion", "scheduled", dueNow, byRun, of(byLists)),
			decision("stop", "stopped", "", byRun, stopped(byLists, list(0, "third"))),
		}},
		"an event that confirms two lists": {func(t *testing.T, b *storetest.Bundle) {
			beginByLists(t, b)
			begin(t, b, storemanager.DeletionRequest{At: storetest.At(2), Origin: bySender})
		}, []storemanager.AuditEntry{
			decision("deletion", "scheduled", dueNow, bySender, of(storemanager.Deletion{
				EventAt: storetest.At(9), Since: storetest.T0, DeleteAt: storetest.T0, Owner: "run", Cause: storemanager.Cause{Origin: bySender},
			})),
		}},
		"an event that is confirmed by two lists": {func(t *testing.T, b *storetest.Bundle) {
			begin(t, b, storemanager.DeletionRequest{At: storetest.At(2), Origin: bySender})
			begin(t, b, storemanager.DeletionRequest{At: storetest.At(2), ByList: true, List: list(2, "second"), Origin: byRun})
		}, []storemanager.AuditEntry{
			decision("deletion", "scheduled", dueNow, bySender, of(byEvent)),
			decision("deletion", "scheduled", dueNow, byRun, of(byEvent)),
		}},
		"the end of a deletion": {func(t *testing.T, b *storetest.Bundle) {
			begin(t, b, storemanager.DeletionRequest{At: storetest.At(2), Origin: bySender})
			_, err := b.TakeOverDeletion(t.Context(), storemanager.TakeOverRequest{StoreID: storetest.ID, Owner: "another", Origin: bySystem})
			require.NoError(t, err)
			_, err = b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID, Origin: byOps})
			require.NoError(t, err)
		}, func() []storemanager.AuditEntry {
			taken := byEvent
			taken.Owner = "another"
			return []storemanager.AuditEntry{
				decision("deletion", "resumed", dueNow, bySystem, of(taken)), decision("cancel_deletion", "done", "", byOps, of(taken)),
			}
		}()},
		"an operator": {func(t *testing.T, b *storetest.Bundle) {
			_, err := b.Hold(t.Context(), storetest.ID, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a"}, Origin: byOps})
			require.NoError(t, err)
			_, err = b.Release(t.Context(), storemanager.ReleaseRequest{StoreID: storetest.ID, Origin: byOps})
			require.NoError(t, err)
			_, err = b.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: storetest.ID, Reason: "r", Actor: "a"}})
			require.NoError(t, err)
			require.NoError(t, b.Resume(t.Context(), storemanager.ResumeRequest{StoreID: storetest.ID, Origin: byOps}))
		}, []storemanager.AuditEntry{
			decision("hold", "done", "by a: r", byOps, &storemanager.Evidence{Hold: &storemanager.Hold{Reason: "r", Actor: "a", Since: storetest.T0}}),
			decision("release", "done", "", byOps, nil),
			decision("pause", "done", "by a: r", byOperator, nil), decision("resume", "done", "", byOps, nil),
		}},
		"a setting": {func(t *testing.T, b *storetest.Bundle) {
			b.MustPin(t, storetest.ID)
			b.MustPin(t, storetest.ID)
			b.MustPin(t)
		}, []storemanager.AuditEntry{decision("pin", "done", "STORE_IDS", bySettings, nil), decision("unpin", "done", "STORE_IDS", bySettings, nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, func(t *testing.T, b *storetest.Bundle) {
				b.MustEnsure(t, 1)
				test.do(t, b)
				got := after(t, b, 1)
				require.Equal(t, test.want, got[max(0, len(got)-len(test.want)):])
			})
		})
	}
}

func (on suite) TestTheAuditTrailTellsWhatConcernsAllStores(t *testing.T) {
	t.Parallel()
	entry := func(kind storemanager.AuditKind, outcome, detail string, by storemanager.Origin, evidence *storemanager.Evidence) storemanager.AuditEntry {
		return storemanager.AuditEntry{At: storetest.T0, Kind: kind, Outcome: outcome, Detail: detail, Origin: by, Evidence: evidence}
	}
	plain, refusedBy := byRun, byRun
	plain.Plan, plain.Actor, refusedBy.Source = "", "", storemanager.SourceOperator
	approver := refusedBy
	run := func(change func(*storemanager.ReconcileRun)) storemanager.ReconcileRun {
		run := storemanager.ReconcileRun{RunID: "run-1", StartedAt: storetest.At(-9), CompletedAt: storetest.T0, Origin: byRun, Summary: "all is well"}
		change(&run)
		return run
	}
	lists := []storemanager.ListRef{list(-9, "first"), list(-1, "last")}
	settings := func(version string, values map[string]string) storemanager.Settings {
		return storemanager.Settings{Process: "worker on a", Version: version, Values: values}
	}
	byWorker := bySettings
	byWorker.Actor = "worker on a"
	for name, test := range map[string]struct {
		do   func(t *testing.T, b *storetest.Bundle) error
		want []storemanager.AuditEntry
	}{
		"a run": {func(t *testing.T, b *storetest.Bundle) error {
			return b.RecordReconcile(t.Context(), run(func(r *storemanager.ReconcileRun) { r.Origin, r.Lists = plain, lists }))
		}, []storemanager.AuditEntry{entry("run", "succeeded", "all is well", plain, &storemanager.Evidence{Lists: lists})}},
		"a run that failed, of an older version": {func(t *testing.T, b *storetest.Bundle) error {
			return b.RecordReconcile(t.Context(), run(func(r *storemanager.ReconcileRun) {
				r.Origin, r.Error, r.Actor = storemanager.Origin{}, "no list", "bob"
			}))
		}, []storemanager.AuditEntry{
			entry("run", "failed", "no list", storemanager.Origin{Source: storemanager.SourceReconcile, RunID: "run-1", Actor: "bob"}, nil),
		}},
		"an approval": {func(t *testing.T, b *storetest.Bundle) error {
			return b.RecordReconcile(t.Context(), run(func(r *storemanager.ReconcileRun) { r.ApprovedListAt = new(storetest.At(-1)) }))
		}, []storemanager.AuditEntry{entry("approval", "approved", "all is well", approver, nil), entry("run", "succeeded", "all is well", byRun, nil)}},
		"an approval of nothing": {func(t *testing.T, b *storetest.Bundle) error {
			return b.RecordReconcile(t.Context(), run(func(*storemanager.ReconcileRun) {}))
		}, []storemanager.AuditEntry{entry("approval", "nothing_removed", "all is well", approver, nil), entry("run", "succeeded", "all is well", byRun, nil)}},
		"an approval that is refused": {func(t *testing.T, b *storetest.Bundle) error {
			err := b.RecordReconcile(t.Context(), run(func(r *storemanager.ReconcileRun) { r.Refused, r.Error = true, "the plan has changed" }))
			kept, readErr := b.Reconciliation(t.Context())
			require.NoError(t, readErr)
			require.Zero(t, kept.Runs, "it is no run that failed")
			return err
		}, []storemanager.AuditEntry{entry("approval", "refused", "the plan has changed", refusedBy, nil)}},
		"the guard": {func(t *testing.T, b *storetest.Bundle) error {
			for _, m := range []storemanager.ListMarks{
				{Guard: storemanager.GuardCleared},
				{Guard: storemanager.GuardKeepsBack, GuardReason: "60 stores"},
				{Guard: storemanager.GuardKeepsBack, GuardReason: "61 stores"},
				{Guard: storemanager.GuardCleared},
			} {
				m.ListAt, m.Origin = storetest.T0, plain
				require.NoError(t, b.MarkUnlisted(t.Context(), m))
			}
			return nil
		}, []storemanager.AuditEntry{entry("guard", "keeps_back", "60 stores", plain, nil), entry("guard", "cleared", "", plain, nil)}},
		"a loss": {func(t *testing.T, b *storetest.Bundle) error {
			b.Registry.Lose(t, "the file", storetest.T0) // behind the registry's back
			_, err := b.RestoreDeletion(t.Context(), storemanager.RestoreRequest{
				StoreID: storetest.ID, EventAt: storetest.At(2), DeleteAt: storetest.T0, Owner: "run", Origin: bySender,
			})
			require.NoError(t, err)
			return b.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "r", Actor: "a", Origin: storemanager.Origin{Via: "api"}})
		}, []storemanager.AuditEntry{
			decision("deletion", "restored", "due "+storetest.T0.Format(time.RFC3339), bySender, &storemanager.Evidence{Deletion: &storemanager.Deletion{
				EventAt: storetest.At(2), Since: storetest.T0, DeleteAt: storetest.T0, Owner: "run", Cause: storemanager.Cause{Origin: bySender},
			}}),
			entry("acknowledge", "done", "by a: r", storemanager.Origin{Source: "operator", Actor: "a", Reason: "r", Via: "api"}, nil),
		}},
		"a loss that an approval ends": {func(t *testing.T, b *storetest.Bundle) error {
			b.Registry.Lose(t, "the file", storetest.At(-5))
			return b.RecordReconcile(t.Context(), run(func(r *storemanager.ReconcileRun) { r.ApprovedListAt = new(storetest.At(-1)) }))
		}, []storemanager.AuditEntry{
			entry("approval", "approved", "all is well", approver, nil), entry("run", "succeeded", "all is well", byRun, nil),
			entry("acknowledge", "done", "by ann: the approved plan of run run-1", byRun, nil),
		}},
		"a batch": {func(t *testing.T, b *storetest.Bundle) error {
			return b.NoteBatch(t.Context(), storemanager.Batch{Verb: "hold", Origin: byOps, StoreIDs: []string{"store-1", "store-2"}})
		}, []storemanager.AuditEntry{entry("batch", "hold", "2 stores, from store-1 to store-2", byOps, &storemanager.Evidence{StoreIDs: []string{"store-1", "store-2"}})}},
		"settings": {func(t *testing.T, b *storetest.Bundle) error {
			for _, s := range []storemanager.Settings{
				settings("1", map[string]string{"A": "1", "B": "2", "C": "3"}), settings("1", map[string]string{"A": "1", "B": "2", "C": "3"}),
				settings("2", map[string]string{"A": "1", "B": "", "D": "4"}),
				{Process: "edge on a", Version: "9"},
			} {
				require.NoError(t, b.NoteSettings(t.Context(), s))
			}
			return nil
		}, []storemanager.AuditEntry{
			entry("setting", "changed", "version: 1 → 2", byWorker, nil), entry("setting", "changed", "B: 2 → (empty)", byWorker, nil),
			entry("setting", "changed", "C: 3 → (empty)", byWorker, nil), entry("setting", "changed", "D: (empty) → 4", byWorker, nil),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, func(t *testing.T, b *storetest.Bundle) {
				require.NoError(t, test.do(t, b))
				require.Equal(t, test.want, after(t, b, 0))
			})
		})
	}
}

func (on suite) TestWhatWasAdoptedAndWhatWasLostIsInTheAuditTrail(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	for range 2 {
		require.NoError(t, b.Registry.AdoptUnknown(t.Context(), []registry.Adoption{{StoreID: "unknown-1"}, {StoreID: "unknown-2"}}))
		_, err := b.Registry.Adopt(t.Context(), registry.Adoption{StoreID: "adopted"})
		require.NoError(t, err)
	}
	_, err := b.RestoreDeletion(t.Context(), storemanager.RestoreRequest{StoreID: storetest.ID, EventAt: storetest.T0, DeleteAt: storetest.T0, Owner: "run"})
	require.NoError(t, err)
	var got []string
	for _, e := range after(t, b, 0) {
		got = append(got, fmt.Sprintf("%s %s %s %s", e.Source, e.Kind, e.Outcome, e.StoreID))
	}
	require.Equal(t, []string{
		"system ensure adopted unknown-1", "system ensure adopted unknown-2", "system ensure adopted adopted",
		" deletion restored " + storetest.ID, "system loss found ",
	}, got)
}
