// Package notifier tells Storekeeper of created and deleted workspaces. It is the sending side of POST /webhooks/workspaces
// (docs/contracts/auth-worker.md), for an Auth Worker written in Go. integrations/cloudflare-worker is the same in TypeScript;
// testdata/vectors.json holds both to the same bytes.
//
// An event is one JSON object with four members. It is authenticated by signatures in the form of Standard Webhooks 1.0.0
// (webhook-id, webhook-timestamp, webhook-signature), by the older shared secret (X-Webhook-Secret), or by both.
//
// An event that can't be delivered is lost here. Storekeeper finds out what it missed when it next compares its stores with the
// Auth Worker's list.
package notifier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// DefaultClientName is what X-Client-Name says when Options.ClientName is empty.
const DefaultClientName = "lifebuild-auth-worker"

// ErrOff is Deliver's error when no URL or no secret is set. Nothing was sent.
var ErrOff = errors.New("workspace events are off: no URL or no secret is set")

// ErrTimestamp is the error of Deliver and Notify when Event.Timestamp is not within the years 0 to 9999. Nothing was sent.
var ErrTimestamp = errors.New("the event's timestamp is not within the years 0 to 9999")

// Options configure a Notifier.
type Options struct {
	// URL is where events are sent, such as https://storekeeper.example.com/webhooks/workspaces. Empty turns the notifier off.
	URL string
	// Secret is one key or secret, or several separated by commas. All of them are used for every request. Empty turns the notifier off.
	//
	//	whsec_<base64 of 24 to 64 bytes>  signs with HMAC-SHA256 (v1)
	//	whsk_<base64>                     signs with an Ed25519 private key (v1a): its seed of 32 bytes, or seed and public key, 64 bytes
	//	anything else                     is a shared secret, sent as it is in X-Webhook-Secret; of several the first one is sent
	Secret string
	// ClientName is sent in X-Client-Name. Empty means DefaultClientName.
	ClientName string
	// Attempts is how many requests are made for one event at most. 0 means 3.
	Attempts int
	// AttemptTimeout is how long one request may take. 0 means 10 s.
	AttemptTimeout time.Duration
	// Budget is how long all attempts at one event, and the pauses between them, may take together. 0 means 25 s.
	Budget time.Duration
	// MaxInFlight is how many events Go delivers at the same time. Events beyond that are lost. 0 means 1,000.
	MaxInFlight int
	// HTTPClient sends the requests. Its rule for redirects is not used: none is followed. Nil means a client of the notifier's own.
	HTTPClient *http.Client
	// Logger gets a line for every failure, never with a secret. Nil means slog.Default().
	Logger *slog.Logger
}

// Notifier sends events. It is safe for concurrent use.
type Notifier struct {
	url        string // "" when off
	keys       keys
	clientName string
	attempts   int
	timeout    time.Duration
	budget     time.Duration
	log        *slog.Logger
	client     http.Client
	closeIdle  func() // nil when the HTTP client is the caller's

	maxInFlight int
	mu          sync.Mutex
	closed      bool
	started     int                        // how many deliveries Go has started; numbers them in inFlight
	inFlight    map[int]context.CancelFunc // the deliveries that Go has started and that have not ended
	ended       sync.WaitGroup
}

