// Package edge is the public door of Storekeeper: it takes the Auth Worker's webhooks, and tells operators and monitoring
// how the system is. It decides nothing: events go to the workflows, and what it shows is asked of those who know it.
package edge

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/ownhost"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/webhookauth"
)

// Orchestrator is what the edge asks of Temporal: an *orchestrator.Client, or a test's double of one.
type Orchestrator interface {
	Apply(ctx context.Context, ev contract.Event, wait time.Duration) (contract.Result, error)
	LifecycleStatus(ctx context.Context, instanceID string) (*contract.LifecycleStatus, error)
	Reachable(ctx context.Context) error
	WorkersPolling(ctx context.Context) error
	Backlog(ctx context.Context) (time.Duration, error)
	StartReconcile(ctx context.Context, in contract.ReconcileInput) (orchestrator.ReconcileRun, error)
	RequestReconcile(ctx context.Context, in contract.ReconcileInput) error
	ReconcileRunning(ctx context.Context) (orchestrator.UnderWay, error)
	ReconcileSchedule(ctx context.Context) (orchestrator.Schedule, error)
	CountDeletionsPending(ctx context.Context) (int, error)
}

// Stores is what the edge asks of the store manager, in process or over HTTP. All that it changes there are pauses,
// its memory of deliveries and of events without an outcome, and what an operator acknowledges.
type Stores interface {
	Get(ctx context.Context, id string) (storemanager.Store, error)
	List(ctx context.Context, r storemanager.ListRequest) (storemanager.Page, error)
	Overview(ctx context.Context) (storemanager.Overview, error)
	Reconciliation(ctx context.Context) (storemanager.Reconciliation, error)
	Pause(ctx context.Context, p storemanager.Pause) (storemanager.Pause, error)
	Resume(ctx context.Context, storeID string) error
	Pauses(ctx context.Context) ([]storemanager.Pause, error)
	Delivery(ctx context.Context, id string) (*deliveries.Delivery, error)
	Remember(ctx context.Context, d deliveries.Delivery) (deliveries.Delivery, error)
	KeepAccepted(ctx context.Context, e deliveries.AcceptedEvent) error
	AcknowledgeLoss(ctx context.Context, a storemanager.Acknowledgement) error
	Ping(ctx context.Context) error
}

// AuthWorker says how the lists of the Auth Worker went: an *authclient.Client, or a test's double of one.
type AuthWorker interface {
	Status() authclient.Status
}

// Options of a Server. All are required but Databases, AuthWorker, Guard and Sentry.
type Options struct {
	Config       *config.Config
	Orchestrator Orchestrator
	Stores       Stores
	// Databases tells of those of this process. Nil: they are other processes'.
	Databases func() Databases
	// AuthWorker is asked for no list. Nil: the workers, which do, are other processes, and what their runs came to is all that is known.
	AuthWorker AuthWorker
	Metrics    *telemetry.Metrics
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
	// reconcileWait is how long POST /admin/reconcile waits for the report of its run.
	reconcileWait = time.Minute
	// outagePoll is how often Temporal is looked for while it is away.
	outagePoll = time.Second
)

// Server is the edge. Make it with New.
type Server struct {
	config       *config.Config
	orchestrator Orchestrator
	stores       Stores
	authWorker   AuthWorker       // nil if it is asked elsewhere
	askDatabases func() Databases // nil if there are none
	metrics      *telemetry.Metrics
	sentry       *telemetry.Sentry
	log          *zap.Logger
	guard        *ownhost.Guard // nil: any host

	keyring  *webhookauth.Keyring
	limits   limits
	underWay turns // of deliveries, by their ids
	// bodies are those of senders with a right secret, unprovenBodies all others.
	bodies, unprovenBodies gate
	events                 gate
	lane                   *lane
	trial                  gate // of one event while Temporal takes none
	backlog                backlog
	frequent               *zap.Logger    // for what others can cause in any quantity: it leaves lines out, the metrics count all
	conflicts              rate.Sometimes // bounds how often Sentry is told of them
	token                  httpserver.Token
	started                time.Time
	handler                http.Handler
	checks                 *checks

	// refused counts the events that the outage under way has cost, 0: there is none. outage wakes Run when one begins.
	refused atomic.Int64
	outage  chan struct{}
	// refusedLast is when refused was last added to; notTaken when Temporal did not take the newest event.
	refusedLast, notTaken moment
	// pausedLast is when the reconcile schedule was last seen to be paused.
	pausedLast moment
	// memoryAway is when the memory of deliveries could not be asked, notRemembered when it did not keep the newest answer.
	memoryAway, notRemembered moment
	server                    atomic.Pointer[httpserver.Server] // nil before Run
	// draining is closed when the shutdown begins.
	draining chan struct{}

	// As the constants of these names; tests can't wait as long.
	readTimeout, reconcileWait, outagePoll, backlogPoll, repairAfter time.Duration
	maxConnections                                                   int
}

