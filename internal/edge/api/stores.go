package api

import (
	"time"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// StoresPage is the answer of GET /stores.
type StoresPage struct {
	Stores []Store `json:"stores"`
	// Count is how many stores this page has, Total how many all pages have together. Total is null when that is not known: the store manager
	// could not be asked, or the stores are found by several states, an owner or a name.
	Count int  `json:"count"`
	Total *int `json:"total"`
	// NextCursor is "" on the last page, and so is Next: the path of the next page. The header Link says the same.
	NextCursor string `json:"nextCursor,omitempty"`
	Next       string `json:"next,omitempty"`
	// Workspaces says where the names of workspaces come from; left out unless they were asked for.
	Workspaces *WorkspaceList `json:"workspaces,omitempty"`
	// Orchestrator names the stores of this page.
	Orchestrator    *StoreTotals    `json:"orchestrator"`
	Reconciliation  Reconciliation  `json:"reconciliation"`
	ManualReconcile ManualReconcile `json:"manualReconcile"`
}

// WorkspaceList is the list of the Auth Worker that names come from.
type WorkspaceList struct {
	// ListAt is when it was asked for; null: there is none.
	ListAt *time.Time `json:"listAt"`
	// Note says in one line why it is missing or old; "" when it is new.
	Note string `json:"note,omitempty"`
}

// Workspace is what the Auth Worker's list says of a workspace, for people.
type Workspace struct {
	// Name is as its people entered it.
	Name string `json:"name"`
	// UserIDs are its members; the list does not tell which of them owns a shared workspace.
	UserIDs   []string   `json:"userIds"`
	CreatedAt *time.Time `json:"createdAt,omitempty"`
}

// StoreDetails is the answer of GET /stores/{id}.
type StoreDetails struct {
	Store
	// State is "monitored" or "stopped"; EventAt is the moment of the newest knowledge about the workspace.
	State   storemanager.State `json:"state"`
	EventAt time.Time          `json:"eventAt"`
	// Lifecycle is null when nothing is under way, and when LifecycleError says that it could not be asked.
	Lifecycle      *contract.LifecycleStatus `json:"lifecycle"`
	LifecycleError string                    `json:"lifecycleError,omitempty"`
	// Conditions are one of each type, in a fixed order.
	Conditions []Condition `json:"conditions"`
	// History is the newest of what was asked about the store, newest first.
	History []storemanager.AuditEntry `json:"events"`
}

// Store is one store and its live connection.
type Store struct {
	ID string `json:"id"`
	// UserID is the workspace's owner, as an event named it; left out when none did.
	UserID string `json:"userId,omitempty"`
	// Status is the state of the live connection.
	Status storemanager.ConnectionState `json:"status"`
	// SyncURL is where the store's events are to be had, without what may be secret.
	SyncURL string `json:"syncUrl,omitempty"`
	// StatusSince and StatusReason explain Status; the reason is the newest one.
	StatusSince  *time.Time `json:"statusSince,omitempty"`
	StatusReason string     `json:"statusReason,omitempty"`
	// Head and Processed are the sequence numbers of the newest event received, and of the newest one processed.
	Head               int64          `json:"head"`
	Processed          int64          `json:"processed"`
	ConnectedAt        *time.Time     `json:"connectedAt"`
	LastConnectedAt    *time.Time     `json:"lastConnectedAt"`
	LastDisconnectedAt *time.Time     `json:"lastDisconnectedAt"`
	StatusHistory      []StatusChange `json:"statusHistory"`
	LastActivity       *time.Time     `json:"lastActivity"`
	ErrorCount         int64          `json:"errorCount"`
	LastError          string         `json:"lastError,omitempty"`
	ReconnectAttempts  int64          `json:"reconnectAttempts"`
	NextAttemptAt      *time.Time     `json:"nextAttemptAt,omitempty"`
	ResetCount         int64          `json:"resetCount"`
	// OfflineMs is how long the store has had no connection, in milliseconds.
	OfflineMs     int64                  `json:"offlineMs"`
	NetworkStatus NetworkStatus          `json:"networkStatus"`
	Orchestrator  KnownStore             `json:"orchestrator"`
	Deletion      *storemanager.Deletion `json:"deletion,omitempty"`
	Hold          *storemanager.Hold     `json:"hold,omitempty"`
	// Pause is that of the store itself.
	Pause         *storemanager.Pause `json:"pause,omitempty"`
	Pinned        bool                `json:"pinned"`
	UnlistedSince *time.Time          `json:"missingSince,omitempty"`
	ListedSince   *time.Time          `json:"listedSince,omitempty"`
	// Workspace is left out unless it was asked for, and when the list lacks it.
	Workspace *Workspace `json:"workspace,omitempty"`
}

// StatusChange is an entry of the history of a connection.
type StatusChange struct {
	Status    storemanager.ConnectionState `json:"status"`
	Timestamp time.Time                    `json:"timestamp"`
	Reason    string                       `json:"reason,omitempty"`
}

// NetworkStatus says whether there is a subscription at the sync backend.
type NetworkStatus struct {
	IsConnected bool `json:"isConnected"`
}

// KnownStore is what the store manager knows of one store.
type KnownStore struct {
	StoreID string `json:"storeId"`
	// Status is "monitoring" or "stopped".
	Status           string     `json:"status"`
	FirstMonitoredAt *time.Time `json:"firstMonitoredAt"`
	LastEnsuredAt    *time.Time `json:"lastEnsuredAt"`
	LastStoppedAt    *time.Time `json:"lastStoppedAt"`
}

// ConditionType names one thing to know of a store.
type ConditionType string

const (
	// ConditionProvisioned: the store is monitored, as it should be.
	ConditionProvisioned ConditionType = "Provisioned"
	// ConditionConnected: there is a subscription at the sync backend.
	ConditionConnected ConditionType = "Connected"
	// ConditionDrifted: the Auth Worker's list lacks the store.
	ConditionDrifted         ConditionType = "Drifted"
	ConditionDeletionPending ConditionType = "DeletionPending"
	ConditionHeld            ConditionType = "Held"
	// ConditionPaused: reconciliation leaves the store alone, because of its own pause or of that of all.
	ConditionPaused ConditionType = "Paused"
	// ConditionStalled: something does not get on, and an operator should look.
	ConditionStalled ConditionType = "Stalled"
)

// Condition says whether something is so, why, and what comes next.
type Condition struct {
	Type   ConditionType `json:"type"`
	Status bool          `json:"status"`
	// Unknown: whether it is so is not known, and Status says nothing.
	Unknown bool `json:"unknown,omitempty"`
	// Reason is one word for programs, Message a sentence for people; "" when Reason says it all.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Since is null where it is not known.
	Since *time.Time `json:"since"`
	// NextAttempt is when the system itself next does something about it; null when it waits for nothing.
	NextAttempt *time.Time `json:"nextAttempt"`
}
