package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/internal/cli/advice"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/term"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

func (a *app) healthCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "health", Short: "Show whether the system keeps its promise, why not, and what to do",
		Long: `Show on one screen whether the system keeps its promise, what is wrong and what to do about each, all pauses, the guard, the last run, stores,
workers, clocks and databases. Without a token it shows what the edge tells everybody.

Exit code 0 when it is healthy (warnings don't count), 9 when it is not, 3 when the edge can't be reached, 5 when it refuses the token.

With --watch it is shown anew every 2 s until Ctrl-C, which is exit code 0; without a terminal there is a line for each change.
With --json the edge's own answer is passed on.`,
		Example: "  starter health\n  starter health --watch\n  starter health --json | jq -r '.reasons[]'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.watch(cmd.Context(), func(ctx context.Context, a *app) ([]watched, error) { return a.watchedHealth(ctx) })
			}
			s, err := a.health(cmd.Context())
			if err != nil {
				return err
			}
			a.showHealth(s)
			return s.verdict()
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "show changes until Ctrl-C")
	return cmd
}

// healthSeen is what the edge says of itself and of pauses.
type healthSeen struct {
	api.Health
	raw json.RawMessage
	// pauses are nil when they are not known, which pausesErr may explain.
	pauses    []api.PauseState
	pausesErr error
}

func (a *app) health(ctx context.Context) (s healthSeen, err error) {
	e, err := a.edge()
	if err != nil {
		return s, err
	}
	if s.raw, s.Health, err = e.Health(ctx); err != nil {
		return s, err
	}
	if e.Token == "" {
		return s, nil
	}
	var answer api.PausesAnswer
	if s.pausesErr = e.Get(ctx, "/admin/pause", &answer); s.pausesErr == nil {
		s.pauses = append([]api.PauseState{}, answer.Pauses...)
	} else if errors.Is(s.pausesErr, edgeclient.ErrNotFound) {
		s.pausesErr = nil // an older edge, whose warnings tell of pauses
	}
	return s, nil
}

// verdict is nil for a system that is healthy.
func (s healthSeen) verdict() error {
	if f, ok := errors.AsType[*exit.Failure](s.pausesErr); ok && f.Exit == exit.Refused {
		return f
	}
	if n := len(s.Reasons); s.Status != "healthy" {
		return exit.Fail(exit.Wrong, "unhealthy", fmt.Sprintf("the system does not keep its promise, reasons: %d", n), "")
	}
	return nil
}

