package sqlite_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"storekeeper/internal/storemanager"
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
