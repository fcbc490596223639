package storehttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
)

const (
	maxResponseBody = 32 << 20 // a page of stores with long histories takes some MiB
	clientTimeout   = 30 * time.Second
	idleConns       = 64 // calls come tens at a time, and by default all but two connections would be closed after each wave
)

// Client is the Manager and the memory of webhooks that asks another process, one that serves Handler. It is safe for concurrent use.
//
// An error that is none of the contract's own is worth a retry, which is safe: the call may or may not have been carried out.
type Client struct {
	base    *url.URL
	token   func() string
	http    *http.Client
	silence time.Duration
	asked   func(error)
}

var (
	_ storemanager.Manager = (*Client)(nil)
	_ deliveries.Memory    = (*Client)(nil)
	_ storemanager.Watcher = (*Client)(nil)
)

// NewClient returns a Client of the store manager at baseURL, http or https, with or without a path. It sends what token returns then with each call. It fails when the URL
// makes no sense, or the token is empty. A nil hc means a client of its own, with 30 s for each call, and connections for tens of calls at a time. Redirects
// are not followed. The time-out of the client does not bound Watch.
func NewClient(baseURL string, token func() string, hc *http.Client) (*Client, error) {
	base, err := httpclient.ParseBaseURL("store manager URL", baseURL)
	if err != nil {
		return nil, err
	}
	if token() == "" {
		return nil, errors.New("store manager token: it is empty")
	}
	if hc == nil {
		transport := httpclient.Transport()
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = idleConns, idleConns
		hc = &http.Client{Timeout: clientTimeout, Transport: httpclient.Traced(transport)}
	}
	own := *hc
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: base, token: token, http: &own, silence: streamSilence, asked: func(error) {}}, nil
}

// Tell has asked called after each call that its caller has not broken off, Watch aside: with nil if the store manager answered, also if it refused the
// call with an error of the contract; with ErrUnauthorized or what else went wrong otherwise. It must not block. Call Tell before the first call.
func (c *Client) Tell(asked func(error)) { c.asked = asked }

// tell calls asked.
func (c *Client) tell(ctx context.Context, err error) {
	if remote, ok := errors.AsType[*remoteError](err); ok && remote.kind != nil && !errors.Is(err, storemanager.ErrUnauthorized) {
		err = nil
	}
	if ctx.Err() == nil {
		c.asked(err)
	}
}

// CloseIdleConnections lets go of connections that no call is using.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Ping returns nil if the store manager answers and takes the token; ErrUnauthorized if it refuses it.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.Overview(ctx)
	return err
}

// Ensure implements Stores.
func (c *Client) Ensure(ctx context.Context, q storemanager.EnsureRequest) (storemanager.EnsureResult, error) {
	return askStore[storemanager.EnsureResult](ctx, c, http.MethodPut, q.StoreID, "", q)
}

// EnsureBatch implements Stores.
func (c *Client) EnsureBatch(ctx context.Context, qs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error) {
	answer, err := ask[batchResponse](ctx, c, http.MethodPost, c.base.JoinPath("v1", "stores"), batchRequest{qs})
	if err != nil {
		return nil, err
	}
	if len(answer.Results) != len(qs) {
		return nil, fmt.Errorf("the store manager answered %d results for %d stores", len(answer.Results), len(qs))
	}
	return answer.Results, nil
}

// BeginDeletion implements Deletions.
func (c *Client) BeginDeletion(ctx context.Context, q storemanager.DeletionRequest) (storemanager.DeletionResult, error) {
	return askStore[storemanager.DeletionResult](ctx, c, http.MethodPut, q.StoreID, "deletion", q)
}

// CancelDeletion implements Deletions.
func (c *Client) CancelDeletion(ctx context.Context, q storemanager.CancelRequest) (storemanager.Store, error) {
	query := url.Values{}
	if q.Owner != "" {
		query.Set("owner", q.Owner)
	}
	if !q.EventAt.IsZero() {
		query.Set("eventAt", q.EventAt.UTC().Format(time.RFC3339Nano))
	}
	if err := storemanager.CheckID(q.StoreID); err != nil {
		return storemanager.Store{}, err
	}
	target := c.storeURL(q.StoreID, "deletion")
	addOrigin(query, q.Origin)
	target.RawQuery = query.Encode()
	return ask[storemanager.Store](ctx, c, http.MethodDelete, target, nil)
}

