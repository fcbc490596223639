package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/ownhost"
)

func TestWhoIsRefusedByTheHeadersIsAnsweredBeforeTheBodyHasCome(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.tests.readTimeout = time.Minute }) // a server that waited for the body would take longer than the test
	address, _ := f.run(t)
	post := "POST " + webhooks
	known := "X-Webhook-Secret: " + secret + "\r\n"
	json := "Content-Type: application/json\r\n"
	for name, test := range map[string]struct {
		request, headers string
		status           int
	}{
		"a stranger":         {post, json, 401},
		"a wrong secret":     {post, json + "X-Webhook-Secret: wrong\r\n", 401},
		"no JSON":            {post, known, 415},
		"a body over 64 KiB": {post, known + json, 413},
		"nothing there":      {"POST /nowhere", "", 404},
		"another method":     {"PUT " + webhooks, known, 405},
		"without the token":  {"PUT /admin/pause", "", 401},
	} {
		for _, length := range []string{"Content-Length: 200000", "Transfer-Encoding: chunked"} {
			if test.status == 413 && length == "Transfer-Encoding: chunked" {
				continue // that it is too large shows when it has come
			}
			t.Run(name+", "+length, func(t *testing.T) {
				t.Parallel()
				conn := edgetest.Dial(t, address)
				_, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: edge\r\n%s%s\r\n\r\n", test.request, test.headers, length)
				require.NoError(t, err)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, test.status, resp.StatusCode)
				require.True(t, resp.Close)
			})
		}
	}
}

func TestAChunkedBodyOver64KiBEndsTheConnection(t *testing.T) {
	t.Parallel()
	f := setup(t)
	address, _ := f.run(t)
	conn := edgetest.Dial(t, address)
	edgetest.Head(t, conn, "Transfer-Encoding: chunked")
	_, err := fmt.Fprintf(conn, "%x\r\n%0*d", problem.MaxBody+1, problem.MaxBody+1, 0)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 413, resp.StatusCode)
	require.True(t, resp.Close)
}

func TestABodyThatWasReadLeavesTheConnectionToTheNextRequest(t *testing.T) {
	t.Parallel()
	f := setup(t)
	address, _ := f.run(t)
	conn := edgetest.Dial(t, address)
	answers := bufio.NewReader(conn)
	for _, body := range []string{event("workspace.created"), "no JSON", event("workspace.deleted")} {
		edgetest.Head(t, conn, fmt.Sprintf("Content-Length: %d", len(body)))
		_, err := io.WriteString(conn, body)
		require.NoError(t, err)
		resp, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.False(t, resp.Close)
	}
}

func TestTheEdgeReadsForTenSecondsAndHas4096Connections(t *testing.T) {
	t.Parallel()
	f := setup(t)
	server := f.serverOptions()
	require.Equal(t, 10*time.Second, server.ReadTimeout)
	require.Equal(t, 5*time.Second, server.ReadHeaderTimeout)
	require.Equal(t, 2*time.Minute, server.IdleTimeout)
	require.Equal(t, 16<<10, server.MaxHeaderBytes)
	require.Equal(t, 4096, server.MaxConnections)
}

func TestAllowNamesEveryMethod(t *testing.T) {
	t.Parallel()
	f := setup(t)
	resp := f.Do(t, http.MethodPost, "/health", "")
	require.Equal(t, 405, resp.Status)
	require.Equal(t, []string{"GET", "HEAD"}, resp.Header.Values("Allow"))
	w := httptest.NewRecorder()
	f.routes().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/health", http.NoBody))
	require.Equal(t, 200, w.Code)
}

