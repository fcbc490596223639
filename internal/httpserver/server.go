// Package httpserver is what all servers of Storekeeper have in common: bounds that hold against whoever can connect, deadlines
// that leave handlers the time they need, and requests that are read in one way only.
package httpserver

import (
	"context"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// Options of a Server. All are required but Log.
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
	// Log has the warnings of the server, of which others can cause any number. Nil: none.
	Log *zap.Logger
}

// Server is an http.Server behind a door.
type Server struct {
	*http.Server
	door *door
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
	return &Server{door: d, Server: &http.Server{
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

// Serve is that of http.Server.
func (s *Server) Serve(l net.Listener) error {
	return s.Server.Serve(&listener{Listener: l, door: s.door})
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
