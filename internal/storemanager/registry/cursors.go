package registry

import "context"

// cursorChunk is how many cursors are written in one transaction. The events of workspaces wait for one transaction at the most, some 10 ms.
const cursorChunk = 500

// Cursor is how far the events of a store are processed.
type Cursor struct {
	// BackendID is the incarnation of the store at its sync backend. It is any text.
	BackendID string
	// Seq is the sequence number of the newest event that was processed.
	Seq int64
}

// SetCursors keeps the cursors, by store id, in place of those that these stores had. After an error some may have been kept.
func (r *Registry) SetCursors(ctx context.Context, all map[string]Cursor) error {
	chunk := make(map[string]Cursor, min(len(all), cursorChunk))
	for id, cursor := range all {
		chunk[id] = cursor
		if len(chunk) == cursorChunk {
			if err := r.setCursorChunk(ctx, chunk); err != nil {
				return err
			}
			clear(chunk)
		}
	}
	return r.setCursorChunk(ctx, chunk)
}

func (r *Registry) setCursorChunk(ctx context.Context, chunk map[string]Cursor) error {
	if len(chunk) == 0 {
		return nil
	}
	return r.driver.Change(ctx, func(tx Tx) error { return tx.SaveCursors(ctx, chunk) })
}

// Cursor returns how far the events of a store are processed; the zero Cursor if none was kept.
func (r *Registry) Cursor(ctx context.Context, id string) (Cursor, error) {
	return r.driver.Cursor(ctx, id)
}
