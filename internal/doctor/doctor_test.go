package doctor_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/doctor"
	"storekeeper/internal/storemanager"
)

func TestChecksRunSideBySideAndAreToldInTheirOrder(t *testing.T) {
	t.Parallel()
	first, second := make(chan struct{}), make(chan struct{})
	found := doctor.Run(t.Context(), "here", 30*time.Second, []doctor.Check{
		{Name: "first", Do: func(context.Context) doctor.Result { close(first); <-second; return doctor.OK("") }},
		{Name: "second", Do: func(context.Context) doctor.Result {
			<-first
			close(second)
			return doctor.Result{Status: storemanager.FindingFailed, More: []storemanager.Finding{{Place: "there", Check: "third"}}}
		}},
	})
	require.Equal(t, []storemanager.Finding{
		{Place: "here", Check: "first", Status: storemanager.FindingOK},
		{Place: "here", Check: "second", Status: storemanager.FindingFailed},
		{Place: "there", Check: "third"},
	}, found)
}

func TestACheckThatHangsIsAFailureAndKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	forever := make(chan struct{})
	defer close(forever)
	found := doctor.Run(t.Context(), "here", 50*time.Millisecond, []doctor.Check{
		{Name: "hangs", Do: func(context.Context) doctor.Result { <-forever; return doctor.OK("") }},
	})
	require.Equal(t, storemanager.FindingFailed, found[0].Status)
	require.Contains(t, found[0].Detail, "no answer within 50ms")
	require.NotEmpty(t, found[0].Todo)
}

func requireFailed(t *testing.T, r doctor.Result, detail, todo string) {
	t.Helper()
	require.Equal(t, storemanager.FindingFailed, r.Status, r)
	require.Contains(t, r.Detail, detail)
	require.Contains(t, r.Todo, todo)
}

func requireOK(t *testing.T, r doctor.Result) {
	t.Helper()
	require.Equal(t, storemanager.FindingOK, r.Status, r)
}

func TestTooFewOpenFilesAreToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	requireOK(t, doctor.OpenFiles(10))
	requireFailed(t, doctor.OpenFiles(1<<60), "files may be open", "LimitNOFILE=")
}

func TestAFileThatOthersReadIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stores.db")
	requireOK(t, doctor.Private(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	requireOK(t, doctor.Private(path))
	require.NoError(t, os.Chmod(path, 0o640))
	requireFailed(t, doctor.Private(path), path+" (-rw-r-----)", "chmod go-rwx")
}

func TestANameThatIsNotKnownIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	requireOK(t, doctor.Names(t.Context(), "127.0.0.1", "", "localhost"))
	requireFailed(t, doctor.Names(t.Context(), "edge.invalid", "127.0.0.1"), "not known: edge.invalid", "DNS")
}

func TestAClockThatDiffersIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	now := time.Now()
	requireOK(t, doctor.Clock("the edge", now, now.Add(-time.Second), now, 0))
	requireOK(t, doctor.Clock("the edge", now.Truncate(time.Second), now, now, time.Second))
	requireFailed(t, doctor.Clock("the edge", now.Add(time.Minute), now, now, 0), "the clock of the edge is 1m0s ahead of this one", "keep time")
	requireFailed(t, doctor.Clock("the edge", now.Add(-time.Minute), now, now, 0), "is 1m0s behind this one", "keep time")

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusMethodNotAllowed)
	}))
	t.Cleanup(server.Close)
	requireFailed(t, doctor.ServerClock(t.Context(), "the Auth Worker", server.URL), "behind this one", "keep time")
	require.Equal(t, storemanager.FindingUnknown, doctor.ServerClock(t.Context(), "the Auth Worker", "http://127.0.0.1:1").Status)
}
