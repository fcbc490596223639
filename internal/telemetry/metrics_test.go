package telemetry_test

import (
	"context"
	"errors"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"storekeeper/internal/dbfile"
	"storekeeper/internal/telemetry"
)

func newMetrics(t *testing.T) *telemetry.Metrics {
	t.Helper()
	log, _ := newLogger(t)
	m, err := telemetry.NewMetrics(log)
	require.NoError(t, err)
	return m
}

func TestMetricsBeforeAnythingHappened(t *testing.T) {
	t.Parallel()
	body := scrape(t, newMetrics(t))
	require.Contains(t, body, "go_goroutines ")
	require.Contains(t, body, "process_resident_memory_bytes ")
	for _, unknown := range []string{"reconcile_drift", "last_success", "failing_stores"} {
		require.NotContains(t, body, unknown, "nothing is known of it yet")
	}
}

func TestOurMetricsSayWhatWasDoneAndNameNoStore(t *testing.T) {
	t.Parallel()
	m := newMetrics(t)
	m.RegisterStores(func(ctx context.Context) (telemetry.StoreFigures, error) {
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
		return telemetry.StoreFigures{
			States: map[string]int{"monitored": 7, "held": 0}, Connections: map[string]int{"connected": 6, "stuck": 1},
			Events: 100, Errors: 5, Reconnects: 4, Resets: 1, Dialing: 2, GuardTripped: true, RegistryLost: true, Deliveries: 9,
			Reconciliation: telemetry.Reconciliation{
				LastSuccessAt: time.Unix(1_700_000_000, 500_000_000), Implausible: new(true),
				Found: &telemetry.ReconcileFindings{Missing: 3, Orphaned: 2, Quarantined: 1, Failing: 4},
			},
		}, nil
	})
	m.RegisterDatabases(func() []dbfile.Usage {
		return []dbfile.Usage{{Name: "registry", Bytes: 4096, DiskFree: 1 << 20}, {Name: "temporal", Bytes: 8192, DiskFree: 1 << 21}}
	})
	var lists telemetry.AuthLists
	m.RegisterAuthLists(func() telemetry.AuthLists { return lists })
	require.NotContains(t, scrape(t, m), "auth_list")
	lists = telemetry.AuthLists{ListAt: time.Unix(1_700_000_000, 0), Failing: true, Ended: map[string]int64{"complete": 5, "unauthorized": 2}}
	m.Webhook("workspace.created", "monitoring_started", 30*time.Millisecond)
	m.Webhook("workspace.exploded", "invalid", time.Millisecond)
	m.Webhook("", "unauthorized", time.Millisecond)
	m.Provisioned(20 * time.Second)
	m.Provisioned(-time.Second)
	m.Operation(telemetry.Operation{Name: "EnsureStore", Outcome: telemetry.OutcomeFailed, StoreID: "abc", Duration: time.Second})
	m.Reconciled(telemetry.ReconcileRun{Outcome: telemetry.OutcomeSucceeded, Duration: time.Second})
	m.Reconciled(telemetry.ReconcileRun{Outcome: telemetry.OutcomeFailed})

	body := scrape(t, m)
	for _, want := range []string{
		`storekeeper_stores{state="monitored"} 7`,
		`storekeeper_stores{state="held"} 0`,
		`storekeeper_store_connections{connection="connected"} 6`,
		`storekeeper_store_connections{connection="stuck"} 1`,
		`storekeeper_store_events_total 100`,
		`storekeeper_store_errors_total 5`,
		`storekeeper_store_reconnects_total 4`,
		`storekeeper_store_resets_total 1`,
		`storekeeper_store_dials 2`,
		`storekeeper_auth_list_timestamp_seconds 1.7e+09`,
		`storekeeper_auth_list_failing 1`,
		`storekeeper_auth_lists_total{outcome="complete"} 5`,
		`storekeeper_auth_lists_total{outcome="unauthorized"} 2`,
		`storekeeper_webhook_events_total{event="workspace.created",outcome="monitoring_started"} 1`,
		`storekeeper_webhook_events_total{event="other",outcome="invalid"} 1`,
		`storekeeper_webhook_events_total{event="other",outcome="unauthorized"} 1`,
		`storekeeper_webhook_duration_seconds_bucket{event="workspace.created",outcome="monitoring_started",le="0.05"} 1`,
		`storekeeper_provisioning_latency_seconds_bucket{le="0.01"} 1`,
		`storekeeper_provisioning_latency_seconds_bucket{le="15"} 1`,
		`storekeeper_provisioning_latency_seconds_bucket{le="30"} 2`,
		`storekeeper_provisioning_latency_seconds_bucket{le="600"} 2`,
		`storekeeper_operations_total{operation="EnsureStore",outcome="failed"} 1`,
		`storekeeper_operation_duration_seconds_sum{operation="EnsureStore"} 1`,
		`storekeeper_reconcile_runs_total{outcome="succeeded"} 1`,
		`storekeeper_reconcile_runs_total{outcome="failed"} 1`,
		`storekeeper_reconcile_duration_seconds_count 2`,
		`storekeeper_reconcile_drift{kind="missing"} 3`,
		`storekeeper_reconcile_drift{kind="orphaned"} 2`,
		`storekeeper_reconcile_drift{kind="quarantined"} 1`,
		`storekeeper_reconcile_last_success_timestamp_seconds 1.7000000005e+09`,
		`storekeeper_reconcile_failing_stores 4`,
		`storekeeper_reconcile_implausible 1`,
		`storekeeper_reconcile_guard_tripped 1`,
		`storekeeper_registry_lost 1`,
		`storekeeper_deliveries 9`,
		`storekeeper_database_size_bytes{database="registry"} 4096`,
		`storekeeper_database_size_bytes{database="temporal"} 8192`,
		`storekeeper_database_disk_free_bytes{database="temporal"} 2.097152e+06`,
	} {
		require.Contains(t, body, want+"\n")
	}
	require.NotContains(t, body, "abc", "no id is ever a label")
}

