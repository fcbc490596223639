// Package storehttp is the store manager's contract over HTTP, as openapi.json describes it: Handler serves a Manager and a memory of webhooks, and Client
// is both again. It knows of these contracts alone, and of no registry.
package storehttp

import (
	"context"
	_ "embed" // openapi.json
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
)

const (
	maxRequestBody = 1 << 20
	readyTimeout   = 2 * time.Second
	// answerTimeout is less than clientTimeout, so that a caller still hears the problem.
	answerTimeout = 27 * time.Second
)

// The bodies that are no types of the contract. They are objects, so that they can grow.
type (
	batchRequest struct {
		Stores []storemanager.EnsureRequest `json:"stores,omitempty"`
	}
	batchResponse struct {
		Results []storemanager.EnsureResult `json:"results"`
	}
	pausesResponse struct {
		Pauses []storemanager.Pause `json:"pauses"`
	}
	nothing struct{} // the answer of a method that returns but an error
)

// openAPI describes all that Handler serves. The tests compare both.
//
//go:embed openapi.json
var openAPI []byte

// Options say what a Handler serves. Manager and Memory are required.
type Options struct {
	Manager storemanager.Manager
	Memory  deliveries.Memory
	// Watcher tells of changes. Nil: GET /v1/changes answers 501.
	Watcher storemanager.Watcher
	// Ping returns nil if the store manager can do its work; GET /readyz asks it as well as for the overview. Nil: the overview is enough.
	Ping func(ctx context.Context) error
	// Backup makes a backup (backup.Maker). Nil: POST /v1/backup answers 501.
	Backup func(ctx context.Context) (io.ReadCloser, error)
	// Examine checks the store manager and its surroundings. Nil: nobody can.
	Examine func(ctx context.Context) (storemanager.Examination, error)
	// Tokens returns those of which all of /v1 wants one as a bearer token, at each request. Nil refuses all of /v1.
	Tokens func() httpserver.Tokens
	// Databases says how large the databases are. Nil: that is not told.
	Databases func() []storemanager.DatabaseSize
	// Logger nil: silent.
	Logger *zap.Logger
}

type server struct {
	manager   storemanager.Manager
	memory    deliveries.Memory
	watcher   storemanager.Watcher                                        // nil: none
	ping      func(ctx context.Context) error                             // never nil
	backup    func(ctx context.Context) (io.ReadCloser, error)            // nil: none
	tokens    func() httpserver.Tokens                                    // never nil
	examine   func(ctx context.Context) (storemanager.Examination, error) // never nil
	databases func() []storemanager.DatabaseSize                          // never nil
	log       *zap.Logger
	heartbeat time.Duration
}

// Handler serves a store manager, and the memory of webhooks beside it, over HTTP as JSON.
//
//	PUT    /v1/stores/{id}                   Ensure
//	POST   /v1/stores                        EnsureBatch
//	GET    /v1/stores?cursor=&limit=&state=  List; states are separated by commas
//	GET    /v1/store-ids?cursor=             ListIDs
//	GET    /v1/stores/{id}                   Get
//	PUT    /v1/stores/{id}/deletion          BeginDeletion
//	DELETE /v1/stores/{id}/deletion          CancelDeletion; ?owner=&eventAt= say which is meant
//	PUT    /v1/stores/{id}/deletion/owner    TakeOverDeletion
//	POST   /v1/stores/{id}/stop              Stop
//	POST   /v1/stores/{id}/restore-deletion  RestoreDeletion
//	PUT    /v1/stores/{id}/hold              Hold
//	DELETE /v1/stores/{id}/hold              Release
//	PUT    /v1/stores/{id}/pause             Pause of one store
//	DELETE /v1/stores/{id}/pause             Resume of one store
//	PUT    /v1/pause                         Pause of all stores
//	DELETE /v1/pause                         Resume of all stores
//	GET    /v1/pauses                        Pauses
//	GET    /v1/deliveries?id=                Delivery
//	PUT    /v1/deliveries                    Remember
//	PUT    /v1/accepted-events               KeepAccepted
//	GET    /v1/accepted-events               Unheard; ?engine=&after= as in UnheardRequest
//	PUT    /v1/engine                        EngineTold
//	GET    /v1/overview                      Overview
//	GET    /v1/doctor                        Examine
//	POST   /v1/missing                       MarkUnlisted
//	GET    /v1/reconciliation                Reconciliation
//	PUT    /v1/reconciliation/runs/{runId}   RecordReconcile
//	POST   /v1/acknowledge-loss              AcknowledgeLoss
//	POST   /v1/backup                        a backup of the registry, as a tar; 501 without Options.Backup
//	GET    /v1/audit                         Audit; the query has what AuditQuery has
//	POST   /v1/audit/batches                 NoteBatch
//	PUT    /v1/audit/settings                NoteSettings
//	GET    /v1/changes?after=                Watch, as server-sent events; 501 without a Watcher
//	GET    /livez, /readyz                   no token; the process answers, the store manager can do its work
//	GET    /openapi.json                     no token; the description of all this
//
// Bodies are the types of the contract. Ids are those of the path, and unknown fields are ignored. An outcome is an answer, so its status is 200. Errors are
// RFC 9457 problems with a code (see problem). A call that takes longer than 27 s is answered with one. The server that the handler runs in prepares requests
// (httpserver.Prepare), and sets the time-outs of reading and writing. The stream of changes sets its own. It ends with the Watcher (ErrShutdown), and not
// with the server's Shutdown, which waits for it.
func Handler(o Options) http.Handler { return newServer(o).routes() }

