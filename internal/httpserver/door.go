package httpserver

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// door knows all connections of a server. When there is no room for a new one, it closes a stranger's, or else a trusted one that is idle. Of
// several it closes the one where nothing has begun or ended for the longest time. Strangers are all who have not been trusted; see Trust.
type door struct {
	limit        int
	writeTimeout time.Duration

	mu   sync.Mutex
	open map[*conn]struct{}
	// Both begin with the connection that has been there longest. It goes to the end when it comes, when it has sent the head of a request, and
	// when it has had its answer. A trusted one that is being served is in neither.
	strangers, idle list.List
	crowded         time.Time // when there was no room last; zero: never
}

// conn is a connection of a door.
type conn struct {
	net.Conn
	door *door

	// These are guarded by door.mu. in is the list that has the connection; nil if none has.
	in      *list.List
	place   *list.Element
	trusted bool

	// mu guards whether the deadline of the answer under way has been set: by the handler or by the first write.
	mu  sync.Mutex
	set bool
}

// listener lets connections in through a door.
type listener struct {
	net.Listener
	door *door
}

// Accept closes a connection to make room also when the process may open no more files.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		switch {
		case err == nil:
		case (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) && l.door.evict():
			continue
		default:
			return nil, err
		}
		c := &conn{Conn: accepted, door: l.door}
		if l.door.enter(c) {
			return c, nil
		}
		_ = accepted.Close()
	}
}

// enter returns false when there is no room and none could be made.
func (d *door) enter(c *conn) bool {
	d.mu.Lock()
	full := len(d.open) >= d.limit
	d.mu.Unlock()
	if full && !d.evict() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = map[*conn]struct{}{}
	}
	d.open[c] = struct{}{}
	d.move(c, &d.strangers)
	return true
}

// evict closes the connection that is missed least. It returns false when there is none that may be closed.
func (d *door) evict() bool {
	d.mu.Lock()
	var victim *conn
	for _, from := range []*list.List{&d.strangers, &d.idle} {
		if first := from.Front(); first != nil {
			victim = first.Value.(*conn)
			break
		}
	}
	d.crowded = time.Now()
	d.mu.Unlock()
	if victim == nil {
		return false
	}
	_ = victim.Close()
	return true
}

// move puts the connection at the end of a list, and takes it out of the one where it was. Nil: it is in no list then.
func (d *door) move(c *conn, to *list.List) {
	if c.in != nil {
		c.in.Remove(c.place)
	}
	if c.in = to; to != nil {
		c.place = to.PushBack(c)
	}
}

// follow is for http.Server.ConnState. A connection is active from when the head of a request has come until its answer has gone.
func (d *door) follow(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	if state == http.StateActive {
		c.beginAnswer()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, open := d.open[c]; !open {
		return
	}
	switch {
	case state != http.StateActive && state != http.StateIdle: // Close and the hijacker do the rest
	case !c.trusted:
		d.move(c, &d.strangers)
	case state == http.StateIdle:
		d.move(c, &d.idle)
	default:
		d.move(c, nil)
	}
}

func (d *door) trust(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, open := d.open[c]; open && !c.trusted {
		c.trusted = true
		d.move(c, nil)
	}
}

func (c *conn) Close() error {
	c.door.mu.Lock()
	c.door.move(c, nil)
	delete(c.door.open, c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

// beginAnswer takes the deadline away: that of an answer counts from its first write, so a handler may take any time before it.
func (c *conn) beginAnswer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = false
	_ = c.Conn.SetWriteDeadline(time.Time{}) // it fails only when the caller has gone
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.set {
		c.set = true
		_ = c.Conn.SetWriteDeadline(time.Now().Add(c.door.writeTimeout)) // the write finds out what is wrong
	}
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// SetWriteDeadline is a handler's own, for the rest of its answer.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = true
	return c.Conn.SetWriteDeadline(t)
}

// connKey is where the context of a request has its connection.
type connKey struct{}

// Trust tells the server that the sender of this request has proved to be known: its connection stays open when strangers' have to make room.
// It does nothing when the request is not served by a Server.
func Trust(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		c.door.trust(c)
	}
}
