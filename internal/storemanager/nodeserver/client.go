package nodeserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
)

const (
	maxNodeAnswer  = 64 << 10
	maxNodeListing = 32 << 20 // 500 stores with long histories are some 2 MB
	nodeUser       = "storekeeper"
	nodeWarnings   = 10 * time.Minute // between two of the same
	// nodeIdleTimeout is short of the 5 s after which a Node server closes an idle connection: a request that meets the
	// closing fails, and may not be repeated behind our back.
	nodeIdleTimeout = 4 * time.Second

	nodeCreated = "workspace.created"
	nodeDeleted = "workspace.deleted"
)

// nodeSuccess is what the server answers to an event that has taken effect.
var nodeSuccess = map[string][]string{
	nodeCreated: {"monitoring_started", "already_monitored"},
	nodeDeleted: {"monitoring_stopped", "already_stopped"},
}

// nodeClient speaks the HTTP contract of a Node multi-store server. It knows nothing of a registry.
type nodeClient struct {
	base   *url.URL
	secret func() string
	http   *http.Client
	log    *zap.Logger
	// slots bounds the events that the server works on at the same time; whoever sends one holds a slot. Reads are one at a time, and need not wait
	// for events.
	slots, reads *semaphore.Weighted

	reconcileWarning, entryWarning rate.Sometimes
}

func newNodeClient(o Options) (*nodeClient, error) {
	base, err := httpclient.ParseBaseURL("node server URL", o.URL)
	if err != nil {
		return nil, err
	}
	if o.WebhookSecret == nil || o.WebhookSecret() == "" {
		return nil, errors.New("node server webhook secret: it is empty")
	}
	transport := httpclient.Transport()
	transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = o.Parallelism, nodeIdleTimeout
	hc := &http.Client{Transport: httpclient.Traced(transport)}
	if o.HTTPClient != nil {
		own := *o.HTTPClient
		hc = &own
	}
	hc.Timeout = o.Timeout
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &nodeClient{
		base: base, secret: o.WebhookSecret, http: hc, log: o.Logger, slots: semaphore.NewWeighted(int64(o.Parallelism)), reads: semaphore.NewWeighted(1),
		reconcileWarning: rate.Sometimes{Interval: nodeWarnings}, entryWarning: rate.Sometimes{Interval: nodeWarnings},
	}, nil
}

// nodeStarted is the server's answer to nodeCreated when it did not have the store.
const nodeStarted = "monitoring_started"

// tell tells the server of an event, and returns its answer once that has taken effect there. The caller holds a slot.
func (c *nodeClient) tell(ctx context.Context, event, id string, at time.Time) (answer string, err error) {
	status, body, err := c.webhook(ctx, map[string]string{
		"event": event, "instanceId": id, "userId": nodeUser, "timestamp": at.UTC().Format("2006-01-02T15:04:05.000Z"),
	})
	if err != nil {
		return "", err
	}
	if status != http.StatusOK {
		return "", nodeRefusal(status)
	}
	var taken struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(body, &taken); err != nil {
		return "", fmt.Errorf("read answer of node server: %w", err)
	}
	if !slices.Contains(nodeSuccess[event], taken.Status) {
		return "", fmt.Errorf("the node server answered %.40q to %s", taken.Status, event)
	}
	return taken.Status, nil
}

// ping returns nil if the server answers and takes the secret, which it looks at before the body.
func (c *nodeClient) ping(ctx context.Context) error {
	if err := c.reads.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.reads.Release(1)
	status, _, err := c.webhook(ctx, "ping") // no object, so it changes nothing
	if err != nil || status == http.StatusBadRequest {
		return err
	}
	return nodeRefusal(status)
}

func (c *nodeClient) webhook(ctx context.Context, body any) (status int, answer []byte, err error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", storemanager.ErrInvalid, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath("webhooks", "workspaces").String(),
		bytes.NewReader(encoded))
	if err != nil {
		return 0, nil, fmt.Errorf("tell node server: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Webhook-Secret", c.secret())
	return c.do(req, maxNodeAnswer)
}

func (c *nodeClient) do(req *http.Request, most int64) (status int, answer []byte, err error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errNodeUnreachable, unquoted(err))
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer of node server: %w", err)
	}
	if int64(len(answer)) > most {
		return 0, nil, fmt.Errorf("the answer of the node server is over %d bytes", most)
	}
	return resp.StatusCode, answer, nil
}

// Kinds of ErrNodeServer.
var (
	errNodeSecret      = fmt.Errorf("%w: it refuses NODE_SERVER_WEBHOOK_SECRET", storemanager.ErrNodeServer)
	errNodeUnreachable = fmt.Errorf("%w: it can't be reached", storemanager.ErrNodeServer)
)

// unquoted is err without the URL that net/http quotes.
func unquoted(err error) error {
	if quoting, ok := errors.AsType[*url.Error](err); ok {
		return quoting.Err
	}
	return err
}

// nodeRefusal is always worth a retry, also for a 400: what we send is valid, so whoever refuses it is misconfigured, or is another server. Its words
// are not shown.
func nodeRefusal(status int) error {
	if status == http.StatusUnauthorized {
		return errNodeSecret
	}
	return fmt.Errorf("%w: %w", storemanager.ErrNodeServer, answeredStatus(status))
}

// remove takes a store out.
func (l *nodeListing) remove(id string) {
	delete(l.stores, id)
	l.ids = slices.DeleteFunc(l.ids, func(one string) bool { return one == id })
}

// nodeListing is what the server monitored at one moment.
type nodeListing struct {
	ids    []string // sorted
	stores map[string]nodeStore
}

