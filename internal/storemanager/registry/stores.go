package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"storekeeper/internal/storemanager"
)

// Ensure implements Stores.
func (r *Registry) Ensure(ctx context.Context, q storemanager.EnsureRequest) (storemanager.EnsureResult, error) {
	if err := q.Validate(); err != nil {
		return storemanager.EnsureResult{}, err
	}
	return change(ctx, r, func(tx *transaction) (storemanager.EnsureResult, error) { return tx.ensure(ctx, q) })
}

// EnsureBatch implements Stores.
func (r *Registry) EnsureBatch(ctx context.Context, qs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error) {
	if len(qs) > storemanager.MaxBatch {
		return nil, fmt.Errorf("%w: %d stores in one batch, at most %d are taken", storemanager.ErrInvalid, len(qs), storemanager.MaxBatch)
	}
	return change(ctx, r, func(tx *transaction) ([]storemanager.EnsureResult, error) {
		results := make([]storemanager.EnsureResult, len(qs))
		for i, q := range qs {
			if q.Validate() != nil {
				results[i] = storemanager.EnsureResult{StoreID: q.StoreID, Outcome: storemanager.EnsureInvalid}
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

// Enter ensures stores that another server monitors, all in one transaction. An invalid request is answered EnsureInvalid. For stores that the server is yet to
// be told of it writes no history; NoteEnsured does.
func (r *Registry) Enter(ctx context.Context, qs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error) {
	return change(ctx, r, func(tx *transaction) ([]storemanager.EnsureResult, error) {
		results := make([]storemanager.EnsureResult, len(qs))
		for i, q := range qs {
			if q.Validate() != nil {
				results[i] = storemanager.EnsureResult{StoreID: q.StoreID, Outcome: storemanager.EnsureInvalid}
				continue
			}
			q.At = storemanager.Believed(q.At, tx.now)
			if err := tx.decide(ctx, q.StoreID, func(s *Record) (e storemanager.AuditEntry, _ error) {
				if results[i] = s.ensure(q, tx.decision); results[i].Connection == "" {
					e = ensureEntry(q, results[i], storemanager.Deletion{})
				}
				return e, nil
			}); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
}

func (tx *transaction) ensure(ctx context.Context, q storemanager.EnsureRequest) (res storemanager.EnsureResult, err error) {
	q.At = storemanager.Believed(q.At, tx.now)
	err = tx.decide(ctx, q.StoreID, func(s *Record) (storemanager.AuditEntry, error) {
		pending := s.Deletion
		res = s.ensure(q, tx.decision)
		return ensureEntry(q, res, pending), nil
	})
	return res, err
}

// BeginDeletion implements Deletions.
func (r *Registry) BeginDeletion(ctx context.Context, q storemanager.DeletionRequest) (storemanager.DeletionResult, error) {
	if err := q.Validate(); err != nil {
		return storemanager.DeletionResult{}, err
	}
	return change(ctx, r, func(tx *transaction) (res storemanager.DeletionResult, err error) {
		q.At = storemanager.Believed(q.At, tx.now)
		if q.GracePeriod > 0 { // a clock that is behind must not cut it short
			q.DeleteAt = later(q.DeleteAt, tx.now.Add(q.GracePeriod))
		}
		q.DeleteAt = storemanager.Precise(q.DeleteAt)
		err = tx.decide(ctx, q.StoreID, func(s *Record) (storemanager.AuditEntry, error) {
			res = s.beginDeletion(q, tx.decision)
			return deletionEntry(q, res, s.Deletion), nil
		})
		return res, err
	})
}

// Stop implements Deletions.
func (r *Registry) Stop(ctx context.Context, q storemanager.StopRequest) (storemanager.StopResult, error) {
	if err := q.Validate(); err != nil {
		return storemanager.StopResult{}, err
	}
	res, err := r.stop(ctx, q, time.Time{})
	if errors.Is(err, errAnswerTooOld) {
		return storemanager.StopResult{Outcome: storemanager.StopAnswerTooOld}, nil
	}
	return res, err
}

// errAnswerTooOld: the answer got too old while the registry was deciding, because the process was frozen in the middle, say.
var errAnswerTooOld = errors.New("the answer of the auth worker is too old by now")

// WouldStop returns the outcome that Stop would have for the record, by the rules alone, and when that was decided. It changes nothing.
func (r *Registry) WouldStop(ctx context.Context, s Record, q storemanager.StopRequest) (res storemanager.StopResult, decidedAt time.Time, err error) {
	if err := refuseIfLost(ctx, r.driver); err != nil {
		return storemanager.StopResult{}, time.Time{}, err
	}
	decidedAt = r.Clock()
	res, err = s.stop(q, decision{now: decidedAt})
	return res, decidedAt, err
}

// StopAsDecided is Stop as of decidedAt, the moment of WouldStop. Another server was told of the stop meanwhile, and may have taken its time.
func (r *Registry) StopAsDecided(ctx context.Context, q storemanager.StopRequest, decidedAt time.Time) (storemanager.StopResult, error) {
	return r.stop(ctx, q, decidedAt)
}

// stop decides as of decidedAt; the zero time means now.
func (r *Registry) stop(ctx context.Context, q storemanager.StopRequest, decidedAt time.Time) (storemanager.StopResult, error) {
	return change(ctx, r, func(tx *transaction) (res storemanager.StopResult, err error) {
		if err := refuseIfLost(ctx, tx); err != nil {
			return storemanager.StopResult{}, err
		}
		d := tx.decision
		if !decidedAt.IsZero() {
			d.now = decidedAt
		}
		err = tx.decide(ctx, q.StoreID, func(s *Record) (_ storemanager.AuditEntry, err error) {
			pending := s.Deletion
			res, err = s.stop(q, d)
			return stopEntry(q, res, pending, decidedAt), err
		})
		if err == nil && res.Outcome == storemanager.StopStopped && tx.stopped > 0 && decidedAt.IsZero() && !fresh(q, r.Clock()) {
			return storemanager.StopResult{}, errAnswerTooOld
		}
		return res, err
	})
}

// CancelDeletion implements Deletions.
func (r *Registry) CancelDeletion(ctx context.Context, q storemanager.CancelRequest) (storemanager.Store, error) {
	if err := q.Validate(); err != nil {
		return storemanager.Store{}, err
	}
	if !q.EventAt.IsZero() {
		q.EventAt = storemanager.Precise(q.EventAt)
	}
	return r.changeMonitored(ctx, q.StoreID, func(s *Record, d decision) (e storemanager.AuditEntry, _ error) {
		if pending := s.Deletion; s.cancel(q, d) {
			e = storemanager.AuditEntry{
				Kind: storemanager.AuditCancelDeletion, Outcome: outcomeDone, Origin: q.Origin, Evidence: &storemanager.Evidence{Deletion: &pending},
			}
		}
		return e, nil
	})
}

// TakeOverDeletion implements Deletions.
func (r *Registry) TakeOverDeletion(ctx context.Context, q storemanager.TakeOverRequest) (storemanager.Store, error) {
	if err := q.Validate(); err != nil {
		return storemanager.Store{}, err
	}
	return r.changeMonitored(ctx, q.StoreID, func(s *Record, _ decision) (e storemanager.AuditEntry, _ error) {
		if before := s.Deletion.Owner; s.takeOver(q.Owner) && before != q.Owner {
			pending := s.Deletion
			e = storemanager.AuditEntry{
				Kind: storemanager.AuditDeletion, Outcome: outcomeResumed, Detail: "due " + pending.DeleteAt.Format(time.RFC3339), Origin: q.Origin,
				Evidence: &storemanager.Evidence{Deletion: &pending},
			}
		}
		return e, nil
	})
}

// Hold implements Deletions. Reason and actor are required; Since is set here.
func (r *Registry) Hold(ctx context.Context, id string, q storemanager.HoldRequest) (storemanager.Store, error) {
	if err := q.Validate(); err != nil {
		return storemanager.Store{}, err
	}
	h := normalHold(q.Hold)
	return r.changeMonitored(ctx, id, func(s *Record, d decision) (storemanager.AuditEntry, error) {
		if err := checkExpiry(h.ExpiresAt, d.now); err != nil {
			return storemanager.AuditEntry{}, err
		}
		s.holdFrom(d, h)
		return storemanager.AuditEntry{
			Kind: storemanager.AuditHold, Outcome: outcomeDone, Detail: protection(h.Reason, h.Actor, h.ExpiresAt),
			Origin: operator(q.Origin, h.Actor, h.Reason), Evidence: &storemanager.Evidence{Hold: new(s.Hold)},
		}, nil
	})
}

// Release implements Deletions.
func (r *Registry) Release(ctx context.Context, q storemanager.ReleaseRequest) (storemanager.Store, error) {
	return r.changeMonitored(ctx, q.StoreID, func(s *Record, _ decision) (e storemanager.AuditEntry, _ error) {
		if s.held() {
			s.Hold = storemanager.Hold{}
			e = storemanager.AuditEntry{Kind: storemanager.AuditRelease, Outcome: outcomeDone, Origin: q.Origin}
		}
		return e, nil
	})
}

// changeMonitored decides by a rule that makes sense for monitored stores only. For any other it fails with ErrNotFound.
func (r *Registry) changeMonitored(ctx context.Context, id string, rule func(*Record, decision) (storemanager.AuditEntry, error)) (storemanager.Store, error) {
	if err := storemanager.CheckID(id); err != nil {
		return storemanager.Store{}, err
	}
	return change(ctx, r, func(tx *transaction) (out storemanager.Store, err error) {
		err = tx.decide(ctx, id, func(s *Record) (storemanager.AuditEntry, error) {
			if !s.Monitored() {
				return storemanager.AuditEntry{}, fmt.Errorf("%w: %q", storemanager.ErrNotFound, id)
			}
			e, err := rule(s, tx.decision)
			out = s.Store()
			return e, err
		})
		if err == nil {
			out.Pause, err = tx.Pause(ctx, id, tx.now)
		}
		return out, err
	})
}

// SetPins makes these ids the pinned stores, and no others. Each is ensured, whatever is known of it, and can't be deleted until it is no longer pinned. If an
// id can be no store's, SetPins fails with ErrInvalid and changes nothing.
func (r *Registry) SetPins(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if err := storemanager.CheckID(id); err != nil {
			return err
		}
	}
	_, err := change(ctx, r, func(tx *transaction) (struct{}, error) {
		unpinned, err := tx.Unpin(ctx)
		if err != nil {
			return struct{}{}, err
		}
		for _, id := range ids {
			if err := tx.decide(ctx, id, func(s *Record) (e storemanager.AuditEntry, _ error) {
				if !slices.Contains(unpinned, id) {
					e = pinEntry(storemanager.AuditPin)
				}
				s.pin(tx.decision)
				return e, nil
			}); err != nil {
				return struct{}{}, err
			}
		}
		for _, id := range unpinned {
			if slices.Contains(ids, id) {
				continue
			}
			if err := tx.decide(ctx, id, func(*Record) (storemanager.AuditEntry, error) { return pinEntry(storemanager.AuditUnpin), nil }); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

func pinEntry(kind storemanager.AuditKind) storemanager.AuditEntry {
	return storemanager.AuditEntry{
		Kind: kind, Outcome: outcomeDone, Detail: "STORE_IDS", Origin: storemanager.Origin{Source: storemanager.SourceSystem, Via: "settings"},
	}
}

// MarkUnlisted implements Reconciliations. It leaves ids alone that are not monitored.
func (r *Registry) MarkUnlisted(ctx context.Context, m storemanager.ListMarks) error {
	if err := m.Validate(); err != nil {
		return err
	}
	m.ListAt = storemanager.Precise(m.ListAt)
	_, err := change(ctx, r, func(tx *transaction) (struct{}, error) {
		mark := func(ids []string, rule func(*Record)) error {
			for _, id := range ids {
				if err := tx.apply(ctx, id, func(s *Record) error {
					if s.Monitored() {
						rule(s)
					}
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		}
		var news []string // stores that this list is the first to lack
		if err := mark(m.Unlisted, func(s *Record) {
			if s.unlisted(m.List.AsOf(m.ListAt)) {
				news = append(news, s.ID)
			}
		}); err != nil {
			return struct{}{}, err
		}
		if err := tx.auditList(ctx, m, news); err != nil {
			return struct{}{}, err
		}
		if err := mark(m.Listed, func(s *Record) { s.listed(m.ListAt, tx.decision) }); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, tx.guard(ctx, m)
	})
	return err
}
