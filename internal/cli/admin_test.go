package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func TestAPauseIsKeptUntilItIsResumed(t *testing.T) {
	t.Parallel()
	registry := storetest.Open(t, storetest.Settings{})
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, registry))
	paused := func(id string) storemanager.Pause {
		t.Helper()
		pauses, err := registry.Pauses(t.Context())
		require.NoError(t, err)
		i := slices.IndexFunc(pauses, func(p storemanager.Pause) bool { return p.StoreID == id })
		if i < 0 {
			return storemanager.Pause{}
		}
		return pauses[i]
	}
	out := c.run(t, "pause", "--reason", "moving", "--for", "2h")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, "paused until 20")
	require.Contains(t, out.stdout, "all stores")
	all := paused("")
	require.Equal(t, []string{"moving", "ann"}, []string{all.Reason, all.Actor})
	require.WithinDuration(t, time.Now().Add(2*time.Hour), *all.ExpiresAt, time.Minute)
	require.Equal(t, exit.Done, c.run(t, "pause", "ws-1", "--reason", "moving").exit)
	one := paused("ws-1")
	require.Equal(t, []any{"moving", "ann", (*time.Time)(nil)}, []any{one.Reason, one.Actor, one.ExpiresAt})
	require.Equal(t, exit.Done, c.run(t, "resume", "ws-1", "--reason", "over").exit)
	require.Zero(t, paused("ws-1"))
	require.Equal(t, all, paused(""))
	require.Equal(t, exit.Done, c.run(t, "resume", "--reason", "over").exit)
	require.Zero(t, paused(""))

	for name, args := range map[string][]string{
		"no reason": {"pause", "--for", "1h"}, "an empty reason": {"pause", "--reason", " "}, "no time": {"pause", "--reason", "r", "--for", "0s"},
		"an id that is none": {"pause", "../x", "--reason", "r"}, "two ids that nobody confirms": {"resume", "ws-1", "ws-2", "--reason", "r"},
		"a plan that is to be applied": {"reconcile", "--plan", "--apply", "0123456789abcdef"},
	} {
		require.Equal(t, exit.Usage, c.run(t, args...).exit, name)
	}
	require.Zero(t, paused(""))
}

func TestStatusShowsConditionsAndEvents(t *testing.T) {
	t.Parallel()
	url := doubledEdge(t, `{"id":"ws-a","status":"connected","orchestrator":{"storeId":"ws-a","status":"monitoring"},
		"conditions":[{"type":"Provisioned","status":true,"reason":"Monitored"},
			{"type":"Stalled","status":true,"reason":"DeletionOverdue","message":"waits for the Auth Worker","since":"2026-01-02T03:04:05Z"}],
		"events":[{"at":"2026-01-02T03:04:05Z","kind":"hold","outcome":"done","detail":"by ops: look\u001b[31m"}]}`)
	out := setup(t, "STOREKEEPER_URL="+url, "TEMPORAL_ADDRESS="+installed(t).address).run(t, "status", "ws-a")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, "DeletionOverdue")
	require.Contains(t, out.stdout, "waits for the Auth Worker")
	require.Regexp(t, `(?m)^\s+2026-01-02T03:04:05Z.*hold.*by ops: look`, out.stdout)
	require.NotContains(t, out.stdout, "\x1b", "what others wrote must not steer the terminal")
}

