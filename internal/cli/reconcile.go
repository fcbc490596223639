package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/temporalclient"
	"storekeeper/internal/cli/term"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
)

// planHash is the form of a plan's hash.
var planHash = regexp.MustCompile(`^[0-9a-f]{16}$`)

// reconcileResult is what reconcile writes with --json; status and result are those of POST /admin/reconcile.
type reconcileResult struct {
	Status string `json:"status"`
	RunID  string `json:"runId"`
	// Result is nil unless the run was waited for.
	Result *contract.ReconcileReport `json:"result,omitempty"`
}

func (a *app) reconcileCommand() *cobra.Command {
	var wait, plan bool
	var approved string
	var by asker
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare the Auth Worker's list with what is monitored, and repair the difference",
		Long: `Compare the Auth Worker's list with what is monitored, and repair the difference. At most one run exists: with --wait a
run that is under way is joined.

Missing stores are added at once. A store that two consecutive lists lack gets a deletion with the full grace period. When a
plan would remove too many, the guard holds all removals back (exit code 6) until the plan is approved with --apply and the
hash that the report names.

--plan shows what a run would do, and its hash. --apply HASH does exactly that; when the world has changed since, or the plan
can't be carried out, nothing is done (exit code 5, plan_changed).

A run that could not add, or hand over for removal, all that it should ends --wait and --apply with exit code 8; what failed is
for the next run.

Without this CLI:
  temporal schedule trigger --schedule-id workspace-reconcile
  temporal schedule toggle --schedule-id workspace-reconcile --pause --reason "…"`,
		Example: "  starter reconcile --wait\n  starter reconcile --plan\n  starter reconcile --apply 3f9a61c2d07b45e8 --reason \"the customers have left\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			apply := cmd.Flags().Changed("apply") // even if it is "": an unset variable must not start a run without approval
			if apply && !planHash.MatchString(approved) {
				return exit.UsageError(fmt.Sprintf("--apply %.40q is no plan hash: 16 hexadecimal digits, as the report of a run names it", approved))
			}
			if plan {
				return a.showPlan(cmd.Context(), cmd.Flags().Changed("timeout"))
			}
			if apply {
				if err := a.trimReason(&by); err != nil {
					return err
				}
			} else if err := a.nameActor(&by.actor); err != nil {
				return err
			}
			in := contract.ReconcileInput{
				Trigger: contract.TriggerManual, Actor: by.actor, Confirm: true, ApprovedPlan: approved, Origin: by.origin(cmd.Context()),
			}
			in.Origin.Plan = approved
			return a.reconcile(cmd.Context(), in, wait || apply, cmd.Flags().Changed("timeout"))
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the report (bounded only by an explicit --timeout)")
	cmd.Flags().StringVar(&approved, "apply", "", "the hash of the plan to carry out, exactly or not at all; waits like --wait")
	by.register(cmd, "(required with --apply)")
	cmd.Flags().BoolVar(&plan, "plan", false, "show what a run would do, and change nothing")
	cmd.MarkFlagsMutuallyExclusive("plan", "wait")
	cmd.MarkFlagsMutuallyExclusive("plan", "apply")
	return cmd
}

func (a *app) reconcile(ctx context.Context, in contract.ReconcileInput, wait, bounded bool) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if wait {
		if err := c.RequireWorker(ctx); err != nil {
			return err
		}
	}
	// Join a run that is under way only to wait for it. It does not know of an approval, and without --wait the caller must learn that no run
	// was started.
	start := c.StartReconcile
	if wait && in.ApprovedPlan == "" {
		start = c.JoinReconcile
	}
	startCtx, cancel := context.WithTimeout(ctx, a.timeout)
	run, err := start(startCtx, in)
	cancel()
	switch {
	case errors.Is(err, orchestrator.ErrReconcileRunning):
		todo := "starter reconcile --wait joins it"
		if in.ApprovedPlan != "" {
			todo = "it has not heard of the approval: wait for its end, and then again: starter reconcile --apply " + in.ApprovedPlan + " --reason R"
		}
		return exit.Fail(exit.Refused, "reconcile_running", "a reconcile run is under way already", todo)
	case err != nil:
		return c.Failure(err)
	}
	if !wait {
		if a.json {
			a.writeJSON(reconcileResult{Status: "started", RunID: run.ID()})
		} else {
			a.printf("reconcile run %s started; starter reconcile --wait shows its report\n", run.ID())
		}
		return nil
	}
	return a.reconciled(ctx, c, run, bounded)
}

