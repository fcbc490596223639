package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
	realedge "storekeeper/internal/edge"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

const (
	longID  = "0b5a3b46-7a2e-4a6a-9a53-0d4c1d0c8f11"
	otherID = "0b5a3b46-7a2e-4a6a-9a53-0d4c1d0c8f12"
	thirdID = "7c11aa00-0000-4000-8000-000000000001"
)

// namedStores is an edge with three stores, two of which have ids that differ in the last letter, and the Auth Worker's list of two.
func namedStores(t *testing.T, environ ...string) (*operator, *storetest.Database) {
	t.Helper()
	r := storetest.Open(t, storetest.Settings{})
	for _, id := range []string{longID, otherID, thirdID} {
		_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: time.Now().Add(-time.Hour)})
		require.NoError(t, err)
	}
	names := &edgetest.Directory{List: fmt.Sprintf(`{"workspaces":[
		{"instanceId":%q,"userId":"u-ann","name":"Work","createdAt":%q},
		{"instanceId":%q,"userId":"u-bob","name":"Family \u001b[2J","createdAt":%q},
		{"instanceId":%q,"userId":"u-cid","name":"Family \u001b[2J"}]}`,
		longID, time.Now().Add(-50*time.Hour).UTC().Format(time.RFC3339), thirdID, time.Now().Add(-1000*time.Hour).UTC().Format(time.RFC3339), thirdID)}
	url := edgeOf(t, realedge.Options{Orchestrator: installed(t).orch, StoreManager: r, Workspaces: names})
	return setup(t, append(environ, "STOREKEEPER_URL="+url, "TEMPORAL_ADDRESS="+installed(t).address)...), r
}

func TestListHasNamesOwnersAndAges(t *testing.T) {
	t.Parallel()
	c, _ := namedStores(t)
	out := c.run(t, "list")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Regexp(t, `(?m)^ID +NAME +OWNER +AGE +STATE +CONNECTION +WHY$`, out.stdout)
	require.Regexp(t, `(?m)^`+longID+` +Work +u-ann +2d2h +monitored +not_configured`, out.stdout)
	require.Regexp(t, `(?m)^`+thirdID+` +Family  \[2J +u-bob \+1 +41d16h +monitored`, out.stdout)
	require.Regexp(t, `(?m)^`+otherID+` +- +- +\S+ +monitored`, out.stdout)
	require.Empty(t, out.stderr)
	require.Contains(t, c.run(t, "list", "--json").stdout, `"workspace":{"name":"Work","userIds":["u-ann"]`)
}

func TestListFindsByOwnerAndNameAndSorts(t *testing.T) {
	t.Parallel()
	c, _ := namedStores(t)
	for args, want := range map[string][]string{
		"--owner u-ann":                {longID},
		"--owner u-cid":                {thirdID},
		"--name family":                {thirdID},
		"--name family --owner u-ann":  {},
		"--sort name":                  {thirdID, longID, otherID},
		"--sort age":                   {thirdID, longID, otherID},
		"--sort owner --limit 2":       {longID, thirdID},
		"--sort id":                    {longID, otherID, thirdID},
		"--sort connection --limit 1":  {longID},
		"--sort state --state pinned":  {},
		"--owner u- --sort age":        {thirdID, longID},
		"--state not_configured":       {longID, otherID, thirdID},
		"--owner u-ann --state pinned": {},
	} {
		out := c.run(t, append([]string{"list", "--json"}, strings.Fields(args)...)...)
		require.Equal(t, exit.Done, out.exit, out.stderr)
		require.Equal(t, want, ids(t, out.stdout), args)
	}
	require.Equal(t, exit.Usage, c.run(t, "list", "--sort", "size").exit)
}

func TestAListOfSomebodysStoresSaysHowADeletedOneIsKept(t *testing.T) {
	t.Parallel()
	c, r := namedStores(t)
	byAnn := storemanager.Origin{Source: storemanager.SourceWebhook, UserID: "u-ann"}
	_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "deleted-1", At: time.Now().Add(-time.Hour), Origin: byAnn})
	require.NoError(t, err)
	_, err = r.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: "deleted-1", At: time.Now(), DeleteAt: time.Now().Add(time.Hour), Owner: "run", Origin: byAnn,
	})
	require.NoError(t, err)
	for _, owner := range []string{"u-ann", "work"} { // the latter is the name of a workspace of hers
		out := c.run(t, "list", "--owner", owner)
		require.Equal(t, exit.Done, out.exit, out.stderr)
		require.Regexp(t, `(?m)^deleted-1 +- +u-ann .* deletion_pending .* to be stopped at `, out.stdout)
		require.Contains(t, out.stdout, longID)
		require.Equal(t, "what must not be deleted is kept by: starter cancel-delete deleted-1 --reason R\n", out.stderr)
	}
	require.Empty(t, c.run(t, "list").stderr, "nobody looks for it")
}

