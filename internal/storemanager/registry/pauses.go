package registry

import (
	"context"
	"slices"
	"strings"

	"storekeeper/internal/storemanager"
)

// lastID comes after all ids.
const lastID = "~"

// Pause implements Pauses. Reason and actor are required; Since is set here.
func (r *Registry) Pause(ctx context.Context, q storemanager.PauseRequest) (storemanager.Pause, error) {
	if err := q.Validate(); err != nil {
		return storemanager.Pause{}, err
	}
	p := normalPause(q.Pause)
	return change(ctx, r, func(tx *transaction) (storemanager.Pause, error) {
		if err := checkExpiry(p.ExpiresAt, tx.now); err != nil {
			return storemanager.Pause{}, err
		}
		if err := tx.DropExpiredPauses(ctx, tx.now); err != nil {
			return storemanager.Pause{}, err
		}
		before, err := tx.Pause(ctx, p.StoreID, tx.now)
		if err != nil {
			return storemanager.Pause{}, err
		}
		p.Since = tx.now
		if before != nil && before.Reason == p.Reason && before.Actor == p.Actor && equal(before.ExpiresAt, p.ExpiresAt) {
			p.Since = before.Since // a repeat
		}
		if err := tx.SavePause(ctx, p); err != nil {
			return storemanager.Pause{}, err
		}
		return p, tx.audit(ctx, storemanager.AuditEntry{
			Kind: storemanager.AuditPause, StoreID: p.StoreID, Outcome: outcomeDone, Detail: protection(p.Reason, p.Actor, p.ExpiresAt),
			Origin: operator(q.Origin, p.Actor, p.Reason),
		})
	})
}

// Resume implements Pauses.
func (r *Registry) Resume(ctx context.Context, q storemanager.ResumeRequest) error {
	if err := storemanager.CheckScope(q.StoreID); err != nil {
		return err
	}
	_, err := change(ctx, r, func(tx *transaction) (struct{}, error) {
		if err := tx.DropExpiredPauses(ctx, tx.now); err != nil {
			return struct{}{}, err
		}
		if ended, err := tx.DropPause(ctx, q.StoreID); err != nil || !ended && q.Also == "" {
			return struct{}{}, err
		}
		return struct{}{}, tx.audit(ctx, storemanager.AuditEntry{
			Kind: storemanager.AuditResume, StoreID: q.StoreID, Outcome: outcomeDone, Detail: q.Also, Origin: q.Origin,
		})
	})
	return err
}

// Pauses implements Pauses.
func (r *Registry) Pauses(ctx context.Context) ([]storemanager.Pause, error) {
	return r.driver.Pauses(ctx, "", lastID, r.Clock())
}

// PausesFor are the pauses of stores by their ids, if the filter of the list wants them; nil otherwise.
func (r *Registry) PausesFor(ctx context.Context, q storemanager.ListRequest) (map[string]*storemanager.Pause, error) {
	if !slices.Contains(q.States, storemanager.StorePaused) {
		return nil, nil
	}
	all, err := r.driver.Pauses(ctx, q.Cursor, lastID, r.Clock())
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*storemanager.Pause, len(all))
	for i, p := range all {
		byID[p.StoreID] = &all[i]
	}
	return byID, nil
}

// ShowPauses adds to stores, which must be sorted by id, their pauses.
func (r *Registry) ShowPauses(ctx context.Context, stores []storemanager.Store) error {
	if len(stores) == 0 {
		return nil
	}
	pauses, err := r.driver.Pauses(ctx, stores[0].ID, stores[len(stores)-1].ID, r.Clock())
	if err != nil {
		return err
	}
	for i, p := range pauses {
		at, found := slices.BinarySearchFunc(stores, p.StoreID, func(s storemanager.Store, id string) int { return strings.Compare(s.ID, id) })
		if found {
			stores[at].Pause = &pauses[i]
		}
	}
	return nil
}
