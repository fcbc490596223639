package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/coder/websocket"
	"go.uber.org/zap"
)

// maxSyncMessage is the largest message that Cloudflare accepts, in bytes.
const maxSyncMessage = 1 << 20

// syncConn is a client's connection.
type syncConn struct {
	backend *SyncBackend
	store   *syncStore
	ws      *websocket.Conn
	raw     net.Conn        // the connection under ws, for what ws would never send
	ctx     context.Context // never ends: drop ends what is under way
	pulls   []*syncPull     // used by the reader only

	mu    sync.Mutex // held while writing
	muted bool       // set once half a frame was sent: nothing can follow it
}

// syncMessage is a frame of a client.
type syncMessage struct {
	Tag       string `json:"_tag"`
	ID        string `json:"id"`        // the request's id
	RequestID string `json:"requestId"` // the request that an Ack or an Interrupt is about
	Name      string `json:"tag"`       // the request's name
	Payload   struct {
		Cursor struct {
			Value struct {
				BackendID string `json:"backendId"`
				Seq       int64  `json:"eventSequenceNumber"`
			} `json:"value"`
		} `json:"cursor"`
		Batch     []syncEvent `json:"batch"`
		BackendID struct {
			Value string `json:"value"`
		} `json:"backendId"`
	} `json:"payload"`
}

// run reads until the connection ends.
func (c *syncConn) run() {
	defer func() {
		for _, p := range c.pulls {
			c.store.unsubscribe(p)
		}
		c.drop()
		c.backend.mu.Lock()
		delete(c.backend.conns, c)
		c.backend.mu.Unlock()
	}()
	for {
		m, err := c.receive()
		if err != nil {
			return // the client is gone, or does not speak JSON
		}
		if c.backend.currentFault() == SyncFaultMute {
			continue
		}
		c.handle(m)
	}
}

func (c *syncConn) drop() { _ = c.ws.CloseNow() }

// syncBuffers hold messages while they are read.
var syncBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (c *syncConn) receive() (*syncMessage, error) {
	_, r, err := c.ws.Reader(c.ctx)
	if err != nil {
		return nil, err
	}
	buf := syncBuffers.Get().(*bytes.Buffer)
	defer syncBuffers.Put(buf)
	buf.Reset()
	if _, err := buf.ReadFrom(r); err != nil {
		return nil, err
	}
	m := &syncMessage{}
	return m, json.Unmarshal(buf.Bytes(), m)
}

func (c *syncConn) handle(m *syncMessage) {
	switch m.Tag {
	case "Ping":
		c.send([]byte(`{"_tag":"Pong"}`))
	case "Request":
		c.request(m)
	case "Ack":
		if i := c.pullIndex(m.RequestID); i >= 0 {
			c.store.acknowledge(c.pulls[i])
		}
	case "Interrupt":
		if i := c.pullIndex(m.RequestID); i >= 0 {
			c.store.unsubscribe(c.pulls[i])
			c.pulls = append(c.pulls[:i], c.pulls[i+1:]...)
			c.fail(m.RequestID, map[string]any{"_tag": "Interrupt", "fiberId": map[string]any{"_tag": "None"}})
		}
	}
}

func (c *syncConn) pullIndex(requestID string) int {
	for i, p := range c.pulls {
		if p.id == requestID {
			return i
		}
	}
	return -1
}

func (c *syncConn) request(m *syncMessage) {
	var err error
	switch fault := c.backend.currentFault(); {
	case fault == SyncFaultDefect:
		c.send([]byte(`{"_tag":"Defect","defect":{"name":"Error","message":"the demo backend was told to fail"}}`))
		return
	case fault == SyncFaultFailing:
		err = errors.New("the demo backend was told to fail")
	case m.Name == "SyncWsRpc.Pull":
		p := &syncPull{conn: c, id: m.ID}
		if err = c.store.subscribe(p, m.Payload.Cursor.Value.BackendID, m.Payload.Cursor.Value.Seq); err == nil {
			c.pulls = append(c.pulls, p)
			c.store.acknowledge(p)
			return
		}
	case m.Name == "SyncWsRpc.Push":
		if err = c.store.append(c.ctx, c.backend.db, m.Payload.BackendID.Value, m.Payload.Batch); err == nil {
			c.exit(m.ID, map[string]any{"_tag": "Success", "value": struct{}{}})
			return
		}
	default:
		c.fail(m.ID, map[string]any{"_tag": "Die", "defect": "Unknown request tag: " + m.Name})
		return
	}
	c.fail(m.ID, map[string]any{"_tag": "Fail", "error": c.backend.dialect.encode(m.Name, err)})
}

