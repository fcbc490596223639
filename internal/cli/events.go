package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/contract"
	"storekeeper/internal/cli/duration"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/temporalclient"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/orchestrator"
)

// outcomeWait is how long a command waits for the outcome of its event before it settles for "accepted".
const outcomeWait = 10 * time.Second

// eventResult is what the commands that send something write with --json.
type eventResult struct {
	InstanceID string `json:"instanceId"`
	// DeliveryID is "" for a cancellation, which is no event.
	DeliveryID string `json:"deliveryId,omitempty"`
	contract.Result
}

func (a *app) provisionCommand() *cobra.Command {
	var user string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "provision ID",
		Short: "Have the store of a workspace monitored",
		Long: `Have the store of a workspace monitored, as the webhook workspace.created does. A pending deletion is cancelled.

Reconciliation removes the store again if the Auth Worker does not list the workspace: see hold and STORE_IDS.`,
		Example: "  starter provision ws-1\n  starter provision ws-1 --wait 0s   # do not wait for the outcome",
		Args:    storeID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 {
				return exit.UsageError("--wait must not be negative")
			}
			return a.send(cmd.Context(), contract.Event{Type: contract.WorkspaceCreated, InstanceID: args[0], UserID: user}, wait)
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "the id of the workspace's owner")
	duration.Var(cmd.Flags(), &wait, "wait", outcomeWait, "how long to wait for the outcome")
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	var grace time.Duration
	var wait bool
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Have the store of a deleted workspace removed after a grace period",
		Long: `Have the store of a deleted workspace removed after a grace period, as the webhook workspace.deleted does.

Until the grace period ends, the store stays monitored and cancel-delete keeps it. Then the Auth Worker is asked again: a
workspace that it still lists keeps its store, and the deletion ends as deletion_cancelled.`,
		Example: "  starter delete ws-1\n  starter delete ws-1 --grace 1h\n  starter delete ws-1 --grace 0s --wait   # at once, if the Auth Worker agrees",
		Args:    storeID,
		RunE: func(cmd *cobra.Command, args []string) error {
			ev := contract.Event{Type: contract.WorkspaceDeleted, InstanceID: args[0]}
			if cmd.Flags().Changed("grace") {
				if grace < 0 {
					return exit.UsageError("--grace must not be negative")
				}
				ev.GracePeriod = &grace
			}
			if wait {
				return a.deleteAndWait(cmd.Context(), ev, cmd.Flags().Changed("timeout"))
			}
			return a.send(cmd.Context(), ev, outcomeWait)
		},
	}
	duration.Var(cmd.Flags(), &grace, "grace", 0, "the grace period; 0s deletes at once (default the worker's DELETION_GRACE_PERIOD)")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the store is removed or the deletion cancelled (bounded only by an explicit --timeout)")
	return cmd
}

func (a *app) holdCommand() *cobra.Command {
	c := a.cancellationCommand("hold ID", "Keep a store from every deletion for a time", a.hold)
	c.Long = "Keep a store from every deletion, reconciliation's included, for a time. A pending deletion is cancelled."
	c.Example = `  starter hold ws-1 --reason "customer asked for an export" --for 72h`
	return c
}

func (a *app) cancelDeleteCommand() *cobra.Command {
	c := a.cancellationCommand("cancel-delete ID", "Cancel the pending deletion of a store", a.cancelDelete)
	c.Long = `Cancel the pending deletion of a store. It leaves a hold, or the next reconcile would schedule the deletion again.

Without this CLI, and even while no worker runs:
  temporal workflow signal --workflow-id workspace/ID --name cancel-deletion --input '{"reason":"…","actor":"…"}'`
	c.Example = `  starter cancel-delete ws-1 --reason "deleted by mistake"
  temporal workflow signal --workflow-id workspace/ws-1 --name cancel-deletion --input '{"reason":"deleted by mistake","actor":"ann"}'`
	return c
}