func TestWithoutTheAuthWorkerAListLacksNamesAndSaysSo(t *testing.T) {
	t.Parallel()
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, exemplary(t)))
	out := c.run(t, "list")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Equal(t, "names and owners are not known: the edge has no AUTH_WORKER_INTERNAL_URL\n", out.stderr)
	require.Regexp(t, `(?m)^ws-a +- +- `, out.stdout)
	out = c.run(t, "list", "--owner", "u-ann")
	require.Equal(t, exit.Unreachable, out.exit)
	require.Contains(t, out.stderr, "Stores can't be found by owner or name: names and owners are not known")

	older := setup(t, "STOREKEEPER_URL="+doubledEdge(t, `{"id":"ws-a","status":"connected"}`))
	require.Equal(t, exit.Done, older.run(t, "list").exit)
	out = older.run(t, "list", "--owner", "u-ann")
	require.Equal(t, exit.Unreachable, out.exit, "it would give all stores: %s", out.stdout)
	require.Contains(t, out.stderr, "older than this starter")
	require.Empty(t, out.stdout)
}

// onTerminal runs a command on a real terminal of this width until ctx ends or it does, and calls see with all that was shown so far.
func (c *operator) onTerminal(ctx context.Context, t *testing.T, width uint16, see func(string), args ...string) (exit.Code, string) {
	t.Helper()
	return c.typing(ctx, t, width, "", see, args...)
}

// typing is onTerminal of an operator who types this.
func (c *operator) typing(ctx context.Context, t *testing.T, width uint16, typed string, see func(string), args ...string) (exit.Code, string) {
	t.Helper()
	ours, theirs, err := pty.Open()
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(theirs, &pty.Winsize{Cols: width, Rows: 30}))
	var shown bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() {
		piece := make([]byte, 4096)
		for {
			n, err := ours.Read(piece)
			shown.Write(piece[:n])
			see(shown.String())
			if err != nil {
				return
			}
		}
	})
	_, err = ours.WriteString(typed)
	require.NoError(t, err)
	code := Run(ctx, Options{Args: args, Stdin: theirs, Stdout: theirs, Stderr: theirs, Environ: c.environ})
	require.NoError(t, theirs.Close()) // and so the reading ends
	reading.Wait()
	require.NoError(t, ours.Close())
	return exit.Code(code), strings.ReplaceAll(shown.String(), "\r\n", "\n")
}

func ignore(string) {}

func TestAListFitsTheTerminalByShortIDsThatCommandsTake(t *testing.T) {
	t.Parallel()
	c, _ := namedStores(t, "NO_COLOR=1")
	code, wide := c.onTerminal(t.Context(), t, 200, ignore, "list")
	require.Equal(t, exit.Done, code)
	require.Contains(t, wide, longID)
	require.NotContains(t, wide, "\x1b")

	_, narrow := c.onTerminal(t.Context(), t, 80, ignore, "list")
	for line := range strings.Lines(narrow) {
		require.LessOrEqual(t, runewidth.StringWidth(strings.TrimSuffix(line, "\n")), 80, line)
	}
	require.Contains(t, narrow, "\n"+longID+" ", "all of it is needed to tell it from the next")
	require.Contains(t, narrow, "\n7c11aa00 ")
	_, narrow = c.onTerminal(t.Context(), t, 80, ignore, "list", "--name", "family")
	require.Contains(t, narrow, thirdID, "what it could be mistaken for is not known")

	out := c.run(t, "status", "7c11")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, thirdID)
	require.Equal(t, "starter: 7c11 is "+thirdID+"\n", out.stderr)
}

func TestColoursAreForTerminals(t *testing.T) {
	t.Parallel()
	c, r := namedStores(t)
	_, err := r.Hold(t.Context(), thirdID, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "audit", Actor: "bob"}})
	require.NoError(t, err)
	_, coloured := c.onTerminal(t.Context(), t, 200, ignore, "list")
	require.Contains(t, coloured, "\x1b[33mheld\x1b[0m")
	require.NotContains(t, c.run(t, "list").stdout, "\x1b")
}

