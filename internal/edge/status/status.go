// Package status tells operators and monitoring how the system is, and takes what operators have to say: health, stores and their conditions,
// reconcile runs, pauses, and that a loss is known. It decides nothing: what it shows is asked of those who know it.
package status

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
)

// Orchestrator is what is asked of Temporal.
type Orchestrator interface {
	LifecycleStatus(ctx context.Context, instanceID string) (*contract.LifecycleStatus, error)
	Reachable(ctx context.Context) error
	WorkersPolling(ctx context.Context) error
	StartReconcile(ctx context.Context, in contract.ReconcileInput) (orchestrator.ReconcileRun, error)
	ReconcileRunning(ctx context.Context) (orchestrator.UnderWay, error)
	ReconcileSchedule(ctx context.Context) (orchestrator.Schedule, error)
	ResumeSchedule(ctx context.Context, note string) (orchestrator.Schedule, error)
	CountDeletionsPending(ctx context.Context) (int, error)
	Workers(ctx context.Context) ([]orchestrator.Worker, error)
}

// StoreManager is what is asked of the store manager. All that is changed there are pauses, and what an operator acknowledges.
type StoreManager interface {
	Get(ctx context.Context, id string) (storemanager.Store, error)
	List(ctx context.Context, r storemanager.ListRequest) (storemanager.Page, error)
	Overview(ctx context.Context) (storemanager.Overview, error)
	Reconciliation(ctx context.Context) (storemanager.Reconciliation, error)
	Pause(ctx context.Context, r storemanager.PauseRequest) (storemanager.Pause, error)
	Resume(ctx context.Context, r storemanager.ResumeRequest) error
	Pauses(ctx context.Context) ([]storemanager.Pause, error)
	AcknowledgeLoss(ctx context.Context, a storemanager.Acknowledgement) error
	Ping(ctx context.Context) error
}

// AuthWorker says how the lists of the Auth Worker went: an *authclient.Client, or a test's double of one.
type AuthWorker interface {
	Status() authclient.Status
}

// Intake says how the webhooks' way in is.
type Intake interface {
	// Backlog is for how long the oldest event has waited for a worker, and whether webhooks are refused because of it.
	Backlog() (age time.Duration, over bool)
	// Refusing says whether Temporal did not take the newest event, lately.
	Refusing() bool
}

// Options of a Status. All are required but Databases, AuthWorker, Workspaces, and ReconcileWait.
type Options struct {
	Config       *config.Config
	Orchestrator Orchestrator
	StoreManager StoreManager
	Intake       Intake
	// Warnings are what the edge itself is short of.
	Warnings func() []string
	// Databases tells of those of this process. Nil: they are other processes'.
	Databases func() Databases
	// AuthWorker is asked for no list. Nil: the workers, which do, are other processes, and what their runs came to is all that is known.
	AuthWorker AuthWorker
	// Workspaces is asked for names. Nil: they are not known.
	Workspaces Workspaces
	// Authorized says whether a request brings the token.
	Authorized func(*http.Request) bool
	Log        *zap.Logger
	// Frequent logs what strangers can cause in any quantity. It leaves lines out.
	Frequent *zap.Logger
	// ReconcileWait is how long POST /admin/reconcile waits for the report of its run; 0 is a minute.
	ReconcileWait time.Duration
}

const (
	// reconcileWait is for Options.ReconcileWait.
	reconcileWait = time.Minute
	// storeTimeout bounds what one request may ask the store manager for.
	storeTimeout = 10 * time.Second
)

// Status serves what is known of the system. Make it with New.
type Status struct {
	config        *config.Config
	orchestrator  Orchestrator
	manager       StoreManager
	intake        Intake
	edgeWarnings  func() []string
	databases     func() Databases
	authWorker    AuthWorker // nil if it is asked elsewhere
	directory     directory
	authorized    func(*http.Request) bool
	log, frequent *zap.Logger
	reconcileWait time.Duration

	started time.Time
	checks  *checks
	// pausedLast is when the reconcile schedule was last seen to be paused; nil: never.
	pausedLast atomic.Pointer[time.Time]
	// draining is closed when the shutdown begins.
	draining chan struct{}
}

// New returns a Status that has asked nobody anything yet.
func New(o Options) *Status {
	if o.Databases == nil {
		o.Databases = func() Databases { return Databases{} }
	}
	if o.ReconcileWait == 0 {
		o.ReconcileWait = reconcileWait
	}
	s := &Status{
		config: o.Config, orchestrator: o.Orchestrator, manager: o.StoreManager, intake: o.Intake, edgeWarnings: o.Warnings, databases: o.Databases,
		authWorker: o.AuthWorker, authorized: o.Authorized, log: o.Log, frequent: o.Frequent, reconcileWait: o.ReconcileWait,
		directory: directory{source: o.Workspaces, log: o.Frequent},
		started:   time.Now(), draining: make(chan struct{}),
	}
	s.checks = newChecks(s)
	return s
}

// Drain makes the edge not ready, and no request wait for a reconcile run any longer. Call it once.
func (s *Status) Drain() { close(s.draining) }

// managerAway answers when the store manager could not be asked.
func (s *Status) managerAway(w http.ResponseWriter, err error) {
	s.frequent.Error("store manager not asked", httpserver.LogRequestID(w), zap.Error(err))
	problem.WriteUnavailable(w, "The store manager can't be asked")
}
