package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/httpclient"
	"storekeeper/notifier"
)

const (
	eventCreated = notifier.Created
	eventDeleted = notifier.Deleted

	attemptTimeout = 10 * time.Second
)

// events delivers events the way the real Auth Worker does: each by itself, so in no order, after fixed pauses, whatever the answer
// was; after the last attempt the event is lost. What an attempt consists of is the business of the package notifier.
type events struct {
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

// newEvents fails when the URL or the secret makes no sense.
func newEvents(ctx context.Context, url, secret string, delays []time.Duration, log *zap.Logger) (*events, error) {
	n := &events{url: url, secret: secret, delays: delays, log: log}
	n.client = &http.Client{Transport: httpclient.Transport()} // without a proxy: the edge runs in the same process, or on the same machine
	if _, err := n.notifier(); err != nil {
		return nil, err
	}
	n.ctx, n.cancel = context.WithCancel(ctx)
	return n, nil
}

// notifier returns one that makes a single attempt at the URL of now: further attempts may go to another one.
func (n *events) notifier() (*notifier.Notifier, error) {
	return notifier.New(notifier.Options{
		URL: n.target(), Secret: n.secret, HTTPClient: n.client, Attempts: 1, AttemptTimeout: attemptTimeout,
		Logger: slog.New(slog.DiscardHandler), // what happens is logged here
	})
}

func (n *events) setURL(url string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.url = url
}

func (n *events) setLost(lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = lost
}

func (n *events) target() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.url
}

// notify starts the delivery of an event and returns at once.
func (n *events) notify(name notifier.Type, instanceID, userID string, at time.Time) {
	ev := notifier.Event{Type: name, InstanceID: instanceID, UserID: userID, Timestamp: at}
	log := n.log.With(zap.String("event", string(name)), zap.String("instanceId", instanceID))
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost || n.stopped || n.url == "" {
		log.Info("workspace event not sent")
		return
	}
	n.pending.Go(func() { n.deliver(ev, log) })
}

func (n *events) deliver(ev notifier.Event, log *zap.Logger) {
	for attempt := 0; ; attempt++ {
		err := n.post(ev)
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

func (n *events) post(ev notifier.Event) error {
	once, err := n.notifier()
	if err == nil {
		_, err = once.Deliver(n.ctx, ev)
	}
	return err
}

// stop waits for the deliveries under way until ctx ends, then drops them and returns ctx's error. Later events are dropped.
func (n *events) stop(ctx context.Context) error {
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
