package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"
)

// exemplary is a registry with a plain store ws-a, ws-b whose deletion is pending, and ws-c, which is held and pinned.
func exemplary(t *testing.T) *storetest.Database {
	t.Helper()
	ctx, r := t.Context(), storetest.Open(t, storetest.Settings{})
	for _, id := range []string{"ws-a", "ws-b"} {
		_, err := r.Ensure(ctx, storemanager.EnsureRequest{StoreID: id, At: time.Now().Add(-time.Hour)})
		require.NoError(t, err)
	}
	_, err := r.BeginDeletion(ctx, storemanager.DeletionRequest{StoreID: "ws-b", At: time.Now(), DeleteAt: nextCentury, Owner: "run-1"})
	require.NoError(t, err)
	require.NoError(t, r.SetPins(ctx, []string{"ws-c"}))
	_, err = r.Hold(ctx, "ws-c", storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "audit", Actor: "bob"}})
	require.NoError(t, err)
	return r
}

var nextCentury = time.Date(2126, 1, 2, 3, 4, 5, 0, time.UTC)

// doubledEdge shows one store whose JSON is of a kind that the real edge would not make.
func doubledEdge(t *testing.T, store string) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+testToken:
			http.Error(w, `{"error":"Unauthorized"}`, http.StatusUnauthorized)
		case r.URL.Path == "/stores":
			_, _ = fmt.Fprintf(w, `{"stores":[%s]}`, store)
		default:
			_, _ = fmt.Fprint(w, store)
		}
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

func TestListShowsTheStoresOfAState(t *testing.T) {
	t.Parallel()
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, exemplary(t)))
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"everything":        {nil, []string{"ws-a", "ws-b", "ws-c"}},
		"a limited number":  {[]string{"--limit", "1"}, []string{"ws-a"}},
		"one state":         {[]string{"--state", "held"}, []string{"ws-c"}},
		"the first of many": {[]string{"--state", "not_configured", "--limit", "1"}, []string{"ws-a"}},
		"the pending":       {[]string{"--state", "deletion_pending"}, []string{"ws-b"}},
		"the pinned":        {[]string{"--state", "pinned"}, []string{"ws-c"}},
		"the connected":     {[]string{"--state", "connected"}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := c.run(t, append([]string{"list", "--json"}, tc.args...)...)
			require.Equal(t, exit.Done, out.exit, out.stderr)
			require.Equal(t, tc.want, ids(t, out.stdout))

			out = c.run(t, append([]string{"list"}, tc.args...)...)
			require.Equal(t, exit.Done, out.exit, out.stderr)
			require.Equal(t, len(tc.want)+1, strings.Count(out.stdout, "\n"), out.stdout)
		})
	}
	out := c.run(t, "list")
	require.Contains(t, out.stdout, "held by bob until released: audit; pinned by STORE_IDS")
	require.Contains(t, out.stdout, "stopped at 2126-01-02T03:04:05Z")
}

func TestListShowsAllPages(t *testing.T) {
	t.Parallel()
	registry := storetest.Open(t, storetest.Settings{})
	var all []string
	for page := range slices.Chunk(make([]storemanager.EnsureRequest, 2*edgeclient.PageSize+1), edgeclient.PageSize) {
		for i := range page {
			id := fmt.Sprintf("ws-%04d", len(all))
			page[i] = storemanager.EnsureRequest{StoreID: id, At: time.Now()}
			all = append(all, id)
		}
		_, err := registry.EnsureBatch(t.Context(), page)
		require.NoError(t, err)
	}
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, registry))
	require.Equal(t, all, ids(t, c.run(t, "list", "--json").stdout))
	require.Equal(t, all[:edgeclient.PageSize+1], ids(t, c.run(t, "list", "--json", "--limit", strconv.Itoa(edgeclient.PageSize+1)).stdout))
	require.Equal(t, len(all)+1, strings.Count(c.run(t, "list").stdout, "\n"))
}

