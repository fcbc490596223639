package storemanager

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Ensure implements Manager.
func (r *Registry) Ensure(ctx context.Context, q EnsureRequest) (EnsureResult, error) {
	if err := q.check(); err != nil {
		return EnsureResult{}, err
	}
	return change(ctx, r, func(tx *changes) (EnsureResult, error) { return tx.ensure(ctx, q) })
}

// EnsureBatch implements Manager.
func (r *Registry) EnsureBatch(ctx context.Context, qs []EnsureRequest) ([]EnsureResult, error) {
	if len(qs) > MaxBatch {
		return nil, fmt.Errorf("%w: %d stores in one batch, at most %d are taken", ErrInvalid, len(qs), MaxBatch)
	}
	return change(ctx, r, func(tx *changes) ([]EnsureResult, error) {
		results := make([]EnsureResult, len(qs))
		for i, q := range qs {
			if q.check() != nil {
				results[i] = EnsureResult{StoreID: q.StoreID, Outcome: EnsureInvalid}
				continue
			}
			var err error
			if results[i], err = tx.ensure(ctx, q); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
}

func (tx *changes) ensure(ctx context.Context, q EnsureRequest) (res EnsureResult, err error) {
	q.At = known(q.At, tx.now)
	err = tx.decide(ctx, q.StoreID, func(s *record) (StoreEvent, error) {
		res = s.ensure(q, tx.now)
		return q.event(res), nil
	})
	return res, err
}

// BeginDeletion implements Manager.
func (r *Registry) BeginDeletion(ctx context.Context, q DeletionRequest) (DeletionResult, error) {
	if err := q.check(); err != nil {
		return DeletionResult{}, err
	}
	q.DeleteAt = precise(q.DeleteAt)
	return change(ctx, r, func(tx *changes) (res DeletionResult, err error) {
		q.At = known(q.At, tx.now)
		err = tx.decide(ctx, q.StoreID, func(s *record) (StoreEvent, error) {
			res = s.beginDeletion(q, tx.now)
			return res.event(), nil
		})
		return res, err
	})
}

// Stop implements Manager.
func (r *Registry) Stop(ctx context.Context, q StopRequest) (StopResult, error) {
	if err := q.check(); err != nil {
		return StopResult{}, err
	}
	return change(ctx, r, func(tx *changes) (res StopResult, err error) {
		if err := refuseIfLost(tx.QueryRowContext(ctx, selectLoss)); err != nil {
			return StopResult{}, err
		}
		err = tx.decide(ctx, q.StoreID, func(s *record) (_ StoreEvent, err error) {
			res, err = s.stop(q, tx.now)
			return StoreEvent{Kind: eventStop, Outcome: string(res.Outcome)}, err
		})
		return res, err
	})
}

// CancelDeletion implements Manager.
func (r *Registry) CancelDeletion(ctx context.Context, id string) (Store, error) {
	return r.changeMonitored(ctx, id, func(s *record, _ time.Time) (e StoreEvent, _ error) {
		if s.pending() {
			s.cancelDeletion()
			e = StoreEvent{Kind: eventCancelDeletion, Outcome: outcomeDone}
		}
		return e, nil
	})
}

// Hold implements Manager. Reason and actor are required; Since is set here.
func (r *Registry) Hold(ctx context.Context, id string, h Hold) (Store, error) {
	if err := h.check(); err != nil {
		return Store{}, err
	}
	h = h.normal()
	return r.changeMonitored(ctx, id, func(s *record, now time.Time) (StoreEvent, error) {
		if err := checkExpiry(h.ExpiresAt, now); err != nil {
			return StoreEvent{}, err
		}
		s.holdFrom(now, h)
		return StoreEvent{Kind: eventHold, Outcome: outcomeDone, Detail: protection(h.Reason, h.Actor, h.ExpiresAt)}, nil
	})
}

// Release implements Manager.
func (r *Registry) Release(ctx context.Context, id string) (Store, error) {
	return r.changeMonitored(ctx, id, func(s *record, _ time.Time) (e StoreEvent, _ error) {
		if s.held() {
			s.hold = Hold{}
			e = StoreEvent{Kind: eventRelease, Outcome: outcomeDone}
		}
		return e, nil
	})
}

// changeMonitored decides by a rule that makes sense for monitored stores only; ErrNotFound for any other.
func (r *Registry) changeMonitored(ctx context.Context, id string, rule func(*record, time.Time) (StoreEvent, error)) (Store, error) {
	if err := checkID(id); err != nil {
		return Store{}, err
	}
	return change(ctx, r, func(tx *changes) (out Store, err error) {
		err = tx.decide(ctx, id, func(s *record) (StoreEvent, error) {
			if !s.monitored() {
				return StoreEvent{}, fmt.Errorf("%w: %q", ErrNotFound, id)
			}
			e, err := rule(s, tx.now)
			out = s.store()
			return e, err
		})
		if err == nil {
			out.Pause, err = tx.pause(ctx, id)
		}
		return out, err
	})
}

// SetPins makes ids the pinned stores, and no others: each is ensured, whatever is known of it, and can't be deleted until
// it is no longer pinned. An id that can be no store's is ErrInvalid, and then nothing is changed.
func (r *Registry) SetPins(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if err := checkID(id); err != nil {
			return err
		}
	}
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) {
		if _, err := tx.ExecContext(ctx, `UPDATE stores SET pinned = 0 WHERE pinned = 1`); err != nil {
			return struct{}{}, fmt.Errorf("write registry: %w", err)
		}
		for _, id := range ids {
			if err := tx.apply(ctx, id, func(s *record) error { s.pin(tx.now); return nil }); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

// MarkMissing implements Manager. A list that is older than what is known of a store can't have missed it.
func (r *Registry) MarkMissing(ctx context.Context, m MissingMarks) error {
	if err := m.check(); err != nil {
		return err
	}
	missing, err := json.Marshal(m.Missing)
	if err != nil {
		return err
	}
	listed, err := json.Marshal(m.Listed)
	if err != nil {
		return err
	}
	_, err = change(ctx, r, func(tx *changes) (struct{}, error) {
		if _, err := tx.ExecContext(ctx, `
			UPDATE stores SET missing_since = ?1 WHERE id IN (SELECT value FROM json_each(?2))
				AND tombstone_at IS NULL AND missing_since IS NULL AND event_at <= ?1`,
			column(precise(m.ListAt)), string(missing)); err != nil {
			return struct{}{}, fmt.Errorf("write registry: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `
			UPDATE stores SET missing_since = NULL WHERE id IN (SELECT value FROM json_each(?))
				AND missing_since IS NOT NULL`, string(listed)); err != nil {
			return struct{}{}, fmt.Errorf("write registry: %w", err)
		}
		return struct{}{}, tx.guard(ctx, m)
	})
	return err
}

func (m MissingMarks) check() error {
	if n := len(m.Missing) + len(m.Listed); n > MaxBatch {
		return fmt.Errorf("%w: %d stores in one request, at most %d are taken", ErrInvalid, n, MaxBatch)
	}
	for _, id := range slices.Concat(m.Missing, m.Listed) {
		if err := checkID(id); err != nil {
			return err
		}
	}
	return checkTime("listAt", m.ListAt)
}
