package sqlite_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/storemanager/storetest"
)

const benchStores = 100_000

// filled is a registry on disk with benchStores stores in it.
func filled(b *testing.B) *storetest.Database {
	b.Helper()
	r, err := storetest.TryOpen(b.Context(), storetest.Settings{Path: filepath.Join(b.TempDir(), "registry.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	storetest.Fill(b, r, benchStores)
	return r
}

func BenchmarkEnsure(b *testing.B) {
	r := filled(b)
	for i := 0; b.Loop(); i++ {
		if _, err := r.Ensure(b.Context(), storemanager.EnsureRequest{StoreID: fmt.Sprintf("new-%08d", i), At: storetest.T0}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnsureInParallel(b *testing.B) {
	r := filled(b)
	var n atomic.Int64
	b.SetParallelism(25)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.Ensure(b.Context(), storemanager.EnsureRequest{StoreID: fmt.Sprintf("new-%08d", n.Add(1)), At: storetest.T0}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkEnsureBatch(b *testing.B) {
	r := filled(b)
	for i := 0; b.Loop(); i++ {
		if _, err := r.EnsureBatch(b.Context(), storetest.Batch(benchStores+i*storemanager.MaxBatch, storemanager.MaxBatch, storetest.T0)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWritesDuringABackup measures how long a change takes at the most while the registry is copied, and in the same time without a copy.
func BenchmarkWritesDuringABackup(b *testing.B) {
	r := filled(b)
	var copies, longest, longestAlone time.Duration
	changes := 0
	for b.Loop() {
		to := filepath.Join(b.TempDir(), "copy.db")
		copied := make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := r.Driver.(*sqlite.Database).CopyTo(b.Context(), to)
			copied <- err
		}()
		n := 0
		for done := false; !done; n++ {
			longest = max(longest, ensureOne(b, r, changes+n))
			select {
			case err := <-copied:
				if err != nil {
					b.Fatal(err)
				}
				done = true
			default:
			}
		}
		copies += time.Since(began)
		changes += n
		for until := time.Now().Add(time.Since(began)); time.Now().Before(until); changes++ {
			longestAlone = max(longestAlone, ensureOne(b, r, changes))
		}
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
	b.ReportMetric(float64(longestAlone.Microseconds())/1000, "longest-alone-ms")
	b.ReportMetric(float64(copies.Milliseconds())/float64(b.N), "copy-ms")
	b.ReportMetric(float64(changes)/float64(b.N), "changes")
}

// ensureOne says how long it took.
func ensureOne(b *testing.B, r *storetest.Database, i int) time.Duration {
	b.Helper()
	began := time.Now()
	if _, err := r.Ensure(b.Context(), storemanager.EnsureRequest{StoreID: fmt.Sprintf("new-%08d", i), At: storetest.T0}); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func BenchmarkListAll(b *testing.B) {
	r := filled(b)
	for b.Loop() {
		n := 0
		for cursor := ""; ; {
			page, err := r.List(b.Context(), storemanager.ListRequest{Cursor: cursor, Limit: storemanager.MaxBatch})
			if err != nil {
				b.Fatal(err)
			}
			n += len(page.Stores)
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		if n != benchStores {
			b.Fatalf("listed %d stores", n)
		}
	}
}

func BenchmarkListIDs(b *testing.B) {
	r := filled(b)
	for b.Loop() {
		n := 0
		for cursor := ""; ; {
			page, err := r.ListIDs(b.Context(), cursor)
			if err != nil {
				b.Fatal(err)
			}
			n += len(page.IDs)
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		if n != benchStores {
			b.Fatalf("listed %d ids", n)
		}
	}
}

func BenchmarkOverview(b *testing.B) {
	r := filled(b)
	for b.Loop() {
		if _, err := r.Overview(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// benchEntries is how many entries the audit trail of the benchmarks has: two of each of benchEntries/2 stores, by one of 1,000 actors, a second apart.
const benchEntries = 1_000_000

// benchEntry is the entry of that number. Each second one has the evidence of a stop, which is the largest.
func benchEntry(i int) storemanager.AuditEntry {
	by := storemanager.Origin{
		Source: storemanager.SourceWebhook, Actor: fmt.Sprintf("sender-%03d", i%1000), DeliveryID: fmt.Sprintf("msg_2bzqNzVWwQ9x%014d", i),
		RequestID: fmt.Sprintf("%032x", i),
	}
	e := storemanager.AuditEntry{
		At: storetest.At(i), Kind: storemanager.AuditEnsure, StoreID: fmt.Sprintf("0b9dd8a5-6bd6-4d4b-8b50-%012d", i/2), Outcome: "created", Origin: by,
	}
	if i%2 == 1 {
		e.Kind, e.Outcome = storemanager.AuditStop, "stopped"
		e.Evidence = &storemanager.Evidence{
			Deletion: &storemanager.Deletion{
				EventAt: e.At, Since: e.At, DeleteAt: e.At, Owner: "0b9dd8a5-6bd6-4d4b-8b50-0c1f3a3f0001/0b9dd8a5-6bd6-4d4b-8b50-0c1f3a3f0002", Cause: storemanager.Cause{Origin: by},
			},
			Recheck: storemanager.ListRef{At: e.At, Hash: fmt.Sprintf("%064x", i), Entries: 100_000},
		}
	}
	return e
}

// audited is a registry on disk with benchEntries entries. It says how large they are.
func audited(b *testing.B) *storetest.Database {
	b.Helper()
	path := filepath.Join(b.TempDir(), "registry.db")
	r, err := storetest.TryOpen(b.Context(), storetest.Settings{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	for from := 0; from < benchEntries; from += 10_000 {
		if err := r.Driver.Change(b.Context(), func(tx registry.Tx) error {
			for i := range 10_000 {
				if err := tx.Append(b.Context(), benchEntry(from+i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := r.Write.ExecContext(b.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		b.Fatal(err)
	}
	file, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d bytes an entry", file.Size()/benchEntries)
	return r
}

func BenchmarkAudit(b *testing.B) {
	r := audited(b)
	page := func(q storemanager.AuditQuery) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				page, err := r.Audit(b.Context(), q)
				if err != nil || len(page.Entries) == 0 {
					b.Fatal(len(page.Entries), err)
				}
			}
		}
	}
	b.Run("page", page(storemanager.AuditQuery{}))
	b.Run("page/store", page(storemanager.AuditQuery{StoreID: benchEntry(1000).StoreID}))
	b.Run("page/actor", page(storemanager.AuditQuery{Actor: benchEntry(1000).Actor}))
	b.Run("page/kind", page(storemanager.AuditQuery{Kinds: []storemanager.AuditKind{storemanager.AuditStop}}))
	b.Run("page/since", page(storemanager.AuditQuery{Since: storetest.At(benchEntries - 1000)}))
	b.Run("page/since-all-of-it", page(storemanager.AuditQuery{Since: storetest.At(benchEntries - 10), Limit: storemanager.MaxBatch}))
	b.Run("page/until-the-oldest", page(storemanager.AuditQuery{Until: storetest.At(10)}))
	b.Run("append", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if err := r.NoteBatch(b.Context(), storemanager.Batch{
				Verb: "hold", StoreIDs: []string{storetest.ID}, Origin: storemanager.Origin{Actor: "ann", Batch: fmt.Sprint(b.N, i, time.Now())},
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("export", func(b *testing.B) {
		var most uint64
		for b.Loop() {
			q := storemanager.AuditQuery{OldestFirst: true, Limit: storemanager.MaxBatch}
			n := 0
			for more := true; more; more = q.Cursor != 0 {
				page, err := r.Audit(b.Context(), q)
				if err != nil {
					b.Fatal(err)
				}
				if n += len(page.Entries); n%100_000 == 0 {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
				q.Cursor = page.NextCursor
			}
			if n < benchEntries {
				b.Fatalf("exported %d entries", n)
			}
		}
		b.ReportMetric(float64(most)/(1<<20), "MiB-heap")
	})
}
