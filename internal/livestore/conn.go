package livestore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Conn is a connection to the sync backend for one store. A Pull and any number of Pushes may run on it at the same time.
//
// A process may have ten thousand of them, so an idle one owns little: two buffers of 4 KiB for its socket, one goroutine that
// reads, and one timer.
type Conn struct {
	ws      *websocket.Conn
	storeID string
	payload secret
	ping    time.Duration
	silence time.Duration

	// ctx never ends, because a frame that is cut off in the middle would ruin the connection.
	ctx context.Context
	// up ends with the connection. Its cause is the reason.
	up      context.Context
	end     context.CancelCauseFunc
	start   time.Time
	heard   atomic.Int64 // when the backend was last heard, in nanoseconds after start
	pinging atomic.Bool  // a ping is being written
	ignored atomic.Int64
	ended   chan struct{} // closed when the reader has returned

	mu       sync.Mutex
	timer    *time.Timer
	requests []*request // those whose end has not come
	lastID   int
}

// request is a request to the backend that waits for answers.
type request struct {
	id   string
	pull bool
	came chan struct{} // holds one token when answers is not empty
	room chan struct{} // holds one token when an answer was taken

	mu      sync.Mutex
	answers []answer
	size    int64 // in bytes, of answers
	behind  bool  // an answer was thrown away because there was no room; all that follows is thrown away too
}

// answer is what one frame brings: the pages of a Chunk, or the end of the request.
type answer struct {
	pages []Page
	size  int64 // of the Chunk, in bytes
	err   error // why the request ended; nil for success
	ended bool
}

const (
	// maxWaiting bounds, in bytes, what waits for a busy handler on one connection. Only live events wait, because the backend
	// sends no page before the one before it was acknowledged. The bound is some hundred pushes of an ordinary size.
	maxWaiting = 256 << 10
	// maxWaitingOfAll is the same bound for all connections of the process, since ten thousand handlers may be busy at the
	// same time. Each connection may have one answer beyond both bounds, so that every one of them moves.
	maxWaitingOfAll = 64 << 20
)

// waiting is the sum of all sizes of requests.
var waiting atomic.Int64

// put adds an answer to those that wait. It returns false when there is no room for it.
func (r *request) put(a answer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.behind {
		return true
	}
	full := r.size+a.size > maxWaiting || waiting.Load()+a.size > maxWaitingOfAll
	if full && len(r.answers) > 0 && !a.ended {
		return false
	}
	r.add(a)
	return true
}

// fallBehind ends the request with ErrBehind: from now on its answers are thrown away.
func (r *request) fallBehind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behind = true
	r.add(answer{err: ErrBehind, ended: true})
}

func (r *request) add(a answer) {
	r.answers = append(r.answers, a)
	r.size += a.size
	waiting.Add(a.size)
	signal(r.came)
}

func signal(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// take removes and returns the oldest answer. It returns false when there is none.
func (r *request) take() (answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) == 0 {
		r.answers = nil // an idle pull keeps no memory for answers
		return answer{}, false
	}
	a := r.answers[0]
	r.answers[0] = answer{}
	r.answers = r.answers[1:]
	r.size -= a.size
	waiting.Add(-a.size)
	signal(r.room)
	return a, true
}

// discard removes all answers, when nobody will take them any more.
func (r *request) discard() {
	for _, ok := r.take(); ok; _, ok = r.take() { //nolint:revive // the condition does it all
	}
}

func newConn(ctx context.Context, ws *websocket.Conn, o Options, payload secret) *Conn {
	c := &Conn{
		ws: ws, storeID: o.StoreID, payload: payload, ping: o.PingInterval, silence: o.SilenceTimeout,
		ctx: ctx, start: time.Now(), ended: make(chan struct{}),
	}
	c.up, c.end = context.WithCancelCause(ctx)
	c.mu.Lock()
	c.timer = time.AfterFunc(c.ping, c.keepAlive)
	c.mu.Unlock()
	go c.read()
	return c
}

// Close drops the connection and returns when its goroutine has ended. There is no closing handshake, because backends are slow
// to answer one. A Pull or Push under way returns ErrClosed. Close may be called again, and always returns nil.
func (c *Conn) Close() error {
	_ = c.drop(ErrClosed)
	<-c.ended
	return nil
}

// Ignored returns how many frames were of an unknown kind, or answered no request of ours.
func (c *Conn) Ignored() int64 { return c.ignored.Load() }

// drop ends the connection and returns the reason. When drop was called before, the first reason stays and is returned.
func (c *Conn) drop(reason error) error {
	c.mu.Lock()
	first := c.up.Err() == nil
	if first {
		c.end(reason)
		c.timer.Stop()
	}
	c.mu.Unlock()
	if first {
		_ = c.ws.CloseNow() // there is nothing left to lose
	}
	return context.Cause(c.up)
}

// keepAlive sends a ping when the connection was quiet, and drops it when it was silent for too long. It runs from a timer,
// because a goroutine for each connection would cost more than all the rest of the connection.
func (c *Conn) keepAlive() {
	next := c.ping
	quiet := time.Since(c.start) - time.Duration(c.heard.Load())
	switch {
	case quiet >= c.silence:
		_ = c.drop(ErrSilence)
		return
	case quiet < c.ping:
		next -= quiet
	default:
		next = min(next, c.silence-quiet)
	}
	c.mu.Lock()
	if c.up.Err() == nil {
		c.timer.Reset(next)
	}
	c.mu.Unlock()

	// When the backend does not read, writing a ping takes until the connection ends. One such ping is enough.
	if quiet >= c.ping && c.pinging.CompareAndSwap(false, true) {
		if err := c.write(c.ctx, pingFrame); err != nil {
			_ = c.drop(err)
		}
		c.pinging.Store(false)
	}
}

