package storemanager

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Delivery is what is remembered of a webhook that was answered, so that its repeat gets the same answer.
type Delivery struct {
	// ID is the sender's: 1 to 128 printable ASCII characters.
	ID string `json:"id"`
	// BodyHash is the SHA-256 of the body, in hexadecimal digits.
	BodyHash string `json:"bodyHash"`
	// Status and Answer are what was answered: the HTTP status and the body, a JSON value of at most 4 KiB.
	Status int             `json:"status"`
	Answer json.RawMessage `json:"answer"`
	// At is when it was remembered; the registry sets it.
	At time.Time `json:"at,omitzero"`
}

const (
	// DeliveryRetention is how long a Delivery is remembered, unless more than MaxDeliveries come in that time.
	DeliveryRetention = 7 * 24 * time.Hour
	// MaxDeliveries is how many are remembered at the most, by default. Of more the oldest are forgotten early, and a repeat of one
	// of them is taken for a new event, which the lifecycle then finds to be stale or done. It takes 16 deliveries a second for
	// 7 days without an end; on disk each is some 320 bytes, so all of them 3.2 GB.
	MaxDeliveries = 10_000_000

	maxDeliveryAnswer = 4 << 10
	// forgottenAtOnce bounds what one Remember has to delete, so that none takes long after a quiet week. It is more than one, so
	// that what is too old does not pile up.
	forgottenAtOnce = 100
)

var (
	deliveryIDPattern = regexp.MustCompile(`^[!-~]{1,128}$`)
	bodyHashPattern   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

const (
	deliveryColumns = `id, at, body_hash, status, answer`

	selectDelivery   = `SELECT ` + deliveryColumns + ` FROM deliveries WHERE id = ?`
	insertDelivery   = `INSERT INTO deliveries (` + deliveryColumns + `) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	forgetDeliveries = `DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE at < ? ORDER BY at LIMIT ?)`
	countDeliveries  = `UPDATE totals SET deliveries = deliveries + ? RETURNING deliveries`
)

// ValidDeliveryID reports whether id can be the id of a delivery.
func ValidDeliveryID(id string) bool { return deliveryIDPattern.MatchString(id) }

func (d Delivery) check() error {
	switch {
	case !ValidDeliveryID(d.ID):
		return fmt.Errorf("%w: %.80q can't be the id of a delivery", ErrInvalid, d.ID)
	case !bodyHashPattern.MatchString(d.BodyHash):
		return fmt.Errorf("%w: a body's hash has 64 hexadecimal digits", ErrInvalid)
	case d.Status < 100 || d.Status > 599:
		return fmt.Errorf("%w: %d is no HTTP status", ErrInvalid, d.Status)
	case len(d.Answer) > maxDeliveryAnswer || !json.Valid(d.Answer):
		return fmt.Errorf("%w: an answer is a JSON value of at most %d bytes", ErrInvalid, maxDeliveryAnswer)
	}
	return nil
}

// Delivery implements Manager.
func (r *Registry) Delivery(ctx context.Context, id string) (*Delivery, error) {
	if !ValidDeliveryID(id) {
		return nil, fmt.Errorf("%w: %.80q can't be the id of a delivery", ErrInvalid, id)
	}
	return scanDelivery(r.delivery.QueryRowContext(ctx, id))
}

// Remember implements Manager.
func (r *Registry) Remember(ctx context.Context, d Delivery) (Delivery, error) {
	if err := d.check(); err != nil {
		return Delivery{}, err
	}
	return change(ctx, r, func(tx *changes) (Delivery, error) {
		d.At = tx.now
		//nolint:sqlclosecheck // closed with the transaction
		done, err := tx.StmtContext(ctx, r.remember).ExecContext(ctx, d.ID, column(d.At), d.BodyHash, d.Status, string(d.Answer))
		if err != nil {
			return Delivery{}, fmt.Errorf("write registry: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			first, err := scanDelivery(tx.QueryRowContext(ctx, selectDelivery, d.ID))
			if err != nil || first == nil {
				return Delivery{}, fmt.Errorf("read registry: delivery lost: %w", err)
			}
			return *first, nil
		}
		return d, r.forgetDeliveries(ctx, tx)
	})
}

// forgetDeliveries counts one that was added, and drops those that are too old or too many.
func (r *Registry) forgetDeliveries(ctx context.Context, tx *changes) error {
	unremember, count := tx.StmtContext(ctx, r.unremember), tx.StmtContext(ctx, r.count) //nolint:sqlclosecheck // closed with the transaction
	old, err := drop(ctx, unremember, tx.now.Add(-DeliveryRetention), forgottenAtOnce)
	if err != nil {
		return err
	}
	var kept int64
	if err := count.QueryRowContext(ctx, 1-old).Scan(&kept); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	if kept <= r.maxDeliveries {
		return nil
	}
	// Not the one of now: it was just promised.
	early, err := drop(ctx, unremember, tx.now, min(kept-r.maxDeliveries, forgottenAtOnce))
	if err != nil {
		return err
	}
	if err := count.QueryRowContext(ctx, -early).Scan(&kept); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	return nil
}

// drop forgets the oldest of the deliveries from before a moment, and returns how many they were.
func drop(ctx context.Context, unremember *sql.Stmt, before time.Time, most int64) (int64, error) {
	done, err := unremember.ExecContext(ctx, column(before), most)
	if err != nil {
		return 0, fmt.Errorf("prune registry: %w", err)
	}
	return done.RowsAffected()
}

// scanDelivery reads deliveryColumns; nil where there is no row.
func scanDelivery(row interface{ Scan(dest ...any) error }) (*Delivery, error) {
	var d Delivery
	var answer string
	err := row.Scan(&d.ID, (*column)(&d.At), &d.BodyHash, &d.Status, &answer)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	d.Answer = json.RawMessage(answer)
	return &d, nil
}
