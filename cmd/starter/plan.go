package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"storekeeper/workflows"
)

func (a *app) driftCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "drift",
		Short: "Show what differs now between the Auth Worker's list and what is monitored",
		Long: `Show what differs now between the Auth Worker's list and what is monitored. Nothing is changed.

Exit code 0 without drift, 8 with drift, or when the guard would hold a run back.`,
		Example: "  starter drift\n  starter drift --json | jq -r '.items[] | select(.action != \"skip\").storeId'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := a.plan(cmd.Context(), cmd.Flags().Changed("timeout"))
			if err != nil {
				return err
			}
			if a.json {
				a.writeJSON(plan)
			} else {
				a.printPlan(plan)
			}
			drift := plan.MissingCount + plan.OrphanCount + plan.FirstSightings
			if drift == 0 && plan.Guard == "" {
				return nil
			}
			return &failure{exitDrift, "drift", fmt.Sprintf("there is drift: %d stores", drift), "starter reconcile --plan shows what a run would do"}
		},
	}
}

func (a *app) showPlan(ctx context.Context, bounded bool) error {
	plan, err := a.plan(ctx, bounded)
	if err != nil {
		return err
	}
	if a.json {
		a.writeJSON(plan)
		return nil
	}
	a.printPlan(plan)
	if plan.Hash != "" {
		a.printf("\nplan %s; to carry out exactly this: starter reconcile --apply %s\n", plan.Hash, plan.Hash)
	}
	return nil
}

// plan asks for what a run would do now. It leaves out the bounded lists of ids, which say less than the items.
func (a *app) plan(ctx context.Context, bounded bool) (workflows.Plan, error) {
	c, err := a.dial(ctx)
	if err != nil {
		return workflows.Plan{}, err
	}
	defer c.close()
	askCtx, cancelAsk := context.WithTimeout(ctx, a.timeout)
	err = c.WorkersPolling(askCtx) // without one the plan would never come
	cancelAsk()
	if err != nil {
		return workflows.Plan{}, c.failure(err)
	}
	waitCtx, cancel := a.waitContext(ctx, bounded)
	defer cancel()
	stop := a.progress(waitCtx, "the plan", nil)
	plan, err := c.PlanReconcile(waitCtx)
	stop()
	switch {
	case err != nil && ctx.Err() != nil:
		return workflows.Plan{}, interrupted("nothing was changed", "")
	case errors.Is(waitCtx.Err(), context.DeadlineExceeded) && err != nil:
		return workflows.Plan{}, &failure{exitUnreachable, "unreachable", fmt.Sprintf("there is no plan after %s", a.timeout), "give it a longer --timeout"}
	case err != nil:
		return workflows.Plan{}, c.failure(err)
	}
	plan.Missing, plan.Orphans = nil, nil
	return plan, nil
}

func (a *app) printPlan(p workflows.Plan) {
	a.printf("%d listed, %d monitored, mode %s\n", p.AuthoritativeCount, p.MonitoredCount, p.Mode)
	if p.Paused != "" {
		a.printf("        paused by %s: a run repairs nothing\n", plain(p.Paused))
	}
	a.printCounts([]countRow{
		{p.MissingCount, "listed and not monitored"},
		{p.AdoptCount, "monitored by someone before us, to be adopted"},
		{p.OrphanCount, "not listed twice, to be removed after the grace period"},
		{p.FirstSightings, "not listed for the first time; a second list decides"},
	})
	a.printCounts(skippedRows(p.Skipped))
	a.printCounts([]countRow{{p.QuarantinedCount, "listed with an id that can be no store's"}})
	if p.Guard != "" {
		a.printf("        the guard: %s\n", p.Guard)
	}
	if len(p.Items) == 0 {
		a.printf("        no difference\n")
		return
	}
	const row = "%-36s  %-6s  %s\n"
	a.printf("\n"+row, "ID", "ACTION", "REASON")
	for _, item := range p.Items {
		id := item.StoreID
		if item.Reason == workflows.ReasonInvalidID {
			id = fmt.Sprintf("%.60q", id)
		}
		a.printf(row, id, item.Action, item.Reason)
	}
	if len(p.Items) == workflows.MaxPlanItems {
		a.printf("these are the first %d; the counts are of all\n", workflows.MaxPlanItems)
	}
}
