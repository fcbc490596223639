package registrytest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/storetest"
)

// The tests of this file ask the driver itself, where a Registry would not notice what it does otherwise.

// driver opens a database of its own.
func (on suite) driver(t *testing.T) registry.Driver {
	t.Helper()
	return on.open(t, storetest.Settings{Path: filepath.Join(t.TempDir(), "registry.db"), Now: storetest.NewClock().Now}).Driver
}

func change(t *testing.T, d registry.Driver, steps ...func(tx registry.Tx) error) {
	t.Helper()
	require.NoError(t, d.Change(t.Context(), func(tx registry.Tx) error {
		for _, step := range steps {
			if err := step(tx); err != nil {
				return err
			}
		}
		return nil
	}))
}

func saving(t *testing.T, records ...registry.Record) func(registry.Tx) error {
	return func(tx registry.Tx) error {
		provisioned := 0
		for _, s := range records {
			if err := tx.SaveRecord(t.Context(), s); err != nil {
				return err
			}
			if s.Monitored() {
				provisioned++
			}
		}
		tx.Count(provisioned, 0, storetest.T0)
		return nil
	}
}

// oddText has what some databases, collations and encodings trip over.
const oddText = "a'b\"c\\d%_\n\t\x00ü€😀  "

// monitoredRecord and tombstone are the least that a record of either kind has.
func monitoredRecord(id string) registry.Record {
	return registry.Record{ID: id, EventAt: storetest.T0, FirstMonitoredAt: storetest.T0, LastEnsuredAt: storetest.T0}
}

func tombstone(id string, at time.Time) registry.Record {
	return registry.Record{ID: id, EventAt: storetest.T0, TombstoneAt: at}
}

func pendingRecord(id string, since, deleteAt time.Time) registry.Record {
	s := monitoredRecord(id)
	s.Deletion = storemanager.Deletion{EventAt: storetest.T0, Since: since, DeleteAt: deleteAt, Owner: "run"}
	return s
}

func (on suite) TestDriverKeepsARecordExactly(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	at := func(n int) time.Time { return storetest.T0.Add(time.Duration(n) * time.Microsecond) }
	full := registry.Record{
		ID: "full", EventAt: at(1), CreatedBy: oddText, FirstMonitoredAt: at(2), LastEnsuredAt: at(3), LastStoppedAt: at(4), UnlistedSince: at(5),
		ListedSince: at(6), ListedAt: at(7), Pinned: true,
		UnlistedBy: oddText, UserID: oddText,
		Deletion: storemanager.Deletion{EventAt: at(8), Since: at(9), DeleteAt: at(10), ByList: true, Owner: oddText, Cause: storemanager.Cause{
			Origin: someOrigin, FirstList: storemanager.ListRef{At: at(14), Hash: oddText, Entries: 1}, SecondList: storemanager.ListRef{At: at(15), Hash: "h"},
		}},
		CancelledEventAt: at(11), StoppedBy: oddText,
		Hold: storemanager.Hold{Reason: oddText, Actor: oddText, Since: at(12), ExpiresAt: new(at(13))},
	}
	for _, want := range []registry.Record{
		full, monitoredRecord("monitored"), tombstone("tombstone", at(1)),
		{ID: "early", EventAt: time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), FirstMonitoredAt: time.UnixMicro(0).UTC(), LastEnsuredAt: time.UnixMicro(-1).UTC()},
		{ID: "late", EventAt: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)},
		{ID: "full", EventAt: at(1), Deletion: storemanager.Deletion{DeleteAt: at(2)}}, // nothing is left of the one before
	} {
		change(t, d, saving(t, want), func(tx registry.Tx) error {
			got, err := tx.Record(t.Context(), want.ID)
			require.Equal(t, want, got)
			return err
		})
		got, err := d.Record(t.Context(), want.ID)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	unknown, err := d.Record(t.Context(), "unknown")
	require.NoError(t, err)
	require.Equal(t, registry.Record{ID: "unknown"}, unknown)
}

