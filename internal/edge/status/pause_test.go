package status

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/storemanager"
)

// condition is that of storeA.
func (f *fixture) condition(t *testing.T, kind api.ConditionType) map[string]any {
	t.Helper()
	for _, c := range f.Get(t, "/stores/"+storeA).JSON(t)["conditions"].([]any) {
		if c := c.(map[string]any); c["type"] == string(kind) {
			return c
		}
	}
	require.Fail(t, "no such condition", kind)
	return nil
}

func TestReconciliationIsPausedAndResumed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ path, scope, reason string }{
		"of one store":   {"/stores/" + storeA + "/pause", storeA, "StorePaused"},
		"of all of them": {"/admin/pause", "", "AllPaused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.Ensure(t, storeA)
			require.Equal(t, false, f.condition(t, api.ConditionPaused)["status"])

			until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
			resp := f.Ask(t, http.MethodPut, tt.path, fmt.Sprintf(`{"reason":" audit ","actor":"ann","expiresAt":%q}`, until.Format(time.RFC3339)))
			require.Equal(t, 200, resp.Status, resp.Body)
			require.Equal(t, "audit", resp.JSON(t)["reason"])
			pauses, err := f.Registry.Pauses(t.Context())
			require.NoError(t, err)
			require.Len(t, pauses, 1)
			require.Equal(t, storemanager.Pause{
				StoreID: tt.scope, Reason: "audit", Actor: "ann", Since: pauses[0].Since, ExpiresAt: &until,
			}, pauses[0])
			paused := f.condition(t, api.ConditionPaused)
			require.Equal(t, true, paused["status"])
			require.Equal(t, tt.reason, paused["reason"])
			require.Equal(t, until.Format(time.RFC3339), paused["nextAttempt"])

			for _, ended := range []int{1, 0} { // the second time there is none
				resp := f.Ask(t, http.MethodDelete, tt.path, "")
				require.Equal(t, 200, resp.Status, resp.Body)
				require.Len(t, resp.JSON(t)["ended"], ended)
				require.Empty(t, resp.JSON(t)["remaining"])
			}
			require.Equal(t, false, f.condition(t, api.ConditionPaused)["status"])
		})
	}
}

func TestAPauseThatIsNotRightIsRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for name, tt := range map[string]struct {
		path, body string
		status     int
	}{
		"no JSON":                   {"/admin/pause", `reason`, 400},
		"two values":                {"/admin/pause", `{"reason":"r","actor":"a"} {}`, 400},
		"a misspelt expiry":         {"/admin/pause", `{"reason":"r","actor":"a","expires":"2126-01-02T03:04:05Z"}`, 400},
		"an expiry that is no time": {"/admin/pause", `{"reason":"r","actor":"a","expiresAt":"tomorrow"}`, 400},
		"an expiry in the past":     {"/admin/pause", `{"reason":"r","actor":"a","expiresAt":"2020-01-02T03:04:05Z"}`, 400},
		"no reason":                 {"/admin/pause", `{"reason":" ","actor":"a"}`, 400},
		"no actor":                  {"/admin/pause", `{"reason":"r"}`, 400},
		"no id of a store":          {"/stores/ab/pause", `{"reason":"r","actor":"a"}`, 400},
		"an endless body":           {"/admin/pause", strings.Repeat(" ", problem.MaxBody+1), 413},
	} {
		resp := f.Ask(t, http.MethodPut, tt.path, tt.body)
		require.Equal(t, tt.status, resp.Status, "%s: %s", name, resp.Body)
		require.NotEmpty(t, resp.JSON(t)["error"], name)
	}
	pauses, err := f.Registry.Pauses(t.Context())
	require.NoError(t, err)
	require.Empty(t, pauses)
	require.Equal(t, 400, f.Ask(t, http.MethodDelete, "/stores/ab/pause", "").Status)
	require.Equal(t, 405, f.Ask(t, http.MethodPost, "/admin/pause", "").Status)

	require.NoError(t, f.Registry.Close())
	require.Equal(t, 503, f.Ask(t, http.MethodPut, "/admin/pause", `{"reason":"r","actor":"a"}`).Status)
	require.Equal(t, 503, f.Ask(t, http.MethodDelete, "/admin/pause", "").Status)
}

