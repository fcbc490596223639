package monitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/processor"
)

// errTooManyFiles: another connection would take the files that the process needs for the rest.
var errTooManyFiles = errors.New("this process may open too few files for its stores: raise the limit (ulimit -n, LimitNOFILE)")

// dials makes the connections of all monitors, a few at a time, so that a backend that comes back is not stampeded.
type dials struct {
	atOnce   int   // for each backend: one that hangs must not keep stores from another
	maxConns int64 // in all

	conns   atomic.Int64
	dialing atomic.Int64
	mu      sync.Mutex
	hosts   map[string]*backend
}

// dial waits for a slot and dials. After a success hangUp must be called when the connection is over. The error is a *notDialedError when the backend is
// to be left alone.
func (d *dials) dial(ctx context.Context, b *backend, o livestore.Options) (*livestore.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-b.slots }()
	if err := b.leaveAlone(time.Now()); err != nil {
		return nil, err
	}
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
	if ctx.Err() == nil {
		b.dialed(err, time.Now())
	}
	return conn, err
}

func (d *dials) hangUp() { d.conns.Add(-1) }

// backend returns that of the address. Stores whose addresses differ in more than the host share it.
func (d *dials) backend(address string) *backend {
	host := ""
	if u, err := url.Parse(address); err == nil { // it has been checked; livestore says what is wrong with it
		host = u.Host
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.hosts[host]
	if b == nil {
		b = &backend{host: host, slots: make(chan struct{}, d.atOnce), brake: rate.NewLimiter(dialsWhileDown, dialsWhileDown), states: map[storemanager.ConnectionState]int{}}
		d.hosts[host] = b
	}
	return b
}

// backends are those dialed so far.
func (d *dials) backends() []*backend {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.hosts))
}

const (
	// downAfter failed dials in a row, of whatever stores, are no longer the fault of single stores.
	downAfter = 16
	// dialsWhileDown bounds the dials per second of a backend that is down. Ten thousand stores that each try again after 15 to 30 s would make 440, and
	// ten find out just as soon that it is back.
	dialsWhileDown = 10
)

// backend is a host of a sync backend, and what its stores have found out about it.
type backend struct {
	host  string
	slots chan struct{} // holds one element for each dial under way
	brake *rate.Limiter // of the dials while it is down

	mu            sync.Mutex
	quietUntil    time.Time                            // it has asked not to be dialed before
	quiet         error                                // the refusal in which it has asked
	failures      int                                  // dials in a row that failed
	failure       error                                // the newest of them
	reason        string                               // why the newest attempt to subscribe failed or ended
	states        map[storemanager.ConnectionState]int // of its monitors, by the state they show
	subscriptions int
	outage        outage
}

// notDialedError: the backend was not dialed, because of what it said to other stores, which is Cause.
type notDialedError struct {
	Cause error
	Quiet time.Duration // how long the backend wants to be left alone; 0: it did not say
}

// Error implements error.
func (e *notDialedError) Error() string { return e.Cause.Error() }

// leaveAlone returns nil when the backend may be dialed now.
func (b *backend) leaveAlone(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if quiet := b.quietUntil.Sub(now); quiet > 0 {
		return &notDialedError{b.quiet, quiet}
	}
	if b.failures >= downAfter && !b.brake.AllowN(now, 1) {
		return &notDialedError{b.failure, 0}
	}
	return nil
}

// dialed notes the outcome of a dial.
func (b *backend) dialed(err error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil { // it may have been under way when the backend asked to be left alone
		b.failures, b.failure = 0, nil
		return
	}
	refused, ok := errors.AsType[*livestore.DialError](err)
	if !ok {
		return // the store's settings make no sense
	}
	b.failures++
	b.failure = err
	if until := now.Add(refused.RetryAfter); refused.RetryAfter > 0 && until.After(b.quietUntil) {
		b.quietUntil, b.quiet = until, err
	}
}

const (
	// otherFiles are reserved for all that is no subscription: the event sink's connections, the API, the registry and, in a process that has it,
	// Temporal.
	otherFiles = processor.MaxSinkConnections + 352
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
