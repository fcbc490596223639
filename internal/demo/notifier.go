package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	eventCreated = "workspace.created"
	eventDeleted = "workspace.deleted"

	attemptTimeout = 10 * time.Second
)

// event is the body of a webhook; the order of the fields is part of the contract.
type event struct {
	Event      string `json:"event"`
	InstanceID string `json:"instanceId"`
	UserID     string `json:"userId"`
	Timestamp  string `json:"timestamp"`
}

// notifier delivers events the way the real Auth Worker does: each by itself, so in no order, and after the last attempt
// the event is lost.
type notifier struct {
	secret string
	delays []time.Duration // before each further attempt
	client *http.Client
	log    *zap.Logger

	ctx    context.Context // ends when what is under way must be dropped
	cancel context.CancelFunc

	mu      sync.Mutex
	url     string
	lost    bool
	stopped bool
	pending sync.WaitGroup
}

func newNotifier(ctx context.Context, url, secret string, delays []time.Duration, log *zap.Logger) *notifier {
	n := &notifier{url: url, secret: secret, delays: delays, log: log}
	n.client = &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(),
		Timeout:   attemptTimeout,
		// A redirect is no 2xx, and the secret is not for others.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	n.ctx, n.cancel = context.WithCancel(ctx)
	return n
}

func (n *notifier) setURL(url string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.url = url
}

func (n *notifier) setLost(lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = lost
}

func (n *notifier) target() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.url
}

// notify starts the delivery of an event and returns at once.
func (n *notifier) notify(name, instanceID, userID string, at time.Time) {
	log := n.log.With(zap.String("event", name), zap.String("instanceId", instanceID))
	body, err := json.Marshal(event{Event: name, InstanceID: instanceID, UserID: userID, Timestamp: timestamp(at)})
	if err != nil {
		log.Error("workspace event can't be encoded", zap.Error(err))
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost || n.stopped || n.url == "" {
		log.Info("workspace event not sent")
		return
	}
	n.pending.Go(func() { n.deliver(body, log) })
}

func (n *notifier) deliver(body []byte, log *zap.Logger) {
	for attempt := 0; ; attempt++ {
		err := n.post(body)
		if err == nil {
			return
		}
		log.Warn("workspace event not taken", zap.Int("attempt", attempt+1), zap.Error(err))
		if attempt == len(n.delays) {
			log.Error("workspace event lost")
			return
		}
		pause := time.NewTimer(n.delays[attempt])
		select {
		case <-pause.C:
		case <-n.ctx.Done():
			pause.Stop()
			log.Error("workspace event lost")
			return
		}
	}
}

func (n *notifier) post(body []byte) error {
	req, err := http.NewRequestWithContext(n.ctx, http.MethodPost, n.target(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Client-Name", "lifebuild-auth-worker")
	req.Header.Set("X-Webhook-Secret", n.secret)
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the receiver answered with status %d", resp.StatusCode)
	}
	return nil
}

// stop waits for the deliveries under way until ctx ends, then drops them and returns ctx's error. Later events are dropped.
func (n *notifier) stop(ctx context.Context) error {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()

	done := make(chan struct{})
	go func() {
		n.pending.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("workspace events were dropped: %w", ctx.Err())
	}
	n.cancel()
	<-done
	n.client.CloseIdleConnections()
	return err
}
