//go:build linux

// Command stores measures what it costs the store manager to monitor many stores: `make bench-stores`, docs/benchmarks.md.
//
// The store manager is the real binary with its registry on disk, and the sync backend is the demo's. Each is a process of its own, and
// everything is on loopback. A floor is measured in the same run, with as many bare clients of the sync protocol. Absolute figures depend
// on the machine and its other work; ratios to the floor depend on them much less.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"storekeeper/tests/bench/internal/measure"
)

const (
	token = "bench-token"
	// maxDials is how many dials the store manager and the bare clients may make at once. The backend must not see more handshakes at once.
	maxDials = 64
	// outage is how long the sync backend stays away when it is restarted, which is long enough for every store to fail several times.
	outage = 10 * time.Second
	// tooLong ends a measurement in which some stores never get connected.
	tooLong = 3 * time.Minute
)

// bench is a run of this program.
type bench struct {
	dir      string // for files that are removed with the run
	manager  string // the store manager's binary
	progress io.Writer
	report   *measure.Report

	idle time.Duration // how long idle stores are watched
	load load
}

func main() { measure.Main("bench-stores", run) }

// run does what this process is started for. It may be a child of the benchmark.
func run(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == backendMode {
		return serveBackend(ctx, args[1], args[2])
	}
	if len(args) == 3 && args[0] == bareMode {
		return connectBare(ctx, args[1], args[2])
	}
	flags := flag.NewFlagSet("bench-stores", flag.ContinueOnError)
	stores := flags.String("stores", "1000,10000", "measure these numbers of idle stores; empty: none")
	idle := flags.Duration("idle", 30*time.Second, "watch idle stores for this long")
	var l load
	flags.IntVar(&l.stores, "load-stores", 1000, "send events to this many stores; 0: to none")
	flags.IntVar(&l.rate, "load-rate", 10_000, "events per second, over all stores")
	flags.DurationVar(&l.duration, "load-duration", 30*time.Second, "send events for this long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	sizes, err := parseSizes(*stores)
	if err != nil {
		return err
	}
	b := &bench{progress: os.Stderr, report: &measure.Report{}, idle: *idle, load: l}
	// What was measured before an error is worth showing too.
	return errors.Join(b.measure(ctx, sizes), b.report.Write(os.Stdout))
}

func (b *bench) measure(ctx context.Context, sizes []int) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "bench-stores-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	b.say("building the store manager")
	b.manager = filepath.Join(b.dir, "storemanager")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.manager, "storekeeper/cmd/storemanager")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the store manager: %w\n%s", err, out)
	}
	b.report.Machine = measure.Machine()
	for _, n := range sizes {
		if err := b.measureIdle(ctx, n); err != nil {
			return fmt.Errorf("%d idle stores: %w", n, err)
		}
	}
	if b.load.stores > 0 {
		if err := b.measureLoad(ctx); err != nil {
			return fmt.Errorf("%d stores under load: %w", b.load.stores, err)
		}
	}
	return nil
}

func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// parseSizes reads numbers separated by commas, and makes sure that a process may open that many files.
func parseSizes(s string) ([]int, error) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return nil, err
	}
	const others = 640 // files that the store manager keeps free for other things than stores
	if s == "" {
		return nil, nil
	}
	sizes, err := measure.Numbers(s, 1)
	if err != nil {
		return nil, fmt.Errorf("--stores: %w", err)
	}
	for _, n := range sizes {
		if uint64(n)+others > files.Max {
			return nil, fmt.Errorf("--stores %d: a process may open only %d files here, raise the limit (ulimit -Hn)", n, files.Max)
		}
	}
	return sizes, nil
}

// wait waits for d. It returns the context's error if that ends first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
