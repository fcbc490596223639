package storemanager

import (
	"regexp"
	"time"
)

// IDPattern is the rule for store ids (docs/contracts/auth-worker.md).
const IDPattern = `^[a-zA-Z0-9][a-zA-Z0-9_-]{2,63}$`

var idPattern = regexp.MustCompile(IDPattern)

// ValidID reports whether id can be the id of a store.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// State of a store in the registry.
type State string

const (
	StateMonitored State = "monitored"
	// StateStopped is a tombstone. It is kept so that a late event can't bring the store back.
	StateStopped State = "stopped"
)

// Store is what is known of a store. Times are UTC with microsecond precision; nil or zero means never.
type Store struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Connection is the state of the live subscription.
	Connection ConnectionState `json:"connection"`
	// Monitor says more of the subscription; nil for a store without a monitor.
	Monitor *MonitorStatus `json:"monitor,omitempty"`
	// UserID is the workspace's owner, as the newest event that named one did; "" when no event has told, as of a store that reconciliation added.
	UserID string `json:"userId,omitempty"`
	// EventAt is the moment of the newest knowledge about the workspace, by the clock of the one who knew it (the timestamp of an event, the
	// start of a list's fetch). Older knowledge changes nothing.
	EventAt          time.Time  `json:"eventAt"`
	FirstMonitoredAt *time.Time `json:"firstMonitoredAt,omitempty"`
	LastEnsuredAt    *time.Time `json:"lastEnsuredAt,omitempty"`
	LastStoppedAt    *time.Time `json:"lastStoppedAt,omitempty"`
	// Deletion is nil unless a deletion is pending.
	Deletion *Deletion `json:"deletion,omitempty"`
	// Hold is nil unless a hold is in force now.
	Hold *Hold `json:"hold,omitempty"`
	// Pinned is set by STORE_IDS.
	Pinned bool `json:"pinned,omitempty"`
	// Pause is nil unless reconciliation leaves this very store alone. The pause of all stores does not show here.
	Pause *Pause `json:"pause,omitempty"`
	// History is the newest ShownHistory entries of the audit trail that are about the store, newest first. Only Get fills it in.
	History []AuditEntry `json:"events,omitempty"`
	// Failing is nil unless a Node server did not take the store when it was last asked to. Only Get fills it in.
	Failing *Failure `json:"failing,omitempty"`
	// UnlistedSince is the start of the fetch of the first complete list that lacked the store; nil while the lists have it.
	UnlistedSince *time.Time `json:"missingSince,omitempty"`
	// ListedSince is the start of the fetch of the first complete list that has the workspace although its deletion was pending already; nil
	// without such a list. If the next list has the workspace too, the deletion ends.
	ListedSince *time.Time `json:"listedSince,omitempty"`
}

// NeverTold says that no event and no list ever told of the workspace: another server monitored the store before the registry knew of it. Its
// EventAt is 1970.
func (s *Store) NeverTold() bool { return s.EventAt.Unix() == 0 }

// Failure is why a store is not monitored where it should be. It is forgotten when the process ends.
type Failure struct {
	// Since is when the first attempt in a row failed. Attempts is how many have failed since.
	Since    time.Time `json:"since"`
	Attempts int       `json:"attempts"`
	// LastError is one line that is safe to show.
	LastError string `json:"lastError"`
	// NextAttemptAt is when EnsureBatch asks for the store again at the earliest. Ensure does not wait for it.
	NextAttemptAt time.Time `json:"nextAttemptAt"`
}

// Deletion is a pending deletion.
type Deletion struct {
	// EventAt is the newest moment at which the workspace was known to be gone.
	EventAt time.Time `json:"eventAt"`
	// Since is when the registry took the deletion in, by its own clock. The grace period runs from then on, and lists that were fetched
	// before say nothing against the deletion. It is zero for a deletion that an older version took in.
	Since time.Time `json:"since,omitzero"`
	// DeleteAt is the end of the grace period.
	DeleteAt time.Time `json:"deleteAt"`
	// ByList: no event has asked for it, but lists lacked the workspace.
	ByList bool `json:"byList,omitempty"`
	// Owner is the run that waits for DeleteAt. Only it may stop the store.
	Owner string `json:"owner"`
	// Cause is why it is pending. It is zero for a deletion that a version without an audit trail took in.
	Cause Cause `json:"cause,omitzero"`
}

// OutdatedBy says whether a list that was asked for at that moment can speak against the deletion. A list that was asked for before the deletion
// began can't.
func (d Deletion) OutdatedBy(listAt time.Time) bool {
	return listAt.After(d.Since) && listAt.After(d.EventAt)
}

// Hold protects a store from deletion. Operators put it on.
type Hold struct {
	Reason string `json:"reason"`
	Actor  string `json:"actor"`
	// Since is set by the store manager.
	Since time.Time `json:"since"`
	// ExpiresAt is when the hold ends by itself; nil: it lasts until it is released.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
}

// Pause keeps reconciliation from stores. A pause that has expired counts as none.
type Pause struct {
	// StoreID is the scope: one store, or "" for all stores.
	StoreID string `json:"storeId,omitempty"`
	Reason  string `json:"reason"`
	Actor   string `json:"actor"`
	// Since is set by the store manager.
	Since time.Time `json:"since"`
	// ExpiresAt is when the pause ends by itself; nil: it lasts until Resume.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
}

// PauseRequest asks for a pause.
type PauseRequest struct {
	Pause
	// Origin says who asks. Without an actor and a reason it has those of the pause.
	Origin Origin `json:"origin,omitzero"`
}

// ResumeRequest asks for the end of a pause.
type ResumeRequest struct {
	// StoreID is the scope of the pause.
	StoreID string
	Origin  Origin
	// Also says what else the caller ends with it: the audit trail then tells of it, even if there was no pause. It is "" for nothing.
	Also string
}

// ShownHistory is how many entries of the audit trail a store is shown with.
const ShownHistory = 10
