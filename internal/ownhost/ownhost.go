// Package ownhost keeps web pages away from servers that trust everybody who can reach them, such as those on loopback.
//
// A page's script may send requests to any address, and may read the answers of its own origin. The owner of the page's domain can make the
// domain's name mean 127.0.0.1 once the page is loaded (DNS rebinding): the answers of a server on loopback then count as the page's own.
// But such a request can't change the name in its Host header, so that is what a Guard checks.
package ownhost

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Guard knows the hosts that requests to a server may name. Ports don't count, because they may be forwarded.
type Guard struct {
	// origins are those of pages that a reverse proxy serves under the given names, whatever Host it passes on.
	origins []string
	names   []string
	addr    netip.Addr // the address that the server listens on; the unspecified address stands for all
}

// New returns the Guard of a server that listens on listen (host:port). Requests may name localhost, a loopback address, the address or
// name that the server listens on, any address when it listens on all of them, and the further names. (An address as Host is no danger:
// nobody can make it mean another one.)
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

// Handler passes to next the requests that no foreign page can have sent. It answers 421 to requests for another host, and 403 to requests
// that may change something and come from a page of another origin. It also answers 403 to a WebSocket from a page of another host, because
// browsers open WebSockets to any host.
func (g *Guard) Handler(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	for _, origin := range g.origins {
		_ = protection.AddTrustedOrigin(origin) // a browser sends no origin that can't be parsed
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

// ownsOrigin is true for "": a client that sends no origin is no browser.
func (g *Guard) ownsOrigin(origin string) bool {
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && g.owns(u.Host)
}
