package sqlite_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"storekeeper/internal/storemanager"
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
