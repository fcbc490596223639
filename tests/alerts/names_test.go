package alerts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
	"storekeeper/internal/config"
	"storekeeper/internal/demo"
	"storekeeper/internal/process"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/harness"
)

// metric is what /metrics says of one.
type metric struct{ kind, help, labels string }

var (
	helpLine  = regexp.MustCompile(`(?m)^# HELP ((?:storekeeper|temporal)_\S+) (.*)$`)
	typeLine  = regexp.MustCompile(`(?m)^# TYPE ((?:storekeeper|temporal)_\S+) (\S+)$`)
	labelName = regexp.MustCompile(`([a-z_]+)="`)
	suffix    = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// metrics are those of some processes.
func metrics(bodies ...string) map[string]metric {
	all := map[string]metric{}
	for _, body := range bodies {
		for _, found := range typeLine.FindAllStringSubmatch(body, -1) {
			m := all[found[1]]
			m.kind = found[2]
			all[found[1]] = m
		}
		for _, found := range helpLine.FindAllStringSubmatch(body, -1) {
			m := all[found[1]]
			m.help = found[2]
			all[found[1]] = m
		}
		for _, found := range sample.FindAllStringSubmatch(body, -1) {
			name := found[1]
			if _, ok := all[name]; !ok {
				name = suffix.ReplaceAllString(name, "")
			}
			m, ok := all[name]
			if !ok {
				continue
			}
			var labels []string
			for _, label := range labelName.FindAllStringSubmatch(found[2], -1) {
				if label[1] != "le" {
					labels = append(labels, "`"+label[1]+"`")
				}
			}
			m.labels = strings.Join(labels, ", ")
			all[name] = m
		}
	}
	return all
}

// everything starts a whole system and one whose roles are apart, has all happen that there is a metric for, and returns what asks them all.
func everything(t *testing.T) func() map[string]metric {
	t.Helper()
	in := harness.StartWith(t, standalone.Options{DataDir: t.TempDir()})
	user := in.SignUp()
	id := user.Create()
	in.Eventually("monitored", func() bool { return in.Monitored(id) })
	user.Delete(id)
	in.Auth.SetFault(demo.FaultTruncated)
	require.Error(t, reconcile(in))
	_, err := in.Stores.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{Reason: "r", Actor: "a"}})
	require.NoError(t, err)
	_, err = in.Temporal.DescribeWorkflowExecution(t.Context(), "unknown", "")
	require.Error(t, err)
	a := startApart(t, tokens{})
	a.startWorker()
	a.Eventually("a worker polls", func() bool { return a.Orchestrator.WorkersPolling(t.Context()) == nil })
	a.SignUp()
	require.NoError(t, a.Temporal.ScheduleClient().GetHandle(t.Context(), contract.ReconcileScheduleID).Pause(t.Context(), client.SchedulePauseOptions{}))
	files := ofFiles(t)
	return func() map[string]metric {
		bodies := []string{files}
		for _, url := range []string{in.EdgeURL + "/metrics", a.EdgeURL + "/metrics", a.api.URL + "/metrics", a.workerURL} {
			bodies = append(bodies, in.Do(http.MethodGet, url, "").Body)
		}
		return metrics(bodies...)
	}
}

// ofFiles is what a process shows that has a secret in a file.
func ofFiles(t *testing.T) (body string) {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("the-token"), 0o600))
	cmd := process.Command(process.Options{
		Use: "it", Role: config.RoleStoreManager, Environ: func() ([]string, error) { return []string{"SERVER_BYPASS_TOKEN_FILE=" + token}, nil },
		Run: func(_ context.Context, p *process.Process) error {
			w := httptest.NewRecorder()
			p.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
			body = w.Body.String()
			return nil
		},
	})
	cmd.SetArgs([]string{})
	require.NoError(t, cmd.ExecuteContext(t.Context()))
	return body
}

// sharedNames are the metrics that several processes show the same of.
func sharedNames(t *testing.T) map[string]bool {
	t.Helper()
	shared := map[string]bool{}
	for _, found := range regexp.MustCompile(`desc\("([a-z0-9_]+)"`).FindAllStringSubmatch(read(t, root+"/internal/telemetry/metrics_shared.go"), -1) {
		shared["storekeeper_"+found[1]] = true
	}
	require.NotEmpty(t, shared)
	return shared
}

