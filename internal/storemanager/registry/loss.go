package registry

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/storemanager"
)

// tellLoss says in the log what was lost, and says it again at each start.
func (r *Registry) tellLoss(ctx context.Context) error {
	loss, err := r.driver.Loss(ctx)
	if err == nil && loss != nil {
		r.log.Error("the registry was lost: no store is stopped before an operator has agreed (starter acknowledge)",
			zap.String("path", r.path), zap.String("found", loss.Reason), zap.Time("since", loss.Since))
	}
	return err
}

// refuseIfLost returns ErrLossUnacknowledged while a loss is not acknowledged: holds, pins and newer events may be among what was lost.
func refuseIfLost(ctx context.Context, db interface {
	Loss(ctx context.Context) (*storemanager.KeptBack, error)
},
) error {
	loss, err := db.Loss(ctx)
	if err == nil && loss != nil {
		err = fmt.Errorf("%w: %s", storemanager.ErrLossUnacknowledged, loss.Reason)
	}
	return err
}

// AcknowledgeLoss implements Reconciliations.
func (r *Registry) AcknowledgeLoss(ctx context.Context, a storemanager.Acknowledgement) error {
	if err := a.Validate(); err != nil {
		return err
	}
	a = normalAcknowledgement(a)
	ended, err := change(ctx, r, func(tx *transaction) (int64, error) { return tx.acknowledge(ctx, a, nil) })
	if err == nil && ended > 0 {
		r.tellAcknowledged(a)
	}
	return err
}

// acknowledge ends the losses that were found before that moment, nil for all of them, and says how many they were.
func (tx *transaction) acknowledge(ctx context.Context, a storemanager.Acknowledgement, before *time.Time) (int64, error) {
	ended, err := tx.Acknowledge(ctx, a, tx.now, before)
	if err != nil || ended == 0 {
		return 0, err
	}
	return ended, tx.audit(ctx, storemanager.AuditEntry{
		Kind: storemanager.AuditAcknowledge, Outcome: outcomeDone, Detail: "by " + a.Actor + ": " + a.Reason, Origin: operator(a.Origin, a.Actor, a.Reason),
	})
}

// noteLoss keeps that something was lost.
func (tx *transaction) noteLoss(ctx context.Context, found string) error {
	if err := tx.NoteLoss(ctx, found, tx.now); err != nil {
		return err
	}
	return tx.audit(ctx, storemanager.AuditEntry{
		Kind: storemanager.AuditLoss, Outcome: "found", Detail: found, Origin: storemanager.Origin{Source: storemanager.SourceSystem},
	})
}

func (r *Registry) tellAcknowledged(a storemanager.Acknowledgement) {
	r.log.Warn("the loss of the registry is acknowledged, stores may be stopped again", zap.String("actor", a.Actor), zap.String("reason", a.Reason))
}

// RestoreDeletion implements Deletions.
func (r *Registry) RestoreDeletion(ctx context.Context, q storemanager.RestoreRequest) (storemanager.Store, error) {
	if err := q.Validate(); err != nil {
		return storemanager.Store{}, err
	}
	q.DeleteAt = storemanager.Precise(q.DeleteAt)
	found := false
	out, err := change(ctx, r, func(tx *transaction) (out storemanager.Store, err error) {
		loss, err := tx.Loss(ctx)
		if err != nil {
			return storemanager.Store{}, err
		}
		q.EventAt = storemanager.Believed(q.EventAt, tx.now)
		err = tx.decide(ctx, q.StoreID, func(s *Record) (e storemanager.AuditEntry, _ error) {
			// A run waits for a deletion of a store that was never here: the folder was lost, with the mark that would have told it.
			if found = loss == nil && s.Unknown(); (found || loss != nil) && s.restoreDeletion(q, tx.decision) {
				pending := s.Deletion
				e = storemanager.AuditEntry{
					Kind: storemanager.AuditDeletion, Outcome: outcomeRestored, Detail: "due " + q.DeleteAt.Format(time.RFC3339), Origin: q.Origin,
					Evidence: &storemanager.Evidence{Deletion: &pending},
				}
			}
			if s.Unknown() {
				return e, fmt.Errorf("%w: %q is unknown", storemanager.ErrNotFound, q.StoreID)
			}
			out = s.Store()
			return e, nil
		})
		if err == nil && found {
			err = tx.noteLoss(ctx, lostFolder)
		}
		if err == nil {
			out.Pause, err = tx.Pause(ctx, q.StoreID, tx.now)
		}
		return out, err
	})
	if err == nil && found {
		err = r.tellLoss(ctx)
	}
	return out, err
}

// lostFolder is what was found when a run waits for a store of which there is no record, and no mark tells of a loss either.
const lostFolder = "a run waits for the end of the grace period of a store that the registry does not know, so it is a new one"
