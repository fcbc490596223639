package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	plainStore = `{"id":"ws-a","status":"not_configured","orchestrator":{"storeId":"ws-a","status":"monitoring",
		"firstMonitoredAt":"2026-01-02T03:04:05Z","lastEnsuredAt":null,"lastStoppedAt":null},"pinned":false,"futureField":7}`
	pendingStore = `{"id":"ws-b","status":"not_configured","orchestrator":{"storeId":"ws-b","status":"monitoring"},
		"deletion":{"eventAt":"2026-01-02T03:04:05Z","deleteAt":"2126-01-02T03:04:05Z","owner":"run-1"}}`
	heldStore = `{"id":"ws-c","status":"connected","orchestrator":{"storeId":"ws-c","status":"monitoring"},
		"hold":{"reason":"audit","actor":"bob","since":"2026-01-02T03:04:05Z"},"pinned":true}`
)

// marks are what a store in a state has in its JSON.
var marks = map[string]string{"held": `"hold":`, "pinned": `"pinned":true`, "deletion_pending": `"deletion":`, "connected": `"status":"connected"`}

// edgeOf serves the stores, those of a state if one is given, in pages of two at most, to who brings the token.
func edgeOf(t *testing.T, stores ...string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stores", func(w http.ResponseWriter, r *http.Request) {
		start, limit := 0, 0
		_, _ = fmt.Sscan(r.URL.Query().Get("cursor"), &start)
		_, _ = fmt.Sscan(r.URL.Query().Get("limit"), &limit)
		wanted := slices.DeleteFunc(slices.Clone(stores), func(s string) bool {
			return !strings.Contains(s, marks[r.URL.Query().Get("state")])
		})
		end := min(start+min(limit, 2), len(wanted))
		next := ""
		if end < len(wanted) {
			next = fmt.Sprintf(`,"nextCursor":"%d"`, end)
		}
		_, _ = fmt.Fprintf(w, `{"stores":[%s]%s}`, strings.Join(wanted[start:end], ","), next)
	})
	mux.HandleFunc("GET /stores/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, s := range stores {
			if strings.Contains(s, fmt.Sprintf(`{"id":%q`, r.PathValue("id"))) {
				_, _ = fmt.Fprint(w, s)
				return
			}
		}
		http.Error(w, `{"error":"Not found"}`, http.StatusNotFound)
	})
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+testToken {
			http.Error(w, `{"error":"Unauthorized"}`, http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func ids(t *testing.T, stdout string) []string {
	t.Helper()
	var stores []map[string]any
	require.NoError(t, json.Unmarshal([]byte(stdout), &stores), stdout)
	all := []string{}
	for _, s := range stores {
		all = append(all, s["id"].(string))
	}
	return all
}

func TestListShowsAllPages(t *testing.T) {
	t.Parallel()
	c := setup(t, "STOREKEEPER_URL="+edgeOf(t, plainStore, pendingStore, heldStore))
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"everything":        {nil, []string{"ws-a", "ws-b", "ws-c"}},
		"a limited number":  {[]string{"--limit", "1"}, []string{"ws-a"}},
		"one state":         {[]string{"--state", "held"}, []string{"ws-c"}},
		"the first of many": {[]string{"--state", "deletion_pending", "--limit", "1"}, []string{"ws-b"}},
		"the pinned":        {[]string{"--state", "pinned"}, []string{"ws-c"}},
		"the connected":     {[]string{"--state", "connected"}, []string{"ws-c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := c.run(t, append([]string{"list", "--json"}, tc.args...)...)
			require.Equal(t, exitDone, out.exit, out.stderr)
			require.Equal(t, tc.want, ids(t, out.stdout))

			out = c.run(t, append([]string{"list"}, tc.args...)...)
			require.Equal(t, exitDone, out.exit, out.stderr)
			require.Equal(t, len(tc.want)+1, strings.Count(out.stdout, "\n"), out.stdout)
		})
	}
	out := c.run(t, "list")
	require.Contains(t, out.stdout, "held by bob until released: audit; pinned by STORE_IDS")
	require.Contains(t, out.stdout, "stopped at 2126-01-02T03:04:05Z")
	require.Contains(t, c.run(t, "list", "--json").stdout, `"futureField":7`, "what the edge says is passed on whole")
}

func TestTextOfOthersDoesNotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	url := edgeOf(t, `{"id":"ws-e","status":"error","statusReason":"\u001b[2Jgone","orchestrator":{"status":"stopped","firstMonitoredAt":"2026-01-02T03:04:05Z"},
		"hold":{"reason":"\u001b[31mRED\nws-f forged","actor":"b\u001bob","since":"2026-01-02T03:04:05Z"},
		"conditions":[{"type":"Drifted","status":false,"unknown":true,"reason":"Pro\u001btected"}]}`)
	c := setup(t, "STOREKEEPER_URL="+url, "TEMPORAL_ADDRESS="+installed(t).address)
	for _, args := range [][]string{{"list"}, {"status", "ws-e"}} {
		out := c.run(t, args...)
		require.Equal(t, exitDone, out.exit, out.stderr)
		require.Contains(t, out.stdout, "RED ws-f forged", args)
		require.NotContains(t, out.stdout, "\x1b", args)
	}
	status := c.run(t, "status", "ws-e").stdout
	require.Regexp(t, `Drifted +unknown +Pro tected`, status)
	require.Contains(t, status, "monitored  first 2026-01-02")
	require.NotContains(t, status, "monitored  since", "it is stopped")
	require.Contains(t, c.run(t, "list", "--json").stdout, `\u001b`, "JSON is passed on as it is")
}

