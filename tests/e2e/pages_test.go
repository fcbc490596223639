package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/cli"
	"storekeeper/internal/standalone"
	"storekeeper/tests/commandlines"
	"storekeeper/tests/harness"
)

func page(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", path))
	require.NoError(t, err)
	return string(text)
}

// operatorsEnviron is what starter needs to know of a demo installation.
func operatorsEnviron(t *testing.T, in *harness.Installation) []string {
	t.Helper()
	return []string{
		"USER=ann", "SERVER_BYPASS_TOKEN=" + standalone.DemoBypassToken, "STOREKEEPER_URL=" + in.EdgeURL, "TEMPORAL_ADDRESS=" + in.TemporalAddress,
		"TEMPORAL_CONFIG_FILE=" + filepath.Join(t.TempDir(), "none.toml"), "LIVESTORE_SYNC_URL=" + in.Sync.URL(), "AUTH_WORKER_INTERNAL_URL=" + in.AuthURL,
	}
}

// section is the text of a runbook below one of its headings.
func section(text, title string) string {
	_, after, _ := strings.Cut(text, "\n## "+title+"\n")
	before, _, _ := strings.Cut(after, "\n## ")
	return before
}

func TestWhatRunbooksHaveAnOperatorLookAtEndsWithADocumentedExitCode(t *testing.T) {
	t.Parallel()
	in := harness.Start(t)
	id := in.SignUp().Default
	in.Eventually("monitored", func() bool { return in.Monitored(id) })
	files, err := filepath.Glob("../../docs/runbooks/Storekeeper*.md")
	require.NoError(t, err)
	require.Greater(t, len(files), 20)
	commands := map[string]bool{}
	for _, file := range files {
		text := page(t, filepath.Join("docs/runbooks", filepath.Base(file)))
		for _, title := range []string{"Look here", "Verify"} {
			require.NotEmpty(t, section(text, title), "%s: %s", file, title)
			for _, command := range commandlines.Of(section(text, title)) {
				commands[command] = true
			}
		}
	}
	require.Greater(t, len(commands), 5)
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := cli.Run(t.Context(), cli.Options{Args: args, Stdout: &out, Stderr: &out, Environ: operatorsEnviron(t, in)})
		return code, out.String()
	}
	_, help := run("--help")
	for command := range commands {
		code, text := run(commandlines.Args(command, map[string]string{"ID": id})...)
		require.NotContains(t, []int{1, 2, 3}, code, "%s: %s", command, text) // here nothing is wrong, and nobody is away
		require.Regexp(t, fmt.Sprintf(`(?m)^  %d +\S`, code), help, "%s: %s", command, text)
	}
}

// promised is what must be on the screen, or true afterwards, of a command of README with this comment.
var promised = map[string]string{
	"the monitored stores, and whether they are connected":      `ID .*connected`,
	"an event for a store, and how long it takes to arrive":     `\d+ ?ms`,
	"a deletion is pending, for 24 hours":                       `(?s)deletion.*(asked for by|to be stopped at)`,
	"the store stays, and is held":                              `held`,
	"nothing to repair":                                         `nothing to repair`,
	"the whole installation: what is wrong, and what to do":     `.`,
	"who did what to it, and why":                               `(?s)cancel.*a mistake|a mistake.*cancel`,
	"one screen: is all well, and if not, what is to be done":   `(?i)healthy`,
	"why a run would do what it would do; nothing is changed":   `.`,
	"everything that was decided, by whom, on what evidence":    `ann`,
	"its whole story: who asked for what, by which way and why": `a mistake`,
}

// What README has a newcomer try is tried here, in its order, with the banner's commands before it.
func TestWhatREADMEHasANewcomerTryWorksAsItSays(t *testing.T) {
	t.Parallel()
	in := harness.Start(t)
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-tags=disable_grpc_modules", "-o", filepath.Join(dir, "bin", "starter"), "./cmd/starter")
	build.Dir = "../.."
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	bash := func(script string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
		cmd.Dir, cmd.Env = dir, append(operatorsEnviron(t, in)[2:], "PATH="+os.Getenv("PATH"), "USER=ann")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	_, banner, found := strings.Cut(standalone.Banner(in.System, true), "Try it, in another terminal:\n")
	require.True(t, found)
	first, _, found := strings.Cut(banner, "# 3.")
	require.True(t, found)
	text, err := bash("set -e\n" + first + "\necho; echo \"TOKEN=$TOKEN\"")
	require.NoError(t, err, text)
	token := regexp.MustCompile(`TOKEN=(\S+)`).FindStringSubmatch(text)
	id := regexp.MustCompile(`"id":"([0-9a-f-]{36})"`).FindStringSubmatch(text)
	require.True(t, token != nil && id != nil, text)
	in.Eventually("monitored", func() bool { return in.Monitored(id[1]) })

	_, try, found := strings.Cut(page(t, "README.md"), "Then, in the same shell:\n\n```\n")
	require.True(t, found)
	try, _, _ = strings.Cut(try, "```")
	before, n := "TOKEN="+token[1]+"\n", 0
	for line := range strings.Lines(try) {
		command, comment, _ := strings.Cut(strings.TrimSpace(line), "#")
		command = strings.NewReplacer("http://127.0.0.1:8788", in.AuthURL, "ID", id[1]).Replace(strings.TrimSpace(command))
		if strings.HasPrefix(command, "export ") {
			before += command + "\n"
			continue
		}
		comment = strings.TrimSpace(comment)
		want, known := promised[comment]
		require.True(t, known || comment == "", "README promises %q, and no test says what that is", comment)
		want = strings.ReplaceAll(want, "ID", id[1])
		shows := func() bool {
			text, err = bash(before + command)
			return err == nil && regexp.MustCompile(want).MatchString(text)
		}
		deadline := time.Now().Add(harness.Patience) // a webhook takes a moment, and nobody types so fast
		for !shows() {
			require.True(t, time.Now().Before(deadline) && !strings.Contains(command, "curl"), "%s # %s: %v\n%s", command, comment, err, text)
			<-time.After(100 * time.Millisecond)
		}
		n++
	}
	require.Greater(t, n, 4)
	require.Equal(t, http.StatusOK, in.Edge(http.MethodGet, "/health").Code)
	require.NotNil(t, in.Edge(http.MethodGet, "/stores/"+id[1]).JSON("hold"))
}
