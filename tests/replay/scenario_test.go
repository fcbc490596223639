package replay_test

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/internal/orchestrator"
	"storekeeper/tests/harness"
	"storekeeper/workflows"
)

func event(kind workflows.EventType, id string) workflows.Event {
	return workflows.Event{
		DeliveryID: orchestrator.NewDeliveryID(), Type: kind, InstanceID: id, Timestamp: time.Now(), Source: workflows.SourceWebhook,
	}
}

// long gives a deletion a grace period that does not end within a test.
func long(ev workflows.Event) workflows.Event {
	grace := time.Hour
	ev.GracePeriod = &grace
	return ev
}

func apply(in *harness.Installation, ev workflows.Event, want workflows.Status) {
	in.T.Helper()
	result, err := in.Orchestrator.Apply(in.T.Context(), ev, harness.Patience)
	require.NoError(in.T, err)
	require.Equal(in.T, want, result.Status, result.Detail)
}

func created(in *harness.Installation) string {
	in.T.Helper()
	id := uuid.NewString()
	apply(in, event(workflows.WorkspaceCreated, id), workflows.StatusMonitoringStarted)
	return id
}

func startScheduled() client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: workflows.ScheduledReconcileID, TaskQueue: workflows.TaskQueue}
}