func TestWhatALaterEdgeSaysIsPassedOnWhole(t *testing.T) {
	t.Parallel()
	c := setup(t, "STOREKEEPER_URL="+doubledEdge(t, `{"id":"ws-a","status":"not_configured","pinned":false,"futureField":7}`))
	require.Contains(t, c.run(t, "list", "--json").stdout, `"futureField":7`)
}

func TestTextOfOthersDoesNotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	url := doubledEdge(t, `{"id":"ws-e","status":"error","statusReason":"\u001b[2Jgone","orchestrator":{"status":"stopped","firstMonitoredAt":"2026-01-02T03:04:05Z"},
		"hold":{"reason":"\u001b[31mRED\nws-f forged","actor":"b\u001bob","since":"2026-01-02T03:04:05Z"},
		"conditions":[{"type":"Drifted","status":false,"unknown":true,"reason":"Pro\u001btected"}]}`)
	c := setup(t, "STOREKEEPER_URL="+url, "TEMPORAL_ADDRESS="+installed(t).address)
	for _, args := range [][]string{{"list"}, {"status", "ws-e"}} {
		out := c.run(t, args...)
		require.Equal(t, exit.Done, out.exit, out.stderr)
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
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, storetest.Open(t, storetest.Settings{})))
	require.Equal(t, outcome{exit.Done, "[]\n", ""}, c.run(t, "list", "--json"))
	require.Equal(t, outcome{exit.Done, "no stores\n", ""}, c.run(t, "list"))
}

func TestWhatTheEdgeAnswersDecidesTheExitCode(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		exit   exit.Code
		code   string
	}{
		"a wrong token":         {http.StatusUnauthorized, `{"error":"Unauthorized"}`, exit.Refused, "unauthorized"},
		"a fault":               {http.StatusServiceUnavailable, `{"error":"x"}`, exit.Unreachable, "unreachable"},
		"something else's page": {http.StatusOK, `<html>`, exit.Unreachable, "unreachable"},
		"no such path":          {http.StatusNotFound, `nope`, exit.Unreachable, "unreachable"},
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
		_, _ = fmt.Fprintf(w, `{"stores":[{"id":"ws-a"}],"nextCursor":"n"}`)
	})
	out := setup(t).run(t, "list", "--json", "--url", url)
	require.Equal(t, exit.Unreachable, out.exit)
	require.False(t, json.Valid([]byte(out.stdout)), out.stdout)
}

func TestAMissingTokenIsNamed(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.environ = []string{"STOREKEEPER_URL=" + edgeOver(t, storetest.Open(t, storetest.Settings{}))}
	out := c.run(t, "list")
	require.Equal(t, exit.Refused, out.exit)
	require.Contains(t, out.stderr, "set SERVER_BYPASS_TOKEN")
}

func TestTheTokenIsTheOperatorsOwnOrTheFirstBypassTokenFromAVariableOrAFile(t *testing.T) {
	t.Parallel()
	var brought string
	url := "STOREKEEPER_URL=" + serve(t, func(w http.ResponseWriter, r *http.Request) {
		brought = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
	})
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("own-in-a-file\n"), 0o600))
	for want, environ := range map[string][]string{
		"first":         {"SERVER_BYPASS_TOKEN=first,second"},
		"own":           {"SERVER_BYPASS_TOKEN=first,second", "STOREKEEPER_TOKEN=own"},
		"own-in-a-file": {"SERVER_BYPASS_TOKEN=first", "STOREKEEPER_TOKEN_FILE=" + file, "EVENT_SINK_SECRET_FILE=/nowhere"},
	} {
		out := (&operator{append(environ, url)}).run(t, "list")
		require.Equal(t, exit.Refused, out.exit)
		require.Equal(t, "Bearer "+want, brought)
		require.Equal(t, want != "first", strings.Contains(out.stderr, "STOREKEEPER_TOKEN must be a token of the server's OPERATOR_TOKENS"), out.stderr)
	}
	out := (&operator{[]string{url, "STOREKEEPER_TOKEN_FILE=/nowhere"}}).run(t, "list")
	require.Equal(t, exit.Usage, out.exit)
	require.Contains(t, out.stderr, `STOREKEEPER_TOKEN_FILE="/nowhere" is not accepted`)
}

