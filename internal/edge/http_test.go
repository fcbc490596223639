package edge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhoIsRefusedByTheHeadersIsAnsweredBeforeTheBodyHasCome(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.readTimeout = time.Minute // a server that waited for the body would take longer than the test
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
				conn := dial(t, address)
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
	conn := dial(t, address)
	head(t, conn, "Transfer-Encoding: chunked")
	_, err := fmt.Fprintf(conn, "%x\r\n%0*d", maxBody+1, maxBody+1, 0)
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
	conn := dial(t, address)
	answers := bufio.NewReader(conn)
	for _, body := range []string{event("workspace.created"), "no JSON", event("workspace.deleted")} {
		head(t, conn, fmt.Sprintf("Content-Length: %d", len(body)))
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

func TestTheBoundsOfTheEdge(t *testing.T) {
	t.Parallel()
	f := setup(t)
	server := f.httpServer()
	require.Equal(t, 10*time.Second, server.ReadTimeout)
	require.Equal(t, 5*time.Second, server.ReadHeaderTimeout)
	require.Zero(t, server.WriteTimeout, "it would count from the head of the request; see httpserver.Options")
	require.Equal(t, 2*time.Minute, server.IdleTimeout)
	require.Equal(t, 16<<10, server.MaxHeaderBytes)
	require.Equal(t, 2048, cap(f.bodies))
	require.Equal(t, 2048, cap(f.unprovenBodies))
	require.Equal(t, 512, cap(f.events))
	require.Equal(t, 4096, f.maxConnections)
	require.Equal(t, 8, f.lane.limiter.Limit())
}

func TestAllowNamesEveryMethod(t *testing.T) {
	t.Parallel()
	f := setup(t)
	resp := f.do(t, http.MethodPost, "/health", "")
	require.Equal(t, 405, resp.status)
	require.Equal(t, []string{"GET", "HEAD"}, resp.header.Values("Allow"))
	w := httptest.NewRecorder()
	f.routes().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/health", http.NoBody))
	require.Equal(t, 200, w.Code)
}

func TestStrangersThatStayDoNotShutTheDoor(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.maxConnections = 8
	address, _ := f.run(t)
	for i, request := range []string{
		"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n",
		"",
		"POST " + webhooks + " HTTP/1.1\r\nHost: ed",
		"POST " + webhooks + " HTTP/1.1\r\nHost: edge\r\nContent-Length: 10\r\n\r\n",
		"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: edge\r\n\r\n",
	} {
		for range 2 * f.maxConnections {
			_, err := io.WriteString(dial(t, address), request)
			require.NoError(t, err)
		}
		require.Equal(t, 200, f.do(t, http.MethodGet, "/livez", "").status, i)
		require.Equal(t, 200, f.send(t, event("workspace.created")).status, i)
	}
	require.Contains(t, f.do(t, http.MethodGet, "/health", "").body, "strangers' are closed to make room")
}

func TestAKnownSenderKeepsItsConnectionWhateverStrangersDo(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.maxConnections = 4
	address, _ := f.run(t)
	known := dial(t, address)
	answers := bufio.NewReader(known)
	for range 3 {
		body := event("workspace.created")
		head(t, known, fmt.Sprintf("Content-Length: %d", len(body)))
		_, err := io.WriteString(known, body)
		require.NoError(t, err)
		resp, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
		for range 3 * f.maxConnections {
			_, err := io.WriteString(dial(t, address), "GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n")
			require.NoError(t, err)
		}
		require.Equal(t, 200, f.do(t, http.MethodGet, "/livez", "").status)
	}
}

func TestAnEscapeThatIsNotNeededNamesTheSameStore(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.ensure(t, "my-store_1")
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
