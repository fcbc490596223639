// Package httpserver is what all HTTP servers of Storekeeper have in common. A Server has bounds that hold against whoever can connect, and
// deadlines that leave handlers the time they need; Run serves, and drains at the end. Prepare has requests read in one way only. The rest is for
// handlers: request ids (Identify), tokens (Token, Require), the answers 405 (MethodNotAllowed) and 500 (Recover), JSON and problems.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// Options of a Server. All are required but MaxHeaderBytes and Log.
type Options struct {
	Handler http.Handler
	// ReadHeaderTimeout is for the head of a request, ReadTimeout for all of it. Both count from its first byte.
	ReadHeaderTimeout, ReadTimeout time.Duration
	// WriteTimeout is for an answer, from its first byte on, unless the handler sets a deadline of its own.
	WriteTimeout time.Duration
	IdleTimeout  time.Duration
	// MaxHeaderBytes 0 means 1 MiB.
	MaxHeaderBytes int
	// MaxConnections are served at a time. A new one then takes the place of the one that is missed least.
	MaxConnections int
	// Log gets the warnings of the server. Others can cause any number of them. Nil: none.
	Log *zap.Logger
}

// Server is an http.Server behind a door.
type Server struct {
	server *http.Server
	door   *door
	log    *zap.Logger
}

// New returns a Server that is not listening yet.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	errorLog, err := zap.NewStdLogAt(o.Log, zap.WarnLevel)
	if err != nil {
		panic(err) // there is such a level
	}
	d := &door{limit: o.MaxConnections, writeTimeout: o.WriteTimeout}
	return &Server{door: d, log: o.Log, server: &http.Server{
		Handler:           o.Handler,
		ReadHeaderTimeout: o.ReadHeaderTimeout,
		ReadTimeout:       o.ReadTimeout,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    o.MaxHeaderBytes,
		ErrorLog:          errorLog,
		ConnState:         d.follow,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}}
}

// Serve serves what comes to l through the door, and closes l. It returns http.ErrServerClosed after Shutdown or Close.
func (s *Server) Serve(l net.Listener) error {
	return s.server.Serve(&listener{Listener: l, door: s.door})
}

// Shutdown takes no more connections, and waits until the requests under way are done. The error is that of ctx if it ends before.
func (s *Server) Shutdown(ctx context.Context) error { return s.server.Shutdown(ctx) }

// Close closes all connections at once, but those that a handler has taken over.
func (s *Server) Close() error { return s.server.Close() }

// RegisterOnShutdown has f called when Shutdown begins, in a goroutine of its own.
func (s *Server) RegisterOnShutdown(f func()) { s.server.RegisterOnShutdown(f) }

// Run serves on l, which it closes, until ctx ends. Requests under way then get drain to finish. Those that take longer are cut off. That is no
// error: their callers got no answer, and ask again.
func (s *Server) Run(ctx context.Context, l net.Listener, drain time.Duration) error {
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := s.Shutdown(shutdown)
	if err != nil {
		s.log.Warn("requests cut off by the shutdown", zap.Error(err))
		err = s.Close()
	}
	if errors.Is(err, net.ErrClosed) { // the listener, by Shutdown
		err = nil
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve: %w", ended))
	}
	return err
}

// Connections is how many there are.
func (s *Server) Connections() int {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	return len(s.door.open)
}

// Crowded says whether there was no room for a connection less than d ago.
func (s *Server) Crowded(d time.Duration) bool {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	return !s.door.crowded.IsZero() && time.Since(s.door.crowded) < d
}
