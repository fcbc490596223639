package registrytest

import (
	"fmt"
	"strings"
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
			decision("hold", "done", "by a: r", byOps, nil), decision("release", "done", "", byOps, nil),
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
				{Guard: storemanager.GuardCleared}, {Guard: storemanager.GuardKeepsBack, GuardReason: "60 stores"},
				{Guard: storemanager.GuardKeepsBack, GuardReason: "61 stores"}, {Guard: storemanager.GuardCleared},
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
		}, []storemanager.AuditEntry{entry("batch", "hold", "", byOps, &storemanager.Evidence{StoreIDs: []string{"store-1", "store-2"}})}},
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

func (on suite) TestARetryIsLeftOutOfTheAuditTrailAndWhatSomebodyAsksForAgainIsNot(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		ensure := func(by storemanager.Origin) {
			_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(1), RequestID: "q", Origin: by})
			require.NoError(t, err)
			b.Clock.Set(b.Clock.Now().Add(time.Minute))
		}
		another, byAnother := bySender, bySystem
		another.DeliveryID, byAnother.Actor = "delivery-2", "another"
		for _, step := range []struct {
			by   storemanager.Origin
			kept bool
		}{
			{bySender, true}, {bySender, false}, {another, true}, {bySender, true}, {byOps, true}, {byOps, false},
			{bySystem, true}, {bySystem, false}, {storemanager.Origin{Source: "system", RunID: "2"}, false}, {byAnother, true}, {bySystem, true},
			{storemanager.Origin{}, true}, {storemanager.Origin{}, false},
		} {
			before := len(after(t, b, 0))
			ensure(step.by)
			require.Equal(t, step.kept, len(after(t, b, before)) == 1, "%+v", step.by)
		}
	})
}

func (on suite) TestALongListIsToldInItsParts(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		const parts, size = 3, 2 * storemanager.MaxNamed
		qs := storetest.Batch(0, parts*size, storetest.T0)
		_, err := b.EnsureBatch(t.Context(), qs)
		require.NoError(t, err)
		for range 2 { // the second time is a retry
			for part := range parts {
				m := storemanager.ListMarks{ListAt: storetest.At(1), List: list(1, "first"), Origin: byRun}
				for _, q := range qs[part*size : (part+1)*size] {
					m.Unlisted = append(m.Unlisted, q.StoreID)
				}
				require.NoError(t, b.MarkUnlisted(t.Context(), m))
			}
		}
		entries := b.MustAudit(t, storemanager.AuditQuery{Kinds: []storemanager.AuditKind{storemanager.AuditList}})
		require.Len(t, entries, parts)
		first := entries[parts-1]
		require.Equal(t, fmt.Sprintf("40 stores are not in the list, from %s to %s", qs[0].StoreID, qs[size-1].StoreID), first.Detail)
		require.Len(t, first.Evidence.StoreIDs, storemanager.MaxNamed)
		require.Equal(t, qs[0].StoreID, first.Evidence.StoreIDs[0])
	})
}

func (on suite) TestAnEntryIsKeptForTheRetentionAndLongerThanItsStore(t *testing.T) {
	t.Parallel()
	b := &storetest.Bundle{Clock: storetest.NewClock()}
	const retention = 90 * 24 * time.Hour
	b.Registry = on.open(t, storetest.Settings{Now: b.Clock.Now, AuditRetention: retention})
	b.Manager = b.Registry
	hold := func(n int) {
		b.MustHold(t, storemanager.Hold{Reason: fmt.Sprint(n), Actor: "a"})
	}
	b.MustEnsure(t, 1)
	for i := range 8 {
		hold(i)
	}
	b.Clock.Set(storetest.T0.Add(retention))
	hold(8)
	require.Len(t, after(t, b, 0), 10, "so old is not too old")
	b.Clock.Set(storetest.T0.Add(retention + time.Microsecond))
	for i, left := range []int{8, 6, 4, 5} {
		hold(9 + i)
		require.Len(t, after(t, b, 0), left, "a few make room for each new one")
	}
}

func (on suite) TestTheDefaultRetentionIsFourHundredDays(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.MustEnsure(t, 1)
	b.Clock.Set(storetest.T0.Add(400 * 24 * time.Hour))
	b.MustHold(t, storetest.SomeHold)
	require.Len(t, after(t, b, 0), 2)
	b.Clock.Set(b.Clock.Now().Add(time.Microsecond))
	b.MustPause(t, onePaused)
	require.Len(t, after(t, b, 0), 2)
}

