package orchestrator_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	sdkworker "go.temporal.io/sdk/worker"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/temporalserver"
	"storekeeper/internal/worker"
)

// The comparison is a fake. All else is real, for a server forgets in its own time.
func TestTemporalForgetsAPlanThatIsGivenRefusedOrGivenUp(t *testing.T) {
	t.Parallel()
	server, err := temporalserver.Start(t.Context(), temporalserver.Options{
		Listen: "127.0.0.1:0", SearchAttributes: orchestrator.SearchAttributes(),
	})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	sdk, err := client.DialContext(t.Context(), client.Options{HostPort: server.Addr()})
	require.NoError(t, err)
	t.Cleanup(sdk.Close)
	w := sdkworker.New(sdk, contract.TaskQueue, sdkworker.Options{MaxHeartbeatThrottleInterval: 100 * time.Millisecond})
	worker.RegisterWorkflows(w)
	answers, ended := make(chan error), make(chan struct{}, 1)
	w.RegisterActivityWithOptions(func(ctx context.Context, in contract.CompareInput) (contract.Plan, error) {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case err := <-answers:
				return contract.Plan{AuthoritativeCount: 7}, err
			case <-tick.C:
				activity.RecordHeartbeat(ctx, contract.Progress{Phase: contract.PhaseFetch, Done: 3000})
			case <-ctx.Done():
				tick.Stop()
				ended <- struct{}{}
				return contract.Plan{}, ctx.Err()
			}
		}
	}, activity.RegisterOptions{Name: contract.ActivityCompareLists})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	orch := orchestrator.New(sdk, client.DefaultNamespace)
	start := func() orchestrator.PlanRun {
		t.Helper()
		run, err := orch.StartPlan(t.Context())
		require.NoError(t, err)
		return run
	}

	given := start()
	require.Eventually(t, func() bool {
		p, err := given.Progress(t.Context())
		return err == nil && p != nil && p.Done == 3000
	}, 20*time.Second, 20*time.Millisecond, "how far it is can be seen while it is under way")
	answers <- nil
	plan, err := given.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, plan.AuthoritativeCount)

	refused := start()
	answers <- temporal.NewNonRetryableApplicationError("refused", contract.ErrTypeUnauthorized, nil)
	_, err = refused.Wait(t.Context())
	require.ErrorContains(t, err, "refused")

	givenUp := start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = givenUp.Wait(ctx)
	require.ErrorContains(t, err, context.DeadlineExceeded.Error())
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		require.Fail(t, "the comparison goes on though nobody waits for it")
	}

	require.Eventually(t, func() bool {
		list, err := sdk.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
			Query: "WorkflowType = '" + contract.TypePlanReconcile + "'",
		})
		return err == nil && len(list.GetExecutions()) == 0
	}, 5*time.Minute, 100*time.Millisecond, "the Web UI shows none of them") // a server deletes what has ended after 30 s at the earliest
}
