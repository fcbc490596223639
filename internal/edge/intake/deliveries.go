package intake

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

const (
	// memoryTimeout bounds each question to the memory of deliveries.
	memoryTimeout = time.Second
	// memoryRest is for how long the memory is left alone after it could not be asked: each event would wait for it otherwise.
	memoryRest = time.Second
	// forgetfulness is how long an answer that could not be kept is a warning when none has been kept since.
	forgetfulness = 10 * time.Minute
	// conflictInterval is how often conflicts are reported at most; the log and the metrics have more of them.
	conflictInterval = time.Minute
)

var (
	errDeliveryConflict = errors.New("a delivery id came again with another body")
	errMemoryAway       = errors.New("the memory of deliveries could not be asked a moment ago")
)

// answerAgain gives a repeat the answer of the first delivery of its id. It refuses a delivery with another body.
func (in *Intake) answerAgain(ctx context.Context, d *delivery, first deliveries.Delivery) *problem.Refusal {
	if first.BodyHash != d.hash {
		in.frequent.Warn("delivery id used for another body", d.requestID, zap.String(telemetry.KeyDeliveryID, first.ID))
		in.conflicts.Do(func() {
			in.sentry.Capture(ctx, errDeliveryConflict, telemetry.Operation{Name: operationWebhook, Kind: "delivery conflict"})
		})
		return deliveryConflict
	}
	d.answer = answer{status: first.Status, body: first.Answer, outcome: outcomeReplayed, replayed: true}
	return nil
}

// askMemory returns the first delivery of the id; nil when none is known.
func (in *Intake) askMemory(ctx context.Context, id string) (*deliveries.Delivery, error) {
	if in.memoryAway.within(memoryRest) {
		return nil, errMemoryAway
	}
	ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
	defer cancel()
	first, err := in.memory.Delivery(ctx, id)
	if err != nil {
		in.memoryAway.set()
	}
	return first, err
}

// tellMemory returns what is kept, which is the first delivery of the id.
func (in *Intake) tellMemory(ctx context.Context, d deliveries.Delivery) (deliveries.Delivery, error) {
	if in.memoryAway.within(memoryRest) {
		return deliveries.Delivery{}, errMemoryAway
	}
	ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
	defer cancel()
	kept, err := in.memory.Remember(ctx, d)
	if err != nil {
		in.notRemembered.set()
	} else {
		in.notRemembered.clear()
	}
	return kept, err
}

// keepAccepted has the store manager keep an event that Temporal alone knows. That it can't be kept is no reason to refuse the event: Temporal
// has it durably, and only a database that is replaced before the event has an outcome would lose it.
func (in *Intake) keepAccepted(ctx context.Context, d *delivery) {
	event, err := json.Marshal(d.event)
	if err != nil {
		panic(err) // strings and times can't fail
	}
	ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
	defer cancel()
	err = errMemoryAway
	if !in.memoryAway.within(memoryRest) {
		err = in.memory.KeepAccepted(ctx, deliveries.AcceptedEvent{
			DeliveryID: d.event.DeliveryID, StoreID: d.event.InstanceID, EventAt: d.event.Timestamp, Event: event,
		})
		switch {
		case errors.Is(err, storemanager.ErrNotFound): // a store manager of an older version keeps none
			return
		case err != nil && !errors.Is(err, storemanager.ErrInvalid):
			in.memoryAway.set()
		}
	}
	if err != nil {
		in.frequent.Warn("accepted event not kept", d.requestID, zap.String(telemetry.KeyDeliveryID, d.event.DeliveryID), zap.Error(err))
	}
}

// idLocks let one at a time do something under an id.
type idLocks struct {
	mu     sync.Mutex
	locked map[string]chan struct{} // closed when the lock is given back
}

// lock waits until nobody else holds the id, and returns what gives it back; an error only of ctx.
func (l *idLocks) lock(ctx context.Context, id string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		before, ok := l.locked[id]
		if !ok {
			mine := make(chan struct{})
			if l.locked == nil {
				l.locked = map[string]chan struct{}{}
			}
			l.locked[id] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.locked, id)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