// cancellationCommand is a command whose flags make a hold: why, who, how long.
func (a *app) cancellationCommand(use, short string, run func(context.Context, string, contract.Cancellation) error) *cobra.Command {
	var c contract.Cancellation
	var holdFor time.Duration
	cmd := &cobra.Command{
		Use: use, Short: short, Args: storeID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.trimReason(&c.Reason, &c.Actor); err != nil {
				return err
			}
			if holdFor <= 0 {
				return exit.UsageError("--for must be more than 0")
			}
			expires := time.Now().UTC().Add(holdFor)
			c.ExpiresAt = &expires
			return run(cmd.Context(), args[0], c)
		},
	}
	cmd.Flags().StringVar(&c.Reason, "reason", "", "why, for whoever finds the hold (required)")
	cmd.Flags().StringVar(&c.Actor, "actor", "", actorUsage)
	duration.Var(cmd.Flags(), &holdFor, "for", contract.DefaultHold, "how long the hold lasts")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that is not defined
	return cmd
}

func (a *app) releaseCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "release ID",
		Short:   "Take the hold off a store",
		Long:    "Take the hold off a store. If the Auth Worker does not list its workspace, reconciliation finds it an orphan from then on.",
		Example: "  starter release ws-1",
		Args:    storeID,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.send(cmd.Context(), contract.Event{Type: contract.StoreRelease, InstanceID: args[0]}, outcomeWait)
		},
	}
}

func (a *app) hold(ctx context.Context, id string, c contract.Cancellation) error {
	return a.send(ctx, contract.Event{Type: contract.StoreHold, InstanceID: id, Hold: &c}, outcomeWait)
}

// send applies an event and shows its outcome.
func (a *app) send(ctx context.Context, ev contract.Event, wait time.Duration) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	res, err := a.apply(ctx, c, ev, wait)
	if err != nil {
		return err
	}
	return a.conclude(ctx, c, ev.Type, res)
}

func (a *app) apply(ctx context.Context, c *temporalclient.Connection, ev contract.Event, wait time.Duration) (eventResult, error) {
	ev.DeliveryID, ev.Timestamp, ev.Source = orchestrator.NewDeliveryID(), time.Now().UTC(), contract.SourceOperator
	ctx, cancel := context.WithTimeout(ctx, wait+a.timeout)
	defer cancel()
	result, err := c.Apply(ctx, ev, wait)
	if err != nil {
		return eventResult{}, c.Failure(err)
	}
	return eventResult{InstanceID: ev.InstanceID, DeliveryID: ev.DeliveryID, Result: result}, nil
}

// deleteAndWait asks for the deletion and waits until it has ended.
func (a *app) deleteAndWait(ctx context.Context, ev contract.Event, bounded bool) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	res, err := a.apply(ctx, c, ev, outcomeWait)
	if err != nil {
		return err
	}
	switch res.Status {
	case contract.StatusDeletionScheduled, contract.StatusDeletionAlreadyScheduled, contract.StatusAccepted:
	default:
		return a.conclude(ctx, c, ev.Type, res)
	}
	if !a.json { // one JSON value: the outcome
		a.showResult(res)
	}
	waitCtx, cancel := a.waitContext(ctx, bounded)
	defer cancel()
	res.Result, err = c.LifecycleEnd(waitCtx, ev.InstanceID)
	if err != nil {
		return c.WaitFailure(ctx, err, "the deletion of "+ev.InstanceID+" goes on by itself", look(ev.InstanceID))
	}
	return a.conclude(ctx, c, ev.Type, res)
}

// waitContext is the context of --wait. The work goes on by itself, so the wait has no bound unless the operator gave a --timeout.
func (a *app) waitContext(ctx context.Context, bounded bool) (context.Context, context.CancelFunc) {
	if bounded {
		return context.WithTimeout(ctx, a.timeout)
	}
	return context.WithCancel(ctx)
}

