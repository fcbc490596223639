package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
	"storekeeper/internal/backoff"
)

const (
	// durableTimeout bounds the signal of an event: long enough for a busy server, short enough that the sender of a webhook still waits.
	durableTimeout = 3 * time.Second
	// acceptTimeout is how much longer than for its outcome an update's acceptance is waited for while workers are there. To send the
	// event again would make a slow Temporal slower. It is more than Temporal takes for what an edge lets in.
	acceptTimeout = 10 * time.Second
)

// absence remembers that no worker took the newest update. From then on one event at a time tries whether a worker takes it, and the
// others go by signal at once, because each of them would wait in vain.
type absence struct{ noticed, trying atomic.Bool }

// begin says whether an update is worth a try. If it is, end must follow.
func (a *absence) begin() bool { return !a.noticed.Load() || a.trying.CompareAndSwap(false, true) }

func (a *absence) end(err error) {
	a.noticed.Store(errors.Is(err, errNotAccepted))
	a.trying.Store(false)
}

// errNotAccepted: no worker has accepted the update, so it is not durable.
var errNotAccepted = errors.New("no worker has accepted the update")

// Apply sends the event to the lifecycle of its workspace and waits up to wait for the outcome. StatusAccepted means that the outcome is
// not known by then and the event is durable: a worker has accepted its update, or, while no worker is there, the event has gone out once
// more as a signal. While workers are there and Temporal is merely slow, the acceptance is waited for beyond wait. ErrInvalid if the event
// can't be applied, ErrUnavailable if neither update nor signal was taken.
func (c *Client) Apply(ctx context.Context, ev contract.Event, wait time.Duration) (contract.Result, error) {
	if wait > 0 && c.workersAway.begin() {
		result, err := c.update(ctx, ev, wait)
		c.workersAway.end(err)
		if err == nil || errors.Is(err, ErrInvalid) {
			return result, err
		}
	}
	if err := c.Signal(ctx, ev); err != nil {
		return contract.Result{}, err
	}
	return contract.Result{Status: contract.StatusAccepted}, nil
}

// update returns StatusAccepted when a worker has accepted the update and wait is over. Its error is ErrInvalid, errNotAccepted, or the
// last error of Temporal before wait was over.
func (c *Client) update(ctx context.Context, ev contract.Event, wait time.Duration) (contract.Result, error) {
	outcome, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	const firstDelay, longestDelay = 20 * time.Millisecond, 500 * time.Millisecond
	for delay := firstDelay; ; delay = min(2*delay, longestDelay) {
		var result contract.Result
		handle, err := c.sendUpdate(ctx, outcome, ev)
		if err == nil {
			err = handle.Get(outcome, &result)
			if err != nil && outcome.Err() != nil {
				return contract.Result{Status: contract.StatusAccepted}, nil
			}
		}
		if err = eventError(err); err == nil || errors.Is(err, ErrInvalid) {
			return result, err
		}
		// The run may have closed as the update came in. The next attempt starts a new one. An outage is retried too, but gently; if it
		// lasts, the signal fails as well.
		if !backoff.Sleep(outcome, delay) {
			return contract.Result{}, err
		}
	}
}

// sendUpdate returns once a worker has accepted the update; the same answer may bring its outcome. It fails with errNotAccepted when
// outcome is over and no worker is there, or acceptTimeout later.
func (c *Client) sendUpdate(ctx, outcome context.Context, ev contract.Event) (client.WorkflowUpdateHandle, error) {
	sent := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(outcome, func() {
		if c.polledSince(ctx, sent) {
			select {
			case <-time.After(acceptTimeout):
			case <-ctx.Done():
			}
		}
		cancel(errNotAccepted)
	})
	defer stop()
	handle, err := c.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: c.temporal.NewWithStartWorkflowOperation(lifecycleOptions(ev.InstanceID),
			contract.TypeWorkspaceLifecycle, contract.LifecycleInput{InstanceID: ev.InstanceID}),
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID:     ev.DeliveryID,
			UpdateName:   contract.ApplyEvent,
			Args:         []any{ev},
			WaitForStage: client.WorkflowUpdateStageAccepted,
		},
	})
	if err != nil && errors.Is(context.Cause(ctx), errNotAccepted) {
		return nil, errNotAccepted
	}
	return handle, err
}

// polledSince says whether a worker has asked for work since then. While work waits, every living worker asks all the time. A Temporal
// that is too slow to answer counts as yes, because it is slow for workers, too.
func (c *Client) polledSince(ctx context.Context, since time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, durableTimeout)
	defer cancel()
	resp, err := c.temporal.DescribeTaskQueue(ctx, contract.TaskQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err != nil {
		return ctx.Err() != nil
	}
	for _, p := range resp.GetPollers() {
		if p.GetLastAccessTime().AsTime().After(since) {
			return true
		}
	}
	return false
}

func eventError(err error) error {
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.Type() == contract.ErrTypeInvalid {
		return fmt.Errorf("%w: %s", ErrInvalid, app.Message())
	}
	return err
}
