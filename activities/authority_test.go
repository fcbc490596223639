package activities_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.uber.org/zap"

	"storekeeper/activities"
	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/telemetry"
)

// hangingAuthWorker answers when it is released.
type hangingAuthWorker struct {
	asked   sync.WaitGroup
	release chan struct{}
}

func (h *hangingAuthWorker) Absent(ctx context.Context, _ string) (authclient.Absence, error) {
	h.asked.Done()
	select {
	case <-h.release:
		return authclient.Absence{Absent: true, ListEntries: 1}, nil
	case <-ctx.Done():
		return authclient.Absence{}, ctx.Err()
	}
}

func TestReChecksThatWaitForAHangingAuthWorkerAreBounded(t *testing.T) {
	t.Parallel()
	hanging := &hangingAuthWorker{release: make(chan struct{})}
	authority := &activities.Authority{AuthWorker: hanging}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(telemetry.SDKLogger(zap.NewNop()))
	check := func() error {
		env := suite.NewTestActivityEnvironment()
		env.RegisterActivity(authority)
		_, err := env.ExecuteActivity(authority.ConfirmAbsent, contract.AbsenceInput{InstanceID: "ws-1", ByEvent: true})
		return err
	}
	const room = 250
	hanging.asked.Add(room)
	var waiting sync.WaitGroup
	errs := make([]error, room)
	for i := range errs {
		waiting.Go(func() { errs[i] = check() })
	}
	hanging.asked.Wait()
	require.ErrorContains(t, check(), "too many re-checks")
	close(hanging.release)
	waiting.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	hanging.asked.Add(1)
	require.NoError(t, check(), "there is room again")
}