// New returns a Server that has asked nobody anything yet. The error is that of Config.Keyring.
func New(o Options) (*Server, error) {
	keyring, err := o.Config.Keyring()
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: o.Config, orchestrator: o.Orchestrator, stores: o.Stores, authWorker: o.AuthWorker, askDatabases: o.Databases, metrics: o.Metrics,
		sentry: o.Sentry, log: o.Log, guard: o.Guard,
		token:   httpserver.NewToken(string(o.Config.BypassToken)),
		started: time.Now(),
		outage:  make(chan struct{}, 1), draining: make(chan struct{}),
		readTimeout: readTimeout, reconcileWait: reconcileWait, outagePoll: outagePoll, backlogPoll: backlogPoll, repairAfter: repairAfter,
		maxConnections: maxConnections, keyring: keyring, limits: limits{perSecond: int(o.Config.WebhookRateLimit)},
		bodies: make(gate, maxBodies), unprovenBodies: make(gate, maxBodies), events: make(gate, maxUnderWay),
		lane: newLane(o.Config.WebhookWait), trial: make(gate, 1),
		conflicts: rate.Sometimes{Interval: conflictPause},
		frequent:  telemetry.Sampled(o.Log),
	}
	s.checks = newChecks(s)
	s.handler = s.routes()
	return s, nil
}

// Handler serves everything but what Run does beside it.
func (s *Server) Handler() http.Handler { return s.handler }

// adminPausePath is where all of reconciliation is paused and resumed.
const adminPausePath = "/admin/pause"

func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(httpserver.Identify, httpserver.Recover(s.answerPanic), harden, httpserver.Prepare)
	if s.guard != nil {
		r.Use(s.guard.Handler)
	}
	r.Use(middleware.GetHead)
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) { writeProblem(w, kindNotFound, "Not found") })
	r.MethodNotAllowed(httpserver.MethodNotAllowed(r, true, func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, kindMethodNotAllowed, "Method not allowed")
	}))

	r.Get("/", index)
	r.Post("/webhooks/workspaces", s.webhook)
	r.Get("/health", s.health)
	r.Get("/livez", func(w http.ResponseWriter, _ *http.Request) {
		httpserver.WriteJSON(w, http.StatusOK, api.Status{Status: "ok"})
	})
	r.Get("/readyz", s.ready)
	r.Method(http.MethodGet, "/metrics", s.metrics.Handler())
	r.Get("/openapi.json", serveOpenAPI)
	r.Get("/docs", serveDocs)
	r.Get("/docs/assets/{name}", serveDocsAsset)
	r.Get(problemPath+"{code}", explainProblem)
	r.Group(func(r chi.Router) {
		r.Use(httpserver.Require(s.authorized, func(w http.ResponseWriter, _ *http.Request) {
			writeProblem(w, kindUnauthorized, "Unauthorized")
		}))
		r.Get("/stores", s.listStores)
		r.Get("/stores/{id}", s.getStore)
		r.Put("/stores/{id}/pause", s.pause)
		r.Delete("/stores/{id}/pause", s.resume)
		r.Put(adminPausePath, s.pause)
		r.Delete(adminPausePath, s.resume)
		r.Post(acknowledgeLossPath, s.acknowledgeLoss)
		r.Post("/admin/reconcile", s.adminReconcile)
		r.Get("/admin/reconcile/runs", s.reconcileRuns)
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
	background.Go(func() { s.repairOutages(ctx) })
	background.Go(func() { s.repairLosses(ctx) })
	background.Go(func() { s.watchBacklog(ctx) })

	server := s.httpServer()
	s.server.Store(server)
	server.RegisterOnShutdown(func() { close(s.draining) })
	s.log.Info("edge listens", zap.String("address", l.Addr().String()))
	return server.Run(ctx, l, drainTimeout)
}

func (s *Server) httpServer() *httpserver.Server {
	return httpserver.New(httpserver.Options{
		Handler:           s.handler,
		ReadHeaderTimeout: min(readHeaderTimeout, s.readTimeout),
		ReadTimeout:       s.readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		MaxConnections:    s.maxConnections,
		Log:               s.frequent,
	})
}

var endpoints = map[string]string{
	"POST /webhooks/workspaces":   "takes workspace.created and workspace.deleted (X-Webhook-Secret, or a Standard Webhooks signature)",
	"GET /health":                 "how the system is; 503 when it can't keep its promise (a token adds store ids)",
	"GET /livez":                  "200 while the process serves",
	"GET /readyz":                 "200 while a webhook would be taken and worked off",
	"GET /metrics":                "Prometheus metrics",
	"GET /docs":                   "all of this, to browse",
	"GET /openapi.json":           "all of this as OpenAPI 3.1",
	"GET /docs/problems/{code}":   "what an error means, and what to do",
	"GET /stores":                 "the monitored stores, in pages: ?limit=&cursor= (token)",
	"GET /stores/{id}":            "one store: its conditions, newest events and what is under way for it (token)",
	"PUT /stores/{id}/pause":      "makes reconciliation leave the store alone: {reason, actor, expiresAt} (token)",
	"DELETE /stores/{id}/pause":   "ends that (token)",
	"PUT /admin/pause":            "makes reconciliation change nothing: {reason, actor, expiresAt} (token)",
	"DELETE /admin/pause":         "ends that (token)",
	"POST " + acknowledgeLossPath: "lets stores be stopped again after the registry was lost: {reason, actor} (token)",
	"POST /admin/reconcile":       "starts a reconcile run and waits for its report (token)",
	"GET /admin/reconcile/runs":   "the newest reconcile runs and their reports (token)",
}

func index(w http.ResponseWriter, _ *http.Request) {
	httpserver.WriteJSON(w, http.StatusOK, api.Index{
		Service: "storekeeper", Version: telemetry.Version, Endpoints: endpoints,
		Token: "Authorization: Bearer <SERVER_BYPASS_TOKEN>, or X-Server-Token",
	})
}
