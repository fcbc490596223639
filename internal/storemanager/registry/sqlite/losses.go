package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/dbfile"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
)

// Check implements Driver.
func (db *Database) Check(ctx context.Context, keep func(tx registry.Tx, found string) error) error {
	if err := db.compareMark(ctx, keep); err != nil {
		return err
	}
	db.beginUpkeep(ctx)
	db.log.Info("registry opened", zap.String("path", db.given), zap.Int("schemaVersion", len(migrations)))
	return nil
}

// compareMark compares the registry with its mark, and has keep keep what was lost.
//
// If there is no mark, that proves nothing, because a copy of the database has none. A copy that was made for a backup says so itself. A damaged mark is taken for a loss: no kill and no power loss damages
// both of its slots, so the same disk may have damaged the log too, and when in doubt nothing is removed.
func (db *Database) compareMark(ctx context.Context, keep func(tx registry.Tx, found string) error) error {
	here, err := db.position(ctx)
	if err != nil || db.path == "" {
		return err
	}
	copied, err := db.backupAt(ctx)
	if err != nil {
		return err
	}
	there, err := db.mark.read()
	var found string
	switch {
	case copied != nil: // whatever the mark says
		found = fmt.Sprintf("the registry is its backup of %s, and knows nothing of what has happened since: put back the holds and pauses that were made since", copied.Format(time.RFC3339))
	case errors.Is(err, errNoMark):
		if !db.isNew {
			db.log.Info("the registry had no mark yet, or is a copy without it", zap.String("mark", db.mark.path))
		}
		return db.mark.create(here)
	case errors.Is(err, errDamagedMark) && db.isNew:
		found = "the registry is new, though another one was here"
	case errors.Is(err, errDamagedMark):
		found = fmt.Sprintf("the mark of the registry is damaged, so nobody can tell whether its %d changes are all", here.changes)
	case err != nil:
		return fmt.Errorf("mark of the registry: %w", err)
	case there.changes == 0: // whatever is here, nothing was there
		return db.mark.create(here)
	case db.isNew:
		found = fmt.Sprintf("the registry is new, though one with %d changes was here", there.changes)
	case here.identity != there.identity:
		found = fmt.Sprintf("the registry is another one than was here: it has seen %d changes, that one had seen %d", here.changes, there.changes)
	case here.changes < there.changes:
		found = fmt.Sprintf("the registry is %d changes behind its mark: it went back in time, or its log was damaged", there.changes-here.changes)
	default:
		return db.mark.resume(here)
	}
	if !db.isNew { // quick_check leaves out what a log that ends too early does to indexes
		if err := verify(ctx, db.write, `PRAGMA integrity_check(1)`); err != nil {
			return err
		}
	}
	if err := db.change(ctx, func(tx *transaction) error {
		return tx.beginAnew(ctx, copied, func() error { return keep(tx, found) })
	}); err != nil {
		return err
	}
	if here, err = db.position(ctx); err != nil {
		return err
	}
	return db.mark.create(here) // until then, the loss is found again
}

// position reads how far the registry has come.
func (db *Database) position(ctx context.Context) (p position, err error) {
	if err := db.write.QueryRowContext(ctx, `SELECT identity, changes FROM totals`).Scan(&p.identity, &p.changes); err != nil {
		return position{}, fmt.Errorf("read registry: %w", err)
	}
	db.identity = p.identity
	db.committed.Store(p.changes)
	return p, nil
}

// beginAnew has a loss noted, and makes the registry another one. copied is that of backupAt.
func (tx *transaction) beginAnew(ctx context.Context, copied *time.Time, note func() error) error {
	if err := note(); err != nil {
		return err
	}
	if copied != nil {
		if err := tx.goOnFrom(ctx, *copied); err != nil {
			return err
		}
	}
	return tx.becomeAnother(ctx)
}

// becomeAnother gives the registry a new identity. If the lost file comes back later, it is found to be another one, because what has been changed here since
// would be lost. What is counted beside the rows is counted anew, because rows and counts may come from different moments.
func (tx *transaction) becomeAnother(ctx context.Context) error {
	_, err := tx.exec(ctx, `UPDATE totals SET identity = lower(hex(randomblob(16))),
		provisioned = stopped + (SELECT count(*) FROM stores WHERE tombstone_at IS NULL)`)
	if err == nil {
		_, err = tx.exec(ctx, `UPDATE delivery_totals SET deliveries = (SELECT count(*) FROM deliveries)`)
	}
	return err
}

// selectLoss reads what was lost and is not acknowledged: since when (NULL if nothing was) and all that was found.
const selectLoss = `SELECT min(found_at), coalesce(group_concat(found, '; '), '') FROM losses WHERE acknowledged_at IS NULL`

// Loss implements Driver.
func (db *Database) Loss(ctx context.Context) (*storemanager.KeptBack, error) {
	return lossOf(ctx, db.read)
}

// Loss implements Tx.
func (tx *transaction) Loss(ctx context.Context) (*storemanager.KeptBack, error) {
	return lossOf(ctx, tx)
}

// lossOf returns what was lost and is not acknowledged; nil for nothing.
func lossOf(ctx context.Context, db dbfile.Queryer) (*storemanager.KeptBack, error) {
	var since column
	loss := storemanager.KeptBack{Lost: true}
	if err := db.QueryRowContext(ctx, selectLoss).Scan(&since, &loss.Reason); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	if since.optional() == nil {
		return nil, nil //nolint:nilnil // as said
	}
	loss.Since = *since.optional()
	return &loss, nil
}

// NoteLoss implements Tx.
func (tx *transaction) NoteLoss(ctx context.Context, found string, at time.Time) error {
	_, err := tx.exec(ctx, `INSERT INTO losses (found_at, found) VALUES (?, ?)`, column(at), found)
	return err
}

// Acknowledge implements Tx.
func (tx *transaction) Acknowledge(ctx context.Context, a storemanager.Acknowledgement, at time.Time, before *time.Time) (int64, error) {
	var limit column // NULL
	if before != nil {
		limit = column(*before)
	}
	return tx.exec(ctx, `UPDATE losses SET acknowledged_at = ?1, acknowledged_by = ?2, reason = ?3
		WHERE acknowledged_at IS NULL AND (?4 IS NULL OR found_at < ?4)`, column(at), a.Actor, a.Reason, limit)
}
