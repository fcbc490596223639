package storemanager

import (
	"context"
	"errors"
	"fmt"
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

// Enter ensures stores, all at once, that another server monitors. The events of those that this server is yet to be told of are left to
// NoteEnsured.
func (r *Registry) Enter(ctx context.Context, qs []EnsureRequest) ([]EnsureResult, error) {
	return change(ctx, r, func(tx *changes) ([]EnsureResult, error) {
		results := make([]EnsureResult, len(qs))
		for i, q := range qs {
			if q.check() != nil {
				results[i] = EnsureResult{StoreID: q.StoreID, Outcome: EnsureInvalid}
				continue
			}
			q.At = known(q.At, tx.now)
			if err := tx.decide(ctx, q.StoreID, func(s *record) (e StoreEvent, _ error) {
				if results[i] = s.ensure(q, tx.decision); results[i].Connection == "" {
					e = ensureEvent(q, results[i])
				}
				return e, nil
			}); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
}

func (tx *changes) ensure(ctx context.Context, q EnsureRequest) (res EnsureResult, err error) {
	q.At = known(q.At, tx.now)
	err = tx.decide(ctx, q.StoreID, func(s *record) (StoreEvent, error) {
		res = s.ensure(q, tx.decision)
		return ensureEvent(q, res), nil
	})
	return res, err
}

// BeginDeletion implements Manager.
func (r *Registry) BeginDeletion(ctx context.Context, q DeletionRequest) (DeletionResult, error) {
	if err := q.check(); err != nil {
		return DeletionResult{}, err
	}
	return change(ctx, r, func(tx *changes) (res DeletionResult, err error) {
		q.At = known(q.At, tx.now)
		if q.GracePeriod > 0 { // a clock that is behind cuts it not short
			q.DeleteAt = later(q.DeleteAt, tx.now.Add(q.GracePeriod))
		}
		q.DeleteAt = precise(q.DeleteAt)
		err = tx.decide(ctx, q.StoreID, func(s *record) (StoreEvent, error) {
			res = s.beginDeletion(q, tx.decision)
			return deletionEvent(res), nil
		})
		return res, err
	})
}

// Stop implements Manager.
func (r *Registry) Stop(ctx context.Context, q StopRequest) (StopResult, error) {
	if err := q.check(); err != nil {
		return StopResult{}, err
	}
	res, err := r.stop(ctx, q, time.Time{})
	if errors.Is(err, errAnswerTooOld) {
		return StopResult{Outcome: StopAnswerTooOld}, nil
	}
	return res, err
}

// errAnswerTooOld: the answer got too old while the registry was deciding, for the process was stopped in the middle, say.
var errAnswerTooOld = errors.New("the answer of the auth worker is too old by now")

// WouldStop is the outcome that Stop would have for the record, by the rules alone, and when that was decided. It changes nothing.
func (r *Registry) WouldStop(ctx context.Context, s record, q StopRequest) (res StopResult, decidedAt time.Time, err error) {
	if err := refuseIfLost(ctx, r.driver); err != nil {
		return StopResult{}, time.Time{}, err
	}
	decidedAt = r.clock()
	res, err = s.stop(q, decision{now: decidedAt})
	return res, decidedAt, err
}

// StopAsDecided is Stop as WouldStop decided it: another server was told of it meanwhile, and may have taken its time.
func (r *Registry) StopAsDecided(ctx context.Context, q StopRequest, decidedAt time.Time) (StopResult, error) {
	return r.stop(ctx, q, decidedAt)
}

// stop decides as of decidedAt; the zero time means now.
func (r *Registry) stop(ctx context.Context, q StopRequest, decidedAt time.Time) (StopResult, error) {
	return change(ctx, r, func(tx *changes) (res StopResult, err error) {
		if err := refuseIfLost(ctx, tx); err != nil {
			return StopResult{}, err
		}
		d := tx.decision
		if !decidedAt.IsZero() {
			d.now = decidedAt
		}
		err = tx.decide(ctx, q.StoreID, func(s *record) (_ StoreEvent, err error) {
			res, err = s.stop(q, d)
			return StoreEvent{Kind: eventStop, Outcome: string(res.Outcome)}, err
		})
		if err == nil && res.Outcome == StopStopped && tx.stopped > 0 && decidedAt.IsZero() && !fresh(q, r.clock()) {
			return StopResult{}, errAnswerTooOld
		}
		return res, err
	})
}

// CancelDeletion implements Manager.
func (r *Registry) CancelDeletion(ctx context.Context, q CancelRequest) (Store, error) {
	if err := q.check(); err != nil {
		return Store{}, err
	}
	if !q.EventAt.IsZero() {
		q.EventAt = precise(q.EventAt)
	}
	return r.changeMonitored(ctx, q.StoreID, func(s *record, d decision) (e StoreEvent, _ error) {
		if s.cancel(q, d) {
			e = StoreEvent{Kind: eventCancelDeletion, Outcome: outcomeDone}
		}
		return e, nil
	})
}

// TakeOverDeletion implements Manager.
func (r *Registry) TakeOverDeletion(ctx context.Context, q TakeOverRequest) (Store, error) {
	if err := q.check(); err != nil {
		return Store{}, err
	}
	return r.changeMonitored(ctx, q.StoreID, func(s *record, _ decision) (e StoreEvent, _ error) {
		if before := s.deletion.Owner; s.takeOver(q.Owner) && before != q.Owner {
			e = StoreEvent{Kind: eventDeletion, Outcome: outcomeResumed, Detail: "due " + s.deletion.DeleteAt.Format(time.RFC3339)}
		}
		return e, nil
	})
}

// Hold implements Manager. Reason and actor are required; Since is set here.
func (r *Registry) Hold(ctx context.Context, id string, h Hold) (Store, error) {
	if err := h.check(); err != nil {
		return Store{}, err
	}
	h = normalHold(h)
	return r.changeMonitored(ctx, id, func(s *record, d decision) (StoreEvent, error) {
		if err := checkExpiry(h.ExpiresAt, d.now); err != nil {
			return StoreEvent{}, err
		}
		s.holdFrom(d, h)
		return StoreEvent{Kind: eventHold, Outcome: outcomeDone, Detail: protection(h.Reason, h.Actor, h.ExpiresAt)}, nil
	})
}

// Release implements Manager.
func (r *Registry) Release(ctx context.Context, id string) (Store, error) {
	return r.changeMonitored(ctx, id, func(s *record, _ decision) (e StoreEvent, _ error) {
		if s.held() {
			s.hold = Hold{}
			e = StoreEvent{Kind: eventRelease, Outcome: outcomeDone}
		}
		return e, nil
	})
}

// changeMonitored decides by a rule that makes sense for monitored stores only; ErrNotFound for any other.
func (r *Registry) changeMonitored(ctx context.Context, id string, rule func(*record, decision) (StoreEvent, error)) (Store, error) {
	if err := checkID(id); err != nil {
		return Store{}, err
	}
	return change(ctx, r, func(tx *changes) (out Store, err error) {
		err = tx.decide(ctx, id, func(s *record) (StoreEvent, error) {
			if !s.monitored() {
				return StoreEvent{}, fmt.Errorf("%w: %q", ErrNotFound, id)
			}
			e, err := rule(s, tx.decision)
			out = s.store()
			return e, err
		})
		if err == nil {
			out.Pause, err = tx.Pause(ctx, id, tx.now)
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
		if err := tx.Unpin(ctx); err != nil {
			return struct{}{}, err
		}
		for _, id := range ids {
			if err := tx.apply(ctx, id, func(s *record) error { s.pin(tx.decision); return nil }); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

// MarkMissing implements Manager. What is not monitored is of no interest to lists.
func (r *Registry) MarkMissing(ctx context.Context, m MissingMarks) error {
	if err := m.check(); err != nil {
		return err
	}
	m.ListAt = precise(m.ListAt)
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) {
		mark := func(ids []string, rule func(*record)) error {
			for _, id := range ids {
				if err := tx.apply(ctx, id, func(s *record) error {
					if s.monitored() {
						rule(s)
					}
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		}
		if err := mark(m.Missing, func(s *record) { s.unlisted(m.ListAt) }); err != nil {
			return struct{}{}, err
		}
		if err := mark(m.Listed, func(s *record) { s.listed(m.ListAt, tx.decision) }); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, tx.guard(ctx, m)
	})
	return err
}