// TakeOverDeletion implements Deletions.
func (c *Client) TakeOverDeletion(ctx context.Context, q storemanager.TakeOverRequest) (storemanager.Store, error) {
	return askStore[storemanager.Store](ctx, c, http.MethodPut, q.StoreID, "deletion/owner", q)
}

// Stop implements Deletions.
func (c *Client) Stop(ctx context.Context, q storemanager.StopRequest) (storemanager.StopResult, error) {
	return askStore[storemanager.StopResult](ctx, c, http.MethodPost, q.StoreID, "stop", q)
}

// RestoreDeletion implements Deletions.
func (c *Client) RestoreDeletion(ctx context.Context, q storemanager.RestoreRequest) (storemanager.Store, error) {
	return askStore[storemanager.Store](ctx, c, http.MethodPost, q.StoreID, "restore-deletion", q)
}

// Hold implements Deletions.
func (c *Client) Hold(ctx context.Context, id string, q storemanager.HoldRequest) (storemanager.Store, error) {
	return askStore[storemanager.Store](ctx, c, http.MethodPut, id, "hold", q)
}

// Release implements Deletions.
func (c *Client) Release(ctx context.Context, q storemanager.ReleaseRequest) (storemanager.Store, error) {
	if err := storemanager.CheckID(q.StoreID); err != nil {
		return storemanager.Store{}, err
	}
	target := c.storeURL(q.StoreID, "hold")
	query := url.Values{}
	addOrigin(query, q.Origin)
	target.RawQuery = query.Encode()
	return ask[storemanager.Store](ctx, c, http.MethodDelete, target, nil)
}

// Get implements Stores.
func (c *Client) Get(ctx context.Context, id string) (storemanager.Store, error) {
	return askStore[storemanager.Store](ctx, c, http.MethodGet, id, "", nil)
}

// List implements Stores.
func (c *Client) List(ctx context.Context, q storemanager.ListRequest) (storemanager.Page, error) {
	u := c.base.JoinPath("v1", "stores")
	query := url.Values{}
	if q.Cursor != "" {
		query.Set("cursor", q.Cursor)
	}
	if q.Limit != 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	if len(q.States) > 0 {
		query.Set("state", strings.Join(q.States, ","))
	}
	if q.UserID != "" {
		query.Set("user", q.UserID)
	}
	u.RawQuery = query.Encode()
	return ask[storemanager.Page](ctx, c, http.MethodGet, u, nil)
}

// ListIDs implements Stores.
func (c *Client) ListIDs(ctx context.Context, cursor string) (storemanager.IDPage, error) {
	u := c.base.JoinPath("v1", "store-ids")
	if cursor != "" {
		u.RawQuery = url.Values{"cursor": {cursor}}.Encode()
	}
	return ask[storemanager.IDPage](ctx, c, http.MethodGet, u, nil)
}

// Overview implements Stores.
func (c *Client) Overview(ctx context.Context) (storemanager.Overview, error) {
	return ask[storemanager.Overview](ctx, c, http.MethodGet, c.base.JoinPath("v1", "overview"), nil)
}

// Examine has the store manager check itself and those that it talks to, which takes some 5 s at most.
func (c *Client) Examine(ctx context.Context) (storemanager.Examination, error) {
	return ask[storemanager.Examination](ctx, c, http.MethodGet, c.base.JoinPath("v1", "doctor"), nil)
}

// Pause implements Pauses.
func (c *Client) Pause(ctx context.Context, q storemanager.PauseRequest) (storemanager.Pause, error) {
	u, err := c.pauseURL(q.StoreID)
	if err != nil {
		return storemanager.Pause{}, err
	}
	return ask[storemanager.Pause](ctx, c, http.MethodPut, u, q)
}

// Resume implements Pauses.
func (c *Client) Resume(ctx context.Context, q storemanager.ResumeRequest) error {
	u, err := c.pauseURL(q.StoreID)
	if err != nil {
		return err
	}
	query := url.Values{}
	addOrigin(query, q.Origin)
	if q.Also != "" {
		query.Set("also", q.Also)
	}
	u.RawQuery = query.Encode()
	_, err = ask[nothing](ctx, c, http.MethodDelete, u, nil)
	return err
}

