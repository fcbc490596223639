// Package interop_test runs the client of the sync protocol against the genuine backend: @livestore/sync-cf from npm, served by miniflare on loopback.
// `make test-interop` installs it. Where it is not installed these tests are skipped, unless INTEROP=1 says that they must run.
package interop_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// versions are the directories with the packages of one version each: @livestore/sync-cf 0.4.0-dev.22 and 0.4.0.
var versions = []string{"dev22", "v040"}

// token is what worker.mjs accepts as serverBypass.
const token = "interop-token"

// requireInstalled skips the test, or fails it where INTEROP=1, when `make test-interop` has not installed the backend.
func requireInstalled(t *testing.T) {
	t.Helper()
	missing := func(what string) {
		if os.Getenv("INTEROP") == "1" {
			t.Fatal(what + " is missing: make test-interop installs it, but for Node.js 20.11 or later and npm")
		}
		t.Skip(what + " is missing: make test-interop installs it")
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing("node")
	}
	for _, dir := range append(versions, ".") {
		// npm writes this file last.
		if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
			missing(filepath.Join("tests/interop", dir, "node_modules"))
		}
	}
}

// backend is a sync backend in processes of its own.
type backend struct {
	url  string // ws://127.0.0.1:port/
	kill func() // kill -9
}

// serve starts the backend with its state in dir and ends it with the test.
func serve(t *testing.T, version, dir string) *backend {
	t.Helper()
	logs, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = logs.Close() })

	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "node", "serve.mjs", version, dir)
	cmd.Stderr = logs
	// Node's child workerd outlives it and goes on serving unless the whole group is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	_, err = cmd.StdinPipe() // should the tests die, it closes, and serve.mjs ends by itself
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	kill := func() {
		cancel()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	tooLong := time.AfterFunc(time.Minute, cancel)
	line, _ := bufio.NewReader(out).ReadBytes('\n')
	tooLong.Stop()
	var ready struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		kill()
		said, _ := os.ReadFile(logs.Name())
		require.NoError(t, err, "the backend said %q and %s", line, said)
	}
	return &backend{url: ready.URL, kill: kill}
}
