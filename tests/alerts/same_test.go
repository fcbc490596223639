package alerts_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
)

func TestWhatSeveralProcessesKnowIsTheSameWhoeverIsScraped(t *testing.T) {
	t.Parallel()
	a := startApart(t, tokens{})
	a.startWorker()
	a.Eventually("a worker polls", func() bool { return a.Orchestrator.WorkersPolling(t.Context()) == nil })
	user := a.SignUp()
	a.Eventually("monitored", func() bool { return a.Monitored(user.Default) })
	id := user.Create()
	a.Eventually("monitored", func() bool { return a.Monitored(id) })
	user.Delete(id)
	for _, scope := range []string{"", uuid.NewString()} {
		_, err := a.Stores.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: scope, Reason: "r", Actor: "a"}})
		require.NoError(t, err)
	}
	shared := sharedNames(t)
	knownTo := func(s scrape, instance string) map[string]float64 {
		found := map[string]float64{}
		label := `instance="` + instance + `"`
		for series, value := range s.samples {
			if name, _, _ := strings.Cut(series, "{"); shared[name] && strings.Contains(series, label) {
				found[strings.Replace(series, label, "", 1)] = value
			}
		}
		return found
	}
	var edge, worker, manager map[string]float64
	a.Eventually("a run is recorded, the deletion is pending, and all agree", func() bool {
		s := a.scrape()
		edge, worker, manager = knownTo(s, "edge"), knownTo(s, "worker"), knownTo(s, "storemanager")
		return edge[`storekeeper_reconcile_recorded_runs_total{job="storekeeper",,outcome="succeeded"}`] > 0 &&
			edge[`storekeeper_store_deletions{job="storekeeper",,deletion="pending"}`] == 1 && maps.Equal(edge, worker)
	})
	require.Equal(t, edge, worker)
	require.Greater(t, len(manager), 30)
	for series, value := range manager {
		require.Contains(t, edge, series)
		require.InDelta(t, edge[series], value, 0, series)
	}
	for series := range edge {
		if _, ok := manager[series]; !ok {
			require.Regexp(t, `temporal_reachable|workers_polling|backlog_age|interval_seconds|of="(schedule|setting)"`, series, "that is Temporal's")
		}
	}
}
