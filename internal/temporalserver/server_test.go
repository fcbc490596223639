package temporalserver_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap/zaptest"

	"storekeeper/internal/temporalserver"
)

const (
	taskQueue = "test"
	patience  = 20 * time.Second
)

var (
	keyword = enums.INDEXED_VALUE_TYPE_KEYWORD
	number  = enums.INDEXED_VALUE_TYPE_INT
)

func start(t *testing.T, o temporalserver.Options) *temporalserver.Server {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	o.Logger = zaptest.NewLogger(t)
	began := time.Now()
	server, err := temporalserver.Start(t.Context(), o)
	require.NoError(t, err)
	t.Logf("started in %s", time.Since(began))
	t.Cleanup(func() { stop(t, server) })
	return server
}

func stop(t *testing.T, server *temporalserver.Server) {
	began := time.Now()
	server.Stop()
	t.Logf("stopped in %s", time.Since(began))
}

func dial(t *testing.T, server *temporalserver.Server) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: server.Addr()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// sleeper waits for a durable timer.
func sleeper(ctx workflow.Context, d time.Duration) (string, error) {
	if err := workflow.Sleep(ctx, d); err != nil {
		return "", err
	}
	return "woke up", nil
}

func runWorker(t *testing.T, c client.Client) worker.Worker {
	t.Helper()
	w := worker.New(c, taskQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(sleeper, workflow.RegisterOptions{Name: "sleeper"})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	return w
}

func TestRunsAWorkflowAndShowsItInTheUI(t *testing.T) {
	t.Parallel()
	attribute := temporal.NewSearchAttributeKeyKeyword("Workspace")
	server := start(t, temporalserver.Options{
		UIListen:         "127.0.0.1:0",
		SearchAttributes: map[string]enums.IndexedValueType{attribute.GetName(): keyword},
	})
	c := dial(t, server)
	runWorker(t, c)

	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		TaskQueue:             taskQueue,
		TypedSearchAttributes: temporal.NewSearchAttributes(attribute.ValueSet("w1")),
	}, "sleeper", time.Duration(0))
	require.NoError(t, err)
	var result string
	require.NoError(t, run.Get(t.Context(), &result))
	require.Equal(t, "woke up", result)
	require.Eventually(t, func() bool { return count(t, c, `Workspace = "w1"`) == 1 }, patience, 10*time.Millisecond)

	for _, path := range []string{"/", "/api/v1/namespaces/default/workflows"} {
		response, err := http.Get("http://" + server.UIAddr() + path)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode, path)
	}
}

func count(t *testing.T, c client.Client, query string) int64 {
	response, err := c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: query})
	require.NoError(t, err)
	return response.Count
}

func TestServersInOneProcessAreApart(t *testing.T) {
	t.Parallel()
	first, second := start(t, temporalserver.Options{}), start(t, temporalserver.Options{})
	require.Empty(t, first.UIAddr())
	_, err := dial(t, first).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Hour)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return count(t, dial(t, first), "") == 1 }, patience, 10*time.Millisecond)
	require.Zero(t, count(t, dial(t, second), ""))
}

func TestARestartFindsWorkflowsTimersAndSchedules(t *testing.T) {
	t.Parallel()
	const timer = 4 * time.Second
	path := filepath.Join(t.TempDir(), "a dir? 100%.db")
	server := start(t, temporalserver.Options{DatabasePath: path})
	c := dial(t, server)
	w := runWorker(t, c)
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "sleeps", TaskQueue: taskQueue}, "sleeper", timer)
	require.NoError(t, err)
	_, err = c.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
		ID:     "hourly",
		Spec:   client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Action: &client.ScheduleWorkflowAction{ID: "scheduled", Workflow: "sleeper", Args: []any{time.Duration(0)}, TaskQueue: taskQueue},
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return hasPendingTimer(t, c) }, patience, 10*time.Millisecond)
	w.Stop()
	c.Close()
	stop(t, server)

	server = start(t, temporalserver.Options{DatabasePath: asFoundByAnotherProcess(t, path)})
	c = dial(t, server)
	runWorker(t, c)
	var result string
	require.NoError(t, c.GetWorkflow(t.Context(), "sleeps", "").Get(t.Context(), &result))
	require.Equal(t, "woke up", result)
	_, err = c.ScheduleClient().GetHandle(t.Context(), "hourly").Describe(t.Context())
	require.NoError(t, err)
}

