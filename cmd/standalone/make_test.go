package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeGo builds a program that stops as ours do, and runs one as go does, which fails at a signal whatever its program says.
const fakeGo = `#!/bin/sh
case "$1" in
build)
	mkdir -p "$(dirname "$3")"
	printf '#!/bin/sh\ntrap "echo stopped; exit 0" INT\necho running\nread -r line\n' >"$3"
	chmod +x "$3" ;;
run)
	trap 'echo stopped; exit 1' INT
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
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil {
		require.ErrorAs(t, err, &exit)
		require.Equal(t, syscall.SIGINT, exit.Sys().(syscall.WaitStatus).Signal(), "make itself ends by the signal, as a shell expects")
	}
	require.Empty(t, stderr.String())
}
