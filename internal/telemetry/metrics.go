package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.uber.org/zap"

	"storekeeper/internal/dbfile"
)

// storeTimeout bounds the one question a scrape asks. Prometheus gives up after 10 s by default.
const storeTimeout = 2 * time.Second

// Buckets in seconds. Provisioning is measured from the event's own time stamp: milliseconds when the webhook works, up to two
// reconcile intervals (10 min) when it was lost.
var (
	requestBuckets      = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	provisioningBuckets = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600}
	taskBuckets         = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600}
)

// Metrics are the metrics of one process, in a registry of their own. Its methods may be called concurrently.
//
// No label ever holds an id, and every label's values come from a set fixed in code: a series per workspace would be a
// million series.
type Metrics struct {
	log      *zap.Logger
	registry *prometheus.Registry
	sdk      *sdkmetric.MeterProvider

	webhookEvents     *prometheus.CounterVec
	webhookDuration   *prometheus.HistogramVec
	webhookAuth       *prometheus.CounterVec
	eventBacklog      *prometheus.GaugeVec
	provisioning      prometheus.Histogram
	operations        *prometheus.CounterVec
	operationDuration *prometheus.HistogramVec

	reconcileRuns     *prometheus.CounterVec
	reconcileDuration prometheus.Histogram
}

// NewMetrics returns metrics with nothing measured yet but the Go runtime and the process. What goes wrong while measuring or
// scraping is logged to log.
func NewMetrics(log *zap.Logger) (*Metrics, error) {
	m := &Metrics{log: log, registry: prometheus.NewRegistry()}
	m.webhookEvents = counter("webhook_events_total", "Webhook requests answered.", "event", "outcome")
	m.webhookDuration = histogram("webhook_duration_seconds", "Time to answer a webhook request.", requestBuckets, "event", "outcome")
	m.webhookAuth = counter("webhook_auth_total", "Senders of webhooks, by how they were recognized and whether they were.", "method", "outcome")
	m.eventBacklog = gauge("event_backlog_age_seconds", "How long the oldest event waits for a worker.")
	m.provisioning = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "storekeeper_provisioning_latency_seconds", Buckets: provisioningBuckets,
		Help: "Time from a workspace's creation, by the event's own time stamp, until its store is monitored.",
	})
	m.operations = counter("operations_total", "Executions of activities, each attempt counted.", "operation", "outcome")
	m.operationDuration = histogram("operation_duration_seconds", "Duration of one attempt of an activity.", taskBuckets, "operation")
	m.reconcileRuns = counter("reconcile_runs_total", "Reconcile runs ended.", "outcome")
	m.reconcileDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "storekeeper_reconcile_duration_seconds", Help: "Duration of a reconcile run.", Buckets: taskBuckets,
	})
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.webhookEvents, m.webhookDuration, m.webhookAuth, m.eventBacklog, m.provisioning, m.operations, m.operationDuration,
		m.reconcileRuns, m.reconcileDuration,
	)

	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(m.registry),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo(),
	)
	if err != nil {
		return nil, err
	}
	m.sdk = sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(exporter),
		// OpenTelemetry's default buckets are meant for milliseconds; the SDK measures in seconds.
		sdkmetric.WithView(sdkmetric.NewView(
			sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram},
			sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: taskBuckets}},
		)),
	)
	return m, nil
}

// Handler answers a Prometheus scrape. What can't be collected is left out, logged, and counted in
// promhttp_metric_handler_errors_total; the rest is served.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry:      m.registry,
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      scrapeLog{m.log},
	})
}

type scrapeLog struct{ log *zap.Logger }

func (l scrapeLog) Println(v ...any) {
	l.log.Warn("scrape incomplete", zap.String(KeyReason, fmt.Sprint(v...)))
}

// SDKMetricsHandler returns the handler for the client.Options of a Temporal client. The SDK's metrics appear among ours,
// with names that start with temporal_.
func (m *Metrics) SDKMetricsHandler() client.MetricsHandler {
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter: m.sdk.Meter("temporal-sdk-go"),
		// The default is to panic, which no metric is worth.
		OnError:              func(err error) { m.log.Error("temporal metric lost", zap.Error(err)) },
		UseMonotonicCounters: true,
	})
}

// Webhook counts a webhook request. event is what the sender said, and counted as "other" unless it is one we know; outcome is
// the status answered, or the reason for a refusal.
func (m *Metrics) Webhook(event, outcome string, took time.Duration) {
	switch event {
	case "workspace.created", "workspace.deleted":
	default:
		event = "other" // it comes from outside, and would let a sender make series at will
	}
	m.webhookEvents.WithLabelValues(event, outcome).Inc()
	m.webhookDuration.WithLabelValues(event, outcome).Observe(took.Seconds())
}

// WebhookAuth counts a sender. method is "secret", "signature" or, for one that was not recognized, "none"; outcome is
// OutcomeSucceeded, or why not: one of a fixed set.
func (m *Metrics) WebhookAuth(method, outcome string) {
	m.webhookAuth.WithLabelValues(method, outcome).Inc()
}

// EventBacklog tells how long the oldest event waits for a worker.
func (m *Metrics) EventBacklog(age time.Duration) {
	m.eventBacklog.WithLabelValues().Set(age.Seconds())
}

// EventBacklogUnknown takes that back: an old figure would read as one of now.
func (m *Metrics) EventBacklogUnknown() { m.eventBacklog.Reset() }

// Provisioned counts a store that became monitored, latency after the event's own time stamp. A negative latency (the
// sender's clock is ahead of ours) counts as none.
func (m *Metrics) Provisioned(latency time.Duration) {
	m.provisioning.Observe(max(latency, 0).Seconds())
}

