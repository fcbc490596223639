package edge

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/authclient"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
)

const (
	// checkTimeout bounds each question that health asks.
	checkTimeout = 2 * time.Second
	// checkAge is how old an answer to just anybody may be: so any number of probes costs one question a second.
	checkAge = time.Second
	// authCheckAge is more: of the 60 requests that the Auth Worker allows a minute, health takes 4.
	authCheckAge = 15 * time.Second
)

// check is what became of asking one dependency.
type check struct {
	OK bool `json:"ok"`
	// Error is for everybody to read, so it is one of a few sentences of our own; "" when OK.
	Error     string    `json:"error,omitempty"`
	LatencyMs float64   `json:"latencyMs"`
	CheckedAt time.Time `json:"checkedAt"`
}

// checks are the questions behind /health and /readyz.
type checks struct {
	temporal, workers, storeManager, authWorker shared[check]
	state                                       shared[state]
}

func newChecks(s *Server, auth AuthWorker) *checks {
	c := &checks{}
	c.temporal.ask = s.dependency("temporal", s.orchestrator.Reachable, sayTemporal)
	c.workers.ask = s.dependency("workers", s.orchestrator.WorkersPolling, sayWorkers)
	c.storeManager.ask = s.dependency("storeManager", s.stores.Ping, sayStoreManager)
	c.authWorker.ask = s.dependency("authWorker", auth.Probe, sayAuthWorker)
	c.state.ask = s.askState
	return c
}

// dependency makes the question out of the one that ask puts to the dependency, and of what say says of its failure.
func (s *Server) dependency(name string, ask func(context.Context) error, say func(error) string) func(context.Context) check {
	return func(ctx context.Context) check {
		start := time.Now()
		err := ask(ctx)
		c := check{OK: err == nil, LatencyMs: float64(time.Since(start).Microseconds()) / 1000, CheckedAt: start.UTC()}
		if err != nil {
			c.Error = say(err)
			s.frequent.Warn("health check failed", zap.String("check", name), zap.Error(err))
		}
		return c
	}
}

func sayTemporal(error) string { return "Temporal can't be reached" }

func sayWorkers(err error) string {
	if errors.Is(err, orchestrator.ErrNoWorker) {
		return "no worker polls the task queue"
	}
	return "unknown, Temporal can't be reached"
}

func sayStoreManager(err error) string {
	if errors.Is(err, storemanager.ErrUnauthorized) {
		return "the store manager refused the token"
	}
	return "the store manager can't be reached"
}

func sayAuthWorker(err error) string {
	var status *authclient.StatusError
	switch {
	case errors.Is(err, authclient.ErrUnauthorized):
		return "the Auth Worker refused the token"
	case errors.As(err, &status):
		return "the Auth Worker answers with an error"
	}
	return "the Auth Worker can't be reached"
}

// shared gives all who ask at the same time one answer to one question.
type shared[T any] struct {
	ask func(context.Context) T

	mu    sync.Mutex
	asked time.Time // when value was asked for
	value T
}

// get returns an answer that was asked for within the last age, or after this call; never waiting longer than two questions
// last.
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
	running        *bool
	// paused is false too when reconciliation is disabled: then the schedule is of no interest.
	paused    *bool
	pauseNote string
}

func (s *Server) askState(ctx context.Context) state {
	var st state
	var wg sync.WaitGroup
	wg.Go(func() { st.overview = known(s.stores.Overview(ctx)) })
	wg.Go(func() { st.reconciliation = known(s.stores.Reconciliation(ctx)) })
	wg.Go(func() { st.pauses = known(s.stores.Pauses(ctx)) })
	wg.Go(func() { st.running = known(s.orchestrator.ReconcileRunning(ctx)) })
	wg.Go(func() {
		if !s.config.ReconcileEnabled {
			st.paused = new(bool)
			return
		}
		paused, note, err := s.orchestrator.SchedulePaused(ctx)
		st.paused, st.pauseNote = known(paused, err), note
	})
	wg.Wait()
	return st
}

func known[T any](v T, err error) *T {
	if err != nil {
		return nil
	}
	return &v
}
