// Package registry decides what becomes of stores, and remembers it. Record has the fencing rules, which are pure. Registry has the operations, each of
// which is one transaction. Driver is the database below it, whose SQL is in a package of its own: registry/sqlite. It knows no SQL dialect, and of no
// subscription.
package registry

import (
	"cmp"
	"context"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/storemanager"
)

// Options of a Registry. The zero value is good.
type Options struct {
	// Now is the clock of grace periods, holds and tombstones; nil means time.Now.
	Now func() time.Time
	// Path is where the driver keeps the registry, for the log of what was lost.
	Path string
	// Logger nil: silent.
	Logger *zap.Logger
	// TombstoneRetention is how long a tombstone is kept after the newest word of its deletion; 0 means 30 days. An event that is delivered later than
	// that can bring a store back, until reconciliation finds that it is an orphan.
	TombstoneRetention time.Duration
	// AuditRetention is how long an entry of the audit trail is kept; 0 means 400 days.
	AuditRetention time.Duration
}

// defaultTombstoneRetention is Options.TombstoneRetention unless it is set.
const defaultTombstoneRetention = 30 * 24 * time.Hour

// defaultAuditRetention is Options.AuditRetention unless it is set: a year, and a month to look at it.
const defaultAuditRetention = 400 * 24 * time.Hour

// Registry is the Manager that knows the stores, and monitors none. It is safe for concurrent use.
//
// What a method answered without an error is kept as safely as the Driver keeps things. What ended in an error changed nothing; or only the answer was
// lost, and then a repeat finds what was changed.
type Registry struct {
	driver         Driver
	now            func() time.Time
	retention      time.Duration // of tombstones
	auditRetention time.Duration
	path           string // Options.Path
	log            *zap.Logger
}

var _ storemanager.Manager = (*Registry)(nil)

// New returns the Registry that the driver keeps, and prunes old tombstones. A registry that has lost something refuses to stop stores until that is
// acknowledged (Overview.Guard). From then on the driver is the registry's; after an error it is closed.
func New(ctx context.Context, driver Driver, o Options) (*Registry, error) {
	r := &Registry{
		driver: driver, now: o.Now, path: o.Path, log: o.Logger,
		retention:      cmp.Or(o.TombstoneRetention, defaultTombstoneRetention),
		auditRetention: cmp.Or(o.AuditRetention, defaultAuditRetention),
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	if err := r.begin(ctx); err != nil {
		_ = driver.Close()
		return nil, err
	}
	return r, nil
}

func (r *Registry) begin(ctx context.Context) error {
	err := r.driver.Check(ctx, func(tx Tx, found string) error { return r.transaction(tx).noteLoss(ctx, found) })
	if err != nil {
		return err
	}
	if _, err := change(ctx, r, func(tx *transaction) (struct{}, error) { return struct{}{}, tx.pruneOld(ctx) }); err != nil {
		return err
	}
	return r.tellLoss(ctx)
}

// Close closes the driver. A method that is under way may fail.
func (r *Registry) Close() error { return r.driver.Close() }

// Ping returns nil if the registry can be read, and would keep a change.
func (r *Registry) Ping(ctx context.Context) error { return r.driver.Ping(ctx) }

// Clock is now by the registry's clock, in UTC and in microseconds.
func (r *Registry) Clock() time.Time { return storemanager.Precise(r.now()) }

// MonitoredIDs returns the ids of all monitored stores, sorted.
func (r *Registry) MonitoredIDs(ctx context.Context) ([]string, error) {
	return r.driver.MonitoredIDs(ctx)
}

// Record returns what the registry knows of the id, without a hold that has expired. An id that is unknown has the zero Record, but for its ID.
func (r *Registry) Record(ctx context.Context, id string) (Record, error) {
	s, err := r.driver.Record(ctx, id)
	s.expire(r.Clock())
	return s, err
}
