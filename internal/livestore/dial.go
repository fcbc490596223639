package livestore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"storekeeper/internal/tunnel"
)

const (
	// handshakeTimeout bounds everything from the DNS question to the backend's answer. A sleeping backend needs seconds.
	handshakeTimeout = 15 * time.Second
	// maxRetryAfter bounds what a refusal may ask for: a wrong header must not keep a store away for days.
	maxRetryAfter = 5 * time.Minute
)

// ownClient is the client of all callers that bring none.
var ownClient = newClient(http.ProxyFromEnvironment)

// newClient returns a client that tunnels through proxies, because the URL carries the payload. It keeps no idle connections,
// since those that it makes become WebSockets.
func newClient(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	return &http.Client{Transport: tunnel.New(&http.Transport{
		DialContext:         (&net.Dialer{Timeout: handshakeTimeout}).DialContext,
		TLSHandshakeTimeout: handshakeTimeout,
		DisableKeepAlives:   true,
	}, proxy)}
}

// Dial connects to the backend within 15 s. The end of ctx ends the handshake, and has no effect afterwards. The error is a
// *DialError, or a plain error when the options make no sense. The caller must end the connection with Close, or with a Pull,
// which ends it when it returns.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	var payload secret
	if o.Payload != nil {
		text, err := json.Marshal(o.Payload)
		if err != nil {
			return nil, errors.New("the sync payload cannot be encoded as JSON") // the cause may quote the payload
		}
		payload = text
	}
	address, err := o.address(payload)
	if err != nil {
		return nil, err
	}
	o.PingInterval = cmp.Or(o.PingInterval, DefaultPingInterval)
	o.SilenceTimeout = cmp.Or(o.SilenceTimeout, DefaultSilenceTimeout)
	if o.PingInterval <= 0 || o.PingInterval >= o.SilenceTimeout {
		return nil, errors.New("the ping interval must be more than 0 and less than the silence time-out")
	}
	client := ownClient
	if o.HTTPClient != nil {
		client = o.HTTPClient
	}
	staying := *client
	staying.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	handshake, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	ws, resp, err := websocket.Dial(handshake, address, &websocket.DialOptions{HTTPClient: &staying}) //nolint:bodyclose // the library says that nobody needs to
	if err != nil {
		return nil, payload.dialError(resp, err)
	}
	if o.MaxFrame <= 0 {
		o.MaxFrame = DefaultMaxFrame
	}
	ws.SetReadLimit(o.MaxFrame)
	return newConn(context.WithoutCancel(ctx), ws, o, payload), nil
}

// address returns the URL to dial. Its errors do not quote Options.URL, which may hold a password.
func (o Options) address(payload secret) (string, error) {
	if o.StoreID == "" {
		return "", errors.New("dialing a sync backend needs a store id")
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return "", errors.New("the sync backend's URL cannot be parsed")
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return "", fmt.Errorf("the sync backend's URL begins with %q, not with ws, wss, http or https", printable(u.Scheme))
	}
	if u.Host == "" {
		return "", errors.New("the sync backend's URL has no host")
	}
	query := u.Query()
	query.Set("storeId", o.StoreID)
	query.Set("transport", "ws")
	if len(payload) > 0 {
		// This is the first of two encodings. Query.Encode does the second.
		query.Set("payload", strings.ReplaceAll(url.QueryEscape(string(payload)), "+", "%20"))
	}
	u.RawQuery, u.Fragment = query.Encode(), ""
	return u.String(), nil
}
