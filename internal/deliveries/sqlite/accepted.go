package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
)

const (
	// heard is whether the store is known to have heard of an event, or of a newer one. The view heard is the registry's.
	heard = `EXISTS (SELECT 1 FROM heard WHERE heard.store_id = e.store_id AND heard.newest_at >= e.event_at)`

	insertAccepted = `INSERT INTO accepted_events (delivery_id, store_id, at, event_at, event) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	// It forgets events of which no store will hear any more: a held store refuses them, say.
	forgetUnheard = `DELETE FROM accepted_events WHERE delivery_id IN (SELECT delivery_id FROM accepted_events WHERE at < ? ORDER BY at LIMIT 100)`
	// It forgets events that were heard: those of this store, because it has news, and those among the oldest.
	forgetHeard   = `DELETE FROM accepted_events AS e WHERE (store_id = ? OR delivery_id IN (SELECT delivery_id FROM accepted_events ORDER BY at LIMIT 100)) AND ` + heard
	selectUnheard = `SELECT delivery_id, store_id, event_at, event FROM accepted_events e WHERE delivery_id > ? AND at >= ? AND NOT ` + heard + `
		ORDER BY delivery_id LIMIT ?`
	selectEngine = `SELECT engine FROM delivery_totals`
	updateEngine = `UPDATE delivery_totals SET engine = ?`
)

// KeepAccepted implements Memory.
func (m *Memory) KeepAccepted(ctx context.Context, e deliveries.AcceptedEvent) error {
	if err := e.Validate(); err != nil {
		return err
	}
	return m.database.Transact(ctx, func(tx *sql.Tx) error {
		now := m.clock()
		at := storemanager.Believed(e.EventAt, now) // as the registry takes it
		if _, err := tx.ExecContext(ctx, insertAccepted, e.DeliveryID, e.StoreID, now.UnixMicro(), at.UnixMicro(), string(e.Event)); err != nil {
			return fmt.Errorf("write accepted events: %w", err)
		}
		if _, err := tx.ExecContext(ctx, forgetUnheard, now.Add(-deliveries.DeliveryRetention).UnixMicro()); err != nil {
			return fmt.Errorf("prune accepted events: %w", err)
		}
		if _, err := tx.ExecContext(ctx, forgetHeard, e.StoreID); err != nil {
			return fmt.Errorf("prune accepted events: %w", err)
		}
		return nil
	})
}

// Unheard implements Memory.
func (m *Memory) Unheard(ctx context.Context, q deliveries.UnheardRequest) ([]deliveries.AcceptedEvent, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	var engine string
	if err := m.read.QueryRowContext(ctx, selectEngine).Scan(&engine); err != nil {
		return nil, fmt.Errorf("read accepted events: %w", err)
	}
	events := []deliveries.AcceptedEvent{}
	if engine == q.Engine {
		return events, nil
	}
	rows, err := m.read.QueryContext(ctx, selectUnheard, q.After, m.clock().Add(-deliveries.DeliveryRetention).UnixMicro(), storemanager.MaxBatch)
	if err != nil {
		return nil, fmt.Errorf("read accepted events: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	for rows.Next() {
		var e deliveries.AcceptedEvent
		var event string
		var at int64
		if err := rows.Scan(&e.DeliveryID, &e.StoreID, &at, &event); err != nil {
			return nil, fmt.Errorf("read accepted events: %w", err)
		}
		e.EventAt, e.Event = time.UnixMicro(at).UTC(), json.RawMessage(event)
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read accepted events: %w", err)
	}
	return events, nil
}

// EngineTold implements Memory.
func (m *Memory) EngineTold(ctx context.Context, q deliveries.EngineRequest) error {
	if err := q.Validate(); err != nil {
		return err
	}
	return m.database.Transact(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, updateEngine, q.Engine); err != nil {
			return fmt.Errorf("write accepted events: %w", err)
		}
		return nil
	})
}
