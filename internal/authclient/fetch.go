package authclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxPages is far beyond a million workspaces in pages of 100; a cursor that never ends must not be followed for ever.
	maxPages = 20_000
	// maxPageAttempts bounds how often a page is asked for when the Auth Worker answers 429, and maxPageWait each wait for it:
	// what asks for more fails the list. usualPageWait is for a 429 that does not say.
	maxPageAttempts = 4
	maxPageWait     = time.Minute
	usualPageWait   = 15 * time.Second
	// aliveInterval is how often the one who waits for the list is told that it still goes on while we wait ourselves.
	aliveInterval = 5 * time.Second

	maxETagLength = 1 << 10
)

// fetch is how a list is asked for.
type fetch struct {
	// etag asks for the list only if it is no longer this one; "" asks in any case.
	etag string
	// whole: entry.workspace is wanted as well.
	whole bool
	// yield gets each entry. Its error ends the list and is returned as it is.
	yield func(*entry) error
	// alive is called now and then during a wait between pages; nil if nobody needs it.
	alive func()
}

// fetched is what a complete list was, beside its entries.
type fetched struct {
	ListSummary
	// notModified: the list is still the one with the fetch's etag; no entry was yielded, and the counts are 0.
	notModified bool
	// etag of the list, "" if it has none or came in several pages: then each page has its own.
	etag string
}

// fetch fetches the whole list, page after page. The errors are those of List.
func (c *Client) fetch(ctx context.Context, f fetch) (fetched, error) {
	got, err := c.fetchPages(ctx, f)
	c.heed(err)
	if err != nil {
		return fetched{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if got.FetchStartedAt.After(c.lastListAt) {
		c.lastListAt = got.FetchStartedAt
	}
	return got, nil
}

func (c *Client) fetchPages(ctx context.Context, f fetch) (fetched, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.listTimeout, ErrTimeout)
	defer cancel()
	got := fetched{ListSummary: ListSummary{FetchStartedAt: c.now()}}
	p := page{fetch: f, got: &got, left: c.limits.total}
	seen := map[string]bool{}
	for n := 1; ; n++ {
		if err := c.patientPage(ctx, &p); err != nil {
			return fetched{}, err
		}
		switch {
		case got.notModified:
			return got, nil
		case p.cursor == "":
			if n > 1 {
				got.etag = ""
			}
			if claimed := got.ClaimedEntries; claimed != nil && got.Entries < *claimed {
				return fetched{}, damaged("it has %d entries of the %d that it claims", got.Entries, *claimed)
			}
			return got, nil
		case seen[p.cursor]:
			return fetched{}, damaged("a cursor of its pages comes twice")
		case n == maxPages:
			return fetched{}, damaged("it has more than %d pages", maxPages)
		}
		seen[p.cursor] = true
	}
}

// page is where a fetch stands between two pages.
type page struct {
	fetch
	got    *fetched
	cursor string // of the page to ask for; "" for the first, and again after the last
	left   int64  // bytes that the rest of the list may have
}

// patientPage fetches a page. Between pages it waits when the Auth Worker has had enough for the moment: it would be a pity
// about the pages that have already come.
func (c *Client) patientPage(ctx context.Context, p *page) error {
	for attempt := 1; ; attempt++ {
		err := c.page(ctx, p)
		var status *StatusError
		if p.cursor == "" || attempt == maxPageAttempts || !errors.As(err, &status) || status.Code != http.StatusTooManyRequests {
			return err
		}
		wait := status.RetryAfter
		if wait == 0 {
			wait = usualPageWait
		}
		if wait > maxPageWait {
			return err
		}
		if err := sleep(ctx, wait, p.alive); err != nil {
			return err
		}
	}
}

// sleep waits, and says now and then that it still does.
func sleep(ctx context.Context, d time.Duration, alive func()) error {
	done := time.NewTimer(d)
	defer done.Stop()
	tick := time.NewTicker(aliveInterval)
	defer tick.Stop()
	for {
		if alive != nil {
			alive()
		}
		select {
		case <-done.C:
			return nil
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the next page of the workspace list: %w", context.Cause(ctx))
		}
	}
}

// page fetches the page at p.cursor and moves p to the next.
func (c *Client) page(ctx context.Context, p *page) error {
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	idle := time.AfterFunc(c.idleTimeout, func() { abort(ErrTimeout) })
	defer idle.Stop()

	etag := ""
	if p.cursor == "" {
		etag = p.etag
	}
	resp, err := c.send(ctx, http.MethodGet, p.cursor, etag)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := &listBody{
		ctx: ctx, r: resp.Body, idle: idle, idleTimeout: c.idleTimeout,
		left: bodyLimits{total: p.left, value: c.limits.value}, maxValue: c.limits.value,
	}
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		if now := entityTag(resp.Header); now != "" && opaque(now) != opaque(etag) {
			return damaged("it is said not to have changed, but its ETag has")
		}
		p.got.notModified = true
		return nil
	case resp.StatusCode != http.StatusOK:
		return c.statusError(resp, body)
	}
	d := newListDecoder(body)
	d.contentType, d.summary, d.whole, d.yield = resp.Header.Get("Content-Type"), &p.got.ListSummary, p.whole, p.yield
	if err := d.decode(); err != nil {
		return err
	}
	p.got.etag = entityTag(resp.Header)
	p.cursor, p.left = d.nextCursor, body.left.total
	return nil
}

// send sends one request for the list: for its first page, which is all there is today, or for the one at the cursor, and with
// an etag only if that is not what the list still is. When ctx is what ended it, the error wraps the cause of that.
func (c *Client) send(ctx context.Context, method, cursor, etag string) (*http.Response, error) {
	target := c.url
	if cursor != "" {
		target += "?" + url.Values{"cursor": {cursor}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the auth worker: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
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

// entityTag returns the answer's ETag, strong or weak, and "" when it has none that can be sent back.
func entityTag(h http.Header) string {
	etag := h.Get("ETag")
	text := opaque(etag)
	if len(etag) > maxETagLength || len(text) < 3 || text[0] != '"' || strings.IndexByte(text[1:], '"') != len(text)-2 {
		return ""
	}
	return etag
}

// opaque is what weak and strong forms of the same tag have in common.
func opaque(etag string) string { return strings.TrimPrefix(etag, "W/") }
