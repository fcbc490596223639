package edge

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/telemetry"
)

// errStillRefusing: events have been refused lately, or since the run was requested.
var errStillRefusing = errors.New("events are still refused")

// repairAfter is how long no event must have been refused before a reconcile run is worth it: an edge on the brink refuses some and
// takes others, and would otherwise ask for a run each second.
const repairAfter = 5 * time.Second

// moment is when something happened last, for all goroutines; the zero moment is never.
type moment struct{ nanos atomic.Int64 }

func (m *moment) set()   { m.nanos.Store(time.Now().UnixNano()) }
func (m *moment) clear() { m.nanos.Store(0) }

// time is the zero time for never.
func (m *moment) time() time.Time {
	if at := m.nanos.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// within says whether it was less than d ago.
func (m *moment) within(d time.Duration) bool {
	at := m.nanos.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < d
}

// repairOutages requests a reconcile run at once, and another each time that events are taken again after some had to be
// refused: their senders may have given up, and only reconciliation can still find out. It ends with ctx.
func (s *Server) repairOutages(ctx context.Context) {
	tick := time.NewTicker(s.outagePoll)
	defer tick.Stop()
	for warned := false; ; {
		err := s.repair(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			warned = false
			for s.refused.Load() == 0 { // the wake-up may be one of refusals that are repaired
				select {
				case <-ctx.Done():
					return
				case <-s.outage:
				}
			}
		case !warned:
			warned = true
			s.log.Warn("reconcile not requested yet, trying until events are taken", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// repair returns nil once a run has been requested that comes after every refusal so far.
func (s *Server) repair(ctx context.Context) error {
	// A run now would come before the refusals that are still to come.
	switch {
	case s.backlog.over.Load():
		return errBacklog
	case s.refusedLast.within(s.repairAfter):
		return errStillRefusing
	}
	refused := s.refused.Load()
	reach, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := s.orchestrator.Reachable(reach); err != nil {
		return err
	}
	requested, err := s.requestReconcile(ctx, reach)
	if err != nil {
		return err
	}
	if !requested && s.refusing() || !s.refused.CompareAndSwap(refused, 0) {
		return errStillRefusing
	}
	if refused > 0 {
		s.log.Info("webhooks are taken again", zap.Int64("refused", refused))
	}
	return nil
}

// requestReconcile says whether it did: not when reconciliation is disabled or paused. Whoever paused it has a reason, which a
// restart of the edge does not know.
func (s *Server) requestReconcile(ctx, reach context.Context) (bool, error) {
	if !s.config.ReconcileEnabled {
		return false, nil
	}
	schedule, err := s.orchestrator.ReconcileSchedule(reach)
	switch {
	case err != nil:
		return false, err
	case schedule.Paused:
		s.log.Warn("reconcile not requested, the schedule is paused", zap.String(telemetry.KeyReason, schedule.Note))
		return false, nil
	}
	return true, s.orchestrator.RequestReconcile(ctx, contract.ReconcileInput{Trigger: contract.TriggerEdge})
}

// refusalMemory is how long a refused event speaks against readiness when no other has been taken since: an edge that is not
// ready gets none that could prove the contrary.
const refusalMemory = 10 * time.Second

// refusing says whether Temporal did not take the newest event, lately.
func (s *Server) refusing() bool { return s.notTaken.within(refusalMemory) }
