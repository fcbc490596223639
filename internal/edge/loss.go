package edge

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// acknowledgeLossPath is where an operator says that the loss of the registry is known.
const acknowledgeLossPath = "/admin/acknowledge-loss"

// acknowledgeLoss lets stores be stopped again after the registry was lost; that it was not is no error.
func (s *Server) acknowledgeLoss(w http.ResponseWriter, r *http.Request) {
	body, refused := readBody(w, r)
	if refused != nil {
		writeRefusal(w, refused)
		return
	}
	var a storemanager.Acknowledgement
	if err := decodeStrictly(body, &a); err != nil {
		writeProblem(w, kindInvalid, "The body must be a JSON object of reason and actor")
		return
	}
	a.Reason, a.Actor = strings.TrimSpace(a.Reason), strings.TrimSpace(a.Actor)
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	switch err := s.stores.AcknowledgeLoss(ctx, a); {
	case errors.Is(err, storemanager.ErrInvalid):
		writeProblem(w, kindInvalid, "reason and actor are required")
	case err != nil:
		s.failStores(w, err)
	default:
		s.log.Info("loss of the registry acknowledged", httpserver.LogRequestID(w), zap.String(telemetry.KeyActor, a.Actor), zap.String(telemetry.KeyReason, a.Reason))
		w.WriteHeader(http.StatusNoContent)
	}
}

// checkRegistry fails while a loss is not acknowledged: holds and pending deletions may be gone, and no store is stopped.
func checkRegistry(st state) api.DerivedCheck {
	switch lost := st.overview.Loss(); {
	case st.overview == nil:
		return api.DerivedCheck{Error: "unknown, the store manager can't be asked"}
	case lost != nil:
		return api.DerivedCheck{Error: "it was lost, found at " + lost.Since.Format(time.RFC3339) + ": " + lost.Reason +
			"; no store is stopped before an operator acknowledges it (starter acknowledge)"}
	}
	return api.DerivedCheck{OK: true}
}

// repairLosses requests a reconcile run when the store manager says that its registry was lost, which may have restarted alone: its
// stores are monitored again once a run has ensured them. It ends with ctx.
func (s *Server) repairLosses(ctx context.Context) {
	tick := time.NewTicker(s.outagePoll)
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

// askLoss is nil too when the store manager can't be asked, which health says.
func (s *Server) askLoss(ctx context.Context) *storemanager.GuardHold {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	o, err := s.stores.Overview(ctx)
	if err != nil {
		return nil
	}
	return o.Loss()
}

// repairLoss says whether it is done with the loss, for this process.
func (s *Server) repairLoss(ctx context.Context, lost *storemanager.GuardHold) bool {
	reach, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	requested, err := s.requestReconcile(ctx, reach)
	if err == nil {
		s.log.Warn("the registry was lost", zap.String(telemetry.KeyReason, lost.Reason), zap.Bool("reconcileRequested", requested))
	}
	return err == nil
}
