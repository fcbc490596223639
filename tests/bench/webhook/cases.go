//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"storekeeper/contract"
	"storekeeper/tests/bench/internal/measure"
)

const (
	// rounds is the number of parts that a case is cut into. Floors are measured before, between and after the parts, so that both meet the
	// same conditions of the machine.
	rounds = 4
	// floorPart is how many times smaller than a part of a case each of its floors is. leastTurns keeps a floor large enough that its start
	// and end, when fewer are under way, hardly count.
	floorPart  = 4
	leastTurns = 5

	repeatParallel = 50

	targetThroughput = 0.9 // times that of the better floor
	targetLatency    = 1.3 // times that of the better floor
	targetRepeats    = 10  // times the best throughput of creations
	targetGarbage    = 2   // times the latency without garbage
)

// timing is how long things took.
type timing struct {
	each  []time.Duration
	total time.Duration
	cpu   time.Duration // processor time of the processes that serve them
	// late is how many outcomes were not known in time. These don't count as throughput.
	late int
}

func (t *timing) add(more timing) {
	t.each = append(t.each, more.each...)
	t.total += more.total
	t.cpu += more.cpu
	t.late += more.late
}

func (t timing) perSecond() float64 { return float64(len(t.each)-t.late) / t.total.Seconds() }

func (t timing) millis(p int) float64 {
	return float64(measure.Percentile(t.each, p).Microseconds()) / 1000
}

// cpuMillis is the processor time of one thing, in milliseconds.
func (t timing) cpuMillis() float64 { return t.cpu.Seconds() * 1000 / float64(len(t.each)) }

// inParallel calls do n times, at most parallel at a time, and measures how long each call takes and the processor time of the processes.
func inParallel(ctx context.Context, n, parallel int, processes []*measure.Child, do func(ctx context.Context, i int) error) (t timing, err error) {
	before, err := cpu(processes)
	if err != nil {
		return t, err
	}
	t.each = make([]time.Duration, n)
	var next atomic.Int64
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range parallel {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				began := time.Now()
				if err := do(ctx, i); err != nil {
					return err
				}
				t.each[i] = time.Since(began)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return t, err
	}
	t.total = time.Since(start)
	after, err := cpu(processes)
	t.cpu = after - before
	return t, err
}

func cpu(processes []*measure.Child) (sum time.Duration, err error) {
	for _, p := range processes {
		used, err := p.CPU()
		if err != nil {
			return 0, p.Gone()
		}
		sum += used
	}
	return sum, nil
}

// sample is a case that was measured in parts, with the floors around them.
type sample struct {
	parts      []timing
	floors     map[string][]timing // by kind, in order: before the first part, between the parts, after the last part
	deliveries []delivery
	answers    []answer
	counts     map[string]int // how many answers of each kind
}

func newSample() *sample { return &sample{floors: map[string][]timing{}, counts: map[string]int{}} }

func (s *sample) all() (t timing) {
	for _, part := range s.parts {
		t.add(part)
	}
	return t
}

func (s *sample) floor(kind string) (t timing) {
	for _, part := range s.floors[kind] {
		t.add(part)
	}
	return t
}

// toFloor compares the parts with the floors around them. For each kind of floor it takes the median, over the parts, of the part's
// throughput divided by the mean of the floors before and after it. It returns the smallest of these medians, which is that of the better
// floor.
func (s *sample) toFloor() float64 {
	worst := 0.0
	for i, kind := range floors {
		around := s.floors[kind]
		ratios := make([]float64, len(s.parts))
		for j, part := range s.parts {
			ratios[j] = part.perSecond() / ((around[j].perSecond() + around[j+1].perSecond()) / 2)
		}
		middle := measure.Median(ratios)
		if i == 0 || middle < worst {
			worst = middle
		}
	}
	return worst
}

func (b *bench) measureCases(ctx context.Context) error {
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	alone, err := b.measureSequential(ctx)
	if err != nil {
		return err
	}
	var best float64
	known := alone // the deliveries that are repeated
	for _, parallel := range b.parallel {
		s, err := b.measureParallel(ctx, parallel)
		if err != nil {
			return err
		}
		best = max(best, s.all().perSecond())
		known.deliveries, known.answers = append(known.deliveries, s.deliveries...), append(known.answers, s.answers...)
	}
	return b.measureRepeats(ctx, known, best)
}

