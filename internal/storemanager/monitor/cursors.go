package monitor

import (
	"context"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager/registry"
)

const (
	// cursorInterval is how long a cursor may wait to be written, so a crash makes the events of that time come again. Each round costs a wait for the
	// disk, however few stores are busy.
	cursorInterval = 200 * time.Millisecond
	// cursorRetry is how long the round after a failed one waits: the disk may be full.
	cursorRetry = 2 * time.Second
)

// cursors keeps how far the events of each store are processed. It writes them later than they are set, many in one transaction, because thousands of
// stores may be busy at once. A crash makes the events since the last round come again.
type cursors struct {
	registry *registry.Registry
	log      *zap.Logger
	work     chan struct{} // has one element when there is something to write

	mu      sync.Mutex
	waiting map[string]registry.Cursor
	writing map[string]registry.Cursor // taken from waiting by the round under way
}

func newCursors(r *registry.Registry, log *zap.Logger) *cursors {
	return &cursors{registry: r, log: log, work: make(chan struct{}, 1), waiting: map[string]registry.Cursor{}}
}

// set notes a cursor, to be written soon.
func (c *cursors) set(id string, cursor livestore.Cursor) {
	c.mu.Lock()
	c.waiting[id] = registry.Cursor(cursor)
	c.mu.Unlock()
	select {
	case c.work <- struct{}{}:
	default:
	}
}

// get returns the newest cursor, written or not; the zero Cursor for a store that has none.
func (c *cursors) get(ctx context.Context, id string) (livestore.Cursor, error) {
	c.mu.Lock()
	cursor, ok := c.waiting[id]
	if !ok {
		cursor, ok = c.writing[id]
	}
	c.mu.Unlock()
	if ok {
		return livestore.Cursor(cursor), nil
	}
	kept, err := c.registry.Cursor(ctx, id)
	return livestore.Cursor(kept), err
}

// run writes until ctx ends, and then once more.
func (c *cursors) run(ctx context.Context) {
	for {
		select {
		case <-c.work:
		case <-ctx.Done():
			c.finish(ctx)
			return
		}
		wait := cursorInterval
		if err := c.write(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("cursors not written, trying again", zap.Error(err))
			wait = cursorRetry
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			c.finish(ctx)
			return
		}
	}
}

func (c *cursors) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cursorRetry)
	defer cancel()
	if err := c.write(ctx); err != nil {
		c.log.Error("cursors not written, some events will be processed again", zap.Error(err))
	}
}

// write writes all that is waiting. What can't be written waits again, unless a newer cursor of the store waits.
func (c *cursors) write(ctx context.Context) error {
	c.mu.Lock()
	c.writing, c.waiting = c.waiting, map[string]registry.Cursor{}
	c.mu.Unlock()
	err := c.registry.SetCursors(ctx, c.writing)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		newer := c.waiting
		c.waiting = c.writing
		maps.Copy(c.waiting, newer)
		select {
		case c.work <- struct{}{}:
		default:
		}
	}
	c.writing = nil
	return err
}
