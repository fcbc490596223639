// Package proctest has what tests of processes share: the test binary as a process of its own, a log to read while it is written, and an
// address to listen at again after a restart. It knows no other part of Storekeeper, so that tests of leaves link nothing more with it.
package proctest

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// Self is this test binary as a command, with these variables on top of the environment and these arguments alone. TestMain must see from
// one of the variables that it is not to run tests. The process is killed when ctx ends.
func Self(ctx context.Context, environ []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), environ...)
	return cmd
}

// Child is a process that a test talks to by its standard input and output.
type Child struct {
	*exec.Cmd
	Stdin io.WriteCloser

	tb    testing.TB
	lines *bufio.Scanner
}

// StartSelf starts this test binary with these variables on top of the environment. It does not outlive the test.
func StartSelf(tb testing.TB, environ ...string) *Child {
	tb.Helper()
	return Start(tb, Self(tb.Context(), environ))
}

// Start starts the command and has it killed at the end of the test, unless it has ended before.
func Start(tb testing.TB, cmd *exec.Cmd) *Child {
	tb.Helper()
	stdin, err := cmd.StdinPipe()
	require.NoError(tb, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, cmd.Start())
	c := &Child{Cmd: cmd, Stdin: stdin, tb: tb, lines: bufio.NewScanner(stdout)}
	tb.Cleanup(c.Kill)
	return c
}

// Next reads the next line of standard output; false when there is none any more.
func (c *Child) Next() (line string, ok bool) {
	if !c.lines.Scan() {
		return "", false
	}
	return c.lines.Text(), true
}

// Line is Next for a line that must come.
func (c *Child) Line() string {
	c.tb.Helper()
	line, ok := c.Next()
	require.True(c.tb, ok, "the child process said nothing more: %v; its stderr: %v", c.lines.Err(), c.Stderr)
	return line
}

// Kill is kill -9. It returns when the process is dead, and does nothing to one that is.
func (c *Child) Kill() {
	_ = c.Process.Kill()
	_ = c.Wait()
}
