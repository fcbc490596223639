// Package worker runs the workflows and activities, and keeps the reconcile schedule.
package worker

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"storekeeper/activities"
	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/backoff"
	"storekeeper/internal/build"
	"storekeeper/internal/config"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/telemetry"
	"storekeeper/workflows"
)

// Manager is what activities ask of the store manager and of the memory of webhooks that it keeps.
type Manager interface {
	activities.StoreKeeper
	activities.ReconcileKeeper
	activities.AcceptedEvents
}

// Options are what a worker works with.
type Options struct {
	Temporal   client.Client
	Namespace  string
	Manager    Manager
	AuthWorker *authclient.Client
	Config     *config.Config
	Log        *zap.Logger
	Sentry     *telemetry.Sentry
	Metrics    *telemetry.Metrics
	// Ready is called once the worker polls; nil is fine.
	Ready func()
}

// stickyWorkflows is how many workflows a worker keeps in memory between their tasks. Most of those that stay long wait for the end of a
// grace period, and replay a dozen events to go on. The default of 10,000 would keep as many goroutines and histories for that.
const stickyWorkflows = 1000

// Run prepares the namespace, and waits for Temporal for as long as that takes. Then it works until ctx ends. Activities under way are
// given a few seconds then; Temporal gives what they don't finish to another worker.
func Run(ctx context.Context, o Options) error {
	orch := orchestrator.New(o.Temporal, o.Namespace)
	if err := prepare(ctx, orch, o); err != nil {
		return err
	}
	worker.SetStickyWorkflowCacheSize(stickyWorkflows)
	fatal := make(chan error, 1)
	w := worker.New(o.Temporal, contract.TaskQueue, options(o, fatal))
	set := Activities(o, orch)
	Register(w, set)
	o.Metrics.ExpectOperations(slices.Collect(maps.Keys(activityFuncs(set)))...)
	if err := w.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	defer w.Stop()
	o.Log.Info("worker started")
	if o.Ready != nil {
		o.Ready()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		return fmt.Errorf("worker failed: %w", err)
	}
}

// prepare makes the search attributes and the schedule that the workflows need. Temporal's database may be a new one, so it also has
// deletions resumed that nobody waits for, and events repeated that have no outcome.
func prepare(ctx context.Context, orch *orchestrator.Client, o Options) error {
	const firstDelay, longestDelay = 200 * time.Millisecond, 10 * time.Second
	for delay := firstDelay; ; delay = min(2*delay, longestDelay) {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := orch.EnsureSearchAttributes(attempt)
		if err == nil {
			err = orch.EnsureSchedule(attempt, time.Duration(o.Config.ReconcileInterval), o.Config.ReconcileEnabled)
		}
		if err == nil {
			err = orch.ResumeDeletions(attempt)
		}
		cancel()
		if err == nil {
			return nil
		}
		o.Log.Warn("temporal is not ready for the worker, trying again", zap.Error(err))
		if !backoff.Sleep(ctx, delay) {
			return ctx.Err()
		}
	}
}

func options(o Options, fatal chan<- error) worker.Options {
	// Autoscaling starts with enough pollers for a burst, and gives them back when idle.
	pollers := worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{
		InitialNumberOfPollers: 5, MinimumNumberOfPollers: 2, MaximumNumberOfPollers: 50,
	})
	host, _ := os.Hostname() // its name is for people
	return worker.Options{
		Identity:                   orchestrator.WorkerIdentity(host, os.Getpid(), build.Version),
		WorkflowTaskPollerBehavior: pollers,
		ActivityTaskPollerBehavior: pollers,
		// Re-checks wait for a shared list, many at a time (activities bounds them).
		MaxConcurrentActivityExecutionSize: 2000,
		// Operators watch a reconcile run by its heartbeats, which are sent once in most of a minute by default.
		MaxHeartbeatThrottleInterval: time.Second,
		// The default of 0 abandons activities at a shutdown. Long activities end by themselves when the worker stops.
		WorkerStopTimeout: 4 * time.Second,
		Interceptors:      []interceptor.WorkerInterceptor{telemetry.NewWorkerInterceptor(o.Log, o.Sentry, o.Metrics)},
		OnFatalError: func(err error) {
			select {
			case fatal <- err:
			default: // the first one is enough
			}
		},
	}
}

