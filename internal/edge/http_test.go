package edge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
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

func TestNotMoreConnectionsThanTheEdgeCanCarryAreServed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.maxConnections = 1
	address, _ := f.run(t)
	first := dial(t, address)
	head(t, first, "Content-Length: 100")
	require.Eventually(t, func() bool { return len(f.bodies) == 1 }, 30*time.Second, time.Millisecond)
	second := dial(t, address)
	_, err := io.WriteString(second, "GET /livez HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	require.NoError(t, second.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = second.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, first.Close())
	require.NoError(t, second.SetReadDeadline(time.Now().Add(30*time.Second)))
	require.Equal(t, 200, readStatus(t, second))
}

func TestTheBoundsOfTheEdge(t *testing.T) {
	t.Parallel()
	f := setup(t)
	server := f.httpServer()
	require.Equal(t, 10*time.Second, server.ReadTimeout)
	require.Equal(t, 5*time.Second, server.ReadHeaderTimeout)
	require.Equal(t, 75*time.Second, server.WriteTimeout)
	require.Equal(t, 2*time.Minute, server.IdleTimeout)
	require.Equal(t, 16<<10, server.MaxHeaderBytes)
	require.Equal(t, 2048, cap(f.bodies))
	require.Equal(t, 2048, cap(f.unprovenBodies))
	require.Equal(t, 512, cap(f.events))
	require.Equal(t, 4096, f.maxConnections)
	require.False(t, f.atTemporal.TryAcquire(49))
	require.True(t, f.atTemporal.TryAcquire(48))
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
