package orchestrator_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
)

// described is a Temporal that shows one workflow, always the same.
type described struct {
	client.Client
	desc *workflowservice.DescribeWorkflowExecutionResponse
}

func (d described) DescribeWorkflowExecution(context.Context, string, string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return d.desc, nil
}

func TestARunUnderWayTellsOfItsList(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	got := &orchestrator.ListAttempt{EndedAt: at} // there was a list, or nothing would be repaired
	for name, test := range map[string]struct {
		activity string
		failure  string
		want     *orchestrator.ListAttempt
	}{
		"it is being fetched":                                   {contract.ActivityCompareLists, "", nil},
		"an attempt has failed":                                 {contract.ActivityCompareLists, "it is damaged", &orchestrator.ListAttempt{EndedAt: at, Failure: "it is damaged", NextAt: at.Add(time.Second)}},
		"what it lacks is being resumed":                        {contract.ActivityResumeDeletions, "", got},
		"what it has again is being ended":                      {contract.ActivityEndDeletions, "", got},
		"what is missing is being added":                        {contract.ActivityEnsureMissing, "", got},
		"what it lacks is being handed over":                    {contract.ActivityRequestDeletions, "", got},
		"the run is being recorded, and the record says it all": {contract.ActivityRecordRun, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pending := &workflowpb.PendingActivityInfo{
				ActivityType: &commonpb.ActivityType{Name: test.activity}, ScheduledTime: timestamppb.New(at),
			}
			if test.failure != "" {
				pending.LastFailure = &failurepb.Failure{Message: test.failure}
				pending.LastAttemptCompleteTime = timestamppb.New(at)
				pending.NextAttemptScheduleTime = timestamppb.New(at.Add(time.Second))
			}
			run, err := orchestrator.New(described{desc: &workflowservice.DescribeWorkflowExecutionResponse{
				WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{
					Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, StartTime: timestamppb.New(at.Add(-time.Minute)),
				},
				PendingActivities: []*workflowpb.PendingActivityInfo{pending},
			}}, "").ReconcileRunning(t.Context())
			require.NoError(t, err)
			require.Equal(t, test.want, run.List)
			require.Equal(t, at, run.LastSign)
		})
	}
}
