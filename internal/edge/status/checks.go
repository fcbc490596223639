package status

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
)

const (
	// checkTimeout bounds each question that health asks.
	checkTimeout = 2 * time.Second
	// checkAge is how old an answer may be for those who bring no token. So any number of probes costs one question a second.
	checkAge = time.Second
)

// checks are the questions behind /health and /readyz.
type checks struct {
	temporal, workers, storeManager shared[api.Check]
	state                           shared[state]
}

func newChecks(s *Status) *checks {
	c := &checks{}
	c.temporal.ask = s.dependency("temporal", s.orchestrator.Reachable, sayTemporal)
	c.workers.ask = s.dependency("workers", s.orchestrator.WorkersPolling, sayWorkers)
	c.storeManager.ask = s.dependency("storeManager", s.manager.Ping, sayStoreManager)
	c.state.ask = s.askState
	return c
}

// dependency returns a question to one dependency: ask puts it, and say makes a sentence for everybody of its error.
func (s *Status) dependency(name string, ask func(context.Context) error, say func(error) string) func(context.Context) api.Check {
	return func(ctx context.Context) api.Check {
		start := time.Now()
		err := ask(ctx)
		c := api.Check{OK: err == nil, LatencyMs: float64(time.Since(start).Microseconds()) / 1000, CheckedAt: start.UTC()}
		if err != nil {
			c.Error = say(err)
			s.frequent.Warn("health check failed", zap.String("check", name), zap.Error(err))
		}
		return c
	}
}

func sayTemporal(err error) string {
	if errors.Is(err, orchestrator.ErrDatabase) {
		return "Temporal can't use its database"
	}
	return "Temporal can't be reached"
}

func sayWorkers(err error) string {
	if errors.Is(err, orchestrator.ErrNoWorker) {
		return err.Error() // it says no more than when the last one was heard of
	}
	return "unknown, Temporal can't be reached"
}

func sayStoreManager(err error) string {
	if errors.Is(err, storemanager.ErrUnauthorized) {
		return "the store manager refused the token"
	}
	return "the store manager can't be reached"
}

// shared gives all who ask at the same time one answer to one question.
type shared[T any] struct {
	ask func(context.Context) T

	mu    sync.Mutex
	asked time.Time // when value was asked for
	value T
}

// get returns an answer that is at most age old, or was asked for after this call. It waits for two questions at most.
func (s *shared[T]) get(ctx context.Context, age time.Duration) T {
	came := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.IsZero() || came.Sub(s.asked) >= age {
		// Whoever asks first may hang up; the others still want the answer.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		s.asked = time.Now()
		s.value = s.ask(ctx)
	}
	return s.value
}

// state is what the edge shows of the system. Nil means not known: who knows it could not be asked.
type state struct {
	overview       *storemanager.Overview
	reconciliation *storemanager.Reconciliation
	pauses         *[]storemanager.Pause
	// attended is how many pending deletions have a lifecycle that waits.
	attended *int
	run      *orchestrator.UnderWay
	// schedule is all zero when reconciliation is disabled: then nobody is asked for it.
	schedule *orchestrator.Schedule
	workers  *[]orchestrator.Worker
	// ahead is how far the store manager's clock is ahead of ours; nil also when it is ours.
	ahead *time.Duration
}

// running says whether a run is under way; nil when it is not known.
func (st state) running() *bool {
	if st.run == nil {
		return nil
	}
	return new(!st.run.StartedAt.IsZero())
}

// paused says whether the schedule is paused; nil when it is not known.
func (st state) paused() *bool {
	if st.schedule == nil {
		return nil
	}
	return &st.schedule.Paused
}

func (s *Status) askState(ctx context.Context) state {
	var st state
	var wg sync.WaitGroup
	wg.Go(func() {
		// Temporal is asked first, so that a deletion that ends in between is not taken for one that nobody waits for.
		st.attended = orNil(s.orchestrator.CountDeletionsPending(ctx))
		asked := time.Now()
		st.overview = orNil(s.manager.Overview(ctx))
		if st.overview != nil && st.overview.Host != nil {
			st.ahead = new(st.overview.Host.Now.Sub(asked.Add(time.Since(asked) / 2)))
		}
	})
	wg.Go(func() { st.workers = orNil(s.orchestrator.Workers(ctx)) })
	wg.Go(func() { st.reconciliation = orNil(s.manager.Reconciliation(ctx)) })
	wg.Go(func() { st.pauses = orNil(s.manager.Pauses(ctx)) })
	wg.Go(func() { st.run = orNil(s.orchestrator.ReconcileRunning(ctx)) })
	wg.Go(func() {
		if !s.config.ReconcileEnabled {
			st.schedule = &orchestrator.Schedule{}
			return
		}
		st.schedule = orNil(s.orchestrator.ReconcileSchedule(ctx))
		if st.schedule != nil && st.schedule.Paused {
			s.pausedLast.Store(new(time.Now()))
		}
	})
	wg.Wait()
	return st
}

// orNil is nil when there is an error: the value is not known.
func orNil[T any](v T, err error) *T {
	if err != nil {
		return nil
	}
	return &v
}
