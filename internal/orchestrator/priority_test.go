package orchestrator_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
)

// ExecuteWorkflow takes the options, and starts nothing.
func (f *fakeTemporal) ExecuteWorkflow(_ context.Context, options client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	f.options = options
	return noRun{}, nil
}

// ScheduleClient takes the schedule.
func (f *fakeTemporal) ScheduleClient() client.ScheduleClient { return fakeSchedules{f: f} }

// WorkflowService answers for the task queue.
func (f *fakeTemporal) WorkflowService() workflowservice.WorkflowServiceClient { return f.service }

type noRun struct{ client.WorkflowRun }

func (noRun) Get(context.Context, any) error { return nil }

type fakeSchedules struct {
	client.ScheduleClient
	f *fakeTemporal
}

func (s fakeSchedules) Create(_ context.Context, options client.ScheduleOptions) (client.ScheduleHandle, error) {
	s.f.action = options.Action.(*client.ScheduleWorkflowAction)
	return nil, nil //nolint:nilnil // a schedule that is made has no use for the handle
}

// fakeService tells of a task queue.
type fakeService struct {
	workflowservice.WorkflowServiceClient
	queues map[enumspb.TaskQueueType]*workflowservice.DescribeTaskQueueResponse
	err    error
}

func (s *fakeService) DescribeTaskQueue(_ context.Context, in *workflowservice.DescribeTaskQueueRequest, _ ...grpc.CallOption) (
	*workflowservice.DescribeTaskQueueResponse, error,
) {
	if s.err != nil {
		return nil, s.err
	}
	if in.GetNamespace() != "ours" || in.GetTaskQueue().GetName() != contract.TaskQueue || !in.GetReportStats() {
		return nil, errors.New("another question was expected")
	}
	return s.queues[in.GetTaskQueueType()], nil
}

func TestAllReconciliationGivesWayToEvents(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(c *orchestrator.Client) error{
		"a run that is started": func(c *orchestrator.Client) error {
			_, err := c.StartReconcile(t.Context(), contract.ReconcileInput{})
			return err
		},
		"a run that is joined": func(c *orchestrator.Client) error {
			_, err := c.JoinReconcile(t.Context(), contract.ReconcileInput{})
			return err
		},
		"a run that is requested": func(c *orchestrator.Client) error {
			return c.RequestReconcile(t.Context(), contract.ReconcileInput{})
		},
		"a plan": func(c *orchestrator.Client) error {
			_, err := c.StartPlan(t.Context())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temporal := &fakeTemporal{}
			require.NoError(t, start(orchestrator.New(temporal, "ours")))
			require.Equal(t, contract.PriorityRepair, temporal.options.Priority.PriorityKey)
		})
	}
	t.Run("a run of the schedule's", func(t *testing.T) {
		t.Parallel()
		temporal := &fakeTemporal{}
		require.NoError(t, orchestrator.New(temporal, "ours").EnsureSchedule(t.Context(), time.Minute, true))
		require.Equal(t, contract.PriorityRepair, temporal.action.Priority.PriorityKey)
	})
}

func TestTheBacklogIsTheAgeOfTheOldestEvent(t *testing.T) {
	t.Parallel()
	const byWorkflows, byActivities = enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY
	stats := func(seconds int) *taskqueuepb.TaskQueueStats {
		age := time.Duration(seconds) * time.Second
		return &taskqueuepb.TaskQueueStats{ApproximateBacklogCount: 1, ApproximateBacklogAge: durationpb.New(age)}
	}
	// queue is as a server tells of it: all together, and by priority.
	queue := func(all int, byPriority map[int32]int) *workflowservice.DescribeTaskQueueResponse {
		resp := &workflowservice.DescribeTaskQueueResponse{Stats: stats(all)}
		for priority, seconds := range byPriority {
			if resp.StatsByPriorityKey == nil {
				resp.StatsByPriorityKey = map[int32]*taskqueuepb.TaskQueueStats{}
			}
			resp.StatsByPriorityKey[priority] = stats(seconds)
		}
		return resp
	}
	for name, tc := range map[string]struct {
		workflows, activities *workflowservice.DescribeTaskQueueResponse
		want                  time.Duration
	}{
		"nothing waits":                        {queue(0, map[int32]int{3: 0}), queue(0, map[int32]int{3: 0}), 0},
		"an event waits for its workflow":      {queue(7, map[int32]int{3: 7}), queue(0, nil), 7 * time.Second},
		"an event waits for its activity":      {queue(2, map[int32]int{3: 2}), queue(9, map[int32]int{3: 9}), 9 * time.Second},
		"repairs alone wait":                   {queue(300, map[int32]int{5: 300}), queue(200, map[int32]int{5: 200}), 0},
		"repairs wait longer than an event":    {queue(300, map[int32]int{3: 4, 5: 300}), queue(200, map[int32]int{5: 200}), 4 * time.Second},
		"what comes before events waits":       {queue(6, map[int32]int{1: 6, 3: 1}), queue(0, nil), 6 * time.Second},
		"the server knows no priorities":       {queue(8, nil), queue(5, nil), 8 * time.Second},
		"and its activities wait the longest":  {queue(1, nil), queue(5, nil), 5 * time.Second},
		"the server knows no statistics":       {&workflowservice.DescribeTaskQueueResponse{}, &workflowservice.DescribeTaskQueueResponse{}, 0},
		"a repair of the least priority waits": {queue(50, map[int32]int{3: 0, 4: 3, 6: 50}), queue(0, nil), 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := &fakeService{queues: map[enumspb.TaskQueueType]*workflowservice.DescribeTaskQueueResponse{
				byWorkflows: tc.workflows, byActivities: tc.activities,
			}}
			age, err := orchestrator.New(&fakeTemporal{service: service}, "ours").Backlog(t.Context())
			require.NoError(t, err)
			require.Equal(t, tc.want, age)
		})
	}
	_, err := orchestrator.New(&fakeTemporal{service: &fakeService{err: errors.New("down")}}, "ours").Backlog(t.Context())
	require.ErrorIs(t, err, orchestrator.ErrUnavailable)
}
