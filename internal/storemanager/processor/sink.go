package processor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"storekeeper/internal/httpclient"
	"storekeeper/internal/retryafter"
)

const (
	// sinkTimeout bounds a POST from the connection to the status of the answer, sinkDrainTimeout the rest of the answer.
	sinkTimeout      = 10 * time.Second
	sinkDrainTimeout = time.Second
	// maxSinkAnswer is what is read of an answer, in bytes. Nothing in it counts, but its connection can be used again.
	maxSinkAnswer = 64 << 10
	// maxSinkRetryAfter keeps a mistaken header from stopping a store for days.
	maxSinkRetryAfter = 5 * time.Minute
	// minSinkKey is what the specification asks for, in bytes.
	minSinkKey = 24

	// sinkSlots and failingSinkSlots bound the POSTs under way of all stores.
	sinkSlots        = 256
	failingSinkSlots = 32
	// MaxSinkConnections is how many connections a Sink has open at the most: one for each POST under way.
	MaxSinkConnections = sinkSlots + failingSinkSlots
)

// SinkOptions configures a Sink. URL and Secret are required.
type SinkOptions struct {
	// URL is where events are POSTed to, http or https. User and password in it become basic authentication.
	URL string
	// Secret returns what signs a POST, at each one: the base64 form of at least 24 bytes, with or without the prefix "whsec_".
	Secret func() string
	// HTTPClient does the POSTs. Its CheckRedirect is not used. Nil means a client of the processor's own, which obeys the
	// proxy settings of the environment.
	HTTPClient *http.Client
	// Refused is called for each answer with status 401 or 403. It must not block. Nil: nobody is told.
	Refused func()
	// Now is the clock of what is sent, and of Retry-After. Nil means time.Now.
	Now func() time.Time
}

// Sink is the Processor that POSTs each batch to a URL, in the form of Standard Webhooks 1.0.0: the headers
// webhook-id, webhook-timestamp (seconds since 1970) and webhook-signature ("v1," and the base64 form of the HMAC-SHA256 of
// "id.timestamp.body"), and the body
//
//	{"type":"store.events","timestamp":"2026-11-23T19:04:28.281Z","data":{"storeId":"…","backendId":"…","events":[
//	  {"name":"v1.X","args":{…},"seqNum":3,"parentSeqNum":2,"clientId":"…","sessionId":"…","createdAt":"2026-11-23T19:04:28.281Z"}]}}
//
// The timestamp is the createdAt of the last event, which is the sync backend's; where that is not known createdAt is missing,
// and the timestamp is that of the POST. A receiver must take bodies of 2 MB.
//
// The batch is taken when the answer's status is 2xx, within 10 s. Any other one, redirects included, is a failure. So is a
// lost answer: the receiver then gets the batch again, with the same webhook-id. After a restart events can come again in other
// batches, so a receiver that counts each event once goes by storeId, backendId and seqNum.
//
// Process tries once. At most sinkSlots POSTs are under way for stores in good order: those whose last attempt or the one before succeeded, or that had
// none. The others wait for each other, with failingSinkSlots, and so never take a place that a store in good order could have.
type Sink struct {
	url     string
	secret  func() string
	http    *http.Client
	now     func() time.Time
	refused func()
	timeout time.Duration // sinkTimeout, but in tests

	slots, failingSlots chan struct{} // they hold one element for each POST under way

	mu      sync.Mutex
	failing map[string]int // by store: how many of its newest attempts failed in a row; 0 is left out
}

var _ Processor = (*Sink)(nil)

// NewSink returns a Sink. It does not ask whether anything answers at the URL. It fails when an option makes no sense; the error quotes none of them.
func NewSink(o SinkOptions) (*Sink, error) {
	target, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, errors.New("event sink URL: it can't be parsed") // err repeats the URL, and so a password in it
	case target.Scheme != "http" && target.Scheme != "https", target.Host == "":
		return nil, errors.New("event sink URL: want http(s)://host[:port][/path]")
	}
	if _, err := signer(o.Secret()); err != nil {
		return nil, err
	}
	p := &Sink{
		url: o.URL, secret: o.Secret, http: sinkClient(o.HTTPClient), now: o.Now, refused: o.Refused, timeout: sinkTimeout,
		slots: make(chan struct{}, sinkSlots), failingSlots: make(chan struct{}, failingSinkSlots),
		failing: map[string]int{},
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.refused == nil {
		p.refused = func() {}
	}
	return p, nil
}

// signer returns what signs with the secret. The error does not quote it.
func signer(secret string) (*standardwebhooks.Webhook, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < minSinkKey {
		return nil, fmt.Errorf("event sink secret: want whsec_ and at least %d bytes in base64", minSinkKey)
	}
	webhook, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return nil, errors.New("event sink secret: it is not accepted")
	}
	return webhook, nil
}

