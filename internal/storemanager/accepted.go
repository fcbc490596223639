package storemanager

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// AcceptedEvent is an event that was answered while Temporal alone knew it: its outcome was to come. Should Temporal's database be
// replaced before, the new one is told of it again.
type AcceptedEvent struct {
	// DeliveryID is as in Delivery.
	DeliveryID string `json:"deliveryId"`
	StoreID    string `json:"storeId"`
	// EventAt is the moment of the event, by the clock of its origin.
	EventAt time.Time `json:"eventAt"`
	// Event is a JSON value of at most 4 KiB, which the registry does not read.
	Event json.RawMessage `json:"event"`
}

// UnheardRequest asks for a page of accepted events.
type UnheardRequest struct {
	// Engine identifies Temporal's database.
	Engine string
	// After is the DeliveryID of the last event of the page before; "" for the first page.
	After string
}

// EngineRequest names a database of Temporal.
type EngineRequest struct {
	Engine string `json:"engine"`
}

const (
	maxEngine = 128

	// heard is whether the store is known to have heard of an event, or of a newer one.
	heard = `EXISTS (SELECT 1 FROM stores s WHERE s.id = e.store_id
		AND max(s.event_at, coalesce(s.deletion_event_at, 0), coalesce(s.cancelled_event_at, 0)) >= e.event_at)`

	insertAccepted = `INSERT INTO accepted_events (delivery_id, store_id, at, event_at, event) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	// Those that nobody will hear any more: of a held store, say.
	forgetUnheard = `DELETE FROM accepted_events WHERE delivery_id IN (SELECT delivery_id FROM accepted_events WHERE at < ? ORDER BY at LIMIT 100)`
	// Those that were heard: of this store, for it has news, and among the oldest.
	forgetHeard   = `DELETE FROM accepted_events AS e WHERE (store_id = ? OR delivery_id IN (SELECT delivery_id FROM accepted_events ORDER BY at LIMIT 100)) AND ` + heard
	selectUnheard = `SELECT delivery_id, store_id, event_at, event FROM accepted_events e WHERE delivery_id > ? AND at >= ? AND NOT ` + heard + `
		ORDER BY delivery_id LIMIT ?`
	selectEngine = `SELECT engine FROM totals`
	updateEngine = `UPDATE totals SET engine = ?`
)

func (e AcceptedEvent) check() error {
	switch {
	case !ValidDeliveryID(e.DeliveryID):
		return fmt.Errorf("%w: %.80q can't be the id of a delivery", ErrInvalid, e.DeliveryID)
	case e.EventAt.IsZero():
		return fmt.Errorf("%w: an event has its moment", ErrInvalid)
	case len(e.Event) > maxDeliveryAnswer || !json.Valid(e.Event):
		return fmt.Errorf("%w: an event is a JSON value of at most %d bytes", ErrInvalid, maxDeliveryAnswer)
	}
	return checkID(e.StoreID)
}

func checkEngine(engine string) error {
	if engine == "" || len(engine) > maxEngine {
		return fmt.Errorf("%w: an engine has a name of at most %d bytes", ErrInvalid, maxEngine)
	}
	return nil
}

// KeepAccepted implements Manager.
func (r *Registry) KeepAccepted(ctx context.Context, e AcceptedEvent) error {
	if err := e.check(); err != nil {
		return err
	}
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) {
		_, err := tx.ExecContext(ctx, insertAccepted, e.DeliveryID, e.StoreID, column(tx.now), column(known(e.EventAt, tx.now)), string(e.Event))
		if err != nil {
			return struct{}{}, fmt.Errorf("write registry: %w", err)
		}
		if _, err := tx.ExecContext(ctx, forgetUnheard, column(tx.now.Add(-DeliveryRetention))); err != nil {
			return struct{}{}, fmt.Errorf("prune registry: %w", err)
		}
		if _, err := tx.ExecContext(ctx, forgetHeard, e.StoreID); err != nil {
			return struct{}{}, fmt.Errorf("prune registry: %w", err)
		}
		return struct{}{}, nil
	})
	return err
}

// Unheard implements Manager.
func (r *Registry) Unheard(ctx context.Context, q UnheardRequest) ([]AcceptedEvent, error) {
	if err := checkEngine(q.Engine); err != nil {
		return nil, err
	}
	var engine string
	if err := r.read.QueryRowContext(ctx, selectEngine).Scan(&engine); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	events := []AcceptedEvent{}
	if engine == q.Engine {
		return events, nil
	}
	rows, err := r.read.QueryContext(ctx, selectUnheard, q.After, column(r.clock().Add(-DeliveryRetention)), MaxBatch)
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	for rows.Next() {
		var e AcceptedEvent
		var event string
		if err := rows.Scan(&e.DeliveryID, &e.StoreID, (*column)(&e.EventAt), &event); err != nil {
			return nil, fmt.Errorf("read registry: %w", err)
		}
		e.Event = json.RawMessage(event)
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	return events, nil
}

// EngineTold implements Manager.
func (r *Registry) EngineTold(ctx context.Context, q EngineRequest) error {
	if err := checkEngine(q.Engine); err != nil {
		return err
	}
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) {
		if _, err := tx.ExecContext(ctx, updateEngine, q.Engine); err != nil {
			return struct{}{}, fmt.Errorf("write registry: %w", err)
		}
		return struct{}{}, nil
	})
	return err
}
