//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"storekeeper/contract"
	"storekeeper/tests/bench/internal/measure"
)

const (
	// quota is the processor time, in parts of one core, that the standalone has in the first half of the case.
	quota = 0.3

	// congestionRounds is how often each number of senders is measured.
	congestionRounds = 3

	// brokenPause follows a connection that failed. Without it an edge that is gone would be dialed thousands of times a second.
	brokenPause = 100 * time.Millisecond

	targetCongestion = 0.8 // times the best rate with fewer senders
	targetRefusal    = 100 // milliseconds
)

// spinMode is the first argument of a child that keeps all processors busy. It is the neighbour where no quota can be set.
const spinMode = "spin"

// measureCongestion measures more and more senders at once, first with little processor time and then with all of it.
func (b *bench) measureCongestion(ctx context.Context, binary, authWorker string) error {
	if b.congestion == 0 {
		return nil
	}
	if err := b.congest(ctx, "e_quota", binary, authWorker, true); err != nil {
		return err
	}
	return b.congest(ctx, "e", binary, authWorker, false)
}

func (b *bench) congest(ctx context.Context, name, binary, authWorker string, scarce bool) error {
	s, err := b.startStandalone(ctx, binary, authWorker, filepath.Join(b.dir, name), nil)
	if err != nil {
		return err
	}
	defer s.Kill()
	if scarce {
		free, err := s.Limit(quota)
		if err != nil {
			b.say("no quota can be set (%v): a busy neighbour instead", err)
			neighbour, err := measure.StartSelf(ctx, b.dir, spinMode)
			if err != nil {
				return err
			}
			defer neighbour.Close()
		} else {
			defer func() {
				s.Kill()
				_ = free()
			}()
		}
	}
	temporal, err := dialFloor(s.temporal)
	if err != nil {
		return err
	}
	defer temporal.Close()
	crowds, err := b.crowds(ctx, name, s)
	if err != nil {
		return err
	}
	for i, n := range b.senders {
		if err := b.reportCrowd(ctx, fmt.Sprintf("%s%d_", name, n), crowds[i], crowds[:i], s, temporal); err != nil {
			return err
		}
	}
	return nil
}

// crowds measures each number of senders in parts, and all numbers in turns, so that they meet the same conditions of the machine.
func (b *bench) crowds(ctx context.Context, name string, s *standalone) ([]crowd, error) {
	if _, err := b.crowd(ctx, s, b.senders[0]); err != nil { // warms up
		return nil, err
	}
	crowds := make([]crowd, len(b.senders))
	for range congestionRounds {
		for i, n := range b.senders {
			c, err := b.crowd(ctx, s, n)
			if err != nil {
				return nil, err
			}
			b.say("%s: %d senders: %.1f a second, %d refused", name, n, c.rates[0], len(c.refusals))
			crowds[i].add(c)
		}
	}
	return crowds, nil
}

func (b *bench) reportCrowd(ctx context.Context, prefix string, c crowd, fewer []crowd, s *standalone, temporal client.Client) error {
	b.report.Add(prefix+"per_second", measure.Median(slices.Clone(c.rates)), "")
	b.report.Add(prefix+"taken", float64(len(c.ids)), "")
	b.report.Add(prefix+"without_outcome", float64(len(c.ids)-c.outcomes), "")
	b.report.Add(prefix+"broken", float64(c.broken), "")
	b.report.Add(prefix+"refused", float64(len(c.refusals)), "")
	b.report.Add(prefix+"taken_p95_ms", float64(measure.Percentile(c.taking, 95).Milliseconds()), "ms")
	b.report.Add(prefix+"taken_slowest_ms", float64(measure.Percentile(c.taking, 100).Milliseconds()), "ms")
	if len(fewer) > 0 {
		ratios := make([]float64, len(c.rates))
		for i, rate := range c.rates {
			best := 0.0
			for _, f := range fewer {
				best = max(best, f.rates[i])
			}
			ratios[i] = rate / best
		}
		b.report.AtLeast(prefix+"to_best_of_fewer", measure.Median(ratios), "×", targetCongestion)
	}
	if len(c.refusals) > 0 {
		b.report.Add(prefix+"refusal_p50_ms", float64(measure.Percentile(c.refusals, 50).Microseconds())/1000, "ms")
		b.report.Add(prefix+"refusal_p95_ms", float64(measure.Percentile(c.refusals, 95).Microseconds())/1000, "ms")
		b.report.AtMost(prefix+"refusal_slowest_ms", float64(measure.Percentile(c.refusals, 100).Microseconds())/1000, "ms", targetRefusal)
	}
	twice, err := sentTwice(ctx, temporal, c.doubtful)
	if err != nil {
		return err
	}
	b.report.AtMost(prefix+"sent_twice", float64(twice), "", 0)
	lost, err := s.lost(ctx, c.ids)
	if err != nil {
		return err
	}
	b.report.AtMost(prefix+"lost", float64(lost), "", 0)
	return nil
}