// exit sends the end of a request.
func (c *syncConn) exit(requestID string, exit map[string]any) {
	text, err := json.Marshal(map[string]any{"_tag": "Exit", "requestId": requestID, "exit": exit})
	if err != nil {
		c.backend.log.Error("demo sync backend cannot encode an exit", zap.Error(err))
		return
	}
	c.send(text)
}

func (c *syncConn) fail(requestID string, cause map[string]any) {
	c.exit(requestID, map[string]any{"_tag": "Failure", "cause": cause})
}

// send writes a frame. It waits while the client does not read; that holds up no other client.
func (c *syncConn) send(text []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.muted || c.backend.currentFault() == SyncFaultMute {
		return
	}
	if c.ws.Write(c.ctx, websocket.MessageText, text) != nil {
		c.drop() // run then cleans up
	}
}

// flush starts to send what there is for the pull, unless a goroutine does so already. The caller holds the store's lock. The goroutine
// lives only while there is something to send, because most connections are idle.
func (p *syncPull) flush() {
	if p.flushing {
		return
	}
	p.flushing = true
	p.conn.backend.working.Go(func() {
		for {
			chunk, ok := p.conn.store.next(p)
			if !ok {
				return
			}
			p.conn.sendChunk(p.id, chunk)
		}
	})
}

// encode returns the chunk as a message for the request.
func (k syncChunk) encode(requestID string) []byte {
	size := 256
	for _, event := range k.batch {
		size += len(event) + 1
	}
	id, _ := json.Marshal(requestID) // a string can always be encoded
	text := make([]byte, 0, size)
	text = fmt.Appendf(text, `{"_tag":"Chunk","requestId":%s,"values":[{"batch":[`, id)
	for i, event := range k.batch {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, event...)
	}
	page := `{"_tag":"NoMore"}`
	if k.remaining > 0 {
		page = fmt.Sprintf(`{"_tag":"MoreKnown","remaining":%d}`, k.remaining)
	}
	return fmt.Appendf(text, `],"pageInfo":%s,"backendId":"%s"}]}`, page, k.backendID)
}

// syncMismatch is the error for a cursor or a push of another incarnation of the store.
type syncMismatch struct{ expected, received string }

func (e *syncMismatch) Error() string {
	return fmt.Sprintf("Backend id mismatch: expected %s, received %s", e.expected, e.received)
}

// syncAhead is the error for a push that does not follow the head.
type syncAhead struct{ minimum, provided int64 }

func (e *syncAhead) Error() string {
	return fmt.Sprintf("The head is %d, the push follows %d", e.minimum, e.provided)
}

// encode returns the error of a request in the dialect.
func (d SyncDialect) encode(request string, err error) map[string]any {
	var mismatch *syncMismatch
	var ahead *syncAhead
	var e map[string]any
	switch {
	case errors.As(err, &ahead):
		e = map[string]any{"_tag": "ServerAheadError", "minimumExpectedNum": ahead.minimum, "providedNum": ahead.provided}
	case errors.As(err, &mismatch) && d == SyncDev22:
		e = map[string]any{"name": "BackendIdMismatchError", "message": err.Error()}
	case errors.As(err, &mismatch):
		e = map[string]any{"_tag": "BackendIdMismatchError", "expected": mismatch.expected, "received": mismatch.received}
	case d == SyncDev22:
		e = map[string]any{"_tag": "LiveStore.UnknownError", "cause": map[string]any{"name": "Error", "message": err.Error()}}
	default:
		e = map[string]any{"_tag": "UnknownError", "cause": map[string]any{"name": "Error", "message": err.Error()}}
	}
	if d == SyncV040 {
		return e
	}
	if request == "SyncWsRpc.Push" {
		return map[string]any{"_tag": "InvalidPushError", "cause": e}
	}
	return map[string]any{"_tag": "InvalidPullError", "cause": e}
}
