package orchestrator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/temporalserver"
	"storekeeper/internal/worker"
)

// What a real server makes of priorities: the child workflow of the schedule's has its priority, and so have that one's activities.
// So the door stays open while nobody works them off. An event that waits is another matter.
func TestReconciliationThatNobodyWorksOffIsNoBacklog(t *testing.T) {
	t.Parallel()
	server, err := temporalserver.Start(t.Context(), temporalserver.Options{
		Listen: "127.0.0.1:0", SearchAttributes: orchestrator.SearchAttributes(),
	})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	temporal, err := client.DialContext(t.Context(), client.Options{HostPort: server.Addr()})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	orch := orchestrator.New(temporal, client.DefaultNamespace)

	// waitingActivities is how many activities that are repairs wait.
	waitingActivities := func() int64 {
		resp, err := temporal.WorkflowService().DescribeTaskQueue(t.Context(), &workflowservice.DescribeTaskQueueRequest{
			Namespace: client.DefaultNamespace, TaskQueue: &taskqueuepb.TaskQueue{Name: contract.TaskQueue},
			TaskQueueType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, ReportStats: true,
		})
		if err != nil {
			return 0
		}
		return resp.GetStatsByPriorityKey()[contract.PriorityRepair].GetApproximateBacklogCount()
	}
	eventually := func(says string, condition func() bool) {
		t.Helper()
		require.Eventually(t, condition, time.Minute, 20*time.Millisecond, says)
	}

	require.NoError(t, orch.EnsureSchedule(t.Context(), time.Hour, true))
	schedule := temporal.ScheduleClient().GetHandle(t.Context(), contract.ReconcileScheduleID)
	require.NoError(t, schedule.Trigger(t.Context(), client.ScheduleTriggerOptions{}))
	deciding := sdkworker.New(temporal, contract.TaskQueue, sdkworker.Options{LocalActivityWorkerOnly: true})
	worker.RegisterWorkflows(deciding)
	require.NoError(t, deciding.Start())
	// The server tells the same figures of a task queue for 5 s, so it is not asked for them too early.
	var child *workflowservice.DescribeWorkflowExecutionResponse
	eventually("the run compares", func() bool {
		child, err = temporal.DescribeWorkflowExecution(t.Context(), contract.ReconcileID, "")
		return err == nil && len(child.GetPendingActivities()) > 0
	})
	deciding.Stop()
	require.EqualValues(t, contract.PriorityRepair, child.GetWorkflowExecutionInfo().GetPriority().GetPriorityKey())
	eventually("the comparison waits", func() bool { return waitingActivities() > 0 })
	age, err := orch.Backlog(t.Context())
	require.NoError(t, err)
	require.Zero(t, age)

	require.NoError(t, orch.Signal(t.Context(), contract.Event{
		DeliveryID: "delivery", Type: contract.WorkspaceCreated, InstanceID: "some-store", Timestamp: time.Now(), Source: contract.SourceWebhook,
	}))
	eventually("the event counts", func() bool {
		age, err := orch.Backlog(t.Context())
		return err == nil && age > 0
	})
}
