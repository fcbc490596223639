package storemanager

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
)

const benchStores = 100_000

// filled is a registry on disk with benchStores stores in it.
func filled(b *testing.B) *TestStores {
	b.Helper()
	r, err := TryOpen(b.Context(), Settings{Path: filepath.Join(b.TempDir(), "registry.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	fill(b, r, benchStores)
	return r
}

func BenchmarkEnsure(b *testing.B) {
	r := filled(b)
	for i := 0; b.Loop(); i++ {
		if _, err := r.Ensure(b.Context(), EnsureRequest{StoreID: fmt.Sprintf("new-%08d", i), At: t0}); err != nil {
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
			if _, err := r.Ensure(b.Context(), EnsureRequest{StoreID: fmt.Sprintf("new-%08d", n.Add(1)), At: t0}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkEnsureBatch(b *testing.B) {
	r := filled(b)
	for i := 0; b.Loop(); i++ {
		if _, err := r.EnsureBatch(b.Context(), batch(benchStores+i*MaxBatch, MaxBatch, t0)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListAll(b *testing.B) {
	r := filled(b)
	for b.Loop() {
		n := 0
		for cursor := ""; ; {
			page, err := r.List(b.Context(), ListRequest{Cursor: cursor, Limit: MaxBatch})
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

// What a change costs more because of the mark.
func BenchmarkMark(b *testing.B) {
	m := mark{path: markOf(filepath.Join(b.TempDir(), "registry.db"))}
	p := position{identity: "0123456789abcdef0123456789abcdef"}
	if err := m.create(p); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.close() })
	for b.Loop() {
		p.changes++
		m.set(p)
	}
}
