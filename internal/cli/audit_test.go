package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// audited is an edge whose trail has ann's hold of ws-1 and bob's of ws-2, after a webhook had created both.
func audited(t *testing.T, environ ...string) (*operator, *storetest.Database) {
	t.Helper()
	r := storetest.Open(t, storetest.Settings{})
	for id, who := range map[string]string{"ws-1": "ann", "ws-2": "bob"} {
		_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{
			StoreID: id, At: time.Now(), Origin: storemanager.Origin{Source: storemanager.SourceWebhook, Actor: "secret#1", DeliveryID: "d-" + id},
		})
		require.NoError(t, err)
		_, err = r.Hold(t.Context(), id, storemanager.HoldRequest{
			Hold:   storemanager.Hold{Reason: "an \x1b[2J export", Actor: who},
			Origin: storemanager.Origin{Source: storemanager.SourceOperator, Actor: who, Via: "cli", Reason: "an \x1b[2J export", Batch: "batch-" + who, RunID: "run-" + who},
		})
		require.NoError(t, err)
	}
	return setup(t, append(environ, "STOREKEEPER_URL="+edgeOver(t, r))...), r
}

// entries decodes the lines of an export.
func (o outcome) entries(t *testing.T) (all []storemanager.AuditEntry) {
	t.Helper()
	require.Equal(t, exit.Done, o.exit, o.stderr)
	for line := range strings.Lines(o.stdout) {
		var e storemanager.AuditEntry
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		all = append(all, e)
	}
	return all
}

func TestHistorySaysWhatWasDecidedAboutAStoreByWhomAndWhy(t *testing.T) {
	t.Parallel()
	c, _ := audited(t, "NO_COLOR=1")
	out := c.run(t, "history", "ws-1")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Regexp(t, `(?m)^TIME +KIND +OUTCOME +WHO +VIA +WHY +DETAIL$`, out.stdout)
	require.Regexp(t, `(?s)hold +done +ann +cli +an  \[2J export.*ensure +created +webhook secret#1`, out.stdout, "newest first")
	require.NotContains(t, out.stdout, "bob")
	require.NotContains(t, out.stdout, "\x1b", "what others wrote must not steer the terminal")

	oldestFirst := c.run(t, "history", "ws-1", "--json").entries(t)
	require.Len(t, oldestFirst, 2)
	require.Equal(t, []storemanager.AuditKind{"ensure", "hold"}, []storemanager.AuditKind{oldestFirst[0].Kind, oldestFirst[1].Kind})
	require.NotNil(t, oldestFirst[1].Evidence, "the export has all of it")
	require.Len(t, c.run(t, "history", "ws-1", "--kind", "ensure", "--json").entries(t), 1)
	require.Equal(t, "no entries\n", c.run(t, "history", "never-1").stdout)

	code, narrow := c.onTerminal(t.Context(), t, 60, ignore, "history", "ws-1")
	require.Equal(t, exit.Done, code)
	for line := range strings.Lines(narrow) {
		require.LessOrEqual(t, runewidth.StringWidth(strings.TrimSuffix(line, "\n")), 60, line)
	}
}