func hasPendingTimer(t *testing.T, c client.Client) bool {
	events := c.GetWorkflowHistory(t.Context(), "sleeps", "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		if event.EventType == enums.EVENT_TYPE_TIMER_STARTED {
			return true
		}
	}
	return false
}

func TestASecondStartAppliesChangedSettings(t *testing.T) {
	t.Parallel()
	options := temporalserver.Options{
		DatabasePath:     filepath.Join(t.TempDir(), "temporal.db"),
		SearchAttributes: map[string]enums.IndexedValueType{"Workspace": keyword},
	}
	server := start(t, options)
	retention, attributes := settings(t, dial(t, server))
	require.Equal(t, 72*time.Hour, retention)
	require.Equal(t, map[string]enums.IndexedValueType{"Workspace": keyword}, attributes)
	server.Stop()

	options.Retention = 5 * time.Hour
	options.SearchAttributes = map[string]enums.IndexedValueType{"Attempts": number, "Actor": keyword}
	server = start(t, options)
	c := dial(t, server)
	retention, attributes = settings(t, c)
	require.Equal(t, 5*time.Hour, retention)
	require.Equal(t, map[string]enums.IndexedValueType{"Workspace": keyword, "Attempts": number, "Actor": keyword}, attributes)
	// Usable at once.
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		TaskQueue:             taskQueue,
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyInt64("Attempts").ValueSet(3)),
	}, "sleeper", time.Hour)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return count(t, c, "Attempts = 3") == 1 }, patience, 10*time.Millisecond)
	server.Stop()

	options.SearchAttributes = map[string]enums.IndexedValueType{"Workspace": number}
	requireStartError(t, options, "search attribute Workspace is of type Keyword already and can't become Int")
}

// settings are the namespace's retention and custom search attributes.
func settings(t *testing.T, c client.Client) (time.Duration, map[string]enums.IndexedValueType) {
	response, err := c.WorkflowService().DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: "default"})
	require.NoError(t, err)
	attributes, err := c.OperatorService().ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: "default"})
	require.NoError(t, err)
	return response.Config.WorkflowExecutionRetentionTtl.AsDuration(), attributes.CustomAttributes
}

func TestAServerThatCouldNotWorkDoesNotStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	inUse := filepath.Join(t.TempDir(), "temporal.db")
	start(t, temporalserver.Options{DatabasePath: inUse})

	for name, test := range map[string]struct {
		options temporalserver.Options
		want    string
	}{
		"a frontend port in use": {
			temporalserver.Options{Listen: taken.Addr().String()},
			"temporal frontend: listen tcp " + taken.Addr().String() + ": bind: address already in use",
		},
		"a web ui port in use": {
			temporalserver.Options{UIListen: taken.Addr().String()},
			"temporal web ui: listen tcp " + taken.Addr().String() + ": bind: address already in use",
		},
		"a database in use":              {temporalserver.Options{DatabasePath: inUse}, "is in use by another server"},
		"a database without a directory": {temporalserver.Options{DatabasePath: filepath.Join(t.TempDir(), "no", "such.db")}, "no such file or directory"},
		"a file that is no database":     {temporalserver.Options{DatabasePath: file(t, "this is no database, and it is long enough to be one")}, "it is no SQLite file"},
		"another program's database":     {temporalserver.Options{DatabasePath: sqliteFile(t, "CREATE TABLE stores (id TEXT)")}, "by another program: "},
		"a file and a PostgreSQL":        {temporalserver.Options{DatabasePath: inUse, DatabaseURL: "postgres://h/d"}, "a database file and a PostgreSQL are given"},
		"a retention of a second":        {temporalserver.Options{Retention: time.Second}, "retention 1s: at least 1m0s is needed"},
		"a search attribute of Temporal's own": {
			temporalserver.Options{SearchAttributes: map[string]enums.IndexedValueType{"WorkflowType": keyword}},
			`search attribute name "WorkflowType" is Temporal's own`,
		},
		"more search attributes of a type than there is room for": {
			temporalserver.Options{SearchAttributes: map[string]enums.IndexedValueType{"A": number, "B": number, "C": number, "D": number}},
			"search attribute D: no column of type Int is left",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireStartError(t, test.options, test.want)
		})
	}
}

func requireStartError(t *testing.T, o temporalserver.Options, want string) {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	_, err := temporalserver.Start(t.Context(), o)
	require.ErrorContains(t, err, want)
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := temporalserver.Start(ctx, temporalserver.Options{Listen: "127.0.0.1:0"})
	require.ErrorIs(t, err, context.Canceled)
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "garbage.db")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}
