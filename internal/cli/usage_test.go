package cli

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"storekeeper/internal/cli/exit"

	"github.com/stretchr/testify/require"
)

func TestBadArgumentsAreUsageErrorsAndReachNobody(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"an unknown command":                  {[]string{"provisoin", "ws-1"}, "unknown command"},
		"an unknown flag":                     {[]string{"list", "--all"}, "unknown flag"},
		"no id":                               {[]string{"provision"}, "a store id is needed"},
		"a deletion without a reason":         {[]string{"delete", "ws-1"}, "it is kept in the audit trail"},
		"a pause without a reason":            {[]string{"pause", "ws-1"}, "it is kept in the audit trail"},
		"an end without a reason":             {[]string{"resume"}, "it is kept in the audit trail"},
		"an approval without a reason":        {[]string{"reconcile", "--apply", "0123456789abcdef"}, "it is kept in the audit trail"},
		"an acknowledgement without a reason": {[]string{"acknowledge"}, "it is kept in the audit trail"},
		"--user for two":                      {[]string{"provision", "ws-1", "ws-2", "--yes", "--user", "u"}, "--user goes with one store alone"},
		"--wait for two":                      {[]string{"delete", "ws-1", "ws-2", "--reason", "r", "--yes", "--wait"}, "--wait goes with one store alone"},
		"a file that is not there":            {[]string{"hold", "--file", "/nowhere", "--reason", "r"}, "--file can't be read"},
		"a file on a stdin that is none":      {[]string{"hold", "--file", "-", "--reason", "r"}, "ids on stdin"},
		"two ids that nobody confirms":        {[]string{"delete", "ws-1", "ws-2", "--reason", "r"}, "--yes"},
		"an id that can be no store's":        {[]string{"provision", "../etc"}, "3 to 64 letters"},
		"an id that is too short":             {[]string{"status", "ab"}, "3 to 64 letters"},
		"a negative grace period":             {[]string{"delete", "ws-1", "--reason", "r", "--grace=-1h"}, "--grace"},
		"a grace period without a unit":       {[]string{"delete", "ws-1", "--reason", "r", "--grace", "24"}, "--grace"},
		"a negative wait":                     {[]string{"provision", "ws-1", "--wait=-1s"}, "--wait"},
		"a hold without a reason":             {[]string{"hold", "ws-1"}, "it is kept in the audit trail"},
		"a hold with an empty reason":         {[]string{"hold", "ws-1", "--reason", " "}, "--reason"},
		"a cancellation without a reason":     {[]string{"cancel-delete", "ws-1"}, "it is kept in the audit trail"},
		"a hold that has ended":               {[]string{"hold", "ws-1", "--reason", "r", "--for", "0s"}, "--for"},
		"an unknown state":                    {[]string{"list", "--state", "gone"}, "want one of deletion_pending, held, pinned, paused, not_configured, connecting, connected, disconnected, error, stuck"},
		"a negative limit":                    {[]string{"list", "--limit=-1"}, "--limit"},
		"an approval that is no hash":         {[]string{"reconcile", "--apply", "yes"}, "16 hexadecimal digits"},
		"an approval that is empty":           {[]string{"reconcile", "--apply", ""}, "16 hexadecimal digits"},
		"a timeout of nothing":                {[]string{"list", "--timeout", "0s"}, "--timeout"},
		"a URL that is none":                  {[]string{"list", "--url", "127.0.0.1:3003"}, "--url"},
		"a URL that holds a password":         {[]string{"list", "--url", "http://u:" + testToken + "@127.0.0.1"}, "--url"},
		"a health check of nothing":           {[]string{"healthcheck"}, "accepts 1 arg"},
		"a health check of what is no URL":    {[]string{"healthcheck", "file:///etc/passwd"}, "no http or https URL"},
		"a profile that does not exist":       {[]string{"provision", "ws-1", "--profile", "nowhere"}, "--profile"},
		"arguments where none are taken":      {[]string{"reconcile", "ws-1"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, "TEMPORAL_ADDRESS="+closedPort(t), "STOREKEEPER_URL=http://"+closedPort(t))
			out := c.run(t, tc.args...)
			require.Equal(t, exit.Usage, out.exit, out.stderr)
			require.Empty(t, out.stdout)
			require.True(t, strings.HasPrefix(out.stderr, "starter: "), out.stderr)
			require.Contains(t, out.stderr, tc.says)

			out = c.run(t, append(tc.args, "--json")...)
			require.Equal(t, exit.Usage, out.exit)
			require.Equal(t, "usage", out.errorCode(t))
		})
	}
}