func TestStrangersThatStayDoNotShutTheDoor(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.tests.maxConnections = 8 })
	address, _ := f.run(t)
	for i, request := range []string{
		"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n",
		"",
		"POST " + webhooks + " HTTP/1.1\r\nHost: ed",
		"POST " + webhooks + " HTTP/1.1\r\nHost: edge\r\nContent-Length: 10\r\n\r\n",
		"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: edge\r\n\r\n",
	} {
		for range 2 * f.bounds.maxConnections {
			_, err := io.WriteString(edgetest.Dial(t, address), request)
			require.NoError(t, err)
		}
		require.Equal(t, 200, f.Do(t, http.MethodGet, "/livez", "").Status, i)
		require.Equal(t, 200, f.Send(t, event("workspace.created")).Status, i)
	}
	require.Contains(t, f.Do(t, http.MethodGet, "/health", "").Body, "strangers' are closed to make room")
}

func TestAKnownSenderKeepsItsConnectionWhateverStrangersDo(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.tests.maxConnections = 4 })
	address, _ := f.run(t)
	known := edgetest.Dial(t, address)
	answers := bufio.NewReader(known)
	for range 3 {
		body := event("workspace.created")
		edgetest.Head(t, known, fmt.Sprintf("Content-Length: %d", len(body)))
		_, err := io.WriteString(known, body)
		require.NoError(t, err)
		resp, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
		for range 3 * f.bounds.maxConnections {
			_, err := io.WriteString(edgetest.Dial(t, address), "GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n")
			require.NoError(t, err)
		}
		require.Equal(t, 200, f.Do(t, http.MethodGet, "/livez", "").Status)
	}
}

func TestAnEscapeThatIsNotNeededNamesTheSameStore(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Ensure(t, "my-store_1")
	f.handler = f.routes() // the description's reader of requests knows no escapes
	for target, status := range map[string]int{
		"/stores/my-store_1":         200,
		"/stores/my%2Dstore%5F1":     200,
		"/stores/%6dy-st%6Fre_1":     200,
		"/st%6Fres/my%2dstore%5f1":   200,
		"/stores/my%252Dstore_1":     400,
		"/stores/my-store_1%2Fpause": 400,
		"/stores/..%2Fmy-store_1":    400,
		"/stores/my-store_1%00":      400,
		"/stores/my%EF%BC%8Dstore_1": 400,
		"/stores%2Fmy-store_1":       404,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r)
		require.Equal(t, status, w.Code, target)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/stores/my%2Dstore_1/pause", strings.NewReader(`{"reason":"r","actor":"a"}`))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	require.Equal(t, 200, w.Code, w.Body)
	require.Contains(t, w.Body.String(), `"my-store_1"`)
}

func TestWebhookIsAPost(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		resp := f.Do(t, method, webhooks, event("workspace.created"), "X-Webhook-Secret", secret)
		require.Equal(t, 405, resp.Status, method)
		require.Equal(t, "POST", resp.Header.Get("Allow"), method)
		edgetest.RequireError(t, resp, "Method not allowed")
	}
	require.Empty(t, f.Temporal.Applied())
}

func TestManualReconcileIsAPost(t *testing.T) {
	t.Parallel()
	f := setup(t)
	resp := f.Get(t, "/admin/reconcile")
	require.Equal(t, 405, resp.Status)
	require.Equal(t, "POST", resp.Header.Get("Allow"))
}

func TestWebhookEndsAHalfSentBody(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.tests.readTimeout = 200 * time.Millisecond })
	address, _ := f.run(t)
	for _, length := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		conn := edgetest.Dial(t, address)
		edgetest.Head(t, conn, length+"\r\n\r\n32\r\n{\"event\":")
		require.Equal(t, 408, edgetest.ReadStatus(t, conn), length)
		edgetest.RequireClosed(t, conn)
	}
	require.Empty(t, f.Temporal.Applied())
}

func TestManualReconcileMayTakeLongerThanARequestMayBeRead(t *testing.T) {
	t.Parallel()
	run := &edgetest.Reconcile{Done: make(chan struct{}), Report: contract.ReconcileReport{DriftCount: 1}}
	f := setup(t, func(f *fixture) { f.Temporal.Run, f.tests.readTimeout = run, 100*time.Millisecond })
	f.run(t)
	time.AfterFunc(3*f.bounds.readTimeout, func() { close(run.Done) })
	require.Equal(t, 200, f.Ask(t, http.MethodPost, "/admin/reconcile", "").Status)
}