func TestAPauseThatIsOverBeforeItBeginsSaysSo(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"reason and actor are required, and expiresAt must be in the future"}`)
	})
	c := setup(t, "STOREKEEPER_URL="+url)
	out := c.run(t, "pause", "--reason", "r", "--for", "1ns")
	require.Equal(t, exit.Refused, out.exit)
	require.Contains(t, out.stderr, "would have ended")
	require.NotContains(t, out.stderr, "are required")
	require.Contains(t, c.run(t, "pause", "--reason", "r", "--for", "1h").stderr, "are required", "the edge knows why")
}

func TestPlainProgressIsToldWhenThePhaseChangesAndNowAndThen(t *testing.T) {
	t.Parallel()
	var plain plainProgress
	start := time.Now()
	fetch := contract.Progress{Phase: "fetch", Done: 1000}
	require.True(t, plain.due(fetch, start))
	require.False(t, plain.due(fetch, start.Add(time.Second)))
	require.True(t, plain.due(fetch, start.Add(progressLine)))
	require.True(t, plain.due(contract.Progress{Phase: "ensure", Total: 10}, start.Add(progressLine+time.Second)))
	require.Empty(t, bar(nil))
	require.Contains(t, bar(&contract.Progress{Phase: "ensure", Done: 5, Total: 10}), "5")
}

func TestALossIsAcknowledgedAtTheEdge(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.WarnLevel)
	lost := lostRegistry(t, zap.New(core))
	requireLost := func(want bool) {
		t.Helper()
		o, err := lost.Overview(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, o.Loss() != nil)
	}
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, lost))
	for _, args := range [][]string{{"acknowledge"}, {"acknowledge", "--reason", " "}, {"acknowledge", "ws-1", "--reason", "r"}} {
		require.Equal(t, exit.Usage, c.run(t, args...).exit, args)
	}
	requireLost(true)
	out := c.run(t, "acknowledge", "--reason", "the disk was replaced")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, "acknowledged")
	requireLost(false)
	said := logs.FilterMessageSnippet("is acknowledged").All()
	require.Len(t, said, 1)
	require.Equal(t, map[string]any{"actor": "ann", "reason": "the disk was replaced"}, said[0].ContextMap())
	require.JSONEq(t, `{"status":"acknowledged"}`, c.run(t, "acknowledge", "--reason", "again", "--actor", "bob", "--json").stdout)

	older := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	require.Equal(t, exit.Unreachable, setup(t, "STOREKEEPER_URL="+older).run(t, "acknowledge", "--reason", "r").exit)
}

// lostRegistry is a new one where another one was.
func lostRegistry(t *testing.T, log *zap.Logger) *storetest.Database {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stores.db")
	before := storetest.Open(t, storetest.Settings{Path: path})
	_, err := before.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "ws-1", At: time.Now()})
	require.NoError(t, err)
	require.NoError(t, before.Close())
	require.NoError(t, os.Remove(path))
	return storetest.Open(t, storetest.Settings{Path: path, Logger: log})
}

func TestPauseShowsAllThatKeepsReconciliationFromWorking(t *testing.T) {
	t.Parallel()
	in, c := realInstallation(t)
	require.Equal(t, "reconciliation is not paused\n", c.run(t, "pause").stdout)
	require.Equal(t, false, c.done(t, "pause")["paused"])

	schedule := in.Temporal.ScheduleClient().GetHandle(t.Context(), contract.ReconcileScheduleID)
	require.NoError(t, schedule.Pause(t.Context(), client.SchedulePauseOptions{Note: "the web ui's \x1b[2J toggle"}))
	require.Equal(t, exit.Done, c.run(t, "pause", "--reason", "moving", "--for", "2h").exit)
	require.Equal(t, exit.Done, c.run(t, "pause", "ws-1", "--reason", "under repair", "--actor", "bob").exit)
	out := c.run(t, "pause")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Regexp(t, `(?m)^PAUSED +BY +WHO +WHY +SINCE +UNTIL$`, out.stdout)
	require.Regexp(t, `(?m)^all stores +schedule +- +the web ui's  \[2J toggle +- +resumed$`, out.stdout)
	require.Regexp(t, `(?m)^all stores +pause +ann +moving +20.* +20\S+ \(in `, out.stdout)
	require.Regexp(t, `(?m)^ws-1 +pause +bob +under repair .*resumed$`, out.stdout)
	require.Len(t, c.done(t, "pause")["pauses"], 3)

	out = c.run(t, "resume", "ws-1", "--reason", "repaired")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Regexp(t, `ended: the pause of ws-1 by bob since .*: under repair`, out.stdout)
	require.Regexp(t, `remains: the pause of Temporal's schedule: .*toggle\n +it is one of all stores: starter resume --reason R`, out.stdout)
	require.Regexp(t, `remains: the pause of all stores by ann`, out.stdout)

	both := c.done(t, "resume", "--reason", "moved")
	require.Equal(t, "resumed", both["status"])
	require.Len(t, both["ended"], 2)
	require.Empty(t, both["remaining"])
	described, err := schedule.Describe(t.Context())
	require.NoError(t, err)
	require.False(t, described.Schedule.State.Paused, "the web ui's pause is ended, too")
	require.Contains(t, c.run(t, "resume", "--reason", "again").stdout, "there was no pause")
}

func TestAPauseBySettingRemainsAndSaysHowItEnds(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ended":[],"remaining":[{"kind":"setting","reason":"WORKSPACE_RECONCILE_ENABLED is false"}]}`)
	})
	out := setup(t, "STOREKEEPER_URL="+url).run(t, "resume", "--reason", "r")
	require.Equal(t, exit.Done, out.exit)
	require.Contains(t, out.stdout, "remains: the setting: WORKSPACE_RECONCILE_ENABLED is false")
	require.Contains(t, out.stdout, "set WORKSPACE_RECONCILE_ENABLED=true")
	older := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	require.Equal(t, exit.Done, setup(t, "STOREKEEPER_URL="+older).run(t, "resume", "--reason", "r").exit, "an older edge says nothing")
}
