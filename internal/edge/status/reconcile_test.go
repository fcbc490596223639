package status

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
	"storekeeper/internal/edge/edgetest"
)

func (f *fixture) reconcile(t *testing.T) edgetest.Response {
	t.Helper()
	return f.Do(t, http.MethodPost, "/admin/reconcile", "", "Authorization", "Bearer "+token)
}

func TestManualReconcileAnswersWithTheReport(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) {
		f.Temporal.Run = edgetest.Finished(contract.ReconcileReport{DurationMs: 12, DriftCount: 3, Added: 2}, nil)
		f.Config.IncidentDashboard = "https://dashboard.example.com"
	})
	resp := f.reconcile(t)
	require.Equal(t, 200, resp.Status, resp.Body)
	got := resp.JSON(t)
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
		f.Temporal.Run = edgetest.Finished(contract.ReconcileReport{}, fmt.Errorf("%w: %w", &temporal.WorkflowExecutionError{},
			temporal.NewApplicationError("the workspace list is damaged", "Unavailable")))
	})
	resp := f.reconcile(t)
	require.Equal(t, 500, resp.Status)
	got := resp.JSON(t)
	require.Equal(t, "failed", got["status"])
	require.Equal(t, "the workspace list is damaged", got["error"])
	require.Contains(t, got, "incidentDashboardUrl")
	require.Nil(t, got["incidentDashboardUrl"])
	require.NotContains(t, got, "result")
}

func TestManualReconcileDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Run = &edgetest.Reconcile{Done: make(chan struct{})} })
	f.reconcileWait = time.Millisecond
	resp := f.reconcile(t)
	require.Equal(t, 202, resp.Status)
	require.Equal(t, "running", resp.JSON(t)["status"])
	require.Equal(t, "run-1", resp.JSON(t)["runId"])
}

func TestShutdownDoesNotWaitForAManualReconcile(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Run = &edgetest.Reconcile{Done: make(chan struct{})} })
	f.Drain()
	require.Equal(t, 202, f.reconcile(t).Status)
}

func TestManualReconcileIsRefused(t *testing.T) {
	t.Parallel()
	manual := func(ago time.Duration) func(*testing.T, *fixture) {
		return func(t *testing.T, f *fixture) {
			f.Record(t, "r", "", contract.ReconcileReport{Trigger: contract.TriggerManual, CompletedAt: time.Now().Add(-ago)})
		}
	}
	tests := map[string]struct {
		change func(*testing.T, *fixture)
		status int
	}{
		"not when nothing ran": {func(*testing.T, *fixture) {}, 200},
		"when reconciliation is disabled": {
			func(_ *testing.T, f *fixture) { f.Config.ReconcileEnabled = false }, 503,
		},
		"while one runs":         {func(_ *testing.T, f *fixture) { f.Temporal.Run = nil }, 409},
		"while Temporal is away": {func(_ *testing.T, f *fixture) { f.Temporal.Down = true }, 503},
		"soon after a success":   {manual(20 * time.Second), 429},
		"not long after":         {manual(61 * time.Second), 200},
		"without a limit, never": {func(t *testing.T, f *fixture) { f.Config.ManualReconcileLimit = 0; manual(0)(t, f) }, 200},
		"without the registry":   {func(t *testing.T, f *fixture) { require.NoError(t, f.Registry.Close()) }, 503},
		"not after a failed one": {func(t *testing.T, f *fixture) {
			f.Record(t, "r", "failed", contract.ReconcileReport{Trigger: contract.TriggerManual, CompletedAt: time.Now()})
		}, 200},
		"not after one by itself": {func(t *testing.T, f *fixture) {
			f.Record(t, "r", "", contract.ReconcileReport{Trigger: contract.TriggerSchedule, CompletedAt: time.Now()})
		}, 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, func(f *fixture) {
				f.Temporal.Run = edgetest.Finished(contract.ReconcileReport{}, nil)
				test.change(t, f)
			})
			resp := f.reconcile(t)
			require.Equal(t, test.status, resp.Status, resp.Body)
			if test.status >= 400 {
				require.NotEmpty(t, resp.JSON(t)["error"])
				require.NotContains(t, resp.Body, "10.9.8.7")
			}
			if test.status == 429 {
				seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
				require.NoError(t, err)
				require.InDelta(t, 40, seconds, 5)
				require.InDelta(t, 40000, resp.JSON(t)["retryAfterMs"], 5000)
			}
		})
	}
}

func TestAPlanIsApprovedByName(t *testing.T) {
	t.Parallel()
	const plan = "3f9a61c2d07b45e8"
	f := setup(t, func(f *fixture) {
		f.Temporal.Run = edgetest.Finished(contract.ReconcileReport{Removed: 60}, nil)
		f.Record(t, "r", "", contract.ReconcileReport{Trigger: contract.TriggerManual, CompletedAt: time.Now()}) // an approval waits for nothing
	})
	resp := f.Ask(t, http.MethodPost, "/admin/approve", `{"plan":"`+plan+`","reason":"they have left","actor":"ann"}`)
	require.Equal(t, 200, resp.Status, resp.Body)
	require.InDelta(t, 60, resp.JSON(t)["result"].(map[string]any)["removed"], 0)
	require.Equal(t, []contract.ReconcileInput{{
		Trigger: contract.TriggerManual, Actor: "ann", ApprovedPlan: plan, Confirm: true, Origin: contract.Origin{
			Source: contract.SourceOperator, Actor: "ann", Via: contract.ViaAPI, Reason: "they have left", RequestID: resp.Header.Get("X-Request-Id"), Plan: plan,
		},
	}}, f.Temporal.Started)
	for body, want := range map[string]string{
		`plan`: "The body must be a JSON object of plan, reason and actor", `{"plan":"` + plan + `","actor":"ann"}`: "reason and actor are required",
		`{"plan":"` + plan + `","reason":"r"}`:     "reason and actor are required",
		`{"plan":"it","reason":"r","actor":"ann"}`: "plan must be the 16 hexadecimal digits that a run's report or a plan has shown",
	} {
		resp := f.Ask(t, http.MethodPost, "/admin/approve", body)
		require.Equal(t, 400, resp.Status, body)
		edgetest.RequireError(t, resp, want)
	}
	require.Len(t, f.Temporal.Started, 1)
	f.Config.ReconcileEnabled = false
	require.Equal(t, 503, f.Ask(t, http.MethodPost, "/admin/approve", `{"plan":"`+plan+`","reason":"r","actor":"ann"}`).Status)
}
