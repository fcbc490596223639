//go:build linux

// Command webhook measures the edge: `make bench-webhook`, docs/benchmarks.md.
//
// cmd/standalone runs as it is built for release, keeps its data on disk, and gets signed webhooks over HTTP. Floors are measured in the
// same run, on the same Temporal server, in turns with the cases: a bare workflow with one activity, and one with a local activity. Their
// worker is a process of its own. Absolute figures depend on the machine and its other work; ratios to the floors depend on them much less.
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
	"runtime"
	"time"

	"go.temporal.io/sdk/client"

	"storekeeper/tests/bench/internal/measure"
)

// Secrets of this run. The sender sends the first and signs with the second.
const (
	token  = "bench-token"
	secret = "bench-webhook-secret"
	key    = "whsec_YmVuY2gtd2ViaG9vay1zaWduaW5nLWtleS0wMDAwMDA="
)

// bench is a run of this program.
type bench struct {
	dir        string // for files that are removed with the run
	sequential int    // creations, one after the other
	parallel   []int
	creations  int // for each of parallel
	repeats    int
	garbage    int // requests a second
	senders    []int
	congestion time.Duration // for each of senders
	engines    int           // creations on each engine, for each of enginesParallel
	postgres   string        // URL of a PostgreSQL
	soak       time.Duration // 0: no soak test
	progress   io.Writer
	report     *measure.Report

	standalone *standalone
	sender     *sender
	temporal   client.Client // the client of the floors
	worker     *measure.Child
}

func main() { measure.Main("bench-webhook", run) }

// run does what this process is started for. It may be a child of the benchmark.
func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == floorMode:
		return workFloor(ctx, args[1])
	case len(args) == 3 && args[0] == garbageMode:
		return sendGarbage(ctx, args[1], args[2])
	case len(args) == 1 && args[0] == spinMode:
		return spin(runtime.NumCPU(), os.Stdin)
	}
	b := &bench{progress: os.Stderr}
	flags := flag.NewFlagSet("bench-webhook", flag.ContinueOnError)
	flags.IntVar(&b.sequential, "sequential", 1000, "create this many stores one after the other, and as many again beside the garbage")
	flags.IntVar(&b.creations, "creations", 10_000, "create this many stores in parallel, for each number of --parallel; 0: leave out all cases but those of --senders and --engines")
	flags.IntVar(&b.repeats, "repeats", 10_000, "repeat this many of these deliveries")
	flags.IntVar(&b.garbage, "garbage", 2000, "requests a second that are to be refused")
	parallel := flags.String("parallel", "10,50,200", "how many requests are under way at once")
	senders := flags.String("senders", "5,20,48,100,300", "how many senders send at once, one event after the other, with a quota and without")
	flags.DurationVar(&b.congestion, "congestion", 10*time.Second, "for how long they do, three times for each number of --senders; 0: not at all")
	flags.IntVar(&b.engines, "engines", 1000, "create this many stores on SQLite and as many on PostgreSQL, one after the other and 50 at once; 0: don't")
	flags.StringVar(&b.postgres, "postgres", "", "the URL of an empty PostgreSQL database to do that on (default a cluster of its own, if PostgreSQL is installed)")
	flags.DurationVar(&b.soak, "soak", 0, "send five events a second for this long, and look at memory and files after each third")
	err := flags.Parse(args)
	if err != nil {
		return err
	}
	if b.parallel, err = measure.Numbers(*parallel, 1); err != nil {
		return fmt.Errorf("--parallel: %w", err)
	}
	if b.senders, err = measure.Numbers(*senders, 1); err != nil {
		return fmt.Errorf("--senders: %w", err)
	}
	if b.sequential < rounds || b.creations != 0 && b.creations < rounds || b.repeats < 1 || b.garbage < 1 {
		return fmt.Errorf("want at least %d of --sequential and of --creations (or 0 of these), and 1 of --repeats and --garbage", rounds)
	}
	b.report = &measure.Report{Machine: measure.Machine()}
	// What was measured before an error is worth showing too.
	return errors.Join(b.measure(ctx), b.report.Write(os.Stdout))
}

// measure starts what all cases share, and runs the cases.
func (b *bench) measure(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the children too
	var err error
	if b.dir, err = os.MkdirTemp("", "bench-webhook-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	b.say("building cmd/standalone")
	binary := filepath.Join(b.dir, "standalone")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "storekeeper/cmd/standalone")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building cmd/standalone: %w\n%s", err, out)
	}
	auth, err := startAuthWorker(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = auth.Close() }()
	if err := b.measureCongestion(ctx, binary, auth.url); err != nil {
		return err
	}
	if err := b.measureSoak(ctx, binary, auth.url); err != nil {
		return err
	}
	if err := b.measureEngines(ctx, binary, auth.url); err != nil {
		return err
	}
	if b.creations == 0 {
		return nil
	}
	if b.standalone, err = b.startStandalone(ctx, binary, auth.url, filepath.Join(b.dir, "cases"), nil); err != nil {
		return err
	}
	defer b.standalone.Kill()
	if b.sender, err = newSender(b.standalone.url); err != nil {
		return err
	}
	if err := b.startFloor(ctx); err != nil {
		return err
	}
	defer b.temporal.Close()
	defer b.worker.Close()
	return b.measureCases(ctx)
}

func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
