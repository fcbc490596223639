//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a process that ends when this one does, however that ends.
type child struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	log     string        // the file of its standard error
	started time.Time     // just before it was
	ended   chan struct{} // closed when it is gone
}

// startChild starts the command with these variables as its environment and no others; ctx ends it.
func startChild(ctx context.Context, log string, environ []string, name string, args ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, name, args...), log: log, ended: make(chan struct{})}
	stderr, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stderr.Close() }() // the child has one of its own
	c.cmd.Env, c.cmd.Stderr = environ, stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdout = bufio.NewReader(stdout)
	c.started = time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.cmd.Wait() // why it ended is in its log
		close(c.ended)
	}()
	return c, nil
}

// end sends the signal and waits until the process is gone.
func (c *child) end(ctx context.Context, signal os.Signal) error {
	if err := c.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		<-c.ended // killed by exec.CommandContext
		return ctx.Err()
	}
}

// kill is kill -9.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
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
	return fmt.Errorf("%s has ended: %s", c.cmd.Args[0], bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// memory is what /proc/PID/status says under the name, VmRSS or VmHWM (the most there was of it), in MiB.
func (c *child) memory(name string) (float64, error) {
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

// cpu is the processor time that it has used.
func (c *child) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// After the name of the program, which may hold anything, the fields begin with the third; these are 14 and 15.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("the kernel does not say what processor time was used")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // on all architectures, for what it tells processes
	return time.Duration(user+system) * tick, errors.Join(err, err2)
}

// usage is the memory in MiB, and the processor time in percent of one core, of d from now on.
func (c *child) usage(ctx context.Context, d time.Duration) (memory, percent float64, err error) {
	before, err := c.cpu()
	start := time.Now()
	if err != nil {
		return 0, 0, err
	}
	if err := pause(ctx, d); err != nil {
		return 0, 0, err
	}
	after, err := c.cpu()
	if err != nil {
		return 0, 0, c.gone()
	}
	percent = 100 * (after - before).Seconds() / time.Since(start).Seconds()
	memory, err = c.memory("VmRSS")
	return memory, percent, err
}

// freeAddress is where a server can listen, and listen again after a restart. It keeps out of the range that outgoing
// connections take their ports from: of ten thousand that try to reach a dead server there, one would get the server's own port, and
// be connected to itself.
func freeAddress(ctx context.Context) (string, error) {
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no free port found")
}
