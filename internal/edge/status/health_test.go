package status

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func TestHealthSaysWhyThePromiseCantBeKept(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change  func(*testing.T, *fixture)
		reasons []any
		ready   bool
	}{
		"all is well": {func(*testing.T, *fixture) {}, []any{}, true},
		"Temporal is away": {
			func(_ *testing.T, f *fixture) { f.Temporal.Down = true },
			[]any{"temporal: Temporal can't be reached", "workers: unknown, Temporal can't be reached"},
			false,
		},
		"no worker polls": {
			func(_ *testing.T, f *fixture) { f.Temporal.NoWorkers = true },
			[]any{"workers: no worker polls the task queue"},
			false,
		},
		"the store manager is away": {
			func(t *testing.T, f *fixture) { require.NoError(t, f.Registry.Close()) },
			[]any{"storeManager: the store manager can't be reached", "registry: unknown, the store manager can't be asked", "connections: unknown, the store manager can't be asked", "reconciliation: unknown, the store manager can't be asked"},
			false,
		},
		"the Auth Worker is away": {
			func(_ *testing.T, f *fixture) { f.Auth.Err = edgetest.ErrDown },
			[]any{"authWorker: the Auth Worker can't be reached"},
			true,
		},
		"the Auth Worker refuses the token": {
			func(_ *testing.T, f *fixture) { f.Auth.Err = &authclient.StatusError{Code: 403} },
			[]any{"authWorker: the Auth Worker refused the token"},
			true,
		},
		"the Auth Worker is broken": {
			func(_ *testing.T, f *fixture) { f.Auth.Err = &authclient.StatusError{Code: 500} },
			[]any{"authWorker: the Auth Worker answers with an error"},
			true,
		},
		"the Auth Worker's list is damaged": {
			func(_ *testing.T, f *fixture) { f.Auth.Err = fmt.Errorf("%w: 10.9.8.7", authclient.ErrDamaged) },
			[]any{"authWorker: the Auth Worker's list is damaged"},
			true,
		},
		"the Auth Worker's list comes out of a cache": {
			func(_ *testing.T, f *fixture) { f.Auth.Err = authclient.ErrCached },
			[]any{"authWorker: the Auth Worker's list comes out of a cache"},
			true,
		},
		"the Auth Worker hangs": {
			func(_ *testing.T, f *fixture) { f.Auth.Err = fmt.Errorf("asking: %w", authclient.ErrTimeout) },
			[]any{"authWorker: the Auth Worker takes too long"},
			true,
		},
		"nobody has asked the Auth Worker yet": {func(_ *testing.T, f *fixture) { f.Auth.Is = &authclient.Status{} }, []any{}, true},
		"no run since the start": {
			func(_ *testing.T, f *fixture) { f.Config.ReconcileInterval = 1 },
			[]any{"reconciliation: no successful run for two intervals"},
			true,
		},
		"the last success is two intervals ago": {
			func(t *testing.T, f *fixture) {
				f.Record(t, "r1", "", contract.ReconcileReport{CompletedAt: time.Now().Add(-2*time.Hour - time.Minute)})
				f.Record(t, "r2", "failed", contract.ReconcileReport{CompletedAt: time.Now()})
			},
			[]any{"reconciliation: no successful run for two intervals"},
			true,
		},
		"the schedule is paused for two intervals": {
			func(_ *testing.T, f *fixture) { f.Config.ReconcileInterval, f.Temporal.Paused = 1, true },
			[]any{"reconciliation: no successful run for two intervals, the schedule is paused"},
			true,
		},
		"the schedule has just been paused": {func(_ *testing.T, f *fixture) { f.Temporal.Paused = true }, []any{}, true},
		"reconciliation is disabled": {
			func(_ *testing.T, f *fixture) { f.Config.ReconcileInterval, f.Config.ReconcileEnabled = 1, false },
			[]any{},
			true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, func(f *fixture) { test.change(t, f) })
			resp := f.Do(t, http.MethodGet, "/health", "")
			got := resp.JSON(t)
			require.Equal(t, test.reasons, got["reasons"], resp.Body)
			if len(test.reasons) == 0 {
				require.Equal(t, 200, resp.Status)
				require.Equal(t, "healthy", got["status"])
			} else {
				require.Equal(t, 503, resp.Status)
				require.Equal(t, "unhealthy", got["status"])
			}
			require.NotContains(t, resp.Body, "10.9.8.7", "the text of an inner error is not for everybody")

			ready := f.Do(t, http.MethodGet, "/readyz", "")
			if test.ready {
				require.Equal(t, 200, ready.Status, ready.Body)
			} else {
				require.Equal(t, 503, ready.Status, ready.Body)
			}
		})
	}
}

