package edge

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
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// pause pauses reconciliation of the store that the path names, or of all, and answers with the pause.
func (s *Server) pause(w http.ResponseWriter, r *http.Request) {
	id, ok := pauseScope(w, r)
	if !ok {
		return
	}
	body, refused := readBody(w, r)
	if refused != nil {
		writeRefusal(w, refused)
		return
	}
	req, err := parsePause(body)
	if err != nil {
		writeProblem(w, kindInvalid, "The body must be a JSON object of reason, actor and, if the pause is to end by itself, expiresAt (RFC 3339)")
		return
	}
	if req.ExpiresAt != nil && !req.ExpiresAt.After(time.Now()) {
		writeProblem(w, kindInvalid, "expiresAt is over already")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	p, err := s.stores.Pause(ctx, storemanager.Pause{StoreID: id, Reason: req.Reason, Actor: req.Actor, ExpiresAt: req.ExpiresAt})
	switch {
	case errors.Is(err, storemanager.ErrInvalid):
		writeProblem(w, kindInvalid, "reason and actor are required")
	case err != nil:
		s.failStores(w, err)
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

// resume ends a pause; that there is none is no error.
func (s *Server) resume(w http.ResponseWriter, r *http.Request) {
	id, ok := pauseScope(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	if err := s.stores.Resume(ctx, id); err != nil {
		s.failStores(w, err)
		return
	}
	s.log.Info("reconciliation resumed", httpserver.LogRequestID(w), zap.String(telemetry.KeyStoreID, id))
	w.WriteHeader(http.StatusNoContent)
}

// pauseScope is the id in the path, "" where the route has none. It has answered when it returns false.
func pauseScope(w http.ResponseWriter, r *http.Request) (string, bool) {
	id := httpserver.PathParam(r, "id")
	if id == "" && r.URL.Path == adminPausePath || storemanager.ValidID(id) {
		return id, true
	}
	writeProblem(w, kindInvalid, "this is not a valid store id: "+storeIDRule)
	return "", false
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
