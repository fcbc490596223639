package registrytest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestTheHistoryTellsEachDecision(t *testing.T) {
	t.Parallel()
	ensure := func(t *testing.T, b *storetest.Bundle, seconds int, requestID string) {
		_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(seconds), RequestID: requestID})
		require.NoError(t, err)
	}
	for name, test := range map[string]func(t *testing.T, b *storetest.Bundle){
		"each decision is one, the newest first": func(t *testing.T, b *storetest.Bundle) {
			now := 0
			step := func() { now++; b.Clock.Set(storetest.At(now)) }
			b.MustEnsure(t, 1)
			step()
			b.MustBegin(t, 5, "internal-run-id")
			step()
			_, err := b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			step()
			b.MustHold(t, storemanager.Hold{Reason: "r", Actor: "a", ExpiresAt: new(storetest.At(50))})
			step()
			b.MustBegin(t, 6, "run")
			step()
			_, err = b.Release(t.Context(), storemanager.ReleaseRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			step()
			b.MustPause(t, onePaused)
			step()
			b.MustResume(t, storetest.ID)
			step()
			b.MustBegin(t, 7, "run")
			b.Clock.Set(storetest.At(100))
			b.MustStop(t, "run")
			require.Equal(t, []storemanager.AuditEntry{
				entry(storetest.At(100), "stop", "stopped", ""),
				entry(storetest.At(8), "deletion", "scheduled", "due 2026-11-23T12:01:40Z"),
				entry(storetest.At(7), "resume", "done", ""),
				entry(storetest.At(6), "pause", "done", "by ops@example.com: under repair"),
				entry(storetest.At(5), "release", "done", ""),
				entry(storetest.At(4), "deletion", "held", "by a until 2026-11-23T12:00:50Z: r"),
				entry(storetest.At(3), "hold", "done", "by a until 2026-11-23T12:00:50Z: r"),
				entry(storetest.At(2), "cancel_deletion", "done", ""),
				entry(storetest.At(1), "deletion", "scheduled", "due 2026-11-23T12:01:40Z"),
				entry(storetest.At(0), "ensure", "created", ""),
			}, b.MustHistory(t))
		},
		"what nobody else asks for is told once an hour": func(t *testing.T, b *storetest.Bundle) {
			ensure(t, b, 1, "delivery-1")
			for i := range 20 {
				b.Clock.Set(storetest.At(10 + i))
				ensure(t, b, 1, "reconcile/"+fmt.Sprint(i))
			}
			b.Clock.Set(storetest.At(10 + 3600).Add(-time.Microsecond))
			ensure(t, b, 1, "reconcile/again")
			b.Clock.Set(storetest.At(10 + 3600))
			ensure(t, b, 1, "reconcile/an-hour-later")
			require.Equal(t, []storemanager.AuditEntry{
				entry(storetest.At(3610), "ensure", "exists", "from reconciliation"),
				entry(storetest.At(10), "ensure", "exists", "from reconciliation"),
				entry(storetest.At(0), "ensure", "created", ""),
			}, b.MustHistory(t))
		},
		"a store that reconciliation creates says so": func(t *testing.T, b *storetest.Bundle) {
			ensure(t, b, 1, "reconcile/1")
			require.Equal(t, []storemanager.AuditEntry{entry(storetest.T0, "ensure", "created", "from reconciliation")}, b.MustHistory(t))
		},
		"an ensure that cancels a deletion says so": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 5, "run")
			ensure(t, b, 6, "reconcile/1")
			require.Equal(t, entry(storetest.T0, "ensure", "exists", "from reconciliation, listed again, cancelled the pending deletion"), b.MustHistory(t)[0])
		},
		"what is refused as too old is one": func(t *testing.T, b *storetest.Bundle) {
			b.MustBegin(t, 5, "run")
			b.MustEnsure(t, 4)
			require.Equal(t, []storemanager.AuditEntry{entry(storetest.T0, "ensure", "stale", ""), entry(storetest.T0, "deletion", "already_stopped", "")}, b.MustHistory(t))
		},
		"what ended in an error or changed nothing is none": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 5, "run")
			before := b.MustHistory(t)
			_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
			require.ErrorIs(t, err, storemanager.ErrTooEarly)
			_, err = b.Hold(t.Context(), storetest.ID, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a", ExpiresAt: new(storetest.T0)}})
			require.ErrorIs(t, err, storemanager.ErrInvalid)
			_, err = b.Release(t.Context(), storemanager.ReleaseRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			b.MustResume(t, storetest.ID)
			require.Equal(t, before, b.MustHistory(t))
			_, err = b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			before = b.MustHistory(t)
			_, err = b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			require.Equal(t, before, b.MustHistory(t))
		},
		"the newest are shown": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			for i := range 3 * storemanager.ShownHistory {
				b.Clock.Set(storetest.At(i))
				b.MustHold(t, storemanager.Hold{Reason: fmt.Sprint("reason ", i), Actor: "a"})
			}
			events := b.MustHistory(t)
			require.Len(t, events, storemanager.ShownHistory)
			for i, e := range events {
				require.Equal(t, storetest.At(3*storemanager.ShownHistory-1-i), e.At)
			}
			require.Equal(t, 3*storemanager.ShownHistory+1, keptEntries(t, b, storetest.ID), "the trail has all of them")
		},
		"a batch has those of each store, and answers none": func(t *testing.T, b *storetest.Bundle) {
			qs := storetest.Batch(0, 3, storetest.T0)
			_, err := b.EnsureBatch(t.Context(), append(qs, qs[1], qs[1]))
			require.NoError(t, err)
			for i, want := range []int{1, 2, 1} {
				s, err := b.Get(t.Context(), qs[i].StoreID)
				require.NoError(t, err)
				require.Len(t, s.History, want)
			}
			page, err := b.List(t.Context(), storemanager.ListRequest{})
			require.NoError(t, err)
			for _, s := range page.Stores {
				require.Nil(t, s.History)
			}
			held, err := b.Hold(t.Context(), qs[0].StoreID, storemanager.HoldRequest{Hold: storetest.SomeHold})
			require.NoError(t, err)
			require.Nil(t, held.History)
		},
		"a store that is not known has none": func(t *testing.T, b *storetest.Bundle) {
			require.Equal(t, storemanager.StopAlreadyStopped, b.MustStop(t, "run"))
			require.Zero(t, keptEntries(t, b, storetest.ID))
		},
		"a pause is told of a store that is not known, too": func(t *testing.T, b *storetest.Bundle) {
			b.MustPause(t, onePaused)
			b.MustResume(t, storetest.ID)
			require.Equal(t, 2, keptEntries(t, b, storetest.ID))
		},
		"they outlive a pruned tombstone, and so does its pause": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			b.MustStop(t, "run")
			b.MustPause(t, onePaused)
			require.Len(t, b.MustHistory(t), 4)
			b.Clock.Set(storetest.At(100).Add(tombstoneRetention + time.Second))
			_, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: "another-one", At: storetest.At(200), DeleteAt: storetest.At(200), Owner: "run"})
			require.NoError(t, err)
			_, err = b.Get(t.Context(), storetest.ID)
			require.ErrorIs(t, err, storemanager.ErrNotFound)
			require.Equal(t, 4, keptEntries(t, b, storetest.ID))
			require.Equal(t, 1, keptEntries(t, b, "another-one"))
			b.MustEnsure(t, 300)
			require.Len(t, b.MustHistory(t), 5)
			require.NotNil(t, b.MustGet(t).Pause)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, test)
		})
	}
}

