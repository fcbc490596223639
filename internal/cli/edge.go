package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"storekeeper/internal/config"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/httpclient"
)

const (
	// pageSize is how many stores are asked for at a time. The edge gives no more.
	pageSize = 1000
	// maxAnswer is how many bytes of an answer are read at most. A store takes some KiB, its history included.
	maxAnswer = 16 << 20
)

// edge is the HTTP edge of an installation.
type edge struct {
	url     string
	token   config.Secret
	timeout time.Duration
	client  http.Client
}

// edge returns the edge that the flag or the environment names. It has not been asked anything yet.
func (a *app) edge() (*edge, error) {
	cfg, err := a.settings()
	if err != nil {
		return nil, err
	}
	if a.url != "" {
		if err := cfg.StorekeeperURL.UnmarshalText([]byte(a.url)); err != nil {
			return nil, usageError("--url is not accepted: " + err.Error())
		}
	}
	return &edge{
		url: string(cfg.StorekeeperURL), token: config.Secret(cfg.BypassToken()), timeout: a.timeout,
		client: http.Client{Transport: httpclient.Traced(httpclient.Transport())},
	}, nil
}

// get decodes what the edge answers to a GET.
func (e *edge) get(ctx context.Context, path string, into any) error {
	return e.do(ctx, http.MethodGet, path, nil, into)
}

// do sends body as JSON unless it is nil, and decodes the answer unless into is nil.
func (e *edge) do(ctx context.Context, method, path string, body, into any) error {
	var sent bytes.Buffer
	if body != nil {
		if err := writeJSON(&sent, body); err != nil {
			return unexpected(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, e.url+path, &sent)
	if err != nil {
		return unexpected(err)
	}
	if e.token != "" {
		req.Header.Set("Authorization", "Bearer "+string(e.token))
	}
	resp, err := e.client.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return e.unreachable(fmt.Sprintf("has not answered within %s, the --timeout", e.timeout))
	case err != nil:
		return e.unreachable(fmt.Sprintf("can't be reached (%s)", innermost(err)))
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusBadRequest && body != nil {
		var said api.Problem
		_ = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&said) // the failure needs no text
		return &failure{exitRefused, "invalid", "the edge refused the request: " + plain(said.Error), ""}
	}
	if f := e.refusal(resp.StatusCode); f != nil {
		return f
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return e.unreachable("does not answer as Storekeeper does")
	}
	return nil
}

var errNotFound = errors.New("not found")

// refusal turns the status of an answer into an error: nil for 200 and 204, errNotFound for 404, which the caller puts into words.
func (e *edge) refusal(status int) error {
	switch status {
	case http.StatusOK, http.StatusNoContent:
		return nil
	case http.StatusNotFound:
		return errNotFound
	case http.StatusForbidden:
		return &failure{exitRefused, "forbidden", "the edge at " + e.url + " refused the token: it may only read", "take a token that may act"}
	case http.StatusUnauthorized:
		todo := "SERVER_BYPASS_TOKEN must be the server's"
		if e.token == "" {
			todo = "set SERVER_BYPASS_TOKEN to the server's"
		}
		return &failure{exitRefused, "unauthorized", "the edge at " + e.url + " refused the token", todo}
	}
	return e.unreachable(fmt.Sprintf("answers %d %s", status, http.StatusText(status)))
}

func (e *edge) unreachable(how string) *failure {
	return &failure{
		exitUnreachable, "unreachable", "the edge at " + e.url + " " + how,
		"check that cmd/webhook or cmd/standalone runs, and --url or STOREKEEPER_URL",
	}
}

// store returns one store as the edge gives it; errNotFound if the edge has none.
func (e *edge) store(ctx context.Context, id string) (json.RawMessage, error) {
	var raw json.RawMessage
	err := e.get(ctx, "/stores/"+url.PathEscape(id), &raw)
	return raw, err
}

// stores calls yield with each monitored store, as the edge wrote it, sorted by id. It stops when yield returns false or an error.
func (e *edge) stores(ctx context.Context, size int, state string, yield func(json.RawMessage) (more bool, err error)) error {
	for cursor, next := "", true; next; {
		query := url.Values{"limit": {strconv.Itoa(size)}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		if state != "" {
			query.Set("state", state)
		}
		var page struct { // an api.StoresPage whose stores are left as the edge wrote them
			Stores     []json.RawMessage `json:"stores"`
			NextCursor string            `json:"nextCursor"`
		}
		err := e.get(ctx, "/stores?"+query.Encode(), &page)
		switch {
		case errors.Is(err, errNotFound):
			return e.unreachable("has no /stores")
		case err != nil:
			return err
		}
		for _, raw := range page.Stores {
			if more, err := yield(raw); err != nil || !more {
				return err
			}
		}
		cursor, next = page.NextCursor, page.NextCursor != "" && page.NextCursor != cursor
	}
	return nil
}
