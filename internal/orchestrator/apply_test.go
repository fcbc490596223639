package orchestrator_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
)

// slowTemporal accepts an update accepted later and knows its outcome done later; negative: never. Workers have polled at polled.
type slowTemporal struct {
	client.Client
	accepted, done time.Duration
	err            error // of all calls

	mu               sync.Mutex
	polled           func() time.Time // nil: nobody has
	updates, signals int
}

func (s *slowTemporal) NewWithStartWorkflowOperation(client.StartWorkflowOptions, any, ...any) client.WithStartWorkflowOperation {
	return nil
}

func (s *slowTemporal) UpdateWithStartWorkflow(ctx context.Context, o client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	s.mu.Lock()
	s.updates++
	accepted, done, err := s.accepted, s.done, s.err
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if o.UpdateOptions.WaitForStage != client.WorkflowUpdateStageAccepted {
		return nil, errors.New("to wait for more is to know less when the wait is over")
	}
	if err := pass(ctx, accepted); err != nil {
		return nil, err
	}
	return slowHandle{done: done}, nil
}

type slowHandle struct {
	client.WorkflowUpdateHandle
	done time.Duration
}

func (h slowHandle) Get(ctx context.Context, out any) error {
	if err := pass(ctx, h.done); err != nil {
		return err
	}
	*out.(*contract.Result) = contract.Result{Status: contract.StatusMonitoringStarted}
	return nil
}

func pass(ctx context.Context, d time.Duration) error {
	switch {
	case d == 0:
		return nil
	case d < 0:
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slowTemporal) DescribeTaskQueue(context.Context, string, enumspb.TaskQueueType) (*workflowservice.DescribeTaskQueueResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	resp := &workflowservice.DescribeTaskQueueResponse{}
	if s.polled != nil {
		resp.Pollers = []*taskqueuepb.PollerInfo{{LastAccessTime: timestamppb.New(s.polled())}}
	}
	return resp, s.err
}

func (s *slowTemporal) SignalWithStartWorkflow(context.Context, string, string, any, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signals++
	return nil, s.err
}

func TestAnEventIsSentTwiceOnlyWhenNoWorkerIsThere(t *testing.T) {
	t.Parallel()
	const wait, never = 5 * time.Second, time.Duration(-1)
	there := func(time.Time) time.Time { return time.Now() }
	gone := func(began time.Time) time.Time { return began.Add(-time.Minute) }
	for name, tt := range map[string]struct {
		accepted, done   time.Duration
		polled           func(began time.Time) time.Time
		status           contract.Status
		took             time.Duration
		updates, signals int
	}{
		"the outcome comes":                          {time.Second, time.Second, there, contract.StatusMonitoringStarted, 2 * time.Second, 1, 0},
		"the outcome comes with the acceptance":      {0, 0, there, contract.StatusMonitoringStarted, 0, 1, 0},
		"the outcome is late":                        {time.Second, never, there, contract.StatusAccepted, wait, 1, 0},
		"Temporal is slow":                           {8 * time.Second, 0, there, contract.StatusMonitoringStarted, 8 * time.Second, 1, 0},
		"Temporal is slow and the outcome is late":   {8 * time.Second, never, there, contract.StatusAccepted, 8 * time.Second, 1, 0},
		"a worker is there and accepts nothing":      {never, never, there, contract.StatusAccepted, 15 * time.Second, 1, 1},
		"nobody has ever polled":                     {never, never, nil, contract.StatusAccepted, wait, 1, 1},
		"the worker has gone":                        {never, never, gone, contract.StatusAccepted, wait, 1, 1},
		"the worker has gone while Temporal is slow": {8 * time.Second, 0, gone, contract.StatusAccepted, wait, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				temporal := &slowTemporal{accepted: tt.accepted, done: tt.done}
				began := time.Now()
				if tt.polled != nil {
					temporal.polled = func() time.Time { return tt.polled(began) }
				}
				result, err := orchestrator.New(temporal, "ours").Apply(t.Context(), contract.Event{InstanceID: "abc"}, wait)
				require.NoError(t, err)
				require.Equal(t, tt.status, result.Status)
				require.Equal(t, tt.took, time.Since(began))
				require.Equal(t, [2]int{tt.updates, tt.signals}, [2]int{temporal.updates, temporal.signals})
			})
		})
	}
}

func TestWhileNoWorkerIsThereOneEventAtATimeWaitsForOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		temporal := &slowTemporal{accepted: -1}
		c := orchestrator.New(temporal, "ours")
		apply := func() (contract.Status, time.Duration) {
			began := time.Now()
			result, err := c.Apply(t.Context(), contract.Event{InstanceID: "abc"}, 5*time.Second)
			require.NoError(t, err)
			return result.Status, time.Since(began)
		}
		_, took := apply()
		require.Equal(t, 5*time.Second, took, "that is how it is found out")
		var wg sync.WaitGroup
		wg.Go(func() { apply() })
		synctest.Wait()
		for range 100 {
			status, took := apply()
			require.Equal(t, contract.StatusAccepted, status)
			require.Zero(t, took)
		}
		require.Equal(t, 2, temporal.updates)
		wg.Wait()
		require.Equal(t, 102, temporal.signals, "each is durable")

		temporal.accepted = 0
		for range 3 {
			status, _ := apply()
			require.Equal(t, contract.StatusMonitoringStarted, status)
		}
	})
}

func TestAnEventThatTemporalDoesNotTakeIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		temporal := &slowTemporal{err: errors.New("connection refused")}
		began := time.Now()
		_, err := orchestrator.New(temporal, "ours").Apply(t.Context(), contract.Event{InstanceID: "abc"}, 5*time.Second)
		require.ErrorIs(t, err, orchestrator.ErrUnavailable)
		require.Less(t, time.Since(began), 6*time.Second)
		require.Greater(t, temporal.updates, 5, "gently, in case it comes back")
		require.Equal(t, 1, temporal.signals)
	})
}
