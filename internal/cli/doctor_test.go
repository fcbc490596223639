package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/internal/build"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/temporalserver"
)

// examined runs doctor, which must find something wrong, and returns the findings from here, by their checks.
func (c *operator) examined(t *testing.T) map[string]storemanager.Finding {
	t.Helper()
	out := c.run(t, "doctor", "--json")
	require.Equal(t, exit.Wrong, out.exit, "%s%s", out.stdout, out.stderr)
	var d diagnosis
	require.NoError(t, json.Unmarshal([]byte(out.stdout), &d))
	found := map[string]storemanager.Finding{}
	for _, f := range d.Findings {
		if f.Place == here {
			found[f.Check] = f
		}
	}
	return found
}

func requireFinding(t *testing.T, f storemanager.Finding, detail, todo string) {
	t.Helper()
	require.Equal(t, storemanager.FindingFailed, f.Status, f)
	require.Contains(t, f.Detail, detail)
	require.Contains(t, f.Todo, todo)
}

func TestDoctorFindsNothingWrongWithARealInstallationAndChangesNothing(t *testing.T) {
	t.Parallel()
	in, c := realInstallation(t)
	in.Eventually("the pinned store is connected", func() bool { return len(c.listed(t, "connected")) == 1 })
	before := c.listed(t, "")
	out := c.run(t, "doctor")
	require.Equal(t, exit.Done, out.exit, "%s%s", out.stdout, out.stderr)
	for _, check := range []string{
		"here           settings", "here           names", "here           temporal ", "here           namespace", "here           search attributes",
		"here           schedule", "here           workers", "here           temporal clock", "here           edge ",
		"edge           temporal", "edge           workers", "edge           auth worker list", "edge           auth worker clock", "edge           open files",
		"edge           store manager", "store manager  registry", "store manager  files", "store manager  sync backend", "store manager  sink",
	} {
		require.Contains(t, out.stdout, "ok        "+check)
	}
	require.Equal(t, before, c.listed(t, ""))
	require.Equal(t, "ok", c.done(t, "doctor")["status"])
}

func TestDoctorSaysWhatToDoAboutEachFaultThatItSees(t *testing.T) {
	t.Parallel()
	address := installed(t).address
	wrongClock := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(storemanager.Examination{Time: time.Now().Add(time.Hour), Version: build.Version})
	})
	older := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":"Not found"}`, http.StatusNotFound)
	})
	another := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(storemanager.Examination{Time: time.Now(), Version: "v0"})
	})
	refusing := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":"Unauthorized"}`, http.StatusUnauthorized)
	})
	for name, tc := range map[string]struct {
		environ             []string
		check, detail, todo string
	}{
		"a setting is odd":           {[]string{"PORT=abc"}, "settings", "PORT", "correct the environment"},
		"a setting is in quotes":     {[]string{`SENTRY_DSN="x"`}, "settings", "quot", "correct the environment"},
		"a name is not known":        {[]string{"STOREKEEPER_URL=http://edge.invalid"}, "names", "edge.invalid", "DNS"},
		"Temporal is away":           {[]string{"TEMPORAL_ADDRESS=" + closedPort(t)}, "temporal", "can't be reached", "check that it runs"},
		"the namespace is not there": {[]string{"TEMPORAL_NAMESPACE=nowhere"}, "namespace", `no namespace "nowhere"`, "TEMPORAL_NAMESPACE"},
		"nothing reconciles":         {nil, "schedule", "there is none", "start cmd/worker"},
		"the edge is away":           {[]string{"STOREKEEPER_URL=http://" + closedPort(t)}, "edge", "can't be reached", "nothing listens there"},
		"the edge refuses the token": {[]string{"STOREKEEPER_URL=" + refusing}, "edge", "refused the token", "SERVER_BYPASS_TOKEN"},
		"the edge's clock is wrong":  {[]string{"STOREKEEPER_URL=" + wrongClock}, "edge", "ahead of this one", "keep time"},
		"the edge is of another day": {[]string{"STOREKEEPER_URL=" + another}, "edge", "its version is v0", "the starter of the installation's version"},
		"the edge is older":          {[]string{"STOREKEEPER_URL=" + older}, "edge", "older than this starter", "upgrade it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, append([]string{"TEMPORAL_ADDRESS=" + address, "STOREKEEPER_URL=http://127.0.0.1:1"}, tc.environ...)...)
			for _, pair := range tc.environ { // the last of a name counts
				c.environ = append([]string{pair}, c.environ...)
			}
			requireFinding(t, c.examined(t)[tc.check], tc.detail, tc.todo)
		})
	}
	tokenless := &operator{[]string{"TEMPORAL_ADDRESS=" + address, "STOREKEEPER_URL=" + older}}
	requireFinding(t, tokenless.examined(t)["settings"], "SERVER_BYPASS_TOKEN is not set", "set it")
}

func TestDoctorFindsWhatANewTemporalLacks(t *testing.T) {
	t.Parallel()
	server, err := temporalserver.Start(t.Context(), temporalserver.Options{Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	c := setup(t, "TEMPORAL_ADDRESS="+server.Addr(), "STOREKEEPER_URL=http://127.0.0.1:1")
	found := c.examined(t)
	requireFinding(t, found["search attributes"], "DeleteAt, WorkspaceState", "temporal operator search-attribute create")
	requireFinding(t, found["workers"], "no worker works for it", "start cmd/worker")
	require.Equal(t, storemanager.FindingUnknown, found["temporal clock"].Status)

	sdk, err := client.Dial(client.Options{HostPort: server.Addr()})
	require.NoError(t, err)
	t.Cleanup(sdk.Close)
	require.NoError(t, orchestrator.New(sdk, client.DefaultNamespace).EnsureSchedule(t.Context(), time.Hour, true))
	handle := sdk.ScheduleClient().GetHandle(t.Context(), "workspace-reconcile")
	require.NoError(t, handle.Pause(t.Context(), client.SchedulePauseOptions{Note: "by bob"}))
	requireFinding(t, c.examined(t)["schedule"], "it is paused: by bob", "--unpause")
	text := c.run(t, "doctor")
	require.Regexp(t, `(?m)^failed +here +schedule +it is paused: by bob\n +do: temporal schedule toggle`, text.stdout)
	require.Contains(t, text.stderr, fmt.Sprintf("of %d checks failed", 9))
}
