package cli

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/cli/exit"
	"storekeeper/tests/harness"
)

// realInstallation is a whole one of its own, with the edge, Temporal, a worker, the registry and its monitors, and a demo Auth Worker
// and sync backend; and an operator of it.
func realInstallation(t *testing.T) (*harness.Installation, *operator) {
	t.Helper()
	in := harness.Start(t, "SERVER_BYPASS_TOKEN="+testToken, "WEBHOOK_SECRET="+emitSecret, "STORE_IDS=pinned-1")
	return in, &operator{[]string{
		"USER=ann", "SERVER_BYPASS_TOKEN=" + testToken, "WEBHOOK_SECRET=" + emitSecret,
		"TEMPORAL_CONFIG_FILE=" + filepath.Join(t.TempDir(), "none.toml"),
		"STOREKEEPER_URL=" + in.EdgeURL, "TEMPORAL_ADDRESS=" + in.TemporalAddress, "LIVESTORE_SYNC_URL=" + in.Sync.URL(),
	}}
}

// done runs a command that must succeed, and returns its JSON.
func (c *operator) done(t *testing.T, args ...string) map[string]any {
	t.Helper()
	return c.ends(t, exit.Done, args...)
}

// ends runs a command that must end with this exit code and write a JSON object.
func (c *operator) ends(t *testing.T, want exit.Code, args ...string) map[string]any {
	t.Helper()
	out := c.run(t, append(args, "--json")...)
	require.Equal(t, want, out.exit, "%v: %s%s", args, out.stdout, out.stderr)
	return out.fields(t)
}

// listed are the ids of the stores in this state, of all for "".
func (c *operator) listed(t *testing.T, state string) []string {
	t.Helper()
	out := c.run(t, "list", "--json", "--state", state)
	require.Equal(t, exit.Done, out.exit, out.stderr)
	return ids(t, out.stdout)
}

// member follows names into a decoded JSON object.
func member(t *testing.T, v any, names ...string) any {
	t.Helper()
	for _, name := range names {
		object, ok := v.(map[string]any)
		require.True(t, ok, "%s in %v", name, v)
		v = object[name]
	}
	return v
}

