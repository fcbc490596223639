package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/internal/cli/duration"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/term"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

func (a *app) pauseCommand() *cobra.Command {
	var by asker
	var of targets
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "pause [ID…]",
		Short: "Make reconciliation leave all stores alone, or some; or show all pauses",
		Long: `Without an argument or a flag: show all that keeps reconciliation from working, whoever made it: pauses like these, that of Temporal's
schedule, and WORKSPACE_RECONCILE_ENABLED.

With --reason: make reconciliation leave all stores alone, or those that are named. Events are applied all the same; runs go on, and
only look. Without --for the pause lasts until resume. A new pause replaces the one before it.` + severalHelp,
		Example: "  starter pause\n  starter pause --reason \"the Auth Worker is being moved\" --for 2h\n  starter pause ws-1 --reason \"under repair\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			asks := func(flag string) bool { return cmd.Flags().Changed(flag) }
			if len(args) == 0 && !of.given() && !slices.ContainsFunc([]string{"reason", "for", "actor"}, asks) {
				return a.showPauses(cmd.Context())
			}
			if err := a.trimReason(&by); err != nil {
				return err
			}
			body := api.PauseRequest{Reason: by.reason, Actor: by.actor}
			if asks("for") && lasts <= 0 {
				return exit.UsageError("--for must be more than 0")
			}
			if lasts > 0 {
				body.ExpiresAt = new(time.Now().UTC().Add(lasts))
			}
			ids, err := a.optionallyTargeted(cmd.Context(), of, "pause", args)
			switch {
			case err != nil:
				return err
			case len(ids) > 1:
				return a.bulk(cmd, of, "pause", api.ActionRequest{Reason: body.Reason, Actor: body.Actor, ExpiresAt: body.ExpiresAt}, ids)
			}
			return a.pause(cmd.Context(), ids, body)
		},
	}
	by.register(cmd, "(required, but to show pauses)")
	duration.Var(cmd.Flags(), &lasts, "for", 0, "how long the pause lasts (default until resumed)")
	of.register(cmd)
	return cmd
}

// pause pauses one store, or all for no id.
func (a *app) pause(ctx context.Context, ids []string, body api.PauseRequest) error {
	var p storemanager.Pause
	if err := a.changePause(ctx, http.MethodPut, ids, nil, body, &p); err != nil {
		return tooShort(err, body.ExpiresAt)
	}
	if a.json {
		a.writeJSON(p)
	} else {
		a.printf("paused %s: %s\n", untilWhen(p.ExpiresAt), scopeOf(ids))
	}
	return nil
}

func untilWhen(expires *time.Time) string {
	if expires == nil {
		return "until resumed"
	}
	return "until " + text.Moment(*expires)
}

// showPauses shows all pauses that are in force.
func (a *app) showPauses(ctx context.Context) error {
	e, err := a.edge()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := e.Get(ctx, "/admin/pause", &raw); errors.Is(err, edgeclient.ErrNotFound) {
		return e.Unreachable("can't show pauses: it is older than this starter")
	} else if err != nil {
		return err
	}
	var answer api.PausesAnswer
	switch {
	case json.Unmarshal(raw, &answer) != nil:
		return e.Unreachable("does not answer as Storekeeper does")
	case a.json:
		a.writeJSON(raw)
	case len(answer.Pauses) == 0:
		a.printf("reconciliation is not paused\n")
	default:
		a.print(a.pauseTable(answer.Pauses))
	}
	return nil
}

