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
