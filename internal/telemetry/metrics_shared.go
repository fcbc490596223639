package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

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

// RegisterShared makes each scrape ask for the shared figures. ask gets a context that ends after 2 s. Registering twice panics.
func (m *Metrics) RegisterShared(ask func(context.Context) Shared) {
	m.registry.MustRegister(&sharedCollector{
		ask: ask,

		storeManager: desc("store_manager_reachable", "1 if the store manager answers this process and can read its registry, else 0."),
		stores:       desc("stores", "Deprecated, its states overlap: use registry_stores, store_deletions, stores_held and stores_pinned.", "state"),
		registered:   desc("registry_stores", "Stores that the registry knows: monitored ones, and tombstones of stopped ones.", "state"),
		deletions:    desc("store_deletions", "Monitored stores, by their deletion; overdue ones were due five minutes ago.", "deletion"),
		held:         desc("stores_held", "Monitored stores with a hold."),
		pinned:       desc("stores_pinned", "Monitored stores that STORE_IDS pins."),
		connections:  desc("store_connections", "Monitored stores, by the state of their subscription.", "connection"),
		provisioned:  desc("stores_provisioned_total", "Stores that became monitored, since the registry began."),
		ended:        desc("stores_stopped_total", "Stores that were stopped, since the registry began."),
		pendingAt:    desc("deletion_oldest_timestamp_seconds", "Since when the oldest pending deletion is pending, in Unix time."),
		dueAt:        desc("deletion_due_timestamp_seconds", "When the first pending deletion is due, or was, in Unix time."),
		pauses:       desc("pauses", "Pauses of reconciliation in force, by what they are of.", "of"),
		pausedAt:     desc("pause_oldest_timestamp_seconds", "Since when the oldest of these pauses is in force, in Unix time.", "of"),
		guard:        desc("reconcile_guard_tripped", "1 while the guard holds back deletions, else 0."),
		lost:         desc("registry_lost", "1 while the registry is new, older or another one than it should be and nobody has acknowledged it, else 0."),
		runs:         desc("reconcile_recorded_runs_total", "Reconcile runs ended, by whichever worker, since the registry began.", "outcome"),
		lastRun:      desc("reconcile_last_run_timestamp_seconds", "When the last reconcile run ended, in Unix time."),
		lastSuccess:  desc("reconcile_last_success_timestamp_seconds", "When the last successful reconcile run ended, in Unix time."),
		drift:        desc("reconcile_drift", "Differences that the last successful reconcile run found at first.", "kind"),
		failing:      desc("reconcile_failing_stores", "Stores that the last successful reconcile run could not add or remove."),
		implausible:  desc("reconcile_implausible", "1 if the newest list could not be believed (damaged, empty, or lacking too much), so that nothing was removed, else 0."),

		temporal: desc("temporal_reachable", "1 if Temporal answers this process, else 0."),
		polling:  desc("workers_polling", "1 if a worker polls for events, else 0."),
		backlog:  desc("event_backlog_age_seconds", "How long the oldest event waits for a worker."),
		interval: desc("reconcile_interval_seconds", "The interval of the reconcile schedule."),
	})
}

type sharedCollector struct {
	ask func(context.Context) Shared

	storeManager, stores, registered, deletions, held, pinned, connections, provisioned, ended, pendingAt, dueAt *prometheus.Desc
	pauses, pausedAt, guard, lost, runs, lastRun, lastSuccess, drift, failing, implausible                       *prometheus.Desc
	temporal, polling, backlog, interval                                                                         *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *sharedCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.storeManager, c.stores, c.registered, c.deletions, c.held, c.pinned, c.connections, c.provisioned, c.ended, c.pendingAt, c.dueAt,
		c.pauses, c.pausedAt, c.guard, c.lost, c.runs, c.lastRun, c.lastSuccess, c.drift, c.failing, c.implausible,
		c.temporal, c.polling, c.backlog, c.interval,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *sharedCollector) Collect(ch chan<- prometheus.Metric) {
	// A collector gets no context from the scrape.
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout) //nolint:forbidigo // as said above
	defer cancel()
	s := c.ask(ctx)
	to := sink{ch}
	to.gauge(c.storeManager, oneIf(s.Stores != nil))
	if s.Stores != nil {
		c.collectStores(to, s.Stores)
		c.collectReconciliation(to, s.Stores)
	} else if s.StoresErr != nil {
		ch <- prometheus.NewInvalidMetric(c.registered, s.StoresErr)
	}
	if s.EngineErr != nil {
		to.gauge(c.temporal, 0)
	}
	if s.Engine != nil {
		to.gauge(c.temporal, 1)
		c.collectEngine(to, s.Engine)
	}
	c.collectPauses(to, s)
}

