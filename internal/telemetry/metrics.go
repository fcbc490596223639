package telemetry

import (
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.uber.org/zap"

	"storekeeper/internal/build"
)

// Buckets, in seconds. Provisioning is measured from the event's own time stamp. It takes milliseconds when the webhook works, and up to
// two reconcile intervals (10 min) when the webhook was lost.
var (
	requestBuckets      = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	provisioningBuckets = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600}
	taskBuckets         = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600}
)

// Metrics are the metrics of one process, in a Prometheus registry of their own. Its methods may be called concurrently.
//
// No label ever holds an id, and every label's values come from a set fixed in code. A series for each workspace would be a million series.
type Metrics struct {
	log      *zap.Logger
	registry *prometheus.Registry
	sdk      *sdkmetric.MeterProvider

	webhookEvents     *prometheus.CounterVec
	webhookDuration   *prometheus.HistogramVec
	webhookAuth       *prometheus.CounterVec
	provisioning      prometheus.Histogram
	webhookToStore    prometheus.Histogram
	repairAge         prometheus.Histogram
	tokenRefusals     *prometheus.CounterVec
	operations        *prometheus.CounterVec
	operationDuration *prometheus.HistogramVec

	reconcileRuns     *prometheus.CounterVec
	reconcileDuration prometheus.Histogram
}

// NewMetrics returns metrics that show the Go runtime and the process, and nothing else yet. What goes wrong while measuring or scraping is
// logged to log.
func NewMetrics(log *zap.Logger) (*Metrics, error) {
	m := &Metrics{log: log, registry: prometheus.NewRegistry()}
	m.webhookEvents = counter("webhook_events_total", "Webhook requests answered.", "event", "outcome")
	m.webhookDuration = histogram("webhook_duration_seconds", "Time to answer a webhook request.", requestBuckets, "event", "outcome")
	m.webhookAuth = counter("webhook_auth_total", "Senders of webhooks, by how they were recognized and whether they were.", "method", "outcome")
	m.provisioning = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "storekeeper_provisioning_latency_seconds", Buckets: provisioningBuckets,
		Help: "Time from a workspace's creation, by the event's own time stamp, until its store is monitored.",
	})
	m.webhookToStore = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "storekeeper_webhook_provisioning_latency_seconds", Buckets: provisioningBuckets,
		Help: "Time from the arrival of a webhook until the store that it asks for is monitored.",
	})
	m.repairAge = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "storekeeper_repair_age_seconds", Buckets: provisioningBuckets,
		Help: "How long ago, at the most, a workspace was created whose missing store a reconcile run has added.",
	})
	m.tokenRefusals = counter("token_refusals_total", "Answers to this process that refused its token or signature.", "by")
	m.operations = counter("operations_total", "Executions of activities, each attempt counted.", "operation", "outcome")
	m.operationDuration = histogram("operation_duration_seconds", "Duration of one attempt of an activity.", taskBuckets, "operation")
	m.reconcileRuns = counter("reconcile_runs_total", "Reconcile runs ended.", "outcome")
	m.reconcileDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "storekeeper_reconcile_duration_seconds", Help: "Duration of a reconcile run.", Buckets: taskBuckets,
	})
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.webhookEvents, m.webhookDuration, m.webhookAuth, m.provisioning, m.webhookToStore, m.repairAge, m.tokenRefusals, m.operations,
		m.operationDuration, m.reconcileRuns, m.reconcileDuration, buildInfo(),
	)
	for _, by := range []string{RefusedByAuthWorker, RefusedByStoreManager, RefusedBySyncBackend, RefusedBySink} {
		m.tokenRefusals.WithLabelValues(by) // see ExpectOperations
	}

	var err error
	if m.sdk, err = sdkMeters(m.registry); err != nil {
		return nil, err
	}
	return m, nil
}

// buildInfo is the version of this process, as a metric that is always 1.
func buildInfo() prometheus.Collector {
	info := gauge("build_info", "Always 1. The labels say what runs here.", "version", "go_version")
	info.WithLabelValues(build.Version, runtime.Version()).Set(1)
	return info
}

