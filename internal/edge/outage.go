package edge

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/telemetry"
	"storekeeper/workflows"
)

// errStillRefusing: Temporal took the request, yet events were refused meanwhile.
var errStillRefusing = errors.New("events were refused after the run was requested")

// noteOutage remembers that Temporal did not take an event.
func (s *Server) noteOutage(ctx context.Context, err error) {
	s.refusedAt.Store(time.Now().UnixNano())
	s.noteRefusal(ctx, err)
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
			select {
			case <-ctx.Done():
				return
			case <-s.outage:
			}
		case !warned:
			warned = true
			s.log.Warn("reconcile not requested yet, trying until Temporal takes it", zap.Error(err))
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
	if s.backlog.over.Load() {
		return errBacklog // a run now would come before the refusals that are still to come
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
	paused, note, err := s.orchestrator.SchedulePaused(reach)
	switch {
	case err != nil:
		return false, err
	case paused:
		s.log.Warn("reconcile not requested, the schedule is paused", zap.String(telemetry.KeyReason, note))
		return false, nil
	}
	return true, s.orchestrator.RequestReconcile(ctx, workflows.ReconcileInput{Trigger: workflows.TriggerEdge})
}

// refusalMemory is how long a refused event speaks against readiness when no other has been taken since: an edge that is not
// ready gets none that could prove the contrary.
const refusalMemory = 10 * time.Second

// refusing says whether the newest event was refused, and lately.
func (s *Server) refusing() bool {
	at := s.refusedAt.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < refusalMemory
}