// ActivitySet are the structs whose methods are the activities.
type ActivitySet struct {
	Stores    *activities.Stores
	Authority *activities.Authority
	Reconcile *activities.Reconcile
}

// Activities wires the activities.
func Activities(o Options, orch *orchestrator.Client) ActivitySet {
	return ActivitySet{
		Stores: &activities.Stores{
			Manager: o.Manager, GracePeriod: o.Config.DeletionGracePeriod, Metrics: o.Metrics,
		},
		Authority: &activities.Authority{AuthWorker: o.AuthWorker},
		Reconcile: &activities.Reconcile{
			AuthWorker: o.AuthWorker, Manager: o.Manager, Accepted: o.Manager, Lifecycles: orch, Metrics: o.Metrics,
			Guard: activities.GuardLimits{
				MaxDeletePercent: int(o.Config.MaxDeletePercent), MaxDeletes: int(o.Config.MaxDeletes),
			},
			Sentry: o.Sentry, Mode: contract.Mode(o.Config.ReconcileMode), MaxRate: int(o.Config.ReconcileMaxRate),
		},
	}
}

// Register registers workflows and activities under their wire names. Histories refer to these, so they must not change with a Go name.
func Register(r worker.Registry, set ActivitySet) {
	RegisterWorkflows(r)
	for name, fn := range activityFuncs(set) {
		r.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
}

// activityFuncs are the activities by their wire names.
func activityFuncs(set ActivitySet) map[string]any {
	return map[string]any{
		contract.ActivityEnsureStore:      set.Stores.EnsureStore,
		contract.ActivityBeginDeletion:    set.Stores.BeginDeletion,
		contract.ActivityCancelDeletion:   set.Stores.CancelDeletion,
		contract.ActivityStopStore:        set.Stores.StopStore,
		contract.ActivityHoldStore:        set.Stores.HoldStore,
		contract.ActivityReleaseStore:     set.Stores.ReleaseStore,
		contract.ActivityTakeOverDeletion: set.Stores.TakeOverDeletion,
		contract.ActivityRestoreDeletion:  set.Stores.RestoreDeletion,
		contract.ActivityConfirmAbsent:    set.Authority.ConfirmAbsent,
		contract.ActivityCompareLists:     set.Reconcile.CompareLists,
		contract.ActivityEnsureMissing:    set.Reconcile.EnsureMissing,
		contract.ActivityRequestDeletions: set.Reconcile.RequestDeletions,
		contract.ActivityRecordRun:        set.Reconcile.RecordRun,
		contract.ActivityEndDeletions:     set.Reconcile.EndDeletions,
		contract.ActivityResumeDeletions:  set.Reconcile.ResumeDeletions,
	}
}

// RegisterWorkflows registers the workflows alone, for a replayer.
func RegisterWorkflows(r worker.WorkflowRegistry) {
	r.RegisterWorkflowWithOptions(workflows.WorkspaceLifecycle, workflow.RegisterOptions{Name: contract.TypeWorkspaceLifecycle})
	r.RegisterWorkflowWithOptions(workflows.ReconcileWorkspaces, workflow.RegisterOptions{Name: contract.TypeReconcileWorkspaces})
	r.RegisterWorkflowWithOptions(workflows.PlanReconcile, workflow.RegisterOptions{Name: contract.TypePlanReconcile})
	r.RegisterWorkflowWithOptions(workflows.ScheduledReconcile, workflow.RegisterOptions{Name: contract.TypeScheduledReconcile})
	r.RegisterWorkflowWithOptions(workflows.ResumeDeletions, workflow.RegisterOptions{Name: contract.TypeResumeDeletions})
}
