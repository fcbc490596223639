package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
	"storekeeper/workflows"
)

func TestTheWebUIShowsWhatARunFound(t *testing.T) {
	t.Parallel()
	const counts = "5 listed, 7 monitored; at first 1 missing, 2 orphans, 3 sighted for the first time"
	for name, tt := range map[string]struct {
		paused, guard string
		want          string
	}{
		"the counts":            {want: counts},
		"that the guard holds":  {guard: "too many", want: counts + "\n\n**The guard holds removals back:** too many"},
		"who paused it":         {paused: "ann: maintenance", want: counts + "\n\n**Paused** by ann: maintenance"},
		"one and the other too": {"ann: x", "too many", counts + "\n\n**Paused** by ann: x\n\n**The guard holds removals back:** too many"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestWorkflowEnvironment()
			registerRepair(env, contract.Plan{
				Mode: contract.ModeFull, AuthoritativeCount: 5, MonitoredCount: 7, MissingCount: 1, OrphanCount: 2, FirstSightings: 3, Guard: tt.guard, Paused: tt.paused,
			})
			// The details are the workflow's, so only a workflow can be asked for them here.
			var shown string
			env.ExecuteWorkflow(func(ctx workflow.Context) error {
				_, err := workflows.ReconcileWorkspaces(ctx, contract.ReconcileInput{Confirm: true})
				shown = workflow.GetCurrentDetails(ctx)
				return err
			})
			require.NoError(t, env.GetWorkflowError())
			require.Equal(t, tt.want, shown)
		})
	}
}
