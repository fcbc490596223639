// Package livestore is a client of the LiveStore sync protocol (docs/contracts/livestore-sync.md): a live pull of one store's
// events, and pushes, over one WebSocket. It knows the protocol, and nothing of what its caller does with the events.
//
// A backend's frames may be wrong in many ways. The package promises:
//
//   - The events that Pull hands over follow each other without a gap, and each comes once in a pull. An event that can't be put
//     in order ends the pull with a *SequenceError. Nothing is skipped.
//   - A frame that is not JSON, or that answers a request of ours and makes no sense, ends the connection with ErrProtocol,
//     because it may have held events. The caller dials again and pulls from its cursor, and so loses nothing.
//   - Frames of unknown kinds, and answers to requests that are not ours, are ignored and counted (Conn.Ignored).
//   - No error holds the payload, or the URL, which carries it. What the backend says is made printable, shortened, and freed
//     of the payload's values before it becomes part of an error.
package livestore

import (
	"encoding/json"
	"net/http"
	"time"
)

// Defaults of Options.
const (
	DefaultPingInterval   = 10 * time.Second
	DefaultSilenceTimeout = 25 * time.Second
	// DefaultMaxFrame is 1.25 MiB, in bytes: 1 MiB is the most that Cloudflare takes in one message, and a quarter of that is
	// for the metadata that the backend adds to what was pushed. (The backend cuts its own chunks at 900,000 bytes.)
	DefaultMaxFrame = 1280 << 10
)

// Options says how to reach a store's events. URL and StoreID are required.
type Options struct {
	// URL is that of the sync backend: ws, wss, http or https. Its path and query are kept.
	URL string
	// StoreID names the store.
	StoreID string
	// Payload is sent as JSON with the handshake and with each request. It is a secret. Nil sends none.
	Payload any
	// HTTPClient does the handshake. One client should serve all connections. Redirects are never followed, because they
	// would carry the payload elsewhere. Nil means a client of this package, which obeys the proxy settings of the
	// environment and tells a proxy only the backend's host and port.
	HTTPClient *http.Client
	// PingInterval is how long the connection may be quiet before a ping is sent. It must be less than SilenceTimeout. 0 means
	// DefaultPingInterval.
	PingInterval time.Duration
	// SilenceTimeout is how long the backend may send nothing, not even a pong, before the connection is given up with
	// ErrSilence. It also bounds how long the backend may owe a page of events. 0 means DefaultSilenceTimeout.
	SilenceTimeout time.Duration
	// MaxFrame is the size in bytes of the largest message that is read. A larger one ends the connection with ErrTooLarge.
	// 0 means DefaultMaxFrame.
	MaxFrame int64
}

// Cursor is a position in a store's events. The zero Cursor is the beginning.
type Cursor struct {
	// BackendID names the incarnation of the store that Seq belongs to. It is empty only in the zero Cursor.
	BackendID string `json:"backendId"`
	// Seq is the sequence number of the last event that was handled. 0 is the root, which is before the first event.
	Seq int64 `json:"eventSequenceNumber"`
}

// Event is one event of a store.
type Event struct {
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"` // nil when the event came without; nil is pushed as null
	// Seq is the event's sequence number. The first one is 1.
	Seq int64 `json:"seqNum"`
	// Parent is the Seq of the event before it, 0 for the first one.
	Parent    int64  `json:"parentSeqNum"`
	ClientID  string `json:"clientId"`
	SessionID string `json:"sessionId"`
	// CreatedAt is when the backend received the event, by its clock; zero when the backend did not say. It is not pushed.
	CreatedAt time.Time `json:"-"`
}

// Page is a part of a store's events, as one message brings them.
type Page struct {
	// BackendID and the Seq of the last event make the Cursor that goes on after this page.
	BackendID string
	// Events are in their order. There may be none: the first page of a pull always comes, and proves that the pull is up.
	Events []Event
	// Remaining is how many more events the backend holds; -1 when there are more and it did not say how many. 0 means that
	// this page has caught up, and that what follows is live.
	Remaining int64
}
