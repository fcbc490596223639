package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"storekeeper/contract"
)

func (a *app) driftCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "drift",
		Short: "Show what differs now between the Auth Worker's list and what is monitored",
		Long: `Show what differs now between the Auth Worker's list and what is monitored. Nothing is changed.

Exit code 0 when both sides are equal, else 8. Stores that reconciliation leaves alone differ too: those that are held, pinned
or paused, and those whose deletion is pending.`,
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
			n := plan.drift()
			if n == 0 && plan.Guard == "" {
				return nil
			}
			return &failure{exitDrift, "drift", "there is drift, stores: " + strconv.Itoa(n), "starter reconcile --plan shows what a run would do"}
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
	if plan.Hash != "" || plan.Guard != "" {
		a.printf("\n%s\n", plan.offer())
	}
	return nil
}

// offer says how the plan is carried out, or what stands in the way.
func (p shownPlan) offer() string {
	why := obstacle(p.Mode, p.Paused, p.OrphanCount)
	switch {
	case p.Guard != "" && !p.Approvable && !p.KeptBack: // kept back: the removals wait for a second list, what is only added does not
		return "no approval releases the removals: " + lookAtBoth
	case why != "":
		return "this can't be carried out: " + why
	}
	return fmt.Sprintf("plan %s; to carry out exactly this: starter reconcile --apply %s", p.Hash, p.Hash)
}

// lookAtBoth is what to do about a guard that no approval releases.
const lookAtBoth = "look at the Auth Worker's list, and whether the store manager lists all its stores"

// obstacle is why no plan can be carried out now, and what to do about it; "" if nothing stands in the way.
func obstacle(mode contract.Mode, paused string, orphans int) string {
	switch {
	case paused != "": // a run only looks then, whatever its mode
		return "reconciliation is paused; first: starter resume"
	case mode == contract.ModeObserve, mode == contract.ModeCreateOnly && orphans > 0:
		return "the worker's RECONCILE_MODE is " + string(mode) + ", and must be " + string(contract.ModeFull)
	}
	return ""
}

// shownPlan is a plan as the CLI shows it, without the bounded lists of ids, which say less than the items.
type shownPlan struct {
	contract.Plan
	// Items are never null, and those that change most come first.
	Items []contract.PlanItem `json:"items"`
}

func showable(p contract.Plan) shownPlan {
	shown := shownPlan{Plan: p, Items: append([]contract.PlanItem{}, p.Items...)}
	actions := contract.Actions()
	slices.SortStableFunc(shown.Items, func(a, b contract.PlanItem) int {
		return slices.Index(actions, a.Action) - slices.Index(actions, b.Action)
	})
	shown.Missing, shown.Orphans, shown.Plan.Items = nil, nil, nil
	return shown
}

// drift counts the stores in which the sides differ, even those that a run would leave alone.
func (p shownPlan) drift() int {
	return p.MissingCount + p.unlisted() + p.AdoptCount + p.QuarantinedCount + p.SetAsideCount + p.ListedAgainCount
}

// unlisted counts the stores that are monitored and not listed. It is computed from the totals, for the plan counts these stores only by
// what becomes of them, and counts none when the list is empty.
func (p shownPlan) unlisted() int {
	listedAndMonitored := p.AuthoritativeCount - p.MissingCount - p.SetAsideCount
	return p.MonitoredCount - listedAndMonitored
}

// count is how many stores the plan has the action for; its items may be fewer.
func (p shownPlan) count(action contract.Action) int {
	s := p.Skipped
	switch action {
	case contract.ActionDelete:
		return p.OrphanCount
	case contract.ActionCreate:
		// Paused stores may be missing or unlisted.
		pausedUnlisted := p.unlisted() - (p.OrphanCount + p.FirstSightings + s.Held + s.Pinned + s.Pending + s.TooYoung)
		return p.MissingCount - max(0, s.Paused-pausedUnlisted)
	case contract.ActionAdopt:
		return p.AdoptCount
	case contract.ActionKeep:
		return p.ListedAgainCount
	case contract.ActionSkip:
		return p.FirstSightings + s.Held + s.Pinned + s.Pending + s.TooYoung + s.Paused + p.QuarantinedCount
	}
	return 0
}

// plan asks Temporal what a run would do now.
func (a *app) plan(ctx context.Context, bounded bool) (shownPlan, error) {
	c, err := a.dial(ctx)
	if err != nil {
		return shownPlan{}, err
	}
	defer c.close()
	if err := c.requireWorker(ctx); err != nil {
		return shownPlan{}, err
	}
	waitCtx, cancel := a.waitContext(ctx, bounded)
	defer cancel()
	stop := a.progress(waitCtx, "the plan", nil)
	plan, err := c.PlanReconcile(waitCtx)
	stop()
	switch {
	case err != nil && ctx.Err() != nil:
		return shownPlan{}, interrupted("nothing was changed", "")
	case bounded && err != nil && timedOut(err):
		return shownPlan{}, &failure{exitUnreachable, "unreachable", fmt.Sprintf("there is no plan after %s", a.timeout), "give it a longer --timeout"}
	case err != nil:
		return shownPlan{}, c.failure(err)
	}
	return showable(plan), nil
}

func (a *app) printPlan(p shownPlan) {
	a.printf("%d listed, %d monitored, mode %s\n", p.AuthoritativeCount, p.MonitoredCount, p.Mode)
	if p.Paused != "" {
		a.printf("        paused by %s: a run repairs nothing\n", p.Paused)
	}
	a.printCounts([]countRow{
		{p.MissingCount, "listed and not monitored"},
		{p.AdoptCount, "monitored by someone before us, to be adopted"},
		{p.OrphanCount, "not listed twice, to be removed after the grace period"},
		{p.FirstSightings, "not listed for the first time; a second list decides"},
	})
	a.printCounts(skippedRows(p.Skipped))
	a.printCounts([]countRow{
		{p.ListedAgainCount, "listed again, whose pending deletions end"},
		{p.QuarantinedCount, "listed with an id that can be no store's"},
		{p.SetAsideCount, "listed with an id that differs from a monitored store's in case alone, left alone"},
	})
	if p.Guard != "" {
		a.printf("        the guard: %s\n", p.Guard)
	}
	if p.drift() == 0 && p.Guard == "" {
		a.printf("        no difference\n")
	}
	if len(p.Items) == 0 {
		return
	}
	const row = "%-36s  %-6s  %s\n"
	a.printf("\n"+row, "ID", "ACTION", "REASON")
	shown := map[contract.Action]int{}
	for _, item := range p.Items {
		id := item.StoreID
		if item.Reason == contract.ReasonInvalidID {
			id = fmt.Sprintf("%.60q", id)
		}
		a.printf(row, id, item.Action, item.Reason)
		shown[item.Action]++
	}
	for _, action := range contract.Actions() {
		if left := p.count(action) - shown[action]; left > 0 {
			a.printf("and %d more to %s\n", left, action)
		}
	}
}
