package telemetry

import "time"

// Shared are figures that several processes know, because they come out of the registry and of Temporal. Whichever process is scraped, they
// are the same.
type Shared struct {
	// Stores is nil when the store manager could not be asked. StoresErr says why.
	Stores    *StoreFigures
	StoresErr error
	// Engine is nil when Temporal could not be asked, and in a process that never asks it. EngineErr says why; it is nil in the latter.
	Engine    *EngineFigures
	EngineErr error
}

// StoreFigures are what the store manager knows.
type StoreFigures struct {
	// Monitored and Stopped count the rows of the registry. Pending, Overdue, Held and Pinned count parts of Monitored; Overdue is a part of
	// Pending, and the others may overlap.
	Monitored, Stopped, Pending, Overdue, Held, Pinned int
	// Connections counts the monitored stores by the state of their subscription. It should hold zeros too: otherwise a state vanishes from the
	// graphs with its last store.
	Connections map[string]int
	// Provisioned, Ended, RunsSucceeded and RunsFailed count since the registry began.
	Provisioned, Ended, RunsSucceeded, RunsFailed int64
	// OldestPendingAt is since when the oldest pending deletion is pending, OldestDueAt when the first is due or was; zero without any.
	OldestPendingAt, OldestDueAt time.Time
	// AllPaused says whether all stores are paused, since AllPausedAt. PausedStores counts the pauses of single stores, the oldest of which is
	// from OldestPauseAt; zero without any.
	AllPaused                  bool
	AllPausedAt, OldestPauseAt time.Time
	PausedStores               int
	// GuardTripped: the guard of reconciliation keeps removals back until somebody approves them.
	GuardTripped bool
	// RegistryLost: the registry was lost, and nobody has acknowledged it.
	RegistryLost bool
	// Reconciliation is what the registry keeps of past runs. Any worker may have done the last one.
	Reconciliation Reconciliation
}

// EngineFigures are what Temporal knows. A figure that it did not tell is nil.
type EngineFigures struct {
	// Polling: a worker polls.
	Polling *bool
	// Backlog is how long the oldest event has waited for a worker.
	Backlog *time.Duration
	// Schedule is that of reconciliation.
	Schedule *ScheduleFigures
}

// ScheduleFigures are those of the reconcile schedule.
type ScheduleFigures struct {
	// Every is its interval; 0 before a worker has made the schedule.
	Every time.Duration
	// Paused by an operator, or Disabled by the setting; never both.
	Paused, Disabled bool
	// LastActionAt is when it last did something: a pause began after that. Zero before the first time.
	LastActionAt time.Time
}

// Reconciliation are the figures of past reconcile runs. A figure that is not known is not shown: a zero would mean "in step", "all lists
// believed" or "last success in 1970".
type Reconciliation struct {
	// LastRunAt is when the last run ended, whatever came of it, LastSuccessAt when the last successful one did; zero before the first.
	LastRunAt, LastSuccessAt time.Time
	// Found is what the newest successful run found; nil when no such run is known.
	Found *ReconcileFindings
	// Implausible says whether the newest list could not be believed, so that nothing was removed: it was damaged or empty, or lacked so
	// much that the guard keeps removals back. Nil when no list is known to have come.
	Implausible *bool
}

// ReconcileFindings are what one run found.
type ReconcileFindings struct {
	// Missing, Orphaned and Quarantined (ids that can be no store ids) are the differences that the comparison found.
	Missing, Orphaned, Quarantined int
	// Failing is how many stores could not be added or removed.
	Failing int
}
