package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/temporal"

	"storekeeper/internal/orchestrator"
	"storekeeper/workflows"
)

// planHash is what activities name a plan with.
var planHash = regexp.MustCompile(`^[0-9a-f]{16}$`)

// reconcileResult is what reconcile writes with --json; status and result are those of POST /admin/reconcile.
type reconcileResult struct {
	Status string `json:"status"`
	RunID  string `json:"runId"`
	// Result is nil unless the run was waited for.
	Result *workflows.ReconcileReport `json:"result,omitempty"`
}

func (a *app) reconcileCommand() *cobra.Command {
	var wait, plan bool
	var approved string
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare the Auth Worker's list with what is monitored, and repair the difference",
		Long: `Compare the Auth Worker's list with what is monitored, and repair the difference. At most one run exists: with --wait a
run that is under way is joined.

Missing stores are added at once. A store that two consecutive lists lack gets a deletion with the full grace period. When a
plan would remove too many, the guard holds all removals back (exit code 6) until the plan is approved with --apply and the
hash that the report names.

--plan shows what a run would do, and its hash. --apply HASH does exactly that; when the world has changed since, nothing is
done (exit code 5, plan_changed).

Without this CLI:
  temporal schedule trigger --schedule-id workspace-reconcile
  temporal schedule toggle --schedule-id workspace-reconcile --pause --reason "…"`,
		Example: "  starter reconcile --wait\n  starter reconcile --plan\n  starter reconcile --wait --apply 3f9a61c2d07b45e8",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if approved != "" && !planHash.MatchString(approved) {
				return usageError(fmt.Sprintf("--apply %.40q is no plan hash: 16 hexadecimal digits, as the report of a run names it", approved))
			}
			if plan {
				return a.showPlan(cmd.Context(), cmd.Flags().Changed("timeout"))
			}
			in := workflows.ReconcileInput{Trigger: workflows.TriggerManual, Confirm: true, ApprovedPlan: approved}
			return a.reconcile(cmd.Context(), in, wait || approved != "", cmd.Flags().Changed("timeout"))
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the report (bounded only by an explicit --timeout)")
	cmd.Flags().StringVar(&approved, "apply", "", "the hash of the plan to carry out, exactly or not at all; waits like --wait")
	cmd.Flags().BoolVar(&plan, "plan", false, "show what a run would do, and change nothing")
	cmd.MarkFlagsMutuallyExclusive("plan", "wait")
	cmd.MarkFlagsMutuallyExclusive("plan", "apply")
	return cmd
}

func (a *app) reconcile(ctx context.Context, in workflows.ReconcileInput, wait, bounded bool) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	// A run under way has not heard of an approval, and a script that does not wait must hear that nothing was started.
	start := c.StartReconcile
	if wait && in.ApprovedPlan == "" {
		start = c.JoinReconcile
	}
	startCtx, cancel := context.WithTimeout(ctx, a.timeout)
	run, err := start(startCtx, in)
	cancel()
	switch {
	case errors.Is(err, orchestrator.ErrReconcileRunning):
		return &failure{exitRefused, "reconcile_running", "a reconcile run is under way already", "starter reconcile --wait joins it"}
	case err != nil:
		return c.failure(err)
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
func (a *app) reconciled(ctx context.Context, c *connection, run orchestrator.ReconcileRun, bounded bool) error {
	waitCtx, cancel := a.waitContext(ctx, bounded)
	defer cancel()
	stop := a.progress(waitCtx, "reconcile run "+run.ID(), func(ctx context.Context) *workflows.ReconcileProgress {
		p, _ := c.ReconcileProgress(ctx, run) // the wait itself tells of an outage
		return p
	})
	report, err := run.Wait(waitCtx)
	stop()
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok && app.Type() == workflows.ErrTypePlanChanged {
		return &failure{exitRefused, "plan_changed", app.Message(), "look at it again: starter reconcile --plan"}
	}
	if err != nil {
		return c.waitFailure(ctx, err, "the reconcile run goes on by itself", "starter reconcile --wait joins it again")
	}
	if a.json {
		a.writeJSON(reconcileResult{Status: "completed", RunID: run.ID(), Result: &report})
	} else {
		a.printReport(report)
	}
	if report.Guard == "" {
		return nil
	}
	todo := "check the Auth Worker"
	if report.PlanHash != "" {
		todo += "; if the removals are right: starter reconcile --wait --apply " + report.PlanHash
	}
	return &failure{exitGuard, "guard_tripped", "the guard holds the removals back: " + report.Guard, todo}
}

func (a *app) printReport(r workflows.ReconcileReport) {
	a.printf("reconciled in %s, %d listed, %d monitored\n",
		time.Duration(r.DurationMs)*time.Millisecond, r.AuthoritativeCount, r.MonitoredCount)
	if r.Mode != "" && r.Mode != workflows.ModeFull {
		a.printf("        mode %s\n", r.Mode)
	}
	if r.Paused != "" {
		a.printf("        paused by %s: nothing was repaired\n", plain(r.Paused))
	}
	a.printCounts([]countRow{
		{r.Added, "added"},
		{r.Adopted, "adopted, which someone monitored before us"},
		{r.Stale, "listed but not added, for a newer deletion is known"},
		{r.Removed, "to be removed after the grace period"},
		{r.FirstSightings, "not listed for the first time; a second list decides"},
		{r.FailedRemovals, "failed to be handed over for removal"},
		{r.FailedAdds, "failed to be added"},
	})
	for _, f := range r.Failing {
		line := f.StoreID + ": " + plain(f.Error)
		if f.NextAttemptAt != nil {
			line += "; next attempt " + moment(*f.NextAttemptAt)
		}
		a.printf("        %s\n", line)
	}
	a.printCounts(skippedRows(r.Skipped))
	if r.QuarantinedCount > 0 {
		a.printf("%6d  listed with an id that can be no store's: %q\n", r.QuarantinedCount, r.Quarantined)
	}
	if r.DriftCount == 0 && r.QuarantinedCount == 0 {
		a.printf("        nothing to repair\n")
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	a.printf("        fetch %s, compare %s, ensure %s, remove %s\n",
		ms(r.Phases.FetchMs), ms(r.Phases.CompareMs), ms(r.Phases.EnsureMs), ms(r.Phases.RemoveMs))
}

// countRow is so many of what.
type countRow struct {
	count int
	what  string
}

// printCounts leaves out what there is none of.
func (a *app) printCounts(rows []countRow) {
	for _, row := range rows {
		if row.count > 0 {
			a.printf("%6d  %s\n", row.count, row.what)
		}
	}
}

func skippedRows(s workflows.Skipped) []countRow {
	return []countRow{
		{s.Pending, "not listed, deletion pending"},
		{s.Held, "not listed, but held"},
		{s.Pinned, "not listed, but pinned by STORE_IDS"},
		{s.TooYoung, "not listed, but younger than the list"},
		{s.Paused, "different, but paused"},
	}
}
