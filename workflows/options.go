package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"storekeeper/activities"
	"storekeeper/contract"
)

// The activities are called by method value. The worker has registered the structs that do the work, so these may be nil.
var (
	stores    *activities.Stores
	authority *activities.Authority
	reconcile *activities.Reconcile
)

// storeOptions are for one call to the store manager. There is no overall bound, because an event answered 2xx takes effect however long
// the store manager is away. What can never succeed is not retried (activities/errors.go).
var storeOptions = workflow.ActivityOptions{
	StartToCloseTimeout: 45 * time.Second, // a busy Node server takes tens of seconds
	RetryPolicy: &temporal.RetryPolicy{
		InitialInterval:    200 * time.Millisecond,
		BackoffCoefficient: 2,
		MaximumInterval:    time.Minute,
	},
}

// quickStoreOptions are for a first attempt as a local activity, which is over within the same workflow task and costs half as much as a
// regular one. When it fails or takes too long, the regular activity does the work.
var quickStoreOptions = workflow.LocalActivityOptions{
	// Less than the workflow task timeout (10 s) and the edge's WEBHOOK_WAIT, because an update is durable only after the task.
	ScheduleToCloseTimeout: time.Second,
	RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
}

// recheckOptions are for asking the Auth Worker. There is no overall bound: no store is stopped before the Auth Worker has said that the
// workspace is gone, so a deletion waits for as long as it can't be asked.
var recheckOptions = workflow.ActivityOptions{
	// Many re-checks share few lists, and each list may take 45 s. On a list that takes longer no store could be stopped anyway
	// (authclient.RecheckTimeout, storemanager.MaxAnswerAge).
	StartToCloseTimeout: 5 * time.Minute,
	// A killed worker is missed soon, and the deletion goes on with another one.
	HeartbeatTimeout: 2*activities.RecheckHeartbeat + 2*time.Second,
	RetryPolicy: &temporal.RetryPolicy{
		InitialInterval:    time.Second,
		BackoffCoefficient: 2,
		MaximumInterval:    5 * time.Minute,
	},
	Summary: "ask the Auth Worker again",
}

// stopOptions are for stopping a store. The bound makes sure that a stop follows a fresh re-check: after it the Auth Worker is asked
// again, after recheckDelay and without end.
var stopOptions = workflow.ActivityOptions{
	ScheduleToCloseTimeout: time.Minute,
	StartToCloseTimeout:    45 * time.Second,
	RetryPolicy:            storeOptions.RetryPolicy,
}

const (
	// recheckDelay is for a store manager that is away.
	recheckDelay = 4 * time.Minute
	// tooOldDelay is the first pause after an answer that got too old. Each further one is twice as long, up to recheckDelay, so that two
	// clocks that differ don't fill the history.
	tooOldDelay = 10 * time.Second
)

func ensureStore(ctx workflow.Context, in contract.EnsureInput) (contract.EnsureResult, error) {
	return quickly[contract.EnsureResult](ctx, stores.EnsureStore, in)
}

func beginDeletion(ctx workflow.Context, in contract.DeletionInput) (contract.DeletionResult, error) {
	return quickly[contract.DeletionResult](ctx, stores.BeginDeletion, in)
}

func holdStore(ctx workflow.Context, in contract.HoldInput) (contract.Kept, error) {
	return quickly[contract.Kept](ctx, stores.HoldStore, in)
}

func releaseStore(ctx workflow.Context, in contract.StoreInput) (contract.Kept, error) {
	return quickly[contract.Kept](ctx, stores.ReleaseStore, in)
}

func cancelStoreDeletion(ctx workflow.Context, in contract.StoreInput) (contract.Kept, error) {
	return execute[contract.Kept](workflow.WithActivityOptions(ctx, storeOptions), stores.CancelDeletion, in)
}

func takeOverDeletion(ctx workflow.Context, in contract.StoreInput) (contract.Kept, error) {
	return quickly[contract.Kept](ctx, stores.TakeOverDeletion, in)
}

func restoreDeletion(ctx workflow.Context, in contract.RestoreInput) (contract.Kept, error) {
	return quickly[contract.Kept](ctx, stores.RestoreDeletion, in)
}

func stopStore(ctx workflow.Context, in contract.StoreInput) (contract.Kept, error) {
	return execute[contract.Kept](workflow.WithActivityOptions(ctx, stopOptions), stores.StopStore, in)
}

func confirmAbsent(ctx workflow.Context, in contract.AbsenceInput) (contract.AbsenceResult, error) {
	return execute[contract.AbsenceResult](workflow.WithActivityOptions(ctx, recheckOptions), authority.ConfirmAbsent, in)
}

// quickly tries the activity as a local one first. A first attempt that is lost does no harm, because every activity of a store may be
// carried out twice.
func quickly[T any](ctx workflow.Context, activity, in any) (T, error) {
	var out T
	err := workflow.ExecuteLocalActivity(workflow.WithLocalActivityOptions(ctx, quickStoreOptions), activity, in).Get(ctx, &out)
	if err == nil || final(err) {
		return out, err
	}
	return execute[T](workflow.WithActivityOptions(ctx, storeOptions), activity, in)
}

// final says whether another attempt is of no use: the call was cancelled, or can never succeed.
func final(err error) bool {
	var app *temporal.ApplicationError
	return temporal.IsCanceledError(err) || errors.As(err, &app) && app.NonRetryable()
}

func execute[T any](ctx workflow.Context, activity, in any) (T, error) {
	var out T
	err := workflow.ExecuteActivity(ctx, activity, in).Get(ctx, &out)
	return out, err
}
