package process_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
	"storekeeper/internal/process"
	"storekeeper/tests/proctest"
)

// TestMain makes the test binary also a process to signal: it says when it runs and when it was told to stop.
func TestMain(m *testing.M) {
	mode := os.Getenv("STOREKEEPER_TEST_PROCESS")
	if mode == "" {
		// Whoever started the tests with nohup has them ignore this signal, and a child inherits that, but no handler.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
		os.Exit(m.Run())
	}
	cmd := process.Command(process.Options{Use: "child", Role: config.RoleStarter, Run: func(ctx context.Context, p *process.Process) error {
		fmt.Println("running")
		if mode == "chatty" {
			for range 1000 {
				p.Log.Info("a line")
			}
			fmt.Println("worked")
		}
		if mode == "showing" {
			go func() {
				for told := bufio.NewScanner(os.Stdin); told.Scan(); {
					p.Log.Info("told " + told.Text())
					fmt.Println("sends", p.Config.BypassToken())
				}
			}()
		}
		<-ctx.Done()
		fmt.Println("stopping")
		switch mode {
		case "stuck":
			select {}
		case "slow":
			_, _ = io.ReadAll(os.Stdin)
			fmt.Println("stopped")
		}
		return nil
	}})
	cmd.Flags().String("dir", "", "a flag of its own")
	cmd.Flags().String("url", "", "one that may hold a password")
	process.Secret(cmd.Flags(), "url")
	process.Main(cmd)
}

// self is the test binary as the process to signal; mode says how it behaves.
func self(t *testing.T, mode string, args ...string) *exec.Cmd {
	return proctest.Self(t.Context(), []string{"STOREKEEPER_TEST_PROCESS=" + mode}, args...)
}

func start(t *testing.T, mode string) *proctest.Child {
	t.Helper()
	return proctest.Start(t, self(t, mode))
}

func TestASignalEndsTheProcessWithSuccess(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		c := start(t, "obedient")
		require.Equal(t, "running", c.Line())
		require.NoError(t, c.Process.Signal(sig))
		require.Equal(t, "stopping", c.Line())
		require.NoError(t, c.Wait())
	}
}

func TestASecondSignalEndsAStuckProcessAtOnce(t *testing.T) {
	t.Parallel()
	c := start(t, "stuck")
	require.Equal(t, "running", c.Line())
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "stopping", c.Line())
	// The handler is off once ctx has ended; until the kernel has been told, a signal may still be swallowed.
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	require.Eventually(t, func() bool {
		_ = c.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			require.ErrorContains(t, err, "terminated")
			return true
		default:
			return false
		}
	}, 5*time.Second, 10*time.Millisecond)
}

func TestABadSettingIsOneLineAndExitCodeOne(t *testing.T) {
	t.Parallel()
	cmd := proctest.Self(t.Context(), []string{"STOREKEEPER_TEST_PROCESS=obedient", "PORT=abc"})
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	require.Contains(t, stderr.String(), `PORT="abc"`)
}
