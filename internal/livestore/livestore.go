// Package livestore is a client of the LiveStore sync protocol: a live pull of one store's events, and pushes, over one
// WebSocket. It knows its protocol and nothing of what its caller does with the events.
//
// The backend's frames may be wrong in many ways. What is certain:
//
//   - The events that Pull hands over follow each other without a gap, each once per pull. What cannot be put in order ends
//     the pull with a *SequenceError; nothing is skipped to go on.
//   - A frame that is no JSON, or a frame for us that makes no sense, ends the connection with ErrProtocol: it may have held
//     events. The caller dials again and pulls from its cursor, and so loses nothing.
//   - Frames of unknown kinds and answers to requests that are not ours are ignored and counted (Conn.Ignored).
//   - No error holds the payload or the URL, which carries it. What the backend says is made printable, shortened and rid of
//     the payload's values before it enters an error.
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
	// DefaultMaxFrame is 1 MiB, the most that Cloudflare takes in one message, and a quarter for the metadata that the
	// backend adds to what was pushed. (It cuts its own chunks at 900,000 bytes.)
	DefaultMaxFrame = 1280 << 10
)

// Options says how to reach a store's events. URL and StoreID are required.
type Options struct {
	// URL of the sync backend: ws, wss, http or https. A path and a query are kept.
	URL string
	// StoreID names the store.
	StoreID string
	// Payload is sent with the handshake and each request, as JSON. It is a secret. Nil sends none.
	Payload any
	// HTTPClient does the handshake. It should be one for all connections. Redirects are never followed, for they would
	// carry the payload elsewhere. Nil means a client of the package's own, which obeys the proxy settings of the
	// environment, and tells a proxy the backend's host and port alone.
	HTTPClient *http.Client
	// PingInterval is how long the connection may be quiet before a ping goes out; it must be less than SilenceTimeout. 0 means
	// DefaultPingInterval.
	PingInterval time.Duration
	// SilenceTimeout is how long the backend may say nothing, not even a pong, before the connection is given up with
	// ErrSilence; likewise how long it may owe a page of events. 0 means DefaultSilenceTimeout.
	SilenceTimeout time.Duration
	// MaxFrame is the size in bytes of the largest message that is read; a larger one ends the connection with ErrTooLarge.
	// 0 means DefaultMaxFrame.
	MaxFrame int64
}

// Cursor is a position in a store's events. The zero Cursor is the beginning.
type Cursor struct {
	// BackendID is the incarnation of the store at the backend that Seq belongs to; empty only in the zero Cursor.
	BackendID string `json:"backendId"`
	// Seq is the sequence number of the last event that was handled. 0 is the root, before the first one.
	Seq int64 `json:"eventSequenceNumber"`
}

// Event is one event of a store.
type Event struct {
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"` // nil when the event came without; pushed as null
	// Seq starts at 1.
	Seq int64 `json:"seqNum"`
	// Parent is the Seq of the event before it, 0 for the first one.
	Parent    int64  `json:"parentSeqNum"`
	ClientID  string `json:"clientId"`
	SessionID string `json:"sessionId"`
	// CreatedAt is when the backend received the event; zero when it did not say. It is not pushed.
	CreatedAt time.Time `json:"-"`
}

// Page is a part of a store's events, as one message brings them.
type Page struct {
	// BackendID belongs, with the last event's Seq, into the Cursor that continues after this page.
	BackendID string
	// Events in their order. It may be empty: the first page of a pull always comes, and proves that the pull is up.
	Events []Event
	// Remaining is how many more events the backend holds, -1 when there are more but it did not say how many. 0 means that
	// this page has caught up, and what follows is live.
	Remaining int64
}
