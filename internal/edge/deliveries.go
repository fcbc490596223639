package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

const (
	// replayedHeader marks an answer that is given again.
	replayedHeader = "Idempotent-Replayed"
	// memoryTimeout bounds each question to the memory of deliveries.
	memoryTimeout = time.Second
	// memoryPause is for how long the memory is left alone after it could not be asked: each event would wait for it otherwise.
	memoryPause = time.Second
	// forgetfulness is how long an answer that could not be kept is a warning when none has been kept since.
	forgetfulness = 10 * time.Minute
	// conflictPause is how often conflicts are reported at most; the log and the metrics have more of them.
	conflictPause = time.Minute
)

var (
	errDeliveryConflict = errors.New("a delivery id came again with another body")
	errMemoryAway       = errors.New("the memory of deliveries could not be asked a moment ago")
)

// once answers a delivery that was answered before as it was then, and has handle answer it otherwise. Of deliveries of one id
// that come at the same time, one is handled and the others wait for it; those at other edges, which can't wait, are handled too
// (an event changes nothing twice) and get the same answer.
//
// While the store manager can't be asked, deliveries are handled as if they were new: what makes a repeat harmless is the state
// that it finds.
func (s *Server) once(ctx context.Context, d *delivery, handle func() (answer, *refusal)) (answer, *refusal) {
	release, err := s.underWay.wait(ctx, d.id)
	if err != nil {
		return answer{}, unavailable // the sender has gone: nobody hears it
	}
	defer release()
	ctx = context.WithoutCancel(ctx)
	sum := sha256.Sum256(d.body)
	hash := hex.EncodeToString(sum[:])

	known, err := s.recall(ctx, d.id)
	switch {
	case err != nil:
		s.frequent.Warn("delivery memory not asked", d.requestID, zap.String(telemetry.KeyDeliveryID, d.id), zap.Error(err))
	case known != nil:
		return s.again(ctx, d, *known, hash)
	}
	a, refused := handle()
	if refused != nil {
		return answer{}, refused // it will be sent again
	}
	kept, err := s.remember(ctx, deliveries.Delivery{ID: d.id, BodyHash: hash, Status: a.status, Answer: a.body})
	if err != nil {
		s.frequent.Warn("delivery not remembered", d.requestID, zap.String(telemetry.KeyDeliveryID, d.id), zap.Error(err))
		return a, nil
	}
	if kept.BodyHash != hash || kept.Status != a.status || string(kept.Answer) != string(a.body) {
		return s.again(ctx, d, kept, hash) // another edge was first
	}
	return a, nil
}

// again gives the answer of the first delivery to a repeat.
func (s *Server) again(ctx context.Context, d *delivery, first deliveries.Delivery, hash string) (answer, *refusal) {
	if first.BodyHash != hash {
		s.frequent.Warn("delivery id used for another body", d.requestID, zap.String(telemetry.KeyDeliveryID, first.ID))
		s.conflicts.Do(func() { s.sentry.Capture(ctx, errDeliveryConflict, telemetry.Operation{Name: operationWebhook}) })
		return answer{}, deliveryConflict
	}
	return answer{status: first.Status, body: first.Answer, outcome: outcomeReplayed, replayed: true}, nil
}

func (s *Server) recall(ctx context.Context, id string) (*deliveries.Delivery, error) {
	if s.memoryAway.within(memoryPause) {
		return nil, errMemoryAway
	}
	ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
	defer cancel()
	known, err := s.stores.Delivery(ctx, id)
	if err != nil {
		s.memoryAway.set()
	}
	return known, err
}

func (s *Server) remember(ctx context.Context, d deliveries.Delivery) (deliveries.Delivery, error) {
	if s.memoryAway.within(memoryPause) {
		return deliveries.Delivery{}, errMemoryAway
	}
	ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
	defer cancel()
	kept, err := s.stores.Remember(ctx, d)
	if err != nil {
		s.notRemembered.set()
	} else {
		s.notRemembered.clear()
	}
	return kept, err
}

// keepAccepted has the store manager keep an event that Temporal alone knows. Temporal has it durably, and its database would have to be
// replaced before the event has an outcome: so what can't be kept is no reason to refuse it.
func (s *Server) keepAccepted(ctx context.Context, d *delivery) {
	event, err := json.Marshal(d.event)
	if err != nil {
		panic(err) // strings and times can't fail
	}
	ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
	defer cancel()
	err = errMemoryAway
	if !s.memoryAway.within(memoryPause) {
		err = s.stores.KeepAccepted(ctx, deliveries.AcceptedEvent{
			DeliveryID: d.event.DeliveryID, StoreID: d.event.InstanceID, EventAt: d.event.Timestamp, Event: event,
		})
		switch {
		case errors.Is(err, storemanager.ErrNotFound): // a store manager of an older version keeps none
			return
		case err != nil && !errors.Is(err, storemanager.ErrInvalid):
			s.memoryAway.set()
		}
	}
	if err != nil {
		s.frequent.Warn("accepted event not kept", d.requestID, zap.String(telemetry.KeyDeliveryID, d.event.DeliveryID), zap.Error(err))
	}
}

// answer is what a webhook is answered with when it is taken.
type answer struct {
	status int
	body   json.RawMessage
	// outcome is for metrics and logs.
	outcome  string
	replayed bool
}

const outcomeReplayed = "replayed"

func (a answer) write(w http.ResponseWriter) {
	if a.replayed {
		w.Header().Set(replayedHeader, "true")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write(append(a.body, '\n')) // it fails only when the caller has gone
}

// turns lets one at a time do something under an id.
type turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{} // closed when the turn is over
}

// wait returns once it is the caller's turn, and what ends that; an error only of ctx.
func (t *turns) wait(ctx context.Context, id string) (release func(), err error) {
	for {
		t.mu.Lock()
		before, ok := t.taken[id]
		if !ok {
			mine := make(chan struct{})
			if t.taken == nil {
				t.taken = map[string]chan struct{}{}
			}
			t.taken[id] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.taken, id)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