func TestATokenThatMayOnlyReadIsNamed(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, problem.KindForbidden, "This token may only read")
	})
	out := setup(t).run(t, "pause", "--reason", "r", "--url", url)
	require.Equal(t, exit.Refused, out.exit)
	require.Contains(t, out.stderr, "This token may only read")
}

func TestStatusShowsWhatOneSideKnowsWhenTheOtherIsAway(t *testing.T) {
	t.Parallel()
	away := closedPort(t)
	temporal, err := client.NewLazyClient(client.Options{HostPort: away, Logger: telemetry.SDKLogger(zap.NewNop())})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	url := edgeBetween(t, orchestrator.New(temporal, client.DefaultNamespace), exemplary(t))
	c := setup(t, "STOREKEEPER_URL="+url, "TEMPORAL_ADDRESS="+away)
	out := c.run(t, "status", "ws-c")
	require.Equal(t, exit.Unreachable, out.exit)
	require.Contains(t, out.stdout, "held by bob")
	require.Contains(t, out.stdout, "not known: Temporal did not say")
	require.Contains(t, out.stderr, "Temporal at ")

	out = c.run(t, "status", "ws-c", "--json")
	require.Equal(t, "ws-c", out.fields(t)["id"])
	require.Nil(t, out.fields(t)["lifecycle"])
	require.NotEmpty(t, out.fields(t)["lifecycleError"], "the edge could not ask either")
	require.Equal(t, "unreachable", out.errorCode(t))
}

func TestStatusWithNeitherSideTellsOfBoth(t *testing.T) {
	t.Parallel()
	temporal, edge := closedPort(t), closedPort(t)
	out := setup(t, "STOREKEEPER_URL=http://"+edge, "TEMPORAL_ADDRESS="+temporal).run(t, "status", "ws-1")
	require.Equal(t, exit.Unreachable, out.exit)
	require.Contains(t, out.stderr, temporal)
	require.Contains(t, out.stderr, edge)
}

func TestStatusTakesTheLifecycleFromTheEdgeWhenTemporalIsAway(t *testing.T) {
	t.Parallel()
	in := installed(t)
	reached := setup(t, "TEMPORAL_ADDRESS="+in.address)
	require.Equal(t, exit.Done, reached.run(t, "provision", "ws-d").exit)
	require.Equal(t, exit.Done, reached.run(t, "delete", "ws-d", "--reason", "r").exit)
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, in.registry), "TEMPORAL_ADDRESS="+closedPort(t))
	out := c.run(t, "status", "ws-d")
	require.Equal(t, exit.Unreachable, out.exit)
	require.Contains(t, out.stdout, "a deletion, asked for by operator, due ")
	out = c.run(t, "status", "ws-d", "--json")
	require.Equal(t, "deletion_pending", out.fields(t)["lifecycle"].(map[string]any)["state"])
}

func TestOutputThatCannotBeWrittenIsAFailure(t *testing.T) {
	t.Parallel()
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, exemplary(t)))
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"version"}} {
		r, w := io.Pipe()
		require.NoError(t, r.Close())
		stderr := &bytes.Buffer{}
		code := Run(t.Context(), Options{Args: args, Stdout: w, Stderr: stderr, Environ: c.environ})
		require.Equal(t, int(exit.Failed), code)
		require.Contains(t, stderr.String(), "stdout can't be written")
	}
}

func TestAHealthCheckIsPassedByStatus2xxAlone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		exit   exit.Code
	}{
		"healthy":    {http.StatusOK, exit.Done},
		"no content": {http.StatusNoContent, exit.Done},
		"moved":      {http.StatusFound, exit.Failed},
		"unhealthy":  {http.StatusServiceUnavailable, exit.Failed},
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
		require.Equal(t, exit.Failed, out.exit)
		require.Contains(t, out.stderr, "connection refused")
	})
}
