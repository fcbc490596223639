// Package httpclient makes the transport of every HTTP client of ours but the WebSockets' and the notifier's, so that a new one can't forget what an old one has learnt.
package httpclient

import (
	"net"
	"net/http"
	"time"

	"storekeeper/internal/tunnel"
)

// Through has the transport, which it owns from then on, obey the proxy settings of the environment. A proxy is told the host and the
// port of the target, and nothing else.
func Through(t *http.Transport) *tunnel.Transport { return tunnel.New(t, http.ProxyFromEnvironment) }

const (
	// dialTimeout bounds a connection's TCP handshake, and then its TLS handshake.
	dialTimeout = 5 * time.Second
	// pingAfter is how long an HTTP/2 connection may say nothing until it is asked whether it is still there, pingTimeout how long it
	// may take to answer. All requests share that one connection: a dead one would let them wait in vain, for ever, while a new one
	// would pass. (HTTP/1 needs none of it: a request that ends without an answer takes its connection along.)
	pingAfter   = 5 * time.Second
	pingTimeout = 5 * time.Second
	// writeTimeout is how long the other side may take nothing of what is sent before the connection is given up.
	writeTimeout = 10 * time.Second
	// idleTimeout is how long an unused connection is kept.
	idleTimeout = 90 * time.Second
)

// Transport returns a new transport for what never leaves the machine, or to be given to Through: it uses no proxy, speaks HTTP/2 where the
// other side does, and gives a connection up that is dead. It bounds no request as a whole: that is the caller's affair.
func Transport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		IdleConnTimeout:     idleTimeout,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: writeTimeout},
	}
}
