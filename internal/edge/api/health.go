package api

import (
	"time"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// Health is the answer of GET /health: 200 when it is healthy, 503 otherwise.
type Health struct {
	// Status is "healthy" or "unhealthy".
	Status string `json:"status"`
	// Reasons say why it is unhealthy.
	Reasons []string `json:"reasons"`
	// Warnings are what an operator should look at, though the system keeps its promise.
	Warnings      []string  `json:"warnings"`
	Timestamp     time.Time `json:"timestamp"`
	UptimeSeconds int64     `json:"uptimeSeconds"`
	Version       string    `json:"version"`
	Checks        Checks    `json:"checks"`
	// Orchestrator is null when the store manager can't be asked.
	Orchestrator    *StoreTotals    `json:"orchestrator"`
	Reconciliation  Reconciliation  `json:"reconciliation"`
	ManualReconcile ManualReconcile `json:"manualReconcile"`
	// Installation is left out for those who bring no token.
	Installation *Installation `json:"installation,omitempty"`
}

// Checks are the parts of a Health.
type Checks struct {
	Temporal       Check        `json:"temporal"`
	Workers        Check        `json:"workers"`
	StoreManager   Check        `json:"storeManager"`
	AuthWorker     ListCheck    `json:"authWorker"`
	Backlog        DerivedCheck `json:"backlog"`
	Registry       DerivedCheck `json:"registry"`
	Connections    DerivedCheck `json:"connections"`
	Reconciliation DerivedCheck `json:"reconciliation"`
}

// Check is what became of asking one dependency.
type Check struct {
	OK bool `json:"ok"`
	// Error is for everybody to read, so it is one of a few sentences of ours; "" when OK.
	Error string `json:"error,omitempty"`
	// LatencyMs is how long the answer took, in milliseconds. CheckedAt is when the question was put.
	LatencyMs float64   `json:"latencyMs"`
	CheckedAt time.Time `json:"checkedAt"`
}

// DerivedCheck is a verdict on what Temporal and the store manager said; nobody is asked for it.
type DerivedCheck struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// ListCheck is what is known of the Auth Worker's lists. Only they say anything about it: it may answer all else with whatever it likes.
// Nobody is asked for a list here: with a million workspaces it has 224 MB.
type ListCheck struct {
	// OK: the newest attempt to get a list gave one that counts, or none has ended yet.
	OK bool `json:"ok"`
	// Error is for everybody to read, so it is one of a few sentences of ours; "" when OK. Detail is what the attempt itself said.
	Error  string `json:"error,omitempty"`
	Detail string `json:"detail,omitempty"`
	// ListAt is from when the newest complete list counts. CheckedAt is when the newest attempt ended. Null when there was none.
	ListAt    *time.Time `json:"listAt"`
	CheckedAt *time.Time `json:"checkedAt"`
	// NextAttemptAt is when the next attempt is due; it may come up to half a minute later. An attempt under way does not count. Null when none is
	// known to come.
	NextAttemptAt *time.Time `json:"nextAttemptAt"`
	// QuietUntil is until when the Auth Worker asked to be left alone; null if it did not.
	QuietUntil *time.Time `json:"quietUntil"`
}

// StoreTotals are what the store manager knows of all stores. The ids, and what is known of each, are left out for those who bring no
// token.
type StoreTotals struct {
	MonitoredCount      int        `json:"monitoredCount"`
	DeletionPending     int        `json:"deletionPending"`
	Held                int        `json:"held"`
	Pinned              int        `json:"pinned"`
	LastProvisionedAt   *time.Time `json:"lastProvisionedAt"`
	LastDeprovisionedAt *time.Time `json:"lastDeprovisionedAt"`
	TotalProvisioned    int64      `json:"totalProvisioned"`
	TotalDeprovisioned  int64      `json:"totalDeprovisioned"`
	// Connections counts the monitored stores by their status.
	Connections map[storemanager.ConnectionState]int `json:"connections"`

	*ShownStores
}

// ShownStores names stores.
type ShownStores struct {
	// SyncURL is where the events of stores are to be had in general.
	SyncURL           string       `json:"syncUrl,omitempty"`
	MonitoredStoreIDs []string     `json:"monitoredStoreIds"`
	Stores            []KnownStore `json:"stores"`
	// Truncated says that there are more stores than are named.
	Truncated bool `json:"truncated"`
}

// Reconciliation is how reconciliation gets on. Null is what is not known or has not happened yet.
type Reconciliation struct {
	Enabled bool `json:"enabled"`
	// Reason is why it is disabled.
	Reason     string `json:"reason,omitempty"`
	IntervalMs int64  `json:"intervalMs"`
	// Paused: the schedule is, which starts no runs then, or an operator has paused all stores, and runs only look.
	Paused *bool `json:"paused"`
	// PauseNote is that of the schedule.
	PauseNote          string                    `json:"pauseNote,omitempty"`
	Pauses             *Pauses                   `json:"pauses"`
	IsRunning          *bool                     `json:"isRunning"`
	LastRunStartedAt   *time.Time                `json:"lastRunStartedAt"`
	LastRunCompletedAt *time.Time                `json:"lastRunCompletedAt"`
	LastSuccessAt      *time.Time                `json:"lastSuccessAt"`
	LastDurationMs     *int64                    `json:"lastDurationMs"`
	Totals             *ReconcileTotals          `json:"totals"`
	LastResult         *contract.ReconcileReport `json:"lastResult"`
	LastError          *ReconcileFailure         `json:"lastError"`
}

// ReconcileTotals count the runs since the registry was made.
type ReconcileTotals struct {
	Runs      int64 `json:"runs"`
	Successes int64 `json:"successes"`
	Failures  int64 `json:"failures"`
}

// ReconcileFailure is the newest run that failed.
type ReconcileFailure struct {
	Timestamp time.Time `json:"timestamp"`
	Message   string    `json:"message"`
}

// ManualReconcile is what POST /admin/reconcile would be answered.
type ManualReconcile struct {
	Enabled       bool  `json:"enabled"`
	MinIntervalMs int64 `json:"minIntervalMs"`
	// LastSuccessAt is that of the newest manual run; null when none is known.
	LastSuccessAt *time.Time `json:"lastSuccessAt"`
	// RetryAfterMs is how long a request would still be refused, in milliseconds.
	RetryAfterMs int64 `json:"retryAfterMs"`
}

// Pauses are those that operators have made. Those who bring no token see that there are some, and until when.
type Pauses struct {
	// All is that of all stores; null when there is none.
	All *storemanager.Pause `json:"all"`
	// StoreCount counts the pauses of single stores; Stores are the first of them.
	StoreCount int                  `json:"storeCount"`
	Stores     []storemanager.Pause `json:"stores,omitempty"`
}
