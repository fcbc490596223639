package orchestrator_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workerpb "go.temporal.io/api/worker/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"storekeeper/internal/orchestrator"
)

// fakeWorkers is a Temporal that knows pollers and, unless it is old, the heartbeats of workers.
type fakeWorkers struct {
	client.Client
	pollers    map[enumspb.TaskQueueType][]*taskqueuepb.PollerInfo
	heartbeats []*workerpb.WorkerHeartbeat
	old        bool
}

func (f *fakeWorkers) WorkflowService() workflowservice.WorkflowServiceClient {
	return workersService{f: f}
}

type workersService struct {
	workflowservice.WorkflowServiceClient
	f *fakeWorkers
}

func (f *fakeWorkers) DescribeTaskQueue(_ context.Context, _ string, kind enumspb.TaskQueueType) (*workflowservice.DescribeTaskQueueResponse, error) {
	return &workflowservice.DescribeTaskQueueResponse{Pollers: f.pollers[kind]}, nil
}

func (s workersService) ListWorkers(_ context.Context, _ *workflowservice.ListWorkersRequest, _ ...grpc.CallOption) (
	*workflowservice.ListWorkersResponse, error,
) {
	if s.f.old {
		return nil, serviceerror.NewUnimplemented("unknown method ListWorkers")
	}
	var list []*workerpb.WorkerListInfo
	for _, h := range s.f.heartbeats {
		list = append(list, &workerpb.WorkerListInfo{WorkerInstanceKey: h.GetWorkerInstanceKey(), WorkerIdentity: h.GetWorkerIdentity()})
	}
	return &workflowservice.ListWorkersResponse{Workers: list}, nil
}

func (s workersService) DescribeWorker(_ context.Context, in *workflowservice.DescribeWorkerRequest, _ ...grpc.CallOption) (
	*workflowservice.DescribeWorkerResponse, error,
) {
	for _, h := range s.f.heartbeats {
		if h.GetWorkerInstanceKey() == in.GetWorkerInstanceKey() {
			return &workflowservice.DescribeWorkerResponse{WorkerInfo: &workerpb.WorkerInfo{WorkerHeartbeat: h}}, nil
		}
	}
	return nil, serviceerror.NewNotFound("worker not found")
}

func TestAWorkerThatIsGoneIsMissedSoon(t *testing.T) {
	t.Parallel()
	poller := func(identity string, ago time.Duration) *taskqueuepb.PollerInfo {
		return &taskqueuepb.PollerInfo{Identity: identity, LastAccessTime: timestamppb.New(time.Now().Add(-ago))}
	}
	heartbeat := func(key, identity string, ago, every time.Duration) *workerpb.WorkerHeartbeat {
		h := &workerpb.WorkerHeartbeat{WorkerInstanceKey: key, WorkerIdentity: identity, HeartbeatTime: timestamppb.New(time.Now().Add(-ago))}
		if every > 0 {
			h.ElapsedSinceLastHeartbeat = durationpb.New(every)
		}
		return h
	}
	type (
		pollers    = []*taskqueuepb.PollerInfo
		heartbeats = []*workerpb.WorkerHeartbeat
	)
	const often, seldom = 5 * time.Second, time.Minute
	for name, tt := range map[string]struct {
		pollers    pollers
		heartbeats heartbeats
		old, gone  bool
	}{
		"nobody ever polled":                          {gone: true},
		"it polls":                                    {pollers: pollers{poller("a", time.Second)}},
		"idle in a long poll, and heard of":           {pollers: pollers{poller("a", 50*time.Second)}, heartbeats: heartbeats{heartbeat("1", "a", 4*time.Second, often)}},
		"it died in a long poll":                      {pollers: pollers{poller("a", 25*time.Second)}, heartbeats: heartbeats{heartbeat("1", "a", 21*time.Second, often)}, gone: true},
		"one of two died":                             {pollers: pollers{poller("a", 25*time.Second), poller("b", 55*time.Second)}, heartbeats: heartbeats{heartbeat("1", "a", 21*time.Second, often), heartbeat("2", "b", time.Second, often)}},
		"a worker with rare heartbeats":               {pollers: pollers{poller("a", 50*time.Second)}, heartbeats: heartbeats{heartbeat("1", "a", 50*time.Second, seldom)}},
		"it has just begun":                           {pollers: pollers{poller("a", 50*time.Second)}, heartbeats: heartbeats{heartbeat("1", "a", 50*time.Second, 0)}},
		"killed, and started again with its identity": {pollers: pollers{poller("1@host@", 30*time.Second)}, heartbeats: heartbeats{heartbeat("new", "1@host@", 3*time.Second, often), heartbeat("old", "1@host@", 100*time.Second, often)}},
		"an old Temporal, in a long poll":             {pollers: pollers{poller("a", 60*time.Second)}, old: true},
		"an old Temporal, longer":                     {pollers: pollers{poller("a", 76*time.Second)}, old: true, gone: true},
		"heartbeats of others prove nothing":          {pollers: pollers{poller("a", 76*time.Second)}, heartbeats: heartbeats{heartbeat("1", "b", time.Second, often)}, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, kinds := range []map[enumspb.TaskQueueType]pollers{
				{enumspb.TASK_QUEUE_TYPE_WORKFLOW: tt.pollers, enumspb.TASK_QUEUE_TYPE_ACTIVITY: tt.pollers},
				{enumspb.TASK_QUEUE_TYPE_WORKFLOW: {poller("a", 0)}, enumspb.TASK_QUEUE_TYPE_ACTIVITY: tt.pollers},
			} {
				err := orchestrator.New(&fakeWorkers{pollers: kinds, heartbeats: tt.heartbeats, old: tt.old}, "ours").WorkersPolling(t.Context())
				if !tt.gone {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, orchestrator.ErrNoWorker)
				if len(tt.pollers) > 0 {
					require.ErrorContains(t, err, "the last one was heard of at 2")
				}
			}
		})
	}
}

func TestTheIdentityOfAWorkerTellsItsVersion(t *testing.T) {
	t.Parallel()
	require.Equal(t, "17@host-1@storekeeper/v1.2", orchestrator.WorkerIdentity("host-1", 17, "v1.2"))
}