// headline is the verdict in words.
func (s healthSeen) headline() string {
	if s.Status == "healthy" {
		return "healthy"
	}
	return fmt.Sprintf("NOT healthy: %s", countOf(len(s.Reasons), "reason"))
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// watchedHealth is a line for the verdict, and one for each reason, warning and pause.
func (a *app) watchedHealth(ctx context.Context) ([]watched, error) {
	s, err := a.health(ctx)
	if err != nil {
		return nil, err
	}
	value := func(key, line string) watched {
		v, _ := json.Marshal(map[string]string{"id": key, "text": line}) // texts alone
		return watched{key: key, line: line, value: v}
	}
	all := []watched{value("verdict", s.headline())}
	for _, reason := range s.Reasons {
		all = append(all, value("reason "+reason, reason))
	}
	for _, warning := range s.Warnings {
		all = append(all, value("warning "+warning, "warning: "+warning))
	}
	for _, p := range s.pauses {
		all = append(all, value("pause "+string(p.Kind)+" "+p.StoreID, pauseWords(p)))
	}
	return all, a.show(func(a *app) error {
		a.showHealth(s)
		return nil
	})
}

func (a *app) showHealth(s healthSeen) {
	if a.json {
		a.print(string(s.raw) + "\n")
		return
	}
	screen := a.screen()
	style := term.Green
	if s.Status != "healthy" {
		style = term.Red
	}
	a.print(screen.Paint(style, text.Plain(s.headline())))
	if n := len(s.Warnings); n > 0 {
		a.print(", " + screen.Paint(term.Yellow, countOf(n, "warning")))
	}
	a.printf("\n")
	a.printAdvice(screen, term.Red, s.Reasons)
	a.printAdvice(screen, term.Yellow, s.Warnings)
	a.printf("\n")
	a.printHealthPauses(s)
	a.printRuns(s)
	a.printStores(s.Orchestrator)
	a.printInstallation(s)
}

// printAdvice shows what is wrong, and what to do about each.
func (a *app) printAdvice(screen term.Screen, style term.Style, lines []string) {
	for _, line := range lines {
		a.print("  " + screen.Paint(style, text.Plain(line)) + "\n    do: " + text.Plain(advice.For(line)) + "\n")
	}
}

func (a *app) printHealthPauses(s healthSeen) {
	paused := s.Reconciliation.Paused
	switch {
	case len(s.pauses) > 0:
		a.print(a.pauseTable(s.pauses))
	case s.pauses != nil:
		a.printf("pauses     none\n")
	case s.pausesErr != nil:
		a.printf("pauses     not known: %s\n", s.pausesErr.Error())
	case paused != nil && *paused:
		a.printf("pauses     reconciliation is paused; a token shows by whom and why\n")
	case paused != nil:
		a.printf("pauses     not of all stores\n")
	default:
		a.printf("pauses     not known\n")
	}
}

// guardWarning begins what /health says of a guard that keeps removals back.
const guardWarning = "reconciliation: the guard holds back removals"

func (a *app) printRuns(s healthSeen) {
	i := slices.IndexFunc(s.Warnings, func(w string) bool { return strings.HasPrefix(w, guardWarning) })
	if i < 0 {
		a.printf("guard      keeps nothing back\n")
	} else {
		a.printf("guard      holds back removals%s\n           look, and approve: starter reconcile --plan\n", strings.TrimPrefix(s.Warnings[i], guardWarning))
	}
	r := s.Reconciliation
	at := r.LastRunCompletedAt
	if at == nil {
		a.printf("last run   none is known\n")
		return
	}
	outcome := "succeeded"
	if r.LastError != nil && !r.LastError.Timestamp.Before(*at) {
		outcome = "failed: " + r.LastError.Message
	}
	if last := r.LastResult; last != nil && outcome == "succeeded" {
		outcome += fmt.Sprintf(": %d listed, %d added, %d to be removed, drift %d", last.AuthoritativeCount, last.Added, last.Removed, last.DriftCount)
	}
	a.printf("last run   %s %s\n", text.Moment(*at), outcome)
	if t := r.LastSuccessAt; t != nil && strings.HasPrefix(outcome, "failed") {
		a.printf("           the last one that succeeded: %s\n", text.Moment(*t))
	}
}

func (a *app) printStores(o *api.StoreTotals) {
	if o == nil {
		a.printf("stores     not known: the store manager can't be asked\n")
		return
	}
	var states []string
	for _, c := range storemanager.ConnectionStates() {
		if n := o.Connections[c]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, c))
		}
	}
	a.printf("stores     %d monitored", o.MonitoredCount)
	if len(states) > 0 {
		a.printf(": %s", strings.Join(states, ", "))
	}
	a.printf("; %d deletion pending, %d held, %d pinned\n", o.DeletionPending, o.Held, o.Pinned)
}

func (a *app) printInstallation(s healthSeen) {
	i := s.Installation
	if i == nil {
		a.printf("version    %s, up %s\n", s.Version, text.Short(time.Duration(s.UptimeSeconds)*time.Second))
		return
	}
	if i.Workers == nil {
		a.printf("workers    not known: Temporal can't be asked\n")
	} else {
		byVersion := map[string]int{}
		for _, w := range i.Workers {
			byVersion[cmp.Or(w.Version, "an older version")]++
		}
		var all []string
		for _, version := range slices.Sorted(maps.Keys(byVersion)) {
			all = append(all, fmt.Sprintf("%d of %s", byVersion[version], version))
		}
		a.printf("workers    %s\n", cmp.Or(strings.Join(all, ", "), "none"))
	}
	a.printf("versions   edge %s, up %s", s.Version, text.Short(time.Duration(s.UptimeSeconds)*time.Second))
	if i.StoreManagerVersion != "" {
		a.printf("; store manager %s", i.StoreManagerVersion)
	}
	a.printf("; %s\n", map[bool]string{true: "NOT all the same", false: "all the same"}[i.VersionSkew])
	if ms := i.StoreManagerAheadMs; ms != nil {
		a.printf("clocks     the store manager's is %s ahead of the edge's\n", time.Duration(*ms)*time.Millisecond)
	} else {
		a.printf("clocks     one process, or not known\n")
	}
	if len(i.Databases) == 0 {
		a.printf("databases  in memory, or not known\n")
	}
	for n, db := range i.Databases {
		title := ""
		if n == 0 {
			title = "databases"
		}
		a.printf("%-10s %s %.1f MiB, %.1f of %.1f GiB free\n", title, db.Name, float64(db.Bytes)/(1<<20), float64(db.DiskFree)/(1<<30), float64(db.DiskSize)/(1<<30))
	}
}
