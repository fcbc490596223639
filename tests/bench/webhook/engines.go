//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"storekeeper/internal/postgrestest"
)

// enginesParallel are the numbers of creations under way at once, on each engine.
var enginesParallel = []int{1, 50}

// Targets: how the default compares with Temporal's full schema, and how much room an event may take.
const (
	targetToFull    = 1.5  // throughput
	targetP50ToFull = 0.8  // latency, alone
	targetCPUToFull = 0.65 // processor time
	targetDisk      = 8.0  // KB for each event
)

// engine is a standalone on a database of some kind.
type engine struct {
	name     string
	settings []string
	flags    []string
	*bench
}

// measureEngines measures Temporal on each kind of database, in turns: SQLite as it is by default, SQLite with Temporal's full schema, and
// PostgreSQL. For each it measures the floors, and creations through the edge. The processor time of a creation does not include that of
// PostgreSQL itself.
func (b *bench) measureEngines(ctx context.Context, binary, authWorker string) error {
	if b.engines == 0 {
		return nil
	}
	kinds := []*engine{{name: "sqlite"}, {name: "full", flags: []string{"--temporal-schema", "full"}}}
	if b.postgres == "" {
		cluster, err := postgrestest.New(ctx, "")
		switch {
		case errors.Is(err, postgrestest.ErrMissing):
			b.say("no case of PostgreSQL: %v", err)
		case err != nil:
			return err
		default:
			defer cluster.Remove()
			b.postgres = cluster.URL("bench")
		}
	} else if _, err := url.Parse(b.postgres); err != nil {
		return errors.New("--postgres: it can't be parsed")
	}
	if b.postgres != "" {
		kinds = append(kinds, &engine{name: "postgres", settings: []string{"TEMPORAL_DB=" + b.postgres}})
	}
	for _, e := range kinds {
		if err := b.startEngine(ctx, binary, authWorker, e); err != nil {
			return err
		}
		defer e.stop()
		if err := e.warmUp(ctx); err != nil {
			return err
		}
	}
	for _, parallel := range enginesParallel {
		b.say("%d creations on each engine, %d at a time", b.engines, parallel)
		samples := make([]*sample, len(kinds))
		n := b.engines / rounds
		for round := range rounds {
			for i, e := range kinds {
				if round == 0 {
					samples[i] = newSample()
				}
				if err := e.floorPart(ctx, samples[i], max(n/floorPart, leastTurns*parallel), parallel); err != nil {
					return err
				}
				if err := e.create(ctx, samples[i], n, parallel); err != nil {
					return err
				}
			}
		}
		for i, e := range kinds {
			if err := e.reportCase(ctx, fmt.Sprintf("f_%s%d", e.name, parallel), samples[i]); err != nil {
				return err
			}
		}
		b.compareEngines(parallel, kinds, samples)
	}
	return b.measureDisk(ctx, kinds[:2])
}

// compareEngines adds the figures of each engine for creations and for each floor, and their ratio to those of the first engine. The ratio
// of the default to the full schema has targets.
func (b *bench) compareEngines(parallel int, kinds []*engine, samples []*sample) {
	for _, what := range append([]string{"creations"}, floors...) {
		of := func(s *sample) timing {
			if what == "creations" {
				return s.all()
			}
			return s.floor(what)
		}
		first := of(samples[0])
		for i, e := range kinds {
			t := of(samples[i])
			name := fmt.Sprintf("f%d_%s_%s", parallel, what, e.name)
			b.report.Add(name+"_p50_ms", t.millis(50), "ms")
			b.report.Add(name+"_cpu_ms", t.cpuMillis(), "ms")
			if parallel > 1 {
				b.report.Add(name+"_per_second", t.perSecond(), "")
			}
			switch {
			case e.name == "full" && what == "creations" && parallel == 1:
				b.report.AtMost("f1_p50_to_full", first.millis(50)/t.millis(50), "×", targetP50ToFull)
				b.report.AtMost("f1_cpu_to_full", first.cpuMillis()/t.cpuMillis(), "×", targetCPUToFull)
			case e.name == "full" && what == "creations":
				b.report.AtLeast(fmt.Sprintf("f%d_per_second_to_full", parallel), first.perSecond()/t.perSecond(), "×", targetToFull)
				b.report.AtMost(fmt.Sprintf("f%d_cpu_to_full", parallel), first.cpuMillis()/t.cpuMillis(), "×", targetCPUToFull)
			case e.name == "postgres" && parallel == 1:
				b.report.Add(name+"_p50_to_sqlite", t.millis(50)/first.millis(50), "×")
			case e.name == "postgres":
				b.report.Add(name+"_per_second_to_sqlite", t.perSecond()/first.perSecond(), "×")
			}
		}
	}
}

// measureDisk measures the room that creations take in Temporal's files, once the log is in them.
func (b *bench) measureDisk(ctx context.Context, kinds []*engine) error {
	b.say("what an event takes on disk")
	for _, e := range kinds {
		before, err := e.settledSize(ctx)
		if err != nil {
			return err
		}
		n := max(b.engines/2, 1)
		if err := e.create(ctx, newSample(), n, 10); err != nil {
			return err
		}
		after, err := e.settledSize(ctx)
		if err != nil {
			return err
		}
		perEvent := float64(after-before) / 1000 / float64(n)
		if e.name == "full" {
			b.report.Add("f_disk_full", perEvent, "KB")
			continue
		}
		b.report.AtMost("f_disk_sqlite", perEvent, "KB", targetDisk)
	}
	return nil
}

// settledSize is the size of Temporal's files once their logs are empty. Idle files have empty logs after some seconds.
func (e *engine) settledSize(ctx context.Context) (size int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, settled)
	defer cancel()
	for {
		size = 0
		log := int64(0)
		files, err := filepath.Glob(filepath.Join(e.dir, e.name, "temporal*.db*"))
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			info, err := os.Stat(file)
			switch {
			case err != nil:
				return 0, err
			case strings.HasSuffix(file, "-wal"):
				log += info.Size()
			case strings.HasSuffix(file, ".db"):
				size += info.Size()
			}
		}
		if log == 0 {
			return size, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("the log of %s is not emptied: %w", e.name, ctx.Err())
		}
	}
}

// startEngine gives the engine a copy of this benchmark that has a standalone, a sender and floors of its own.
func (b *bench) startEngine(ctx context.Context, binary, authWorker string, e *engine) (err error) {
	own := *b
	e.bench = &own
	if own.standalone, err = b.startStandalone(ctx, binary, authWorker, filepath.Join(b.dir, e.name), e.settings, e.flags...); err != nil {
		return err
	}
	if own.sender, err = newSender(own.standalone.url); err == nil {
		err = own.startFloor(ctx)
	}
	if err != nil {
		own.standalone.Kill()
	}
	return err
}

func (e *engine) stop() {
	e.temporal.Close()
	e.worker.Close()
	e.standalone.Kill()
}
