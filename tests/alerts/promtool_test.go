// Package alerts_test holds deploy/prometheus and deploy/grafana against running systems: each alert has a scene that makes its condition true and sees
// it fire, and whatever metric a rule, a dashboard or a page names exists. The rules are evaluated by Prometheus itself (promtool), as they are.
package alerts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root  = "../.."
	rules = root + "/deploy/prometheus/rules"
)

// promtool is the path of Prometheus' program. Without it the test skips, or fails if PROMTOOL is set.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("PROMTOOL") != "" {
			t.Fatal("promtool is missing: apt-get install prometheus")
		}
		t.Skip("promtool is missing (apt-get install prometheus); PROMTOOL=1 fails here")
	}
	return path
}

// run runs promtool, and returns what it says and whether it agrees.
func run(t *testing.T, args ...string) (said string, ok bool) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), promtool(t), args...).CombinedOutput()
	if err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
	}
	return string(out), err == nil
}

// glob returns the files of a pattern from the root, at least one.
func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, pattern))
	require.NoError(t, err)
	require.NotEmpty(t, found, pattern)
	return found
}

func TestPrometheusTakesTheExampleAndTheRulesAndTheirTests(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"check", "config", root + "/deploy/prometheus/prometheus.yml"},
		append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, glob(t, "deploy/prometheus/rules/*.yml")...),
		append([]string{"test", "rules"}, glob(t, "deploy/prometheus/tests/*.yml")...),
	} {
		said, ok := run(t, args...)
		require.True(t, ok, said)
	}
}