// reconciled waits for a run and shows its report.
func (a *app) reconciled(ctx context.Context, c *temporalclient.Connection, run orchestrator.ReconcileRun, bounded bool) error {
	waitCtx, cancel := a.waitContext(ctx, bounded)
	defer cancel()
	stop := a.progress(waitCtx, "reconcile run "+run.ID(), func(ctx context.Context) *contract.Progress {
		p, _ := c.ReconcileProgress(ctx, run) // an outage shows in the wait itself
		return p
	})
	report, err := run.Wait(waitCtx)
	stop()
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok && app.Type() == contract.ErrTypePlanChanged {
		// The message says why: the world has changed, or something stands in the way.
		return exit.Fail(exit.Refused, "plan_changed", app.Message(), "look at it again: starter reconcile --plan")
	}
	if err != nil {
		return c.WaitFailure(ctx, err, "the reconcile run goes on by itself", "starter reconcile --wait joins it again")
	}
	if a.json {
		a.writeJSON(reconcileResult{Status: "completed", RunID: run.ID(), Result: &report})
	} else {
		a.printReport(report)
	}
	return conclusion(report)
}

// conclusion is nil if the run has done all that it should.
func conclusion(r contract.ReconcileReport) error {
	if r.Guard != "" {
		todo := lookAtBoth
		if r.PlanHash != "" {
			todo = "check the Auth Worker; if the removals are right: starter reconcile --wait --apply " + r.PlanHash + " --reason R"
			if why := obstacle(r.Mode, r.Paused, r.Orphaned); why != "" {
				todo += "; but " + why
			}
		}
		return exit.Fail(exit.Guard, "guard_tripped", "the guard holds the removals back: "+r.Guard, todo)
	}
	if failed := r.FailedAdds + r.FailedRemovals; failed+r.Left > 0 {
		return exit.Fail(
			exit.Drift, "incomplete", fmt.Sprintf("the run could not do all: %d stores failed, %d are left", failed, r.Left),
			"the next run goes on; starter drift shows what differs",
		)
	}
	return nil
}

func (a *app) printReport(r contract.ReconcileReport) {
	a.printf("reconciled in %s, %d listed, %d monitored\n",
		time.Duration(r.DurationMs)*time.Millisecond, r.AuthoritativeCount, r.MonitoredCount)
	if r.Mode != "" && r.Mode != contract.ModeFull {
		a.printf("        mode %s\n", r.Mode)
	}
	if r.Paused != "" {
		a.printf("        paused by %s: the rest was not repaired\n", r.Paused)
	}
	a.printCounts([]countRow{
		{r.Added, "added"},
		{r.Adopted, "adopted, which someone monitored before us"},
		{r.Stale, "listed but not added, for a newer deletion is known"},
		{r.Removed, "to be removed after the grace period"},
		{r.ListedAgain, "listed again, whose pending deletions end"},
		{r.Resumed, "pending deletions that nobody waited for go on"},
		{r.Restored, "pending deletions that lifecycles put back into a registry that was lost"},
		{r.FirstSightings, "not listed for the first time; a second list decides"},
		{keptBack(r), "held back by the guard"},
		{r.Left, "left for the next run"},
		{r.FailedRemovals, "failed to be handed over for removal"},
		{r.FailedAdds, "failed to be added"},
	})
	for _, f := range r.Failing {
		line := f.StoreID + ": " + f.Error
		if f.NextAttemptAt != nil {
			line += "; next attempt " + text.Moment(*f.NextAttemptAt)
		}
		a.printf("        %s\n", line)
	}
	if more := r.FailedAdds - len(r.Failing); more > 0 && len(r.Failing) > 0 {
		a.printf("        and %d more\n", more)
	}
	a.printCounts(skippedRows(r.Skipped))
	if r.QuarantinedCount > 0 {
		a.printf("%6d  listed with an id that can be no store's: %q\n", r.QuarantinedCount, r.Quarantined)
	}
	if r.SetAsideCount > 0 {
		a.printf("%6d  listed with an id that differs from a monitored store's in case alone, left alone: %q\n", r.SetAsideCount, r.SetAside)
	}
	if r.DriftCount+r.Adopted+r.FailedAdds+r.Stale+r.QuarantinedCount+r.SetAsideCount+r.ListedAgain+r.Resumed+r.Restored == 0 && r.Guard == "" {
		a.printf("        nothing to repair\n")
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	a.printf("        fetch %s, compare %s, ensure %s, remove %s\n",
		ms(r.Phases.FetchMs), ms(r.Phases.CompareMs), ms(r.Phases.EnsureMs), ms(r.Phases.RemoveMs))
}

// keptBack counts the orphans that a tripped guard has kept back. It is 0 when the list is empty, for then no store counts as unlisted.
func keptBack(r contract.ReconcileReport) int {
	if r.Guard == "" {
		return 0
	}
	return max(0, r.Orphaned-r.Removed-r.FailedRemovals)
}

// countRow is a line of a report: how many stores, and what they are.
type countRow struct {
	count int
	what  string
}

// printCounts prints the rows whose count is not 0.
func (a *app) printCounts(rows []countRow) {
	for _, row := range rows {
		if row.count > 0 {
			a.printf("%6d  %s\n", row.count, row.what)
		}
	}
}

func skippedRows(s contract.Skipped) []countRow {
	return []countRow{
		{s.Pending, "not listed, deletion pending"},
		{s.Held, "not listed, but held"},
		{s.Pinned, "not listed, but pinned by STORE_IDS"},
		{s.TooYoung, "not listed, but younger than the list"},
		{s.Paused, "different, but paused"},
	}
}

func (a *app) runsCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "runs", Short: "List the reconcile runs that are kept",
		Long: `List the last 50 reconcile runs, newest first, as the edge gives them.

With --watch they are shown anew every 2 s until Ctrl-C, which is exit code 0; without a terminal there is a line for each new one.`,
		Example: "  starter runs\n  starter runs --watch\n  starter runs --json | jq -r '.runs[] | select(.error).runId'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.watch(cmd.Context(), func(ctx context.Context, a *app) ([]watched, error) { return a.runs(ctx) })
			}
			_, err := a.runs(cmd.Context())
			return err
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "show changes until Ctrl-C")
	return cmd
}