// New returns a Notifier. It sends nothing yet, not even to find out whether anything answers at the URL. Without a URL or a secret it
// logs one line, and the Notifier sends nothing. New fails when an option makes no sense; the error quotes neither secrets nor the URL.
func New(o Options) (*Notifier, error) {
	if o.Attempts < 0 || o.AttemptTimeout < 0 || o.Budget < 0 || o.MaxInFlight < 0 {
		return nil, errors.New("notifier: attempts, time-outs and limits must not be negative")
	}
	if err := checkURL(o.URL); err != nil {
		return nil, fmt.Errorf("notifier: URL: %w", err)
	}
	k, err := parseKeys(o.Secret)
	if err != nil {
		return nil, fmt.Errorf("notifier: secret: %w", err)
	}
	n := &Notifier{
		url: o.URL, keys: k,
		clientName:  cmp.Or(o.ClientName, DefaultClientName),
		attempts:    cmp.Or(o.Attempts, 3),
		timeout:     cmp.Or(o.AttemptTimeout, 10*time.Second),
		budget:      cmp.Or(o.Budget, 25*time.Second),
		maxInFlight: cmp.Or(o.MaxInFlight, 1000),
		log:         cmp.Or(o.Logger, slog.Default()),
		inFlight:    map[int]context.CancelFunc{},
	}
	if o.HTTPClient != nil {
		n.client = *o.HTTPClient
	} else {
		own := http.DefaultTransport.(*http.Transport).Clone()
		// All events share one HTTP/2 connection, and a dead one would cost all of them. So it is asked whether it is still there.
		own.HTTP2 = &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second}
		n.client.Transport, n.closeIdle = own, own.CloseIdleConnections
	}
	// A redirect is not a 2xx, and the secret is not meant for others.
	n.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if !printable(n.clientName) {
		return nil, errors.New("notifier: client name: it is not of printable ASCII characters without spaces")
	}
	if n.url == "" || k.none() {
		n.url = ""
		n.log.Warn("workspace events are not sent", "urlSet", o.URL != "", "secretSet", !k.none())
	}
	return n, nil
}

// checkURL says why a URL can't be used. The empty one is fine.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil
	case err != nil:
		return errors.New("it can't be parsed") // err repeats the URL, and so a password in it
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return errors.New("it is no http or https URL")
	case u.User != nil:
		return errors.New("it holds credentials")
	}
	return nil
}

// printable says whether s can be sent in a header as it is: printable ASCII without spaces, and not empty.
func printable(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// Notify delivers an event as Deliver does, and also logs a line when the event is lost. Without a URL or a secret it does nothing
// and returns nil.
func (n *Notifier) Notify(ctx context.Context, ev Event) error {
	log := n.logger(ev)
	answer, err := n.Deliver(ctx, ev)
	switch {
	case errors.Is(err, ErrOff):
		log.DebugContext(ctx, "workspace event not sent", "reason", "no URL or no secret is set")
		return nil
	case err != nil:
		log.ErrorContext(ctx, "workspace event lost", "deliveryId", answer.DeliveryID, "attempts", answer.Attempts, "error", err)
	}
	return err
}

// Go is Notify in the background. It returns at once. The end of ctx does not end the delivery; Close can. After Close, and when
// Options.MaxInFlight deliveries are under way, the event is lost, which is logged.
func (n *Notifier) Go(ctx context.Context, ev Event) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	end, refused := n.begin(cancel)
	if refused != "" {
		cancel()
		n.logger(ev).ErrorContext(ctx, "workspace event lost", "reason", refused)
		return
	}
	go func() {
		defer end()
		_ = n.Notify(ctx, ev) // it has logged its error
	}()
}

// begin counts a delivery as under way until end is called, or says why it is refused.
func (n *Notifier) begin(cancel context.CancelFunc) (end func(), refused string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return nil, "the notifier is closed"
	case len(n.inFlight) >= n.maxInFlight:
		return nil, "too many events are under way"
	}
	n.started++
	name := n.started
	n.inFlight[name] = cancel
	n.ended.Add(1)
	return func() {
		defer n.ended.Done()
		cancel()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.inFlight, name)
	}, ""
}

// Close waits for the deliveries that Go has started. When ctx ends first, Close breaks the remaining ones off and returns an error
// that wraps ctx's. Close may be called again. Notify and Deliver can still be used afterwards.
func (n *Notifier) Close(ctx context.Context) error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		n.ended.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		n.mu.Lock()
		if len(n.inFlight) > 0 {
			err = fmt.Errorf("workspace events were dropped: %w", ctx.Err())
		}
		for _, cancel := range n.inFlight {
			cancel()
		}
		n.mu.Unlock()
		<-ended
	}
	if n.closeIdle != nil {
		n.closeIdle()
	}
	return err
}

func (n *Notifier) logger(ev Event) *slog.Logger {
	return n.log.With("event", string(ev.Type), "instanceId", ev.InstanceID)
}