func newServer(o Options) *server {
	s := &server{
		manager: o.Manager, memory: o.Memory, watcher: o.Watcher, ping: o.Ping, backup: o.Backup, examine: o.Examine, tokens: o.Tokens, log: o.Logger,
		heartbeat: streamHeartbeat,
		databases: o.Databases,
	}
	if s.databases == nil {
		s.databases = func() []storemanager.DatabaseSize { return nil }
	}
	if s.tokens == nil {
		s.tokens = httpserver.FixedTokens()
	}
	if s.ping == nil {
		s.ping = func(context.Context) error { return nil }
	}
	if s.examine == nil {
		s.examine = func(context.Context) (storemanager.Examination, error) { return storemanager.Examination{}, nil }
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	return s
}

func (s *server) routes() http.Handler {
	m := s.manager
	r := chi.NewRouter()
	r.Use(httpserver.Identify)
	r.NotFound(s.noRoute)
	r.MethodNotAllowed(httpserver.MethodNotAllowed(r, false, s.noMethod))
	r.Get("/livez", func(w http.ResponseWriter, _ *http.Request) { httpserver.WriteJSON(w, http.StatusOK, statusBody{"ok"}) })
	r.Get("/readyz", s.ready)
	r.Get("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openAPI) // the caller is gone
	})
	r.Route("/v1", func(r chi.Router) {
		r.Use(httpserver.Require(s.caller, s.unauthorized))
		r.Get("/changes", s.changes) // not traced: it lasts as long as somebody listens
		r = r.With(httpserver.Trace)
		s.storeRoutes(r)
		s.pauseRoutes(r, "/stores/{id}/pause", oneStore)
		s.pauseRoutes(r, "/pause", everyStore)
		r.Get("/pauses", s.answer(func(r *http.Request) (any, error) {
			pauses, err := m.Pauses(r.Context())
			return pausesResponse{pauses}, err
		}))
		s.memoryRoutes(r)
		r.Post("/backup", s.sendBackup)
		s.auditRoutes(r)
		r.Get("/overview", s.answer(s.overview))
		r.Get("/doctor", s.answer(func(r *http.Request) (any, error) { return s.examine(r.Context()) }))
		r.Post("/missing", answerBody(s, func(r *http.Request, marks storemanager.ListMarks) (any, error) {
			return nothing{}, m.MarkUnlisted(r.Context(), marks)
		}))
		r.Get("/reconciliation", s.answer(func(r *http.Request) (any, error) { return m.Reconciliation(r.Context()) }))
		r.Put("/reconciliation/runs/{runId}", answerBody(s, func(r *http.Request, run storemanager.ReconcileRun) (any, error) {
			run.RunID = httpserver.PathParam(r, "runId")
			return nothing{}, m.RecordReconcile(r.Context(), run)
		}))
		r.Post("/acknowledge-loss", answerBody(s, func(r *http.Request, a storemanager.Acknowledgement) (any, error) {
			return nothing{}, m.AcknowledgeLoss(r.Context(), a)
		}))
	})
	return r
}

// queryOf fails on a query that can't be parsed. URL.Query leaves out what it can't parse, and without its cursor a request would get the first page again.
func queryOf(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w: the query can't be parsed", storemanager.ErrInvalid)
	}
	return query, nil
}

func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	_, err := s.manager.Overview(ctx)
	if err == nil {
		err = s.ping(ctx) // a Node server's list needs no secret, its events do
	}
	if err != nil {
		s.log.Warn("store manager is not ready", zap.Error(err))
		httpserver.WriteJSON(w, http.StatusServiceUnavailable, statusBody{"the store manager can't do its work, its log says why"})
		return
	}
	httpserver.WriteJSON(w, http.StatusOK, statusBody{"ok"})
}

type statusBody struct {
	Status string `json:"status"`
}

// answer serves a call that takes no body.
func (s *server) answer(call func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
		defer cancel()
		result, err := call(r.WithContext(ctx))
		if err != nil {
			s.fail(w, r, err)
			return
		}
		httpserver.WriteJSON(w, http.StatusOK, result)
	}
}

// answerBody serves a call that takes a body of type Q.
func answerBody[Q any](s *server, call func(*http.Request, Q) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.answer(func(r *http.Request) (any, error) {
			var q Q
			body, err := httpserver.ReadBody(w, r, maxRequestBody)
			if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return nil, fmt.Errorf("%w: %w", storemanager.ErrInvalid, tooLarge)
			}
			if err != nil { // its text has addresses of the network
				return nil, errors.New("the body could not be read") // worth a retry, unlike what is invalid
			}
			if err := json.Unmarshal(body, &q); err != nil {
				return nil, fmt.Errorf("%w: body: %w", storemanager.ErrInvalid, err)
			}
			return call(r, q)
		})(w, r)
	}
}

func (s *server) caller(r *http.Request) (httpserver.Caller, bool) {
	return s.tokens().Caller(httpserver.Bearer(r))
}

func (s *server) unauthorized(w http.ResponseWriter, r *http.Request) {
	s.fail(w, r, storemanager.ErrUnauthorized)
}

func (s *server) noRoute(w http.ResponseWriter, r *http.Request) { s.fail(w, r, errNoRoute) }

func (s *server) noMethod(w http.ResponseWriter, r *http.Request) { s.fail(w, r, errNoMethod) }

// fail answers with the problem that err is. An error that the caller may not see is logged, under the id of the answer.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Code == codeInternal && r.Context().Err() == nil {
		p.Detail = "see the log of the store manager for request " + httpserver.RequestID(w)
		s.log.Error("store manager request failed", httpserver.LogRequestID(w), zap.String("method", r.Method),
			zap.String("route", chi.RouteContext(r.Context()).RoutePattern()), zap.String("storeId", httpserver.PathParam(r, "id")),
			zap.Error(err))
	}
	httpserver.WriteProblem(w, p.Status, p)
}
