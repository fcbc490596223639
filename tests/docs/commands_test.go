package docs_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/cli"
	"storekeeper/tests/commandlines"
)

// exitUsage is the exit code of starter for what it can't understand.
const exitUsage = 2

// operatorsPages are those whose commands operators type in a hurry.
func operatorsPages(t *testing.T) map[string]string {
	t.Helper()
	found := pages(t)
	for name := range found {
		if !slices.Contains([]string{"README.md", "docs/operations.md", "docs/rotation.md", "docs/audit.md", "docs/decisions.md"}, name) && !strings.HasPrefix(name, "docs/runbooks/") {
			delete(found, name)
		}
	}
	require.Greater(t, len(found), 20)
	return found
}

func TestEveryCommandOfAnOperatorsPageIsUnderstood(t *testing.T) {
	t.Parallel()
	ids := filepath.Join(t.TempDir(), "ids.txt")
	require.NoError(t, os.WriteFile(ids, []byte("ws-1\n"), 0o600))
	lines := map[string][]string{} // by the page that has them
	for name, text := range operatorsPages(t) {
		for _, line := range commandlines.Of(text) {
			lines[line] = append(lines[line], name)
		}
	}
	require.Greater(t, len(lines), 20)
	for line, where := range lines {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			args := commandlines.Args(line, map[string]string{"ID": "ws-1", "DIR": filepath.Join(t.TempDir(), "backup"), "ids.txt": ids})
			var out bytes.Buffer
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for i, arg := range args {
				if strings.HasPrefix(arg, "/var/backups/") {
					args[i] = filepath.Join(t.TempDir(), "backup")
				}
			}
			isName := len(args) == 1 && !slices.ContainsFunc(where, func(page string) bool { return strings.HasPrefix(page, "docs/runbooks/") })
			if isName || slices.Contains(args, "--watch") { // a page speaks of it, or it would not end
				args = append(args, "--help")
			}
			// Nobody listens there: a command that is understood ends with another code than that of usage.
			code := cli.Run(ctx, cli.Options{Args: append([]string{"--timeout", "1s"}, args...), Stdout: &out, Stderr: &out, Environ: []string{
				"USER=ann", "SERVER_BYPASS_TOKEN=token", "WEBHOOK_SECRET=secret", "STOREKEEPER_URL=http://127.0.0.1:1", "TEMPORAL_ADDRESS=127.0.0.1:1",
				"LIVESTORE_SYNC_URL=ws://127.0.0.1:1", "TEMPORAL_CONFIG_FILE=" + filepath.Join(t.TempDir(), "none.toml"),
			}})
			require.NotEqual(t, exitUsage, code, "%v have it: %s", where, out.String())
		})
	}
}

func TestEveryRunbookSaysWhereToLookAndHowToVerify(t *testing.T) {
	t.Parallel()
	sections := regexp.MustCompile(`(?m)^## (.*)$`)
	for name, text := range operatorsPages(t) {
		if !strings.HasPrefix(name, "docs/runbooks/Storekeeper") {
			continue
		}
		var titles []string
		for _, found := range sections.FindAllStringSubmatch(text, -1) {
			titles = append(titles, found[1])
		}
		require.Equal(t, []string{"Meaning", "Look here", "Do this", "Verify"}, titles, name)
	}
}
