package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/contract"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/temporalclient"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/config"
	"storekeeper/internal/edge/api"
	"storekeeper/notifier"
)

// webhookSecret holds a sender's secrets and private keys here. At the edge the variable of this name holds the receiver's.
const webhookSecret = "WEBHOOK_SECRET"

// emitResult is what emit writes with --json.
type emitResult struct {
	InstanceID string `json:"instanceId"`
	DeliveryID string `json:"deliveryId"`
	// Attempts is how many requests it took.
	Attempts int `json:"attempts"`
	// Replayed: the edge had answered this delivery before, and did nothing now.
	Replayed bool `json:"replayed"`
	// HTTPStatus and Answer are the edge's last answer; Answer is nil when that was no JSON.
	HTTPStatus int             `json:"httpStatus"`
	Answer     json.RawMessage `json:"answer,omitempty"`
}

func (a *app) emitCommand() *cobra.Command {
	var user, at string
	cmd := &cobra.Command{
		Use:   "emit created|deleted ID",
		Short: "Send a webhook to the edge, as the Auth Worker does",
		Long: `Send the webhook workspace.created or workspace.deleted to the edge, as the Auth Worker does, and print the answer: for
trying secrets, keys and the way to the edge. Network errors, overload and 401 are tried again, 3 times in all, within --timeout.

The variable WEBHOOK_SECRET holds the sender's secrets, separated by commas: whsec_… signs, and so does whsk_… (the private
key of a whpk_… of the edge's); any other entry is a shared secret.

The same id, --user and --at make the same delivery: the edge answers it as it did the first time, and does nothing.`,
		Example: `  starter emit created ws-1
  starter emit deleted ws-1 --user 5d1f7a52 --at 2026-11-23T18:29:10.028Z`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 || args[0] != "created" && args[0] != "deleted" {
				return exit.UsageError("created or deleted is needed, and one store id")
			}
			return storeID(cmd, args[1:])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ev := notifier.Event{Type: notifier.Type("workspace." + args[0]), InstanceID: args[1], UserID: user, Timestamp: time.Now()}
			if at != "" {
				var err error
				if ev.Timestamp, err = time.Parse(time.RFC3339, at); err != nil {
					return exit.UsageError("--at is no RFC 3339 time such as 2026-11-23T18:29:10.028Z")
				}
			}
			if user == "" {
				return exit.UsageError("--user must not be empty")
			}
			return a.emit(cmd.Context(), ev)
		},
	}
	cmd.Flags().StringVar(&user, "user", "starter", "the id of the workspace's owner")
	cmd.Flags().StringVar(&at, "at", "", "when it happened, an RFC 3339 time (default now)")
	return cmd
}

// emit delivers the event and shows the answer.
func (a *app) emit(ctx context.Context, ev notifier.Event) error {
	e, sender, err := a.sender()
	if err != nil {
		return err
	}
	answer, err := sender.Deliver(ctx, ev)
	if errors.Is(err, notifier.ErrTimestamp) {
		return exit.UsageError("--at is not within the years 0 to 9999, in UTC")
	}
	if ctx.Err() != nil {
		return exit.Interruption("whether the event was taken is not known", "it can be repeated without harm")
	}
	if answer.Status != 0 {
		res := emitResult{
			InstanceID: ev.InstanceID, DeliveryID: answer.DeliveryID, Attempts: answer.Attempts, Replayed: answer.Replayed, HTTPStatus: answer.Status,
		}
		if json.Valid(answer.Body) {
			res.Answer = answer.Body
		}
		a.showEmitted(res)
	}
	return emitFailure(e, ev.InstanceID, answer, err)
}

// sender returns the edge and a notifier that sends to it.
func (a *app) sender() (*edgeclient.Client, *notifier.Notifier, error) {
	vars, err := config.Resolve(a.Environ, webhookSecret)
	if err != nil {
		return nil, nil, exit.UsageError(err.Error())
	}
	secret, _ := temporalclient.Environ(vars).LookupEnv(webhookSecret)
	if strings.TrimSpace(secret) == "" {
		return nil, nil, exit.Fail(exit.Refused, "not_configured", webhookSecret+" is not set", "set it to a secret or key of the sender's")
	}
	if why := config.Misspelt(secret); why != "" {
		return nil, nil, exit.UsageError(webhookSecret + " is not accepted: " + why)
	}
	e, err := a.edge()
	if err != nil {
		return nil, nil, err
	}
	n, err := notifier.New(notifier.Options{
		URL: e.URL + "/webhooks/workspaces", Secret: secret, ClientName: "starter", Budget: a.timeout, HTTPClient: &e.Client,
		Logger: slog.New(slog.DiscardHandler), // the outcome says it all
	})
	if err != nil {
		return nil, nil, exit.UsageError(webhookSecret + " is not accepted: " + err.Error())
	}
	return e, n, nil
}

// emitFailure is nil if the edge took the event and its outcome is known.
func emitFailure(e *edgeclient.Client, id string, answer notifier.Answer, err error) error {
	switch {
	case err == nil && answer.Status == http.StatusAccepted:
		return exit.NotYet("the event is stored and will be worked off", look(id))
	case err == nil:
		return nil
	case answer.Status == 0:
		return e.Unreachable(fmt.Sprintf("can't be reached (%s)", exit.Innermost(err)))
	case answer.Status == http.StatusUnauthorized:
		return exit.Fail(
			exit.Refused, "unauthorized", "the edge at "+e.URL+" knows neither the secret nor the signature",
			"the keys and secrets in WEBHOOK_SECRET must be those of the edge's, WEBHOOK_AUTH there must accept them, and both clocks be right",
		)
	case answer.Status >= 400 && answer.Status <= 499 && answer.Status != http.StatusTooManyRequests:
		var said api.Problem
		_ = json.Unmarshal(answer.Body, &said) // the failure needs no text
		return exit.Fail(exit.Refused, "invalid", fmt.Sprintf("the edge refused the event with status %d: %s", answer.Status, text.Plain(said.Error)), "")
	}
	return e.Unreachable(fmt.Sprintf("answers %d %s", answer.Status, http.StatusText(answer.Status)))
}

func (a *app) showEmitted(res emitResult) {
	if a.json {
		a.writeJSON(res)
		return
	}
	var said api.WebhookAnswer
	if json.Unmarshal(res.Answer, &said) == nil && said.Status != "" {
		a.showResult(eventResult{
			InstanceID: res.InstanceID, Result: contract.Result{Status: said.Status, DeleteAt: said.DeleteAt, Detail: said.Detail},
		})
	}
	a.printf("  status %d at attempt %d, delivery %s\n", res.HTTPStatus, res.Attempts, res.DeliveryID)
	if res.Replayed {
		a.printf("  answered before, nothing was done\n")
	}
}
