// Package httpclient makes the transport of all our HTTP clients, except for WebSockets and the notifier. What was learnt about one client
// thus applies to all.
package httpclient

import (
	"net"
	"net/http"
	"time"

	"storekeeper/internal/tracing"
	"storekeeper/internal/tunnel"
)

// Through returns a transport that obeys the proxy settings of the environment, and owns t from then on. A proxy is told the host and the
// port of the target, and nothing else.
func Through(t *http.Transport) *tunnel.Transport { return tunnel.New(t, http.ProxyFromEnvironment) }

// Traced is Through, and tells the other side which trace and request a call is made for (tracing.Transport).
func Traced(t *http.Transport) tracing.Transport { return tracing.Transport{Base: Through(t)} }

const (
	// dialTimeout bounds a connection's TCP handshake, and then its TLS handshake.
	dialTimeout = 5 * time.Second
	// pingAfter is how long an HTTP/2 connection may be silent before it is pinged, and pingTimeout is how long the answer may take. All
	// requests share one HTTP/2 connection. If it were dead without anyone noticing, they would all wait for ever, though a new connection
	// would work. (HTTP/1 needs no pings: a request that ends without an answer closes its connection.)
	pingAfter   = 5 * time.Second
	pingTimeout = 5 * time.Second
	// writeTimeout is how long the other side may accept no data before the connection is given up.
	writeTimeout = 10 * time.Second
	// idleTimeout is how long an unused connection is kept.
	idleTimeout = 90 * time.Second
)

// Transport returns a new transport, for requests that never leave the machine or to be passed to Through. It uses no proxy, speaks HTTP/2
// where the other side does, and gives up dead connections. It does not bound a whole request: that is up to the caller.
func Transport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		IdleConnTimeout:     idleTimeout,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: writeTimeout},
	}
}

// Fixed is for who asks for the newest token each time, when there is but one.
func Fixed(token string) func() string { return func() string { return token } }
