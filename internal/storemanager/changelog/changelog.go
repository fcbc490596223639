// Package changelog keeps the newest changes of connections for those who watch (storemanager.Watcher). It knows of the contract alone.
package changelog

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"

	"storekeeper/internal/storemanager"
)

// keptChanges is how many changes are kept to go on from. They take about 0.5 MiB.
const keptChanges = 4096

// Log keeps the newest changes for those who watch. Each reads at its own pace, and nobody waits for a reader.
type Log struct {
	// epoch tells ids of this process from those of others. Each process numbers its changes from 1 on.
	epoch string

	mu     sync.Mutex
	kept   []storemanager.Change // change n is at n % keptChanges; it gets its ID when it is read
	newest uint64                // 0 before the first
	closed bool
	// news is closed when a change comes, and when the log closes; nil while nobody waits.
	news chan struct{}
}

// New returns a Log without changes.
func New() *Log { return &Log{epoch: rand.Text()[:10]} }

// Append adds a change, whose ID it ignores. It never waits for readers.
func (l *Log) Append(c storemanager.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		l.kept = make([]storemanager.Change, keptChanges)
	}
	l.newest++
	l.kept[l.newest%keptChanges] = c
	l.wake()
}

// Close ends all present and later watching with ErrShutdown.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
}

func (l *Log) wake() {
	if l.news != nil {
		close(l.news)
		l.news = nil
	}
}

// Watch implements Watcher.
func (l *Log) Watch(ctx context.Context, after string, fn func(storemanager.Change) error) error {
	last, found := l.parse(after)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, news, err := l.next(&last, found)
		if err != nil {
			return err
		}
		if news == nil {
			found = true
			if err := fn(c); err != nil {
				return err
			}
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
		}
	}
}

// next returns the change after the last one that the reader has, and moves last on, or returns what to wait for. It moves a reader whose place was not
// found, or that was overtaken, to the newest change. At the oldest one the reader would soon be overtaken again, and the list of stores that it gets now
// is newer than all that is kept.
func (l *Log) next(last *uint64, found bool) (storemanager.Change, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return storemanager.Change{}, nil, storemanager.ErrShutdown
	case !found, *last > l.newest, l.newest-*last > keptChanges:
		*last = l.newest
		return storemanager.Change{ID: l.id(*last), Lost: true}, nil, nil
	case *last == l.newest:
		if l.news == nil {
			l.news = make(chan struct{})
		}
		return storemanager.Change{}, l.news, nil
	}
	*last++
	c := l.kept[*last%keptChanges]
	c.ID = l.id(*last)
	return c, nil, nil
}

func (l *Log) id(n uint64) string { return l.epoch + "-" + strconv.FormatUint(n, 10) }

// parse is the reverse of id. It returns false for an id that is not of this log.
func (l *Log) parse(id string) (uint64, bool) {
	digits, ok := strings.CutPrefix(id, l.epoch+"-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil
}
