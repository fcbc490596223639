package process_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"storekeeper/tests/proctest"

	"github.com/stretchr/testify/require"
)

func TestAClosedTerminalIsAStopAndASecondHangupChangesNothing(t *testing.T) {
	t.Parallel()
	c := start(t, "slow")
	require.Equal(t, "running", c.Line())
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	require.Equal(t, "stopping", c.Line())
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	require.NoError(t, c.Stdin.Close())
	require.Equal(t, "stopped", c.Line())
	require.NoError(t, c.Wait())
}

func TestWhoIsStartedToOutliveTheTerminalDoes(t *testing.T) {
	t.Parallel()
	sh := exec.CommandContext(t.Context(), "sh", "-c", `trap "" HUP; exec "$0"`, os.Args[0])
	sh.Env = append(os.Environ(), "STOREKEEPER_TEST_PROCESS=obedient")
	c := proctest.Start(t, sh)
	require.Equal(t, "running", c.Line())
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "stopping", c.Line())
	require.NoError(t, c.Wait(), "the hangup ended nothing")
}

func TestALogThatNobodyReadsAnyMoreStopsNoWork(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd := self(t, "chatty")
	cmd.Stderr = w // a supervisor's pipe
	c := proctest.Start(t, cmd)
	require.Equal(t, "running", c.Line())
	require.NoError(t, w.Close())
	first := bufio.NewScanner(r)
	require.True(t, first.Scan())
	require.Contains(t, first.Text(), "a line")
	require.NoError(t, r.Close())
	require.Equal(t, "worked", c.Line()) // after a thousand lines more
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "stopping", c.Line())
	require.NoError(t, c.Wait())
}

func TestAFullDiskUnderTheLogStopsNoWork(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("/dev/full is Linux's")
	}
	cmd := self(t, "chatty")
	cmd.Stderr = full
	c := proctest.Start(t, cmd)
	require.NoError(t, full.Close())
	require.Equal(t, "running", c.Line())
	require.Equal(t, "worked", c.Line())
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "stopping", c.Line())
	require.NoError(t, c.Wait())
}

func TestAFlagInQuotesIsABadValue(t *testing.T) {
	t.Parallel()
	for flag, shown := range map[string]string{`--dir="./data"`: `--dir="./data"`, `--url="postgres://u:pw@host/db"`: `--url=[redacted]`} {
		cmd := self(t, "obedient", flag)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		require.Error(t, cmd.Run())
		require.Equal(t, "child: "+shown+" is not accepted: it begins or ends with a quotation mark, take the quotes off\n", stderr.String())
	}
}
