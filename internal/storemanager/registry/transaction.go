package registry

import (
	"context"
	"time"

	"storekeeper/internal/storemanager"
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

// decide is apply for a rule that also returns what the history is to say of it; an entry without a Kind is not kept.
func (tx *transaction) decide(ctx context.Context, id string, rule func(*Record) (storemanager.HistoryEntry, error)) error {
	var e storemanager.HistoryEntry
	var before, after Record
	err := tx.apply(ctx, id, func(s *Record) (err error) {
		before = *s
		e, err = rule(s)
		after = *s
		return err
	})
	if err != nil || e.Kind == "" || after.Unknown() {
		return err
	}
	return tx.saveEntry(ctx, id, e, before.Unknown())
}

// note keeps an entry that changes no record, if there is a record.
func (tx *transaction) note(ctx context.Context, id string, e storemanager.HistoryEntry) error {
	return tx.decide(ctx, id, func(*Record) (storemanager.HistoryEntry, error) { return e, nil })
}

// saveEntry keeps a history entry of a store; first means that there was no record of the store before. An entry that says the same as the newest one takes its
// place, so that what is repeated every few minutes doesn't push out the rest.
func (tx *transaction) saveEntry(ctx context.Context, id string, e storemanager.HistoryEntry, first bool) error {
	var newest storemanager.HistoryEntry
	seq := int64(0)
	if !first {
		var err error
		if seq, newest, err = tx.NewestEntry(ctx, id); err != nil {
			return err
		}
	}
	e.Detail = cut(e.Detail)
	repeated := newest == e
	if !repeated {
		seq++
	}
	e.At = tx.now
	if err := tx.SaveEntry(ctx, id, seq, e); err != nil {
		return err
	}
	if !repeated && seq > storemanager.KeptHistory {
		return tx.DropEntries(ctx, id, seq-storemanager.KeptHistory)
	}
	return nil
}
