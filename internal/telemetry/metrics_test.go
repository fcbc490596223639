package telemetry_test

import (
	"context"
	"errors"
	"net"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"storekeeper/internal/build"
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
	at := func(seconds int64) time.Time { return time.Unix(1_700_000_000+seconds, 0) }
	m.RegisterShared(func(ctx context.Context) telemetry.Shared {
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
		return telemetry.Shared{
			Stores: &telemetry.StoreFigures{
				Monitored: 7, Stopped: 3, Pending: 4, Overdue: 1, Held: 2, Pinned: 1, Connections: map[string]int{"connected": 6, "stuck": 1},
				Provisioned: 10, Ended: 3, RunsSucceeded: 50, RunsFailed: 2, OldestPendingAt: at(1), OldestDueAt: at(2),
				AllPaused: true, AllPausedAt: at(3), PausedStores: 2, OldestPauseAt: at(4), GuardTripped: true, RegistryLost: true,
				Reconciliation: telemetry.Reconciliation{
					LastRunAt: at(5), LastSuccessAt: time.Unix(1_700_000_000, 500_000_000), Implausible: new(true),
					Found: &telemetry.ReconcileFindings{Missing: 3, Orphaned: 2, Quarantined: 1, Failing: 4},
				},
			},
			Engine: &telemetry.EngineFigures{
				Polling: new(true), Backlog: new(90 * time.Second),
				Schedule: &telemetry.ScheduleFigures{Every: 5 * time.Minute, Paused: true, LastActionAt: at(6)},
			},
		}
	})
	m.RegisterMonitors(func(ctx context.Context) (telemetry.MonitorFigures, error) {
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
		return telemetry.MonitorFigures{Events: 100, Errors: 5, Reconnects: 4, Resets: 1, Dialing: 2, Deliveries: 9}, nil
	})
	m.RegisterDatabases(func() []dbfile.Usage {
		return []dbfile.Usage{{Name: "registry", Bytes: 4096, DiskFree: 1 << 20}, {Name: "temporal", Bytes: 8192, DiskFree: 1 << 21}}
	})
	var lists telemetry.AuthLists
	m.RegisterAuthLists(func() telemetry.AuthLists { return lists })
	require.NotContains(t, scrape(t, m), "auth_list_")
	lists = telemetry.AuthLists{ListAt: time.Unix(1_700_000_000, 0), Failing: true, Ended: map[string]int64{"complete": 5, "unauthorized": 2}}
	m.Webhook("workspace.created", "monitoring_started", 30*time.Millisecond)
	m.Webhook("workspace.exploded", "invalid", time.Millisecond)
	m.Webhook("", "unauthorized", time.Millisecond)
	m.Provisioned(20 * time.Second)
	m.Provisioned(-time.Second)
	m.WebhookProvisioned(20 * time.Millisecond)
	m.Repaired(3, 4*time.Minute)
	m.TokenRefused(telemetry.RefusedBySink)
	m.ExpectOperations("StopStore")
	m.Operation(telemetry.Operation{Name: "EnsureStore", Outcome: telemetry.OutcomeFailed, StoreID: "abc", Duration: time.Second})
	m.Reconciled(telemetry.ReconcileRun{Outcome: telemetry.OutcomeSucceeded, Duration: time.Second})
	m.Reconciled(telemetry.ReconcileRun{Outcome: telemetry.OutcomeFailed})

	body := scrape(t, m)
	for _, want := range []string{
		`storekeeper_stores{state="monitored"} 7`,
		`storekeeper_stores{state="held"} 2`,
		`storekeeper_registry_stores{state="monitored"} 7`,
		`storekeeper_registry_stores{state="tombstone"} 3`,
		`storekeeper_store_deletions{deletion="none"} 3`,
		`storekeeper_store_deletions{deletion="pending"} 3`,
		`storekeeper_store_deletions{deletion="overdue"} 1`,
		`storekeeper_stores_held 2`,
		`storekeeper_stores_pinned 1`,
		`storekeeper_stores_provisioned_total 10`,
		`storekeeper_stores_stopped_total 3`,
		`storekeeper_deletion_oldest_timestamp_seconds 1.700000001e+09`,
		`storekeeper_deletion_due_timestamp_seconds 1.700000002e+09`,
		`storekeeper_pauses{of="all_stores"} 1`,
		`storekeeper_pauses{of="store"} 2`,
		`storekeeper_pauses{of="schedule"} 1`,
		`storekeeper_pauses{of="setting"} 0`,
		`storekeeper_pause_oldest_timestamp_seconds{of="all_stores"} 1.700000003e+09`,
		`storekeeper_pause_oldest_timestamp_seconds{of="store"} 1.700000004e+09`,
		`storekeeper_pause_oldest_timestamp_seconds{of="schedule"} 1.700000006e+09`,
		`storekeeper_reconcile_recorded_runs_total{outcome="succeeded"} 50`,
		`storekeeper_reconcile_recorded_runs_total{outcome="failed"} 2`,
		`storekeeper_reconcile_last_run_timestamp_seconds 1.700000005e+09`,
		`storekeeper_store_manager_reachable 1`,
		`storekeeper_temporal_reachable 1`,
		`storekeeper_workers_polling 1`,
		`storekeeper_event_backlog_age_seconds 90`,
		`storekeeper_reconcile_interval_seconds 300`,
		`storekeeper_webhook_provisioning_latency_seconds_bucket{le="0.025"} 1`,
		`storekeeper_repair_age_seconds_bucket{le="120"} 0`,
		`storekeeper_repair_age_seconds_bucket{le="300"} 3`,
		`storekeeper_token_refusals_total{by="event_sink"} 1`,
		`storekeeper_token_refusals_total{by="auth_worker"} 0`,
		`storekeeper_operations_total{operation="StopStore",outcome="failed"} 0`,
		`storekeeper_build_info{go_version="` + runtime.Version() + `",version="` + build.Version + `"} 1`,
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
	require.NotContains(t, body, `pause_oldest_timestamp_seconds{of="setting"}`, "there is no such pause")
}

func TestAScrapeSurvivesAFailingRegistry(t *testing.T) {
	t.Parallel()
	log, out := newLogger(t)
	m, err := telemetry.NewMetrics(log)
	require.NoError(t, err)
	m.RegisterShared(func(context.Context) telemetry.Shared {
		return telemetry.Shared{StoresErr: errors.New("database is locked"), EngineErr: errors.New("it is away")}
	})
	m.RegisterMonitors(func(context.Context) (telemetry.MonitorFigures, error) {
		return telemetry.MonitorFigures{}, errors.New("database is locked")
	})
	m.Provisioned(time.Second)

	body := scrape(t, m)
	require.Contains(t, body, "storekeeper_provisioning_latency_seconds_count 1\n")
	require.NotContains(t, body, "storekeeper_stores")
	require.NotContains(t, body, "storekeeper_store_events")
	require.Contains(t, body, "storekeeper_store_manager_reachable 0\n")
	require.Contains(t, body, "storekeeper_temporal_reachable 0\n")
	require.Contains(t, out.String(), "database is locked")
	require.Regexp(t, `promhttp_metric_handler_errors_total\{cause="gathering"\} [1-9]`, scrape(t, m))
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

	handler := m.SDKMetricsHandler().WithTags(map[string]string{"task_queue": "q", "namespace": "default"})
	handler.Gauge("temporal_num_pollers").Update(2)
	handler.Timer("temporal_workflow_endtoend_latency").Record(time.Second)

	body := scrape(t, m)
	require.Regexp(t, `(?m)^temporal_request_failure_total\{[^}]*operation="[^"]+"[^}]*\} [1-9]`, body)
	require.Regexp(t, `(?m)^temporal_request_latency_seconds_bucket\{le="0.005"\} \d`, body)
	require.Contains(t, body, `temporal_workflow_task_execution_failed_total{failure_reason="NonDeterminismError"} 0`+"\n", "or nobody would notice the first")
	require.NotContains(t, body, "endtoend", "nobody looks at it")
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
