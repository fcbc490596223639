package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"storekeeper/internal/storemanager/registry"
)

// transaction is the Tx of a Database. It keeps the totals equal to the rows.
type transaction struct {
	*sql.Tx
	statements                 // of this transaction
	last                 int64 // Database.committed, when it began
	provisioned, stopped int
	countedAt            time.Time
}

// Change implements Driver.
func (db *Database) Change(ctx context.Context, fn func(registry.Tx) error) error {
	return db.change(ctx, func(tx *transaction) error { return fn(tx) })
}

// Transact runs fn in one transaction, as Change does. It is for those who have tables of their own in the same file.
func (db *Database) Transact(ctx context.Context, fn func(*sql.Tx) error) error {
	return db.change(ctx, func(tx *transaction) error { return fn(tx.Tx) })
}

func (db *Database) change(ctx context.Context, fn func(*transaction) error) error {
	if err := db.usable(); err != nil {
		return err
	}
	sqlTx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin change of registry: %w", err)
	}
	defer func() { _ = sqlTx.Rollback() }() // does nothing after Commit
	tx := &transaction{Tx: sqlTx, last: db.committed.Load(), statements: statements{
		load: sqlTx.StmtContext(ctx, db.load), save: sqlTx.StmtContext(ctx, db.save), newest: sqlTx.StmtContext(ctx, db.newest),
		append: sqlTx.StmtContext(ctx, db.append), pruneAudit: sqlTx.StmtContext(ctx, db.pruneAudit), touched: sqlTx.StmtContext(ctx, db.touched),
		advance: sqlTx.StmtContext(ctx, db.advance),
	}}
	before, err := tx.rowsTouched(ctx)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	at, err := tx.finish(ctx, before)
	if errors.Is(err, errWentBack) {
		err = db.breakOff(err)
	}
	if err != nil {
		return err
	}
	if err := sqlTx.Commit(); err != nil {
		return fmt.Errorf("commit change of registry: %w", err)
	}
	db.committed.raise(at)
	db.mark.set(position{db.identity, at}) // before the answer: what was answered and is gone must be noticed
	return nil
}

// rowsTouched returns how many rows the connection of the transaction has changed.
func (tx *transaction) rowsTouched(ctx context.Context) (n int64, err error) {
	if err := tx.touched.QueryRowContext(ctx).Scan(&n); err != nil {
		return 0, fmt.Errorf("read registry: %w", err)
	}
	return n, nil
}

// errWentBack: a count of changes was there already. Nobody else counts changes, so an older file was put in place.
var errWentBack = errors.New("its file went back in time")

// finish brings the totals up to date, unless the transaction has changed nothing, and returns how many changes there are then.
func (tx *transaction) finish(ctx context.Context, before int64) (int64, error) {
	after, err := tx.rowsTouched(ctx)
	if err != nil || after == before {
		return tx.last, err
	}
	var at int64
	if err := tx.advance.QueryRowContext(ctx, tx.provisioned, tx.stopped, column(tx.countedAt)).Scan(&at); err != nil {
		return 0, fmt.Errorf("write registry: %w", err)
	}
	if at <= tx.last {
		return 0, errWentBack
	}
	return at, nil
}

// Record implements Tx.
func (tx *transaction) Record(ctx context.Context, id string) (registry.Record, error) {
	return recordOf(id, tx.load.QueryRowContext(ctx, id))
}

// SaveRecord implements Tx.
func (tx *transaction) SaveRecord(ctx context.Context, s registry.Record) error {
	if _, err := tx.save.ExecContext(ctx, values(s)...); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	return nil
}

// Count implements Tx.
func (tx *transaction) Count(provisioned, stopped int, at time.Time) {
	tx.provisioned += provisioned
	tx.stopped += stopped
	tx.countedAt = at
}

// exec runs a statement that changes rows, and says how many.
func (tx *transaction) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	done, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, fmt.Errorf("write registry: %w", err)
	}
	return done.RowsAffected()
}

// Prune implements Tx.
func (tx *transaction) Prune(ctx context.Context, oldest time.Time) error {
	for _, statement := range []string{
		`DELETE FROM cursors WHERE store_id IN (SELECT id FROM stores WHERE tombstone_at < ?)`,
		`DELETE FROM stores WHERE tombstone_at < ?`,
	} {
		if _, err := tx.ExecContext(ctx, statement, column(oldest)); err != nil {
			return fmt.Errorf("prune registry: %w", err)
		}
	}
	return nil
}

// Unpin implements Tx.
func (tx *transaction) Unpin(ctx context.Context) ([]string, error) {
	ids, err := idsOf(tx.QueryContext(ctx, `SELECT id FROM stores WHERE pinned = 1 ORDER BY id`))
	if err != nil || ids == nil {
		return nil, err
	}
	_, err = tx.exec(ctx, `UPDATE stores SET pinned = 0 WHERE pinned = 1`)
	return ids, err
}

// NoteListRemoval implements Tx.
func (tx *transaction) NoteListRemoval(ctx context.Context, id string, listAt, at, oldest time.Time) error {
	if _, err := tx.exec(ctx, `DELETE FROM list_removals WHERE at <= ?`, column(oldest)); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO list_removals (at, store_id, event_at) VALUES (?, ?, ?)`, column(at), id, column(listAt))
	return err
}

// SaveCursors implements Tx.
func (tx *transaction) SaveCursors(ctx context.Context, cursors map[string]registry.Cursor) error {
	save, err := tx.PrepareContext(ctx, `INSERT INTO cursors (store_id, backend_id, seq) VALUES (?, ?, ?)
		ON CONFLICT (store_id) DO UPDATE SET backend_id = excluded.backend_id, seq = excluded.seq`)
	if err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	defer func() { _ = save.Close() }()
	for id, cursor := range cursors {
		if _, err := save.ExecContext(ctx, id, cursor.BackendID, cursor.Seq); err != nil {
			return fmt.Errorf("write registry: %w", err)
		}
	}
	return nil
}
