package storemanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/dbfile"
)

// compareMark compares the registry with its mark, and keeps what was lost.
//
// A mark that is missing proves nothing, for a copy of the database has none. One that is damaged is taken for a loss: no kill and no
// power loss does that to both of its slots, so the same disk may have damaged the log, and when in doubt nothing is removed.
func (r *Registry) compareMark(ctx context.Context, isNew bool) error {
	here, err := r.position(ctx)
	if err != nil || r.path == "" {
		return err
	}
	there, err := r.mark.read()
	var found string
	switch {
	case errors.Is(err, errNoMark):
		if !isNew {
			r.log.Info("the registry had no mark yet, or is a copy without it", zap.String("mark", r.mark.path))
		}
		return r.mark.create(here)
	case errors.Is(err, errDamagedMark) && isNew:
		found = "the registry is new, though another one was here"
	case errors.Is(err, errDamagedMark):
		found = fmt.Sprintf("the mark of the registry is damaged, so nobody can tell whether its %d changes are all", here.changes)
	case err != nil:
		return fmt.Errorf("mark of the registry: %w", err)
	case there.changes == 0: // whatever is here, nothing was there
		return r.mark.create(here)
	case isNew:
		found = fmt.Sprintf("the registry is new, though one with %d changes was here", there.changes)
	case here.identity != there.identity:
		found = fmt.Sprintf("the registry is another one than was here: it has seen %d changes, that one had seen %d", here.changes, there.changes)
	case here.changes < there.changes:
		found = fmt.Sprintf("the registry is %d changes behind its mark: it went back in time, or its log was damaged", there.changes-here.changes)
	default:
		return r.mark.resume(here)
	}
	if !isNew { // quick_check leaves out what a log that ends too early does to indexes
		if err := verify(ctx, r.write, `PRAGMA integrity_check(1)`); err != nil {
			return err
		}
	}
	if err := r.keepLoss(ctx, found); err != nil {
		return err
	}
	if here, err = r.position(ctx); err != nil {
		return err
	}
	return r.mark.create(here) // until then, the loss is found again
}

// position is how far the registry has come.
func (r *Registry) position(ctx context.Context) (p position, err error) {
	if err := r.write.QueryRowContext(ctx, `SELECT identity, changes FROM totals`).Scan(&p.identity, &p.changes); err != nil {
		return position{}, fmt.Errorf("read registry: %w", err)
	}
	r.identity = p.identity
	r.committed.Store(p.changes)
	return p, nil
}

// keepLoss keeps what was found. The registry becomes another one: should the file that is missing come back later, what has been
// changed here since would be lost. What is counted beside the rows is counted anew, for both may come from different moments.
func (r *Registry) keepLoss(ctx context.Context, found string) error {
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) {
		if err := tx.noteLoss(ctx, found); err != nil {
			return struct{}{}, err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE totals SET identity = lower(hex(randomblob(16))),
			provisioned = stopped + (SELECT count(*) FROM stores WHERE tombstone_at IS NULL),
			deliveries = (SELECT count(*) FROM deliveries)`); err != nil {
			return struct{}{}, fmt.Errorf("write registry: %w", err)
		}
		return struct{}{}, nil
	})
	return err
}

// selectLoss is what was lost and is not acknowledged: since when, NULL if nothing is, and all that was found.
const selectLoss = `SELECT min(found_at), coalesce(group_concat(found, '; '), '') FROM losses WHERE acknowledged_at IS NULL`

func (tx *changes) noteLoss(ctx context.Context, found string) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO losses (found_at, found) VALUES (?, ?)`, column(tx.now), found); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	return nil
}

// lossOf is what a registry says of its loss; nil for none.
func lossOf(ctx context.Context, db dbfile.Queryer) (*GuardHold, error) {
	var since column
	loss := GuardHold{Lost: true}
	if err := db.QueryRowContext(ctx, selectLoss).Scan(&since, &loss.Reason); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	if since.optional() == nil {
		return nil, nil //nolint:nilnil // as said
	}
	loss.Since = *since.optional()
	return &loss, nil
}

