package cli

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
)

func TestPauseAndResumeAskTheEdge(t *testing.T) {
	t.Parallel()
	var asked []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+strings.TrimSpace(string(body)))
		if r.Header.Get("Authorization") != "Bearer "+testToken {
			http.Error(w, `{"error":"Unauthorized"}`, http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, `{"reason":"moving","actor":"bob","since":"2026-01-02T03:04:05Z","expiresAt":"2126-01-02T03:04:05Z"}`)
	})
	c := setup(t, "STOREKEEPER_URL="+url)
	out := c.run(t, "pause", "--reason", "moving", "--for", "2h")
	require.Equal(t, exitDone, out.exit, out.stderr)
	require.Contains(t, out.stdout, "paused until 2126-01-02T03:04:05Z")
	require.Contains(t, out.stdout, "all stores")
	require.Equal(t, exitDone, c.run(t, "pause", "ws-1", "--reason", "moving").exit)
	require.Equal(t, exitDone, c.run(t, "resume", "ws-1").exit)
	require.Equal(t, exitDone, c.run(t, "resume").exit)
	require.Len(t, asked, 4)
	require.Regexp(t, `^PUT /admin/pause {"reason":"moving","actor":"ann","expiresAt":"20`, asked[0])
	require.Equal(t, `PUT /stores/ws-1/pause {"reason":"moving","actor":"ann"}`, asked[1])
	require.Equal(t, []string{"DELETE /stores/ws-1/pause ", "DELETE /admin/pause "}, asked[2:])

	for name, args := range map[string][]string{
		"no reason": {"pause"}, "an empty reason": {"pause", "--reason", " "}, "no time": {"pause", "--reason", "r", "--for", "0s"},
		"an id that is none": {"pause", "../x", "--reason", "r"}, "two ids": {"resume", "ws-1", "ws-2"},
		"a plan that is to be applied": {"reconcile", "--plan", "--apply", "0123456789abcdef"},
	} {
		require.Equal(t, exitUsage, c.run(t, args...).exit, name)
	}
	require.Len(t, asked, 4)
}

func TestStatusShowsConditionsAndEvents(t *testing.T) {
	t.Parallel()
	url := edgeOf(t, `{"id":"ws-a","status":"connected","orchestrator":{"storeId":"ws-a","status":"monitoring"},
		"conditions":[{"type":"Provisioned","status":true,"reason":"Monitored"},
			{"type":"Stalled","status":true,"reason":"DeletionOverdue","message":"waits for the Auth Worker","since":"2026-01-02T03:04:05Z"}],
		"events":[{"at":"2026-01-02T03:04:05Z","kind":"hold","outcome":"done","detail":"by ops: look\u001b[31m"}]}`)
	out := setup(t, "STOREKEEPER_URL="+url, "TEMPORAL_ADDRESS="+installed(t).address).run(t, "status", "ws-a")
	require.Equal(t, exitDone, out.exit, out.stderr)
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
	require.Equal(t, exitRefused, out.exit)
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
