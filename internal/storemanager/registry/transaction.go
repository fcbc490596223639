package registry

import (
	"context"
	"time"
)

// transaction is a transaction under way. It counts what becomes monitored and what is stopped.
type transaction struct {
	Tx
	decision             // when the rules decide
	retention            time.Duration
	provisioned, stopped int
	tombstones           bool // some were made or renewed
}

// change runs fn in one transaction of the driver.
func change[T any](ctx context.Context, r *Registry, fn func(*transaction) (T, error)) (T, error) {
	var result T
	err := r.driver.Change(ctx, func(driven Tx) (err error) {
		tx := &transaction{Tx: driven, decision: decision{now: r.Clock()}, retention: r.retention}
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

// finish counts what was provisioned and stopped. Whoever adds a tombstone also removes those that are too old, so nobody else has to.
func (tx *transaction) finish(ctx context.Context) error {
	if tx.provisioned+tx.stopped > 0 {
		tx.Count(tx.provisioned, tx.stopped, tx.now)
	}
	if tx.tombstones {
		return tx.prune(ctx)
	}
	return nil
}

func (tx *transaction) prune(ctx context.Context) error {
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
