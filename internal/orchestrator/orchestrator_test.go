package orchestrator_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
)

// fakeTemporal keeps what it is asked for, and does nothing.
type fakeTemporal struct {
	client.Client
	event   any
	options client.StartWorkflowOptions
	action  *client.ScheduleWorkflowAction
	service *fakeService
}

func (f *fakeTemporal) SignalWithStartWorkflow(_ context.Context, _, _ string, event any, options client.StartWorkflowOptions,
	_ any, _ ...any,
) (client.WorkflowRun, error) {
	f.event, f.options = event, options
	return nil, nil //nolint:nilnil // a signal has no use for the run
}

func TestOnlyDeletionsThatReconciliationRequestsGiveWay(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	event := func(source contract.Source) contract.Event {
		return contract.Event{
			DeliveryID: "delivery", Type: contract.WorkspaceDeleted, InstanceID: "some-store", Timestamp: now, Source: source,
		}
	}
	for name, tt := range map[string]struct {
		send     func(c *orchestrator.Client) error
		priority int // 0 is Temporal's default
	}{
		"the deletion of an orphan": {
			func(c *orchestrator.Client) error {
				return c.RequestDeletion(t.Context(), "some-store", contract.Sighting{At: now})
			}, contract.PriorityRepair,
		},
		"a webhook's event": {
			func(c *orchestrator.Client) error { return c.Signal(t.Context(), event(contract.SourceWebhook)) }, 0,
		},
		"an operator's event": {
			func(c *orchestrator.Client) error { return c.Signal(t.Context(), event(contract.SourceOperator)) }, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temporal := &fakeTemporal{}
			require.NoError(t, tt.send(orchestrator.New(temporal, client.DefaultNamespace)))
			require.Equal(t, tt.priority, temporal.options.Priority.PriorityKey)
			require.Equal(t, contract.LifecycleID("some-store"), temporal.options.ID)
			require.Equal(t, contract.WorkspaceDeleted, temporal.event.(contract.Event).Type)
		})
	}
}
