package cli

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/backup"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
)

func TestABackupOfARunningInstallationIsWritten(t *testing.T) {
	t.Parallel()
	in := harness.StartWith(t, standalone.Options{DataDir: t.TempDir()}, "SERVER_BYPASS_TOKEN="+testToken)
	c := setup(t, "STOREKEEPER_URL="+in.EdgeURL)
	user := in.SignUp()
	in.Eventually("monitored", func() bool {
		o, err := in.Stores.Overview(t.Context())
		return err == nil && o.Monitored == 1
	})
	dir := filepath.Join(t.TempDir(), "backup")
	out := c.run(t, "backup", dir)
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, "verified")
	require.Contains(t, out.stdout, "monitored 1")
	require.Contains(t, out.stdout, "standalone --restore "+dir)
	require.Contains(t, out.stderr, "backup is under way")
	manifest, err := backup.Read(dir)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), manifest.CreatedAt, time.Minute)
	require.Empty(t, manifest.Without)
	var names []string
	for _, f := range manifest.Files {
		names = append(names, f.Name)
		require.NoError(t, f.Verify(t.Context(), dir))
	}
	require.Equal(t, []string{backup.TemporalVisibility, backup.Temporal, backup.Registry}, names, "the registry has the last word")
	require.Equal(t, manifest.Files[0].Identity, manifest.Files[1].Identity)

	again := c.run(t, "backup", dir, "--json")
	require.Equal(t, exit.Refused, again.exit)
	require.Equal(t, "not_empty", again.errorCode(t))
	require.Equal(t, exit.Usage, c.run(t, "backup", filepath.Join(dir, "none", "new")).exit)
	require.Equal(t, exit.Usage, c.run(t, "backup").exit)
	require.Equal(t, exit.Usage, c.run(t, "backup", "a", "b").exit)
	second := c.done(t, "backup", dir+"2")
	require.Equal(t, dir+"2", second["dir"])
	require.Len(t, second["files"], 3)
	require.NotEmpty(t, user.Default)
}

func TestWhereNothingIsOnDiskThereIsNoBackup(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "SERVER_BYPASS_TOKEN="+testToken)
	c := setup(t, "STOREKEEPER_URL="+in.EdgeURL)
	dir := filepath.Join(t.TempDir(), "backup")
	out := c.run(t, "backup", dir)
	require.Equal(t, exit.Refused, out.exit)
	require.Contains(t, out.stderr, "keeps everything in memory")
	require.NoDirExists(t, dir)
}

func TestWhyThereIsNoBackupIsSaidAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	problem := func(status int, detail string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":"`+detail+`"}`)
		}
	}
	archive := func(w http.ResponseWriter, content string) {
		w.Header().Set("Content-Type", backup.MediaType)
		_, _ = io.WriteString(w, content)
		w.(http.Flusher).Flush()
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		exit   exit.Code
		code   string
		said   string
	}{
		"another token":     {problem(http.StatusUnauthorized, "Unauthorized"), exit.Refused, "unauthorized", "SERVER_BYPASS_TOKEN"},
		"an older edge":     {problem(http.StatusNotFound, "Not found"), exit.Unreachable, "unreachable", "has no /admin/backup"},
		"what is no backup": {problem(http.StatusOK, "hello"), exit.Unreachable, "unreachable", "has no /admin/backup"},
		"another backup":    {problem(http.StatusConflict, "another backup is under way"), exit.Refused, "conflict", "another backup is under way"},
		"a full disk":       {problem(http.StatusInsufficientStorage, "has no room for the copies"), exit.Unreachable, "unreachable", "has no room for the copies"},
		"a fault":           {problem(http.StatusServiceUnavailable, "the log has the reason"), exit.Unreachable, "unreachable", "the log has the reason"},
		"a bad gateway":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, exit.Unreachable, "unreachable", "502"},
		"an early end":      {func(w http.ResponseWriter, _ *http.Request) { archive(w, "manifest") }, exit.Unreachable, "unreachable", "did not send all of the backup"},
		"an edge that is cut off": {func(w http.ResponseWriter, _ *http.Request) {
			archive(w, "manifest")
			panic(http.ErrAbortHandler)
		}, exit.Unreachable, "unreachable", "did not send all of the backup"},
		"silence in the middle": {func(w http.ResponseWriter, r *http.Request) {
			archive(w, "manifest")
			<-r.Context().Done()
		}, exit.Unreachable, "unreachable", "was silent for 2s"},
		"another content": {func(w http.ResponseWriter, _ *http.Request) { archive(w, strings.Repeat("no tar ", 1000)) }, exit.Failed, "failed", "nothing is left of it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			out := setup(t, "STOREKEEPER_URL="+serve(t, tt.answer)).run(t, "backup", filepath.Join(parent, "backup"), "--json", "--timeout", "2s")
			require.Equal(t, tt.exit, out.exit, out.stderr)
			require.Equal(t, tt.code, out.errorCode(t))
			require.Contains(t, out.stderr, tt.said)
			requireEmpty(t, parent)
		})
	}
	out := setup(t, "STOREKEEPER_URL=http://"+closedPort(t)).run(t, "backup", filepath.Join(t.TempDir(), "backup"))
	require.Equal(t, exit.Unreachable, out.exit)
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestABackupThatIsInterruptedLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", backup.MediaType)
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		close(ended)
	})
	parent := t.TempDir()
	out := setup(t, "STOREKEEPER_URL="+url).runContext(ctx, t, "backup", filepath.Join(parent, "backup"), "--json")
	require.Equal(t, exit.Interrupted, out.exit)
	require.Contains(t, out.stderr, "nothing is left of it")
	requireEmpty(t, parent)
	<-ended // the server stops working for it
}
