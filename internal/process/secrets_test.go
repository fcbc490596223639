package process_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"storekeeper/tests/proctest"
)

// withSecret starts a process with a secret in a file.
func withSecret(t *testing.T, content string) (c *proctest.Child, log *proctest.Log, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	cmd := self(t, "showing")
	log = &proctest.Log{}
	cmd.Env, cmd.Stderr = append(cmd.Env, "SERVER_BYPASS_TOKEN_FILE="+path), log
	c = proctest.Start(t, cmd)
	require.Equal(t, "running", c.Line())
	return c, log, path
}

func eventually(t *testing.T, log *proctest.Log, what string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(log.String(), what) }, 20*time.Second, 10*time.Millisecond, "%s in %s", what, log)
}

func TestSIGHUPReadsSecretsAgainAndStopsNothing(t *testing.T) {
	t.Parallel()
	c, log, path := withSecret(t, "the-old-token")
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	eventually(t, log, `"secrets reloaded","changed":[]`)
	require.NoError(t, os.WriteFile(path, []byte("the-new-token"), 0o600))
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	eventually(t, log, `"secrets reloaded","changed":["SERVER_BYPASS_TOKEN"]`)
	// The process logs what it is told, and says which token it would send.
	_, err := c.Stdin.Write([]byte("the-old-token the-new-token\n"))
	require.NoError(t, err)
	require.Equal(t, "sends the-new-token", c.Line())
	eventually(t, log, "told [redacted] [redacted]")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "stopping", c.Line())
	require.NoError(t, c.Wait())
}

func TestAFileThatChangesIsReadAgainUnlessItIsBad(t *testing.T) {
	t.Parallel()
	c, log, path := withSecret(t, "the-old-token")
	require.NoError(t, os.WriteFile(path, []byte("hunter2 hunter3"), 0o600))
	eventually(t, log, `"secrets not reloaded, those from before stay","error":"SERVER_BYPASS_TOKEN_FILE=`)
	_, err := c.Stdin.Write([]byte("x\n"))
	require.NoError(t, err)
	require.Equal(t, "sends the-old-token", c.Line())
	require.NoError(t, os.Remove(path))
	eventually(t, log, "no such file or directory")
	require.NoError(t, os.WriteFile(path, []byte("the-new-token\n"), 0o600))
	eventually(t, log, `"secrets reloaded","changed":["SERVER_BYPASS_TOKEN"]`)
	_, err = c.Stdin.Write([]byte("x\n"))
	require.NoError(t, err)
	require.Equal(t, "sends the-new-token", c.Line())
	require.NotContains(t, log.String(), "hunter")
	require.Equal(t, 2, strings.Count(log.String(), "not reloaded"), "once for each content: %s", log)
}

func TestTheAPIKeyOfTemporalIsKeptOutOfLogs(t *testing.T) {
	t.Parallel()
	cmd := self(t, "showing")
	log := &proctest.Log{}
	cmd.Env, cmd.Stderr = append(cmd.Env, "TEMPORAL_API_KEY=the-api-key"), log
	c := proctest.Start(t, cmd)
	require.Equal(t, "running", c.Line())
	_, err := c.Stdin.Write([]byte("the-api-key\n"))
	require.NoError(t, err)
	eventually(t, log, "told [redacted]")
}

func TestAFileThatAllMayReadIsWarnedOf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte("a-secret-of-a-test"), 0o600))
	require.NoError(t, os.Chmod(path, 0o644))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755))
	cmd := self(t, "showing")
	log := &proctest.Log{}
	cmd.Env, cmd.Stderr = append(cmd.Env, "SERVER_BYPASS_TOKEN_FILE="+path), log
	require.Equal(t, "running", proctest.Start(t, cmd).Line())
	eventually(t, log, "SERVER_BYPASS_TOKEN_FILE="+path)
}

func TestATerminalThatClosesIsAStopForAProcessWithFilesOfSecretsToo(t *testing.T) {
	t.Parallel()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no pseudo-terminals here")
	}
	require.NoError(t, unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	side, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte("a-secret-of-a-test"), 0o600))
	cmd := self(t, "obedient")
	cmd.Env, cmd.Stderr = append(cmd.Env, "SERVER_BYPASS_TOKEN_FILE="+path), side
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	c := proctest.Start(t, cmd)
	require.NoError(t, side.Close())
	require.Equal(t, "running", c.Line())
	require.NoError(t, terminal.Close())
	require.Equal(t, "stopping", c.Line())
	require.NoError(t, c.Wait())
}
