package status

import (
	"net/http"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/goleak"

	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token  = edgetest.Token
	storeA = edgetest.StoreA
)

type fixture struct {
	*Status
	*edgetest.Bundle
}

// idle is an intake that nothing comes to.
type idle struct{}

func (idle) Backlog() (age time.Duration, over bool) { return 0, false }
func (idle) Refusing() bool                          { return false }

// setup returns a status that is served; each of with applies before it is made.
func setup(t *testing.T, with ...func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{Bundle: edgetest.New(t)}
	for _, apply := range with {
		apply(f)
	}
	keys := httpserver.NewTokens(token)
	o := Options{
		Config: f.Config, Orchestrator: f.Temporal, StoreManager: f.Registry, Intake: idle{},
		Warnings:   func() []string { return []string{} },
		Authorized: func(r *http.Request) bool { _, known := keys.Caller(httpserver.Bearer(r)); return known },
		Log:        f.Logger, Frequent: telemetry.Sampled(f.Logger),
	}
	if f.Auth != nil {
		o.AuthWorker = f.Auth
	}
	if f.Directory != nil {
		o.Workspaces = f.Directory
	}
	f.Status = New(o)
	f.Serve(t, f.routes())
	return f
}

func (f *fixture) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(httpserver.Identify, httpserver.Prepare)
	r.MethodNotAllowed(httpserver.MethodNotAllowed(r, true, func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, problem.KindMethodNotAllowed, "Method not allowed")
	}))
	r.Get("/health", f.Health)
	r.Get("/readyz", f.Ready)
	r.Group(func(r chi.Router) {
		r.Use(httpserver.Require(func(r *http.Request) (httpserver.Caller, bool) { return httpserver.Caller{}, f.authorized(r) }, func(w http.ResponseWriter, _ *http.Request) {
			problem.Write(w, problem.KindUnauthorized, "Unauthorized")
		}))
		r.Get("/stores", f.Stores)
		r.Get("/stores/{id}", f.Store)
		r.Put("/stores/{id}/pause", f.PauseStore)
		r.Delete("/stores/{id}/pause", f.ResumeStore)
		r.Get("/admin/pause", f.Pauses)
		r.Put("/admin/pause", f.PauseAll)
		r.Delete("/admin/pause", f.ResumeAll)
		r.Post("/admin/acknowledge-loss", f.AcknowledgeLoss)
		r.Post("/admin/reconcile", f.Reconcile)
		r.Post("/admin/approve", f.Approve)
		r.Get("/admin/reconcile/runs", f.ReconcileRuns)
	})
	return r
}
