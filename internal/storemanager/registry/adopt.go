package registry

import (
	"context"
	"time"

	"storekeeper/internal/storemanager"
)

// Adoption is what is known of a store that another server monitored before the registry knew of it.
type Adoption struct {
	StoreID string
	// FirstMonitoredAt is zero if it is not known: the store then counts as monitored from now on.
	FirstMonitoredAt time.Time
	// LastEnsuredAt is nil if nobody has ensured it since the server began.
	LastEnsuredAt *time.Time
}

// Adopt takes in a store that another server monitors, unless the registry has it as monitored. gone is when the workspace was known to be gone, if the
// registry had a tombstone of the store; zero otherwise.
func (r *Registry) Adopt(ctx context.Context, a Adoption) (gone time.Time, err error) {
	return change(ctx, r, func(tx *transaction) (gone time.Time, err error) {
		err = tx.decide(ctx, a.StoreID, func(s *Record) (e storemanager.AuditEntry, _ error) {
			if !s.Monitored() {
				gone = s.EventAt
				s.adopt(a, tx.now)
				e = adoptEntry()
			}
			return e, nil
		})
		return gone, err
	})
}

// AdoptUnknown takes in those of the stores of which the registry has no record. It leaves tombstones as they are.
func (r *Registry) AdoptUnknown(ctx context.Context, as []Adoption) error {
	_, err := change(ctx, r, func(tx *transaction) (struct{}, error) {
		for _, a := range as {
			if err := tx.decide(ctx, a.StoreID, func(s *Record) (e storemanager.AuditEntry, _ error) {
				if s.Unknown() {
					s.adopt(a, tx.now)
					e = adoptEntry()
				}
				return e, nil
			}); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

// adoptEntry is what the audit trail says of an adoption.
func adoptEntry() storemanager.AuditEntry {
	return storemanager.AuditEntry{
		Kind: storemanager.AuditEnsure, Outcome: outcomeAdopted, Detail: "another server monitored it already",
		Origin: storemanager.Origin{Source: storemanager.SourceSystem},
	}
}

// adopt makes the record that of a store which is monitored already. Whatever is known of its workspace counts as newer.
func (s *Record) adopt(a Adoption, now time.Time) {
	*s = Record{ID: s.ID, EventAt: later(s.EventAt, time.UnixMicro(0).UTC() /* see Store.NeverTold */), FirstMonitoredAt: now}
	if a.LastEnsuredAt != nil {
		s.LastEnsuredAt = earlier(*a.LastEnsuredAt, now)
	}
	if !a.FirstMonitoredAt.IsZero() {
		s.FirstMonitoredAt = earlier(a.FirstMonitoredAt, now)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