func TestHealthShowsRealValues(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Paused = true })
	f.Ensure(t, storeA, "another-store")
	f.Record(t, "r1", "", contract.ReconcileReport{
		Trigger: contract.TriggerSchedule, CompletedAt: time.Now().Add(-time.Minute), DriftCount: 7, Added: 3,
		Quarantined: []string{"quarantined id"}, Guard: "7 removals are too many",
	})
	f.Record(t, "r2", "no answer for "+storeA, contract.ReconcileReport{CompletedAt: time.Now()})

	resp := f.Do(t, http.MethodGet, "/health", "")
	require.Equal(t, 200, resp.Status, resp.Body)
	require.NotContains(t, resp.Body, storeA, "no ids without a token")
	require.NotContains(t, resp.Body, "quarantined id", "no ids without a token")
	got := resp.JSON(t)
	require.Equal(t, []any{"reconciliation: the schedule is paused", "reconciliation: the guard holds back removals, 7 removals are too many"},
		got["warnings"])
	orchestration := got["orchestrator"].(map[string]any)
	require.InDelta(t, 2, orchestration["monitoredCount"], 0)
	require.InDelta(t, 2, orchestration["totalProvisioned"], 0)
	require.NotNil(t, orchestration["lastProvisionedAt"])
	require.Nil(t, orchestration["lastDeprovisionedAt"])
	require.NotContains(t, orchestration, "monitoredStoreIds")
	require.NotContains(t, orchestration, "stores")
	rec := got["reconciliation"].(map[string]any)
	require.Equal(t, true, rec["enabled"])
	require.Equal(t, true, rec["isRunning"])
	require.Equal(t, map[string]any{"runs": 2.0, "successes": 1.0, "failures": 1.0}, rec["totals"])
	require.InDelta(t, 1000, rec["lastDurationMs"], 0)
	require.InDelta(t, 7, rec["lastResult"].(map[string]any)["driftCount"], 0)
	require.Equal(t, messageWithheld, rec["lastError"].(map[string]any)["message"])
	require.InDelta(t, 60000, got["manualReconcile"].(map[string]any)["minIntervalMs"], 0)

	got = f.Get(t, "/health").JSON(t)
	orchestration = got["orchestrator"].(map[string]any)
	require.Equal(t, []any{storeA, "another-store"}, orchestration["monitoredStoreIds"])
	require.Len(t, orchestration["stores"], 2)
	require.Equal(t, false, orchestration["truncated"])
	rec = got["reconciliation"].(map[string]any)
	require.Equal(t, "no answer for "+storeA, rec["lastError"].(map[string]any)["message"])
	require.Equal(t, []any{"quarantined id"}, rec["lastResult"].(map[string]any)["quarantined"])
	require.Equal(t, "paused by "+storeA, rec["pauseNote"])
}

func TestHealthPretendsNothing(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Down = true })
	require.NoError(t, f.Registry.Close())
	got := f.Get(t, "/health").JSON(t)
	require.Nil(t, got["orchestrator"])
	rec := got["reconciliation"].(map[string]any)
	for _, unknown := range []string{"isRunning", "paused", "totals", "lastSuccessAt", "lastResult", "lastError"} {
		require.Contains(t, rec, unknown)
		require.Nil(t, rec[unknown], unknown)
	}
}

func TestHealthWithReconciliationDisabledSaysWhy(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Config.ReconcileEnabled = false })
	rec := f.Do(t, http.MethodGet, "/health", "").JSON(t)["reconciliation"].(map[string]any)
	require.Equal(t, false, rec["enabled"])
	require.Equal(t, "WORKSPACE_RECONCILE_ENABLED is false", rec["reason"])
}

func TestHealthWarnsOfWhatTheLastRunCouldNotRepair(t *testing.T) {
	t.Parallel()
	f := setup(t)
	report := contract.ReconcileReport{CompletedAt: time.Now(), FailedAdds: 30, FailedRemovals: 2}
	for i := range 20 {
		report.Failing = append(report.Failing, contract.FailingStore{StoreID: fmt.Sprintf("failing-%02d", i), Error: "refused"})
	}
	f.Record(t, "r1", "", report)
	resp := f.Do(t, http.MethodGet, "/health", "")
	require.Equal(t, 200, resp.Status, "the system keeps its promise to all others")
	require.Equal(t, []any{
		"reconciliation: 30 stores could not be added", "reconciliation: 2 stores could not be handed over for removal",
	}, resp.JSON(t)["warnings"])
	require.NotContains(t, resp.Body, "failing-", "no ids without a token")
	require.Equal(t, "reconciliation: 30 stores could not be added, among them failing-00, failing-01, failing-02, failing-03, failing-04",
		f.Get(t, "/health").JSON(t)["warnings"].([]any)[0])

	f.Record(t, "r2", "", contract.ReconcileReport{CompletedAt: time.Now()})
	require.Empty(t, f.Get(t, "/health").JSON(t)["warnings"], "the next run has repaired it")
}