// runs shows the runs, and returns them oldest first, for a watch.
func (a *app) runs(ctx context.Context) ([]watched, error) {
	e, err := a.edge()
	if err != nil {
		return nil, err
	}
	var raw json.RawMessage
	const path = "/admin/reconcile/runs"
	if err := e.Get(ctx, path, &raw); errors.Is(err, edgeclient.ErrNotFound) {
		return nil, e.Unreachable("has no " + path)
	} else if err != nil {
		return nil, err
	}
	var answer api.ReconcileRuns
	if json.Unmarshal(raw, &answer) != nil {
		return nil, e.Unreachable("does not answer as Storekeeper does")
	}
	table := term.Table{Screen: a.screen(), Columns: []term.Column{
		{Title: "STARTED"}, {Title: "TOOK"}, {Title: "BY", Least: 8}, {Title: "LISTED"}, {Title: "ADDED"}, {Title: "REMOVED"}, {Title: "OUTCOME", Least: 12}, {Title: "RUN", Least: 8},
	}}
	rows := make([][]term.Cell, len(answer.Runs))
	all := make([]watched, len(answer.Runs))
	for i, run := range answer.Runs {
		rows[i] = runRow(run)
		texts := make([]string, 0, len(rows[i]))
		for _, cell := range rows[i] {
			texts = append(texts, cell.Text)
		}
		value, _ := json.Marshal(run) // it was JSON
		all[len(all)-1-i] = watched{key: run.RunID, line: strings.Join(texts, "  "), value: value}
	}
	return all, a.show(func(a *app) error {
		switch {
		case a.json:
			a.writeJSON(raw)
		case len(rows) == 0:
			a.printf("no runs\n")
		default:
			a.print(table.Lines(rows))
		}
		return nil
	})
}

func runRow(run storemanager.ReconcileRun) []term.Cell {
	var r contract.ReconcileReport
	_ = json.Unmarshal(run.Report, &r) // the rest of the run is known without
	outcome := term.Cell{Text: "done", Style: term.Green}
	switch {
	case run.Error != "":
		outcome = term.Cell{Text: text.Plain("failed: " + run.Error), Style: term.Red}
	case r.Guard != "":
		outcome = term.Cell{Text: text.Plain("the guard holds removals back: " + r.Guard), Style: term.Red}
	case r.Paused != "":
		outcome = term.Cell{Text: text.Plain("paused by " + r.Paused), Style: term.Yellow}
	case r.FailedAdds+r.FailedRemovals+r.Left > 0:
		outcome = term.Cell{Text: fmt.Sprintf("%d failed, %d left", r.FailedAdds+r.FailedRemovals, r.Left), Style: term.Yellow}
	}
	by := strings.TrimSpace(r.Trigger + " " + r.Actor)
	took := run.CompletedAt.Sub(run.StartedAt).Round(time.Millisecond).String()
	return []term.Cell{
		{Text: run.StartedAt.UTC().Format(time.RFC3339)},
		{Text: took},
		{Text: text.Plain(by)},
		{Text: strconv.Itoa(r.AuthoritativeCount)},
		{Text: strconv.Itoa(r.Added)},
		{Text: strconv.Itoa(r.Removed)},
		outcome,
		{Text: text.Plain(run.RunID)},
	}
}