// tellLoss says in the log what was lost, and goes on to say it at each start.
func (r *Registry) tellLoss(ctx context.Context) error {
	loss, err := lossOf(ctx, r.read)
	if err == nil && loss != nil {
		r.log.Error("the registry was lost: no store is stopped before an operator has agreed (starter acknowledge)",
			zap.String("path", r.path), zap.String("found", loss.Reason), zap.Time("since", loss.Since))
	}
	return err
}

// refuseIfLost is ErrLossUnacknowledged while it is so: holds, pins and newer events may be among what was lost.
func refuseIfLost(ctx context.Context, db dbfile.Queryer) error {
	loss, err := lossOf(ctx, db)
	if err == nil && loss != nil {
		err = fmt.Errorf("%w: %s", ErrLossUnacknowledged, loss.Reason)
	}
	return err
}

// AcknowledgeLoss implements Manager.
func (r *Registry) AcknowledgeLoss(ctx context.Context, a Acknowledgement) error {
	if err := a.check(); err != nil {
		return err
	}
	a = a.normal()
	ended, err := change(ctx, r, func(tx *changes) (int64, error) { return tx.acknowledge(ctx, a, nil) })
	if err == nil && ended > 0 {
		r.tellAcknowledged(a)
	}
	return err
}

func (r *Registry) tellAcknowledged(a Acknowledgement) {
	r.log.Warn("the loss of the registry is acknowledged, stores may be stopped again", zap.String("actor", a.Actor), zap.String("reason", a.Reason))
}

// acknowledge ends the losses that were found before that moment, nil for all, and says how many there were.
func (tx *changes) acknowledge(ctx context.Context, a Acknowledgement, before *time.Time) (ended int64, err error) {
	var limit column // NULL
	if before != nil {
		limit = column(precise(*before))
	}
	res, err := tx.ExecContext(ctx, `UPDATE losses SET acknowledged_at = ?1, acknowledged_by = ?2, reason = ?3
		WHERE acknowledged_at IS NULL AND (?4 IS NULL OR found_at < ?4)`, column(tx.now), a.Actor, a.Reason, limit)
	if err == nil {
		ended, err = res.RowsAffected()
	}
	if err != nil {
		return 0, fmt.Errorf("write registry: %w", err)
	}
	return ended, nil
}

// RestoreDeletion implements Manager.
func (r *Registry) RestoreDeletion(ctx context.Context, q RestoreRequest) (Store, error) {
	if err := q.check(); err != nil {
		return Store{}, err
	}
	q.DeleteAt = precise(q.DeleteAt)
	found := false
	out, err := change(ctx, r, func(tx *changes) (out Store, err error) {
		loss, err := lossOf(ctx, tx)
		if err != nil {
			return Store{}, err
		}
		q.EventAt = known(q.EventAt, tx.now)
		err = tx.decide(ctx, q.StoreID, func(s *record) (e StoreEvent, _ error) {
			// A run waits for a deletion of a store that was never here: the folder was lost, with the mark that would have told it.
			if found = loss == nil && s.unknown(); (found || loss != nil) && s.restoreDeletion(q, tx.decision) {
				e = StoreEvent{Kind: eventDeletion, Outcome: outcomeRestored, Detail: "due " + q.DeleteAt.Format(time.RFC3339)}
			}
			if s.unknown() {
				return e, fmt.Errorf("%w: %q is unknown", ErrNotFound, q.StoreID)
			}
			out = s.store()
			return e, nil
		})
		if err == nil && found {
			err = tx.noteLoss(ctx, lostFolder)
		}
		if err == nil {
			out.Pause, err = tx.pause(ctx, q.StoreID)
		}
		return out, err
	})
	if err == nil && found {
		err = r.tellLoss(ctx)
	}
	return out, err
}

// lostFolder is what a run tells of a registry that has lost its mark, too.
const lostFolder = "a run waits for the end of the grace period of a store that the registry does not know, so it is a new one"