func (a *app) cancelDelete(ctx context.Context, id string, cancellation contract.Cancellation) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	requestCtx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	result, err := c.CancelDeletion(requestCtx, id, cancellation)
	switch {
	case errors.Is(err, orchestrator.ErrNoPendingDeletion):
		return exit.Fail(exit.NotFound, "no_pending_deletion", "no deletion of "+id+" is pending", look(id))
	case errors.Is(err, orchestrator.ErrUnavailable):
		return c.Failure(c.Explained(ctx, err))
	case err != nil: // the signal was taken, or the error would be ErrUnavailable
		return c.WaitFailure(ctx, err, "the cancellation is on its way", look(id))
	}
	res := eventResult{InstanceID: id, Result: result}
	a.showResult(res)
	if result.Status == contract.StatusMonitoringStopped || result.Status == contract.StatusAlreadyStopped {
		return exit.Fail(exit.NotFound, "too_late", "too late: the store of "+id+" was stopped before", "starter provision "+id+" brings it back")
	}
	return nil
}

// conclude shows the outcome of an event, and returns a failure if that is not what was asked for.
func (a *app) conclude(ctx context.Context, c *temporalclient.Connection, asked contract.EventType, res eventResult) error {
	f := refusal(ctx, c, asked, res)
	if f == nil {
		a.showResult(res)
		return nil
	}
	if !a.json {
		res.Detail = "" // the failure says it
	}
	a.showResult(res)
	return f
}

// refusal is nil if the outcome is what was asked for.
func refusal(ctx context.Context, c *temporalclient.Connection, asked contract.EventType, res eventResult) *exit.Failure {
	id := res.InstanceID
	switch {
	case res.Status == contract.StatusAccepted:
		todo := look(id)
		if errors.Is(c.WorkersPolling(ctx), orchestrator.ErrNoWorker) {
			todo = "no worker works for Temporal at " + c.Address + ": start cmd/worker"
		}
		return exit.NotYet("the event is stored and will be worked off", todo)
	case res.Status == contract.StatusDeletionAlreadyScheduled && res.Detail != "": // another grace period was asked for
		return exit.Fail(
			exit.Refused, "deletion_already_scheduled",
			fmt.Sprintf("a deletion of %s is pending already, due %s: %s", id, text.Moment(*res.DeleteAt), res.Detail),
			"starter cancel-delete "+id+", starter release "+id+", then delete again",
		)
	case res.Status == contract.StatusStaleIgnored:
		return exit.Fail(
			exit.Refused, "stale_ignored", fmt.Sprintf("nothing was changed for %s: %s", id, res.Detail),
			"if that can't be, check this machine's clock ("+time.Now().UTC().Format(time.RFC3339)+")",
		)
	case res.Status == contract.StatusDeletionCancelled && asked == contract.WorkspaceDeleted:
		return exit.Fail(
			exit.Refused, "deletion_cancelled", fmt.Sprintf("the store of %s stays: %s", id, res.Detail),
			"starter status "+id+" shows holds and pins; a workspace that the Auth Worker lists must be deleted there",
		)
	case res.Status == contract.StatusAlreadyStopped && asked != contract.WorkspaceDeleted:
		return exit.Fail(exit.NotFound, "not_found", fmt.Sprintf("%s: %s", id, res.Detail), "starter list shows what is monitored")
	}
	return nil
}

func look(id string) string { return "look with starter status " + id }

func (a *app) showResult(res eventResult) {
	if a.json {
		a.writeJSON(res)
		return
	}
	a.printf("%s: %s\n", res.InstanceID, res.Status)
	switch {
	case res.DeleteAt != nil:
		a.printf("  the store is stopped at %s, unless the Auth Worker lists the workspace then\n", text.Moment(*res.DeleteAt))
		a.printf("  to keep it: starter cancel-delete %s --reason \"…\"\n", res.InstanceID)
	case res.Detail != "":
		a.printf("  %s\n", res.Detail)
	}
}
