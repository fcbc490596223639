//go:build linux

// Command reconcile measures what a reconcile run costs: `make bench-reconcile`, docs/benchmarks.md.
//
// The run is a real one: ReconcileWorkspaces on the embedded Temporal server, with the worker's own activities, a registry on disk, and an
// Auth Worker that streams its list over HTTP. The worker and the Auth Worker are processes of their own, so that the worker's memory can
// be measured separately. A floor is measured in the same run, by the same process. Absolute figures depend on the machine and its other
// work; ratios to the floor depend on them much less.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"storekeeper/internal/orchestrator"
	"storekeeper/internal/temporalserver"
	"storekeeper/tests/bench/internal/measure"
)

const token = "bench-token"

// bench is a run of this program.
type bench struct {
	dir      string // for files that are removed with the run
	repeats  int    // of runs that find nothing to do; the median counts
	profile  string // directory for profiles; "" for none
	progress io.Writer
	report   *measure.Report

	temporal     string // its address
	client       client.Client
	orchestrator *orchestrator.Client
	lists        string // URL of the Auth Worker; the path below it is the size of the list
}

func main() { measure.Main("bench-reconcile", run) }

// run does what this process is started for. It may be a child of the benchmark.
func run(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == listMode {
		return serveLists(ctx)
	}
	if len(args) == 5 && args[0] == workerMode {
		return work(ctx, workerArgs{temporal: args[1], authWorker: args[2], registry: args[3], profile: args[4]})
	}
	flags := flag.NewFlagSet("bench-reconcile", flag.ContinueOnError)
	workspaces := flags.String("workspaces", "1000,10000,100000,1000000", "measure these numbers of workspaces")
	repeats := flags.Int("repeats", 3, "reconcile this often without drift, and fetch the list as often; the medians count")
	profile := flags.String("cpuprofile", "", "leave CPU profiles of the worker in this `directory`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	sizes, err := measure.Numbers(*workspaces, 100)
	if err != nil {
		return fmt.Errorf("--workspaces: %w", err)
	}
	if *repeats < 1 {
		return errors.New("--repeats: want at least 1")
	}
	b := &bench{repeats: *repeats, profile: *profile, progress: os.Stderr, report: &measure.Report{Machine: measure.Machine()}}
	// What was measured before an error is worth showing too.
	return errors.Join(b.measure(ctx, sizes), b.report.Write(os.Stdout))
}

// measure starts what all cases share, and runs the cases.
func (b *bench) measure(ctx context.Context, sizes []int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the children too
	var err error
	if b.dir, err = os.MkdirTemp("", "bench-reconcile-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	server, err := temporalserver.Start(ctx, temporalserver.Options{Listen: "127.0.0.1:0", SearchAttributes: orchestrator.SearchAttributes()})
	if err != nil {
		return err
	}
	defer server.Stop()
	b.temporal = server.Addr()
	b.client, err = client.DialContext(ctx, client.Options{HostPort: b.temporal, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return err
	}
	defer b.client.Close()
	b.orchestrator = orchestrator.New(b.client, client.DefaultNamespace)
	lists, err := measure.StartSelf(ctx, b.dir, listMode)
	if err != nil {
		return err
	}
	defer lists.Close()
	if b.lists, err = lists.Line(); err != nil {
		return err
	}
	for _, n := range sizes {
		if err := b.measureSize(ctx, n); err != nil {
			return fmt.Errorf("%d workspaces: %w", n, err)
		}
	}
	return nil
}

func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
