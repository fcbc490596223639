// Package tunneltest has proxies for tests.
package tunneltest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy is a running proxy.
type Proxy struct {
	// URL is where it answers.
	URL *url.URL

	serve func(*Proxy, net.Conn)
	dial  func(network, address string) (net.Conn, error)
	mu    sync.Mutex
	heads []string
	conns []net.Conn
}

// HTTP starts a proxy that tunnels and refuses every method but CONNECT. It runs until the end of the test. It requires the user and
// password of user, or none if user is nil.
func HTTP(t testing.TB, user *url.Userinfo) *Proxy {
	t.Helper()
	return start(t, &url.URL{Scheme: "http", User: user}, func(p *Proxy, c net.Conn) {
		r := bufio.NewReader(c)
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		head, _ := httputil.DumpRequest(request, false)
		p.note(string(head))
		password, _ := user.Password()
		as := http.Request{Header: http.Header{"Authorization": request.Header["Proxy-Authorization"]}}
		name, given, _ := as.BasicAuth()
		switch {
		case request.Method != http.MethodConnect:
			_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		case user != nil && (name != user.Username() || given != password):
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		default:
			p.join(c, r, request.Host, "HTTP/1.1 200 Connection established\r\n\r\n")
		}
	})
}

// SOCKS starts a SOCKS5 proxy without authentication. It runs until the end of the test.
func SOCKS(t testing.TB) *Proxy {
	t.Helper()
	return start(t, &url.URL{Scheme: "socks5"}, func(p *Proxy, c net.Conn) {
		hello := make([]byte, 2)
		if _, err := io.ReadFull(c, hello); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(hello[1])); err != nil {
			return
		}
		_, _ = c.Write([]byte{5, 0})
		request := make([]byte, 4) // version, command, reserved, kind of address
		if _, err := io.ReadFull(c, request); err != nil {
			return
		}
		size := map[byte]int{1: net.IPv4len, 4: net.IPv6len}[request[3]]
		if size == 0 {
			return // a name; tests have none
		}
		address := make([]byte, size+2)
		if _, err := io.ReadFull(c, address); err != nil {
			return
		}
		target := net.JoinHostPort(net.IP(address[:size]).String(), strconv.Itoa(int(binary.BigEndian.Uint16(address[size:]))))
		p.note(target)
		p.join(c, c, target, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
	})
}

func start(t testing.TB, address *url.URL, serve func(*Proxy, net.Conn)) *Proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address.Host = l.Addr().String()
	p := &Proxy{URL: address, serve: serve, dial: func(network, target string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(t.Context(), network, target)
	}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.keep(c)
			running.Go(func() {
				defer c.Close()
				p.serve(p, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.DropConnections()
		running.Wait()
	})
	return p
}

// join copies in both directions until one side ends.
func (p *Proxy) join(c net.Conn, from io.Reader, target, granted string) {
	far, err := p.dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	p.keep(far)
	if _, err := io.WriteString(c, granted); err != nil {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(c, far)
		_ = c.Close()
	}()
	_, _ = io.Copy(far, from)
	_ = far.Close()
	<-back
}

func (p *Proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
}

func (p *Proxy) note(head string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heads = append(p.heads, head)
}

// Heads are the requests of clients so far: request lines with their headers, or SOCKS targets.
func (p *Proxy) Heads() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.heads...)
}

// DropConnections closes all tunnels.
func (p *Proxy) DropConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// Speaking starts a server that gives each client the same answer to any request.
func Speaking(t testing.TB, answer string) *Proxy {
	t.Helper()
	return start(t, &url.URL{Scheme: "http"}, func(_ *Proxy, c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, answer)
		}
	})
}