func TestABadSettingIsAUsageErrorThatDoesNotShowASecret(t *testing.T) {
	t.Parallel()
	c := setup(t, "SERVER_BYPASS_TOKEN="+testToken+" "+testToken, "STOREKEEPER_URL=nowhere")
	out := c.run(t, "list")
	require.Equal(t, exit.Usage, out.exit)
	require.Contains(t, out.stderr, "SERVER_BYPASS_TOKEN")
	require.Contains(t, out.stderr, "STOREKEEPER_URL")
}

func TestEveryCommandHelpsWithAnExample(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for _, name := range []string{
		"provision", "delete", "cancel-delete", "hold", "release", "push", "emit", "status", "list", "reconcile", "runs", "drift", "pause", "resume", "healthcheck", "doctor",
		"version", "history", "audit", "verify-removals", "health", "acknowledge", "backup",
	} {
		out := c.run(t, name, "--help")
		require.Equal(t, exit.Done, out.exit)
		require.Contains(t, out.stdout, "starter "+name, "an example of %s", name)
	}
	require.Contains(t, c.run(t, "--help").stdout, "temporal schedule toggle --schedule-id workspace-reconcile --pause")
	require.Contains(t, c.run(t, "--help").stdout, "Exit codes:")
	require.Contains(t, c.run(t, "--help").stdout, "has it as exitCode")
	require.Contains(t, c.run(t, "cancel-delete", "--help").stdout, "temporal workflow signal --workflow-id workspace/ws-1 --name cancel-deletion")
	require.Contains(t, c.run(t, "reconcile", "--help").stdout, "temporal schedule trigger --schedule-id workspace-reconcile")
}

func TestTemporalOutOfReachIsToldSoon(t *testing.T) {
	t.Parallel()
	address := closedPort(t)
	for name, args := range map[string][]string{
		"provision":     {"provision", "ws-1"},
		"delete":        {"delete", "ws-1", "--reason", "r"},
		"delete --wait": {"delete", "ws-1", "--reason", "r", "--wait"},
		"cancel-delete": {"cancel-delete", "ws-1", "--reason", "r"},
		"hold":          {"hold", "ws-1", "--reason", "r"},
		"release":       {"release", "ws-1"},
		"reconcile":     {"reconcile", "--wait"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, "TEMPORAL_API_KEY="+testAPIKey, "TEMPORAL_TLS=false")
			began := time.Now()
			out := c.run(t, append(args, "--json", "--address", address)...)
			require.Equal(t, exit.Unreachable, out.exit, out.stderr)
			require.Equal(t, "unreachable", out.errorCode(t))
			require.Contains(t, out.stderr, address)
			require.Contains(t, out.stderr, "TEMPORAL_ADDRESS")
			require.Less(t, time.Since(began), 8*time.Second)
		})
	}
}

func TestATimeOutIsNoOutage(t *testing.T) {
	t.Parallel()
	in := installed(t)
	stalled := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := setup(t, "TEMPORAL_ADDRESS="+in.address, "STOREKEEPER_URL="+stalled)
	for name, args := range map[string][]string{
		"Temporal": {"reconcile", "--timeout", "1us"}, "the edge": {"list", "--timeout", "20ms"},
	} {
		out := c.run(t, args...)
		require.Equal(t, exit.Unreachable, out.exit, "%s: %s", name, out.stderr)
		require.Contains(t, out.stderr, "--timeout", name)
		require.NotContains(t, out.stderr, "can't be reached", name)
	}
}

func TestAnInterruptedCommandSaysSo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	out := setup(t).runContext(ctx, t, "list", "--url", url, "--json")
	require.Equal(t, exit.Interrupted, out.exit)
	require.Equal(t, "interrupted", out.errorCode(t))
}

func TestVersionNamesTheBuild(t *testing.T) {
	t.Parallel()
	c := setup(t)
	require.Contains(t, c.run(t, "version").stdout, "starter ")
	require.NotEmpty(t, c.run(t, "version", "--json").fields(t)["version"])
}
