package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
	"storekeeper/internal/cli"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/removals"
	"storekeeper/tests/harness"
)

// shift is an installation of processes, whose secrets are in files, and alice, who is on call. She has the CLI, HTTP, and a token of her own.
type shift struct {
	*rotation
	*harness.Installation
	settings []string
	client   client.Client
	// done are her actions, as the audit trail should have them: kind and reason.
	done []string
}

func startShift(t *testing.T) *shift {
	t.Helper()
	s := &shift{rotation: newRotation(t, replace, false)}
	s.settings = append(s.startOthers(), "RECONCILE_MODE=full", "DELETION_GRACE_PERIOD=20s", "AUTH_LIST_MAX_AGE=1s")
	for who := range ours {
		s.startProcess(who, s.settings)
	}
	s.auth.SetWebhookURL(s.edgeURL + "/webhooks/workspaces")
	s.Installation = &harness.Installation{T: t, System: &standalone.System{EdgeURL: s.edgeURL, AuthURL: s.auth.URL(), Auth: s.auth, Sync: s.sync}}
	var err error
	s.client, err = client.NewLazyClient(client.Options{HostPort: s.temporal})
	require.NoError(t, err)
	t.Cleanup(s.client.Close)
	s.Eventually("ready", func() bool {
		resp, err := http.Get(s.edgeURL + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	s.becomesHealthy()
	return s
}

// screen is what a command has shown.
type screen struct {
	code int
	text string
}

// run runs alice's command.
func (s *shift) run(args ...string) screen {
	s.T.Helper()
	var out bytes.Buffer
	code := cli.Run(s.T.Context(), cli.Options{Args: args, Stdout: &out, Stderr: &out, Environ: []string{
		"USER=alice", "STOREKEEPER_TOKEN=" + rotated["OPERATOR_TOKENS"].old, "SERVER_BYPASS_TOKEN=" + (*s.others["sync backend"].secrets.Load())[0],
		"STOREKEEPER_URL=" + s.edgeURL, "TEMPORAL_ADDRESS=" + s.temporal, "TEMPORAL_CONFIG_FILE=" + filepath.Join(s.T.TempDir(), "none.toml"),
		"LIVESTORE_SYNC_URL=" + s.sync.URL(), "NO_COLOR=1", "COLUMNS=250",
	}})
	return screen{code, out.String()}
}

// health is the first screen of whoever is on call.
func (s *shift) health() screen {
	s.T.Helper()
	return s.run("health")
}

// shows waits until the first screen says all of this, and returns it.
func (s *shift) shows(first func() screen, what ...string) (last screen) {
	s.T.Helper()
	defer func() {
		if s.T.Failed() {
			s.T.Logf("the last screen:\n%s", last.text)
		}
	}()
	require.Eventually(s.T, func() bool {
		last = first()
		for _, part := range what {
			if !strings.Contains(last.text, part) {
				return false
			}
		}
		return true
	}, harness.Patience, 200*time.Millisecond, "the first screen says "+strings.Join(what, ", "))
	return last
}

// becomesHealthy waits until the first screen says that all is well.
func (s *shift) becomesHealthy() {
	s.T.Helper()
	var last screen
	require.Eventually(s.T, func() bool {
		last = s.health()
		return last.code == 0
	}, harness.Patience, 200*time.Millisecond)
	require.True(s.T, strings.HasPrefix(last.text, "healthy"), last.text)
}

// obeys runs a command that the screen names, exactly as it was printed, with a reason for R.
func (s *shift) obeys(on screen, command, reason string) screen {
	s.T.Helper()
	require.Contains(s.T, on.text, command)
	args := strings.Fields(command)[1:]
	for i, arg := range args {
		if arg == "R" {
			args[i] = reason
		}
	}
	did := s.run(args...)
	require.Zero(s.T, did.code, "%s: %s", command, did.text)
	return did
}

// owes notes what the audit trail should have of alice.
func (s *shift) owes(kind storemanager.AuditKind, reason string) {
	s.done = append(s.done, fmt.Sprintf("%s alice: %s", kind, reason))
}

// trail is the whole audit trail, oldest first.
func (s *shift) trail() (all []storemanager.AuditEntry) {
	s.T.Helper()
	q := storemanager.AuditQuery{OldestFirst: true, Limit: storemanager.MaxBatch}
	for {
		r := s.edge(http.MethodGet, "/audit?"+q.Values().Encode(), "")
		require.Equal(s.T, http.StatusOK, r.Code, r.Body)
		var page storemanager.AuditPage
		require.NoError(s.T, json.Unmarshal([]byte(r.Body), &page))
		all = append(all, page.Entries...)
		if q.Cursor = page.NextCursor; q.Cursor == 0 {
			return all
		}
	}
}

// edge asks the edge as alice.
func (s *shift) edge(method, path, body string) harness.Response {
	s.T.Helper()
	return s.Do(method, s.edgeURL+path, body, "Authorization", "Bearer "+rotated["OPERATOR_TOKENS"].old, "Content-Type", "application/json")
}

func (s *shift) store(id string) harness.Response {
	s.T.Helper()
	return s.edge(http.MethodGet, "/stores/"+id, "")
}

func (s *shift) monitored(id string) bool {
	s.T.Helper()
	return s.store(id).JSON("orchestrator.status") == "monitoring"
}

// admin asks the Auth Worker as its administrator, of whose actions no webhook tells.
func (s *shift) admin(method, path, body string) {
	s.T.Helper()
	r := s.Do(method, s.auth.URL()+"/internal/admin"+path, body, "Content-Type", "application/json",
		"Authorization", "Bearer "+(*s.others["Auth Worker"].secrets.Load())[0])
	require.Less(s.T, r.Code, 300, r.Body)
}

// restart ends a process and starts it again. between runs while it is gone.
func (s *shift) restart(who string, between func(), settings ...string) {
	s.T.Helper()
	s.processes[who].Kill()
	between()
	s.launch(who, append(slices.Clone(s.settings), settings...))
}

// endsWell judges the whole trail.
func (s *shift) endsWell() {
	s.T.Helper()
	var judge removals.Judge
	told := map[string]bool{}
	for _, e := range s.trail() {
		judge.Add(e)
		told[fmt.Sprintf("%s %s: %s", e.Kind, e.Actor, e.Reason)] = true
	}
	report := judge.Report()
	require.Empty(s.T, report.Unjustified, "every stop has its evidence")
	require.NotZero(s.T, report.Stops)
	for _, owed := range s.done {
		require.True(s.T, told[owed], "the audit trail lacks %q", owed)
	}
}

// togglePause pauses the schedule as the Web UI does, which asks for no reason.
func (s *shift) togglePause() {
	s.T.Helper()
	handle := s.client.ScheduleClient().GetHandle(s.T.Context(), contract.ReconcileScheduleID)
	require.NoError(s.T, handle.Pause(s.T.Context(), client.SchedulePauseOptions{Note: "Paused via the Web UI"}))
}