func TestAuditFindsEntriesByWhatIsKnownOfThem(t *testing.T) {
	t.Parallel()
	c, r := audited(t)
	_, err := r.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{Reason: "moving", Actor: "cid"}})
	require.NoError(t, err)
	hour := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for want, args := range map[int][][]string{
		5: {{}, {"--since", "1h"}, {"--until", hour}, {"--limit", "0"}},
		2: {{"--kind", "hold,release"}, {"--source", "webhook"}, {"--store", "ws-2"}, {"--limit", "2"}},
		1: {{"--actor", "ann"}, {"--run", "run-bob"}, {"--batch", "batch-bob"}, {"--kind", "pause"}},
		0: {{"--since", hour}, {"--until", "1h"}, {"--actor", "dan"}, {"--actor", "ann", "--store", "ws-2"}},
	} {
		for _, args := range args {
			require.Len(t, c.run(t, append([]string{"audit", "--json"}, args...)...).entries(t), want, args)
		}
	}
	out := c.run(t, "audit", "--limit", "1")
	require.Regexp(t, `(?m)^TIME +KIND +OUTCOME +STORE +WHO +VIA +WHY +DETAIL$`, out.stdout)
	require.Equal(t, 2, strings.Count(out.stdout, "\n"))
	require.Contains(t, out.stdout, "cid", "the newest one")
	require.Contains(t, out.stderr, "--limit 0 shows all")

	for _, args := range [][]string{
		{"audit", "--kind", "holds"},
		{"audit", "--since", "yesterday"},
		{"audit", "--source", "ann"},
		{"audit", "--limit", "-1"},
		{"audit", "--store", "../x"},
		{"audit", "ws-1"},
		{"history"},
		{"verify-removals", "--since", "x"},
	} {
		require.Equal(t, exit.Usage, c.run(t, args...).exit, args)
	}
	older := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"detail":"Not found"}`)
	})
	for _, args := range [][]string{{"audit"}, {"history", "ws-1"}, {"verify-removals"}} {
		out := c.run(t, append(args, "--url", older)...)
		require.Equal(t, exit.Unreachable, out.exit)
		require.Contains(t, out.stderr, "older than this starter")
	}
}

func TestAnExportHasAllPages(t *testing.T) {
	t.Parallel()
	r := storetest.Open(t, storetest.Settings{})
	for i := range edgeclient.PageSize + 10 {
		_, err := r.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: fmt.Sprintf("store-%d", i), Reason: "r", Actor: "ann"}})
		require.NoError(t, err)
	}
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, r))
	all := c.run(t, "audit", "--json").entries(t)
	require.Len(t, all, edgeclient.PageSize+10)
	require.True(t, slices.IsSortedFunc(all, func(a, b storemanager.AuditEntry) int { return int(a.Seq - b.Seq) }))
	require.Equal(t, edgeclient.PageSize+11, strings.Count(c.run(t, "audit", "--limit", "0").stdout, "\n"))
	require.Equal(t, auditLimit+1, strings.Count(c.run(t, "audit").stdout, "\n"))
}

// removed has the registry stop a store, after an event had asked for it.
func removed(t *testing.T, r *storetest.Database, id string) {
	t.Helper()
	by := storemanager.Origin{Source: storemanager.SourceOperator, Actor: "ann", Via: "cli", Reason: "gone"}
	_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: time.Now().Add(-time.Minute)})
	require.NoError(t, err)
	_, err = r.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: id, At: time.Now(), DeleteAt: time.Now(), Owner: "run", Origin: by})
	require.NoError(t, err)
	answer, err := r.Stop(t.Context(), storemanager.StopRequest{
		StoreID: id, Owner: "run", AbsentAt: time.Now(), Origin: by, Recheck: storemanager.ListRef{At: time.Now(), Hash: "list"},
	})
	require.NoError(t, err)
	require.Equal(t, storemanager.StopStopped, answer.Outcome)
}

func TestEachRemovalIsJudgedAnewAndNamedIfItsEvidenceDoesNotJustifyIt(t *testing.T) {
	t.Parallel()
	r := storetest.Open(t, storetest.Settings{})
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, r))
	require.Contains(t, c.run(t, "verify-removals").stdout, "no stops")
	removed(t, r, "right-1")
	out := c.run(t, "verify-removals")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.True(t, strings.HasPrefix(out.stdout, "1 stops, each justified by its evidence"), out.stdout)
	require.Contains(t, out.stderr, "entries read: ", "it says how far it is")

	// One from before there was a trail.
	insert := func(id, evidence string) {
		r.Exec(t, `INSERT INTO audit (at, kind, store_id, outcome, detail, source, actor, via, reason, delivery_id, run_id, request_id, trace_id, batch, plan, user_id, evidence)
			VALUES (?, 'stop', ?, 'stopped', '', '', '', '', '', '', '', '', '', '', '', '', ?)`, time.Now().UnixMicro(), id, evidence)
	}
	insert("ancient-1", "")
	out = c.run(t, "verify-removals")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, "2 stops, each justified by what is known of it, 1 not proven")
	require.Contains(t, out.stdout, "ancient-1")

	// One that nobody asked the Auth Worker about.
	now := time.Now().UTC().Format(time.RFC3339Nano)
	insert("wrong-1", `{"deletion":{"eventAt":"`+now+`","since":"`+now+`","deleteAt":"`+now+`","owner":"run","cause":{"source":"operator","actor":"ann"}}}`)
	out = c.run(t, "verify-removals")
	require.Equal(t, exit.Refused, out.exit, out.stdout)
	require.True(t, strings.HasPrefix(out.stdout, "3 stops, 1 NOT justified by their evidence"), out.stdout)
	for _, says := range []string{"wrong-1", "the Auth Worker was not asked again", "starter history wrong-1", "not all is known of them: 1"} {
		require.Contains(t, out.stdout, says)
	}
	require.NotContains(t, out.stdout, "right-1")
	report := c.ends(t, exit.Refused, "verify-removals")
	require.Len(t, report["unjustified"], 1)
	require.InDelta(t, 3, report["stops"], 0)
	require.Contains(t, c.run(t, "verify-removals", "--since", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)).stdout, "no stops")
}