// crowd is what a number of senders saw.
type crowd struct {
	rates            []float64 // events taken a second, in each part
	taken            int       // events taken within the time of the parts
	outcomes, broken int
	ids              []string
	taking, refusals []time.Duration
	doubtful         []string // stores whose event was neither answered with its outcome nor refused at once
}

// crowd lets n senders send one event after the other. It waits for what is under way at the end.
func (b *bench) crowd(ctx context.Context, s *standalone, n int) (crowd, error) {
	sender, err := newSender(s.url)
	if err != nil {
		return crowd{}, err
	}
	defer sender.http.CloseIdleConnections()
	var mu sync.Mutex
	var c crowd
	end := time.Now().Add(b.congestion)
	group, ctx := errgroup.WithContext(ctx)
	for range n {
		group.Go(func() error {
			for d := newDelivery(); time.Now().Before(end); {
				began := time.Now()
				a, retryAfter, err := sender.sendOnce(ctx, d)
				took := time.Since(began)
				mu.Lock()
				if err != nil { // an unused connection is closed after a while, and may be chosen at that moment
					c.broken++
					retryAfter = brokenPause
				} else {
					c.count(d, a, took, !time.Now().After(end))
				}
				mu.Unlock()
				if err == nil && a.code < http.StatusMultipleChoices {
					d = newDelivery()
				}
				select {
				case <-time.After(min(retryAfter, time.Until(end))):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}
	err = group.Wait()
	c.rates = []float64{float64(c.taken) / b.congestion.Seconds()}
	return c, err
}

func (c *crowd) add(more crowd) {
	c.rates, c.ids, c.outcomes = append(c.rates, more.rates...), append(c.ids, more.ids...), c.outcomes+more.outcomes
	c.broken += more.broken
	c.taking, c.refusals = append(c.taking, more.taking...), append(c.refusals, more.refusals...)
	c.doubtful = append(c.doubtful, more.doubtful...)
}

func (c *crowd) count(d delivery, a answer, took time.Duration, inTime bool) {
	switch a.code {
	case http.StatusOK, http.StatusAccepted:
		c.ids, c.taking = append(c.ids, d.storeID), append(c.taking, took)
		if inTime {
			c.taken++
		}
		if a.code == http.StatusAccepted {
			c.doubtful = append(c.doubtful, d.storeID)
		} else {
			c.outcomes++
		}
	default:
		c.refusals = append(c.refusals, took)
		if !strings.Contains(string(a.body), "overloaded") {
			c.doubtful = append(c.doubtful, d.storeID)
		}
	}
}

// sentTwice counts the stores whose single event is in the history of their workflow both as an update and as a signal.
func sentTwice(ctx context.Context, temporal client.Client, stores []string) (twice int, err error) {
	for _, id := range stores {
		updated, signalled := false, false
		events := temporal.GetWorkflowHistory(ctx, contract.LifecycleID(id), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if notFound := (*serviceerror.NotFound)(nil); errors.As(err, &notFound) {
				break // not sent at all
			}
			if err != nil {
				return 0, err
			}
			updated = updated || event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
			signalled = signalled || event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
		}
		if updated && signalled {
			twice++
		}
	}
	return twice, nil
}

// spin keeps n processors busy until standard input ends.
func spin(n int, until io.Reader) error {
	for range n {
		go func() {
			for n := 0; ; n++ { // a loop that never yields
				_ = n
			}
		}()
	}
	_, err := io.Copy(io.Discard, until)
	return err
}
