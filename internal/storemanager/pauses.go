package storemanager

import (
	"context"
	"slices"
	"strings"
)

const lastID = "~" // after all ids

// Pause implements Manager. Reason and actor are required; Since is set here.
func (r *Registry) Pause(ctx context.Context, p Pause) (Pause, error) {
	if err := p.check(); err != nil {
		return Pause{}, err
	}
	p = normalPause(p)
	return change(ctx, r, func(tx *changes) (Pause, error) {
		if err := checkExpiry(p.ExpiresAt, tx.now); err != nil {
			return Pause{}, err
		}
		if err := tx.DropExpiredPauses(ctx, tx.now); err != nil {
			return Pause{}, err
		}
		before, err := tx.Pause(ctx, p.StoreID, tx.now)
		if err != nil {
			return Pause{}, err
		}
		p.Since = tx.now
		if before != nil && before.Reason == p.Reason && before.Actor == p.Actor && equal(before.ExpiresAt, p.ExpiresAt) {
			p.Since = before.Since // a repeat
		}
		if err := tx.SavePause(ctx, p); err != nil {
			return Pause{}, err
		}
		return p, tx.tell(ctx, p.StoreID, StoreEvent{
			Kind: eventPause, Outcome: outcomeDone, Detail: protection(p.Reason, p.Actor, p.ExpiresAt),
		})
	})
}

// Resume implements Manager.
func (r *Registry) Resume(ctx context.Context, storeID string) error {
	if err := checkScope(storeID); err != nil {
		return err
	}
	_, err := change(ctx, r, func(tx *changes) (struct{}, error) {
		if err := tx.DropExpiredPauses(ctx, tx.now); err != nil {
			return struct{}{}, err
		}
		if ended, err := tx.DropPause(ctx, storeID); err != nil || !ended {
			return struct{}{}, err
		}
		return struct{}{}, tx.tell(ctx, storeID, StoreEvent{Kind: eventResume, Outcome: outcomeDone})
	})
	return err
}

// Pauses implements Manager.
func (r *Registry) Pauses(ctx context.Context) ([]Pause, error) {
	return r.driver.Pauses(ctx, "", lastID, r.clock())
}

// ShowPauses adds their pauses to stores, which are sorted by id.
func (r *Registry) ShowPauses(ctx context.Context, stores []Store) error {
	if len(stores) == 0 {
		return nil
	}
	pauses, err := r.driver.Pauses(ctx, stores[0].ID, stores[len(stores)-1].ID, r.clock())
	if err != nil {
		return err
	}
	for i, p := range pauses {
		at, found := slices.BinarySearchFunc(stores, p.StoreID, func(s Store, id string) int { return strings.Compare(s.ID, id) })
		if found {
			stores[at].Pause = &pauses[i]
		}
	}
	return nil
}
