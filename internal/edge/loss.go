package edge

import (
	"context"
	"time"

	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

const (
	// lossPoll is how often the store manager is asked whether its registry was lost.
	lossPoll = time.Second
	// askTimeout bounds each question that no request waits for.
	askTimeout = 2 * time.Second
)

// requestReconcile says whether it requested a run: not when reconciliation is disabled or its schedule paused. Whoever paused it has a reason that
// the edge does not know.
func (s *Server) requestReconcile(ctx context.Context) (bool, error) {
	if !s.config.ReconcileEnabled {
		return false, nil
	}
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	schedule, err := s.orchestrator.ReconcileSchedule(ask)
	switch {
	case err != nil:
		return false, err
	case schedule.Paused:
		s.log.Warn("reconcile not requested, the schedule is paused", zap.String(telemetry.KeyReason, schedule.Note))
		return false, nil
	}
	return true, s.orchestrator.RequestReconcile(ctx, contract.ReconcileInput{Trigger: contract.TriggerEdge, Origin: contract.Origin{Via: contract.ViaEdge}})
}

// repairLosses requests a reconcile run when the store manager says that its registry was lost: the stores are monitored again once a run has
// ensured them. The store manager may have started again alone, so it is asked all the time. It ends with ctx.
func (s *Server) repairLosses(ctx context.Context) {
	tick := time.NewTicker(s.bounds.lossPoll)
	defer tick.Stop()
	for repaired := (time.Time{}); ; {
		if lost := s.askLoss(ctx); lost != nil && !lost.Since.Equal(repaired) && s.repairLoss(ctx, lost) {
			repaired = lost.Since
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askLoss is nil when nothing was lost, and when the store manager can't be asked, which health says.
func (s *Server) askLoss(ctx context.Context) *storemanager.KeptBack {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	o, err := s.manager.Overview(ctx)
	if err != nil {
		return nil
	}
	return o.Loss()
}

// repairLoss says whether this process is done with the loss.
func (s *Server) repairLoss(ctx context.Context, lost *storemanager.KeptBack) bool {
	requested, err := s.requestReconcile(ctx)
	if err == nil {
		s.log.Warn("the registry was lost", zap.String(telemetry.KeyReason, lost.Reason), zap.Bool("reconcileRequested", requested))
	}
	return err == nil
}
