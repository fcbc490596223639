package status

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/build"
	"storekeeper/internal/dbfile"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
)

func TestHealthShowsWhatTheSystemConsistsOf(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.databases = func() Databases {
		return Databases{Usage: []dbfile.Usage{{Name: "registry", Bytes: 7, DiskFree: 8, DiskSize: 9}}}
	}
	require.NotContains(t, f.Do(t, http.MethodGet, "/health", "").JSON(t), "installation", "nobody else sees it")
	got := f.Get(t, "/health").JSON(t)["installation"].(map[string]any)
	require.Equal(t, []any{map[string]any{"name": "registry", "bytes": 7., "diskFree": 8., "diskSize": 9.}}, got["databases"])
	require.Equal(t, "a worker", got["workers"].([]any)[0].(map[string]any)["identity"])
	require.Equal(t, false, got["versionSkew"])
	require.Nil(t, got["storeManagerAheadMs"], "it is the same process")
}

func TestVersionsThatDifferAreAWarning(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) {
		f.Temporal.Polling = []orchestrator.Worker{{Identity: "old", Version: "v0.1", SeenAt: time.Now()}, {Identity: "older", SeenAt: time.Now()}}
	})
	got := f.Get(t, "/health").JSON(t)
	require.Equal(t, true, got["installation"].(map[string]any)["versionSkew"])
	require.Contains(t, got["warnings"], "versions: the processes are of "+build.Version+", v0.1: finish the upgrade, reconciliation paused until then")
}

func TestClocksThatDifferAreAWarning(t *testing.T) {
	t.Parallel()
	for ahead, warned := range map[time.Duration]bool{0: false, time.Second: false, 5 * time.Second: true, -5 * time.Second: true} {
		st := state{ahead: &ahead, overview: &storemanager.Overview{Host: &storemanager.Host{Version: build.Version}}}
		require.Equal(t, warned, len(installationWarnings(st)) == 1, ahead)
	}
}

func TestAWorkerThatCannotBeAskedForIsNull(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down, o.NoWorkers = true, true })
	require.Nil(t, f.Get(t, "/health").JSON(t)["installation"].(map[string]any)["workers"])
}
