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
	"storekeeper/internal/edge/api"
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
	var by asker
	var of targets
	cmd := &cobra.Command{
		Use:   "provision ID…",
		Short: "Have the store of a workspace monitored",
		Long: `Have the store of a workspace monitored, as the webhook workspace.created does. A pending deletion is cancelled.

Reconciliation removes the store again if the Auth Worker does not list the workspace: see hold and STORE_IDS.` + severalHelp,
		Example: "  starter provision ws-1\n  starter provision ws-1 --wait 0s   # do not wait for the outcome",
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 {
				return exit.UsageError("--wait must not be negative")
			}
			if err := a.nameActor(&by.actor); err != nil {
				return err
			}
			ids, err := a.targeted(cmd.Context(), of, "provision", args)
			switch {
			case err != nil:
				return err
			case len(ids) > 1:
				return a.bulk(cmd, of, "provision", api.ActionRequest{Reason: by.reason, Actor: by.actor}, ids, "user", "wait")
			}
			return a.send(cmd.Context(), contract.Event{Type: contract.WorkspaceCreated, InstanceID: ids[0], UserID: user, Origin: by.origin(cmd.Context())}, wait)
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "the id of the workspace's owner")
	duration.Var(cmd.Flags(), &wait, "wait", outcomeWait, "how long to wait for the outcome")
	by.register(cmd, reasonOptional)
	of.register(cmd)
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	var grace time.Duration
	var wait bool
	var by asker
	var of targets
	cmd := &cobra.Command{
		Use:   "delete ID…",
		Short: "Have the store of a deleted workspace removed after a grace period",
		Long: `Have the store of a deleted workspace removed after a grace period, as the webhook workspace.deleted does.

Until the grace period ends, the store stays monitored and cancel-delete keeps it. Then the Auth Worker is asked again: a
workspace that it still lists keeps its store, and the deletion ends as deletion_cancelled.` + severalHelp,
		Example: `  starter delete ws-1 --reason "the customer has left"
  starter delete ws-1 --reason "the customer has left" --grace 0s --wait   # at once, if the Auth Worker agrees
  starter delete --file ids.txt --reason "end of the trial"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.trimReason(&by); err != nil {
				return err
			}
			body := api.ActionRequest{Reason: by.reason, Actor: by.actor}
			ev := contract.Event{Type: contract.WorkspaceDeleted, Origin: by.origin(cmd.Context())}
			if cmd.Flags().Changed("grace") {
				if grace < 0 {
					return exit.UsageError("--grace must not be negative")
				}
				ev.GracePeriod, body.GracePeriod = &grace, grace.String()
			}
			ids, err := a.targeted(cmd.Context(), of, "delete", args)
			switch {
			case err != nil:
				return err
			case len(ids) > 1:
				return a.bulk(cmd, of, "delete", body, ids, "wait")
			}
			ev.InstanceID = ids[0]
			if wait {
				return a.deleteAndWait(cmd.Context(), ev, cmd.Flags().Changed("timeout"))
			}
			return a.send(cmd.Context(), ev, outcomeWait)
		},
	}
	duration.Var(cmd.Flags(), &grace, "grace", 0, "the grace period; 0s deletes at once (default the worker's DELETION_GRACE_PERIOD)")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the store is removed or the deletion cancelled (bounded only by an explicit --timeout)")
	by.register(cmd, reasonRequired)
	of.register(cmd)
	return cmd
}

func (a *app) holdCommand() *cobra.Command {
	c := a.cancellationCommand("hold", "Keep a store from every deletion for a time", "hold", a.hold)
	c.Long = "Keep a store from every deletion, reconciliation's included, for a time. A pending deletion is cancelled." + severalHelp
	c.Example = `  starter hold ws-1 --reason "customer asked for an export" --for 72h
  starter hold --from-run RUNID --reason "the list was wrong"`
	return c
}

func (a *app) cancelDeleteCommand() *cobra.Command {
	c := a.cancellationCommand("cancel-delete", "Cancel the pending deletion of a store", "cancel-deletion", a.cancelDelete)
	c.Long = `Cancel the pending deletion of a store. It leaves a hold, or the next reconcile would schedule the deletion again.

Without this CLI, and even while no worker runs:
  temporal workflow signal --workflow-id workspace/ID --name cancel-deletion --input '{"reason":"…","actor":"…"}'` + severalHelp
	c.Example = `  starter cancel-delete ws-1 --reason "deleted by mistake"
  starter cancel-delete --from-run RUNID --reason "the list was wrong"
  temporal workflow signal --workflow-id workspace/ws-1 --name cancel-deletion --input '{"reason":"deleted by mistake","actor":"ann"}'`
	return c
}

// cancellationCommand is a command whose flags make a hold: why, who, how long. verb is its name at the edge.
func (a *app) cancellationCommand(name, short, verb string, run func(context.Context, string, contract.Cancellation) error) *cobra.Command {
	var by asker
	var of targets
	var holdFor time.Duration
	cmd := &cobra.Command{
		Use: name + " ID…", Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.trimReason(&by); err != nil {
				return err
			}
			if holdFor <= 0 {
				return exit.UsageError("--for must be more than 0")
			}
			expires := time.Now().UTC().Add(holdFor)
			ids, err := a.targeted(cmd.Context(), of, verb, args)
			switch {
			case err != nil:
				return err
			case len(ids) > 1:
				return a.bulk(cmd, of, verb, api.ActionRequest{Reason: by.reason, Actor: by.actor, ExpiresAt: &expires}, ids)
			}
			return run(cmd.Context(), ids[0], contract.Cancellation{Reason: by.reason, Actor: by.actor, ExpiresAt: &expires, Origin: by.origin(cmd.Context())})
		},
	}
	by.register(cmd, reasonRequired)
	duration.Var(cmd.Flags(), &holdFor, "for", contract.DefaultHold, "how long the hold lasts")
	of.register(cmd)
	return cmd
}

func (a *app) releaseCommand() *cobra.Command {
	var by asker
	var of targets
	cmd := &cobra.Command{
		Use:     "release ID…",
		Short:   "Take the hold off a store",
		Long:    "Take the hold off a store. If the Auth Worker does not list its workspace, reconciliation finds it an orphan from then on." + severalHelp,
		Example: "  starter release ws-1\n  starter release ws-1 ws-2 --reason \"the export is done\" --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.nameActor(&by.actor); err != nil {
				return err
			}
			ids, err := a.targeted(cmd.Context(), of, "release", args)
			switch {
			case err != nil:
				return err
			case len(ids) > 1:
				return a.bulk(cmd, of, "release", api.ActionRequest{Reason: by.reason, Actor: by.actor}, ids)
			}
			return a.send(cmd.Context(), contract.Event{Type: contract.StoreRelease, InstanceID: ids[0], Origin: by.origin(cmd.Context())}, outcomeWait)
		},
	}
	by.register(cmd, reasonOptional)
	of.register(cmd)
	return cmd
}

func (a *app) hold(ctx context.Context, id string, c contract.Cancellation) error {
	return a.send(ctx, contract.Event{Type: contract.StoreHold, InstanceID: id, Hold: &c, Origin: c.Origin}, outcomeWait)
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
	if res.Status != contract.StatusAccepted {
		return refusalOf(asked, res)
	}
	todo := look(res.InstanceID)
	if errors.Is(c.WorkersPolling(ctx), orchestrator.ErrNoWorker) {
		todo = "no worker works for Temporal at " + c.Address + ": start cmd/worker"
	}
	return exit.NotYet("the event is stored and will be worked off", todo)
}

// refusalOf is refusal for an outcome that is known.
func refusalOf(asked contract.EventType, res eventResult) *exit.Failure {
	id := res.InstanceID
	switch {
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
