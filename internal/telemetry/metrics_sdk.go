package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.uber.org/zap"
)

// sdkShown are the metrics of Temporal's SDK that are shown, with the labels that they keep. The others would be nine tenths of a scrape, and
// no dashboard or alert of ours reads them (docs/designs/0094-what-is-scraped.md).
var sdkShown = map[string]struct {
	help   string
	labels []attribute.Key
}{
	"temporal_request":                                 {"Requests to Temporal.", []attribute.Key{"operation"}},
	"temporal_request_failure":                         {"Requests to Temporal that failed.", []attribute.Key{"operation", "status_code"}},
	"temporal_request_latency":                         {"Duration of requests to Temporal.", nil},
	"temporal_workflow_completed":                      {"Workflows that ended well.", []attribute.Key{"workflow_type"}},
	"temporal_workflow_failed":                         {"Workflows that failed.", []attribute.Key{"workflow_type"}},
	sdkTaskFailed:                                      {"Workflow tasks that failed.", []attribute.Key{sdkReason}},
	"temporal_workflow_task_schedule_to_start_latency": {"How long workflow tasks waited for a worker.", nil},
	"temporal_activity_schedule_to_start_latency":      {"How long activities waited for a worker.", nil},
	"temporal_num_pollers":                             {"Polls of this process that wait for tasks.", []attribute.Key{"poller_type", "task_queue"}},
	"temporal_worker_task_slots_used":                  {"Tasks that this worker has in hand.", []attribute.Key{"worker_type"}},
	"temporal_worker_task_slots_available":             {"Tasks that this worker could take in hand.", []attribute.Key{"worker_type"}},
	"temporal_sticky_cache_size":                       {"Workflows that this worker keeps in memory.", nil},
}

// sdkTaskFailed counts workflow tasks that failed, by reason. nonDeterminism is the reason of those whose history does not fit the code.
const (
	sdkTaskFailed  = "temporal_workflow_task_execution_failed"
	sdkReason      = "failure_reason"
	nonDeterminism = "NonDeterminismError"
)

// sdkMeters are what the SDK measures with. What sdkShown names goes to the registry.
func sdkMeters(registry *prometheus.Registry) (*sdkmetric.MeterProvider, error) {
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo(),
	)
	if err != nil {
		return nil, err
	}
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithView(sdkView)), nil
}

// sdkView drops what is not shown. OpenTelemetry's default buckets are for milliseconds, and the SDK measures in seconds.
func sdkView(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	show, shown := sdkShown[i.Name]
	if !shown {
		return sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}}, true
	}
	stream := sdkmetric.Stream{Name: i.Name, Description: show.help, Unit: i.Unit, AttributeFilter: attribute.NewAllowKeysFilter(show.labels...)}
	if i.Kind == sdkmetric.InstrumentKindHistogram {
		stream.Aggregation = sdkmetric.AggregationExplicitBucketHistogram{Boundaries: taskBuckets}
	}
	return stream, true
}

// SDKMetricsHandler returns the handler for the client.Options of a Temporal client. Those of the SDK's metrics that sdkShown names appear
// beside ours; their names begin with temporal_.
func (m *Metrics) SDKMetricsHandler() client.MetricsHandler {
	h := opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter: m.sdk.Meter("temporal-sdk-go"),
		// The default is to panic. No metric is worth that.
		OnError:              func(err error) { m.log.Error("temporal metric lost", zap.Error(err)) },
		UseMonotonicCounters: true,
	})
	for _, reason := range []string{nonDeterminism, "WorkflowError"} {
		h.WithTags(map[string]string{sdkReason: reason}).Counter(sdkTaskFailed).Inc(0) // see ExpectOperations
	}
	return h
}
