package edge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/build"
	"storekeeper/internal/config"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/storemanager"
)

// examined are the findings of an edge, by their checks.
func examined(t *testing.T, with ...func(*fixture)) map[string]storemanager.Finding {
	t.Helper()
	f := setup(t, with...)
	require.Equal(t, 401, f.Do(t, http.MethodGet, "/admin/doctor", "").Status)
	resp := f.Get(t, "/admin/doctor")
	require.Equal(t, 200, resp.Status, resp.Body)
	var e storemanager.Examination
	require.NoError(t, json.Unmarshal([]byte(resp.Body), &e))
	require.WithinDuration(t, time.Now(), e.Time, time.Minute)
	found := map[string]storemanager.Finding{}
	for _, one := range e.Findings {
		found[one.Check] = one
	}
	return found
}

func requireFinding(t *testing.T, f storemanager.Finding, detail, todo string) {
	t.Helper()
	require.Equal(t, storemanager.FindingFailed, f.Status, f)
	require.Contains(t, f.Detail, detail)
	require.Contains(t, f.Todo, todo)
}

// examination has the store manager answer e, at a moment that much away from now.
func examination(away time.Duration, e storemanager.Examination, err error) func(*fixture) {
	return func(f *fixture) {
		f.examine = func(context.Context) (storemanager.Examination, error) {
			if e.Version != "" {
				e.Time = time.Now().Add(away)
			}
			return e, err
		}
	}
}

func TestAnEdgeWithoutFaultFindsNoneAndPassesOnWhatTheStoreManagerFinds(t *testing.T) {
	t.Parallel()
	auth := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(auth.Close)
	theirs := storemanager.Finding{Place: "store manager", Check: "sink", Status: storemanager.FindingFailed, Todo: "look"}
	found := examined(t, func(f *fixture) {
		f.Config.AuthWorkerURL = config.URL(auth.URL)
		f.Directory = &edgetest.Directory{List: `{"workspaces":[]}`}
	}, examination(0, storemanager.Examination{Version: build.Version, Findings: []storemanager.Finding{theirs}}, nil))
	require.Equal(t, theirs, found["sink"])
	delete(found, "sink")
	require.Len(t, found, 6)
	for _, f := range found {
		require.Equal(t, storemanager.FindingOK, f.Status, f)
		require.Equal(t, "edge", f.Place)
	}
}

func TestEachFaultThatAnEdgeSeesIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	}))
	t.Cleanup(auth.Close)
	for name, tc := range map[string]struct {
		with                func(*fixture)
		check, detail, todo string
	}{
		"Temporal is away": {func(f *fixture) { f.Temporal.Down = true }, "temporal", "can't be reached", "TEMPORAL_ADDRESS"},
		"no worker polls":  {func(f *fixture) { f.Temporal.NoWorkers = true }, "workers", "no worker polls", "start cmd/worker"},
		"the token is refused": {
			func(f *fixture) { f.Directory = &edgetest.Directory{Err: authclient.ErrUnauthorized} },
			"auth worker list", "the Auth Worker refused the token", "SERVER_BYPASS_TOKEN must be the Auth Worker's",
		},
		"the list is damaged": {
			func(f *fixture) { f.Directory = &edgetest.Directory{List: `<html>`} }, "auth worker list", "damaged", "AUTH_WORKER_INTERNAL_URL",
		},
		"the runs of the workers fail": {
			func(f *fixture) {
				f.Record(t, "run-1", "the auth worker took too long", contract.ReconcileReport{CompletedAt: time.Now()})
			},
			"auth worker list", "the newest run failed: the auth worker took too long", "AUTH_WORKER_INTERNAL_URL of cmd/worker",
		},
		"the Auth Worker's clock is wrong": {
			func(f *fixture) { f.Config.AuthWorkerURL = config.URL(auth.URL) }, "auth worker clock", "ahead of this one", "keep time",
		},
		"too few files may be open": {func(f *fixture) { f.tests.maxConnections = 1 << 60 }, "open files", "are needed", "LimitNOFILE="},
		"the store manager is away": {
			examination(0, storemanager.Examination{}, errors.New("refused")), "store manager", "can't be reached", "STORE_MANAGER_URL",
		},
		"its clock is wrong": {
			examination(-time.Hour, storemanager.Examination{Version: build.Version}, nil), "store manager", "behind", "keep time",
		},
		"its version is another": {
			examination(0, storemanager.Examination{Version: "v0"}, nil), "store manager", "its version is v0", "upgrade",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireFinding(t, examined(t, tc.with)[tc.check], tc.detail, tc.todo)
		})
	}
	older := examined(t, examination(0, storemanager.Examination{}, nil))["store manager"]
	require.Equal(t, storemanager.FindingUnknown, older.Status)
	require.Equal(t, "upgrade it", older.Todo)
}
