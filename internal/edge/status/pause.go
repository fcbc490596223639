package status

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/asker"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// PauseAll makes reconciliation leave all stores alone, and answers with the pause.
func (s *Status) PauseAll(w http.ResponseWriter, r *http.Request) { s.pause(w, r, everyStore) }

// PauseStore makes reconciliation leave alone the store that the path names, and answers with the pause.
func (s *Status) PauseStore(w http.ResponseWriter, r *http.Request) {
	if id, ok := problem.StoreID(w, r); ok {
		s.pause(w, r, id)
	}
}

// everyStore is the id that a pause of all stores has.
const everyStore = ""

func (s *Status) pause(w http.ResponseWriter, r *http.Request, id string) {
	body, refused := problem.ReadBody(w, r)
	if refused != nil {
		refused.Write(w)
		return
	}
	req, err := parsePause(body)
	if err != nil {
		problem.Write(w, problem.KindInvalid, "The body must be a JSON object of reason, actor and, if the pause is to end by itself, expiresAt (RFC 3339)")
		return
	}
	if req.ExpiresAt != nil && !req.ExpiresAt.After(time.Now()) {
		problem.Write(w, problem.KindInvalid, "expiresAt is over already")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	p, err := s.manager.Pause(ctx, storemanager.PauseRequest{
		Pause:  storemanager.Pause{StoreID: id, Reason: req.Reason, Actor: httpserver.CallerOf(ctx).Actor(req.Actor), ExpiresAt: req.ExpiresAt},
		Origin: asker.Manager(asker.Of(w, r, req.Actor, req.Reason)),
	})
	switch {
	case errors.Is(err, storemanager.ErrInvalid):
		problem.Write(w, problem.KindInvalid, "reason and actor are required")
	case err != nil:
		s.managerAway(w, err)
	default:
		s.log.Info("reconciliation paused", httpserver.LogRequestID(w), zap.String(telemetry.KeyStoreID, id),
			zap.String(telemetry.KeyActor, p.Actor), zap.String(telemetry.KeyReason, p.Reason), zap.Timep("expiresAt", p.ExpiresAt))
		httpserver.WriteJSON(w, http.StatusOK, p)
	}
}

// parsePause refuses unknown fields: a misspelt expiresAt would make a pause that never ends.
func parsePause(body []byte) (api.PauseRequest, error) {
	var req api.PauseRequest
	if err := problem.Decode(body, &req); err != nil {
		return api.PauseRequest{}, err
	}
	req.Reason, req.Actor = strings.TrimSpace(req.Reason), strings.TrimSpace(req.Actor)
	return req, nil
}

// shownPauses is how many pauses of single stores are named.
const shownPauses = 100

// viewPauses is nil when they are not known.
func viewPauses(pauses *[]storemanager.Pause, trusted bool) *api.Pauses {
	if pauses == nil {
		return nil
	}
	v := &api.Pauses{}
	for _, p := range *pauses {
		switch {
		case p.StoreID != "":
			v.StoreCount++
			if trusted && v.StoreCount <= shownPauses {
				v.Stores = append(v.Stores, p)
			}
		case trusted:
			v.All = &p
		default:
			v.All = &storemanager.Pause{Since: p.Since, ExpiresAt: p.ExpiresAt}
		}
	}
	return v
}

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
	if id, ok := problem.StoreID(w, r); ok {
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
