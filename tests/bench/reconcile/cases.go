//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/tests/bench/internal/measure"
)

const (
	// fill is how many stores are put into the registry in one transaction.
	fill = storemanager.MaxBatch
	// mostMissing is the largest list that is tested with everything missing. By default a repair adds at most 500 stores a second
	// (RECONCILE_MAX_RATE), and the benchmark keeps that default.
	mostMissing = 10_000

	targetHistory = 2000
	targetGrowth  = 150 // MiB
	targetRepair  = 60  // seconds, for mostMissing stores
	targetRatio   = 2
	targetEvent   = 1 // second, for a new workspace

	// eventEvery is how often a workspace is created while others are repaired. eventWait bounds the wait for each.
	eventEvery = 500 * time.Millisecond
	eventWait  = 30 * time.Second
	// fewestEvents is how many events must come during the repair. With fewer the figure would mean nothing.
	fewestEvents = 10
)

// targetSeconds are the targets for a run without drift, by the number of workspaces.
var targetSeconds = map[int]float64{100_000: 2, 1_000_000: 20}

// measureSize runs the cases of n workspaces.
func (b *bench) measureSize(ctx context.Context, n int) error {
	if n <= mostMissing {
		if err := b.measureMissing(ctx, n, "all_missing", n, filepath.Join(b.dir, fmt.Sprintf("empty-%d.db", n))); err != nil {
			return err
		}
	}
	if n == mostMissing {
		if err := b.measureEvents(ctx, n); err != nil {
			return err
		}
	}
	path := filepath.Join(b.dir, fmt.Sprintf("filled-%d.db", n))
	missing := n / 100
	b.say("filling a registry with %d stores", n-missing)
	if err := fillRegistry(ctx, path, n-missing); err != nil {
		return err
	}
	if err := b.measureMissing(ctx, n, "percent_missing", missing, path); err != nil {
		return err
	}
	return b.measureNoDrift(ctx, n, path) // with the registry that was just repaired
}

// measureMissing repairs that many missing stores in one run.
func (b *bench) measureMissing(ctx context.Context, n int, name string, missing int, registry string) error {
	name = fmt.Sprintf("n%d_%s", n, name)
	w, err := b.startWorker(ctx, n, name, registry)
	if err != nil {
		return err
	}
	defer w.Close()
	b.say("%s: adding %d stores", name, missing)
	r, err := b.reconcile(ctx, w)
	if err != nil {
		return err
	}
	if r.report.Added != missing || r.report.FailedAdds+r.report.Removed > 0 || r.report.MonitoredCount != n {
		return fmt.Errorf("%s: the run added %d stores instead of %d: %+v", name, r.report.Added, missing, r.report)
	}
	if missing == mostMissing {
		b.report.AtMost(name+"_seconds", r.seconds, "s", targetRepair)
	} else {
		b.report.Add(name+"_seconds", r.seconds, "s")
	}
	b.add(name, r)
	return nil
}