func TestAPanicIs500AndSaysNothing(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) {
		f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) { panic("inner text") }
	})
	resp := f.Send(t, event("workspace.created"), "X-Request-Id", "abc-123")
	require.Equal(t, 500, resp.Status)
	edgetest.RequireError(t, resp, "Internal server error")
	require.Equal(t, "abc-123", resp.Header.Get("X-Request-Id"))
	require.Contains(t, f.Logs.String(), "inner text")
	require.Contains(t, f.Logs.String(), "abc-123")
}

func TestARequestIDThatIsNotPlainIsReplaced(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, id := range []string{"a b", "<script>", strings.Repeat("a", 129)} {
		require.NotEqual(t, id, f.Do(t, http.MethodGet, "/livez", "", "X-Request-Id", id).Header.Get("X-Request-Id"))
	}
}

func TestAnythingElseIsNotFound(t *testing.T) {
	t.Parallel()
	f := setup(t)
	resp := f.Do(t, http.MethodGet, "/nowhere", "")
	require.Equal(t, 404, resp.Status)
	edgetest.RequireError(t, resp, "Not found")

	index := f.Do(t, http.MethodGet, "/", "")
	require.Equal(t, 200, index.Status)
	for name := range endpoints {
		require.Contains(t, index.JSON(t)["endpoints"], name)
	}
}

func TestWhatShowsIDsOrActsWantsTheToken(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Run = edgetest.Finished(contract.ReconcileReport{}, nil) })
	f.Ensure(t, storeA)
	for _, target := range [][2]string{
		{http.MethodGet, "/stores"},
		{http.MethodGet, "/stores/" + storeA},
		{http.MethodPost, "/admin/reconcile"},
		{http.MethodGet, "/admin/reconcile/runs"},
		{http.MethodPut, "/admin/pause"},
		{http.MethodDelete, "/admin/pause"},
		{http.MethodPut, "/stores/" + storeA + "/pause"},
		{http.MethodDelete, "/stores/" + storeA + "/pause"},
	} {
		for name, headers := range map[string][]string{
			"none":            {},
			"a wrong one":     {"Authorization", "Bearer wrong"},
			"an empty one":    {"Authorization", "Bearer "},
			"another scheme":  {"Authorization", "Basic " + token},
			"without scheme":  {"Authorization", token},
			"a wrong server":  {"X-Server-Token", "wrong"},
			"the webhook's":   {"X-Server-Token", secret},
			"in another name": {"X-Webhook-Secret", token},
		} {
			resp := f.Do(t, target[0], target[1], "", headers...)
			require.Equal(t, 401, resp.Status, "%v with %s", target, name)
			edgetest.RequireError(t, resp, "Unauthorized")
		}
	}
	for _, headers := range [][]string{
		{"Authorization", "Bearer " + token},
		{"Authorization", "bearer " + token},
		{"X-Server-Token", token},
	} {
		require.Equal(t, 200, f.Do(t, http.MethodGet, "/stores", "", headers...).Status, headers[0])
	}
}

func TestADemoAnswersItsOwnHostsAlone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	server, err := New(Options{
		Config: f.Config, Orchestrator: f.Temporal, StoreManager: f.Registry, Metrics: f.Metrics, Log: zap.NewNop(), Guard: ownhost.New("127.0.0.1:0"),
	})
	require.NoError(t, err)
	for host, want := range map[string]int{"127.0.0.1:8787": http.StatusOK, "localhost": http.StatusOK, "rebound.example.com": http.StatusMisdirectedRequest} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/livez", nil)
		r.Host = host
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, r)
		require.Equal(t, want, w.Code, host)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"), "whatever the answer")
		require.NotEmpty(t, w.Header().Get("X-Request-Id"))
	}
}
