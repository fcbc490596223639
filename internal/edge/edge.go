// Package edge is the public door of Storekeeper: it takes the Auth Worker's webhooks (package intake), and tells operators and monitoring
// how the system is (package status). Here are the routes, what they have in common, and what is served about the edge itself. Neither intake nor
// status knows of the other, or of this package.
package edge

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/config"
	"storekeeper/internal/edge/actions"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/intake"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/edge/status"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/ownhost"
	"storekeeper/internal/telemetry"
)

// Orchestrator is what the edge asks of Temporal: an *orchestrator.Client, or a test's double of one.
type Orchestrator interface {
	intake.Orchestrator
	status.Orchestrator
	actions.Orchestrator
	RequestReconcile(ctx context.Context, in contract.ReconcileInput) error
}

// StoreManager is what the edge asks of the store manager, in process or over HTTP.
type StoreManager interface {
	intake.Memory
	status.StoreManager
	actions.StoreManager
}

// Options of a Server. All are required but Databases, Backup, AuthWorker, Workspaces, Examine, Guard and Sentry.
type Options struct {
	Config       *config.Config
	Orchestrator Orchestrator
	StoreManager StoreManager
	// Databases tells of those of this process. Nil: they are other processes'.
	Databases func() status.Databases
	// Backup makes a backup of all databases that it can reach (backup.Maker). Nil: POST /admin/backup answers 409.
	Backup func(ctx context.Context) (io.ReadCloser, error)
	// AuthWorker is asked for no list. Nil: the workers, which do, are other processes, and what their runs came to is all that is known.
	AuthWorker status.AuthWorker
	// Workspaces is asked for the names of workspaces when somebody lists stores. Nil: they are not known.
	Workspaces status.Workspaces
	// Examine has the store manager check itself. Nil: it can't.
	Examine Examiner
	Metrics *telemetry.Metrics
	// Guard says by which hosts the edge may be asked; nil is any, for it is made to be public behind any name. A demo, whose token is
	// published, wants one.
	Guard *ownhost.Guard
	// Sentry nil: failures are only logged.
	Sentry *telemetry.Sentry
	Log    *zap.Logger
}

const (
	readHeaderTimeout = 5 * time.Second
	// readTimeout is when a half-sent body is gone.
	readTimeout = 10 * time.Second
	idleTimeout = 2 * time.Minute
	// writeTimeout is for an answer, from its first byte on. Before that a handler has the time that it takes for itself.
	writeTimeout   = time.Minute
	maxHeaderBytes = 16 << 10
	// maxConnections are open at a time; then the one that is missed least, a stranger's before any other, makes room for the next.
	maxConnections = 4096
	// drainTimeout leaves a process that must end within 10 s some time for the rest.
	drainTimeout = 8 * time.Second
	// crowdMemory is how long it is a warning that there was no room for a connection.
	crowdMemory = time.Minute
)

// Server is the edge. Make it with New.
type Server struct {
	config       *config.Config
	orchestrator Orchestrator
	manager      StoreManager
	backup       func(ctx context.Context) (io.ReadCloser, error) // nil: none
	examine      Examiner                                         // nil: nobody can
	metrics      *telemetry.Metrics
	sentry       *telemetry.Sentry
	log          *zap.Logger
	frequent     *zap.Logger    // logs what strangers can cause in any quantity: it leaves lines out; the metrics count everything
	guard        *ownhost.Guard // nil: any host

	intake  *intake.Intake
	status  *status.Status
	actions *actions.Actions
	handler http.Handler
	server  atomic.Pointer[httpserver.Server] // nil before Run

	bounds bounds
}

// bounds are set by tests, which can't wait as long; zero ones are those of a process.
type bounds struct {
	intake         intake.Bounds
	reconcileWait  time.Duration
	lossPoll       time.Duration
	readTimeout    time.Duration
	maxConnections int
}

// New returns a Server that has asked nobody anything yet. The error is that of Config.Keyring.
func New(o Options) (*Server, error) { return newServer(o, bounds{}) }

func newServer(o Options, b bounds) (*Server, error) {
	s := &Server{
		config: o.Config, orchestrator: o.Orchestrator, manager: o.StoreManager, backup: o.Backup, examine: o.Examine, metrics: o.Metrics, sentry: o.Sentry,
		log: o.Log, frequent: telemetry.Sampled(o.Log), guard: o.Guard,
	}
	b.readTimeout, b.maxConnections = cmp.Or(b.readTimeout, readTimeout), cmp.Or(b.maxConnections, maxConnections)
	b.lossPoll = cmp.Or(b.lossPoll, lossPoll)
	s.bounds = b
	var err error
	s.intake, err = intake.New(intake.Options{
		Config: o.Config, Orchestrator: o.Orchestrator, Memory: o.StoreManager, RequestReconcile: s.requestReconcile,
		Metrics: o.Metrics, Sentry: o.Sentry, Log: o.Log, Frequent: s.frequent, Bounds: b.intake,
	})
	if err != nil {
		return nil, err
	}
	s.status = status.New(status.Options{
		Config: o.Config, Orchestrator: o.Orchestrator, StoreManager: o.StoreManager, Intake: s.intake, Warnings: s.warnings,
		Databases: o.Databases, AuthWorker: o.AuthWorker, Workspaces: o.Workspaces, Authorized: s.authorized, Log: o.Log, Frequent: s.frequent,
		ReconcileWait: b.reconcileWait,
	})
	s.actions = actions.New(actions.Options{Orchestrator: o.Orchestrator, StoreManager: o.StoreManager, Log: o.Log})
	s.handler = s.routes()
	return s, nil
}