func (c *sharedCollector) collectStores(to sink, f *StoreFigures) {
	for state, n := range map[string]int{"monitored": f.Monitored, "deletion_pending": f.Pending, "held": f.Held, "pinned": f.Pinned, "tombstone": f.Stopped} {
		to.gauge(c.stores, float64(n), state)
	}
	to.gauge(c.registered, float64(f.Monitored), "monitored")
	to.gauge(c.registered, float64(f.Stopped), "tombstone")
	to.gauge(c.deletions, float64(f.Monitored-f.Pending), "none")
	to.gauge(c.deletions, float64(f.Pending-f.Overdue), "pending")
	to.gauge(c.deletions, float64(f.Overdue), "overdue")
	to.gauge(c.held, float64(f.Held))
	to.gauge(c.pinned, float64(f.Pinned))
	for connection, n := range f.Connections {
		to.gauge(c.connections, float64(n), connection)
	}
	to.counter(c.provisioned, f.Provisioned)
	to.counter(c.ended, f.Ended)
	to.moment(c.pendingAt, f.OldestPendingAt)
	to.moment(c.dueAt, f.OldestDueAt)
	to.gauge(c.guard, oneIf(f.GuardTripped))
	to.gauge(c.lost, oneIf(f.RegistryLost))
}

func (c *sharedCollector) collectReconciliation(to sink, f *StoreFigures) {
	r := f.Reconciliation
	to.counter(c.runs, f.RunsSucceeded, OutcomeSucceeded)
	to.counter(c.runs, f.RunsFailed, OutcomeFailed)
	to.moment(c.lastRun, r.LastRunAt)
	to.moment(c.lastSuccess, r.LastSuccessAt)
	if found := r.Found; found != nil {
		to.gauge(c.drift, float64(found.Missing), "missing")
		to.gauge(c.drift, float64(found.Orphaned), "orphaned")
		to.gauge(c.drift, float64(found.Quarantined), "quarantined")
		to.gauge(c.failing, float64(found.Failing))
	}
	if r.Implausible != nil {
		to.gauge(c.implausible, oneIf(*r.Implausible))
	}
}

func (c *sharedCollector) collectEngine(to sink, f *EngineFigures) {
	if f.Polling != nil {
		to.gauge(c.polling, oneIf(*f.Polling))
	}
	if f.Backlog != nil {
		to.gauge(c.backlog, f.Backlog.Seconds())
	}
	if s := f.Schedule; s != nil && s.Every > 0 {
		to.gauge(c.interval, s.Every.Seconds())
	}
}

// collectPauses shows all kinds of pauses, each counted once: those of the registry, and that of the schedule, which an operator or the setting
// has made.
func (c *sharedCollector) collectPauses(to sink, s Shared) {
	pauses := func(of string, n int, since time.Time) {
		to.gauge(c.pauses, float64(n), of)
		if n > 0 {
			to.moment(c.pausedAt, since, of)
		}
	}
	if f := s.Stores; f != nil {
		pauses("all_stores", int(oneIf(f.AllPaused)), f.AllPausedAt)
		pauses("store", f.PausedStores, f.OldestPauseAt)
	}
	if s.Engine != nil && s.Engine.Schedule != nil {
		schedule := s.Engine.Schedule
		pauses("schedule", int(oneIf(schedule.Paused)), schedule.LastActionAt)
		pauses("setting", int(oneIf(schedule.Disabled)), schedule.LastActionAt)
	}
}

// sink takes the metrics of a scrape.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, n int64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

// moment shows a moment, unless it is zero.
func (s sink) moment(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.gauge(d, unix(t), labels...)
	}
}
