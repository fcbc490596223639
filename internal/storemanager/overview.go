package storemanager

import "time"

// Overview counts the registry. Monitored includes the pending, held and pinned stores.
type Overview struct {
	// Connections counts the monitored stores by the state of their connection. A state that no store is in is left out.
	Connections     map[ConnectionState]int `json:"connections"`
	Monitored       int                     `json:"monitored"`
	DeletionPending int                     `json:"deletionPending"`
	// DeletionPendingLong counts those of DeletionPending that have been pending for longer than a minute. By then each has a lifecycle that
	// can be seen.
	DeletionPendingLong int `json:"deletionPendingLong"`
	// DeletionOverdue counts those of DeletionPending that were due five minutes ago: their re-check or their stop does not get on.
	DeletionOverdue int `json:"deletionOverdue"`
	// OldestDeletionAt is since when the oldest pending deletion is pending (Deletion.Since, of those that have one), FirstDeletionDueAt when
	// the first of them is due, or was; nil without any.
	OldestDeletionAt   *time.Time `json:"oldestDeletionAt,omitempty"`
	FirstDeletionDueAt *time.Time `json:"firstDeletionDueAt,omitempty"`
	Held               int        `json:"held"`
	Pinned             int        `json:"pinned"`
	Tombstones         int        `json:"tombstones"`
	// TotalProvisioned and TotalStopped count since the registry began. The moments are nil before the first.
	TotalProvisioned  int64      `json:"totalProvisioned"`
	TotalStopped      int64      `json:"totalStopped"`
	LastProvisionedAt *time.Time `json:"lastProvisionedAt,omitempty"`
	LastStoppedAt     *time.Time `json:"lastStoppedAt,omitempty"`
	// Paused is the pause of all stores; nil when none is in force.
	Paused *Pause `json:"paused,omitempty"`
	// PausedStores counts the pauses in force of single stores, whether the stores are known or not.
	PausedStores int `json:"pausedStores"`
	// ListRemovals counts the stores that were stopped within the last day because lists lacked them: no event had asked for it, and no
	// operator has approved it.
	ListRemovals int `json:"listRemovals"`
	// Guard is nil unless the guard of reconciliation keeps removals back, or the registry was lost.
	Guard *KeptBack `json:"guard,omitempty"`
	// GuardApprovedAt is the newest ReconcileRun.ApprovedListAt: deletions that lists asked for up to then are approved. It is nil before the
	// first approval.
	GuardApprovedAt *time.Time `json:"guardApprovedAt,omitempty"`
	// SyncURL is where the events of stores in general are to be had, without what may be secret; "" means nowhere, or that it is not known.
	SyncURL string `json:"syncUrl,omitempty"`
	// Monitors is nil without monitors.
	Monitors *MonitorTotals `json:"monitors,omitempty"`
	// Host is the process that answers; nil in the same process, and from one of an older version.
	Host *Host `json:"host,omitempty"`
}

// Host is a process of the store manager.
type Host struct {
	Version string `json:"version"`
	// Now is its clock.
	Now time.Time `json:"now"`
	// Databases are those that it has open; empty where that is not known.
	Databases []DatabaseSize `json:"databases,omitempty"`
}

// DatabaseSize is the room that a database takes and has, in bytes.
type DatabaseSize struct {
	Name string `json:"name"`
	// Bytes is the size of the file and its log.
	Bytes int64 `json:"bytes"`
	// DiskFree and DiskSize are those of its file system.
	DiskFree uint64 `json:"diskFree"`
	DiskSize uint64 `json:"diskSize"`
}

// Loss returns the Guard if it says that the registry was lost and nobody has acknowledged it; nil otherwise. A nil Overview is one that is not
// known, and has no loss.
func (o *Overview) Loss() *KeptBack {
	if o == nil || o.Guard == nil || !o.Guard.Lost {
		return nil
	}
	return o.Guard
}

// MonitorTotals are what all monitors together did since the process began.
type MonitorTotals struct {
	// Events counts the events that the processor took. Errors, Reconnects and Resets are the sums of those of MonitorStatus.
	Events     int64 `json:"events"`
	Errors     int64 `json:"errors"`
	Reconnects int64 `json:"reconnects"`
	Resets     int64 `json:"resets"`
	// Subscribed is how many stores have a subscription now.
	Subscribed int64 `json:"subscribed"`
	// Dialing is how many connections are being made now.
	Dialing int64 `json:"dialing"`
}
