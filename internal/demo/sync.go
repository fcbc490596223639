package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"storekeeper/internal/httpserver"
	"storekeeper/internal/ownhost"
)

// SyncDialect is the version of the sync protocol that errors are encoded for. All else is the same in both versions.
type SyncDialect int

// The dialects.
const (
	// SyncDev22 is @livestore/sync-cf 0.4.0-dev.22, which wraps errors.
	SyncDev22 SyncDialect = iota
	// SyncV040 is @livestore/sync-cf 0.4.0.
	SyncV040
)

// SyncBackendOptions configures a demo sync backend. The zero value is useful.
type SyncBackendOptions struct {
	// Listen is a host:port; port 0 picks a free one. Empty means 127.0.0.1:0.
	Listen string
	// DatabasePath is the SQLite file of events. It is created when missing. Empty keeps events in memory only. With a file, the stores
	// used since the start are in memory as well.
	DatabasePath string
	// Token is the serverBypass that a client's payload must have; other handshakes are answered with status 400. Empty accepts all.
	Token string
	// Tokens returns those that are accepted, at each handshake. Nil: Token alone.
	Tokens func() httpserver.Tokens
	// Dialect is that of the errors.
	Dialect SyncDialect
	// Logger may be nil.
	Logger *zap.Logger
}

// SyncBackend is a running demo sync backend. It speaks LiveStore's sync protocol over WebSockets, as @livestore/sync-cf does on
// Cloudflare, on any path. It is made for ten thousand connections: an idle one has one goroutine.
type SyncBackend struct {
	tokens  func() httpserver.Tokens // nil: all are admitted
	dialect SyncDialect
	log     *zap.Logger
	db      *syncDatabase // nil in memory
	server  *http.Server
	url     string
	served  chan struct{} // closed when the server's goroutine has ended
	working sync.WaitGroup

	fault      atomic.Int64 // a SyncFault
	handshakes handshakes

	mu       sync.Mutex
	stopping bool
	stores   map[string]*syncStore
	conns    map[*syncConn]struct{}
}

// StartSyncBackend opens the database and starts to serve. It answers by the time it returns. ctx bounds only the start.
func StartSyncBackend(ctx context.Context, o SyncBackendOptions) (*SyncBackend, error) {
	if o.Tokens == nil && o.Token != "" {
		o.Tokens = httpserver.FixedTokens(o.Token)
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	b := &SyncBackend{
		tokens: o.Tokens, dialect: o.Dialect, log: o.Logger, served: make(chan struct{}),
		stores: map[string]*syncStore{}, conns: map[*syncConn]struct{}{},
	}
	if o.DatabasePath != "" {
		var err error
		if b.db, err = openSyncDatabase(ctx, o.DatabasePath); err != nil {
			return nil, fmt.Errorf("opening the demo sync backend's database: %w", err)
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the demo sync backend: %w", err), b.db.close())
	}
	b.url = "ws://" + listener.Addr().String()
	b.server = &http.Server{
		Handler:           ownhost.New(o.Listen).Handler(http.HandlerFunc(b.serve)), // its token may be the published one
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ConnState:         b.handshakes.follow,
		ErrorLog:          zap.NewStdLog(o.Logger),
	}
	go func() {
		defer close(b.served)
		if err := b.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			b.log.Error("demo sync backend stopped serving", zap.Error(err))
		}
	}()
	return b, nil
}

// URL is where it answers, with the scheme ws and without a trailing slash.
func (b *SyncBackend) URL() string { return b.url }

// Stop drops all connections, waits until the work that they began has ended or ctx ends, and closes the database. Call it once.
func (b *SyncBackend) Stop(ctx context.Context) error {
	b.mu.Lock()
	b.stopping = true
	b.mu.Unlock()
	err := b.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, b.server.Close())
	}
	<-b.served
	b.DropConnections()
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		b.working.Wait()
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	return errors.Join(err, b.db.close())
}

// DropConnections closes all connections without a closing handshake.
func (b *SyncBackend) DropConnections() {
	b.mu.Lock()
	all := make([]*syncConn, 0, len(b.conns))
	for c := range b.conns {
		all = append(all, c)
	}
	b.mu.Unlock()
	for _, c := range all {
		c.drop()
	}
}

// Connections returns how many connections there are now.
func (b *SyncBackend) Connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

