package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeGo builds a program that stops as ours do, and runs one as go does, which fails at a signal whatever its program says.
const fakeGo = `#!/bin/sh
case "$1" in
build)
	mkdir -p "$(dirname "$3")"
	printf '#!/bin/sh\ntrap "echo stopped; read -r line; exit 0" INT\necho running\nread -r line\n' >"$3"
	chmod +x "$3" ;;
run)
	trap 'echo stopped; read -r line; exit 1' INT
	echo running
	read -r line ;;
esac
`

func TestCtrlCOnMakeRunIsNoError(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is missing")
	}
	makefile, err := filepath.Abs("../../Makefile")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(fakeGo), 0o700))
	cmd := exec.CommandContext(t.Context(), "make", "-f", makefile, "run")
	// The tests may be run by a make themselves, which says so to others.
	environ := slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "MAKE") || strings.HasPrefix(pair, "MFLAGS") })
	cmd.Dir, cmd.Env = dir, append(environ, "PATH="+dir+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan())
	require.Equal(t, "running", lines.Text())
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)) // as a terminal does: to the whole group
	require.True(t, lines.Scan())
	require.Equal(t, "stopped", lines.Text())
	// One that ends before make has taken the signal itself is waited for twice, of which GNU make complains. The real one takes longer.
	require.Eventually(t, func() bool { return !pending(t, cmd.Process.Pid) }, 10*time.Second, time.Millisecond)
	require.NoError(t, stdin.Close())
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil {
		require.ErrorAs(t, err, &exit)
		require.Equal(t, syscall.SIGINT, exit.Sys().(syscall.WaitStatus).Signal(), "make itself ends by the signal, as a shell expects")
	}
	require.Empty(t, stderr.String())
}

// pending says whether a SIGINT to the process waits to be taken, as far as the system says so (proc_pid_status(5)).
func pending(t *testing.T, pid int) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(status), "ShdPnd:\t")
	mask, _, _ := strings.Cut(rest, "\n")
	signals, err := strconv.ParseUint(mask, 16, 64)
	require.NoError(t, err)
	return signals&(1<<(syscall.SIGINT-1)) != 0
}