// pauseURL is that of the pause of one store, or of all stores ("").
func (c *Client) pauseURL(storeID string) (*url.URL, error) {
	if storeID == "" {
		return c.base.JoinPath("v1", "pause"), nil
	}
	return c.storeURL(storeID, "pause"), storemanager.CheckID(storeID)
}

// Pauses implements Pauses.
func (c *Client) Pauses(ctx context.Context) ([]storemanager.Pause, error) {
	answer, err := ask[pausesResponse](ctx, c, http.MethodGet, c.base.JoinPath("v1", "pauses"), nil)
	return answer.Pauses, err
}

// MarkUnlisted implements Reconciliations.
func (c *Client) MarkUnlisted(ctx context.Context, m storemanager.ListMarks) error {
	_, err := ask[nothing](ctx, c, http.MethodPost, c.base.JoinPath("v1", "missing"), m)
	return err
}

// RecordReconcile implements Reconciliations.
func (c *Client) RecordReconcile(ctx context.Context, run storemanager.ReconcileRun) error {
	if err := run.Validate(); err != nil { // without an id it would be another path
		return err
	}
	u := c.base.JoinPath("v1", "reconciliation", "runs", url.PathEscape(run.RunID))
	_, err := ask[nothing](ctx, c, http.MethodPut, u, run)
	return err
}

// Reconciliation implements Reconciliations.
func (c *Client) Reconciliation(ctx context.Context) (storemanager.Reconciliation, error) {
	return ask[storemanager.Reconciliation](ctx, c, http.MethodGet, c.base.JoinPath("v1", "reconciliation"), nil)
}

// AcknowledgeLoss implements Reconciliations.
func (c *Client) AcknowledgeLoss(ctx context.Context, a storemanager.Acknowledgement) error {
	_, err := ask[nothing](ctx, c, http.MethodPost, c.base.JoinPath("v1", "acknowledge-loss"), a)
	return err
}

// askStore calls /v1/stores/{id}/{part}. The id is checked here: "" or ".." would be another path.
func askStore[T any](ctx context.Context, c *Client, method, id, part string, body any) (T, error) {
	if err := storemanager.CheckID(id); err != nil {
		var none T
		return none, err
	}
	return ask[T](ctx, c, method, c.storeURL(id, part), body)
}

// storeURL is /v1/stores/{id}/{part}. The id must have been checked.
func (c *Client) storeURL(id, part string) *url.URL { return c.base.JoinPath("v1", "stores", id, part) }

// ask sends body as JSON, unless it is nil, and reads the answer.
func ask[T any](ctx context.Context, c *Client, method string, u *url.URL, body any) (T, error) {
	req, err := c.request(ctx, method, u, body)
	if err != nil {
		var none T
		return none, err
	}
	result, err := answerTo[T](c, req)
	c.tell(ctx, err)
	return result, err
}

// answerTo sends the request and reads the answer.
func answerTo[T any](c *Client, req *http.Request) (T, error) {
	var result, none T
	resp, err := c.http.Do(req)
	if err != nil {
		return none, fmt.Errorf("ask store manager: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody+1))
	switch {
	case err != nil:
		return none, fmt.Errorf("read answer of store manager: %w", err)
	case len(answer) > maxResponseBody:
		return none, fmt.Errorf("the answer of the store manager is over %d bytes", maxResponseBody)
	case resp.StatusCode != http.StatusOK:
		return none, failure(resp, answer)
	}
	if err := json.Unmarshal(answer, &result); err != nil {
		return none, fmt.Errorf("read answer of store manager: %w", err)
	}
	return result, nil
}

func (c *Client) request(ctx context.Context, method string, u *url.URL, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", storemanager.ErrInvalid, err)
		}
		content = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, fmt.Errorf("ask store manager: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	// The header is there but empty, so it is not sent. It lets the transport repeat a request whose idle connection turned out to be closed.
	req.Header["Idempotency-Key"] = []string{}
	return req, nil
}

// failure is the problem in an answer. The answer of another server, such as a proxy, is not shown, and never becomes one of the contract's errors: that
// a path is unknown there says nothing about a store.
func failure(resp *http.Response, answer []byte) error {
	var p problem
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != problemType || json.Unmarshal(answer, &p) != nil {
		p = problem{Detail: http.StatusText(resp.StatusCode)}
	}
	p.Status = resp.StatusCode
	return p.asError()
}
