//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"storekeeper/internal/postgrestest"
)

// enginesParallel are how many creations are under way at once, on each engine.
var enginesParallel = []int{1, 50}

// measureEngines measures Temporal on SQLite and on PostgreSQL, in turns: the floors of each, and creations through the edge. The
// processor time that PostgreSQL itself uses is not in that of a creation.
func (b *bench) measureEngines(ctx context.Context, binary, authWorker string) error {
	if b.engines == 0 {
		return nil
	}
	if b.postgres == "" {
		cluster, err := postgrestest.New(ctx, "")
		if errors.Is(err, postgrestest.ErrMissing) {
			b.say("no case of PostgreSQL: %v", err)
			return nil
		}
		if err != nil {
			return err
		}
		defer cluster.Remove()
		b.postgres = cluster.URL("bench")
	} else if _, err := url.Parse(b.postgres); err != nil {
		return errors.New("--postgres: it can't be parsed")
	}
	names := []string{"sqlite", "postgres"}
	engines := map[string]*bench{}
	for _, name := range names {
		var settings []string
		if name == "postgres" {
			settings = []string{"TEMPORAL_DB=" + b.postgres}
		}
		engine, err := b.startEngine(ctx, binary, authWorker, filepath.Join(b.dir, name), settings)
		if err != nil {
			return err
		}
		defer engine.stopEngine()
		if err := engine.warmUp(ctx); err != nil {
			return err
		}
		engines[name] = engine
	}
	for _, parallel := range enginesParallel {
		b.say("%d creations on each engine, %d at a time", b.engines, parallel)
		samples := map[string]*sample{}
		for _, name := range names {
			samples[name] = newSample()
		}
		n := b.engines / rounds
		for range rounds {
			for _, name := range names {
				if err := engines[name].floorPart(ctx, samples[name], max(n/floorPart, leastTurns*parallel), parallel); err != nil {
					return err
				}
				if err := engines[name].create(ctx, samples[name], n, parallel); err != nil {
					return err
				}
			}
		}
		for _, name := range names {
			if err := engines[name].reportCase(ctx, fmt.Sprintf("f_%s%d", name, parallel), samples[name]); err != nil {
				return err
			}
		}
		b.compareEngines(parallel, samples["sqlite"], samples["postgres"])
	}
	return nil
}

// compareEngines adds, of the creations and of each floor, what both engines do and the ratio.
func (b *bench) compareEngines(parallel int, sqlite, postgres *sample) {
	for _, what := range append([]string{"creations"}, floors...) {
		of := func(s *sample) timing {
			if what == "creations" {
				return s.all()
			}
			return s.floor(what)
		}
		name := fmt.Sprintf("f%d_%s", parallel, what)
		if parallel == 1 {
			b.report.Add(name+"_sqlite_p50_ms", of(sqlite).millis(50), "ms")
			b.report.Add(name+"_postgres_p50_ms", of(postgres).millis(50), "ms")
			b.report.Add(name+"_p50_to_sqlite", of(postgres).millis(50)/of(sqlite).millis(50), "×")
			continue
		}
		b.report.Add(name+"_sqlite_per_second", of(sqlite).perSecond(), "")
		b.report.Add(name+"_postgres_per_second", of(postgres).perSecond(), "")
		b.report.Add(name+"_per_second_to_sqlite", of(postgres).perSecond()/of(sqlite).perSecond(), "×")
	}
}

// startEngine is this benchmark with a standalone of its own.
func (b *bench) startEngine(ctx context.Context, binary, authWorker, dir string, settings []string) (_ *bench, err error) {
	engine := *b
	if engine.standalone, err = b.startStandalone(ctx, binary, authWorker, dir, settings...); err != nil {
		return nil, err
	}
	if engine.sender, err = newSender(engine.standalone.url); err == nil {
		err = engine.startFloor(ctx)
	}
	if err != nil {
		engine.standalone.Kill()
	}
	return &engine, err
}

func (b *bench) stopEngine() {
	b.temporal.Close()
	b.worker.Close()
	b.standalone.Kill()
}
