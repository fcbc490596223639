package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/temporalclient"
)

func (a *app) driftCommand() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "Show what differs now between the Auth Worker's list and what is monitored",
		Long: `Show what differs now between the Auth Worker's list and what is monitored. Nothing is changed.

Exit code 0 when nothing is to be repaired, else 8. What reconciliation leaves alone is shown and does not count: stores that are
held, pinned, younger than the list, paused themselves, or on their way out, and listed ids that can be no store's or differ
from a monitored store's in case alone. With --strict all of these count. A pause of all stores hides nothing: what it keeps from
being repaired counts. So does everything that the guard keeps back.`,
		Example: "  starter drift\n  starter drift --strict\n  starter drift --json | jq -r '.items[] | select(.action != \"skip\").storeId'",
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
			n := plan.DriftCount
			if strict {
				n = plan.differing()
			}
			if n == 0 && plan.Guard == "" {
				return nil
			}
			return exit.Fail(exit.Drift, "drift", "there is drift, stores: "+strconv.Itoa(n), "starter reconcile --plan shows what a run would do")
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "count what reconciliation leaves alone, too")
	return cmd
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
	return fmt.Sprintf("plan %s; to carry out exactly this: starter reconcile --apply %s --reason R", p.Hash, p.Hash)
}

// lookAtBoth is what to do about a guard that no approval releases.
const lookAtBoth = "look at the Auth Worker's list, and whether the store manager lists all its stores"

// obstacle is why no plan can be carried out now, and what to do about it; "" if nothing stands in the way.
func obstacle(mode contract.Mode, paused string, orphans int) string {
	switch {
	case paused != "": // a run only looks then, whatever its mode
		return "reconciliation is paused; first: starter resume --reason R"
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
	// DriftCount is how many stores are to be repaired.
	DriftCount int `json:"driftCount"`
}

func showable(p contract.Plan) shownPlan {
	shown := shownPlan{Plan: p, Items: append([]contract.PlanItem{}, p.Items...)}
	actions := contract.Actions()
	slices.SortStableFunc(shown.Items, func(a, b contract.PlanItem) int {
		return slices.Index(actions, a.Action) - slices.Index(actions, b.Action)
	})
	shown.Missing, shown.Orphans, shown.Plan.Items = nil, nil, nil
	shown.DriftCount = shown.drift()
	return shown
}

// drift counts the stores that are to be repaired. First sightings are among them: the next list decides about them.
func (p shownPlan) drift() int {
	n := p.count(contract.ActionCreate) + p.OrphanCount + p.FirstSightings + p.AdoptCount + p.ListedAgainCount
	if p.Guard != "" && p.AuthoritativeCount == 0 { // the plan counts no orphans then
		n = p.differing()
	}
	return n
}

// differing counts the stores in which the sides differ, even those that a run would leave alone.
func (p shownPlan) differing() int {
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
	defer c.Close()
	if err := c.RequireWorker(ctx); err != nil {
		return shownPlan{}, err
	}
	waitCtx, cancel := a.waitContext(ctx, bounded)
	defer cancel()
	plan, err := a.awaitPlan(waitCtx, c)
	switch {
	case err != nil && ctx.Err() != nil:
		return shownPlan{}, exit.Interruption("nothing was changed", "")
	case bounded && err != nil && temporalclient.TimedOut(err):
		return shownPlan{}, exit.Fail(exit.Unreachable, "unreachable", fmt.Sprintf("there is no plan after %s", a.timeout), "give it a longer --timeout")
	case err != nil:
		return shownPlan{}, planFailure(c.Failure(err))
	}
	return showable(plan), nil
}

func (a *app) awaitPlan(ctx context.Context, c *temporalclient.Connection) (contract.Plan, error) {
	run, err := c.StartPlan(ctx)
	if err != nil {
		return contract.Plan{}, err
	}
	stop := a.progress(ctx, "the plan", func(ctx context.Context) *contract.Progress {
		p, _ := run.Progress(ctx) // an outage shows in the wait itself
		return p
	})
	defer stop()
	return run.Wait(ctx)
}

// planFailure does not send anybody to the Web UI: Temporal has forgotten the plan.
func planFailure(err error) error {
	f, ok := errors.AsType[*exit.Failure](err)
	switch {
	case ok && f.Code == "unauthorized" && f.Todo == exit.SeeWebUI:
		f.Todo = "the worker's SERVER_BYPASS_TOKEN must be the one that the Auth Worker and the store manager take"
	case ok && f.Todo == exit.SeeWebUI:
		f.Todo = "the log of the worker says more"
	}
	return err
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
	switch {
	case p.Guard != "":
	case p.differing() == 0:
		a.printf("        no difference\n")
	case p.DriftCount == 0:
		a.printf("        nothing to repair: what differs is left alone\n")
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
