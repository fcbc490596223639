package storemanager

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"

	"storekeeper/internal/livestore"
)

// errTooManyFiles: another connection would take the files that the process needs for the rest.
var errTooManyFiles = errors.New("this process may open too few files for its stores: raise the limit (ulimit -n, LimitNOFILE)")

// dials makes the connections of all monitors, a few at a time: a backend that comes back is not to be stampeded.
type dials struct {
	atOnce   int   // for each backend: one that hangs must not keep stores from another
	maxConns int64 // in all

	conns   atomic.Int64
	dialing atomic.Int64
	mu      sync.Mutex
	slots   map[string]chan struct{} // by host
}

// dial waits for its turn and dials. After a success hangUp must be called when the connection is over.
func (d *dials) dial(ctx context.Context, o livestore.Options) (*livestore.Conn, error) {
	slots := d.slotsOf(o.URL)
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-slots }()
	if d.conns.Add(1) > d.maxConns {
		d.conns.Add(-1)
		return nil, errTooManyFiles
	}
	d.dialing.Add(1)
	defer d.dialing.Add(-1)
	conn, err := livestore.Dial(ctx, o)
	if err != nil {
		d.conns.Add(-1)
	}
	return conn, err
}

func (d *dials) hangUp() { d.conns.Add(-1) }

func (d *dials) slotsOf(address string) chan struct{} {
	host := ""
	if u, err := url.Parse(address); err == nil { // it has been checked; livestore says what is wrong with it
		host = u.Host
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	slots := d.slots[host]
	if slots == nil {
		slots = make(chan struct{}, d.atOnce)
		d.slots[host] = slots
	}
	return slots
}

const (
	// otherFiles are kept back for all that is no subscription: the event sink's connections, the API, the registry and, in the
	// process that has one, Temporal.
	otherFiles = sinkSlots + failingSinkSlots + 352
	// minConnections is the least that is worth a start.
	minConnections = 64
)

// maxConnections raises the limit of open files as far as the process may, and says how many connections it has room for.
func maxConnections() (int64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	if limit.Cur < limit.Max {
		raised := limit
		raised.Cur = raised.Max
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil { // a kernel may have its own idea of the maximum
			limit = raised
		}
	}
	const most = 1 << 30 // "unlimited" is more than an int64 holds
	return connectionsWithin(int64(min(limit.Cur, most)))
}

func connectionsWithin(files int64) (int64, error) {
	if files < otherFiles+minConnections {
		return 0, fmt.Errorf("this process may open %d files, and needs %d and one for each store: raise the limit (ulimit -n, LimitNOFILE)",
			files, otherFiles+minConnections)
	}
	return files - otherFiles, nil
}
