package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
)

func TestHealthSaysTheVerdictFirstAndAllThatAnOperatorAsks(t *testing.T) {
	t.Parallel()
	in, c := realInstallation(t)
	in.SignUp()
	in.Settle()
	require.Equal(t, exit.Done, c.run(t, "reconcile", "--wait").exit)
	var out outcome
	in.Eventually("it is healthy, and both stores are monitored", func() bool {
		out = c.run(t, "health")
		return strings.HasPrefix(out.stdout, "healthy\n") && strings.Contains(out.stdout, "2 monitored: 2 connected; 0 deletion pending, 0 held, 1 pinned")
	})
	require.Equal(t, exit.Done, out.exit)
	for _, line := range []string{
		`(?m)^pauses +none$`, `(?m)^guard +keeps nothing back$`, `(?m)^last run +20\S+ \(\S+ ago\) succeeded: \d+ listed, \d+ added, \d+ to be removed, drift \d+$`,
		`(?m)^workers +1 of \S+`, `(?m)^versions +edge \S+, up \S+.*; all the same$`, `(?m)^clocks `, `(?m)^databases +in memory, or not known$`,
	} {
		require.Regexp(t, line, out.stdout)
	}
	require.LessOrEqual(t, strings.Count(out.stdout, "\n"), 24, "one screen: %s", out.stdout)

	// A warning changes no exit code. Pauses are all shown, whoever made them.
	require.NoError(t, in.Temporal.ScheduleClient().GetHandle(t.Context(), contract.ReconcileScheduleID).Pause(t.Context(), client.SchedulePauseOptions{Note: "the web ui's"}))
	require.Equal(t, exit.Done, c.run(t, "pause", "--reason", "moving", "--for", "2h").exit)
	out = c.run(t, "health")
	require.Equal(t, exit.Done, out.exit, out.stdout)
	require.Regexp(t, `^healthy, \d warnings\n`, out.stdout)
	require.Regexp(t, `reconciliation: all stores are paused until .*, by ann: moving\n +do: starter pause shows all; starter resume --reason R ends it \(docs/runbooks/StorekeeperForgottenPause.md\)`, out.stdout)
	require.Regexp(t, `(?m)^all stores +schedule +- +the web ui's `, out.stdout)
	require.Regexp(t, `(?m)^all stores +pause +ann +moving +20.* +20\S+ \(in `, out.stdout)

	// JSON is the edge's own. Without a token it is what everybody sees, and a wrong token is refused.
	require.Contains(t, c.done(t, "health"), "installation")
	nobody := &operator{append([]string{"STOREKEEPER_URL=" + in.EdgeURL}, c.environ[3])}
	out = nobody.run(t, "health")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.NotContains(t, out.stdout, "ann")
	require.Contains(t, out.stdout, "a token shows by whom and why")
	wrong := &operator{append([]string{"STOREKEEPER_URL=" + in.EdgeURL, "SERVER_BYPASS_TOKEN=wrong"}, c.environ[3])}
	out = wrong.run(t, "health")
	require.Equal(t, exit.Refused, out.exit, out.stdout)
	require.Contains(t, out.stderr, "refused the token")
}

func TestHealthSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	t.Parallel()
	url := edgeOver(t, lostRegistry(t, zap.NewNop()))
	c := setup(t, "STOREKEEPER_URL="+url)
	out := c.run(t, "health")
	require.Equal(t, exit.Wrong, out.exit, out.stdout)
	require.True(t, strings.HasPrefix(out.stdout, "NOT healthy: "), out.stdout)
	require.Regexp(t, `registry: it was lost, found at .*\n +do: put the holds back, then: starter acknowledge --reason R \(docs/runbooks/StorekeeperRegistryLost.md\)`, out.stdout)
	require.Equal(t, "unhealthy", c.ends(t, exit.Wrong, "health")["status"])

	require.Equal(t, exit.Unreachable, setup(t, "STOREKEEPER_URL=http://"+closedPort(t)).run(t, "health").exit)
	for name, answer := range map[string]string{"another server": `{"status":"ok"}`, "a page": "<html>"} {
		other := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
		require.Equal(t, exit.Unreachable, c.run(t, "health", "--url", other).exit, name)
	}
}

func TestHealthNamesTheGuardAndTheCommandThatApproves(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"status":"unhealthy","version":"1","reasons":["workers: no worker \u001b[2J polls"],
			"warnings":["reconciliation: the guard holds back removals since 2026-01-02T03:04:05Z, 60 of 100 stores","versions: the processes are of 1, 2: finish the upgrade"],
			"installation":{"workers":[{"identity":"a","version":"1"},{"identity":"b","version":"2"}],"versionSkew":true,"storeManagerAheadMs":3000,"databases":[{"name":"stores.db","bytes":12582912,"diskFree":1073741824,"diskSize":10737418240},{"name":"temporal.db","bytes":1}]}}`)
	})
	out := setup(t, "STOREKEEPER_URL="+url).run(t, "health")
	require.Equal(t, exit.Wrong, out.exit)
	require.Regexp(t, `^NOT healthy: 1 reason, 2 warnings\n`, out.stdout)
	require.Regexp(t, `(?m)^guard +holds back removals since 2026-01-02T03:04:05Z, 60 of 100 stores\n +look, and approve: starter reconcile --plan$`, out.stdout)
	require.Regexp(t, `(?m)^workers +1 of 1, 1 of 2$`, out.stdout)
	require.Contains(t, out.stdout, "NOT all the same")
	require.Regexp(t, `(?m)^databases +stores.db 12.0 MiB, 1.0 of 10.0 GiB free\n +temporal.db `, out.stdout)
	require.Contains(t, out.stdout, "the store manager's is 3s ahead")
	require.NotContains(t, out.stdout, "\x1b", "what others wrote must not steer the terminal")
}

func TestAWatchOfHealthTellsEachChange(t *testing.T) {
	t.Parallel()
	lost := lostRegistry(t, zap.NewNop())
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, lost))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var shown bytes.Buffer
	var once sync.Once
	code := Run(ctx, Options{Args: []string{"health", "--watch", "--json"}, Environ: c.environ, Stderr: io.Discard, Stdout: writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		shown.Write(p)
		once.Do(func() {
			go func() {
				_ = Run(context.WithoutCancel(ctx), Options{Args: []string{"acknowledge", "--reason", "known"}, Environ: c.environ, Stdout: io.Discard, Stderr: io.Discard})
			}()
		})
		if strings.Contains(shown.String(), `"gone":true`) {
			cancel()
		}
		return len(p), nil
	})})
	require.Zero(t, code)
	for line := range strings.Lines(shown.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}
	require.Contains(t, shown.String(), "registry: it was lost")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
