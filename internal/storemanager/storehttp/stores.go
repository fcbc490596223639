package storehttp

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"storekeeper/internal/build"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
)

func (s *server) storeRoutes(r chi.Router) {
	m := s.manager
	r.Get("/stores", s.answer(s.list))
	r.Get("/store-ids", s.answer(func(r *http.Request) (any, error) {
		query, err := queryOf(r)
		if err != nil {
			return nil, err
		}
		return m.ListIDs(r.Context(), query.Get("cursor"))
	}))
	r.Post("/stores", answerBody(s, func(r *http.Request, q batchRequest) (any, error) {
		results, err := m.EnsureBatch(r.Context(), q.Stores)
		return batchResponse{results}, err
	}))
	r.Get("/stores/{id}", s.answer(func(r *http.Request) (any, error) { return m.Get(r.Context(), httpserver.PathParam(r, "id")) }))
	r.Put("/stores/{id}", answerBody(s, func(r *http.Request, q storemanager.EnsureRequest) (any, error) {
		q.StoreID = httpserver.PathParam(r, "id")
		return m.Ensure(r.Context(), q)
	}))
	r.Put("/stores/{id}/deletion", answerBody(s, func(r *http.Request, q storemanager.DeletionRequest) (any, error) {
		q.StoreID = httpserver.PathParam(r, "id")
		return m.BeginDeletion(r.Context(), q)
	}))
	r.Delete("/stores/{id}/deletion", s.answer(s.cancelDeletion))
	r.Put("/stores/{id}/deletion/owner", answerBody(s, func(r *http.Request, q storemanager.TakeOverRequest) (any, error) {
		q.StoreID = httpserver.PathParam(r, "id")
		return m.TakeOverDeletion(r.Context(), q)
	}))
	r.Post("/stores/{id}/stop", answerBody(s, func(r *http.Request, q storemanager.StopRequest) (any, error) {
		q.StoreID = httpserver.PathParam(r, "id")
		return m.Stop(r.Context(), q)
	}))
	r.Post("/stores/{id}/restore-deletion", answerBody(s, func(r *http.Request, q storemanager.RestoreRequest) (any, error) {
		q.StoreID = httpserver.PathParam(r, "id")
		return m.RestoreDeletion(r.Context(), q)
	}))
	r.Put("/stores/{id}/hold", answerBody(s, func(r *http.Request, q storemanager.HoldRequest) (any, error) {
		return m.Hold(r.Context(), httpserver.PathParam(r, "id"), q)
	}))
	r.Delete("/stores/{id}/hold", s.answer(func(r *http.Request) (any, error) {
		origin, err := originOf(r)
		if err != nil {
			return nil, err
		}
		return m.Release(r.Context(), storemanager.ReleaseRequest{StoreID: httpserver.PathParam(r, "id"), Origin: origin})
	}))
}

// pauseRoutes serve the pause that scope finds in a request.
func (s *server) pauseRoutes(r chi.Router, path string, scope func(*http.Request) (storeID string, err error)) {
	r.Put(path, answerBody(s, func(r *http.Request, q storemanager.PauseRequest) (any, error) {
		var err error
		if q.StoreID, err = scope(r); err != nil {
			return nil, err
		}
		return s.manager.Pause(r.Context(), q)
	}))
	r.Delete(path, s.answer(func(r *http.Request) (any, error) {
		storeID, err := scope(r)
		if err != nil {
			return nil, err
		}
		origin, err := originOf(r)
		if err != nil {
			return nil, err
		}
		return nothing{}, s.manager.Resume(r.Context(), storemanager.ResumeRequest{StoreID: storeID, Origin: origin, Also: r.URL.Query().Get("also")})
	}))
}

func everyStore(*http.Request) (string, error) { return "", nil }

// oneStore refuses an empty id: a path may have one, and it would mean all stores.
func oneStore(r *http.Request) (string, error) {
	id := httpserver.PathParam(r, "id")
	return id, storemanager.CheckID(id)
}

func (s *server) list(r *http.Request) (any, error) {
	query, err := queryOf(r)
	if err != nil {
		return nil, err
	}
	q := storemanager.ListRequest{Cursor: query.Get("cursor"), UserID: query.Get("user")}
	for _, states := range query["state"] {
		q.States = append(q.States, strings.Split(states, ",")...)
	}
	if limit := query.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil {
			return nil, fmt.Errorf("%w: limit %.20q is no number", storemanager.ErrInvalid, limit)
		}
		q.Limit = n
	}
	return s.manager.List(r.Context(), q)
}

// overview answers what the manager counts, and the memory of webhooks.
func (s *server) overview(r *http.Request) (any, error) {
	o, err := s.manager.Overview(r.Context())
	if err != nil {
		return nil, err
	}
	o.Host = &storemanager.Host{Version: build.Version, Now: time.Now().UTC(), Databases: s.databases()}
	n, err := s.memory.Count(r.Context())
	return overviewResponse{o, n}, err
}

func (s *server) cancelDeletion(r *http.Request) (any, error) {
	query, err := queryOf(r)
	if err != nil {
		return nil, err
	}
	q := storemanager.CancelRequest{StoreID: httpserver.PathParam(r, "id"), Owner: query.Get("owner")}
	if q.Origin, err = originOf(r); err != nil {
		return nil, err
	}
	if at := query.Get("eventAt"); at != "" {
		if q.EventAt, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, fmt.Errorf("%w: eventAt %.40q is no RFC 3339 time", storemanager.ErrInvalid, at)
		}
	}
	return s.manager.CancelDeletion(r.Context(), q)
}
