package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
	"storekeeper/internal/process"
	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
)

// runStandalone is cmd/standalone with addresses picked by the kernel, told on standard output as JSON.
func runStandalone() {
	environ, _ := standalone.DemoEnviron(os.Environ())
	process.Main(process.Command(process.Options{
		Use: "standalone", Role: config.RoleStandalone,
		Environ: func() ([]string, error) { return environ, nil },
		Run: func(ctx context.Context, p *process.Process) error {
			return standalone.Run(ctx, p, standalone.Options{
				Demo: true, DataDir: os.Getenv("STOREKEEPER_TEST_DATA_DIR"),
				Listen: "127.0.0.1:0", TemporalListen: "127.0.0.1:0", AuthListen: "127.0.0.1:0",
				Ready: func(sys *standalone.System) {
					_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"edge": sys.EdgeURL, "auth": sys.AuthURL})
				},
			})
		},
	}))
}

// child is an installation in a process of its own, which can be killed.
type child struct {
	*harness.Installation
	cmd *exec.Cmd
}

func startChild(t *testing.T, dir string, settings ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$") // this very test binary; killed below
	cmd.Args = cmd.Args[:1]
	cmd.Env = append(os.Environ(), append([]string{
		"STOREKEEPER_TEST_RUN_STANDALONE=1", "STOREKEEPER_TEST_DATA_DIR=" + dir, "WORKSPACE_RECONCILE_INTERVAL_MS=86400000", "WEBHOOK_WAIT=20s",
	}, settings...)...)
	logs, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = logs.Close() })
	cmd.Stderr = logs
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
	})
	var where struct{ Edge, Auth string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		text, _ := os.ReadFile(logs.Name())
		t.Fatalf("the child did not start: %v\n%s", err, text)
	}
	require.NoError(t, json.Unmarshal(line, &where))
	return &child{cmd: cmd, Installation: &harness.Installation{
		T: t, System: &standalone.System{EdgeURL: where.Edge, AuthURL: where.Auth},
	}}
}

// kill is kill -9.
func (c *child) kill() {
	c.T.Helper()
	require.NoError(c.T, c.cmd.Process.Signal(syscall.SIGKILL))
	_, _ = c.cmd.Process.Wait()
}

func TestADeletionHappensAtItsTimeAlthoughTheProcessIsKilledInTheMiddleOfTheGracePeriod(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startChild(t, dir, "DELETION_GRACE_PERIOD=6s")
	user := first.SignUp()
	id := user.Create()
	first.Eventually("monitored", func() bool { return first.Monitored(id) })
	user.Delete(id)
	first.Eventually("pending", func() bool { return first.Edge(http.MethodGet, "/stores/"+id).JSON("deletion") != nil })
	deleteAt, err := time.Parse(time.RFC3339, first.Edge(http.MethodGet, "/stores/"+id).JSON("deletion.deleteAt").(string))
	require.NoError(t, err)
	first.kill()

	second := startChild(t, dir, "DELETION_GRACE_PERIOD=6s")
	require.True(t, second.Monitored(user.Default), "what was monitored is monitored again")
	second.Eventually("stopped", func() bool {
		return second.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.status") == "stopped"
	})
	stopped, err := time.Parse(time.RFC3339, second.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.lastStoppedAt").(string))
	require.NoError(t, err)
	require.False(t, stopped.Before(deleteAt), "stopped at %s, the grace period ended at %s", stopped, deleteAt)
}

func TestEveryEventThatWasAnsweredTakesEffectAlthoughTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startChild(t, dir, "WEBHOOK_WAIT=0s") // each is answered before its outcome is known
	var answered []string
	for i := range 30 {
		id := uuid.NewString()
		if r := first.Webhook("workspace.created", id, time.Now()); r.Code == http.StatusAccepted {
			answered = append(answered, id)
		} else {
			t.Fatalf("event %d: %d %s", i, r.Code, r.Body)
		}
	}
	first.kill()
	second := startChild(t, dir)
	for _, id := range answered {
		second.Eventually(fmt.Sprintf("%s is monitored", id), func() bool { return second.Monitored(id) })
	}
}

func TestTheProcessEndsGracefullyOnASignal(t *testing.T) {
	t.Parallel()
	c := startChild(t, t.TempDir())
	started := time.Now()
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	state, err := c.cmd.Process.Wait()
	require.NoError(t, err)
	require.Equal(t, 0, state.ExitCode())
	require.Less(t, time.Since(started), 10*time.Second)
}
