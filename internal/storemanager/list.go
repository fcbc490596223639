package storemanager

import (
	"slices"
	"strings"
)

// ListRequest selects a page of monitored stores.
type ListRequest struct {
	// Cursor is Page.NextCursor of the page before; "" starts at the beginning.
	Cursor string
	// Limit is 1 to MaxBatch; 0 means DefaultLimit.
	Limit int
	// States keeps the stores to which at least one of these applies: StoreDeletionPending, StoreHeld, StorePinned, StorePaused, or a ConnectionState. Empty
	// keeps all. With States a page may be short, even empty, and not be the last one: go on while it has a NextCursor.
	States []string
	// UserID keeps the stores whose UserID begins with this. "" keeps all.
	UserID string
}

// DefaultLimit is how many stores a page of List has when nobody says otherwise.
const DefaultLimit = 100

// What a store can be beside its ConnectionState. ListRequest.States and metrics use these names.
const (
	StoreDeletionPending = "deletion_pending"
	StoreHeld            = "held"
	StorePinned          = "pinned"
	// StorePaused: reconciliation leaves the store itself alone. A pause of all stores is not one.
	StorePaused = "paused"
)

// ListStates returns what ListRequest.States may hold.
func ListStates() []string {
	states := []string{StoreDeletionPending, StoreHeld, StorePinned, StorePaused}
	for _, connection := range ConnectionStates() {
		states = append(states, string(connection))
	}
	return states
}

// Matches says whether UserID and at least one of States apply to the store. What is empty applies to all.
func (q ListRequest) Matches(s Store) bool {
	return strings.HasPrefix(s.UserID, q.UserID) && q.matchesState(s)
}

func (q ListRequest) matchesState(s Store) bool {
	return len(q.States) == 0 || slices.ContainsFunc(q.States, func(state string) bool {
		switch state {
		case StoreDeletionPending:
			return s.Deletion != nil
		case StoreHeld:
			return s.Hold != nil
		case StorePinned:
			return s.Pinned
		case StorePaused:
			return s.Pause != nil
		default:
			return state == string(s.Connection)
		}
	})
}

// Page is a page of stores sorted by id.
type Page struct {
	Stores []Store `json:"stores"`
	// NextCursor is "" on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// IDPage is a page of ids of monitored stores, sorted.
type IDPage struct {
	IDs []string `json:"ids"`
	// Unsettled is the first of IDs whose store a reconcile run may have to look at although the store is listed; "" when there is none. Such
	// a store has an UnlistedSince, or its deletion is pending, or nobody ever told of it (its EventAt is 1970).
	Unsettled string `json:"unsettled,omitempty"`
	// NextCursor is "" on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}
