package storemanager

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/livestore"
)

const (
	// cursorInterval is how long a cursor may wait to be written: what a crash makes come again at the most. Each round costs a
	// wait for the disk, whoever is busy.
	cursorInterval = 200 * time.Millisecond
	// cursorChunk is how many cursors are written in one transaction: events of workspaces wait no longer than for that, some
	// 10 ms.
	cursorChunk = 500
	// cursorRetry is how long a failed round waits for the next: the disk may be full.
	cursorRetry = 2 * time.Second
)

// cursors keeps how far the events of each store are processed. They are written behind, many in one transaction, for
// thousands of stores may be busy at once; a crash makes the events since the last round come again.
type cursors struct {
	registry *Registry
	log      *zap.Logger
	work     chan struct{} // holds one token when there is something to write

	mu      sync.Mutex
	waiting map[string]livestore.Cursor
	writing map[string]livestore.Cursor // taken from waiting by the round under way
}

func newCursors(r *Registry, log *zap.Logger) *cursors {
	return &cursors{registry: r, log: log, work: make(chan struct{}, 1), waiting: map[string]livestore.Cursor{}}
}

// set notes a cursor, to be written soon.
func (c *cursors) set(id string, cursor livestore.Cursor) {
	c.mu.Lock()
	c.waiting[id] = cursor
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
		return cursor, nil
	}
	return c.registry.cursor(ctx, id)
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
		pause := cursorInterval
		if err := c.write(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("cursors not written, trying again", zap.Error(err))
			pause = cursorRetry
		}
		select {
		case <-time.After(pause):
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

// write writes all that is waiting. What could not be written waits again, unless something newer does.
func (c *cursors) write(ctx context.Context) error {
	c.mu.Lock()
	c.writing, c.waiting = c.waiting, map[string]livestore.Cursor{}
	c.mu.Unlock()
	err := c.registry.setCursors(ctx, c.writing)
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

// setCursors writes the cursors, in chunks.
func (r *Registry) setCursors(ctx context.Context, all map[string]livestore.Cursor) error {
	chunk := make(map[string]livestore.Cursor, min(len(all), cursorChunk))
	for id, cursor := range all {
		chunk[id] = cursor
		if len(chunk) == cursorChunk {
			if err := r.setCursorChunk(ctx, chunk); err != nil {
				return err
			}
			clear(chunk)
		}
	}
	return r.setCursorChunk(ctx, chunk)
}

func (r *Registry) setCursorChunk(ctx context.Context, chunk map[string]livestore.Cursor) error {
	if len(chunk) == 0 {
		return nil
	}
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) {
		save, err := tx.PrepareContext(ctx, `INSERT INTO cursors (store_id, backend_id, seq) VALUES (?, ?, ?)
			ON CONFLICT (store_id) DO UPDATE SET backend_id = excluded.backend_id, seq = excluded.seq`)
		if err != nil {
			return struct{}{}, fmt.Errorf("write registry: %w", err)
		}
		defer func() { _ = save.Close() }()
		for id, cursor := range chunk {
			if _, err := save.ExecContext(ctx, id, cursor.BackendID, cursor.Seq); err != nil {
				return struct{}{}, fmt.Errorf("write registry: %w", err)
			}
		}
		return struct{}{}, nil
	})
	return err
}

// cursor is how far the events of a store are processed; the zero Cursor without any.
func (r *Registry) cursor(ctx context.Context, id string) (livestore.Cursor, error) {
	var cursor livestore.Cursor
	err := r.read.QueryRowContext(ctx, `SELECT backend_id, seq FROM cursors WHERE store_id = ?`, id).
		Scan(&cursor.BackendID, &cursor.Seq)
	if errors.Is(err, sql.ErrNoRows) {
		return livestore.Cursor{}, nil
	}
	if err != nil {
		return livestore.Cursor{}, fmt.Errorf("read registry: %w", err)
	}
	return cursor, nil
}