// page is docs/metrics.md.
func page(t *testing.T, all map[string]metric) string {
	t.Helper()
	shared := sharedNames(t)
	var b strings.Builder
	b.WriteString("# Metrics\n\nMade by `UPDATE_DOCS=1 go test ./tests/alerts -run TestThePageOfMetrics` of what running systems show; a test compares. " +
		"[What to scrape](" + strings.TrimPrefix("docs/operations.md", "docs/") + "#what-to-scrape) says where.\nNo label ever holds an id. Beside these there are the usual ones of the Go runtime and of the process.\n")
	table := func(title, intro string, in func(name string) bool) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", title, intro)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if m := all[name]; in(name) {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, m.kind, m.labels, m.help)
			}
		}
	}
	table("What several processes know", "The same whichever process is scraped, so take `max()` and never `sum()`. The store manager apart knows of no Temporal: it has "+
		"no `storekeeper_temporal_reachable`,\n`storekeeper_workers_polling`, `storekeeper_event_backlog_age_seconds` and `storekeeper_reconcile_interval_seconds`, and no pause of the schedule.",
		func(name string) bool { return shared[name] })
	table("What one process did", "Take `sum()`. The edge counts webhooks, workers count operations, runs and latencies, the store manager events of stores.",
		func(name string) bool { return strings.HasPrefix(name, "storekeeper_") && !shared[name] })
	table("Of Temporal's SDK", "Of edges and workers. The SDK has more; the others are left out.", func(name string) bool { return strings.HasPrefix(name, "temporal_") })
	return b.String()
}

func TestThePageOfMetricsIsUpToDateAndWhatIsNamedExists(t *testing.T) {
	t.Parallel()
	ask := everything(t)
	path := root + "/docs/metrics.md"
	if os.Getenv("UPDATE_DOCS") != "" {
		require.NoError(t, os.WriteFile(path, []byte(page(t, ask())), 0o600))
	}
	want := read(t, path)
	var is string
	for end := time.Now().Add(harness.Patience); is != want && time.Now().Before(end); is = page(t, ask()) { // some appear with the first scrapes
		<-time.After(50 * time.Millisecond)
	}
	require.Equal(t, want, is, "run UPDATE_DOCS=1 go test ./tests/alerts -run TestThePageOfMetrics")

	all := ask()
	recorded := read(t, rules+"/recording.yml")
	paths := slices.Concat(glob(t, "deploy/prometheus/*.yml"), glob(t, "deploy/prometheus/*/*.yml"), glob(t, "deploy/grafana/*.json"), glob(t, "docs/*.md"), glob(t, "docs/*/*.md"), glob(t, "README.md"))
	named := 0
	for _, path := range paths {
		text := read(t, path)
		for _, name := range metricName.FindAllString(text, -1) {
			_, whole := all[name]
			if m, part := all[suffix.ReplaceAllString(name, "")]; !whole && (!part || m.kind != "histogram") {
				require.Contains(t, notMetrics, name, "%s names it, and no running system shows it", path)
			}
			named++
		}
		for _, name := range regexp.MustCompile(`storekeeper:[a-z0-9_:]+`).FindAllString(text, -1) {
			require.Contains(t, recorded, "record: "+name+"\n", path)
		}
	}
	require.Greater(t, named, 100)
}

// notMetrics look like names of metrics, and are names of other things.
var notMetrics = []string{"temporal_visibility"}

// dashboard is what a Grafana dashboard must have.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []struct {
		ID          int
		Type, Title string
		GridPos     struct{ H, W, X, Y int }
		Datasource  struct{ Type, UID string }
		Targets     []struct{ RefID, Expr string }
	}
}

func TestDashboardsAreWhatGrafanaTakes(t *testing.T) {
	t.Parallel()
	uids := map[string]bool{}
	var exprs strings.Builder
	exprs.WriteString("groups:\n- name: of-dashboards\n  rules:\n")
	for _, path := range glob(t, "deploy/grafana/*.json") {
		var d dashboard
		require.NoError(t, json.Unmarshal([]byte(read(t, path)), &d))
		require.NotEmpty(t, d.Title)
		require.False(t, uids[d.UID])
		uids[d.UID] = true
		require.GreaterOrEqual(t, d.SchemaVersion, 36)
		taken := map[[2]int]string{}
		for i, p := range d.Panels {
			require.Equal(t, i+1, p.ID, "ids are the panels' own")
			require.Contains(t, []string{"row", "stat", "timeseries"}, p.Type)
			require.NotEmpty(t, p.Title)
			require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					require.Empty(t, taken[at], "%s lies over another one", p.Title)
					taken[at] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			require.Equal(t, "${datasource}", p.Datasource.UID)
			require.NotEmpty(t, p.Targets)
			for j, target := range p.Targets {
				require.Equal(t, string(rune('A'+j)), target.RefID)
				fmt.Fprintf(&exprs, "  - record: 'of:panel%d_%d_%d'\n    expr: '%s'\n", len(uids), i, j, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"))
			}
		}
	}
	require.Len(t, uids, 2)
	path := filepath.Join(t.TempDir(), "panels.yml")
	require.NoError(t, os.WriteFile(path, []byte(exprs.String()), 0o600))
	said, ok := run(t, "check", "rules", path)
	require.True(t, ok, said)
}