func (on suite) TestATransactionThatFailsLeavesNoEntry(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.MustEnsure(t, 1)
	begin(t, b, storemanager.DeletionRequest{At: storetest.At(2), Origin: bySender})
	before := after(t, b, 0)
	b.Registry.Lose(t, "the file", storetest.T0)
	_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: storetest.T0})
	require.ErrorIs(t, err, storemanager.ErrLossUnacknowledged)
	require.Error(t, b.NoteBatch(t.Context(), storemanager.Batch{Verb: "hold", StoreIDs: []string{storetest.ID}}))
	require.Equal(t, before, after(t, b, 0))
}

func (on suite) TestWhatGoesIntoTheAuditTrailIsBounded(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		long := strings.Repeat("ü", 2*storemanager.MaxText)
		by := storemanager.Origin{
			Source: storemanager.Source(long), Actor: long, Via: long, Reason: long, DeliveryID: long, RunID: long, RequestID: long, TraceID: long, Batch: long, Plan: long,
		}
		b.MustEnsure(t, 1)
		hash := storemanager.ListRef{Hash: long}
		require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(5), Unlisted: []string{storetest.ID}, List: hash, Origin: by}))
		begin(t, b, storemanager.DeletionRequest{At: storetest.At(9), ByList: true, List: hash, Origin: by})
		stop(t, b, storemanager.StopRequest{Recheck: hash, Origin: by})
		require.NoError(t, b.RecordReconcile(t.Context(), storemanager.ReconcileRun{
			RunID: "run-1", StartedAt: storetest.T0, CompletedAt: storetest.T0, Origin: by, Summary: long, Lists: []storemanager.ListRef{hash, hash},
		}))
		entries := after(t, b, 1)
		require.Len(t, entries, 5)
		for _, e := range entries {
			for _, text := range []string{string(e.Source), e.Actor, e.Via, e.Reason, e.DeliveryID, e.RunID, e.RequestID, e.TraceID, e.Batch, e.Plan, e.Detail} {
				require.LessOrEqual(t, len(text), storemanager.MaxText)
			}
		}
		stopped := entries[2].Evidence
		for _, l := range append(entries[4].Evidence.Lists, stopped.Recheck, stopped.Deletion.Cause.FirstList, stopped.Deletion.Cause.SecondList) {
			require.NotEmpty(t, l.Hash)
			require.LessOrEqual(t, len(l.Hash), storemanager.MaxText)
		}
		require.ErrorIs(t, b.RecordReconcile(t.Context(), storemanager.ReconcileRun{
			RunID: "run-2", StartedAt: storetest.T0, CompletedAt: storetest.T0, Lists: make([]storemanager.ListRef, 3),
		}), storemanager.ErrInvalid)
	})
}

func (on suite) TestThePagesOfTheAuditTrailHaveAllThatWasThereAtTheFirst(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		b.MustEnsure(t, 1)
		for i := range 9 {
			b.MustHold(t, storemanager.Hold{Reason: fmt.Sprint(i), Actor: "a"})
		}
		for _, oldest := range []bool{false, true} {
			want := b.MustAudit(t, storemanager.AuditQuery{OldestFirst: oldest})
			q := storemanager.AuditQuery{StoreID: storetest.ID, OldestFirst: oldest, Limit: 5}
			var got []storemanager.AuditEntry
			for pages := 1; ; pages++ {
				page, err := b.Audit(t.Context(), q)
				require.NoError(t, err)
				got = append(got, page.Entries...)
				if q.Cursor = page.NextCursor; q.Cursor == 0 {
					require.Equal(t, len(want)/5, pages, "the last page knows that it is the last")
					break
				}
			}
			for i := range got {
				got[i].Seq = 0
			}
			require.Equal(t, want, got)
		}
		for _, q := range []storemanager.AuditQuery{
			{StoreID: "a/b"}, {Limit: -1}, {Limit: storemanager.MaxBatch + 1}, {Cursor: -1}, {Kinds: []storemanager.AuditKind{"ensure", "none"}},
		} {
			_, err := b.Audit(t.Context(), q)
			require.ErrorIs(t, err, storemanager.ErrInvalid, "%+v", q)
		}
	})
}
