package status

import (
	"cmp"
	"context"
	"net/http"

	"go.uber.org/zap"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/asker"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// disabledReason is why reconciliation is paused by its setting.
const disabledReason = "WORKSPACE_RECONCILE_ENABLED is false"

// Pauses serves GET /admin/pause: all pauses that are in force, whatever they were made with.
func (s *Status) Pauses(w http.ResponseWriter, r *http.Request) {
	pauses, ok := s.allPauses(w, r)
	if !ok {
		return
	}
	answer := api.PausesAnswer{Pauses: pauses}
	for _, p := range pauses {
		answer.Paused = answer.Paused || p.StoreID == everyStore
	}
	httpserver.WriteJSON(w, http.StatusOK, answer)
}

// allPauses has answered the request when it returns false.
func (s *Status) allPauses(w http.ResponseWriter, r *http.Request) ([]api.PauseState, bool) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	kept, err := s.manager.Pauses(ctx)
	if err != nil {
		s.managerAway(w, err)
		return nil, false
	}
	schedule, err := s.orchestrator.ReconcileSchedule(ctx)
	if err != nil {
		s.frequent.Error("schedule not asked", httpserver.LogRequestID(w), zap.Error(err))
		problem.WriteUnavailable(w, "Temporal can't be reached, so whether its schedule is paused is not known")
		return nil, false
	}
	pauses := []api.PauseState{}
	if !s.config.ReconcileEnabled {
		pauses = append(pauses, api.PauseState{Kind: api.PauseSetting, Reason: disabledReason})
	}
	if schedule.Paused && !schedule.Disabled {
		p := api.PauseState{Kind: api.PauseSchedule, Reason: schedule.Note}
		if !schedule.UpdatedAt.IsZero() {
			p.Since = utc(schedule.UpdatedAt)
		}
		pauses = append(pauses, p)
	}
	for _, p := range kept {
		pauses = append(pauses, api.PauseState{
			Kind: api.PauseOrder, StoreID: p.StoreID, Actor: p.Actor, Reason: p.Reason, Since: utc(p.Since), ExpiresAt: p.ExpiresAt,
		})
	}
	return pauses, true
}

// ResumeAll ends the pauses of all stores that an operator can end, the schedule's too, and says what it ended and what remains. It is no error if
// there is none.
func (s *Status) ResumeAll(w http.ResponseWriter, r *http.Request) { s.resume(w, r, everyStore) }

// ResumeStore ends the pause of the store that the path names, and says what it ended and what remains. It is no error if there is none.
func (s *Status) ResumeStore(w http.ResponseWriter, r *http.Request) {
	if id, ok := storeID(w, r); ok {
		s.resume(w, r, id)
	}
}

func (s *Status) resume(w http.ResponseWriter, r *http.Request, id string) {
	before, ok := s.allPauses(w, r)
	if !ok {
		return
	}
	answer := api.ResumeAnswer{Ended: []api.PauseState{}, Remaining: []api.PauseState{}}
	q := storemanager.ResumeRequest{StoreID: id, Origin: asker.Manager(asker.Of(w, r, r.URL.Query().Get("actor"), r.URL.Query().Get("reason")))}
	for _, p := range before {
		switch {
		case p.StoreID != id && p.StoreID != everyStore: // of another store
		case p.Kind == api.PauseOrder && p.StoreID == id:
			answer.Ended = append(answer.Ended, p)
		case p.Kind == api.PauseSchedule && id == everyStore:
			q.Also = "the pause of the schedule: " + p.Reason
			answer.Ended = append(answer.Ended, p)
		default:
			answer.Remaining = append(answer.Remaining, p)
		}
	}
	if refused := s.carryOutResume(r.Context(), q); refused != nil {
		refused.Write(w)
		return
	}
	s.log.Info("reconciliation resumed", httpserver.LogRequestID(w), zap.String(telemetry.KeyStoreID, id), zap.String(telemetry.KeyActor, q.Origin.Actor),
		zap.String(telemetry.KeyReason, q.Origin.Reason), zap.Int("ended", len(answer.Ended)), zap.Int("remaining", len(answer.Remaining)))
	httpserver.WriteJSON(w, http.StatusOK, answer)
}

// carryOutResume ends the schedule's pause, if that is asked for too, and that of the store manager.
func (s *Status) carryOutResume(ctx context.Context, q storemanager.ResumeRequest) *problem.Refusal {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if q.Also != "" {
		note := "resumed by " + cmp.Or(q.Origin.Actor, "an operator")
		if q.Origin.Reason != "" {
			note += ": " + q.Origin.Reason
		}
		if _, err := s.orchestrator.ResumeSchedule(ctx, note); err != nil {
			s.frequent.Error("schedule not resumed", zap.Error(err))
			return &problem.Refusal{Kind: problem.KindUnavailable, Message: "Temporal can't be reached: nothing was resumed", RetryAfter: problem.RetryLater}
		}
	}
	if err := s.manager.Resume(ctx, q); err != nil {
		s.frequent.Error("store manager not asked", zap.Error(err))
		return &problem.Refusal{Kind: problem.KindUnavailable, Message: "The store manager can't be asked", RetryAfter: problem.RetryLater}
	}
	return nil
}
