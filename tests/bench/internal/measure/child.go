//go:build linux

package measure

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Child is a process that ends when this one does, however this one ends.
type Child struct {
	Stdin  io.WriteCloser
	Stdout *bufio.Reader
	// Started is the moment just before the start.
	Started time.Time
	// Ended is closed when the process is gone.
	Ended chan struct{}

	cmd *exec.Cmd
	log string // the file of its standard error
}

// StartChild starts the command with these environment variables and no others. The end of ctx ends it.
func StartChild(ctx context.Context, log string, environ []string, name string, args ...string) (*Child, error) {
	c := &Child{cmd: exec.CommandContext(ctx, name, args...), log: log, Ended: make(chan struct{})}
	stderr, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stderr.Close() }() // the child has its own descriptor
	c.cmd.Env, c.cmd.Stderr = environ, stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.Stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.Stdout = bufio.NewReader(stdout)
	c.Started = time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.cmd.Wait() // its log says why it ended
		close(c.Ended)
	}()
	return c, nil
}

// End sends the signal and waits until the process is gone.
func (c *Child) End(ctx context.Context, signal os.Signal) error {
	if err := c.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.Ended:
		return nil
	case <-ctx.Done():
		<-c.Ended // killed by exec.CommandContext
		return ctx.Err()
	}
}

// Close closes the child's standard input and waits until the process is gone.
func (c *Child) Close() {
	_ = c.Stdin.Close()
	<-c.Ended
}

// Kill ends the process as kill -9 does, and waits until it is gone.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill()
	<-c.Ended
}

// Line reads a line of the child's standard output.
func (c *Child) Line() (string, error) {
	line, err := c.Stdout.ReadString('\n')
	if err != nil {
		return "", c.Gone()
	}
	return strings.TrimSpace(line), nil
}

// Gone returns the error for a child that ended too early. It has the end of what the child wrote to its standard error.
func (c *Child) Gone() error {
	text, _ := os.ReadFile(c.log)
	return fmt.Errorf("%s has ended: %s", strings.Join(c.cmd.Args, " "), bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// Memory returns a figure of /proc/PID/status, in MiB: VmRSS, or VmHWM, which is the peak.
func (c *Child) Memory(name string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
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

// ResetPeak makes VmHWM start again from the present use.
func (c *Child) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", c.cmd.Process.Pid), []byte("5"), 0)
}

// CPU returns the processor time that the process has used.
func (c *Child) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The fields after the name of the program begin with the third; these are 14 and 15. The name may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("the kernel does not say what processor time was used")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // this is the unit on all architectures
	return time.Duration(user+system) * tick, errors.Join(err, err2)
}

// Usage waits for d, and returns the memory in MiB and the processor time during d in percent of one core.
func (c *Child) Usage(ctx context.Context, d time.Duration) (memory, percent float64, err error) {
	before, err := c.CPU()
	start := time.Now()
	if err != nil {
		return 0, 0, err
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	after, err := c.CPU()
	if err != nil {
		return 0, 0, c.Gone()
	}
	percent = 100 * (after - before).Seconds() / time.Since(start).Seconds()
	memory, err = c.Memory("VmRSS")
	return memory, percent, err
}