// pauseTable shows pauses: what keeps reconciliation from what, who made it, why and until when.
func (a *app) pauseTable(pauses []api.PauseState) string {
	table := term.Table{Screen: a.screen(), Columns: []term.Column{
		{Title: "PAUSED", Least: 8}, {Title: "BY"}, {Title: "WHO", Least: 6}, {Title: "WHY", Least: 8}, {Title: "SINCE", Optional: 1}, {Title: "UNTIL", Least: 8},
	}}
	rows := make([][]term.Cell, len(pauses))
	for i, p := range pauses {
		since := ""
		if p.Since != nil {
			since = text.Moment(*p.Since)
		}
		until := "resumed"
		switch {
		case p.ExpiresAt != nil:
			until = text.Moment(*p.ExpiresAt)
		case p.Kind == api.PauseSetting:
			until = "the setting is changed"
		}
		scope := term.Cell{Text: text.Plain(cmp.Or(p.StoreID, "all stores"))}
		if p.StoreID == "" {
			scope.Style = term.Yellow
		}
		rows[i] = []term.Cell{scope, {Text: text.Plain(string(p.Kind))}, {Text: text.Plain(p.Actor)}, {Text: text.Plain(p.Reason)}, {Text: since}, {Text: until}}
	}
	return table.Lines(rows)
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
	var by asker
	var of targets
	cmd := &cobra.Command{
		Use: "resume [ID…]", Short: "End the pause of all stores, or of some, and say what remains",
		Long: `End the pauses of all stores, that of Temporal's schedule too, or those of the stores that are named; pauses of single stores stay when
none is named. It says what it ended, and what keeps reconciliation from working all the same. Without a pause nothing is done.` + severalHelp,
		Example: "  starter resume --reason \"moved\"\n  starter resume ws-1 --reason \"repaired\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.trimReason(&by); err != nil {
				return err
			}
			ids, err := a.optionallyTargeted(cmd.Context(), of, "resume", args)
			switch {
			case err != nil:
				return err
			case len(ids) > 1:
				return a.bulk(cmd, of, "resume", api.ActionRequest{Reason: by.reason, Actor: by.actor}, ids)
			}
			return a.resume(cmd.Context(), ids, by)
		},
	}
	by.register(cmd, reasonRequired)
	of.register(cmd)
	return cmd
}

// resumed is what resume writes with --json.
type resumed struct {
	Status  string `json:"status"`
	StoreID string `json:"storeId"`
	api.ResumeAnswer
}

// resume ends the pause of one store, or that of all for no id.
func (a *app) resume(ctx context.Context, ids []string, by asker) error {
	answer := resumed{Status: "resumed", StoreID: strings.Join(ids, "")}
	query := url.Values{"actor": {by.actor}, "reason": {by.reason}}
	if err := a.changePause(ctx, http.MethodDelete, ids, query, nil, &answer.ResumeAnswer); err != nil {
		return err
	}
	if a.json {
		a.writeJSON(answer)
		return nil
	}
	a.printf("resumed: %s\n", scopeOf(ids))
	if len(answer.Ended) == 0 {
		a.printf("  there was no pause\n")
	}
	for _, p := range answer.Ended {
		a.printf("  ended: %s\n", pauseWords(p))
	}
	for _, p := range answer.Remaining {
		a.printf("  remains: %s\n    %s\n", pauseWords(p), pauseTodo(p))
	}
	return nil
}

// pauseWords is a pause in one line.
func pauseWords(p api.PauseState) string {
	words := map[api.PauseKind]string{api.PauseSchedule: "the pause of Temporal's schedule", api.PauseSetting: "the setting"}[p.Kind]
	if words == "" {
		words = "the pause of " + cmp.Or(p.StoreID, "all stores")
	}
	if p.Actor != "" {
		words += " by " + p.Actor
	}
	if p.Since != nil {
		words += " since " + text.Moment(*p.Since)
	}
	if p.ExpiresAt != nil {
		words += " until " + text.Moment(*p.ExpiresAt)
	}
	return words + ": " + cmp.Or(p.Reason, "nobody says why")
}

// pauseTodo is what ends a pause.
func pauseTodo(p api.PauseState) string {
	switch {
	case p.Kind == api.PauseSetting:
		return "set WORKSPACE_RECONCILE_ENABLED=true at the edges and the workers, and restart them"
	case p.StoreID == "":
		return "it is one of all stores: starter resume --reason R"
	}
	return "starter resume " + p.StoreID + " --reason R"
}

// changePause changes the pause of one store, or that of all for no id.
func (a *app) changePause(ctx context.Context, method string, ids []string, query url.Values, body, into any) error {
	e, err := a.edge()
	if err != nil {
		return err
	}
	path := "/admin/pause"
	if len(ids) > 0 {
		path = "/stores/" + url.PathEscape(ids[0]) + "/pause"
	}
	full := path
	if len(query) > 0 {
		full += "?" + query.Encode()
	}
	err = e.Do(ctx, method, full, body, into)
	if errors.Is(err, edgeclient.ErrNotFound) {
		return e.Unreachable("has no " + path)
	}
	return err
}

func (a *app) acknowledgeCommand() *cobra.Command {
	var by asker
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
			if err := a.trimReason(&by); err != nil {
				return err
			}
			e, err := a.edge()
			if err != nil {
				return err
			}
			const path = "/admin/acknowledge-loss"
			err = e.Do(cmd.Context(), http.MethodPost, path, api.Acknowledgement{Reason: by.reason, Actor: by.actor}, nil)
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
	by.register(cmd, reasonRequired)
	return cmd
}

func scopeOf(args []string) string {
	if len(args) == 0 {
		return "all stores"
	}
	return args[0]
}