var pingFrame = []byte(`{"_tag":"` + tagPing + `"}`)

// write sends a frame. When ctx ends in the middle of it, the connection is dropped.
func (c *Conn) write(ctx context.Context, text []byte) error {
	if err := c.ws.Write(ctx, websocket.MessageText, text); err != nil {
		return c.lost(ctx, err)
	}
	return nil
}

// lost turns an error of reading or writing into one that a caller may branch on and show.
func (c *Conn) lost(ctx context.Context, err error) error {
	var closed websocket.CloseError
	switch {
	case c.up.Err() != nil:
		return context.Cause(c.up)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, websocket.ErrMessageTooBig):
		return ErrTooLarge
	case errors.As(err, &closed):
		return fmt.Errorf("%w: closed with status %d: %s", ErrDisconnected, closed.Code, c.payload.scrub(closed.Reason))
	}
	return fmt.Errorf("%w: %s", ErrDisconnected, c.payload.scrub(err.Error()))
}

// read is the connection's reader.
func (c *Conn) read() {
	defer close(c.ended)
	for {
		f, size, err := c.readFrame()
		if err == nil {
			err = c.dispatch(&f, size)
		}
		if err != nil {
			_ = c.drop(err)
			return
		}
	}
}

// buffers hold frames while they are read: between two frames a connection needs no buffer of its own.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// readFrame returns the next frame and its size in bytes.
func (c *Conn) readFrame() (frame, int64, error) {
	_, r, err := c.ws.Reader(c.ctx)
	if err != nil {
		return frame{}, 0, c.lost(c.ctx, err)
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	size, err := buf.ReadFrom(&hearing{c, r})
	if err != nil {
		return frame{}, 0, c.lost(c.ctx, err)
	}
	f, err := decodeFrame(buf.Bytes())
	return f, size, err
}

// hearing notes each part of a frame as a sign of life, because a large frame may take long to arrive.
type hearing struct {
	c *Conn
	r io.Reader
}

func (h *hearing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.c.hear()
	return n, err
}

func (c *Conn) hear() { c.heard.Store(int64(time.Since(c.start))) }

// dispatch gives a frame to the request that it answers. Its error ends the connection.
func (c *Conn) dispatch(f *frame, size int64) error {
	switch f.Tag {
	case tagPong:
	case tagChunk:
		r := c.find(f.RequestID)
		if r == nil || !r.pull {
			c.ignored.Add(1)
			return nil
		}
		pages, err := f.pages()
		if err != nil {
			return err
		}
		c.give(r, answer{pages: pages, size: size})
	case tagExit:
		r := c.forget(f.RequestID)
		if r == nil {
			c.ignored.Add(1)
			return nil
		}
		success, err := f.outcome(c.payload)
		if success && r.pull {
			err = &RemoteError{Kind: "Success", Message: "a live pull ended"}
		}
		c.give(r, answer{err: err, ended: true})
	case tagDefect:
		return &RemoteError{Kind: tagDefect, Message: c.payload.scrub(explain(f.Defect, 0))}
	default:
		c.ignored.Add(1)
	}
	return nil
}

// give gives an answer to a request. When there is no room, it waits: so a slow handler slows the reader down, and with it the
// backend. It waits for a fifth of the silence time-out at most, because meanwhile no pong is read and the end of the connection
// is not noticed. A handler that still hangs then has fallen behind, and is never waited for again.
func (c *Conn) give(r *request, a answer) {
	if r.put(a) {
		return
	}
	patience := time.NewTimer(c.silence / 5)
	defer patience.Stop()
	for {
		select {
		case <-r.room:
			if r.put(a) {
				return
			}
		case <-patience.C:
			r.fallBehind()
			return
		case <-c.up.Done():
			return
		}
	}
}

// ask sends a request. A caller that stops waiting for answers must call forget.
func (c *Conn) ask(ctx context.Context, name string, payload any, pull bool) (*request, error) {
	r := &request{pull: pull, came: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	c.mu.Lock()
	if c.up.Err() != nil {
		defer c.mu.Unlock()
		return nil, context.Cause(c.up)
	}
	r.id = strconv.Itoa(c.lastID)
	c.lastID++
	c.requests = append(c.requests, r)
	c.mu.Unlock()

	text, err := json.Marshal(struct {
		Tag     string   `json:"_tag"`
		ID      string   `json:"id"`
		Name    string   `json:"tag"`
		Payload any      `json:"payload"`
		Headers []string `json:"headers"`
	}{tagRequest, r.id, name, payload, []string{}})
	if err != nil {
		c.forget(r.id)
		return nil, errors.New("a request cannot be encoded as JSON") // the cause may quote the request
	}
	if err := c.write(ctx, text); err != nil {
		c.forget(r.id)
		return nil, c.drop(err)
	}
	return r, nil
}

func (c *Conn) find(id string) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		if r.id == id {
			return r
		}
	}
	return nil
}

// forget removes the request with that id and returns it; nil when there is none.
func (c *Conn) forget(id string) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range c.requests {
		if r.id == id {
			c.requests = slices.Delete(c.requests, i, i+1)
			return r
		}
	}
	return nil
}
