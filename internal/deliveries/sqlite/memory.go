// Package sqlite is the memory of webhooks in a SQLite database that somebody else opens: the registry's. It has tables of its own there, and sees of the
// registry's only the view heard.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
)

// forgottenAtOnce bounds how many deliveries one Remember deletes, so that none takes long after a quiet week. It is more than one, so that what is too old
// does not pile up.
const forgottenAtOnce = 100

const (
	deliveryColumns = `id, at, body_hash, status, answer`

	selectDelivery   = `SELECT ` + deliveryColumns + ` FROM deliveries WHERE id = ?`
	insertDelivery   = `INSERT INTO deliveries (` + deliveryColumns + `) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	forgetDeliveries = `DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE at < ? ORDER BY at LIMIT ?)`
	countDeliveries  = `UPDATE delivery_totals SET deliveries = deliveries + ? RETURNING deliveries`
)

// Database is where a Memory has its tables: a SQLite database that somebody else has opened, with the schema that it needs.
type Database interface {
	// Transact runs fn in one transaction, one at a time. What fn has changed is on disk when Transact returns nil. An error of fn is returned, and then
	// nothing of it is kept.
	Transact(ctx context.Context, fn func(*sql.Tx) error) error
	// Databases returns the handles for the statements of transactions, and for reading.
	Databases() (write, read *sql.DB)
}

// Memory is the Memory in a SQLite database. It is safe for concurrent use, and ends with the database.
type Memory struct {
	database      Database
	read          *sql.DB
	now           func() time.Time
	maxDeliveries int64

	delivery   *sql.Stmt // of read; one delivery
	remember   *sql.Stmt // of write; keeps a delivery
	unremember *sql.Stmt // of write; drops deliveries that are too old
	count      *sql.Stmt // of write; counts deliveries
}

var _ deliveries.Memory = (*Memory)(nil)

// Options of a Memory. The zero value is good.
type Options struct {
	// Now is the clock of what is remembered; nil means time.Now.
	Now func() time.Time
	// MaxDeliveries is how many deliveries are remembered at the most; 0 means the constant of that name.
	MaxDeliveries int
}

// New returns the Memory that the database keeps. It fails when the database does not have the tables.
func New(ctx context.Context, database Database, o Options) (*Memory, error) {
	m := &Memory{database: database, now: o.Now, maxDeliveries: int64(cmp.Or(o.MaxDeliveries, deliveries.MaxDeliveries))}
	if m.now == nil {
		m.now = time.Now
	}
	var write *sql.DB
	write, m.read = database.Databases()
	for _, p := range []struct {
		statement **sql.Stmt
		db        *sql.DB
		query     string
	}{
		{&m.delivery, m.read, selectDelivery},
		{&m.remember, write, insertDelivery},
		{&m.unremember, write, forgetDeliveries},
		{&m.count, write, countDeliveries},
	} {
		var err error
		if *p.statement, err = p.db.PrepareContext(ctx, p.query); err != nil { //nolint:sqlclosecheck // closed with its database
			return nil, fmt.Errorf("deliveries: %w", err)
		}
	}
	return m, nil
}

// clock is now, as precise as it can be stored.
func (m *Memory) clock() time.Time { return storemanager.Precise(m.now()) }

// Count implements Memory.
func (m *Memory) Count(ctx context.Context) (n int64, err error) {
	if err := m.read.QueryRowContext(ctx, `SELECT deliveries FROM delivery_totals`).Scan(&n); err != nil {
		return 0, fmt.Errorf("read deliveries: %w", err)
	}
	return n, nil
}

// Delivery implements Memory.
func (m *Memory) Delivery(ctx context.Context, id string) (*deliveries.Delivery, error) {
	if !deliveries.ValidDeliveryID(id) {
		return nil, fmt.Errorf("%w: %.80q can't be the id of a delivery", storemanager.ErrInvalid, id)
	}
	return scanDelivery(m.delivery.QueryRowContext(ctx, id))
}

// Remember implements Memory.
func (m *Memory) Remember(ctx context.Context, d deliveries.Delivery) (deliveries.Delivery, error) {
	if err := d.Validate(); err != nil {
		return deliveries.Delivery{}, err
	}
	err := m.database.Transact(ctx, func(tx *sql.Tx) error {
		d.At = m.clock()
		//nolint:sqlclosecheck // closed with the transaction
		done, err := tx.StmtContext(ctx, m.remember).ExecContext(ctx, d.ID, d.At.UnixMicro(), d.BodyHash, d.Status, string(d.Answer))
		if err != nil {
			return fmt.Errorf("write deliveries: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			first, err := scanDelivery(tx.QueryRowContext(ctx, selectDelivery, d.ID))
			if err != nil || first == nil {
				return fmt.Errorf("read deliveries: one was lost: %w", err)
			}
			d = *first
			return nil
		}
		return m.forget(ctx, tx, d.At)
	})
	if err != nil {
		return deliveries.Delivery{}, err
	}
	return d, nil
}

// forget counts one that was added, and drops those that are too old or too many.
func (m *Memory) forget(ctx context.Context, tx *sql.Tx, now time.Time) error {
	unremember, count := tx.StmtContext(ctx, m.unremember), tx.StmtContext(ctx, m.count) //nolint:sqlclosecheck // closed with the transaction
	old, err := drop(ctx, unremember, now.Add(-deliveries.DeliveryRetention), forgottenAtOnce)
	if err != nil {
		return err
	}
	var kept int64
	if err := count.QueryRowContext(ctx, 1-old).Scan(&kept); err != nil {
		return fmt.Errorf("write deliveries: %w", err)
	}
	if kept <= m.maxDeliveries {
		return nil
	}
	// Not the one of now: it was just promised.
	early, err := drop(ctx, unremember, now, min(kept-m.maxDeliveries, forgottenAtOnce))
	if err != nil {
		return err
	}
	if err := count.QueryRowContext(ctx, -early).Scan(&kept); err != nil {
		return fmt.Errorf("write deliveries: %w", err)
	}
	return nil
}

// drop forgets the oldest deliveries from before a moment, most of them at the most, and returns how many it forgot.
func drop(ctx context.Context, unremember *sql.Stmt, before time.Time, most int64) (int64, error) {
	done, err := unremember.ExecContext(ctx, before.UnixMicro(), most)
	if err != nil {
		return 0, fmt.Errorf("prune deliveries: %w", err)
	}
	return done.RowsAffected()
}

// scanDelivery reads deliveryColumns; nil where there is no row.
func scanDelivery(row interface{ Scan(dest ...any) error }) (*deliveries.Delivery, error) {
	var d deliveries.Delivery
	var answer string
	var at int64
	err := row.Scan(&d.ID, &at, &d.BodyHash, &d.Status, &answer)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	d.At, d.Answer = time.UnixMicro(at).UTC(), json.RawMessage(answer)
	return &d, nil
}
