package authclient

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// sortedIDs are ids in ascending order, in memory or in a file. Each is a byte of length and the id. They live as long as somebody refers
// to them, at first whoever made them.
type sortedIDs struct {
	data    io.ReaderAt
	size    int64
	count   int
	discard func() // nil when there is nothing to do
	refs    atomic.Int32
}

func newSortedIDs(data io.ReaderAt, size int64, count int, discard func()) *sortedIDs {
	ids := &sortedIDs{data: data, size: size, count: count, discard: discard}
	ids.refs.Store(1)
	return ids
}

// acquire takes another reference. The caller must know of one that can't go away meanwhile.
func (ids *sortedIDs) acquire() { ids.refs.Add(1) }

func (ids *sortedIDs) release() {
	if ids.refs.Add(-1) == 0 && ids.discard != nil {
		ids.discard()
	}
}

// read is Listing.All.
func (ids *sortedIDs) read(yield func(string, error) bool) {
	r := newIDReader(ids.data, 0, ids.size)
	n := 0
	for ; r.next(); n++ {
		if !yield(string(r.id), nil) {
			return
		}
	}
	if r.err == nil && n != ids.count {
		r.err = fmt.Errorf("%d of %d ids were found", n, ids.count)
	}
	if r.err != nil {
		yield("", fmt.Errorf("reading the sorted workspace list: %w", r.err))
	}
}

// idReader reads what an idWriter has written.
type idReader struct {
	id  []byte // the one in hand; it holds until the next
	err error  // why there is no next one, nil at the end
	r   *bufio.Reader
	buf [maxIDLength]byte
}

func newIDReader(r io.ReaderAt, offset, size int64) *idReader {
	return &idReader{r: bufio.NewReaderSize(io.NewSectionReader(r, offset, size), 64<<10)}
}

// next takes the next id in hand, and reports whether there was one.
func (r *idReader) next() bool {
	length, err := r.r.ReadByte()
	if errors.Is(err, io.EOF) {
		return false
	}
	if err == nil && length > maxIDLength {
		err = errors.New("what is on disk is not what was written")
	}
	if err == nil {
		r.id = r.buf[:length]
		if _, err = io.ReadFull(r.r, r.id); err == nil {
			return true
		}
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	r.err = err
	return false
}

// tempFile is a file that nobody else can open. It is gone with the process at the latest.
type tempFile struct {
	*os.File
	path string // to be removed; "" where the system takes the name away from an open file
}

// newTempFile creates one in dir, "" for the system's directory for temporary files.
func newTempFile(dir string) (*tempFile, error) {
	file, err := os.CreateTemp(dir, "storekeeper-list-") // with mode 0600
	if err != nil {
		return nil, err
	}
	f := &tempFile{File: file}
	if os.Remove(file.Name()) != nil {
		f.path = file.Name()
	}
	return f, nil
}

func (f *tempFile) discard() {
	_ = f.Close() // what it held is of no use any more
	if f.path != "" {
		_ = os.Remove(f.path)
	}
}