// warmUp opens the connections and starts the pollers.
func (b *bench) warmUp(ctx context.Context) error {
	b.say("warming up")
	s := newSample()
	if err := b.floorPart(ctx, s, 200, 10); err != nil {
		return err
	}
	return b.create(ctx, s, 200, 10)
}

// create creates n stores, as a part of a case.
func (b *bench) create(ctx context.Context, s *sample, n, parallel int) error {
	deliveries, answers := make([]delivery, n), make([]answer, n)
	t, err := inParallel(ctx, n, parallel, []*measure.Child{b.standalone.Child}, func(ctx context.Context, i int) (err error) {
		deliveries[i] = newDelivery()
		answers[i], err = b.sender.send(ctx, deliveries[i])
		return err
	})
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.status != string(contract.StatusMonitoringStarted) {
			t.late++
		}
	}
	s.parts, s.deliveries, s.answers = append(s.parts, t), append(s.deliveries, deliveries...), append(s.answers, answers...)
	for name, count := range b.sender.takeAnswers() {
		s.counts[name] += count
	}
	return nil
}

// floorPart measures n calls of each floor.
func (b *bench) floorPart(ctx context.Context, s *sample, n, parallel int) error {
	for _, kind := range floors {
		t, err := inParallel(ctx, n, parallel, []*measure.Child{b.standalone.Child, b.worker}, func(ctx context.Context, _ int) error {
			return b.floorOnce(ctx, kind)
		})
		if err != nil {
			return fmt.Errorf("floor with %s: %w", kind, err)
		}
		s.floors[kind] = append(s.floors[kind], t)
	}
	return nil
}

// measureSequential measures one sender, in turns alone and beside garbage.
func (b *bench) measureSequential(ctx context.Context) (*sample, error) {
	generator, err := measure.StartSelf(ctx, b.dir, garbageMode, b.standalone.url, strconv.Itoa(b.garbage))
	if err != nil {
		return nil, err
	}
	defer generator.Close()
	b.say("%d creations one after the other, as many beside garbage", b.sequential)
	alone, beside := newSample(), newSample()
	var thrown sent
	n := b.sequential / rounds
	for range rounds {
		if err := b.floorPart(ctx, alone, n/2, 1); err != nil {
			return nil, err
		}
		if err := b.create(ctx, alone, n, 1); err != nil {
			return nil, err
		}
		if err := thrown.beside(generator, func() error { return b.create(ctx, beside, n, 1) }); err != nil {
			return nil, err
		}
	}
	if err := b.floorPart(ctx, alone, n/2, 1); err != nil {
		return nil, err
	}
	if err := b.reportCase(ctx, "a", alone); err != nil {
		return nil, err
	}
	p50, floor := alone.all().millis(50), 0.0
	for i, kind := range floors {
		t := alone.floor(kind)
		b.report.Add("a_floor_"+kind+"_p50_ms", t.millis(50), "ms")
		b.report.Add("a_floor_"+kind+"_cpu_ms", t.cpuMillis(), "ms")
		if i == 0 || t.millis(50) < floor {
			floor = t.millis(50)
		}
	}
	b.report.AtMost("a_p50_to_floor", p50/floor, "×", targetLatency)
	if err := b.reportCase(ctx, "d", beside); err != nil {
		return nil, err
	}
	b.report.AtMost("d_p50_to_a", beside.all().millis(50)/p50, "×", targetGarbage)
	b.reportGarbage(thrown)
	return alone, nil
}

func (b *bench) reportGarbage(thrown sent) {
	unsent, taken, failed := 0, 0, 0
	for _, name := range slices.Sorted(maps.Keys(thrown.Answers)) {
		n := thrown.Answers[name]
		b.report.Add("d_garbage_"+name, float64(n), "")
		switch outcome := name[strings.LastIndexByte(name, '_')+1:]; {
		case outcome == "unsent":
			unsent += n
		case outcome[0] == '2':
			taken += n
		case outcome[0] == '5' && outcome != strconv.Itoa(http.StatusServiceUnavailable):
			failed += n
		}
	}
	b.report.Add("d_garbage_sent", float64(thrown.Due-unsent), "")
	b.report.Add("d_garbage_sent_per_second", float64(thrown.Due-unsent)/thrown.Seconds, "")
	b.report.AtMost("d_garbage_taken", float64(taken), "", 0)
	b.report.AtMost("d_garbage_failed", float64(failed), "", 0)
}

