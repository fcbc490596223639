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

// sender delivers events as the real Auth Worker does. It sends each event by itself, so they arrive in no order. After a failure it waits
// for a fixed pause, whatever the answer was. After the last attempt the event is lost. The package notifier makes each attempt.
type sender struct {
	secret func() string
	delays []time.Duration // before each further attempt
	client *http.Client
	log    *zap.Logger

	ctx    context.Context // ends when deliveries under way must be dropped
	cancel context.CancelFunc

	mu      sync.Mutex
	url     string
	lost    bool
	stopped bool
	pending sync.WaitGroup
}

// newSender returns an error if the URL or the secret makes no sense.
func newSender(ctx context.Context, url string, secret func() string, delays []time.Duration, log *zap.Logger) (*sender, error) {
	s := &sender{url: url, secret: secret, delays: delays, log: log}
	s.client = &http.Client{Transport: httpclient.Transport()} // without a proxy: the edge runs in the same process or on the same machine
	if _, err := s.notifier(); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s, nil
}

// notifier returns a Notifier that makes a single attempt at the current URL. Further attempts may go to another one.
func (s *sender) notifier() (*notifier.Notifier, error) {
	return notifier.New(notifier.Options{
		URL: s.target(), Secret: s.secret(), HTTPClient: s.client, Attempts: 1, AttemptTimeout: attemptTimeout,
		Logger: slog.New(slog.DiscardHandler), // sender itself logs what happens
	})
}

func (s *sender) setURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = url
}

func (s *sender) setLost(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = lost
}

func (s *sender) target() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// notify starts the delivery of an event and returns at once.
func (s *sender) notify(name notifier.Type, instanceID, userID string, at time.Time) {
	ev := notifier.Event{Type: name, InstanceID: instanceID, UserID: userID, Timestamp: at}
	log := s.log.With(zap.String("event", string(name)), zap.String("instanceId", instanceID))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost || s.stopped || s.url == "" {
		log.Info("workspace event not sent")
		return
	}
	s.pending.Go(func() { s.deliver(ev, log) })
}

func (s *sender) deliver(ev notifier.Event, log *zap.Logger) {
	for attempt := 0; ; attempt++ {
		err := s.post(ev)
		if err == nil {
			return
		}
		log.Warn("workspace event not taken", zap.Int("attempt", attempt+1), zap.Error(err))
		if attempt == len(s.delays) {
			log.Error("workspace event lost")
			return
		}
		wait := time.NewTimer(s.delays[attempt])
		select {
		case <-wait.C:
		case <-s.ctx.Done():
			wait.Stop()
			log.Error("workspace event lost")
			return
		}
	}
}

func (s *sender) post(ev notifier.Event) error {
	once, err := s.notifier()
	if err == nil {
		_, err = once.Deliver(s.ctx, ev)
	}
	return err
}

// stop waits for the deliveries under way until ctx ends. Then it drops them and returns ctx's error. Later events are dropped.
func (s *sender) stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		s.pending.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("workspace events were dropped: %w", ctx.Err())
	}
	s.cancel()
	<-done
	s.client.CloseIdleConnections()
	return err
}
