package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// storeTimeout bounds the question that a scrape asks the store manager. Prometheus itself gives up after 10 s by default.
const storeTimeout = 2 * time.Second

// StoreFigures are the figures of a store manager.
type StoreFigures struct {
	// States counts stores by what the registry knows of them; a store can be in several states. Connections counts the monitored stores by
	// the state of their subscription. Both should hold zeros too: otherwise a state vanishes from the graphs with its last store.
	States, Connections map[string]int
	// These count since the process began.
	Events, Errors, Reconnects, Resets int64
	// Dialing is how many connections to sync backends are being made now.
	Dialing int64
	// GuardTripped: the guard of reconciliation keeps removals back until somebody approves them.
	GuardTripped bool
	// RegistryLost: the registry was lost, and nobody has acknowledged it.
	RegistryLost bool
	// Deliveries is how many answered webhooks are remembered.
	Deliveries int64
	// Reconciliation is what the registry keeps of past runs. Any worker may have done the last one.
	Reconciliation Reconciliation
}

// Reconciliation are the figures of past reconcile runs. A figure that is not known is not shown: a zero would mean "in step", "all lists
// believed" or "last success in 1970".
type Reconciliation struct {
	// LastSuccessAt is when the last successful run ended; the zero time before the first success.
	LastSuccessAt time.Time
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

// RegisterStores makes each scrape ask for the figures of the process's store manager. ask gets a context that ends after 2 s. If it fails,
// that scrape shows none of the figures. Registering twice panics.
func (m *Metrics) RegisterStores(ask func(context.Context) (StoreFigures, error)) {
	m.registry.MustRegister(storeCollector{
		ask:         ask,
		states:      desc("stores", "Stores in the registry, by state.", "state"),
		connections: desc("store_connections", "Monitored stores, by the state of their subscription.", "connection"),
		events:      desc("store_events_total", "Events that the processor took."),
		errors:      desc("store_errors_total", "Failed attempts to subscribe, lost subscriptions and failures of the processor."),
		reconnects:  desc("store_reconnects_total", "Subscriptions but the first of each store."),
		resets:      desc("store_resets_total", "Stores found to be reset at the sync backend."),
		dialing:     desc("store_dials", "Connections to sync backends that are being made."),
		guard:       desc("reconcile_guard_tripped", "1 while the guard holds back deletions, else 0."),
		lastSuccess: desc("reconcile_last_success_timestamp_seconds", "When the last successful reconcile run ended, in Unix time."),
		drift:       desc("reconcile_drift", "Differences that the last successful reconcile run found at first.", "kind"),
		failing:     desc("reconcile_failing_stores", "Stores that the last successful reconcile run could not add or remove."),
		implausible: desc("reconcile_implausible", "1 if the newest list could not be believed (damaged, empty, or lacking too much), so that nothing was removed, else 0."),
		lost:        desc("registry_lost", "1 while the registry is new, older or another one than it should be and nobody has acknowledged it, else 0."),
		deliveries:  desc("deliveries", "Webhooks that are remembered, so that a repeat gets the first answer."),
	})
}

type storeCollector struct {
	ask                                                                                       func(context.Context) (StoreFigures, error)
	states, connections, events, errors, reconnects, resets, dialing, guard, lost, deliveries *prometheus.Desc
	lastSuccess, drift, failing, implausible                                                  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.states, c.connections, c.events, c.errors, c.reconnects, c.resets, c.dialing, c.guard, c.lost, c.deliveries,
		c.lastSuccess, c.drift, c.failing, c.implausible,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c storeCollector) Collect(ch chan<- prometheus.Metric) {
	// A collector gets no context from the scrape.
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout) //nolint:forbidigo // as said above
	defer cancel()
	s, err := c.ask(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.states, err)
		return
	}
	for state, n := range s.States {
		ch <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(n), state)
	}
	for connection, n := range s.Connections {
		ch <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, float64(n), connection)
	}
	for d, n := range map[*prometheus.Desc]int64{c.events: s.Events, c.errors: s.Errors, c.reconnects: s.Reconnects, c.resets: s.Resets} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
	ch <- prometheus.MustNewConstMetric(c.dialing, prometheus.GaugeValue, float64(s.Dialing))
	ch <- prometheus.MustNewConstMetric(c.guard, prometheus.GaugeValue, oneIf(s.GuardTripped))
	ch <- prometheus.MustNewConstMetric(c.lost, prometheus.GaugeValue, oneIf(s.RegistryLost))
	ch <- prometheus.MustNewConstMetric(c.deliveries, prometheus.GaugeValue, float64(s.Deliveries))
	c.collectReconciliation(ch, s.Reconciliation)
}

func (c storeCollector) collectReconciliation(ch chan<- prometheus.Metric, r Reconciliation) {
	if !r.LastSuccessAt.IsZero() {
		ch <- prometheus.MustNewConstMetric(c.lastSuccess, prometheus.GaugeValue, unix(r.LastSuccessAt))
	}
	if f := r.Found; f != nil {
		for kind, n := range map[string]int{"missing": f.Missing, "orphaned": f.Orphaned, "quarantined": f.Quarantined} {
			ch <- prometheus.MustNewConstMetric(c.drift, prometheus.GaugeValue, float64(n), kind)
		}
		ch <- prometheus.MustNewConstMetric(c.failing, prometheus.GaugeValue, float64(f.Failing))
	}
	if r.Implausible != nil {
		ch <- prometheus.MustNewConstMetric(c.implausible, prometheus.GaugeValue, oneIf(*r.Implausible))
	}
}
