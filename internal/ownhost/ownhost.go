// Package ownhost keeps web pages away from servers that trust whoever can reach them, as those on loopback do.
//
// A page's script may send requests to any address, and read the answers of those that have the page's own origin. Whoever owns
// the page's domain can make its name mean 127.0.0.1 after it was loaded (DNS rebinding); then every answer is its own. What
// such a request can't change is the name in its Host header.
package ownhost

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Guard knows by which hosts a server may be asked. Ports don't count, for they may be forwarded.
type Guard struct {
	// origins are those of pages that a reverse proxy serves under the given names, whatever Host it passes on.
	origins []string
	names   []string
	addr    netip.Addr // the address listened on; the unspecified one stands for all
}

// New returns the Guard of a server that listens on listen (host:port). It may be asked by the name localhost and loopback
// addresses, by the address or the name that it listens on, by every address when it listens on all of them, and by further
// names. (An address in a Host is no danger: nobody can make it mean another one.)
func New(listen string, names ...string) *Guard {
	g := &Guard{names: []string{"localhost"}}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		host = listen
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		g.addr = addr.Unmap().WithZone("")
	case host == "":
		g.addr = netip.IPv6Unspecified()
	default:
		names = append(names, host)
	}
	for _, name := range names {
		g.names = append(g.names, canonical(name))
		g.origins = append(g.origins, "http://"+canonical(name), "https://"+canonical(name))
	}
	return g
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// owns says whether the host, with or without a port, is one of the server's.
func (g *Guard) owns(hostPort string) bool {
	host := (&url.URL{Host: hostPort}).Hostname()
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return slices.Contains(g.names, canonical(host))
	}
	addr = addr.Unmap().WithZone("")
	return addr.IsLoopback() || g.addr.IsValid() && (addr == g.addr || g.addr.IsUnspecified())
}

// Handler hands next the requests that no foreign page can have sent. It answers the others: 421 for another host, 403 for a
// request that may change something and comes from a page of another origin, and for a WebSocket, which browsers open to
// everywhere, of a page of another host.
func (g *Guard) Handler(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	for _, origin := range g.origins {
		_ = protection.AddTrustedOrigin(origin) // a name that makes no origin is none that a browser sends
	}
	protected := protection.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !g.owns(r.Host):
			http.Error(w, "This server is not known by that host name: ask for it by its address, or as localhost.", http.StatusMisdirectedRequest)
		case r.Header.Get("Upgrade") != "" && !g.ownsOrigin(r.Header.Get("Origin")):
			http.Error(w, "A page of another host opens no WebSocket here.", http.StatusForbidden)
		default:
			protected.ServeHTTP(w, r)
		}
	})
}

// ownsOrigin is true without an origin: who sends none is no browser.
func (g *Guard) ownsOrigin(origin string) bool {
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && g.owns(u.Host)
}
