package registry

import (
	"cmp"
	"context"
	"time"

	"storekeeper/internal/storemanager"
)

// transaction is a transaction under way. It counts what becomes monitored and what is stopped.
type transaction struct {
	Tx
	decision                           // when the rules decide
	retention            time.Duration // of tombstones
	auditRetention       time.Duration
	provisioned, stopped int
	tombstones           bool // some were made or renewed
}

// change runs fn in one transaction of the driver.
func change[T any](ctx context.Context, r *Registry, fn func(*transaction) (T, error)) (T, error) {
	var result T
	err := r.driver.Change(ctx, func(driven Tx) (err error) {
		tx := r.transaction(driven)
		if result, err = fn(tx); err != nil {
			return err
		}
		return tx.finish(ctx)
	})
	if err != nil {
		var none T
		return none, err
	}
	return result, nil
}

func (r *Registry) transaction(driven Tx) *transaction {
	return &transaction{Tx: driven, decision: decision{now: r.Clock()}, retention: r.retention, auditRetention: r.auditRetention}
}

// finish counts what was provisioned and stopped. Whoever adds a tombstone also removes those that are too old, so nobody else has to.
func (tx *transaction) finish(ctx context.Context) error {
	if tx.provisioned+tx.stopped > 0 {
		tx.Count(tx.provisioned, tx.stopped, tx.now)
	}
	if tx.tombstones {
		return tx.pruneOld(ctx)
	}
	return nil
}

func (tx *transaction) pruneOld(ctx context.Context) error {
	return tx.Prune(ctx, tx.now.Add(-tx.retention))
}

// apply runs a rule on the record of id, and keeps what the rule made of it. It returns an error of the rule as it is.
func (tx *transaction) apply(ctx context.Context, id string, rule func(*Record) error) error {
	before, err := tx.Record(ctx, id)
	if err != nil {
		return err
	}
	before.expire(tx.now)
	after := before
	if err := rule(&after); err != nil {
		return err
	}
	if after == before {
		return nil
	}
	if err := tx.SaveRecord(ctx, after); err != nil {
		return err
	}
	switch {
	case after.Monitored() && !before.Monitored():
		tx.provisioned++
	case before.Monitored() && !after.Monitored():
		tx.stopped++
		if before.Deletion.ByList { // the guard of reconciliation remembers it
			if err := tx.NoteListRemoval(ctx, id, before.Deletion.EventAt, tx.now, tx.now.Add(-listRemovalsWindow)); err != nil {
				return err
			}
		}
	}
	tx.tombstones = tx.tombstones || !after.Monitored()
	return nil
}

// listRemovalsWindow is how long the guard of reconciliation remembers what lists have removed.
const listRemovalsWindow = 24 * time.Hour

// decide is apply for a rule that also returns what the audit trail is to say of it; an entry without a Kind is not kept, nor one of a store that is
// unknown.
func (tx *transaction) decide(ctx context.Context, id string, rule func(*Record) (storemanager.AuditEntry, error)) error {
	var e storemanager.AuditEntry
	var after Record
	err := tx.apply(ctx, id, func(s *Record) (err error) {
		e, err = rule(s)
		after = *s
		return err
	})
	if err != nil || e.Kind == "" || after.Unknown() {
		return err
	}
	e.StoreID, e.UserID = id, cmp.Or(after.UserID, e.UserID)
	return tx.audit(ctx, e)
}
