package workflows_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"storekeeper/activities"
	"storekeeper/workflows"
)

// rounds runs a reconcile whose rounds find these plans, the last one again and again, and returns its report and what each
// round was asked.
func rounds(t *testing.T, in workflows.ReconcileInput, plans ...activities.Plan) (workflows.ReconcileReport, []activities.CompareInput) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	var asked []activities.CompareInput
	register := func(name string, fn any) { env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name}) }
	register("CompareLists", func(_ context.Context, c activities.CompareInput) (activities.Plan, error) {
		asked = append(asked, c)
		return plans[min(len(asked), len(plans))-1], nil
	})
	register("EnsureMissing", func(_ context.Context, c activities.EnsureMissingInput) (activities.EnsureMissingResult, error) {
		return activities.EnsureMissingResult{Added: len(c.IDs)}, nil
	})
	register("RequestDeletions", func(_ context.Context, c activities.RequestDeletionsInput) (activities.RequestDeletionsResult, error) {
		return activities.RequestDeletionsResult{Requested: len(c.IDs)}, nil
	})
	register("RecordRun", func(context.Context, activities.RecordInput) error { return nil })
	env.ExecuteWorkflow(workflows.ReconcileWorkspaces, in)
	require.NoError(t, env.GetWorkflowError())
	var report workflows.ReconcileReport
	require.NoError(t, env.GetWorkflowResult(&report))
	return report, asked
}

func TestAnotherRoundComesOnlyWhenAListWasFull(t *testing.T) {
	t.Parallel()
	full := slices.Repeat([]string{"some-store"}, activities.MaxPlanned)
	for name, tt := range map[string]struct {
		plan   activities.Plan
		rounds int
	}{
		"a paused store is counted and not in the list": {activities.Plan{MissingCount: 1, OrphanCount: 1, Orphans: []string{"orphan"}}, 1},
		"a mode that removes nothing":                   {activities.Plan{MissingCount: 1, Missing: []string{"one"}, OrphanCount: 5}, 1},
		"all of it was in the list":                     {activities.Plan{MissingCount: activities.MaxPlanned, Missing: full}, 1},
		"more was missing":                              {activities.Plan{MissingCount: activities.MaxPlanned + 1, Missing: full}, 2},
		"more was orphaned":                             {activities.Plan{OrphanCount: activities.MaxPlanned + 1, Orphans: full}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report, asked := rounds(t, workflows.ReconcileInput{Confirm: true}, tt.plan, activities.Plan{})
			require.Len(t, asked, tt.rounds)
			require.Equal(t, tt.rounds, report.Rounds)
		})
	}
}

func TestAnApprovalCoversThePlanThatItNamesAlone(t *testing.T) {
	t.Parallel()
	full := slices.Repeat([]string{"some-store"}, activities.MaxPlanned)
	approved := workflows.ReconcileInput{Confirm: true, ApprovedPlan: "feed"}
	plan := activities.Plan{Hash: "feed", OrphanCount: 90, Orphans: []string{"o"}, MissingCount: activities.MaxPlanned + 1, Missing: full}
	_, asked := rounds(t, approved, plan, activities.Plan{})
	require.Equal(t, 89, asked[1].ApprovedOrphans, "one was handed over")
	require.Empty(t, asked[1].ApprovedPlan)

	// A worker of an older version knows no PlanChanged: it answers with a tripped guard.
	plan.Hash, plan.Guard, plan.Orphans = "other", "tripped", nil
	_, asked = rounds(t, approved, plan, activities.Plan{})
	require.Zero(t, asked[1].ApprovedOrphans)
	require.Empty(t, asked[1].ApprovedPlan)
}
