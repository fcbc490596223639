package storehttp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"storekeeper/internal/storemanager"
)

// streamSilence is how long a stream may say nothing before the client gives it up: three heartbeats.
const streamSilence = 3 * streamHeartbeat

// Watch implements Watcher. It takes as long as there is something to watch, but gives up when nothing has come for 45 s, not even a heartbeat. It does not
// reconnect: the caller does, after a wait, with the id of the last change. ErrUnauthorized is the only error that no retry mends.
func (c *Client) Watch(ctx context.Context, after string, fn func(storemanager.Change) error) error {
	watching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(c.silence, func() {
		cancel(fmt.Errorf("watch store manager: it was silent for %s", c.silence))
	})
	defer timer.Stop()

	err := c.stream(watching, after, fn, timer)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case watching.Err() != nil:
		return context.Cause(watching)
	}
	return err
}

// stream reads the changes. timer runs while it waits for the server, and not while fn takes its time.
func (c *Client) stream(ctx context.Context, after string, fn func(storemanager.Change) error, timer *time.Timer) error {
	u := c.base.JoinPath("v1", "changes")
	if after != "" {
		u.RawQuery = url.Values{"after": {after}}.Encode()
	}
	req, err := c.request(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", eventStreamType)
	endless := *c.http
	endless.Timeout = 0
	resp, err := endless.Do(req)
	if err != nil {
		return fmt.Errorf("watch store manager: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody))
		if err != nil {
			return fmt.Errorf("read answer of store manager: %w", err)
		}
		return failure(resp, answer)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != eventStreamType {
		return errors.New("watch store manager: the answer is no event stream")
	}
	return readEvents(&timedReader{resp.Body, timer, c.silence}, fn)
}

// readEvents calls fn with the data of each event. A stream that ends without an error was ended by the server, which is shutting down.
func readEvents(r io.Reader, fn func(storemanager.Change) error) error {
	lines := bufio.NewScanner(r) // of up to 64 KiB
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok { // a comment, the end of an event, or a field that data has too
			continue
		}
		var change storemanager.Change
		if err := json.Unmarshal([]byte(data), &change); err != nil {
			return fmt.Errorf("read change of store manager: %w", err)
		}
		if err := fn(change); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("watch store manager: %w", err)
	}
	return storemanager.ErrShutdown
}

// timedReader lets timer run while a read waits.
type timedReader struct {
	io.Reader
	timer *time.Timer
	limit time.Duration
}

// Read implements io.Reader.
func (r *timedReader) Read(p []byte) (int, error) {
	r.timer.Reset(r.limit)
	defer r.timer.Stop()
	return r.Reader.Read(p)
}