func TestHealthWarnsOfPauses(t *testing.T) {
	t.Parallel()
	f := setup(t)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, p := range []storemanager.Pause{
		{Reason: "the list is rebuilt", Actor: "ann", ExpiresAt: &until}, {StoreID: storeA, Reason: "audit", Actor: "bob"},
	} {
		_, err := f.Registry.Pause(t.Context(), storemanager.PauseRequest{Pause: p})
		require.NoError(t, err)
	}
	f.Record(t, "r1", "", contract.ReconcileReport{
		CompletedAt: time.Now(), Paused: "ann: the list is rebuilt", Failing: []contract.FailingStore{{StoreID: storeA}},
	})
	when := until.Format(time.RFC3339)

	resp := f.Do(t, http.MethodGet, "/health", "")
	require.Equal(t, 200, resp.Status, resp.Body)
	require.Equal(t, []any{
		"reconciliation: all stores are paused until " + when, "reconciliation: paused stores: 1",
	}, resp.JSON(t)["warnings"])
	for _, withheld := range []string{storeA, "ann", "bob", "rebuilt", "audit"} {
		require.NotContains(t, resp.Body, withheld)
	}
	rec := resp.JSON(t)["reconciliation"].(map[string]any)
	require.Equal(t, true, rec["paused"])
	require.Equal(t, when, rec["pauses"].(map[string]any)["all"].(map[string]any)["expiresAt"])
	require.InDelta(t, 1, rec["pauses"].(map[string]any)["storeCount"], 0)

	resp = f.Get(t, "/health")
	require.Equal(t, []any{
		"reconciliation: all stores are paused until " + when + ", by ann: the list is rebuilt",
		"reconciliation: store " + storeA + " is paused until resumed, by bob: audit",
	}, resp.JSON(t)["warnings"])
	pauses := resp.JSON(t)["reconciliation"].(map[string]any)["pauses"].(map[string]any)
	require.Equal(t, "ann", pauses["all"].(map[string]any)["actor"])
	require.Equal(t, storeA, pauses["stores"].([]any)[0].(map[string]any)["storeId"])
}

func TestTheKeptRunsAreShown(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.JSONEq(t, `{"runs":[]}`, f.Get(t, "/admin/reconcile/runs").Body)
	f.Record(t, "r1", "", contract.ReconcileReport{CompletedAt: time.Now().Add(-time.Minute), Added: 3})
	f.Record(t, "r2", "the list is damaged", contract.ReconcileReport{CompletedAt: time.Now()})
	runs := f.Get(t, "/admin/reconcile/runs").JSON(t)["runs"].([]any)
	require.Len(t, runs, 2)
	require.Equal(t, "r2", runs[0].(map[string]any)["runId"])
	require.Equal(t, "the list is damaged", runs[0].(map[string]any)["error"])
	require.InDelta(t, 3, runs[1].(map[string]any)["report"].(map[string]any)["added"], 0)
	require.NoError(t, f.Registry.Close())
	require.Equal(t, 503, f.Get(t, "/admin/reconcile/runs").Status)
}

func TestAStoreIsShownWithItsNewestEvents(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Ensure(t, storeA)
	_, err := f.Registry.Hold(t.Context(), storeA, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "customer asked", Actor: "ops"}})
	require.NoError(t, err)
	events := f.Get(t, "/stores/"+storeA).JSON(t)["events"].([]any)
	require.Len(t, events, 2)
	require.Equal(t, "hold", events[0].(map[string]any)["kind"])
	require.Equal(t, "ensure", events[1].(map[string]any)["kind"])
	require.Equal(t, "created", events[1].(map[string]any)["outcome"])
	require.NotEmpty(t, events[1].(map[string]any)["at"])
}

func TestAPauseThatIsOverAlreadyIsRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	resp := f.Do(t, http.MethodPut, "/admin/pause", `{"reason":"r","actor":"a","expiresAt":"2020-01-01T00:00:00Z"}`, "Authorization", "Bearer "+token)
	edgetest.RequireProblem(t, resp, 400, "invalid", "expiresAt is over already")
}
