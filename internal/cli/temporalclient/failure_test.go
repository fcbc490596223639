package temporalclient

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
)

func TestAFailedWorkflowIsToldByWhatCouldNotBeDone(t *testing.T) {
	t.Parallel()
	for errType, want := range map[string]exit.Code{
		contract.ErrTypeUnavailable: exit.Unreachable, contract.ErrTypeUnauthorized: exit.Refused, contract.ErrTypeNotFound: exit.Failed,
	} {
		var app *temporal.ApplicationError
		require.ErrorAs(t, fmt.Errorf("run: %w", temporal.NewApplicationError("no answer", errType)), &app)
		f := workFailure(app)
		require.Equal(t, want, f.Exit, errType)
		require.Contains(t, f.Error(), "no answer")
	}
}
