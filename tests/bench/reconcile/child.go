//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// child is this program as another process, which ends when this one does, however that ends.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	log    string // the file of its standard error
}

// startSelf starts this program with these arguments and an empty environment; ctx ends it.
func (b *bench) startSelf(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, args...), log: filepath.Join(b.dir, args[0]+".log")}
	stderr, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stderr.Close() }() // the child has one of its own
	c.cmd.Env, c.cmd.Stderr = []string{"TMPDIR=" + b.dir}, stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdout = bufio.NewReader(stdout)
	return c, c.cmd.Start()
}

// end closes the standard input and waits until the process is gone.
func (c *child) end() {
	_ = c.stdin.Close()
	_ = c.cmd.Wait() // why it ended is in its log
}

// line reads a line of its standard output.
func (c *child) line() (string, error) {
	line, err := c.stdout.ReadString('\n')
	if err != nil {
		return "", c.gone()
	}
	return strings.TrimSpace(line), nil
}

// gone is the error for a child that ended too early: the end of what it said.
func (c *child) gone() error {
	text, _ := os.ReadFile(c.log)
	return fmt.Errorf("%s has ended: %s", c.cmd.Args[1], bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// memory is what /proc/PID/status says under the name, VmRSS or VmHWM (the most there was of it), in MiB.
func (c *child) memory(name string) (float64, error) {
	text, err := os.ReadFile(c.proc("status"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	kib, _, found := strings.Cut(rest, " kB")
	if !found {
		return 0, fmt.Errorf("the kernel does not say %s", name)
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(kib), 64)
	return n / 1024, err
}

// resetPeak makes VmHWM begin anew.
func (c *child) resetPeak() error { return os.WriteFile(c.proc("clear_refs"), []byte("5"), 0) }

func (c *child) proc(name string) string { return fmt.Sprintf("/proc/%d/%s", c.cmd.Process.Pid, name) }
