package authclient

import (
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxQuarantined       = 20
	maxQuarantinedLength = 64
	// maxQuarantinedCount bounds the memory that counting distinct invalid ids takes.
	maxQuarantinedCount = 10_000

	// maxKeptAge bounds the harm of a cache that goes on saying that nothing has changed. After it the list itself is fetched again.
	maxKeptAge = time.Hour

	// progressEvery is after how many entries progress is told.
	progressEvery = 1000
)

// Listing is a complete authoritative list, sorted, with each workspace once. Many ids are on disk. It is safe for concurrent use, and
// must be closed.
type Listing struct {
	ListSummary
	// Distinct counts the ids that All yields.
	Distinct int
	// Quarantined are the first 20 different ids that can be no store's, in the order of the list. Each is cut to 64 bytes, with "\ufffd"
	// for what can't be printed, so two of them may look the same.
	Quarantined []string
	// QuarantinedDistinct counts all different ids that can be no store's. It stops at 10,000.
	QuarantinedDistinct int

	mu  sync.Mutex
	ids *sortedIDs // nil once closed
}

// All yields the valid ids in ascending order of their bytes, each once. Each range begins at the start. An error (the disk's, or
// os.ErrClosed) is yielded last, beside an empty id; if there is none, the ids were complete.
func (l *Listing) All() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		ids := l.acquire()
		if ids == nil {
			yield("", os.ErrClosed)
			return
		}
		defer ids.release()
		ids.read(yield)
	}
}

// Close gives up the ids, and removes them from the disk unless a reader or another Listing still has them. It may be called
// again, and returns nil.
func (l *Listing) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids != nil {
		l.ids.release()
		l.ids = nil
	}
	return nil
}

// acquire returns the ids with a reference that the caller must release; nil after Close.
func (l *Listing) acquire() *sortedIDs {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids != nil {
		l.ids.acquire()
	}
	return l.ids
}

// again returns another Listing of the same ids, nil after Close.
func (l *Listing) again() *Listing {
	ids := l.acquire()
	if ids == nil {
		return nil
	}
	return &Listing{
		ListSummary: l.ListSummary, Distinct: l.Distinct,
		Quarantined: append([]string(nil), l.Quarantined...), QuarantinedDistinct: l.QuarantinedDistinct,
		ids: ids,
	}
}

// keptList is the last list that came with an ETag. It is never changed, only replaced.
type keptList struct {
	etag    string
	listing *Listing
}

// Sorted fetches the whole authoritative list and returns it sorted, with each workspace once. It keeps 16 bytes of each entry in memory,
// and some 30 MiB of ids; more ids are sorted on disk (Options.SpillDir). When the Auth Worker gives the list an ETag, the ids are kept,
// and a list that has not changed is not fetched again within an hour.
//
// progress is called with the number of entries that have come: at least once per 1000, and now and then while the next page has to wait
// or the disk is sorted. It is never called concurrently. Nil means that nobody wants to know.
//
// Only a complete list makes a Listing, and nothing is left of one that isn't. The errors are *StatusError, ErrUnauthorized, ErrDamaged,
// ErrCached, ErrTimeout, the cause of ctx's end, one of the network, or the disk's.
func (c *Client) Sorted(ctx context.Context, progress func(entries int)) (*Listing, error) {
	collected := newCollector(c.spillDir, progress)
	defer collected.sorter.discard()
	f := fetch{yield: collected.add, alive: collected.alive}
	kept, etag := c.borrowKept()
	if kept != nil {
		defer kept.Close() //nolint:errcheck // returns nil
		f.etag = etag
	}
	got, err := c.fetch(ctx, f)
	if errors.Is(err, ErrDamaged) {
		c.keep("", nil) // what talks like that may be wrong about ETags, too
	}
	if err != nil {
		return nil, err
	}
	if got.notModified {
		l := kept.again()
		l.FetchStartedAt = got.FetchStartedAt
		return l, nil
	}
	ids, err := collected.sorter.finish(ctx, collected.alive)
	if err != nil {
		return nil, err
	}
	l := &Listing{
		ListSummary: got.ListSummary, Distinct: ids.count,
		Quarantined: collected.quarantined, QuarantinedDistinct: len(collected.seen),
		ids: ids,
	}
	c.keep(got.etag, l)
	return l, nil
}

// borrowKept returns a Listing of what is kept, which the caller must close, and its ETag. Nil when nothing is kept, or what is kept is
// too old.
func (c *Client) borrowKept() (*Listing, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || c.now().Sub(c.kept.listing.FetchStartedAt) >= maxKeptAge {
		return nil, ""
	}
	return c.kept.listing.again(), c.kept.etag
}

// keep replaces what is kept by a copy of l, or by nothing if there is no ETag.
func (c *Client) keep(etag string, l *Listing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept != nil {
		_ = c.kept.listing.Close()
		c.kept = nil
	}
	if etag != "" {
		c.kept = &keptList{etag: etag, listing: l.again()}
	}
}

// collector divides the entries of a list into ids to sort and ids to set aside.
type collector struct {
	sorter      sorter
	progress    func(entries int)
	entries     int
	quarantined []string
	hash        maphash.Seed
	seen        map[uint64]struct{} // hashes of the quarantined: an id may have a megabyte
}

func newCollector(dir string, progress func(entries int)) *collector {
	return &collector{
		sorter: sorter{runBytes: defaultRunBytes, create: func() (*tempFile, error) { return newTempFile(dir) }},
		hash:   maphash.MakeSeed(), seen: map[uint64]struct{}{}, progress: progress,
	}
}

func (c *collector) alive() {
	if c.progress != nil {
		c.progress(c.entries)
	}
}

func (c *collector) add(e *entry) error {
	if c.entries++; c.entries%progressEvery == 0 {
		c.alive()
	}
	if e.valid {
		return c.sorter.add(e.id)
	}
	if len(c.seen) == maxQuarantinedCount {
		return nil
	}
	hash := maphash.Bytes(c.hash, e.id)
	if _, ok := c.seen[hash]; !ok {
		c.seen[hash] = struct{}{}
		if len(c.quarantined) < maxQuarantined {
			c.quarantined = append(c.quarantined, quarantinedText(e.id))
		}
	}
	return nil
}

// quarantinedText makes an id of any bytes fit for logs and reports.
func quarantinedText(id []byte) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, string(id[:min(len(id), 4*maxQuarantinedLength)]))
	if len(text) > maxQuarantinedLength {
		end := maxQuarantinedLength
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return text
}
