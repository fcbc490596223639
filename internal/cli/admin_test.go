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
	require.Equal(t, exit.Done, c.run(t, "resume", "ws-1").exit)
	require.Zero(t, paused("ws-1"))
	require.Equal(t, all, paused(""))
	require.Equal(t, exit.Done, c.run(t, "resume").exit)
	require.Zero(t, paused(""))

	for name, args := range map[string][]string{
		"no reason": {"pause"}, "an empty reason": {"pause", "--reason", " "}, "no time": {"pause", "--reason", "r", "--for", "0s"},
		"an id that is none": {"pause", "../x", "--reason", "r"}, "two ids": {"resume", "ws-1", "ws-2"},
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
