package temporalserver

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// What visibility costs an event: its row when a workflow begins, and the update when it has ended.
func BenchmarkVisibility(b *testing.B) {
	for _, schema := range []Schema{SchemaFull, SchemaLean} {
		b.Run(string(schema), func(b *testing.B) {
			db, err := openFile(filepath.Join(b.TempDir(), "visibility.db"))
			require.NoError(b, err)
			defer func() { _ = db.Close() }()
			table, _, err := schemaOfVisibility(schema)
			require.NoError(b, err)
			for _, statement := range append(table, "PRAGMA synchronous = normal") {
				_, err := db.ExecContext(b.Context(), statement)
				require.NoError(b, err)
			}
			require.NoError(b, setIndexes(b.Context(), db, schema, zap.NewNop()))
			const write = `
				INSERT INTO executions_visibility (namespace_id, run_id, _version, start_time, execution_time, workflow_id, workflow_type_name, status, encoding,
					task_queue, search_attributes, root_workflow_id, root_run_id) VALUES ('n', ?1, ?2, ?3, ?3, ?4, 'WorkspaceLifecycle', ?5, 'Proto3', 'q', ?6, ?4, ?1)
				ON CONFLICT (namespace_id, run_id) DO UPDATE SET _version = excluded._version, status = excluded.status,
					search_attributes = excluded.search_attributes, close_time = excluded.start_time, history_length = 11, execution_duration = 12345`
			before := processorTime(b)
			for i := 0; b.Loop(); i++ {
				run, id := fmt.Sprintf("%08d-2a9c-4e53-98c1-d1b8a7e53333", i*48271%99_999_989), fmt.Sprintf("workspace/%d-2a9c-4e53-98c1-d1b8a7e53333", i)
				for status, attributes := range []string{`{}`, `{"BuildIds":"unversioned♡unversioned:5ab3cd"}`} {
					_, err := db.ExecContext(b.Context(), write, run, 10*i+status, time.Now().UTC().Format("2006-01-02 15:04:05.000000+00:00"), id, status+1, attributes)
					require.NoError(b, err)
				}
			}
			b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
