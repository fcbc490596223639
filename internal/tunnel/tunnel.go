// Package tunnel sends HTTP requests through proxies in such a way that a proxy is told the host and the port of the target, and nothing
// else.
package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// connectTimeout bounds how long a proxy may take to reach the target.
const connectTimeout = 15 * time.Second

// maxAnswer bounds the answer to a CONNECT, in bytes.
const maxAnswer = 64 << 10

// Transport is an http.RoundTripper that uses proxies. For an http URL, net/http would hand the whole request to the proxy, whose logs then
// hold the path, the query and the secrets in them. A Transport opens a tunnel (CONNECT) instead, as net/http does for https. A SOCKS5
// proxy only knows tunnels.
//
// A proxy may refuse tunnels to ports other than 443; then its refusal is the error. Errors never quote the proxy's URL, which may hold a
// password.
type Transport struct {
	*http.Transport

	proxy func(*http.Request) (*url.URL, error)
}

// New makes a Transport of t, and owns t from then on. proxy, such as http.ProxyFromEnvironment, returns the proxy for a request, or nil
// for none.
func New(t *http.Transport, proxy func(*http.Request) (*url.URL, error)) *Transport {
	direct := t.DialContext
	if direct == nil {
		direct = new(net.Dialer).DialContext
	}
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		if r.Context().Value(tunnelKey{}) != nil {
			return nil, nil
		}
		return find(proxy, r)
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if through, ok := ctx.Value(tunnelKey{}).(*url.URL); ok {
			return connect(ctx, direct, through, address)
		}
		return direct(ctx, network, address)
	}
	return &Transport{t, proxy}
}

// tunnelKey is the context key of the proxy that a request is tunnelled through.
type tunnelKey struct{}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" {
		through, err := find(t.proxy, r)
		if err != nil {
			return nil, err
		}
		if through != nil && (through.Scheme == "http" || through.Scheme == "https") {
			r = r.WithContext(context.WithValue(r.Context(), tunnelKey{}, through))
		}
	}
	return t.Transport.RoundTrip(r)
}

func find(proxy func(*http.Request) (*url.URL, error), r *http.Request) (*url.URL, error) {
	found, err := proxy(r)
	if err != nil {
		return nil, errors.New("the proxy settings can't be read") // err quotes them
	}
	return found, nil
}

// connect opens a tunnel to the target.
func connect(
	ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), proxy *url.URL, target string,
) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[proxy.Scheme]
	}
	plain, err := dial(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = plain.SetDeadline(time.Unix(1, 0)) }) // ends a read or write that is under way
	conn := plain
	if proxy.Scheme == "https" {
		conn = tls.Client(plain, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
	}
	err = handshake(conn, proxy, target)
	if !stop() {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// handshake asks the proxy for the tunnel.
func handshake(conn net.Conn, proxy *url.URL, target string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{}}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := request.Write(conn); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	reader := bufio.NewReader(io.LimitReader(conn, maxAnswer))
	answer, err := http.ReadResponse(reader, request)
	if err != nil {
		return fmt.Errorf("proxy: no HTTP answer to CONNECT: %w", err)
	}
	if answer.StatusCode/100 != 2 {
		_ = answer.Body.Close()
		return fmt.Errorf("the proxy refused a tunnel to %s with status %d", target, answer.StatusCode)
	}
	if reader.Buffered() > 0 { // the target says nothing before it is asked
		return errors.New("proxy: more than an answer to CONNECT")
	}
	return nil
}
