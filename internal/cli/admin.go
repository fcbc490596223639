package cli

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/internal/cli/duration"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

func (a *app) pauseCommand() *cobra.Command {
	var body api.PauseRequest
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "pause [ID]",
		Short: "Make reconciliation leave one store alone, or all of them",
		Long: `Make reconciliation leave one store alone, or all of them. Events are applied all the same; runs go on, and only look.

Without --for the pause lasts until resume. A new pause replaces the one before it.`,
		Example: "  starter pause --reason \"the Auth Worker is being moved\" --for 2h\n  starter pause ws-1 --reason \"under repair\"",
		Args:    optionalID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.trimReason(&body.Reason, &body.Actor); err != nil {
				return err
			}
			if cmd.Flags().Changed("for") && lasts <= 0 {
				return exit.UsageError("--for must be more than 0")
			}
			if lasts > 0 {
				body.ExpiresAt = new(time.Now().UTC().Add(lasts))
			}
			var p storemanager.Pause
			if err := a.changePause(cmd.Context(), http.MethodPut, args, body, &p); err != nil {
				return tooShort(err, body.ExpiresAt)
			}
			until := "until resumed"
			if p.ExpiresAt != nil {
				until = "until " + text.Moment(*p.ExpiresAt)
			}
			if a.json {
				a.writeJSON(p)
			} else {
				a.printf("paused %s: %s\n", until, scopeOf(args))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&body.Reason, "reason", "", "why, for whoever finds the pause (required)")
	cmd.Flags().StringVar(&body.Actor, "actor", "", actorUsage)
	duration.Var(cmd.Flags(), &lasts, "for", 0, "how long the pause lasts (default until resumed)")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that is not defined
	return cmd
}

// tooShort says in plain words that the edge refused a pause because its end has passed. Any other error is returned as it is.
func tooShort(err error, expiresAt *time.Time) error {
	var f *exit.Failure
	if errors.As(err, &f) && f.Code == "invalid" && expiresAt != nil && !expiresAt.After(time.Now()) {
		return exit.Fail(f.Exit, f.Code, "the pause would have ended before the edge could take it", "give it a longer --for")
	}
	return err
}

func (a *app) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume [ID]", Short: "End the pause of one store, or that of all",
		Long:    "End the pause of one store, or that of all; pauses of single stores stay then. Without a pause nothing is done.",
		Example: "  starter resume\n  starter resume ws-1",
		Args:    optionalID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.changePause(cmd.Context(), http.MethodDelete, args, nil, nil); err != nil {
				return err
			}
			if a.json {
				a.writeJSON(map[string]string{"status": "resumed", "storeId": strings.Join(args, "")})
			} else {
				a.printf("resumed: %s\n", scopeOf(args))
			}
			return nil
		},
	}
}

func (a *app) changePause(ctx context.Context, method string, args []string, body, into any) error {
	e, err := a.edge()
	if err != nil {
		return err
	}
	path := "/admin/pause"
	if len(args) > 0 {
		path = "/stores/" + url.PathEscape(args[0]) + "/pause"
	}
	err = e.Do(ctx, method, path, body, into)
	if errors.Is(err, edgeclient.ErrNotFound) {
		return e.Unreachable("has no " + path)
	}
	return err
}

func (a *app) acknowledgeCommand() *cobra.Command {
	var body storemanager.Acknowledgement
	cmd := &cobra.Command{
		Use:   "acknowledge",
		Short: "Let stores be stopped again after the registry was lost",
		Long: `Let stores be stopped again after the registry was lost.

The registry (stores.db) was found to be new, older or another one than it should be: health says what was found. Its stores are
monitored again by a reconcile run, but holds, pauses and pending deletions may be gone. Until you say that this is known no store is
stopped, whoever asks. Put the holds back first. Without a loss nothing is done.`,
		Example: `  starter acknowledge --reason "the disk was replaced, holds are put back"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.trimReason(&body.Reason, &body.Actor); err != nil {
				return err
			}
			e, err := a.edge()
			if err != nil {
				return err
			}
			const path = "/admin/acknowledge-loss"
			err = e.Do(cmd.Context(), http.MethodPost, path, body, nil)
			switch {
			case errors.Is(err, edgeclient.ErrNotFound):
				return e.Unreachable("has no " + path)
			case err != nil:
				return err
			case a.json:
				a.writeJSON(map[string]string{"status": "acknowledged"})
			default:
				a.printf("acknowledged, whatever was lost: stores may be stopped\n")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&body.Reason, "reason", "", "why that is right, for the record (required)")
	cmd.Flags().StringVar(&body.Actor, "actor", "", actorUsage)
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that is not defined
	return cmd
}

// optionalID is storeID for a command that means all stores when no id is given.
func optionalID(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return storeID(cmd, args)
}

func scopeOf(args []string) string {
	if len(args) == 0 {
		return "all stores"
	}
	return args[0]
}