// list asks what the server monitors. An answer that is not whole is an error. An entry that can be no store's is left out.
func (c *nodeClient) list(ctx context.Context) (*nodeListing, error) {
	if err := c.reads.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("ask node server: %w", err)
	}
	defer c.reads.Release(1)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath("stores").String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask node server: %w", err)
	}
	status, answer, err := c.do(req, maxNodeListing)
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, nodeRefusal(status)
	}
	var body struct {
		Stores         []json.RawMessage `json:"stores"`
		Reconciliation json.RawMessage   `json:"reconciliation"`
	}
	if err := json.Unmarshal(answer, &body); err != nil {
		return nil, fmt.Errorf("read list of node server: %w", err)
	}
	if body.Stores == nil {
		return nil, errors.New("the list of the node server has no stores field")
	}
	c.warnOfReconcile(body.Reconciliation)
	return c.listing(body.Stores), nil
}

func (c *nodeClient) listing(entries []json.RawMessage) *nodeListing {
	l := &nodeListing{stores: make(map[string]nodeStore, len(entries))}
	for i, entry := range entries {
		var s nodeStore
		// A field of another type than expected is left empty: it must not hide the store.
		err := json.Unmarshal(entry, &s)
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !ok || !storemanager.ValidID(s.ID) {
			c.entryWarning.Do(func() {
				c.log.Warn("the Node server lists what can't be a store, left out", zap.Int("entry", i), zap.Int("of", len(entries)))
			})
			continue
		}
		if s.Orchestrator == nil || s.Orchestrator.Status != "stopped" { // whatever else it says, the server has it
			l.stores[s.ID] = s
			l.ids = append(l.ids, s.ID)
		}
	}
	slices.Sort(l.ids)
	l.ids = slices.Compact(l.ids)
	return l
}

func (c *nodeClient) warnOfReconcile(reconciliation json.RawMessage) {
	var r struct {
		Enabled bool `json:"enabled"`
	}
	if json.Unmarshal(reconciliation, &r) == nil && r.Enabled {
		c.reconcileWarning.Do(func() {
			c.log.Warn("the Node server reconciles by itself and may remove stores at once: unset both AUTH_WORKER_INTERNAL_URL and AUTH_WORKER_URL there, and start it again")
		})
	}
}

// nodeStore is an entry of the server's list.
type nodeStore struct {
	ID                 string   `json:"id"`
	Status             string   `json:"status"`
	ConnectedAt        nodeTime `json:"connectedAt"`
	LastConnectedAt    nodeTime `json:"lastConnectedAt"`
	LastDisconnectedAt nodeTime `json:"lastDisconnectedAt"`
	LastActivity       nodeTime `json:"lastActivity"`
	StatusHistory      []struct {
		Status    string   `json:"status"`
		Timestamp nodeTime `json:"timestamp"`
	} `json:"statusHistory"`
	ErrorCount        int64 `json:"errorCount"`
	ReconnectAttempts int64 `json:"reconnectAttempts"`
	NetworkStatus     struct {
		IsConnected *bool `json:"isConnected"`
	} `json:"networkStatus"`
	// Orchestrator is nil for a store that the server has had since its start.
	Orchestrator *struct {
		Status           string   `json:"status"`
		FirstMonitoredAt nodeTime `json:"firstMonitoredAt"`
		LastEnsuredAt    nodeTime `json:"lastEnsuredAt"`
	} `json:"orchestrator"`
}

// connection is what the server says of the store, but never ConnectionConnected while its network is down.
func (s nodeStore) connection() storemanager.ConnectionState {
	state := nodeConnection(s.Status)
	if up := s.NetworkStatus.IsConnected; state == storemanager.ConnectionConnected && up != nil && !*up {
		return storemanager.ConnectionDisconnected
	}
	return state
}

func nodeConnection(status string) storemanager.ConnectionState {
	switch state := storemanager.ConnectionState(status); state {
	case storemanager.ConnectionConnecting, storemanager.ConnectionConnected, storemanager.ConnectionDisconnected:
		return state
	default:
		return storemanager.ConnectionError
	}
}

// monitor is what the server itself says of the subscription. It says nothing of heads and of time spent offline.
func (s nodeStore) monitor() *storemanager.MonitorStatus {
	m := &storemanager.MonitorStatus{
		LastActivityAt: optional(s.LastActivity.Time), LastConnectedAt: optional(s.LastConnectedAt.Time),
		LastDisconnectedAt: optional(s.LastDisconnectedAt.Time),
		Errors:             s.ErrorCount, ReconnectAttempts: s.ReconnectAttempts, History: []storemanager.ConnectionChange{},
	}
	m.Since = s.LastDisconnectedAt.Time
	if s.connection() == storemanager.ConnectionConnected {
		m.ConnectedAt = optional(s.ConnectedAt.Time)
		m.Since = s.ConnectedAt.Time
	}
	for _, h := range s.StatusHistory[max(0, len(s.StatusHistory)-storemanager.KeptConnectionChanges):] {
		m.History = append(m.History, storemanager.ConnectionChange{Connection: nodeConnection(h.Status), At: h.Timestamp.Time})
		m.Since = h.Timestamp.Time
	}
	return m
}

// nodeTime is zero where the server has no time, or none that can be read.
type nodeTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *nodeTime) UnmarshalJSON(b []byte) error {
	var parsed time.Time
	if json.Unmarshal(b, &parsed) == nil && storemanager.CheckTime("", parsed) == nil {
		t.Time = storemanager.Precise(parsed)
	}
	return nil
}

// optional is nil for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