func sinkClient(given *http.Client) *http.Client {
	own := &http.Client{}
	if given != nil {
		*own = *given
	} else {
		transport := httpclient.Transport()
		transport.MaxIdleConns = MaxSinkConnections // by default all but two would be thrown away after each POST
		transport.MaxIdleConnsPerHost = MaxSinkConnections
		transport.MaxResponseHeaderBytes = maxSinkAnswer
		transport.DisableCompression = true
		own.Transport = httpclient.Traced(transport)
	}
	// The events are meant for this URL alone.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return own
}

// Close lets go of connections that no POST is using. Without it they go after 90 s.
func (p *Sink) Close() { p.http.CloseIdleConnections() }

// Stop implements Processor.
func (p *Sink) Stop(storeID string) { p.note(storeID, nil) }

// Process implements Processor. It waits for a slot and POSTs the batch once. The error is that of ctx when ctx has ended. It is a *RetryAfterError, of at
// most 5 min, after a status 429 or 503 with a Retry-After. Any other error says in short what went wrong.
func (p *Sink) Process(ctx context.Context, b Batch) error {
	slots := p.slotsOf(b.StoreID)
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := p.post(ctx, b)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // which says nothing of the sink
	}
	p.note(b.StoreID, err)
	return err
}

func (p *Sink) slotsOf(storeID string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failing[storeID] > 1 {
		return p.failingSlots
	}
	return p.slots
}

// note remembers how the last attempt ended.
func (p *Sink) note(storeID string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failing[storeID]++
	} else {
		delete(p.failing, storeID)
	}
}

// post is called once there is a slot, because the bodies of those who wait would fill the memory.
func (p *Sink) post(ctx context.Context, b Batch) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := p.request(ctx, b)
	if err != nil {
		return err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("the event sink did not answer within %s", p.timeout)
		}
		return fmt.Errorf("the event sink can't be reached: %s", safeCause(err))
	}
	defer resp.Body.Close()
	defer time.AfterFunc(sinkDrainTimeout, cancel).Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxSinkAnswer) // the status has said it
	return p.outcome(resp)
}

// request is the signed request for a batch.
func (p *Sink) request(ctx context.Context, b Batch) (*http.Request, error) {
	now := p.now()
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false) // or an event of HTML would be six times as long
	if err := encoder.Encode(b.message(now)); err != nil {
		return nil, errors.New("the events can't be encoded as JSON") // err may quote them
	}
	body := encoded.Bytes()
	id := b.messageID()
	webhook, err := signer(p.secret())
	if err != nil {
		return nil, err
	}
	signature, err := webhook.Sign(id, now, body)
	if err != nil {
		return nil, errors.New("the events can't be signed")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the event sink's URL makes no request")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return req, nil
}

// outcome is nil for a status 2xx.
func (p *Sink) outcome(resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	err := fmt.Errorf("the event sink answered with status %d", resp.StatusCode)
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		p.refused()
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		if wait := retryafter.Parse(resp.Header, p.now(), maxSinkRetryAfter); wait > 0 {
			return &RetryAfterError{At: p.now().Add(wait), Err: err}
		}
	}
	return err
}

// safeCause is why there was no answer, as far as that can be shown. Some errors of net/http quote the URL or the answer, and a receiver may answer with
// what it was sent.
func safeCause(err error) string {
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network.Error()
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate.Error()
	}
	return "no HTTP answer came"
}

// sinkMessage is the body of a POST.
type sinkMessage struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      sinkBatch `json:"data"`
}

type sinkBatch struct {
	StoreID   string      `json:"storeId"`
	BackendID string      `json:"backendId"`
	Events    []sinkEvent `json:"events"`
}

type sinkEvent struct {
	Name      string          `json:"name"`
	Args      json.RawMessage `json:"args"`
	Seq       int64           `json:"seqNum"`
	Parent    int64           `json:"parentSeqNum"`
	ClientID  string          `json:"clientId"`
	SessionID string          `json:"sessionId"`
	CreatedAt time.Time       `json:"createdAt,omitzero"`
}

func (b Batch) message(now time.Time) sinkMessage {
	m := sinkMessage{
		Type:      "store.events",
		Timestamp: b.Events[len(b.Events)-1].CreatedAt,
		Data:      sinkBatch{b.StoreID, b.BackendID, make([]sinkEvent, len(b.Events))},
	}
	if m.Timestamp.IsZero() {
		m.Timestamp = now.UTC()
	}
	for i, e := range b.Events {
		m.Data.Events[i] = sinkEvent(e)
	}
	return m
}

// messageID is the same for the same batch, and no other batch has it. An id may hold no dot and no line break, and the backend id may be any text, so a
// hash stands for it.
func (b Batch) messageID() string {
	backend := sha256.Sum256([]byte(b.BackendID))
	return fmt.Sprintf("%s_%x_%d-%d", b.StoreID, backend[:8], b.Events[0].Seq, b.Events[len(b.Events)-1].Seq)
}