func TestAScrapeSurvivesAFailingRegistry(t *testing.T) {
	t.Parallel()
	log, out := newLogger(t)
	m, err := telemetry.NewMetrics(log)
	require.NoError(t, err)
	m.RegisterStores(func(context.Context) (telemetry.StoreFigures, error) {
		return telemetry.StoreFigures{}, errors.New("database is locked")
	})
	m.Provisioned(time.Second)

	body := scrape(t, m)
	require.Contains(t, body, "storekeeper_provisioning_latency_seconds_count 1\n")
	require.NotContains(t, body, "storekeeper_stores")
	require.Contains(t, out.String(), "database is locked")
	require.Regexp(t, `promhttp_metric_handler_errors_total\{cause="gathering"\} 1\n`, scrape(t, m))
}

func TestMetricsOfTheSDK(t *testing.T) {
	t.Parallel()
	m := newMetrics(t)

	// A real client against a server that knows no method: each call is counted, by the SDK itself, as a request and a failure.
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := grpc.NewServer()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	c, err := client.NewLazyClient(client.Options{HostPort: lis.Addr().String(), MetricsHandler: m.SDKMetricsHandler()})
	require.NoError(t, err)
	_, err = c.DescribeWorkflowExecution(t.Context(), "workspace/1", "")
	require.Error(t, err)
	c.Close()
	srv.Stop()
	require.NoError(t, <-served)

	m.SDKMetricsHandler().WithTags(map[string]string{"task_queue": "q"}).Gauge("temporal_num_pollers").Update(2)

	body := scrape(t, m)
	require.Regexp(t, `(?m)^temporal_request_failure_total\{[^}]*operation="[^"]+"[^}]*\} [1-9]`, body)
	require.Regexp(t, `(?m)^temporal_request_latency_seconds_bucket\{.*le="0.005"\} \d`, body)
	require.Contains(t, body, `temporal_num_pollers{task_queue="q"} 2`+"\n")
	require.NotContains(t, body, "otel_scope")
	require.NotContains(t, body, "target_info")

	types := regexp.MustCompile(`(?m)^# TYPE (temporal_\S+) (\S+)$`).FindAllStringSubmatch(body, -1)
	require.NotEmpty(t, types)
	counters := 0
	for _, typ := range types {
		name, kind := typ[1], typ[2]
		if kind == "counter" {
			counters++
			require.Regexp(t, `_total$`, name)
			require.Equal(t, 1, strings.Count(name, "_total"), name)
		} else {
			require.NotContains(t, name, "_total")
		}
	}
	require.Positive(t, counters)
}