// measureEvents repairs n missing stores and meanwhile creates workspaces, one after the other, as an edge does.
func (b *bench) measureEvents(ctx context.Context, n int) error {
	name := fmt.Sprintf("n%d_all_missing_new_workspace", n)
	w, err := b.startWorker(ctx, n, name, filepath.Join(b.dir, name+".db"))
	if err != nil {
		return err
	}
	defer w.Close()
	b.say("%s: creating workspaces while %d stores are added", name, n)
	run, err := b.orchestrator.StartReconcile(ctx, contract.ReconcileInput{Trigger: contract.TriggerManual, Confirm: true})
	if err != nil {
		return err
	}
	type ending struct {
		report contract.ReconcileReport
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		report, err := run.Wait(ctx)
		ended <- ending{report, err}
	}()
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	var seconds []float64
	for {
		select {
		case end := <-ended:
			if end.err != nil {
				return end.err
			}
			if end.report.Added != n || len(seconds) < fewestEvents {
				return fmt.Errorf("%s: %d workspaces were created while %d stores were added", name, len(seconds), end.report.Added)
			}
			b.report.Add(name+"_p50_seconds", measure.Median(seconds), "s")
			b.report.Below(name+"_max_seconds", slices.Max(seconds), "s", targetEvent)
			return nil
		case <-tick.C:
		}
		took, err := b.createWorkspace(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		seconds = append(seconds, took)
	}
}

// createWorkspace sends the event of a new workspace, and returns how many seconds passed until its store was monitored.
func (b *bench) createWorkspace(ctx context.Context) (float64, error) {
	start := time.Now()
	result, err := b.orchestrator.Apply(ctx, contract.Event{
		DeliveryID: orchestrator.NewDeliveryID(), Type: contract.WorkspaceCreated, InstanceID: uuid.NewString(), Timestamp: start,
		Source: contract.SourceWebhook,
	}, eventWait)
	if err == nil && result.Status != contract.StatusMonitoringStarted {
		err = fmt.Errorf("the event of a new workspace was answered %q", result.Status)
	}
	return time.Since(start).Seconds(), err
}

// measureNoDrift reconciles where nothing needs repair, and as often it only fetches and decodes the list.
func (b *bench) measureNoDrift(ctx context.Context, n int, registry string) error {
	name := fmt.Sprintf("n%d_no_drift", n)
	w, err := b.startWorker(ctx, n, name, registry)
	if err != nil {
		return err
	}
	defer w.Close()
	b.say("%s: reconciling", name)
	var first measured // the worker's memory grows in the first run, and the others use it again
	var seconds, floor []float64
	for i := range b.repeats {
		r, err := b.reconcile(ctx, w)
		if err != nil {
			return err
		}
		if r.report.DriftCount != 0 || r.report.MonitoredCount != n || r.report.AuthoritativeCount != n {
			return fmt.Errorf("%s: the run found a drift: %+v", name, r.report)
		}
		if i == 0 {
			first = r
		}
		fetched, err := w.fetch(n)
		if err != nil {
			return err
		}
		seconds, floor = append(seconds, r.seconds), append(floor, fetched)
	}
	if limit, ok := targetSeconds[n]; ok {
		b.report.AtMost(name+"_seconds", measure.Median(seconds), "s", limit)
	} else {
		b.report.Add(name+"_seconds", measure.Median(seconds), "s")
	}
	b.report.Add(name+"_floor_seconds", measure.Median(floor), "s")
	if _, ok := targetSeconds[n]; ok { // in smaller runs the fixed cost of a run hides the ratio
		b.report.AtMost(name+"_to_floor", measure.Median(seconds)/measure.Median(floor), "×", targetRatio)
	} else {
		b.report.Add(name+"_to_floor", measure.Median(seconds)/measure.Median(floor), "×")
	}
	b.add(name, first)
	return nil
}

// add adds the figures of each run.
func (b *bench) add(name string, r measured) {
	phases := r.report.Phases
	b.report.Add(name+"_fetch_seconds", float64(phases.FetchMs)/1000, "s")
	b.report.Add(name+"_compare_seconds", float64(phases.CompareMs)/1000, "s")
	if r.report.Added > 0 {
		b.report.Add(name+"_ensure_seconds", float64(phases.EnsureMs)/1000, "s")
		b.report.Add(name+"_rounds", float64(r.report.Rounds), "")
	}
	b.report.Below(name+"_history_events", float64(r.events), "", targetHistory)
	b.report.AtMost(name+"_rss_growth_mib", r.growth, "MiB", targetGrowth)
}

// measured is one reconcile run.
type measured struct {
	report  contract.ReconcileReport
	seconds float64 // from the request until its report is there
	events  int64   // events in its history
	growth  float64 // the peak of the worker's resident memory during the run, less what it had before, in MiB
}

func (b *bench) reconcile(ctx context.Context, w *worker) (measured, error) {
	before, err := w.Memory("VmRSS")
	if err != nil {
		return measured{}, err
	}
	if err := w.ResetPeak(); err != nil {
		return measured{}, err
	}
	start := time.Now()
	run, err := b.orchestrator.StartReconcile(ctx, contract.ReconcileInput{Trigger: contract.TriggerManual, Confirm: true})
	if err != nil {
		return measured{}, err
	}
	var m measured
	if m.report, err = run.Wait(ctx); err != nil {
		return measured{}, err
	}
	m.seconds = time.Since(start).Seconds()
	peak, err := w.Memory("VmHWM")
	if err != nil {
		return measured{}, err
	}
	m.growth = peak - before
	desc, err := b.client.DescribeWorkflowExecution(ctx, contract.ReconcileID, run.ID())
	if err != nil {
		return measured{}, err
	}
	m.events = desc.GetWorkflowExecutionInfo().GetHistoryLength()
	return m, nil
}

// fillRegistry makes a registry with the first n stores of every list.
func fillRegistry(ctx context.Context, path string, n int) (err error) {
	registry, err := storetest.TryOpen(ctx, storetest.Settings{Path: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	requests := make([]storemanager.EnsureRequest, 0, fill)
	for first := 0; first < n; first += fill {
		requests = requests[:0]
		for i := first; i < min(n, first+fill); i++ {
			requests = append(requests, storemanager.EnsureRequest{StoreID: string(appendUUID(nil, uint64(i))), At: time.Now()})
		}
		results, err := registry.EnsureBatch(ctx, requests)
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Outcome != storemanager.EnsureCreated {
				return fmt.Errorf("the ensure of a new store answered %q", r.Outcome)
			}
		}
	}
	return nil
}

// fetch only fetches and decodes the list of n workspaces, and returns how many seconds that took.
func (w *worker) fetch(n int) (float64, error) {
	if _, err := fmt.Fprintln(w.Stdin, n); err != nil {
		return 0, w.Gone()
	}
	line, err := w.Line()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(line, 64)
}
