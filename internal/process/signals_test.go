package process_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAClosedTerminalIsAStopAndASecondHangupChangesNothing(t *testing.T) {
	t.Parallel()
	c := start(t, "STOREKEEPER_TEST_PROCESS=slow")
	c.expect("running")
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	c.expect("stopping")
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	require.NoError(t, c.stdin.Close())
	c.expect("stopped")
	require.NoError(t, c.Wait())
}

func TestWhoIsStartedToOutliveTheTerminalDoes(t *testing.T) {
	t.Parallel()
	sh := exec.CommandContext(t.Context(), "sh", "-c", `trap "" HUP; exec "$0"`, os.Args[0])
	c := begin(t, sh, "STOREKEEPER_TEST_PROCESS=obedient")
	c.expect("running")
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	c.expect("stopping")
	require.NoError(t, c.Wait(), "the hangup ended nothing")
}

func TestALogThatNobodyReadsAnyMoreStopsNoWork(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Args = cmd.Args[:1]
	cmd.Stderr = w // a supervisor's pipe
	c := begin(t, cmd, "STOREKEEPER_TEST_PROCESS=chatty")
	c.expect("running")
	require.NoError(t, w.Close())
	first := bufio.NewScanner(r)
	require.True(t, first.Scan())
	require.Contains(t, first.Text(), "a line")
	require.NoError(t, r.Close())
	c.expect("worked") // after a thousand lines more
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	c.expect("stopping")
	require.NoError(t, c.Wait())
}

func TestAFullDiskUnderTheLogStopsNoWork(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("/dev/full is Linux's")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Args = cmd.Args[:1]
	cmd.Stderr = full
	c := begin(t, cmd, "STOREKEEPER_TEST_PROCESS=chatty")
	require.NoError(t, full.Close())
	c.expect("running")
	c.expect("worked")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	c.expect("stopping")
	require.NoError(t, c.Wait())
}

func TestAFlagInQuotesIsABadValue(t *testing.T) {
	t.Parallel()
	for flag, shown := range map[string]string{`--dir="./data"`: `--dir="./data"`, `--url="postgres://u:pw@host/db"`: `--url=[redacted]`} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], flag)
		cmd.Env = append(os.Environ(), "STOREKEEPER_TEST_PROCESS=obedient")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		require.Error(t, cmd.Run())
		require.Equal(t, "child: "+shown+" is not accepted: it begins or ends with a quotation mark, take the quotes off\n", stderr.String())
	}
}