func TestAShortIDThatSeveralStoresHaveIsRefusedWithTheCandidates(t *testing.T) {
	t.Parallel()
	c, _ := namedStores(t)
	for _, args := range [][]string{{"status", "0b5a3b46-7a2e"}, {"delete", "0b5a3b46-7a2e", "--reason", "r"}, {"pause", "0b5a3b46-7a2e", "--reason", "r"}} {
		out := c.run(t, append(args, "--json")...)
		require.Equal(t, exit.Usage, out.exit, out.stdout)
		require.Equal(t, "ambiguous", out.errorCode(t))
		require.Contains(t, out.stderr, longID+", "+otherID)
	}
}

// The installation's own registry, for a workflow acts on it.
func TestADestructiveCommandShowsTheWholeIDThatItActsOn(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := setup(t, "TEMPORAL_ADDRESS="+in.address, "STOREKEEPER_URL="+edgeOver(t, in.registry))
	const full = "short-ids-of-a-store"
	require.Equal(t, exit.Done, c.run(t, "provision", full).exit)
	out := c.run(t, "delete", "short-id", "--reason", "r", "--grace", "7d")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stderr, "starter: short-id is "+full)
	require.Contains(t, out.stdout, full+": deletion_scheduled")
	require.Regexp(t, `in (7d0h|6d23h)`, out.stdout)
	out = c.run(t, "cancel-delete", "short-ids-o", "--reason", "mistake", "--for", "2w", "--json")
	require.Equal(t, full, out.fields(t)["instanceId"])

	out = c.run(t, "delete", "short-i", "--reason", "r") // fewer than a list shows: it may be the whole name of a store that has gone
	require.NotContains(t, out.stdout, full)
	away := setup(t, "TEMPORAL_ADDRESS="+in.address, "STOREKEEPER_URL=http://"+closedPort(t))
	require.Contains(t, away.run(t, "release", full).stdout, full, "without the edge an id is taken as it is")
}

func TestCompletionKnowsIDsStatesAndCommands(t *testing.T) {
	t.Parallel()
	c, _ := namedStores(t)
	complete := func(args ...string) string {
		t.Helper()
		out := c.run(t, append([]string{"__complete"}, args...)...)
		require.Equal(t, exit.Done, out.exit, out.stderr)
		return out.stdout
	}
	require.Contains(t, complete("status", "7c"), thirdID+"\tmonitored, not_configured\n")
	require.Contains(t, complete("hold", ""), longID)
	require.NotContains(t, complete("hold", "7c"), longID)
	require.Contains(t, complete("delete", "0b5a3b46-7a2e"), otherID)
	require.Contains(t, complete("delete", longID, ""), otherID, "there may be several ids")
	require.NotContains(t, complete("status", longID, ""), otherID, "there is one id")
	require.Contains(t, complete("list", "--state", ""), "deletion_pending\n")
	require.Contains(t, complete("list", "--sort", ""), "age\n")
	require.Contains(t, complete("rec"), "reconcile\t")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out := c.run(t, "completion", shell)
		require.Equal(t, exit.Done, out.exit)
		require.Contains(t, out.stdout, "__complete", shell)
	}

	silent := setup(t, "STOREKEEPER_URL=http://"+closedPort(t))
	require.Equal(t, outcome{exit.Done, ":4\n", "Completion ended with directive: ShellCompDirectiveNoFileComp\n"}, silent.run(t, "__complete", "status", "7c"))
}

func TestAnEdgeThatHangsDoesNotKeepTheShellWaiting(t *testing.T) {
	t.Parallel()
	hanging := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := setup(t, "STOREKEEPER_URL="+hanging)
	began := time.Now()
	require.Equal(t, ":4\n", c.run(t, "__complete", "status", "7c").stdout)
	require.Less(t, time.Since(began), 10*time.Second)
}

// lines collects what a watch tells.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(l.String(), text) }, 30*time.Second, 10*time.Millisecond, "%s", text)
}

// watching runs a command until the test interrupts it, which must be exit code 0.
func (c *operator) watching(t *testing.T, args ...string) (stdout, stderr *lines, interrupt func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stdout, stderr = &lines{}, &lines{}
	ended := make(chan int, 1)
	go func() { ended <- Run(ctx, Options{Args: args, Stdout: stdout, Stderr: stderr, Environ: c.environ}) }()
	interrupt = func() {
		t.Helper()
		cancel()
		require.Equal(t, int(exit.Done), <-ended, stderr)
	}
	t.Cleanup(cancel)
	return stdout, stderr, interrupt
}