// measureParallel measures many senders.
func (b *bench) measureParallel(ctx context.Context, parallel int) (*sample, error) {
	b.say("%d creations, %d at a time", b.creations, parallel)
	s := newSample()
	n := b.creations / rounds
	for i := range rounds + 1 {
		if err := b.floorPart(ctx, s, max(n/floorPart, leastTurns*parallel), parallel); err != nil {
			return nil, err
		}
		if i == rounds {
			break
		}
		if err := b.create(ctx, s, n, parallel); err != nil {
			return nil, err
		}
	}
	name := fmt.Sprintf("b%d", parallel)
	if err := b.reportCase(ctx, name, s); err != nil {
		return nil, err
	}
	b.report.Add(name+"_per_second", s.all().perSecond(), "")
	for _, kind := range floors {
		t := s.floor(kind)
		b.report.Add(name+"_floor_"+kind+"_per_second", t.perSecond(), "")
		b.report.Add(name+"_floor_"+kind+"_p50_ms", t.millis(50), "ms")
		b.report.Add(name+"_floor_"+kind+"_cpu_ms", t.cpuMillis(), "ms")
	}
	b.report.AtLeast(name+"_per_second_to_floor", s.toFloor(), "×", targetThroughput)
	return s, nil
}

// reportCase adds the figures that all cases of creations have, and looks for lost events. A delivery that was never answered 2xx promised
// nothing, so it can't be lost.
func (b *bench) reportCase(ctx context.Context, name string, s *sample) error {
	t := s.all()
	for _, p := range []int{50, 95, 99} {
		b.report.Add(fmt.Sprintf("%s_p%d_ms", name, p), t.millis(p), "ms")
	}
	b.report.Add(name+"_cpu_ms", t.cpuMillis(), "ms")
	for _, status := range slices.Sorted(maps.Keys(s.counts)) {
		b.report.Add(name+"_answers_"+status, float64(s.counts[status]), "")
	}
	var taken []string
	for i, d := range s.deliveries {
		if s.answers[i].code < http.StatusMultipleChoices {
			taken = append(taken, d.storeID)
		}
	}
	neverTaken := len(s.deliveries) - len(taken)
	b.report.Add(name+"_without_outcome", float64(t.late-neverTaken), "")
	b.report.AtMost(name+"_never_taken", float64(neverTaken), "", 0)
	lost, err := b.standalone.lost(ctx, taken)
	if err != nil {
		return err
	}
	b.report.AtMost(name+"_lost", float64(lost), "", 0)
	return nil
}

// measureRepeats sends deliveries again whose outcome is known. Each answer must equal the first one.
func (b *bench) measureRepeats(ctx context.Context, known *sample, best float64) error {
	var deliveries []delivery
	var answers []answer
	for i, a := range known.answers {
		if a.status == string(contract.StatusMonitoringStarted) {
			deliveries, answers = append(deliveries, known.deliveries[i]), append(answers, a)
		}
	}
	b.say("%d repeats of %d deliveries, %d at a time", b.repeats, len(deliveries), repeatParallel)
	var different atomic.Int64
	t, err := inParallel(ctx, b.repeats, repeatParallel, []*measure.Child{b.standalone.Child}, func(ctx context.Context, i int) error {
		i = (len(deliveries) - 1) - i%len(deliveries)
		a, err := b.sender.send(ctx, deliveries[i])
		if a.code != answers[i].code || !bytes.Equal(a.body, answers[i].body) {
			different.Add(1)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range []int{50, 95, 99} {
		b.report.Add(fmt.Sprintf("c_p%d_ms", p), t.millis(p), "ms")
	}
	b.report.Add("c_cpu_ms", t.cpuMillis(), "ms")
	counts := b.sender.takeAnswers()
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		b.report.Add("c_answers_"+status, float64(counts[status]), "")
	}
	b.report.AtMost("c_different_answers", float64(different.Load()), "", 0)
	b.report.Add("c_per_second", t.perSecond(), "")
	b.report.AtLeast("c_per_second_to_b", t.perSecond()/best, "×", targetRepeats)
	return nil
}