// Each part of this story finds what the one before has left.
func TestEveryCommandDoesWhatItSaysAtARealInstallation(t *testing.T) {
	t.Parallel()
	in, c := realInstallation(t)
	ws := in.SignUp().Default
	in.Eventually("the workspace that was signed up is monitored and connected", func() bool {
		return len(c.listed(t, "connected")) == 2
	})

	// Its health, by containers' rules.
	for path, want := range map[string]exit.Code{"/livez": exit.Done, "/readyz": exit.Done, "/health": exit.Done, "/stores": exit.Failed} {
		require.Equal(t, want, c.run(t, "healthcheck", in.EdgeURL+path).exit, path)
	}

	// Its stores.
	require.ElementsMatch(t, []string{"pinned-1", ws}, c.listed(t, ""))
	require.Equal(t, []string{"pinned-1"}, c.listed(t, "pinned"))
	require.Empty(t, c.listed(t, "held"))
	require.Contains(t, c.run(t, "list").stdout, "pinned by STORE_IDS")

	// An event, from the sync backend to the event processor.
	pushed := c.done(t, "push", ws, "--count", "3")
	require.InDelta(t, 3, pushed["last"], 0)
	require.NotNil(t, pushed["processedMs"])
	status := c.done(t, "status", ws)
	require.Equal(t, "connected", status["status"])
	require.InDelta(t, 3, status["processed"], 0)
	require.Equal(t, "monitoring", member(t, status, "orchestrator", "status"))
	require.Equal(t, exit.NotFound, c.run(t, "push", "unknown-1").exit)
	require.Equal(t, exit.NotFound, c.run(t, "status", "unknown-1").exit)

	// A webhook, once and again.
	emit := []string{"emit", "created", "emitted-1", "--at", time.Now().UTC().Format(time.RFC3339)}
	first, again := c.done(t, emit...), c.done(t, emit...)
	require.Equal(t, "monitoring_started", member(t, first, "answer", "status"))
	require.Equal(t, first["answer"], again["answer"])
	require.Equal(t, []any{false, true}, []any{first["replayed"], again["replayed"]})
	require.Equal(t, "deletion_scheduled", member(t, c.done(t, "emit", "deleted", "emitted-1"), "answer", "status"))
	require.Equal(t, []string{"emitted-1"}, c.listed(t, "deletion_pending"))
	require.Contains(t, c.run(t, "status", "emitted-1").stdout, "a deletion, asked for by webhook, due ")
	stranger := c.ends(t, exit.Refused, append(emit, "--timeout", "2s", "--url", in.EdgeURL+"/elsewhere")...)
	require.InDelta(t, 404, stranger["httpStatus"], 0)

	// A deletion that is cancelled leaves a hold.
	require.Equal(t, "deletion_cancelled", c.done(t, "cancel-delete", "emitted-1", "--reason", "a mistake")["status"])
	require.Equal(t, []string{"emitted-1"}, c.listed(t, "held"))
	require.Contains(t, c.run(t, "status", "emitted-1").stdout, "held by ann until ")
	require.Equal(t, "ann", member(t, c.done(t, "status", "emitted-1"), "hold", "actor"))

	missing := in.SignUpSilently()
	c.pausesAndResumes(t, missing)

	// Without a loss there is nothing to acknowledge, and nothing happens.
	require.Equal(t, "acknowledged", c.done(t, "acknowledge", "--reason", "a drill")["status"])

	// Who has another token reads and changes nothing.
	other := &operator{append([]string{"SERVER_BYPASS_TOKEN=another-one"}, c.environ[2:]...)}
	for _, args := range [][]string{
		{"list"}, {"pause", "--reason", "r"}, {"resume", "--reason", "r"}, {"acknowledge", "--reason", "r"}, {"status", ws}, {"push", ws},
	} {
		out := other.run(t, append(args, "--json")...)
		require.Equal(t, exit.Refused, out.exit, "%v: %s", args, out.stderr)
		require.Equal(t, "unauthorized", out.errorCode(t), args)
	}
}

// pausesAndResumes is of the installation that lists this store and does not monitor it yet.
func (c *operator) pausesAndResumes(t *testing.T, missing string) {
	t.Helper()
	item := func(action, reason string) map[string]any {
		return map[string]any{"storeId": missing, "action": action, "reason": reason}
	}
	require.Contains(t, c.ends(t, exit.Drift, "drift")["items"], item("create", "listed, not monitored"))

	paused := c.done(t, "pause", missing, "--reason", "under repair")
	require.Equal(t, []any{"ann", "under repair", nil}, []any{paused["actor"], paused["reason"], paused["expiresAt"]})
	require.Contains(t, c.done(t, "drift")["items"], item("skip", "paused"), "what is left alone is shown, and no drift")
	require.Contains(t, c.ends(t, exit.Drift, "drift", "--strict")["items"], item("skip", "paused"))
	result := member(t, c.done(t, "reconcile", "--wait"), "result")
	require.InDelta(t, 0, member(t, result, "added"), 0)
	require.InDelta(t, 1, member(t, result, "skipped", "paused"), 0)

	require.NotNil(t, c.done(t, "pause", "--reason", "moving", "--for", "1h")["expiresAt"])
	require.Equal(t, "resumed", c.done(t, "resume", missing, "--reason", "over")["status"])
	require.Contains(t, member(t, c.done(t, "reconcile", "--wait"), "result", "paused"), "ann", "the pause of all stores is left")
	over := c.run(t, "pause", "--reason", "moving", "--for", "1ns")
	require.Equal(t, exit.Refused, over.exit)
	require.Contains(t, over.stderr, "would have ended")

	require.Equal(t, exit.Done, c.run(t, "resume", "--reason", "over").exit)
	require.Equal(t, exit.Done, c.run(t, "resume", "--reason", "over").exit, "without a pause nothing is done")
	result = member(t, c.done(t, "reconcile", "--wait"), "result")
	require.InDelta(t, 1, member(t, result, "added"), 0)
	require.Contains(t, c.listed(t, ""), missing)
}
