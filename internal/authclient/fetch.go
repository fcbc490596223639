package authclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxPages is far beyond a million workspaces in pages of 100. Without it a cursor that never ends would be followed for ever.
	maxPages = 20_000
	// maxPageAttempts bounds how often a page is asked for when the Auth Worker asks to be left alone for a moment. usualPageWait is for a
	// 429 that does not say for how long.
	maxPageAttempts = 4
	usualPageWait   = 15 * time.Second
	// aliveInterval is how often the caller is told that the list still goes on while we wait.
	aliveInterval = 5 * time.Second

	maxETagLength = 1 << 10
)

// fetch is how a list is asked for.
type fetch struct {
	// etag asks for the list only if it has changed since that tag; "" asks in any case.
	etag string
	// detailed: entries have what people entered, as well.
	detailed bool
	// fresh: an answer from a cache is of no use, however new it is.
	fresh bool
	// yield gets each entry. Its error ends the list and is returned as it is.
	yield func(*entry) error
	// alive is called now and then during a wait between pages; nil if nobody needs it.
	alive func()
	// timeout bounds the whole list; 0 is the client's.
	timeout time.Duration
}

// fetched is what a complete list was, beside its entries.
type fetched struct {
	ListSummary
	// notModified: the list is the same as that of the fetch's etag. No entry was yielded, and the counts are 0.
	notModified bool
	// etag of the list; "" if it has none, or came in several pages, each of which has its own.
	etag string
	// claims of the list; nil if it has none.
	claims *claims
}

// fetch streams the whole list, page after page. Its entries are in no order, and a workspace with several members comes several times.
// Beside the entry in hand it keeps 16 bytes of each in memory, by which it sees a list that contradicts itself.
//
// The list was complete only if the error is nil. Whatever was yielded before an error must not be acted on. An error of f.yield ends the
// list and is returned as it is. The others are *StatusError, ErrUnauthorized, ErrDamaged, ErrCached, ErrTimeout, the cause of ctx's end,
// or one of the network.
func (c *Client) fetch(ctx context.Context, f fetch) (fetched, error) {
	var refused error // by the receiver, which is nobody's fault here
	receive := f.yield
	f.yield = func(e *entry) error {
		refused = receive(e)
		return refused
	}
	got, err := c.fetchPages(ctx, f)
	if err == nil {
		err = c.compare(got)
	}
	c.heed(err)
	if refused == nil && ctx.Err() == nil {
		c.note(got, err)
		c.ended(err)
	}
	if err != nil {
		return fetched{}, err
	}
	return got, nil
}

// compare checks a complete list against the lists before it.
func (c *Client) compare(got fetched) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case got.Cached && !got.FetchStartedAt.After(c.status.ListAt):
		// Otherwise the same answer would confirm itself.
		return fmt.Errorf("%w: it is no newer than the list before", ErrCached)
	case c.claiming && got.claims == nil && !got.notModified:
		return damaged("it has no metadata, and earlier ones had (after a change to an older Auth Worker, restart)")
	}
	c.claiming = c.claiming || got.claims != nil
	return nil
}

func (c *Client) fetchPages(ctx context.Context, f fetch) (fetched, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(f.timeout, c.listTimeout), ErrTimeout)
	defer cancel()
	got := fetched{ListSummary: ListSummary{FetchStartedAt: c.now()}}
	p := page{fetch: f, got: &got, tally: newTally(), left: c.limits.total}
	seen := map[string]bool{}
	for n := 1; ; n++ {
		before := got.Entries
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
			return got, p.finish(n)
		case got.Entries == before:
			return fetched{}, damaged("a page without entries says that there is another")
		case seen[p.cursor]:
			return fetched{}, damaged("a cursor of its pages comes twice")
		case n == maxPages:
			return fetched{}, damaged("it has more than %d pages", maxPages)
		}
		seen[p.cursor] = true
	}
}

// finish checks the list against what it says of itself, once all its pages are there.
func (p *page) finish(pages int) error {
	got := p.got
	switch {
	case pages > 1 && got.claims == nil: // then nobody could see that one is missing
		return damaged("it comes in pages and does not say how many entries it has")
	case p.pages > 0 && p.pages != pages:
		return damaged("it has %d pages and says that it has %d", pages, p.pages)
	}
	if got.claims != nil {
		got.ClaimedEntries = &got.claims.workspaces
	}
	got.Hash = p.tally.hash()
	return p.tally.check(got.ListSummary, got.claims)
}

