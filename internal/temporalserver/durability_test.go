package temporalserver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

func someDurability(t *testing.T) *durability {
	t.Helper()
	path := filepath.Join(t.TempDir(), "some.db")
	require.NoError(t, os.WriteFile(path+"-wal", []byte("log"), 0o600))
	file, err := os.Open(path + "-wal")
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	require.NoError(t, os.WriteFile(path, []byte("database"), 0o600))
	database, err := os.Stat(path)
	require.NoError(t, err)
	return newDurability(database, file, zap.NewNop())
}

// call has the frontend answer, and returns what the client gets.
func call(d *durability, method string, answer any, err error) (any, error) {
	return d.intercept(context.Background(), nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return answer, err })
}

func TestAClientHearsOfNothingThatIsNotOnTheDisk(t *testing.T) {
	t.Parallel()
	const service = "/temporal.api.workflowservice.v1.WorkflowService/"
	running := serviceerror.NewWorkflowExecutionAlreadyStarted("it runs", "", "")
	for method, synced := range map[string]bool{
		service + "StartWorkflowExecution":                                     true,
		service + "ExecuteMultiOperation":                                      true,
		service + "SignalWithStartWorkflowExecution":                           true,
		service + "SignalWorkflowExecution":                                    true,
		service + "UpdateWorkflowExecution":                                    true,
		service + "PollWorkflowExecutionUpdate":                                true, // it may be the first news of an outcome
		service + "TerminateWorkflowExecution":                                 true,
		service + "RequestCancelWorkflowExecution":                             true,
		service + "CreateSchedule":                                             true,
		service + "PatchSchedule":                                              true,
		service + "SomethingOfANewerTemporal":                                  true,
		"/temporal.api.operatorservice.v1.OperatorService/AddSearchAttributes": true,

		service + "DescribeWorkflowExecution":                                    false,
		service + "ListWorkflowExecutions":                                       false,
		service + "QueryWorkflow":                                                false,
		service + "PollWorkflowTaskQueue":                                        false,
		service + "RespondWorkflowTaskCompleted":                                 false,
		service + "RespondActivityTaskCompleted":                                 false,
		service + "RecordActivityTaskHeartbeat":                                  false,
		"/temporal.server.api.adminservice.v1.AdminService/DescribeMutableState": false,
		"/grpc.health.v1.Health/Check":                                           false,
	} {
		d := someDurability(t)
		var syncs int
		d.toDisk = func() error { syncs++; return nil }
		answer, err := call(d, method, "answer", running)
		require.Equal(t, "answer", answer)
		require.ErrorIs(t, err, running)
		require.Equal(t, synced, syncs == 1, method)

		d.toDisk = func() error { return errors.New("input/output error") }
		answer, err = call(d, method, "answer", nil)
		if !synced {
			require.NoError(t, err, method)
			continue
		}
		require.Nil(t, answer)
		var unavailable *serviceerror.Unavailable
		require.ErrorAs(t, err, &unavailable)
		require.ErrorContains(t, err, "temporal's database can keep nothing until the process is restarted: input/output error")
		d.toDisk = func() error { return nil }
		_, err = call(d, method, "answer", nil)
		require.ErrorContains(t, err, "restarted", "what the kernel could not write it may have forgotten")
		require.Error(t, d.err())
	}
}

func TestWhatAWorkerCallsIsAMethodOfTheFrontend(t *testing.T) {
	t.Parallel()
	methods := map[string]bool{}
	for _, m := range workflowservice.WorkflowService_ServiceDesc.Methods {
		methods[m.MethodName] = true
	}
	for call := range workersCalls {
		require.True(t, methods[call], call)
	}
}

func TestAnswersThatWaitAtTheSameTimeShareASync(t *testing.T) {
	t.Parallel()
	d := someDurability(t)
	var syncs, committed atomic.Int64
	begun, goOn := make(chan struct{}), make(chan struct{})
	var covered atomic.Int64 // what had been committed when the last sync began
	d.toDisk = func() error {
		covered.Store(committed.Load())
		if syncs.Add(1) == 1 {
			close(begun)
			<-goOn
		}
		return nil
	}
	done := make(chan bool)
	answer := func() {
		mine := committed.Add(1)
		err := d.sync()
		done <- err == nil && covered.Load() >= mine
	}
	go answer()
	<-begun
	for range 50 {
		go answer() // each of them commits while the first sync is under way, which may have missed it
	}
	require.Eventually(t, func() bool { return committed.Load() == 51 }, time.Minute, time.Millisecond)
	close(goOn)
	for range 51 {
		require.True(t, <-done)
	}
	require.LessOrEqual(t, syncs.Load(), int64(4), "one for all that wait, and one for those that came late")
}

func TestALogThatWasReplacedIsNoLogAnyMore(t *testing.T) {
	t.Parallel()
	d := someDurability(t)
	require.NoError(t, d.sync())
	require.NoError(t, os.Remove(d.file.Name()))
	require.NoError(t, os.WriteFile(d.file.Name(), []byte("another"), 0o600))
	require.ErrorContains(t, d.sync(), "some.db-wal was replaced by another file")
	require.ErrorContains(t, d.sync(), "restarted")

	d = someDurability(t)
	require.NoError(t, os.Remove(strings.TrimSuffix(d.file.Name(), "-wal")))
	require.ErrorIs(t, d.sync(), os.ErrNotExist, "the database itself")
}
