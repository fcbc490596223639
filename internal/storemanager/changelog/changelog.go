package changelog

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"

	"storekeeper/internal/storemanager"
)

// keptChanges is how many changes are there to go on from: about 0.5 MiB.
const keptChanges = 4096

// Log keeps the newest changes for those who watch. Each reads at its own pace, and nobody waits for a reader.
type Log struct {
	// epoch makes ids of another process recognisable: this one numbers its changes from 1 on.
	epoch string

	mu     sync.Mutex
	kept   []storemanager.Change // change n is at n % keptChanges; its ID is made for readers only
	newest uint64                // 0 before the first
	closed bool
	// news is closed when there are any, or when the log closes; nil while nobody waits.
	news chan struct{}
}

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
	last, known := l.parse(after)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, news, err := l.next(&last, known)
		if err != nil {
			return err
		}
		if news == nil {
			known = true
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

// next returns the change after the last one that the reader has, and moves last on; or what to wait for. A reader that knows
// nothing, or was overtaken, is moved to the newest change and not to the oldest kept: there it would soon be overtaken again,
// and the list of stores that it gets now is newer than all that is kept.
func (l *Log) next(last *uint64, known bool) (storemanager.Change, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return storemanager.Change{}, nil, storemanager.ErrShutdown
	case !known, *last > l.newest, l.newest-*last > keptChanges:
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

// parse is the reverse of id; false for an id that is none of this log.
func (l *Log) parse(id string) (uint64, bool) {
	digits, ok := strings.CutPrefix(id, l.epoch+"-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil
}
