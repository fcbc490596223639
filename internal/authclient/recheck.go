package authclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
	// RecheckTimeout bounds a list that is asked for to stop stores on. They may be stopped until 55 s after it was asked for. An Auth
	// Worker whose lists take longer has no store stopped.
	RecheckTimeout = 45 * time.Second
)

// Absence answers whether a workspace is gone.
type Absence struct {
	// Absent is true when the complete list had neither the id nor one that differs from it only in case or by white space around it.
	Absent bool
	// ListEntries counts that list's entries whose id can be a store's. The caller decides what an empty list means.
	ListEntries int
	// FetchedAt is the moment from which that list counts (ListSummary.FetchStartedAt). It is after the call of Absent began.
	FetchedAt time.Time
	// ListHash is ListSummary.Hash.
	ListHash string
}

// Absent reports whether the complete authoritative list, asked for after this call began, lacks the id. A list out of a cache is
// ErrCached.
//
// The Auth Worker bounds how often it may be asked. So all callers that wait when a list is asked for share it, and a caller that comes
// while it is under way waits for the next. A lone call is answered at once. The next list is asked for ListMaxAge after the one before,
// or later when the Auth Worker wants that; ctx says how long the caller will wait. The error of a list, one of those of Sorted, goes to
// all who share it. The list after a failure comes after 1 s, and twice as long after each further failure, up to 30 s.
func (c *Client) Absent(ctx context.Context, id string) (Absence, error) {
	r := c.join(ctx, id)
	select {
	case <-r.done:
		if r.err != nil {
			return Absence{}, r.err
		}
		return Absence{Absent: !r.listed[string(Alike(nil, []byte(id)))], ListEntries: r.summary.Entries - r.summary.InvalidEntries, FetchedAt: r.summary.FetchStartedAt, ListHash: r.summary.Hash}, nil
	case <-ctx.Done():
		c.leave(r)
		return Absence{}, fmt.Errorf("waiting for the workspace list: %w", context.Cause(ctx))
	}
}

// recheck is one fetch of the list on behalf of all who wait for it. It ends with the fetch, or when nobody waits any more.
type recheck struct {
	ctx    context.Context
	cancel context.CancelFunc

	// Guarded by Client.mu. While the recheck is Client.next, callers add their ids to listed; from then on only its own
	// goroutine touches listed, until done is closed.
	waiting int
	listed  map[string]bool // by what is alike

	// Set before done is closed.
	summary ListSummary
	err     error
	done    chan struct{}
}

func (c *Client) join(ctx context.Context, id string) *recheck {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.next
	if r == nil {
		r = &recheck{listed: map[string]bool{}, done: make(chan struct{})}
		// The fetch belongs to all callers. The first one gives it its values (tracing), but not its end.
		r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
		c.next = r
		go c.run(r)
	}
	r.waiting++
	r.listed[string(Alike(nil, []byte(id)))] = false
	return r
}

func (c *Client) leave(r *recheck) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.waiting--; r.waiting > 0 {
		return
	}
	r.cancel()
	if c.next == r {
		c.next = nil // a later caller must not join what is ending
	}
}

func (c *Client) run(r *recheck) {
	defer close(r.done)
	defer r.cancel()
	// One fetch at a time: while one is under way, the callers gather for the next.
	select {
	case c.fetching <- struct{}{}:
		defer func() { <-c.fetching }()
	case <-r.ctx.Done():
		r.err = r.ctx.Err()
		return
	}
	if r.err = c.awaitTurn(r.ctx); r.err != nil {
		return
	}
	c.mu.Lock()
	if c.next == r {
		c.next = nil
	}
	c.mu.Unlock()
	var id []byte
	got, err := c.fetch(r.ctx, fetch{fresh: true, timeout: min(RecheckTimeout, c.listTimeout), yield: func(e *entry) error {
		id = Alike(id[:0], e.id)
		if _, wanted := r.listed[string(id)]; wanted {
			r.listed[string(id)] = true
		}
		return nil
	}})
	r.summary, r.err = got.ListSummary, err
	c.pace(r)
}

// Alike appends what is the same in ids that differ only in case or by white space around them. They may well be one workspace's, and in
// doubt none is absent. The id may begin where to begins.
func Alike(to, id []byte) []byte {
	for _, b := range bytes.TrimSpace(id) {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		to = append(to, b)
	}
	return to
}

// awaitTurn waits until the Auth Worker may be asked for another list, and takes the turn.
func (c *Client) awaitTurn(ctx context.Context) error {
	for {
		c.mu.Lock()
		wait := max(time.Until(c.earliest), time.Until(c.quietTil))
		if wait <= 0 {
			c.earliest = time.Now().Add(c.maxAge)
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// pace says when the list after r's is asked for. An Auth Worker that is down is tried again sooner than at the usual pace at first, so
// that deletions don't wait for longer than it is away, and then later and later.
func (c *Client) pace(r *recheck) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.err == nil:
		c.failures = 0
	case r.ctx.Err() == nil: // it failed, other than because nobody waits for it any more
		delay := min(minBackoff<<min(c.failures, 10), maxBackoff)
		c.failures++
		// Not all processes that share an Auth Worker should come back at the same moment.
		c.earliest = time.Now().Add(delay - rand.N(delay/4)) //nolint:gosec // jitter is no secret
	}
}

// heed delays the next re-check for as long as the Auth Worker asked for, or until it gives somebody a list. A 429 may not say for how
// long; then it is the usual pace.
func (c *Client) heed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.quietTil = time.Time{}
		return
	}
	var status *StatusError
	if !errors.As(err, &status) {
		return
	}
	quiet := status.RetryAfter
	if quiet == 0 && status.Code == http.StatusTooManyRequests {
		quiet = min(c.maxAge, maxRetryAfter)
	}
	if quiet == 0 {
		return
	}
	if until := time.Now().Add(quiet); until.After(c.quietTil) {
		c.quietTil = until
	}
}
