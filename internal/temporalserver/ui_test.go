package temporalserver_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"storekeeper/internal/temporalserver"
)

// request asks for a path and returns the status and the body.
func request(t *testing.T, method, url, host, body string, header http.Header) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if r.Header = header.Clone(); r.Header == nil {
		r.Header = http.Header{}
	}
	r.Host = host
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text), resp.Header
}

func TestTheUIServesItsOwnHostsAndItsOwnPagesAlone(t *testing.T) {
	t.Parallel()
	server := start(t, temporalserver.Options{UIListen: "127.0.0.1:0", UIHosts: []string{"ui.example"}})
	c := dial(t, server)
	for _, id := range []string{"a-secret-id", "another"} {
		_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: taskQueue}, "sleeper", time.Hour)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return count(t, c, "") == 2 }, patience, 10*time.Millisecond)
	running := func(id string) bool {
		d, err := c.DescribeWorkflowExecution(t.Context(), id, "")
		require.NoError(t, err)
		return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	}
	ui := "http://" + server.UIAddr()
	list, terminate := ui+"/api/v1/namespaces/default/workflows", ui+"/api/v1/namespaces/default/workflows/a-secret-id/terminate"

	status, body, _ := request(t, http.MethodGet, list, "evil.example:8233", "", nil)
	require.Equal(t, http.StatusMisdirectedRequest, status)
	require.NotContains(t, body, "a-secret-id")
	status, _, _ = request(t, http.MethodPost, terminate, "evil.example:8233", "{}", http.Header{"Authorization": {"skips the library's own check"}})
	require.Equal(t, http.StatusMisdirectedRequest, status)
	for _, header := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}, "Content-Type": {"text/plain"}},
		{"Origin": {"http://evil.example"}, "Content-Type": {"text/plain"}},
		{"Sec-Fetch-Site": {"same-site"}, "Authorization": {"skips the library's own check"}},
	} {
		status, _, _ = request(t, http.MethodPost, terminate, "", "{}", header)
		require.Equal(t, http.StatusForbidden, status, "%v", header)
	}
	require.True(t, running("a-secret-id"))

	for _, host := range []string{"", "localhost:8233", "ui.example"} {
		status, body, _ = request(t, http.MethodGet, list, host, "", nil)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, "a-secret-id")
	}
	status, body, header := request(t, http.MethodGet, ui+"/", "", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "/_app/")
	cookie, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
	token := strings.TrimPrefix(cookie, "_csrf=")
	status, body, _ = request(t, http.MethodPost, terminate, "", "{}", http.Header{
		"Sec-Fetch-Site": {"same-origin"}, "Origin": {ui}, "Cookie": {cookie}, "X-Csrf-Token": {token}, "Content-Type": {"application/json"},
	})
	require.Equal(t, http.StatusOK, status, body)
	require.False(t, running("a-secret-id"))
	require.True(t, running("another"))
}

func TestTheFrontendSpeaksNothingThatAPageCouldSend(t *testing.T) {
	t.Parallel()
	server := start(t, temporalserver.Options{})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Addr())
	require.NoError(t, err)
	defer conn.Close()
	body := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // what HTTP/2 begins with comes too late
	_, err = io.WriteString(conn, "POST /api/v1/namespaces HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 24\r\n\r\n"+body)
	require.NoError(t, err)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	line, _ := bufio.NewReader(conn).ReadString('\n')
	require.NotContains(t, line, "HTTP/1.1 200")
}
