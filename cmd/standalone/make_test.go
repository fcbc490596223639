package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
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

// fakeGo finds nothing stale, builds a program that stops as ours do, and runs one as go does, which fails at a signal whatever its program says.
const fakeGo = `#!/bin/sh
case "$1" in
build)
	mkdir -p bin
	printf '#!/bin/sh\ntrap "echo stopped; read -r line; exit 0" INT\necho running\nread -r line\n' >bin/standalone
	chmod +x bin/standalone ;;
run)
	trap 'echo stopped; read -r line; exit 1' INT
	echo running
	read -r line ;;
esac
`

func TestCtrlCOnMakeRunIsNoError(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	m := startMakeRun(t, fakeGo, &stderr)
	require.True(t, m.stdout.Scan())
	require.Equal(t, "running", m.stdout.Text())
	m.interrupt(t)
	require.True(t, m.stdout.Scan())
	require.Equal(t, "stopped", m.stdout.Text())
	// One that ends before make has taken the signal itself is waited for twice, of which GNU make complains. The real one takes longer.
	require.Eventually(t, func() bool { return !pending(t, m.cmd.Process.Pid) }, 10*time.Second, time.Millisecond)
	require.NoError(t, m.stdin.Close())
	var exit *exec.ExitError
	if err := m.cmd.Wait(); err != nil {
		require.ErrorAs(t, err, &exit)
		require.Equal(t, syscall.SIGINT, exit.Sys().(syscall.WaitStatus).Signal(), "make itself ends by the signal, as a shell expects")
	}
	require.Empty(t, stderr.String(), "nothing was to be built, so nothing is said of it")
}

// slowGo looks long for what is stale, downloads two modules and compiles until one of 250 packages is wrong.
const slowGo = `#!/bin/sh
case "$1" in
list)
	read -r line
	printf 'go: downloading example.com/%s v1.2.3\n' a b >&2
	i=0; while [ $i -lt 250 ]; do i=$((i + 1)); echo stale; done ;;
build)
	i=0; while [ $i -lt 249 ]; do i=$((i + 1)); echo "example.com/a/p$i" >&2; done
	printf '%s\n' '# storekeeper/x' 'x/x.go:5:9: cannot use 1:' '	have (int)' '' '	want (\string)' example.com/a/p250 >&2
	exit 1 ;;
esac
`

func TestMakeRunSaysHowFarTheBuildIsAndShowsItsErrorsWhole(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = read.Close() }()
	m := startMakeRun(t, slowGo, write)
	require.NoError(t, write.Close()) // make has its own
	stderr := bufio.NewScanner(read)
	require.True(t, stderr.Scan())
	require.Equal(t, "looking for what must be compiled", stderr.Text())
	require.NoError(t, m.stdin.Close())
	for _, want := range []string{
		"downloading module 1",
		"compiling package 1 of 250",
		"compiling package 51 of 250",
		"compiling package 101 of 250",
		"compiling package 151 of 250",
		"compiling package 201 of 250",
		"# storekeeper/x",
		"x/x.go:5:9: cannot use 1:",
		"\thave (int)",
		"",
		"\twant (\\string)",
	} {
		require.True(t, stderr.Scan())
		require.Equal(t, want, stderr.Text())
	}
	require.True(t, stderr.Scan())
	require.Contains(t, stderr.Text(), "make: *** ", "make itself fails")
	require.False(t, stderr.Scan())
	require.False(t, m.stdout.Scan(), "nothing was started")
	require.Error(t, m.cmd.Wait())
}

func TestCtrlCWhileMakeRunBuildsStartsNothing(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = read.Close() }()
	m := startMakeRun(t, `#!/bin/sh
case "$1" in
list) echo stale ;;
build)
	mkdir -p bin
	printf '#!/bin/sh
echo running
' >bin/standalone
	chmod +x bin/standalone
	trap 'exit 0' INT # the signal comes just when all is done
	echo example.com/a >&2
	read -r line ;;
esac
`, write)
	require.NoError(t, write.Close())
	stderr := bufio.NewScanner(read)
	require.True(t, stderr.Scan())
	require.Equal(t, "compiling package 1 of 1", stderr.Text())
	m.interrupt(t)
	require.False(t, m.stdout.Scan(), "nothing was started")
	var exit *exec.ExitError
	require.ErrorAs(t, m.cmd.Wait(), &exit)
	require.Equal(t, syscall.SIGINT, exit.Sys().(syscall.WaitStatus).Signal())
}

// makeRun is a `make run` in a directory and a process group of its own, with another go.
type makeRun struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Scanner
}

func startMakeRun(t *testing.T, script string, stderr io.Writer) makeRun {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is missing")
	}
	makefile, err := filepath.Abs("../../Makefile")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o700))
	cmd := exec.CommandContext(t.Context(), "make", "-f", makefile, "run")
	// The tests may be run by a make themselves, which says so to others.
	environ := slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "MAKE") || strings.HasPrefix(pair, "MFLAGS") })
	cmd.Dir, cmd.Env = dir, append(environ, "PATH="+dir+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = stdin.Close() })
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return makeRun{cmd: cmd, stdin: stdin, stdout: bufio.NewScanner(stdout)}
}

// interrupt does what a terminal does at Ctrl-C: it signals the whole group.
func (m makeRun) interrupt(t *testing.T) {
	t.Helper()
	require.NoError(t, syscall.Kill(-m.cmd.Process.Pid, syscall.SIGINT))
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
