// Package authclient asks the Auth Worker, the only source of truth about workspaces. It streams the authoritative list and answers
// whether a workspace is gone.
//
// The list is believed as a whole or not at all. Anything wrong or contradictory in it makes it ErrDamaged, because a caller that took a
// part for the whole would remove stores that are in use.
package authclient

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"storekeeper/internal/httpclient"
)

const (
	listPath = "/internal/workspaces"

	// The Auth Worker allows 60 requests a minute from one address. Re-checks use 3 of them at most, and leave the rest to reconciliation
	// and to others on that address.
	defaultListMaxAge = 20 * time.Second

	defaultIdleTimeout = 30 * time.Second
	defaultListTimeout = 10 * time.Minute
)

// Options configures a Client. Only BaseURL and Token are required.
type Options struct {
	// BaseURL is where the Auth Worker answers, e.g. "https://auth.example.com"; http or https, a path prefix is allowed.
	BaseURL string
	// Token is the bearer token of the internal endpoints. It is sent to BaseURL only: redirects are not followed.
	Token string
	// HTTPClient carries the requests. Nil means that the Client makes one. Its CheckRedirect is not used. A Timeout in it would bound
	// whole lists.
	HTTPClient *http.Client
	// Now is the clock that ListSummary.FetchStartedAt is read from. Nil means time.Now.
	Now func() time.Time
	// ListMaxAge is the pace of the lists that Absent fetches: the least time between the starts of two. Zero means 20 s.
	ListMaxAge time.Duration
	// IdleTimeout bounds the wait for an answer's header (of each page) and for each further piece of its body. Zero means 30 s.
	IdleTimeout time.Duration
	// ListTimeout bounds a whole list, with all its pages and the time that the receiver of its entries takes. Zero means 10 min.
	ListTimeout time.Duration
	// SpillDir is where Sorted keeps what outgrows memory, 40 bytes for each workspace. The files have no name, so nothing is left of them
	// however the process ends. Empty means the system's directory for temporary files.
	SpillDir string
	// Ended is called with how each list ended that Status counts: nil for a complete one, else what Status has as Err. It must not block. Nil: nobody is
	// told.
	Ended func(error)
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
	ended       func(error)

	maxAge   time.Duration
	spillDir string
	fetching chan struct{} // holds one element while a re-check fetches its list

	mu       sync.Mutex
	status   Status    // without what the other fields here say
	claiming bool      // some list had metadata
	kept     *keptList // what an ETag stands for; nil without one
	next     *recheck  // collects callers until its fetch starts; nil when nobody waits for a fetch
	failures int       // of re-checks in a row
	earliest time.Time // of the next re-check's list, by our own pace
	quietTil time.Time // the Auth Worker asked for no list before this moment
}

// New returns a client, without asking the Auth Worker anything. It fails when BaseURL is no absolute http(s) URL, or carries credentials,
// a query or a fragment, when Token is empty, or when a limit is negative.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.BaseURL)
	switch {
	case err != nil:
		// Not wrapped, because the parser's error repeats the URL, which may hold a password.
		return nil, errors.New("the auth worker's URL can't be parsed")
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "":
		return nil, errors.New("the auth worker's URL must be absolute, with http or https")
	case base.User != nil, base.RawQuery != "", base.Fragment != "":
		return nil, errors.New("the auth worker's URL must have no credentials, query or fragment")
	case strings.TrimSpace(o.Token) == "":
		return nil, errors.New("the auth worker's token is missing")
	case o.ListMaxAge < 0, o.IdleTimeout < 0, o.ListTimeout < 0:
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
		ended:       o.Ended,
		status:      Status{Ended: map[Outcome]int64{}},
		maxAge:      orDefault(o.ListMaxAge, defaultListMaxAge),
		spillDir:    o.SpillDir,
		fetching:    make(chan struct{}, 1),
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.ended == nil {
		c.ended = func(error) {}
	}
	return c, nil
}

func orDefault(v, def time.Duration) time.Duration {
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
		c.Transport = httpclient.Through(httpclient.Transport())
	}
	// The token is meant for this host alone, and a list from elsewhere is not authoritative.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}
