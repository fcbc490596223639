package status

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/asker"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// AcknowledgeLoss lets stores be stopped again after the registry was lost. It is no error when it was not lost.
func (s *Status) AcknowledgeLoss(w http.ResponseWriter, r *http.Request) {
	body, refused := problem.ReadBody(w, r)
	if refused != nil {
		refused.Write(w)
		return
	}
	var said api.Acknowledgement
	if err := problem.Decode(body, &said); err != nil {
		problem.Write(w, problem.KindInvalid, "The body must be a JSON object of reason and actor")
		return
	}
	o := asker.Of(w, r, said.Actor, said.Reason)
	a := storemanager.Acknowledgement{Reason: o.Reason, Actor: o.Actor, Origin: asker.Manager(o)}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	switch err := s.manager.AcknowledgeLoss(ctx, a); {
	case errors.Is(err, storemanager.ErrInvalid):
		problem.Write(w, problem.KindInvalid, "reason and actor are required")
	case err != nil:
		s.managerAway(w, err)
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