func (on suite) TestDriverChangesAllOrNothing(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	moments := registry.Moments{Now: storetest.T0, PendingBefore: storetest.T0, OverdueBefore: storetest.T0, RemovedAfter: storetest.T0}
	everything := func(tx registry.Tx) error {
		ctx := t.Context()
		tx.Count(1, 1, storetest.At(1))
		_, acknowledged := tx.Acknowledge(ctx, storemanager.Acknowledgement{Reason: "r", Actor: "a"}, storetest.T0, nil)
		_, dropped := tx.DropPause(ctx, "kept")
		_, unpinned := tx.Unpin(ctx)
		_, kept := tx.KeepBack(ctx, "r", storetest.T0)
		return errors.Join(
			acknowledged, dropped, unpinned, kept, tx.SaveRecord(ctx, monitoredRecord("new")), tx.Append(ctx, numbered("new", 1)),
			tx.PruneAudit(ctx, storetest.At(1), 2), tx.SavePause(ctx, storemanager.Pause{Since: storetest.T0, Reason: "r", Actor: "a"}),
			tx.SaveSettings(ctx, storemanager.Settings{Process: "kept", Version: "2"}),
			tx.SaveRun(ctx, storemanager.ReconcileRun{RunID: "new", StartedAt: storetest.T0, CompletedAt: storetest.T0}, 9),
			tx.NoteLoss(ctx, "new", storetest.T0), tx.SaveCursors(ctx, map[string]registry.Cursor{"new": {BackendID: "B", Seq: 1}, "kept": {BackendID: "C", Seq: 1}}),
			tx.NoteListRemoval(ctx, "new", storetest.At(1), storetest.At(1), storetest.T0), tx.Prune(ctx, storetest.At(9)),
		)
	}
	pinned := monitoredRecord("kept")
	pinned.Pinned = true
	change(t, d, saving(t, pinned, tombstone("old", storetest.T0)), func(tx registry.Tx) error {
		return errors.Join(
			tx.Append(t.Context(), numbered("kept", 0)), tx.Append(t.Context(), numbered("old", 0)), tx.NoteLoss(t.Context(), "kept", storetest.T0),
			tx.SaveSettings(t.Context(), storemanager.Settings{Process: "kept", Version: "1"}),
			tx.SaveCursors(t.Context(), map[string]registry.Cursor{"kept": {BackendID: "B", Seq: 1}, "old": {BackendID: "B", Seq: 1}}),
			tx.SavePause(t.Context(), storemanager.Pause{StoreID: "kept", Since: storetest.T0, Reason: "r", Actor: "a"}),
		)
	})
	snapshot := func() (all []any) {
		keep := func(v any, err error) {
			require.NoError(t, err)
			all = append(all, v)
		}
		ctx := t.Context()
		for _, id := range []string{"kept", "new", "old"} {
			record, err := d.Record(ctx, id)
			keep(record, err)
			entries, err := d.Audit(ctx, storemanager.AuditQuery{StoreID: id, Limit: 9})
			keep(entries, err)
			cursor, err := d.Cursor(ctx, id)
			keep(cursor, err)
		}
		counts, err := d.Counts(ctx, moments)
		keep(counts, err)
		pauses, err := d.Pauses(ctx, "", "~", storetest.T0)
		keep(pauses, err)
		runs, err := d.Runs(ctx)
		keep(runs, err)
		loss, err := d.Loss(ctx)
		keep(loss, err)
		return all
	}
	before := snapshot()
	errRule := errors.New("a rule refuses")
	require.Equal(t, errRule, d.Change(t.Context(), func(tx registry.Tx) error {
		require.NoError(t, everything(tx))
		require.Equal(t, before, snapshot(), "nobody sees what is not committed")
		return errRule
	}))
	require.Equal(t, before, snapshot())
	require.Panics(t, func() {
		_ = d.Change(t.Context(), func(tx registry.Tx) error {
			require.NoError(t, everything(tx))
			panic("a mistake")
		})
	})
	require.Equal(t, before, snapshot())
	change(t, d, everything)
	for i, now := range snapshot() {
		require.NotEqual(t, before[i], now, "part %d", i)
	}
}