func TestAWatchTellsOfEachChangeInALine(t *testing.T) {
	t.Parallel()
	c, r := namedStores(t)
	list, _, endList := c.watching(t, "list", "--watch")
	status, _, endStatus := c.watching(t, "status", thirdID, "--watch")
	asJSON, _, endJSON := c.watching(t, "list", "--watch", "--json", "--state", "held")
	list.await(t, longID+"  monitored  not_configured")
	status.await(t, thirdID+"  monitoring")
	_, err := r.Hold(t.Context(), thirdID, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "audit", Actor: "bob", ExpiresAt: new(time.Now().Add(time.Hour))}})
	require.NoError(t, err)
	list.await(t, thirdID+"  held  ")
	status.await(t, "Held ")
	asJSON.await(t, `"reason":"audit"`)
	_, err = r.Release(t.Context(), storemanager.ReleaseRequest{StoreID: thirdID})
	require.NoError(t, err)
	asJSON.await(t, `{"gone":true,"id":"`+thirdID+`"}`)
	for _, end := range []func(){endList, endStatus, endJSON} {
		end()
	}
	require.Equal(t, 1, strings.Count(list.String(), longID), "what stays as it is is told once: %s", list)
	for line := range strings.Lines(asJSON.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

func TestAWatchGoesOnWhenTheEdgeIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			http.Error(w, `{"detail":"The store manager can't be asked"}`, http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprint(w, `{"runs":[{"runId":"run-1","startedAt":"2026-01-02T03:04:05Z","completedAt":"2026-01-02T03:04:06Z","report":{"trigger":"manual","actor":"ann"}}]}`)
	})
	c := setup(t, "STOREKEEPER_URL="+url)
	stdout, stderr, interrupt := c.watching(t, "runs", "--watch")
	stdout.await(t, "2026-01-02T03:04:05Z  1s  manual ann  0  0  0  done  run-1")
	away.Store(true)
	stderr.await(t, "The store manager can't be asked")
	away.Store(false)
	interrupt()
	away.Store(true)
	require.Equal(t, exit.Unreachable, c.run(t, "runs", "--watch").exit, "a watch that never sees anything is a failure")
}

func TestAWatchRedrawsTheTerminalAndEndsCleanly(t *testing.T) {
	t.Parallel()
	c, r := namedStores(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var held atomic.Bool
	code, shown := c.onTerminal(ctx, t, 160, func(shown string) {
		switch {
		case strings.Contains(shown, "held"):
			cancel()
		case strings.Contains(shown, "Ctrl-C ends this") && !held.Swap(true):
			_, err := r.Hold(context.Background(), thirdID, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "audit", Actor: "bob"}})
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}, "list", "--watch")
	require.Equal(t, exit.Done, code, shown)
	require.GreaterOrEqual(t, strings.Count(shown, "\x1b[H\x1b[J"), 2)
	require.True(t, strings.HasSuffix(shown, "\n"), "the prompt gets a line of its own")
}

func TestRunsShowsWhatRunsCameTo(t *testing.T) {
	t.Parallel()
	r := storetest.Open(t, storetest.Settings{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for id, run := range map[string]storemanager.ReconcileRun{
		"run-1": {Error: "the auth worker refused the token"},
		"run-2": {Report: report(t, contract.ReconcileReport{Trigger: "manual", Actor: "ann", Added: 3, AuthoritativeCount: 7})},
		"run-3": {Report: report(t, contract.ReconcileReport{Trigger: "schedule", Guard: "the authoritative list is empty"})},
	} {
		run.RunID, run.StartedAt, run.CompletedAt = id, at, at.Add(1500*time.Millisecond)
		require.NoError(t, r.RecordReconcile(t.Context(), run))
	}
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, r))
	out := c.run(t, "runs")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Regexp(t, `(?m)^2026-01-02T03:04:05Z +1\.5s +manual ann +7 +3 +0 +done +run-2$`, out.stdout)
	require.Regexp(t, `(?m)failed: the auth worker refused the token +run-1$`, out.stdout)
	require.Regexp(t, `(?m)the guard holds removals back: the authoritative list is empty +run-3$`, out.stdout)
	require.Len(t, c.run(t, "runs", "--json").fields(t)["runs"], 3)
	empty := setup(t, "STOREKEEPER_URL="+edgeOver(t, storetest.Open(t, storetest.Settings{})))
	require.Equal(t, "no runs\n", empty.run(t, "runs").stdout)
}

func report(t *testing.T, r contract.ReconcileReport) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(r)
	require.NoError(t, err)
	return raw
}
