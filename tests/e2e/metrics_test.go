package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
	"storekeeper/internal/demo"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/harness"
)

// A metric that nothing ever sets looks like one of a quiet system.
func TestEveryMetricOfOursIsSetAndFollowsWhatHappens(t *testing.T) {
	t.Parallel()
	in := harness.StartWith(t, standalone.Options{DataDir: t.TempDir()})
	scrape := func() string { return in.Do(http.MethodGet, in.EdgeURL+"/metrics", "").Body }
	shows := func(line string) {
		t.Helper()
		in.Eventually(line, func() bool { return strings.Contains(scrape(), "storekeeper_"+line+"\n") })
	}
	shows(`deliveries 0`)
	shows(`stores{state="monitored"} 0`)
	shows(`reconcile_implausible 0`)
	user := in.SignUp()
	id := user.Create()
	in.Eventually("monitored", func() bool { return in.Monitored(id) && in.Monitored(user.Default) })
	shows(`deliveries 2`)
	shows(`stores{state="monitored"} 2`)
	shows(`store_connections{connection="connected"} 2`)
	shows(`webhook_events_total{event="workspace.created",outcome="monitoring_started"} 2`)
	shows(`webhook_duration_seconds_count{event="workspace.created",outcome="monitoring_started"} 2`)
	shows(`provisioning_latency_seconds_count 2`)
	shows(`webhook_provisioning_latency_seconds_count 2`)
	shows(`stores_provisioned_total 2`)
	shows(`workers_polling 1`)
	shows(`event_backlog_age_seconds 0`)
	shows(`reconcile_interval_seconds 86400`)
	shows(`operations_total{operation="EnsureStore",outcome="succeeded"} 2`)
	shows(`operation_duration_seconds_count{operation="EnsureStore"} 2`)
	require.Equal(t, http.StatusUnauthorized, in.Do(http.MethodPost, in.EdgeURL+"/webhooks/workspaces", `{}`, "X-Webhook-Secret", "wrong").Code)
	require.Contains(t, scrape(), `storekeeper_webhook_auth_total{method="none",outcome=`)
	user.Delete(id)
	shows(`stores{state="deletion_pending"} 1`)
	shows(`store_deletions{deletion="pending"} 1`)

	in.SignUpSilently()
	_, err := reconcile(in, "")
	require.NoError(t, err)
	shows(`reconcile_drift{kind="missing"} 1`)
	shows(`reconcile_failing_stores 0`)
	shows(`repair_age_seconds_bucket{le="60"} 1`)
	in.Auth.SetFault(demo.FaultTruncated)
	_, err = reconcile(in, "")
	require.Error(t, err)
	shows(`reconcile_implausible 1`)
	require.Contains(t, scrape(), `storekeeper_reconcile_runs_total{outcome="failed"} 1`)
	in.Auth.SetFault(demo.FaultNone)
	_, err = reconcile(in, "")
	require.NoError(t, err)
	shows(`reconcile_implausible 0`)
	shows(`reconcile_drift{kind="missing"} 0`)
	in.Auth.SetFault(demo.FaultEmpty)
	_, err = reconcile(in, "")
	require.NoError(t, err)
	shows(`reconcile_implausible 1`)

	_, err = in.Stores.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{Reason: "r", Actor: "a"}})
	require.NoError(t, err)
	shows(`pauses{of="all_stores"} 1`)
	require.NoError(t, in.Temporal.ScheduleClient().GetHandle(t.Context(), contract.ReconcileScheduleID).Pause(t.Context(), client.SchedulePauseOptions{}))
	shows(`pauses{of="schedule"} 1`)
	require.Regexp(t, `storekeeper_pause_oldest_timestamp_seconds\{of="schedule"\} 1\.`, scrape())

	for _, database := range []string{"registry", "temporal", "temporal_visibility"} {
		require.Regexp(t, `\nstorekeeper_database_size_bytes{database="`+database+`"} [1-9]`, scrape())
	}
	body := scrape() // and what is left must at least be there
	paths, err := filepath.Glob("../../internal/telemetry/*.go")
	require.NoError(t, err)
	var names [][]string
	for _, path := range slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, "_test.go") }) {
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		names = append(names, metricNames.FindAllStringSubmatch(string(source), -1)...)
	}
	require.Greater(t, len(names), 20)
	for _, name := range names {
		if name[1] == "secrets_refused" {
			continue // it is there where a secret is in a file, as in tests/alerts
		}
		require.Contains(t, body, "\n# TYPE storekeeper_"+name[1]+" ", "nothing sets it")
	}
	success := regexp.MustCompile(`(?m)^storekeeper_reconcile_last_success_timestamp_seconds \S+$`)
	before := success.FindString(body)
	require.NoError(t, in.Stores.Resume(t.Context(), storemanager.ResumeRequest{}))
	_, err = reconcile(in, "")
	require.NoError(t, err)
	in.Eventually("the last success", func() bool { return success.FindString(scrape()) != before })
}

// metricNames finds the names of our metrics in the code that declares them.
var metricNames = regexp.MustCompile(`(?:[ (](?:counter|gauge|histogram|desc)\("|"storekeeper_)([a-z_]+)"`)
