package nodeserver

import (
	"context"
	"fmt"
	"sync"

	"storekeeper/internal/storemanager"
)

// storeLocks has a lock for each store, so that those who would change the same store at the server do so one after the other. The zero value is
// ready to use.
type storeLocks struct {
	mu      sync.Mutex
	of      map[string]*storeLock // by store, while somebody has or wants the lock
	running sync.WaitGroup        // whoever has or wants a lock
}

type storeLock struct {
	taken chan struct{} // has one element while somebody has the lock; those who wait are served in their order
	users int           // how many have the lock or wait for it
}

// take waits for the lock of the store, which release gives back. It fails with ErrShutdown once open has ended, and when ctx ends first.
func (ls *storeLocks) take(ctx, open context.Context, id string) (release func(), err error) {
	ls.mu.Lock()
	if open.Err() != nil {
		ls.mu.Unlock()
		return nil, storemanager.ErrShutdown
	}
	if ls.of == nil {
		ls.of = map[string]*storeLock{}
	}
	l := ls.of[id]
	if l == nil {
		l = &storeLock{taken: make(chan struct{}, 1)}
		ls.of[id] = l
	}
	l.users++
	ls.running.Add(1)
	ls.mu.Unlock()
	leave := func() {
		defer ls.running.Done()
		ls.mu.Lock()
		defer ls.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(ls.of, id)
		}
	}
	select {
	case l.taken <- struct{}{}:
		return func() { <-l.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("wait for an earlier request about the store: %w", ctx.Err())
	}
}

// wait returns when nobody has or wants a lock. It is called after the context that take calls open has ended.
func (ls *storeLocks) wait() {
	ls.mu.Lock()   // whoever comes later finds that it has ended
	ls.mu.Unlock() //nolint:staticcheck // it is the waiting that matters
	ls.running.Wait()
}
