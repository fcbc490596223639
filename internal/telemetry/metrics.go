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
	// These are vectors even without labels, for those show nothing until they are first set: a zero right after a start
	// would read "in step, guard quiet, last success in 1970".
	reconcileDrift       *prometheus.GaugeVec
	reconcileLastSuccess *prometheus.GaugeVec
	reconcileFailing     *prometheus.GaugeVec
	reconcileImplausible *prometheus.GaugeVec
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
	m.reconcileDrift = gauge("reconcile_drift", "Differences the last complete comparison found.", "kind")
	m.reconcileLastSuccess = gauge("reconcile_last_success_timestamp_seconds", "When the last successful run ended, in Unix time.")
	m.reconcileFailing = gauge("reconcile_failing_stores", "Stores that the last successful run could not add or remove.")
	m.reconcileImplausible = gauge("reconcile_implausible", "1 if the last successful run removed nothing because one side listed nothing, or much too little, else 0.")
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.webhookEvents, m.webhookDuration, m.webhookAuth, m.eventBacklog, m.provisioning, m.operations, m.operationDuration,
		m.reconcileRuns, m.reconcileDuration, m.reconcileDrift, m.reconcileLastSuccess, m.reconcileFailing, m.reconcileImplausible,
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

// ReconcileRun is the end of one reconcile run.
type ReconcileRun struct {
	// Outcome is one of the Outcome constants. Unless it is OutcomeSucceeded, only Duration counts of what follows.
	Outcome  string
	Duration time.Duration
	EndedAt  time.Time
	// Missing, Orphaned and Quarantined (ids that can be no store ids) are what the comparison found.
	Missing, Orphaned, Quarantined int
	// Failing stores could not be added or removed.
	Failing int
	// Implausible: one side listed what can't be believed (nothing, or much too little), so nothing was removed.
	Implausible bool
}

// Reconciled counts a run. One that did not succeed leaves the gauges as they were, for it found out nothing.
func (m *Metrics) Reconciled(run ReconcileRun) {
	m.reconcileRuns.WithLabelValues(run.Outcome).Inc()
	m.reconcileDuration.Observe(run.Duration.Seconds())
	if run.Outcome != OutcomeSucceeded {
		return
	}
	m.reconcileDrift.WithLabelValues("missing").Set(float64(run.Missing))
	m.reconcileDrift.WithLabelValues("orphaned").Set(float64(run.Orphaned))
	m.reconcileDrift.WithLabelValues("quarantined").Set(float64(run.Quarantined))
	m.reconcileLastSuccess.WithLabelValues().Set(float64(run.EndedAt.UnixMilli()) / 1000)
	m.reconcileFailing.WithLabelValues().Set(float64(run.Failing))
	implausible := 0.0
	if run.Implausible {
		implausible = 1
	}
	m.reconcileImplausible.WithLabelValues().Set(implausible)
}

// RegisterAuthList makes each scrape show when the newest complete list of the Auth Worker was asked for, in Unix time; nothing
// before the first. Registering twice panics.
func (m *Metrics) RegisterAuthList(last func() time.Time) {
	m.registry.MustRegister(authListCollector{
		last: last, desc: prometheus.NewDesc("storekeeper_auth_list_timestamp_seconds",
			"When the newest complete list of the Auth Worker was asked for, in Unix time.", nil, nil),
	})
}

type authListCollector struct {
	last func() time.Time
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c authListCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c authListCollector) Collect(ch chan<- prometheus.Metric) {
	if at := c.last(); !at.IsZero() {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(at.UnixMilli())/1000)
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
}

// RegisterStores makes each scrape ask for the figures of the process's store manager. ask gets a context that ends after 2 s;
// when it fails, that scrape shows none of them. Registering twice panics.
func (m *Metrics) RegisterStores(ask func(context.Context) (Stores, error)) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("storekeeper_"+name, help, labels, nil)
	}
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
		lost:        desc("registry_lost", "1 while the registry is new, older or another one than it should be and nobody has acknowledged it, else 0."),
		deliveries:  desc("deliveries", "Webhooks that are remembered, so that a repeat gets the first answer."),
	})
}

type storeCollector struct {
	ask func(context.Context) (Stores, error)

	states, connections, events, errors, reconnects, resets, dialing, guard, lost, deliveries *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.states, c.connections, c.events, c.errors, c.reconnects, c.resets, c.dialing, c.guard, c.lost, c.deliveries,
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
	for desc, n := range map[*prometheus.Desc]int64{c.events: s.Events, c.errors: s.Errors, c.reconnects: s.Reconnects, c.resets: s.Resets} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n))
	}
	ch <- prometheus.MustNewConstMetric(c.dialing, prometheus.GaugeValue, float64(s.Dialing))
	for desc, is := range map[*prometheus.Desc]bool{c.guard: s.GuardTripped, c.lost: s.RegistryLost} {
		value := 0.0
		if is {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	ch <- prometheus.MustNewConstMetric(c.deliveries, prometheus.GaugeValue, float64(s.Deliveries))
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
