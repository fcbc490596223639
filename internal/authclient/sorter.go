package authclient

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	maxIDLength = 64 // bytes, of a valid id

	// defaultRunBytes is how many bytes of ids are sorted at once. With the references to them that takes up to 27 MiB.
	defaultRunBytes = 16 << 20
	// bytesPerRef is for how many bytes of ids there may be one reference, of 16 bytes. A UUID has 36.
	bytesPerRef = 24

	mergeCheckEvery = 1 << 16
)

// sorter sorts ids, each once, in memory of a fixed size. What outgrows it is written to a file in sorted runs, which are merged at the
// end. runBytes and create must be set; discard must follow.
type sorter struct {
	runBytes int
	create   func() (*tempFile, error)

	arena []byte
	refs  []ref
	spill *tempFile // all runs, one behind the other; nil as long as memory suffices
	runs  []run
}

// ref is an id in the arena. Its first bytes, as a number, stand here because most comparisons need no more.
type ref struct {
	prefix uint64
	offset uint32
	length uint32
}

// run is where a sorted run stands in the file.
type run struct{ offset, size int64 }

// add takes a valid id.
func (s *sorter) add(id []byte) error {
	if len(s.arena)+len(id) > s.runBytes || len(s.refs) >= s.runBytes/bytesPerRef {
		if err := s.spillRun(); err != nil {
			return err
		}
	}
	s.arena = withRoom(s.arena, len(id), s.runBytes)
	s.refs = withRoom(s.refs, 1, s.runBytes/bytesPerRef)
	var prefix [8]byte // an id has no zero bytes, so shorter ones come first
	copy(prefix[:], id)
	s.refs = append(s.refs, ref{binary.BigEndian.Uint64(prefix[:]), uint32(len(s.arena)), uint32(len(id))}) //nolint:gosec // less than runBytes
	s.arena = append(s.arena, id...)
	return nil
}

// withRoom returns s with room for more elements, up to most in all. It grows fourfold, in four steps to the most. append grows large
// slices by a quarter, and would leave several times as much garbage.
func withRoom[T any](s []T, more, most int) []T {
	if cap(s)-len(s) >= more {
		return s
	}
	return slices.Grow(s, max(more, min(most, max(most/256, 4*cap(s)))-len(s)))
}

func (s *sorter) id(r ref) []byte { return s.arena[r.offset : r.offset+r.length] }

// sort brings the refs into order, each id once.
func (s *sorter) sort() {
	slices.SortFunc(s.refs, func(a, b ref) int {
		if c := cmp.Compare(a.prefix, b.prefix); c != 0 {
			return c
		}
		return bytes.Compare(s.id(a), s.id(b))
	})
	s.refs = slices.CompactFunc(s.refs, func(a, b ref) bool { return a.prefix == b.prefix && bytes.Equal(s.id(a), s.id(b)) })
}

// spillRun writes the ids in memory to the file as a run.
func (s *sorter) spillRun() error {
	if s.spill == nil {
		file, err := s.create()
		if err != nil {
			return spillError(err)
		}
		s.spill = file
	}
	var start int64
	if n := len(s.runs); n > 0 {
		start = s.runs[n-1].offset + s.runs[n-1].size
	}
	s.sort()
	w := newIDWriter(s.spill)
	for _, r := range s.refs {
		w.write(s.id(r))
	}
	if err := w.Flush(); err != nil {
		return spillError(err)
	}
	s.runs = append(s.runs, run{start, w.size})
	s.arena, s.refs = s.arena[:0], s.refs[:0]
	return nil
}

// finish returns all ids. It empties the sorter.
func (s *sorter) finish(ctx context.Context, alive func()) (*sortedIDs, error) {
	defer s.discard()
	if s.spill != nil {
		return s.merge(ctx, alive)
	}
	s.sort()
	size := 0
	for _, r := range s.refs {
		size += 1 + int(r.length)
	}
	packed := bytes.NewBuffer(make([]byte, 0, size))
	w := newIDWriter(packed)
	for _, r := range s.refs {
		w.write(s.id(r))
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return newSortedIDs(bytes.NewReader(packed.Bytes()), w.size, w.count, nil), nil
}

// merge writes the ids of all runs to a file of their own, because they are read more than once, and their number must be known.
func (s *sorter) merge(ctx context.Context, alive func()) (_ *sortedIDs, err error) {
	if len(s.refs) > 0 {
		if err := s.spillRun(); err != nil {
			return nil, err
		}
	}
	s.arena, s.refs = nil, nil
	merged, err := s.create()
	if err != nil {
		return nil, spillError(err)
	}
	defer func() {
		if err != nil {
			merged.discard()
		}
	}()
	w := newIDWriter(merged)
	if err := mergeRuns(ctx, s.spill, s.runs, w, alive); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, spillError(err)
	}
	return newSortedIDs(merged, w.size, w.count, merged.discard), nil
}

// discard gives up what has not been finished.
func (s *sorter) discard() {
	if s.spill != nil {
		s.spill.discard()
	}
	s.arena, s.refs, s.spill, s.runs = nil, nil, nil, nil
}

func mergeRuns(ctx context.Context, file io.ReaderAt, runs []run, w *idWriter, alive func()) error {
	sources := make(runHeap, 0, len(runs))
	for _, r := range runs {
		source := newIDReader(file, r.offset, r.size)
		if source.next() {
			sources = append(sources, source)
		} else if source.err != nil {
			return spillError(source.err)
		}
	}
	sources.init()
	var last []byte
	for n := 0; len(sources) > 0; n++ {
		if n%mergeCheckEvery == 0 {
			alive()
			if ctx.Err() != nil {
				return fmt.Errorf("sorting the workspace list: %w", context.Cause(ctx))
			}
		}
		least := sources[0]
		if !bytes.Equal(least.id, last) {
			last = append(last[:0], least.id...)
			w.write(last)
		}
		if !least.next() {
			if least.err != nil {
				return spillError(least.err)
			}
			sources[0] = sources[len(sources)-1]
			sources = sources[:len(sources)-1]
		}
		sources.sink(0)
	}
	return nil
}

// runHeap has the source with the least id first. (container/heap would call back through an interface for each id.)
type runHeap []*idReader

func (h runHeap) init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}

func (h runHeap) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && bytes.Compare(h[child+1].id, h[child].id) < 0 {
			child++
		}
		if bytes.Compare(h[i].id, h[child].id) <= 0 {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// spillError says what could not be done; the error of the system says which file and why.
func spillError(err error) error {
	return fmt.Errorf("sorting the workspace list on disk: %w", err)
}

// idWriter writes ids as a byte of length and the id. Its errors show in Flush.
type idWriter struct {
	*bufio.Writer
	size  int64 // bytes written
	count int
}

func newIDWriter(w io.Writer) *idWriter { return &idWriter{Writer: bufio.NewWriterSize(w, 64<<10)} }

func (w *idWriter) write(id []byte) {
	_ = w.WriteByte(byte(len(id))) //nolint:gosec // at most maxIDLength
	_, _ = w.Write(id)
	w.size += 1 + int64(len(id))
	w.count++
}