func TestHealthNamesAtMostAThousandStores(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ids := make([]string, shownStores+1)
	for i := range ids {
		ids[i] = fmt.Sprintf("store-%04d", i)
	}
	f.Ensure(t, ids...)
	orchestration := f.Get(t, "/health").JSON(t)["orchestrator"].(map[string]any)
	require.Len(t, orchestration["monitoredStoreIds"], shownStores)
	require.Equal(t, true, orchestration["truncated"])
}

func TestHealthWithAWrongTokenIsHealthWithoutOne(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Auth.Err = errors.New("away") })
	f.Ensure(t, storeA)
	resp := f.Do(t, http.MethodGet, "/health", "", "Authorization", "Bearer wrong")
	require.Equal(t, 503, resp.Status)
	require.NotContains(t, resp.Body, storeA)
}

func TestATrippedGuardShowsUntilItIsReleasedWhateverLaterRunsReport(t *testing.T) {
	t.Parallel()
	f := setup(t)
	record := func(id string, approved *time.Time, report string) string {
		require.NoError(t, f.Registry.RecordReconcile(t.Context(), storemanager.ReconcileRun{
			RunID: id, StartedAt: time.Now(), CompletedAt: time.Now(), Report: []byte(report), ApprovedListAt: approved,
		}))
		return f.Do(t, http.MethodGet, "/health", "", "Authorization", "Bearer "+token).Body
	}
	require.NoError(t, f.Registry.MarkUnlisted(t.Context(), storemanager.ListMarks{
		ListAt: time.Now(), Guard: storemanager.GuardKeepsBack, GuardReason: "too many are lacking",
	}))
	held := "the guard holds back removals since"
	require.Contains(t, record("r1", nil, `{"guard":"too many are lacking","guardVerdict":"held"}`), held)
	require.Contains(t, record("r2", nil, `{}`), "too many are lacking", "the run that an edge asks for at its start confirms nothing")
	body := record("r3", nil, `{"guard":"the list is empty"}`)
	require.Contains(t, body, held)
	require.Contains(t, body, "the guard holds back removals, the list is empty", "one does not hide the other")
	require.NotContains(t, record("r4", new(time.Now()), `{}`), "the guard holds back")
}

func TestHealthWarnsOfPendingDeletionsThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64 // of the registry's clock
	registry, err := storetest.TryOpen(t.Context(), storetest.Settings{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	f := setup(t, func(f *fixture) { f.Registry = registry })
	f.Ensure(t, storeA)
	begun, err := registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: storeA, At: time.Now(), DeleteAt: time.Now().Add(time.Hour), Owner: "run",
	})
	require.NoError(t, err)
	require.Equal(t, storemanager.DeletionScheduled, begun.Outcome)
	require.Empty(t, f.Get(t, "/health").JSON(t)["warnings"], "its lifecycle may only not be seen yet")

	ahead.Store(int64(time.Minute))
	require.Contains(t, fmt.Sprint(f.Get(t, "/health").JSON(t)["warnings"]), "deletions: 1 of 1 that are pending have no lifecycle that waits for them")
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Attended = 1 })
	require.Empty(t, f.Get(t, "/health").JSON(t)["warnings"])
}

func TestHealthWarnsOfIDsThatDifferInCaseAlone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Record(t, "r1", "", contract.ReconcileReport{CompletedAt: time.Now(), SetAsideCount: 7, SetAside: []string{"STORE-A"}})
	const warning = "reconciliation: 7 listed ids differ from a monitored store's in case alone, and are left alone"
	require.Equal(t, []any{warning}, f.Do(t, http.MethodGet, "/health", "").JSON(t)["warnings"], "no ids without a token")
	require.Equal(t, []any{warning + ", among them STORE-A"}, f.Get(t, "/health").JSON(t)["warnings"])
}

func TestOverdueDeletionsAreAWarningThatSaysWhatMayBeWrong(t *testing.T) {
	t.Parallel()
	require.Empty(t, storeWarnings(storemanager.Overview{DeletionPending: 3}, new(3)))
	require.Equal(t, []string{
		"deletions: 2 are overdue for more than five minutes: the Auth Worker or the store manager does not answer, or the lists take longer than 45s",
	}, storeWarnings(storemanager.Overview{DeletionPending: 3, DeletionOverdue: 2}, new(3)))
}