// PeakHandshakes returns how many handshakes were under way at the same time, at most, since the last call. A handshake is under way until
// its connection is closed or answered with a WebSocket.
func (b *SyncBackend) PeakHandshakes() int { return b.handshakes.takePeak() }

// Pulls returns how many live pulls a store has.
func (b *SyncBackend) Pulls(storeID string) int {
	b.mu.Lock()
	s := b.stores[storeID]
	b.mu.Unlock()
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pulls)
}

// ResetStore removes a store's events and gives the store another backend id. Its pulls continue, and bring the events of the new backend
// id.
func (b *SyncBackend) ResetStore(ctx context.Context, storeID string) error {
	s, err := b.store(ctx, storeID)
	if err != nil {
		return err
	}
	return s.reset(ctx, b.db)
}

// serve does the handshake. A goroutine of its own does what follows. Otherwise the server's buffers and deep stack would stay as long as
// the connection does.
func (b *SyncBackend) serve(w http.ResponseWriter, r *http.Request) {
	if b.currentFault() == SyncFaultRefuse {
		http.Error(w, "Service unavailable", http.StatusServiceUnavailable)
		return
	}
	query := r.URL.Query()
	storeID := query.Get("storeId")
	if storeID == "" || query.Get("transport") != "ws" {
		http.Error(w, "Info: Sync backend endpoint for LiveStore.", http.StatusBadRequest)
		return
	}
	if !b.admits(query.Get("payload")) {
		http.Error(w, "Invalid payload", http.StatusBadRequest)
		return
	}
	store, err := b.store(r.Context(), storeID)
	if err != nil {
		b.log.Error("demo sync backend failed to open a store", zap.Error(err))
		http.Error(w, "Error", http.StatusInternalServerError)
		return
	}
	taker := &connTaker{ResponseWriter: w, handshakes: &b.handshakes}
	ws, err := websocket.Accept(taker, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the Guard has checked the origin
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(maxSyncMessage)
	c := &syncConn{backend: b, store: store, ws: ws, raw: taker.conn, ctx: context.WithoutCancel(r.Context())}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopping {
		_ = ws.CloseNow()
		return
	}
	b.conns[c] = struct{}{}
	b.working.Go(c.run)
}

// admits checks the token in the payload. The payload is encoded once more than the query is.
func (b *SyncBackend) admits(encoded string) bool {
	if b.tokens == nil {
		return true
	}
	text, err := url.QueryUnescape(encoded)
	if err != nil {
		return false
	}
	var payload struct {
		ServerBypass string `json:"serverBypass"`
	}
	if json.Unmarshal([]byte(text), &payload) != nil {
		return false
	}
	_, known := b.tokens().Caller(payload.ServerBypass)
	return known
}

// store returns the store of the id. Every id exists.
func (b *SyncBackend) store(ctx context.Context, id string) (*syncStore, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.stores[id]; s != nil {
		return s, nil
	}
	s := &syncStore{id: id, pulls: map[*syncPull]struct{}{}}
	if b.db == nil {
		s.backendID = newBackendID()
	} else if err := b.db.load(ctx, s); err != nil {
		return nil, err
	}
	b.stores[id] = s
	return s, nil
}

// handshakes counts the connections that are not WebSockets yet.
type handshakes struct {
	mu        sync.Mutex
	now, peak int
}

func (h *handshakes) add(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now += n
	h.peak = max(h.peak, h.now)
}

// follow is the server's ConnState. It does not count the end of a handshake that succeeds, because it would be too late: the client has
// its answer by then, and may have begun the next handshake.
func (h *handshakes) follow(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		h.add(+1)
	case http.StateClosed:
		h.add(-1)
	default: // no handshake begins or ends
	}
}

func (h *handshakes) takePeak() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	peak := h.peak
	h.peak = h.now
	return peak
}

// connTaker counts the end of a handshake, and keeps the connection under the WebSocket.
type connTaker struct {
	http.ResponseWriter
	handshakes *handshakes
	conn       net.Conn
}

// Hijack implements http.Hijacker. websocket.Accept calls it to send the answer.
func (t *connTaker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	t.handshakes.add(-1)
	conn, buffers, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		t.handshakes.add(+1) // the handshake goes on until the server closes the connection
	}
	t.conn = conn
	return conn, buffers, err
}
