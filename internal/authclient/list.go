package authclient

import "time"

// ListSummary says what a complete list held.
type ListSummary struct {
	// FetchStartedAt is the moment from which the list counts: what it lacks was created later, or is gone. It is the moment before the
	// (first) request was sent, or earlier by the age of an answer that a cache has kept.
	FetchStartedAt time.Time
	// Entries counts the entries of the list, a shared workspace once per member.
	Entries int
	// InvalidEntries counts those of Entries whose id is no valid store id.
	InvalidEntries int
	// ClaimedEntries is how many entries the list says it has, which is as many as Entries; nil when it does not say.
	ClaimedEntries *int
	// Cached: the list, or a page of it, came out of a cache, so FetchStartedAt is exact to a second only.
	Cached bool
	// Hash identifies which ids the list had, in whatever order, for it has none: the sum of their sha256, in hexadecimal. Each of the four words of 64
	// bits is summed by itself, and what does not fit is dropped.
	Hash string
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

// idBytes has the bytes that a valid id may have. To compare ranges instead would take as long as reading the JSON.
var idBytes = func() (set [256]bool) {
	for _, b := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") {
		set[b] = true
	}
	return set
}()
