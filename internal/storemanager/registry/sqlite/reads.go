package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
)

// selectCounts reads the totals and counts over partial indexes only; see the schema.
const selectCounts = `
	SELECT provisioned - stopped,
		(SELECT count(*) FROM stores WHERE delete_at IS NOT NULL),
		(SELECT count(*) FROM stores WHERE delete_at IS NOT NULL AND coalesce(deletion_since, 0) <= ?3),
		(SELECT count(*) FROM stores WHERE delete_at <= ?4),
		(SELECT count(*) FROM stores WHERE hold_since IS NOT NULL AND (hold_expires_at IS NULL OR hold_expires_at > ?1)),
		(SELECT count(*) FROM stores WHERE pinned = 1),
		(SELECT count(*) FROM stores WHERE tombstone_at IS NOT NULL),
		(SELECT count(*) FROM pauses WHERE store_id != '' AND (expires_at IS NULL OR expires_at > ?1)),
		(SELECT count(*) FROM list_removals WHERE at > ?2 AND event_at > coalesce(guard_approved_at, 0)),
		(SELECT min(deletion_since) FROM stores WHERE delete_at IS NOT NULL),
		(SELECT min(delete_at) FROM stores WHERE delete_at IS NOT NULL),
		provisioned, stopped, last_provisioned_at, last_stopped_at, guard_since, guard_reason, guard_approved_at
	FROM totals`

// Counts implements Driver. It fails as well when nothing can be kept any more.
func (db *Database) Counts(ctx context.Context, at registry.Moments) (registry.Counts, error) {
	var (
		n                                                      registry.Counts
		provisioned, stopped, kept, approved, oldest, firstDue column
		guard                                                  storemanager.KeptBack
	)
	if err := db.usable(); err != nil {
		return registry.Counts{}, err
	}
	err := db.read.QueryRowContext(ctx, selectCounts, column(at.Now), column(at.RemovedAfter), column(at.PendingBefore), column(at.OverdueBefore)).
		Scan(&n.Monitored, &n.DeletionPending, &n.DeletionPendingLong, &n.DeletionOverdue, &n.Held, &n.Pinned, &n.Tombstones, &n.PausedStores,
			&n.ListRemovals, &oldest, &firstDue, &n.TotalProvisioned, &n.TotalStopped, &provisioned, &stopped, &kept, &guard.Reason, &approved)
	if err != nil {
		return registry.Counts{}, fmt.Errorf("read registry: %w", err)
	}
	n.OldestDeletionAt, n.FirstDeletionDueAt = oldest.optional(), firstDue.optional()
	n.LastProvisionedAt, n.LastStoppedAt, n.Approved = provisioned.optional(), stopped.optional(), approved.optional()
	if since := kept.optional(); since != nil {
		guard.Since = *since
		n.Guard = &guard
	}
	return n, nil
}

// Cursor implements Driver.
func (db *Database) Cursor(ctx context.Context, id string) (registry.Cursor, error) {
	var cursor registry.Cursor
	err := db.read.QueryRowContext(ctx, `SELECT backend_id, seq FROM cursors WHERE store_id = ?`, id).
		Scan(&cursor.BackendID, &cursor.Seq)
	if errors.Is(err, sql.ErrNoRows) {
		return registry.Cursor{}, nil
	}
	if err != nil {
		return registry.Cursor{}, fmt.Errorf("read registry: %w", err)
	}
	return cursor, nil
}