// page is where a fetch stands between two pages.
type page struct {
	fetch
	got    *fetched
	tally  *tally
	pages  int    // how many the list says it has; 0 as long as it does not say
	cursor string // of the page to ask for; "" for the first, and again after the last
	left   int64  // bytes that the rest of the list may have
}

// patientPage fetches a page. Between pages it waits when the Auth Worker asks for that, so as not to lose the pages that have come.
func (c *Client) patientPage(ctx context.Context, p *page) error {
	for attempt := 1; ; attempt++ {
		err := c.page(ctx, p)
		var status *StatusError
		if p.cursor == "" || attempt == maxPageAttempts || !errors.As(err, &status) {
			return err
		}
		wait := status.RetryAfter
		if wait == 0 && status.Code == http.StatusTooManyRequests {
			wait = usualPageWait
		}
		if wait == 0 {
			return err
		}
		if err := sleep(ctx, wait, p.alive); err != nil {
			return err
		}
	}
}

// sleep waits, and calls alive now and then.
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
			return fmt.Errorf("%w: waiting for its next page: %w", errReading, context.Cause(ctx))
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
	asked := c.now()
	resp, err := c.send(ctx, p.cursor, etag)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := &listBody{
		ctx: ctx, r: resp.Body, idle: idle, idleTimeout: c.idleTimeout,
		left: bodyLimits{total: p.left, value: c.limits.value}, maxValue: c.limits.value,
	}
	notModified := resp.StatusCode == http.StatusNotModified && etag != ""
	if resp.StatusCode != http.StatusOK && !notModified {
		return c.statusError(resp, body)
	}
	if err := p.heedAge(asked, resp.Header); err != nil {
		return err
	}
	switch {
	case notModified:
		if now := entityTag(resp.Header); now != "" && opaque(now) != opaque(etag) {
			return damaged("it is said not to have changed, but its ETag has")
		}
		p.got.notModified = true
		return nil
	case linksToNext(resp.Header):
		return damaged("it is said to have a next page (Link), and pages are followed by nextCursor alone")
	case resp.Header.Get("Content-Range") != "":
		return damaged("it is said to be a part of something (Content-Range)")
	}
	d := newListDecoder(body)
	d.contentType, d.yield, d.detailed = resp.Header.Get("Content-Type"), p.yield, p.detailed
	d.summary, d.tally, d.claims, d.pages = &p.got.ListSummary, p.tally, &p.got.claims, &p.pages
	if err := d.decode(); err != nil {
		return err
	}
	p.got.etag = entityTag(resp.Header)
	p.cursor, p.left = d.nextCursor, body.left.total
	return nil
}

// heedAge moves the moment from which the list counts back by the age of an answer, which was asked for at that moment.
func (p *page) heedAge(asked time.Time, h http.Header) error {
	age, err := answerAge(h)
	if err != nil || age == 0 {
		return err
	}
	if p.fresh {
		return fmt.Errorf("%w: it is %s old, and was to be fresh", ErrCached, age)
	}
	p.got.Cached = true
	if from := asked.Add(-age); from.Before(p.got.FetchStartedAt) {
		p.got.FetchStartedAt = from
	}
	return nil
}

// linksToNext says whether a Link (RFC 8288) names a next page.
func linksToNext(h http.Header) bool {
	links := strings.ToLower(strings.ReplaceAll(strings.Join(h.Values("Link"), ","), " ", ""))
	return strings.Contains(links, `;rel="next"`) || strings.Contains(links, ";rel=next")
}

// send sends one request: for the first page of the list, or for the page at the cursor. With an etag it asks for the page only if it has
// changed. When ctx has ended, the error wraps the cause of that.
func (c *Client) send(ctx context.Context, cursor, etag string) (*http.Response, error) {
	target := c.url
	if cursor != "" {
		target += "?" + url.Values{"cursor": {cursor}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAsking, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token())
	askForFresh(req.Header)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	// No Accept-Encoding: the transport asks for gzip and unpacks it by itself as long as nobody else does.
	resp, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("%w: %w", errAsking, err)
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