// Handler serves everything but what Run does beside it.
func (s *Server) Handler() http.Handler { return s.handler }

// acknowledgeLossPath is where an operator says that the loss of the registry is known.
const acknowledgeLossPath = "/admin/acknowledge-loss"

func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(httpserver.Identify, httpserver.Recover(s.answerPanic), harden, httpserver.Prepare)
	if s.guard != nil {
		r.Use(s.guard.Handler)
	}
	r.Use(middleware.GetHead)
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) { problem.Write(w, problem.KindNotFound, "Not found") })
	r.MethodNotAllowed(httpserver.MethodNotAllowed(r, true, func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, problem.KindMethodNotAllowed, "Method not allowed")
	}))

	r.Get("/", index)
	r.Post("/webhooks/workspaces", s.intake.Webhook)
	r.Get("/health", s.status.Health)
	r.Get("/livez", func(w http.ResponseWriter, _ *http.Request) {
		httpserver.WriteJSON(w, http.StatusOK, api.Status{Status: "ok"})
	})
	r.Get("/readyz", s.status.Ready)
	r.Method(http.MethodGet, "/metrics", s.metrics.Handler())
	r.Get("/openapi.json", serveOpenAPI)
	r.Get("/docs", serveDocs)
	r.Get("/docs/assets/{name}", serveDocsAsset)
	r.Get(problem.Path+"{code}", explainProblem)
	r.Group(func(r chi.Router) {
		r.Use(httpserver.Require(s.caller, func(w http.ResponseWriter, _ *http.Request) {
			problem.Write(w, problem.KindUnauthorized, "Unauthorized")
		}), httpserver.RequireActing(func(w http.ResponseWriter, _ *http.Request) {
			problem.Write(w, problem.KindForbidden, "This token may only read")
		}), httpserver.Trace)
		r.Get("/stores", s.status.Stores)
		r.Get("/stores/{id}", s.status.Store)
		r.Put("/stores/{id}/pause", s.status.PauseStore)
		r.Delete("/stores/{id}/pause", s.status.ResumeStore)
		for _, verb := range actions.Verbs() {
			r.Post("/stores/{id}/"+verb, s.actions.Act(verb))
		}
		r.Get("/stores/{id}/history", s.actions.History)
		r.Get("/audit", s.actions.Audit)
		r.Post("/admin/bulk", s.actions.Bulk)
		r.Get("/admin/pause", s.status.Pauses)
		r.Put("/admin/pause", s.status.PauseAll)
		r.Delete("/admin/pause", s.status.ResumeAll)
		r.Post(acknowledgeLossPath, s.status.AcknowledgeLoss)
		r.Post("/admin/backup", s.sendBackup)
		r.Post("/admin/reconcile", s.status.Reconcile)
		r.Post("/admin/approve", s.status.Approve)
		r.Get("/admin/reconcile/runs", s.status.ReconcileRuns)
		r.Get("/admin/doctor", s.doctor)
	})
	return r
}

// Run serves on l, which it closes, until ctx ends; then requests under way have 8 s to finish, and it returns nil. Beside
// that it has what webhooks missed repaired: at its start, whenever Temporal is back after events had to be refused, and when the
// registry was lost. Call it once.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	background.Go(func() { s.intake.Run(ctx) })
	background.Go(func() { s.repairLosses(ctx) })

	server := httpserver.New(s.serverOptions())
	s.server.Store(server)
	server.RegisterOnShutdown(s.status.Drain)
	s.log.Info("edge listens", zap.String("address", l.Addr().String()))
	return server.Run(ctx, l, drainTimeout)
}

func (s *Server) serverOptions() httpserver.Options {
	return httpserver.Options{
		Handler:           s.handler,
		ReadHeaderTimeout: min(readHeaderTimeout, s.bounds.readTimeout),
		ReadTimeout:       s.bounds.readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		MaxConnections:    s.bounds.maxConnections,
		Log:               s.frequent,
	}
}

// warnings say what the edge itself is short of.
func (s *Server) warnings() []string {
	found := s.intake.RoomWarnings()
	if server := s.server.Load(); server != nil && server.Crowded(crowdMemory) {
		found = append(found, fmt.Sprintf("connections: %d are open, strangers' are closed to make room", server.Connections()))
	}
	if refused := s.config.Refused(); refused != nil {
		found = append(found, "secrets: what their files have is refused since "+refused.At.UTC().Format(time.RFC3339)+
			", and those from before are used ("+strings.Join(s.config.RefusedNames(), ", ")+"); the log says why")
	}
	return append(found, s.intake.MemoryWarnings()...)
}
