package replay_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/harness"
)

func event(kind contract.EventType, id string) contract.Event {
	return contract.Event{
		DeliveryID: orchestrator.NewDeliveryID(), Type: kind, InstanceID: id, Timestamp: time.Now(), Source: contract.SourceWebhook,
	}
}

// long gives a deletion a grace period that does not end within a test.
func long(ev contract.Event) contract.Event {
	grace := time.Hour
	ev.GracePeriod = &grace
	return ev
}

func apply(in *harness.Installation, ev contract.Event, want contract.Status) {
	in.T.Helper()
	result, err := in.Orchestrator.Apply(in.T.Context(), ev, harness.Patience)
	require.NoError(in.T, err)
	require.Equal(in.T, want, result.Status, result.Detail)
}

func created(in *harness.Installation) string {
	in.T.Helper()
	id := uuid.NewString()
	apply(in, event(contract.WorkspaceCreated, id), contract.StatusMonitoringStarted)
	return id
}

// unattended leaves a store whose deletion is pending and has no lifecycle.
func unattended(in *harness.Installation) string {
	in.T.Helper()
	id := created(in)
	res, err := in.Stores.BeginDeletion(in.T.Context(), storemanager.DeletionRequest{
		StoreID: id, At: time.Now(), DeleteAt: time.Now().Add(time.Hour), Owner: "a run that is no more",
	})
	require.NoError(in.T, err)
	require.Equal(in.T, storemanager.DeletionScheduled, res.Outcome)
	return id
}

func startPlan() client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: contract.PlanReconcileID + uuid.NewString(), TaskQueue: contract.TaskQueue}
}

// currentRun is the id of a workflow's last run.
func currentRun(in *harness.Installation, workflowID string) string {
	in.T.Helper()
	desc, err := in.Temporal.DescribeWorkflowExecution(in.T.Context(), workflowID, "")
	require.NoError(in.T, err)
	return desc.GetWorkflowExecutionInfo().GetExecution().GetRunId()
}

// severalRounds has more stores missing than fit into one plan. Their ids are short, for they stand in the history.
func severalRounds(in *harness.Installation) string {
	in.T.Helper()
	user := in.SignUp()
	in.Eventually("monitored", func() bool { return in.Monitored(user.Default) })
	const missing = contract.MaxPlanned + 1
	for i := range missing {
		r := in.Do(http.MethodPost, in.AuthURL+"/internal/admin/users/"+user.ID+"/instances", fmt.Sprintf(`{"instanceId":"s%x"}`, 0x1000+i),
			"Content-Type", "application/json", "Authorization", "Bearer "+standalone.DemoBypassToken)
		require.Less(in.T, r.Code, 300, r.Body)
	}
	report := reconcile(in, "")
	require.Equal(in.T, missing, report.Added)
	require.Equal(in.T, 2, report.Rounds)
	return contract.ReconcileID
}

func startScheduled() client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: contract.ScheduledReconcileID, TaskQueue: contract.TaskQueue}
}

// trip makes reconciliation find twelve stores that the list lacks, twice, and one that is missing; it returns the second report.
func trip(in *harness.Installation) contract.ReconcileReport {
	in.T.Helper()
	for range 2 { // or the list would be that of another installation
		known := in.SignUp().Default
		in.Eventually("monitored", func() bool { return in.Monitored(known) })
	}
	in.Auth.SetWebhooksLost(true)
	defer in.Auth.SetWebhooksLost(false)
	in.SignUp()
	for range 12 {
		_, err := in.Stores.Ensure(in.T.Context(), storemanager.EnsureRequest{StoreID: uuid.NewString(), At: time.Now()})
		require.NoError(in.T, err)
	}
	reconcile(in, "")
	in.SignUp()
	report := reconcile(in, "")
	require.NotEmpty(in.T, report.PlanHash)
	require.Equal(in.T, 1, report.Added)
	require.Zero(in.T, report.Removed)
	return report
}

func reconcile(in *harness.Installation, approved string) contract.ReconcileReport {
	in.T.Helper()
	report, err := tryReconcile(in, approved)
	require.NoError(in.T, err)
	return report
}

// tryReconcile waits for the run that an edge asks for at its start, for it would be joined.
func tryReconcile(in *harness.Installation, approved string) (contract.ReconcileReport, error) {
	in.T.Helper()
	var run orchestrator.ReconcileRun
	in.Eventually("a run of our own starts", func() bool {
		var err error
		run, err = in.Orchestrator.StartReconcile(in.T.Context(), contract.ReconcileInput{
			Trigger: contract.TriggerManual, Confirm: true, ApprovedPlan: approved,
		})
		return err == nil
	})
	return run.Wait(in.T.Context())
}
