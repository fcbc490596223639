package edge

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
)

func finished(report contract.ReconcileReport, err error) *fakeRun {
	run := &fakeRun{done: make(chan struct{}), report: report, err: err}
	close(run.done)
	return run
}

func (f *fixture) reconcile(t *testing.T) response {
	t.Helper()
	return f.do(t, http.MethodPost, "/admin/reconcile", "", "Authorization", "Bearer "+token)
}

func TestManualReconcileAnswersWithTheReport(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) {
		f.temporal.run = finished(contract.ReconcileReport{DurationMs: 12, DriftCount: 3, Added: 2}, nil)
		f.config.IncidentDashboard = "https://dashboard.example.com"
	})
	resp := f.reconcile(t)
	require.Equal(t, 200, resp.status, resp.body)
	got := resp.json(t)
	require.Equal(t, "completed", got["status"])
	require.InDelta(t, 12, got["durationMs"], 0)
	require.InDelta(t, 3, got["driftCount"], 0)
	require.InDelta(t, 2, got["result"].(map[string]any)["added"], 0)
	require.Equal(t, "https://dashboard.example.com", got["incidentDashboardUrl"])
	triggeredAt, err := time.Parse(time.RFC3339, got["triggeredAt"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), triggeredAt, time.Minute)
}

func TestManualReconcileThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) {
		f.temporal.run = finished(contract.ReconcileReport{}, fmt.Errorf("%w: %w", &temporal.WorkflowExecutionError{},
			temporal.NewApplicationError("the workspace list is damaged", "Unavailable")))
	})
	resp := f.reconcile(t)
	require.Equal(t, 500, resp.status)
	got := resp.json(t)
	require.Equal(t, "failed", got["status"])
	require.Equal(t, "the workspace list is damaged", got["error"])
	require.Contains(t, got, "incidentDashboardUrl")
	require.Nil(t, got["incidentDashboardUrl"])
	require.NotContains(t, got, "result")
}

func TestManualReconcileDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.temporal.run = &fakeRun{done: make(chan struct{})} })
	f.reconcileWait = time.Millisecond
	resp := f.reconcile(t)
	require.Equal(t, 202, resp.status)
	require.Equal(t, "running", resp.json(t)["status"])
	require.Equal(t, "run-1", resp.json(t)["runId"])
}

func TestManualReconcileMayTakeLongerThanARequestMayBeRead(t *testing.T) {
	t.Parallel()
	run := &fakeRun{done: make(chan struct{}), report: contract.ReconcileReport{DriftCount: 1}}
	f := setup(t, func(f *fixture) { f.temporal.run = run })
	f.readTimeout = 100 * time.Millisecond
	f.run(t)
	time.AfterFunc(3*f.readTimeout, func() { close(run.done) })
	require.Equal(t, 200, f.reconcile(t).status)
}

func TestShutdownDoesNotWaitForAManualReconcile(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.temporal.run = &fakeRun{done: make(chan struct{})} })
	close(f.draining)
	require.Equal(t, 202, f.reconcile(t).status)
}

func TestManualReconcileIsRefused(t *testing.T) {
	t.Parallel()
	manual := func(ago time.Duration) func(*testing.T, *fixture) {
		return func(t *testing.T, f *fixture) {
			f.record(t, "r", "", contract.ReconcileReport{Trigger: contract.TriggerManual, CompletedAt: time.Now().Add(-ago)})
		}
	}
	tests := map[string]struct {
		change func(*testing.T, *fixture)
		status int
	}{
		"not when nothing ran": {func(*testing.T, *fixture) {}, 200},
		"when reconciliation is disabled": {
			func(_ *testing.T, f *fixture) { f.config.ReconcileEnabled = false }, 503,
		},
		"while one runs":         {func(_ *testing.T, f *fixture) { f.temporal.run = nil }, 409},
		"while Temporal is away": {func(_ *testing.T, f *fixture) { f.temporal.down = true }, 503},
		"soon after a success":   {manual(20 * time.Second), 429},
		"not long after":         {manual(61 * time.Second), 200},
		"without a limit, never": {func(t *testing.T, f *fixture) { f.config.ManualReconcileLimit = 0; manual(0)(t, f) }, 200},
		"without the registry":   {func(t *testing.T, f *fixture) { require.NoError(t, f.registry.Close()) }, 503},
		"not after a failed one": {func(t *testing.T, f *fixture) {
			f.record(t, "r", "failed", contract.ReconcileReport{Trigger: contract.TriggerManual, CompletedAt: time.Now()})
		}, 200},
		"not after one by itself": {func(t *testing.T, f *fixture) {
			f.record(t, "r", "", contract.ReconcileReport{Trigger: contract.TriggerSchedule, CompletedAt: time.Now()})
		}, 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, func(f *fixture) {
				f.temporal.run = finished(contract.ReconcileReport{}, nil)
				test.change(t, f)
			})
			resp := f.reconcile(t)
			require.Equal(t, test.status, resp.status, resp.body)
			if test.status >= 400 {
				require.NotEmpty(t, resp.json(t)["error"])
				require.NotContains(t, resp.body, "10.9.8.7")
			}
			if test.status == 429 {
				seconds, err := strconv.Atoi(resp.header.Get("Retry-After"))
				require.NoError(t, err)
				require.InDelta(t, 40, seconds, 5)
				require.InDelta(t, 40000, resp.json(t)["retryAfterMs"], 5000)
			}
		})
	}
}

func TestManualReconcileIsAPost(t *testing.T) {
	t.Parallel()
	f := setup(t)
	resp := f.get(t, "/admin/reconcile")
	require.Equal(t, 405, resp.status)
	require.Equal(t, "POST", resp.header.Get("Allow"))
}