func (on suite) TestDriverMakesOneChangeAtATimeAndEachOnce(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	const changes = 40
	var calls, underWay atomic.Int64
	var wg sync.WaitGroup
	for range changes {
		wg.Go(func() {
			err := d.Change(t.Context(), func(tx registry.Tx) error {
				calls.Add(1)
				if underWay.Add(1) != 1 {
					return errors.New("two at a time")
				}
				defer underWay.Add(-1)
				newest, err := tx.NewestEntry(t.Context(), storetest.ID)
				return errors.Join(err, tx.Append(t.Context(), storemanager.AuditEntry{At: newest.At.Add(time.Second), Kind: "k", StoreID: storetest.ID}))
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, changes, calls.Load())
	newest, err := d.Audit(t.Context(), storemanager.AuditQuery{StoreID: storetest.ID, Limit: 1})
	require.NoError(t, err)
	require.Equal(t, time.Time{}.Add(changes*time.Second), newest[0].At, "each saw the one before it")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, d.Change(ctx, func(registry.Tx) error { panic("not called") }), context.Canceled)
}

func (on suite) TestDriverListsFromAfterTheCursorUpToTheLimit(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	unsettled := monitoredRecord("Cunlisted")
	unsettled.UnlistedSince = storetest.T0
	untold := monitoredRecord("d-untold")
	untold.EventAt = time.UnixMicro(999_999).UTC()
	change(t, d, saving(t, pendingRecord("b-pending", storetest.T0, storetest.T0), monitoredRecord("_underscore"), monitoredRecord("a-a"), unsettled,
		tombstone("a-gone", storetest.T0), untold, pendingRecord("B-pending", storetest.T0, storetest.T0)))
	all := []string{"B-pending", "Cunlisted", "_underscore", "a-a", "b-pending", "d-untold"} // by bytes
	got, err := d.MonitoredIDs(t.Context())
	require.NoError(t, err)
	require.Equal(t, all, got)
	for _, after := range append([]string{"", "0", "a", "a-gone", "zzz"}, all...) {
		for limit := 1; limit <= len(all)+1; limit++ {
			var want, pending []string
			for _, id := range all {
				if id > after && len(want) < limit {
					want = append(want, id)
				}
				if id > after && strings.HasSuffix(id, "pending") && len(pending) < limit {
					pending = append(pending, id)
				}
			}
			require.Equal(t, want, records(t, d, after, limit, false), "after %q, %d", after, limit)
			require.Equal(t, pending, records(t, d, after, limit, true), "after %q, %d", after, limit)
			ids, first, err := d.IDs(t.Context(), after, limit)
			require.NoError(t, err)
			require.Equal(t, want, slices.Concat(nil, ids), "after %q, %d", after, limit)
			wantFirst := ""
			for _, id := range want {
				if wantFirst == "" && id != "_underscore" && id != "a-a" {
					wantFirst = id
				}
			}
			require.Equal(t, wantFirst, first, "after %q, %d", after, limit)
		}
	}
	for range 20 { // whoever stops early leaves nothing behind
		for s, err := range d.Records(t.Context(), "", 9, false) {
			require.NoError(t, err)
			require.Equal(t, all[0], s.ID)
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for _, err := range d.Records(ctx, "", 9, false) {
		require.Error(t, err)
		n++
	}
	require.Equal(t, 1, n, "an error ends it")
}

func records(t *testing.T, d registry.Driver, after string, limit int, pending bool) (ids []string) {
	t.Helper()
	for s, err := range d.Records(t.Context(), after, limit, pending) {
		require.NoError(t, err)
		require.False(t, s.EventAt.IsZero())
		ids = append(ids, s.ID)
	}
	return ids
}

func (on suite) TestDriverCountsUpToEachBound(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	now, tick := storetest.At(100), time.Microsecond
	held := func(id string, expires *time.Time) registry.Record {
		s := monitoredRecord(id)
		s.Hold = storemanager.Hold{Reason: "r", Actor: "a", Since: storetest.T0, ExpiresAt: expires}
		return s
	}
	pinned := monitoredRecord("pinned")
	pinned.Pinned = true
	change(t, d, saving(t,
		pendingRecord("of-an-older-version", time.Time{}, now), pendingRecord("long", storetest.At(50), now), pendingRecord("not-long", storetest.At(50).Add(tick), now),
		pendingRecord("overdue", now, storetest.At(40)), pendingRecord("not-overdue", now, storetest.At(40).Add(tick)),
		held("for-ever", nil), held("still", new(now.Add(tick))), held("no-longer", new(now)), pinned, tombstone("gone", storetest.T0),
	), func(tx registry.Tx) (err error) {
		for scope, expires := range map[string]*time.Time{"": nil, "p-1": nil, "p-2": new(now.Add(tick)), "p-3": new(now)} {
			err = errors.Join(err, tx.SavePause(t.Context(), storemanager.Pause{StoreID: scope, Since: storetest.T0, ExpiresAt: expires, Reason: "r", Actor: "a"}))
		}
		for i, at := range []time.Time{storetest.At(30), storetest.At(30).Add(tick), storetest.At(31), storetest.At(32)} {
			err = errors.Join(err, tx.NoteListRemoval(t.Context(), fmt.Sprint("removed-", i), storetest.At(i), at, storetest.T0))
		}
		tx.Count(0, 0, storetest.At(99)) // says nothing of the moments
		tx.Count(2, 0, storetest.At(7))
		return err
	})
	moments := registry.Moments{Now: now, PendingBefore: storetest.At(50), OverdueBefore: storetest.At(40), RemovedAfter: storetest.At(30)}
	counts := func() registry.Counts {
		t.Helper()
		n, err := d.Counts(t.Context(), moments)
		require.NoError(t, err)
		return n
	}
	n := counts()
	require.Equal(t, []int{5, 2, 1, 2, 1, 1, 2, 3},
		[]int{n.DeletionPending, n.DeletionPendingLong, n.DeletionOverdue, n.Held, n.Pinned, n.Tombstones, n.PausedStores, n.ListRemovals})
	require.Equal(t, []*time.Time{new(storetest.At(50)), new(storetest.At(40))}, []*time.Time{n.OldestDeletionAt, n.FirstDeletionDueAt})
	require.EqualValues(t, 9+2, n.TotalProvisioned)
	require.Equal(t, new(storetest.At(7)), n.LastProvisionedAt)
	require.Nil(t, n.LastStoppedAt)
	change(t, d, func(tx registry.Tx) error {
		tx.Count(0, 2, storetest.At(8))
		return tx.Approve(t.Context(), storetest.At(2))
	})
	n = counts()
	require.Equal(t, 1, n.ListRemovals, "what was asked for by the approved list and before is approved")
	require.Equal(t, 9, n.Monitored)
	require.EqualValues(t, 2, n.TotalStopped)
	require.Equal(t, new(storetest.At(7)), n.LastProvisionedAt)
	require.Equal(t, new(storetest.At(8)), n.LastStoppedAt)
	change(t, d, func(tx registry.Tx) error {
		return tx.NoteListRemoval(t.Context(), "another", storetest.At(9), storetest.At(90), storetest.At(32))
	})
	moments.RemovedAfter = storetest.T0
	require.Equal(t, 1, counts().ListRemovals, "those of the oldest moment and before are forgotten")
}

func (on suite) TestDriverPrunesWhatIsOlder(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	ids := []string{"monitored", "older", "just-old-enough"}
	change(t, d, saving(t, monitoredRecord(ids[0]), tombstone(ids[1], storetest.At(9)), tombstone(ids[2], storetest.At(10))), func(tx registry.Tx) (err error) {
		for _, id := range ids {
			err = errors.Join(err, tx.Append(t.Context(), numbered(id, 0)),
				tx.SaveCursors(t.Context(), map[string]registry.Cursor{id: {BackendID: "B", Seq: 1}}),
				tx.SavePause(t.Context(), storemanager.Pause{StoreID: id, Since: storetest.T0, Reason: "r", Actor: "a"}))
		}
		return err
	}, func(tx registry.Tx) error { return tx.Prune(t.Context(), storetest.At(10)) })
	for _, id := range ids {
		record, err := d.Record(t.Context(), id)
		require.NoError(t, err)
		entries, err := d.Audit(t.Context(), storemanager.AuditQuery{StoreID: id, Limit: 9})
		require.NoError(t, err)
		require.Len(t, entries, 1, id)
		cursor, err := d.Cursor(t.Context(), id)
		require.NoError(t, err)
		pause, err := d.Pause(t.Context(), id, storetest.T0)
		require.NoError(t, err)
		require.NotNil(t, pause, id)
		gone := id == "older"
		require.Equal(t, []bool{gone, gone}, []bool{record.Unknown(), cursor == registry.Cursor{}}, id)
	}
}

func (on suite) TestDriverFindsNoLossAfterACleanCloseAndIsUsedNoMoreThen(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	d := b.Registry.Driver
	change(t, d, saving(t, monitoredRecord(storetest.ID)))
	require.NoError(t, d.Ping(t.Context()))
	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "it may be called again")
	require.Error(t, d.Ping(t.Context()))
	require.Error(t, d.Change(t.Context(), func(registry.Tx) error { return nil }))
	again := on.open(t, storetest.Settings{Path: b.Path, Now: b.Clock.Now}).Driver
	loss, err := again.Loss(t.Context())
	require.NoError(t, err)
	require.Nil(t, loss)
	got, err := again.Record(t.Context(), storetest.ID)
	require.NoError(t, err)
	require.Equal(t, monitoredRecord(storetest.ID), got)
}
