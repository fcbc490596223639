package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
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
	if id, ok := storeID(w, r); ok {
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
	if err := decodeStrictly(body, &req); err != nil {
		return api.PauseRequest{}, err
	}
	req.Reason, req.Actor = strings.TrimSpace(req.Reason), strings.TrimSpace(req.Actor)
	return req, nil
}

// decodeStrictly refuses unknown fields and what comes after the value.
func decodeStrictly(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
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