// Handler answers a Prometheus scrape. A metric that can't be collected is left out, logged, and counted in
// promhttp_metric_handler_errors_total. The others are served.
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

// Webhook counts a webhook request and how long its answer took. event is the sender's word; one that we don't know is counted as "other".
// outcome is the status that was answered, or the reason for a refusal.
func (m *Metrics) Webhook(event, outcome string, took time.Duration) {
	switch event {
	case "workspace.created", "workspace.deleted":
	default:
		event = "other" // otherwise a sender could make any number of series
	}
	m.webhookEvents.WithLabelValues(event, outcome).Inc()
	m.webhookDuration.WithLabelValues(event, outcome).Observe(took.Seconds())
}

// WebhookAuth counts a sender. method is "secret", "signature", or "none" for a sender that was not recognized. outcome is OutcomeSucceeded
// or the reason for the refusal, one of a fixed set.
func (m *Metrics) WebhookAuth(method, outcome string) {
	m.webhookAuth.WithLabelValues(method, outcome).Inc()
}

// Provisioned counts a store that became monitored. latency is the time since the event's own time stamp. A negative latency (the sender's
// clock is ahead of ours) counts as 0.
func (m *Metrics) Provisioned(latency time.Duration) {
	m.provisioning.Observe(max(latency, 0).Seconds())
}

// WebhookProvisioned counts a store that became monitored because of a webhook. latency is the time since the webhook arrived.
func (m *Metrics) WebhookProvisioned(latency time.Duration) {
	m.webhookToStore.Observe(max(latency, 0).Seconds())
}

// Repaired counts stores that a reconcile run has added. age is how long ago their workspaces were created at the most.
func (m *Metrics) Repaired(stores int, age time.Duration) {
	for range stores {
		m.repairAge.Observe(max(age, 0).Seconds())
	}
}

// Who may refuse a token.
const (
	RefusedByAuthWorker   = "auth_worker"
	RefusedByStoreManager = "store_manager"
	RefusedBySyncBackend  = "sync_backend"
	RefusedBySink         = "event_sink"
)

// TokenRefused counts an answer that refused the token or the signature of this process. by is one of the RefusedBy constants.
func (m *Metrics) TokenRefused(by string) { m.tokenRefusals.WithLabelValues(by).Inc() }

// ExpectOperations shows these operations as counted zero times, before the first. A counter that appears with its first count has not
// increased, as Prometheus sees it, and no alert would notice.
func (m *Metrics) ExpectOperations(names ...string) {
	for _, name := range names {
		m.operations.WithLabelValues(name, OutcomeSucceeded)
		m.operations.WithLabelValues(name, OutcomeFailed)
	}
}

// Operation counts one execution and how long it took.
func (m *Metrics) Operation(op Operation) {
	m.operations.WithLabelValues(op.Name, op.Outcome).Inc()
	m.operationDuration.WithLabelValues(op.Name).Observe(op.Duration.Seconds())
}

// ReconcileRun is the end of a reconcile run. What the run found is kept in the registry and shown as Reconciliation.
type ReconcileRun struct {
	// Outcome is one of the Outcome constants.
	Outcome  string
	Duration time.Duration
}

// Reconciled counts a run and how long it took.
func (m *Metrics) Reconciled(run ReconcileRun) {
	m.reconcileRuns.WithLabelValues(run.Outcome).Inc()
	m.reconcileDuration.Observe(run.Duration.Seconds())
}

// unix is the time in seconds since 1970, which is how Prometheus counts.
func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// RegisterSecrets makes each scrape ask whether the files of secrets have a content that is not used. Registering twice panics.
func (m *Metrics) RegisterSecrets(refused func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "storekeeper_secrets_refused",
		Help: "1 if the files of secrets have a content that is not used, because it is not accepted, else 0.",
	}, func() float64 { return oneIf(refused()) }))
}

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
