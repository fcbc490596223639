// Package authclient asks the Auth Worker, the only source of truth about workspaces: it streams the authoritative list
// and answers whether a workspace is gone.
//
// The list is believed whole or not at all: whatever is wrong with it makes it ErrDamaged, because a caller that took a
// part for the whole would remove stores that are in use.
package authclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	listPath     = "/internal/workspaces"
	probeTimeout = 10 * time.Second

	// The Auth Worker allows 60 requests a minute from one address. Re-checks keep to 4 a minute (8 in the first), which
	// leaves the rest to reconciliation, to health probes and to whatever else shares the address.
	defaultMinListInterval = 15 * time.Second
	defaultListBurst       = 4

	defaultIdleTimeout = 30 * time.Second
	defaultListTimeout = 10 * time.Minute
)

// Options configures a Client. Only BaseURL and Token are required.
type Options struct {
	// BaseURL is where the Auth Worker answers, e.g. "https://auth.example.com"; http or https, a path prefix is allowed.
	BaseURL string
	// Token is the bearer token of the internal endpoints. It is sent to BaseURL only: redirects are not followed.
	Token string
	// HTTPClient carries the requests. Nil means one of the Client's own. Its CheckRedirect is not used, and a Timeout in
	// it would bound whole lists.
	HTTPClient *http.Client
	// Now is the clock that ListSummary.FetchStartedAt is read from. Nil means time.Now.
	Now func() time.Time
	// MinListInterval and ListBurst pace the lists that Absent fetches: ListBurst at once, then one per MinListInterval.
	// Zero means 15 s and 4.
	MinListInterval time.Duration
	ListBurst       int
	// IdleTimeout bounds the wait for the answer's header and for each further piece of its body. Zero means 30 s.
	IdleTimeout time.Duration
	// ListTimeout bounds a whole list, the time that the receiver of its entries takes included. Zero means 10 min.
	ListTimeout time.Duration
}

// Client asks one Auth Worker. It is safe for concurrent use and needs no closing.
type Client struct {
	url         string
	token       string
	http        *http.Client
	now         func() time.Time
	idleTimeout time.Duration
	listTimeout time.Duration
	limits      bodyLimits

	// For Absent; see recheck.go.
	interval time.Duration
	limiter  *rate.Limiter
	fetching chan struct{} // holds one element while a re-check fetches its list

	mu       sync.Mutex
	next     *recheck  // collects callers until its fetch starts; nil when nobody waits for a fetch
	quietTil time.Time // the Auth Worker asked for no list before this moment
}

// New returns a client, without asking the Auth Worker anything.
// It fails when BaseURL is no absolute http(s) URL, or carries credentials, a query or a fragment, or when Token is empty.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.BaseURL)
	switch {
	case err != nil:
		// Not wrapped: the text of the parser's error repeats the URL, which may hold a password.
		return nil, errors.New("the auth worker's URL can't be parsed")
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "":
		return nil, errors.New("the auth worker's URL must be absolute, with http or https")
	case base.User != nil, base.RawQuery != "", base.Fragment != "":
		return nil, errors.New("the auth worker's URL must have no credentials, query or fragment")
	case strings.TrimSpace(o.Token) == "":
		return nil, errors.New("the auth worker's token is missing")
	case o.MinListInterval < 0, o.ListBurst < 0, o.IdleTimeout < 0, o.ListTimeout < 0:
		return nil, errors.New("the auth client's limits must not be negative")
	}
	c := &Client{
		url:         base.JoinPath(listPath).String(),
		token:       o.Token,
		http:        clientWithoutRedirects(o.HTTPClient),
		now:         o.Now,
		idleTimeout: orDefault(o.IdleTimeout, defaultIdleTimeout),
		listTimeout: orDefault(o.ListTimeout, defaultListTimeout),
		limits:      defaultBodyLimits,
		interval:    orDefault(o.MinListInterval, defaultMinListInterval),
		fetching:    make(chan struct{}, 1),
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.limiter = rate.NewLimiter(rate.Every(c.interval), orDefault(o.ListBurst, defaultListBurst))
	return c, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func clientWithoutRedirects(given *http.Client) *http.Client {
	c := &http.Client{}
	if given != nil {
		*c = *given
	} else {
		c.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	// The token is meant for this host alone, and a list from elsewhere is not authoritative.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// Probe asks whether the Auth Worker can be reached, at the cost of one of its 60 requests a minute but without a list.
// Nil means that it answered with a status below 500. ErrUnauthorized means that it refused the token; the reverse does not
// hold, as it may refuse the method (405) before it looks at the token: only a List proves the token. A status of 500 and above
// is a *StatusError, any other error is of the network. It takes at most 10 s.
func (c *Client) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, ErrTimeout)
	defer cancel()
	resp, err := c.send(ctx, http.MethodHead)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code >= http.StatusInternalServerError:
		return &StatusError{Code: code, RetryAfter: retryAfter(resp.Header, time.Now())}
	}
	return nil
}

// send sends one request for the list. When ctx is what ended it, the error wraps the cause of that.
func (c *Client) send(ctx context.Context, method string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the auth worker: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	// No Accept-Encoding: the transport asks for gzip and unpacks it by itself as long as nobody else does.
	resp, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("asking the auth worker: %w", err)
	}
	return resp, nil
}
