package sqlite

import (
	"path/filepath"
	"testing"
)

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