func (on suite) TestTheHistoryIsThereAfterClose(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.MustEnsure(t, 1)
	b.MustHold(t, storetest.SomeHold)
	before, err := b.Get(t.Context(), storetest.ID)
	require.NoError(t, err)
	require.Len(t, before.History, 2)
	require.NoError(t, b.Registry.Close())
	after, err := on.open(t, storetest.Settings{Path: b.Path, Now: b.Clock.Now}).Get(t.Context(), storetest.ID)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// keptEntries is how many entries the driver keeps of a store.
func keptEntries(t *testing.T, b *storetest.Bundle, id string) int {
	t.Helper()
	return len(auditOf(t, b.Registry.Driver, storemanager.AuditQuery{StoreID: id, Limit: storemanager.MaxBatch}))
}

func entry(at time.Time, kind storemanager.AuditKind, outcome, detail string) storemanager.AuditEntry {
	return storemanager.AuditEntry{At: at, Kind: kind, Outcome: outcome, Detail: detail}
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
			{bySender, true},
			{bySender, false},
			{another, true},
			{bySender, true},
			{byOps, true},
			{byOps, false},
			{bySystem, true},
			{bySystem, false},
			{storemanager.Origin{Source: "system", RunID: "2"}, false},
			{byAnother, true},
			{bySystem, true},
			{storemanager.Origin{}, true},
			{storemanager.Origin{}, false},
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