func TestListOfNothing(t *testing.T) {
	t.Parallel()
	c := setup(t, "STOREKEEPER_URL="+edgeOf(t))
	require.Equal(t, outcome{exitDone, "[]\n", ""}, c.run(t, "list", "--json"))
	require.Equal(t, outcome{exitDone, "no stores\n", ""}, c.run(t, "list"))
}

func TestWhatTheEdgeAnswersDecidesTheExitCode(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		exit   exitCode
		code   string
	}{
		"a wrong token":         {http.StatusUnauthorized, `{"error":"Unauthorized"}`, exitRefused, "unauthorized"},
		"a fault":               {http.StatusServiceUnavailable, `{"error":"x"}`, exitUnreachable, "unreachable"},
		"something else's page": {http.StatusOK, `<html>`, exitUnreachable, "unreachable"},
		"no such path":          {http.StatusNotFound, `nope`, exitUnreachable, "unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = fmt.Fprint(w, tc.body)
			})
			out := setup(t).run(t, "list", "--json", "--url", url)
			require.Equal(t, tc.exit, out.exit, out.stderr)
			require.Equal(t, tc.code, out.errorCode(t))
			require.Contains(t, out.stderr, url)
			require.Empty(t, out.stdout)
		})
	}
}

func TestAPartOfTheListIsNoWholeJSON(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") != "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintf(w, `{"stores":[%s],"nextCursor":"n"}`, plainStore)
	})
	out := setup(t).run(t, "list", "--json", "--url", url)
	require.Equal(t, exitUnreachable, out.exit)
	require.False(t, json.Valid([]byte(out.stdout)), out.stdout)
}

func TestAMissingTokenIsNamed(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.environ = []string{"STOREKEEPER_URL=" + edgeOf(t)}
	out := c.run(t, "list")
	require.Equal(t, exitRefused, out.exit)
	require.Contains(t, out.stderr, "set SERVER_BYPASS_TOKEN")
}

func TestStatusShowsWhatOneSideKnowsWhenTheOtherIsAway(t *testing.T) {
	t.Parallel()
	c := setup(t, "STOREKEEPER_URL="+edgeOf(t, heldStore), "TEMPORAL_ADDRESS="+closedPort(t))
	out := c.run(t, "status", "ws-c")
	require.Equal(t, exitUnreachable, out.exit)
	require.Contains(t, out.stdout, "held by bob")
	require.Contains(t, out.stdout, "not known: Temporal did not say")
	require.Contains(t, out.stderr, "Temporal at ")

	out = c.run(t, "status", "ws-c", "--json")
	require.Equal(t, "ws-c", out.fields(t)["id"])
	require.NotContains(t, out.fields(t), "lifecycle")
	require.Equal(t, "unreachable", out.errorCode(t))
}

func TestStatusWithNeitherSideTellsOfBoth(t *testing.T) {
	t.Parallel()
	temporal, edge := closedPort(t), closedPort(t)
	out := setup(t, "STOREKEEPER_URL=http://"+edge, "TEMPORAL_ADDRESS="+temporal).run(t, "status", "ws-1")
	require.Equal(t, exitUnreachable, out.exit)
	require.Contains(t, out.stderr, temporal)
	require.Contains(t, out.stderr, edge)
}

func TestStatusTakesTheLifecycleFromTheEdgeWhenTemporalIsAway(t *testing.T) {
	t.Parallel()
	url := edgeOf(t, `{"id":"ws-d","lifecycle":{"instanceId":"ws-d","state":"deletion_pending",
		"deletion":{"eventAt":"2026-01-02T03:04:05Z","deleteAt":"2126-01-02T03:04:05Z","source":"webhook"}}}`)
	c := setup(t, "STOREKEEPER_URL="+url, "TEMPORAL_ADDRESS="+closedPort(t))
	out := c.run(t, "status", "ws-d")
	require.Equal(t, exitUnreachable, out.exit)
	require.Contains(t, out.stdout, "a deletion, asked for by webhook, due 2126-01-02T03:04:05Z")
	out = c.run(t, "status", "ws-d", "--json")
	require.Equal(t, "deletion_pending", out.fields(t)["lifecycle"].(map[string]any)["state"])
}

func TestOutputThatCannotBeWrittenIsAFailure(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"version"}} {
		c := setup(t, "STOREKEEPER_URL="+edgeOf(t, plainStore))
		r, w := io.Pipe()
		require.NoError(t, r.Close())
		stderr := &bytes.Buffer{}
		code := Run(t.Context(), Options{Args: args, Stdout: w, Stderr: stderr, Environ: c.environ})
		require.Equal(t, int(exitFailed), code)
		require.Contains(t, stderr.String(), "stdout can't be written")
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		exit   exitCode
	}{
		"healthy":    {http.StatusOK, exitDone},
		"no content": {http.StatusNoContent, exitDone},
		"moved":      {http.StatusFound, exitFailed},
		"unhealthy":  {http.StatusServiceUnavailable, exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tc.status)
			})
			require.Equal(t, tc.exit, setup(t).run(t, "healthcheck", url+"/livez").exit)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		out := setup(t).run(t, "healthcheck", "http://"+closedPort(t))
		require.Equal(t, exitFailed, out.exit)
		require.Contains(t, out.stderr, "connection refused")
	})
}
