package temporalserver_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/internal/temporalserver"
)

func TestAServerThatIsBackedUpGoesOnFromTheCopies(t *testing.T) {
	t.Parallel()
	for schema, names := range map[temporalserver.Schema][]string{
		temporalserver.SchemaLean: {"temporal-visibility.db", "temporal.db"}, // lists never show what there never was
		temporalserver.SchemaFull: {"temporal.db"},
	} {
		t.Run(string(schema), func(t *testing.T) {
			t.Parallel()
			server := start(t, temporalserver.Options{DatabasePath: filepath.Join(t.TempDir(), "temporal.db"), Schema: schema})
			c := dial(t, server)
			run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "before", TaskQueue: taskQueue}, "sleeper", time.Hour)
			require.NoError(t, err)
			dir := t.TempDir()
			var copied []string
			for _, source := range server.Backup() {
				contents, err := source.Copy(t.Context(), filepath.Join(dir, source.Name))
				require.NoError(t, err)
				require.NotEmpty(t, contents.Identity)
				require.NotEmpty(t, contents.Server)
				copied = append(copied, source.Name)
			}
			require.Equal(t, names, copied)
			_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "after", TaskQueue: taskQueue}, "sleeper", time.Hour)
			require.NoError(t, err, "the server goes on")
			server.Stop()

			restored := dial(t, start(t, temporalserver.Options{DatabasePath: filepath.Join(dir, "temporal.db"), Schema: schema}))
			again, err := restored.DescribeWorkflowExecution(t.Context(), "before", "")
			require.NoError(t, err)
			require.Equal(t, run.GetRunID(), again.GetWorkflowExecutionInfo().GetExecution().GetRunId())
			_, err = restored.DescribeWorkflowExecution(t.Context(), "after", "")
			require.Error(t, err)
		})
	}
	require.Nil(t, start(t, temporalserver.Options{}).Backup(), "in memory")
}