// Operation counts one execution.
func (m *Metrics) Operation(op Operation) {
	m.operations.WithLabelValues(op.Name, op.Outcome).Inc()
	m.operationDuration.WithLabelValues(op.Name).Observe(op.Duration.Seconds())
}

// ReconcileRun is the end of one reconcile run. What it found out is shown of the registry, see Reconciliation.
type ReconcileRun struct {
	// Outcome is one of the Outcome constants.
	Outcome  string
	Duration time.Duration
}

// Reconciled counts a run.
func (m *Metrics) Reconciled(run ReconcileRun) {
	m.reconcileRuns.WithLabelValues(run.Outcome).Inc()
	m.reconcileDuration.Observe(run.Duration.Seconds())
}

// AuthLists are the figures of the lists that the process has asked the Auth Worker for.
type AuthLists struct {
	// ListAt is the moment from which the newest complete one counts; zero when there was none yet.
	ListAt time.Time
	// Failing: the newest attempt gave no list that counts.
	Failing bool
	// Ended counts the attempts since the process began, by how they ended: one of a fixed set.
	Ended map[string]int64
}

// RegisterAuthLists makes each scrape show these figures; nothing of the first attempt before it has ended. Registering twice panics.
func (m *Metrics) RegisterAuthLists(ask func() AuthLists) {
	m.registry.MustRegister(authListCollector{
		ask:     ask,
		at:      desc("auth_list_timestamp_seconds", "From when the newest complete list of the Auth Worker counts, in Unix time."),
		failing: desc("auth_list_failing", "1 if the newest attempt to get the list of the Auth Worker gave none that counts, else 0."),
		ended:   desc("auth_lists_total", "Attempts to get the list of the Auth Worker.", "outcome"),
	})
}

type authListCollector struct {
	ask                func() AuthLists
	at, failing, ended *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c authListCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.at, c.failing, c.ended} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c authListCollector) Collect(ch chan<- prometheus.Metric) {
	lists := c.ask()
	if !lists.ListAt.IsZero() {
		ch <- prometheus.MustNewConstMetric(c.at, prometheus.GaugeValue, unix(lists.ListAt))
	}
	if len(lists.Ended) == 0 {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.failing, prometheus.GaugeValue, oneIf(lists.Failing))
	for outcome, n := range lists.Ended {
		ch <- prometheus.MustNewConstMetric(c.ended, prometheus.CounterValue, float64(n), outcome)
	}
}

// RegisterDatabases makes each scrape show the room that the databases of the process take. Registering twice panics.
func (m *Metrics) RegisterDatabases(ask func() []dbfile.Usage) {
	m.registry.MustRegister(databaseCollector{
		ask:  ask,
		size: desc("database_size_bytes", "Size of the database and its log.", "database"),
		free: desc("database_disk_free_bytes", "What is free of the file system that the database lies on.", "database"),
	})
}

type databaseCollector struct {
	ask        func() []dbfile.Usage
	size, free *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c databaseCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.size
	ch <- c.free
}

// Collect implements prometheus.Collector.
func (c databaseCollector) Collect(ch chan<- prometheus.Metric) {
	for _, u := range c.ask() {
		ch <- prometheus.MustNewConstMetric(c.size, prometheus.GaugeValue, float64(u.Bytes), u.Name)
		ch <- prometheus.MustNewConstMetric(c.free, prometheus.GaugeValue, float64(u.DiskFree), u.Name)
	}
}

// Stores are the figures of a store manager.
type Stores struct {
	// States counts stores by what the registry knows of them; a store can be in several. Connections counts the monitored ones
	// by the state of their subscription. Both should hold zeros too, or a state vanishes from the graphs with its last store.
	States, Connections map[string]int
	// These count since the process began.
	Events, Errors, Reconnects, Resets int64
	// Dialing is how many connections to sync backends are being made.
	Dialing int64
	// GuardTripped: the guard of reconciliation holds removals back, which wait for approval.
	GuardTripped bool
	// RegistryLost: the registry was lost, and nobody has acknowledged it.
	RegistryLost bool
	// Deliveries is how many webhooks are remembered.
	Deliveries int64
	// Reconciliation is what the registry keeps of past runs: any worker may have done the last one.
	Reconciliation Reconciliation
}

// Reconciliation are the figures of past reconcile runs. What is not known is not shown: a zero would read "in step, all lists
// believed, last success in 1970".
type Reconciliation struct {
	// LastSuccessAt is the zero time before the first success.
	LastSuccessAt time.Time
	// Found is of the newest run that succeeded; nil when none is known.
	Found *ReconcileFindings
	// Implausible: the newest list that came could not be believed (it was damaged or empty, or lacked so much that the guard holds
	// removals back), so nothing was removed. Nil when none is known to have come.
	Implausible *bool
}

// ReconcileFindings are what one run found.
type ReconcileFindings struct {
	// Missing, Orphaned and Quarantined (ids that can be no store ids) are what the comparison found.
	Missing, Orphaned, Quarantined int
	// Failing stores could not be added or removed.
	Failing int
}

// RegisterStores makes each scrape ask for the figures of the process's store manager. ask gets a context that ends after 2 s;
// when it fails, that scrape shows none of them. Registering twice panics.
func (m *Metrics) RegisterStores(ask func(context.Context) (Stores, error)) {
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
	ask                                                                                       func(context.Context) (Stores, error)
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

// unix is the time in seconds since 1970, as Prometheus has it.
func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("storekeeper_"+name, help, labels, nil)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "storekeeper_" + name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "storekeeper_" + name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "storekeeper_" + name, Help: help, Buckets: buckets}, labels)
}
