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
// There may be ten thousand of them, so an idle one owns little: two buffers of 4 KiB for its socket, one goroutine that
// reads, and one timer.
type Conn struct {
	ws      *websocket.Conn
	storeID string
	payload secret
	ping    time.Duration
	silence time.Duration

	// ctx never ends: a frame that is cut off in the middle would ruin the connection.
	ctx context.Context
	// up ends with the connection, and its cause is why.
	up      context.Context
	end     context.CancelCauseFunc
	start   time.Time
	heard   atomic.Int64 // when the backend was last heard, in nanoseconds after start
	pinging atomic.Bool  // a ping is being written
	ignored atomic.Int64
	ended   chan struct{} // closed when the reader has returned

	mu       sync.Mutex
	timer    *time.Timer
	requests []*request // those without an answer
	lastID   int
}

// request is a request to the backend that waits for answers.
type request struct {
	id   string
	pull bool
	came chan struct{} // holds one token when there is something in answers
	room chan struct{} // likewise when an answer was taken

	mu      sync.Mutex
	answers []answer
	size    int64 // in bytes, of answers
	behind  bool  // an answer was thrown away, for want of room, and so is all that follows
}

// answer is a Chunk's pages, or the end of the request.
type answer struct {
	pages []Page
	size  int64 // of the Chunk, in bytes
	err   error // of the end; nil for success
	ended bool
}

const (
	// maxWaiting bounds what waits for a busy handler, in bytes: live events alone, for the backend waits with a page until the
	// one before it was acknowledged. It is some hundred pushes of an ordinary size.
	maxWaiting = 256 << 10
	// maxWaitingOfAll is the same of all connections of the process: ten thousand handlers may be busy at the same time. One
	// answer for each is let in beyond both bounds, so that every connection moves.
	maxWaitingOfAll = 64 << 20
)

// waiting is the sum of all sizes of requests.
var waiting atomic.Int64

// put leaves an answer; false when there is no room for it.
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

// fallBehind loses an answer, and what follows it with it.
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

// take returns the oldest answer; false when there is none.
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

// discard lets go of what nobody will take.
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

// Close drops the connection without a closing handshake, which backends are slow to answer, and returns when it holds no
// goroutine any more. A Pull or Push under way returns ErrClosed. It may be called often; it always returns nil.
func (c *Conn) Close() error {
	_ = c.drop(ErrClosed)
	<-c.ended
	return nil
}

// Ignored is the number of frames that were of an unknown kind, or for no request of ours.
func (c *Conn) Ignored() int64 { return c.ignored.Load() }

// drop ends the connection for a reason and returns the reason, which is that of the first call.
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

// keepAlive pings when the connection was quiet and drops it when it was silent. It runs from a timer, as a goroutine for
// each connection would cost more than all the rest of it.
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

	// A ping that cannot be written, for the backend does not read, stays alone, and ends with the connection.
	if quiet >= c.ping && c.pinging.CompareAndSwap(false, true) {
		if err := c.write(c.ctx, pingFrame); err != nil {
			_ = c.drop(err)
		}
		c.pinging.Store(false)
	}
}

var pingFrame = []byte(`{"_tag":"` + tagPing + `"}`)

// write sends a frame. The end of ctx drops the connection when it comes in the middle.
func (c *Conn) write(ctx context.Context, text []byte) error {
	if err := c.ws.Write(ctx, websocket.MessageText, text); err != nil {
		return c.lost(ctx, err)
	}
	return nil
}

// lost returns the reason why reading or writing failed.
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

// buffers hold frames while they are read, so that no connection needs a buffer of its own between frames.
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

// hearing notes each part of a frame as a sign of life: a large frame may take long to arrive.
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

// dispatch leaves a frame with the request that it answers. An error ends the connection.
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

// give leaves an answer with a request. A handler that is slow holds the reader up, and so the backend, for as long as the
// connection can do without a reader: meanwhile no ping is answered and no end is noticed. One that hangs does so once.
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

// ask sends a request. The caller must forget it when it waits no longer.
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
		return nil, errors.New("a request cannot be encoded as JSON") // the cause may quote it
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

// forget removes a request and returns it, nil when there is none of that id any more.
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
