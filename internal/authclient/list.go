package authclient

import (
	"context"
	"time"
)

// Workspace is one entry of the authoritative list: one workspace as one of its members has it.
type Workspace struct {
	// InstanceID is never empty, but may be no valid store id: an administrator can add any string.
	InstanceID string
	// UserID and Name are empty when the entry has none.
	UserID string
	Name   string
	// CreatedAt is zero when the entry has none or one that is no RFC 3339 time.
	CreatedAt time.Time
}

// ListSummary says what a complete list held.
type ListSummary struct {
	// FetchStartedAt is the moment from which the list counts: all that it lacks was created later, or is gone. It is the moment before
	// the (first) request was sent, or as much earlier as the answer says that a cache has had it.
	FetchStartedAt time.Time
	// Entries counts the entries of the list, a shared workspace once per member.
	Entries int
	// InvalidEntries counts those of Entries whose id is no valid store id.
	InvalidEntries int
	// ClaimedEntries is how many entries the list says it has, as many as Entries; nil when it does not say.
	ClaimedEntries *int
	// Cached: a cache had kept the list, or a page of it, so FetchStartedAt is known to a second.
	Cached bool
}

// List streams the authoritative list and calls yield with each entry, in the order of the list, which is none; a workspace
// with several members comes several times. Beside the entry in hand 16 bytes of each are kept in memory, by which a list that
// contradicts itself is known. See Sorted for a list in order.
//
// Only when the error is nil was the list complete; whatever was yielded before an error must not be acted on. An error
// of yield ends the list and is returned as it is. The others are *StatusError, ErrUnauthorized, ErrDamaged, ErrCached, ErrTimeout,
// the cause of ctx's end, or one of the network.
func (c *Client) List(ctx context.Context, yield func(Workspace) error) (ListSummary, error) {
	got, err := c.fetch(ctx, fetch{whole: true, yield: func(e *entry) error {
		e.workspace.InstanceID, e.workspace.UserID = string(e.id), string(e.user)
		return yield(e.workspace)
	}})
	if err != nil {
		return ListSummary{}, err
	}
	return got.ListSummary, nil
}

// validID reports whether the Auth Worker's contract takes the id for a store's: ^[a-zA-Z0-9][a-zA-Z0-9_-]{2,63}$.
func validID(id []byte) bool {
	if len(id) < 3 || len(id) > maxIDLength {
		return false
	}
	if id[0] == '_' || id[0] == '-' {
		return false
	}
	for _, b := range id {
		if !idBytes[b] {
			return false
		}
	}
	return true
}

// idBytes has the bytes that a valid id may have. (A comparison of ranges would take as long as reading the JSON does.)
var idBytes = func() (set [256]bool) {
	for _, b := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") {
		set[b] = true
	}
	return set
}()
