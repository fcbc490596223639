package workflows_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
	"storekeeper/workflows"
)

// rounds runs a reconcile whose rounds find these plans, the last one again and again, and returns its report and what each
// round was asked.
func rounds(t *testing.T, in contract.ReconcileInput, plans ...contract.Plan) (contract.ReconcileReport, []contract.CompareInput) {
	t.Helper()
	return roundsThat(t, contract.EnsureMissingResult{}, in, plans...)
}

// roundsThat is rounds whose every repair comes to this, and adds all that it is asked for.
func roundsThat(
	t *testing.T, ensured contract.EnsureMissingResult, in contract.ReconcileInput, plans ...contract.Plan,
) (contract.ReconcileReport, []contract.CompareInput) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	var asked []contract.CompareInput
	register := func(name string, fn any) { env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name}) }
	register("CompareLists", func(_ context.Context, c contract.CompareInput) (contract.Plan, error) {
		asked = append(asked, c)
		return plans[min(len(asked), len(plans))-1], nil
	})
	register("EnsureMissing", func(_ context.Context, c contract.EnsureMissingInput) (contract.EnsureMissingResult, error) {
		ensured.Added = len(c.IDs) - ensured.Left
		return ensured, nil
	})
	register("RequestDeletions", func(_ context.Context, c contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
		return contract.RequestDeletionsResult{Requested: len(c.IDs)}, nil
	})
	register("RecordRun", func(context.Context, contract.RecordInput) error { return nil })
	env.ExecuteWorkflow(workflows.ReconcileWorkspaces, in)
	require.NoError(t, env.GetWorkflowError())
	var report contract.ReconcileReport
	require.NoError(t, env.GetWorkflowResult(&report))
	return report, asked
}

func TestAnotherRoundComesOnlyWhenThePlanSaysWhereItGoesOn(t *testing.T) {
	t.Parallel()
	full := slices.Repeat([]string{"some-store"}, contract.MaxPlanned)
	for name, tt := range map[string]struct {
		plan   contract.Plan
		rounds int
	}{
		"a paused store is counted and not in the list": {contract.Plan{MissingCount: 1, OrphanCount: 1, Orphans: []string{"orphan"}}, 1},
		"a mode that removes nothing":                   {contract.Plan{MissingCount: 1, Missing: []string{"one"}, OrphanCount: 5}, 1},
		"all of it was in the list":                     {contract.Plan{MissingCount: contract.MaxPlanned, Missing: full}, 1},
		"more was missing": {contract.Plan{
			MissingCount: contract.MaxPlanned + 1, Missing: full, Next: contract.Cursor{Missing: "some-store", Orphans: "~"},
		}, 2},
		"more was orphaned": {contract.Plan{
			OrphanCount: contract.MaxPlanned + 1, Orphans: full, Next: contract.Cursor{Missing: "~", Orphans: "some-store"},
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report, asked := rounds(t, contract.ReconcileInput{Confirm: true}, tt.plan, contract.Plan{})
			require.Len(t, asked, tt.rounds)
			require.Equal(t, tt.rounds, report.Rounds)
		})
	}
}

func TestARoundIsToldWhereTheOneBeforeHasGotTo(t *testing.T) {
	t.Parallel()
	next := contract.Cursor{Missing: "m", Orphans: "o"}
	listAt := time.Date(2020, 11, 24, 12, 0, 0, 0, time.UTC)
	plan := contract.Plan{
		Mode: contract.ModeFull, ListAt: listAt, Hash: "feed", RestHash: "beef", Released: true, OrphanCount: 90, Orphans: []string{"o"}, Next: next,
	}
	report, asked := rounds(t, contract.ReconcileInput{Confirm: true, ApprovedPlan: "feed"}, plan, contract.Plan{Mode: contract.ModeFull})
	require.Len(t, asked, 2)
	require.Equal(t, contract.Cursor{}, asked[0].After)
	require.Equal(t, next, asked[1].After)
	require.Equal(t, "beef", asked[1].ApprovedPlan, "exactly what is left of the approved plan")
	require.Equal(t, listAt, asked[1].RunStartedAt, "sightings of this run, by the clock that they have, don't confirm themselves")
	require.Equal(t, contract.GuardApproved, report.GuardVerdict)

	plan.Released = false
	_, asked = rounds(t, contract.ReconcileInput{Confirm: true, ApprovedPlan: "feed"}, plan, contract.Plan{})
	require.Empty(t, asked[1].ApprovedPlan, "what needed no approval has none to give")
}

func TestAPauseInTheMiddleOfARunEndsIt(t *testing.T) {
	t.Parallel()
	plan := contract.Plan{Mode: contract.ModeFull, Missing: []string{"one"}, Next: contract.Cursor{Missing: "one", Orphans: "~"}}
	report, asked := roundsThat(t, contract.EnsureMissingResult{Left: 7, Paused: "ops: repair"}, contract.ReconcileInput{Confirm: true}, plan, contract.Plan{})
	require.Len(t, asked, 1)
	require.Equal(t, 7, report.Left)
	require.Equal(t, "ops: repair", report.Paused)
}

func TestLifecyclesThatCouldNotBeToldAreLeftForTheNextRun(t *testing.T) {
	t.Parallel()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	registerRepair(env, contract.Plan{Mode: contract.ModeFull, PendingCount: 5, ListedAgain: []string{"one", "two"}, ListedAgainCount: 2})
	env.RegisterActivityWithOptions(func(context.Context) (contract.ResumeResult, error) {
		return contract.ResumeResult{Resumed: 1, Restored: 1, Failed: 3}, nil
	}, activity.RegisterOptions{Name: contract.ActivityResumeDeletions, DisableAlreadyRegisteredCheck: true})
	env.RegisterActivityWithOptions(func(context.Context, contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
		return contract.RequestDeletionsResult{Requested: 1, Failed: 1}, nil
	}, activity.RegisterOptions{Name: contract.ActivityEndDeletions, DisableAlreadyRegisteredCheck: true})
	env.ExecuteWorkflow(workflows.ReconcileWorkspaces, contract.ReconcileInput{Confirm: true})
	require.NoError(t, env.GetWorkflowError())
	var report contract.ReconcileReport
	require.NoError(t, env.GetWorkflowResult(&report))
	require.Equal(t, 4, report.Left)
	require.Equal(t, []int{1, 1, 1}, []int{report.Resumed, report.Restored, report.ListedAgain})
}

// Workers of the versions before go on with a run by the marker of this gate, so new histories must bear it.
func TestARunLooksAfterDeletionsBehindTheGateThatHistoriesBear(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		version workflow.Version
		resumed int
	}{
		"a new run":                  {1, 1},
		"a run from before the gate": {workflow.DefaultVersion, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestWorkflowEnvironment()
			registerRepair(env, contract.Plan{Mode: contract.ModeFull, PendingCount: 1})
			env.RegisterActivityWithOptions(func(context.Context) (contract.ResumeResult, error) {
				return contract.ResumeResult{Resumed: 1}, nil
			}, activity.RegisterOptions{Name: contract.ActivityResumeDeletions, DisableAlreadyRegisteredCheck: true})
			env.OnGetVersion("look-after-deletions", workflow.DefaultVersion, workflow.Version(1)).Return(tt.version).Once()
			env.ExecuteWorkflow(workflows.ReconcileWorkspaces, contract.ReconcileInput{Confirm: true})
			require.NoError(t, env.GetWorkflowError())
			var report contract.ReconcileReport
			require.NoError(t, env.GetWorkflowResult(&report))
			require.Equal(t, tt.resumed, report.Resumed)
			env.AssertExpectations(t)
		})
	}
}
