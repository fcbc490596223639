package storehttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/httpclient"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/changelog"
	"storekeeper/internal/storemanager/storetest"
)

// listen serves s with time-outs that are much shorter than a stream.
func listen(t *testing.T, s *server) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(storetest.Documented(t, s.routes()))
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

func stream(t *testing.T, url string, header http.Header) *bufio.Reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	req.Header = header
	req.Header.Set("Authorization", bearer)
	transport := &http.Transport{}
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
	})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	return bufio.NewReader(resp.Body)
}

func requireLines(t *testing.T, r *bufio.Reader, want ...string) {
	t.Helper()
	for _, w := range want {
		got, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, w+"\n", got)
	}
}

func TestTheWireFormOfAStreamIsPlain(t *testing.T) {
	t.Parallel()
	log := changelog.New()
	srv := listen(t, newServer(Options{Watcher: log, Tokens: httpserver.FixedTokens(storetest.Token)}))
	t.Cleanup(log.Close)
	e := strings.TrimSuffix(idOf(t, log, 0), "-0")
	r := stream(t, srv.URL+"/v1/changes?after=other", http.Header{"Last-Event-Id": {e + "-0"}})
	requireLines(t, r, ":", "")
	log.Append(storemanager.Change{StoreID: storetest.ID, Connection: storemanager.ConnectionError, Previous: storemanager.ConnectionConnected, At: storetest.T0, Reason: "a\nb"})
	requireLines(t, r, "id: "+e+"-1", "event: change",
		`data: {"id":"`+e+`-1","storeId":"workspace-1","connection":"error","previous":"connected","at":"2026-11-23T12:00:00Z","reason":"a\nb"}`, "")

	r = stream(t, srv.URL+"/v1/changes?after=other", http.Header{})
	requireLines(t, r, ":", "", "id: "+e+"-1", "event: lost", `data: {"id":"`+e+`-1","lost":true}`, "")
	log.Close()
	_, err := r.ReadString('\n')
	require.ErrorIs(t, err, io.EOF)
}

func TestAStreamOutlivesTheTimeoutsOfItsServer(t *testing.T) {
	t.Parallel()
	log := changelog.New()
	s := newServer(Options{Watcher: log, Tokens: httpserver.FixedTokens(storetest.Token)})
	s.heartbeat = 10 * time.Millisecond
	srv := listen(t, s)
	t.Cleanup(log.Close)
	c, err := NewClient(srv.URL, httpclient.Fixed(storetest.Token), &http.Client{Timeout: 50 * time.Millisecond, Transport: &http.Transport{}})
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	told, ended := storetest.Watch(t, c, idOf(t, log, 0))

	r := stream(t, srv.URL+"/v1/changes?after="+idOf(t, log, 0), http.Header{})
	for range 30 { // heartbeats: 0.3 s
		requireLines(t, r, ":", "")
	}
	log.Append(storetest.SomeChange(1))
	require.Equal(t, idOf(t, log, 1), storetest.Next(t, told).ID)
	log.Close()
	require.ErrorIs(t, storetest.Next(t, ended), storemanager.ErrShutdown)
}

// failing is a Watcher that can't go on.
type failing struct{}

func TestAStreamThatFailsDoesNotLookLikeAnEnd(t *testing.T) {
	t.Parallel()
	err := serve(t, Options{Watcher: failing{}}).Watch(t.Context(), "", nil)
	require.ErrorContains(t, err, "EOF")
	require.NotErrorIs(t, err, storemanager.ErrShutdown)
}

func TestAStreamEndsWhenItsCallerGoes(t *testing.T) {
	t.Parallel()
	log := changelog.New()
	s := newServer(Options{Watcher: log, Tokens: httpserver.FixedTokens(storetest.Token)})
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		s.routes().ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(log.Close)
	c, err := NewClient(srv.URL, httpclient.Fixed(storetest.Token), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	require.ErrorIs(t, c.Watch(ctx, "", func(storemanager.Change) error {
		cancel()
		return nil
	}), context.Canceled)
	storetest.Next(t, ended)
}

func TestAStreamWhoseCallerDoesNotReadIsBrokenOff(t *testing.T) {
	t.Parallel()
	log := changelog.New()
	huge := storetest.SomeChange(1)
	huge.Reason = strings.Repeat("x", 1<<16)
	for range 500 { // 32 MiB: more than any socket holds
		log.Append(huge)
	}
	s := newServer(Options{Watcher: log, Tokens: httpserver.FixedTokens(storetest.Token)})
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		s.routes().ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(log.Close)
	// It is connected, and reads nothing, not even the header.
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "GET /v1/changes?after=%s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", idOf(t, log, 0), bearer)
	require.NoError(t, err)
	began := time.Now()
	select {
	case <-ended:
		require.Greater(t, time.Since(began), streamWriteTimeout/2, "it ended for another reason")
	case <-time.After(streamWriteTimeout + 20*time.Second):
		require.FailNow(t, "the stream still waits for its caller")
	}
}

func TestChangesNeedAWatcherAndAToken(t *testing.T) {
	t.Parallel()
	h := handler(storetest.Open(t, storetest.Settings{}), storetest.Token)
	requireProblem(t, send(t, h, http.MethodGet, "/v1/changes", bearer, ""), http.StatusNotImplemented, "not_supported")
	requireProblem(t, send(t, h, http.MethodGet, "/v1/changes", "", ""), http.StatusUnauthorized, "unauthorized")

	c := serve(t, Options{Manager: storetest.Open(t, storetest.Settings{})})
	err := c.Watch(t.Context(), "", nil)
	require.ErrorContains(t, err, "does not tell of changes")
	require.NotErrorIs(t, err, storemanager.ErrShutdown)
	c.token = httpclient.Fixed("wrong")
	require.ErrorIs(t, c.Watch(t.Context(), "", nil), storemanager.ErrUnauthorized)
}

func TestClientTellsAnEndFromABreak(t *testing.T) {
	t.Parallel()
	events := func(then func(w http.ResponseWriter, r *http.Request), content ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			for _, text := range content {
				_, _ = io.WriteString(w, text)
				_ = http.NewResponseController(w).Flush()
			}
			then(w, r)
		}
	}
	end := func(http.ResponseWriter, *http.Request) {}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	cut := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	const event = ": hello\n\nid: e-1\nevent: lost\nretry: 5\ndata: {\"id\":\"e-1\",\"lost\":true}\n\n"
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		told    int
		want    string
	}{
		"ended":                       {events(end, event, event), 2, storemanager.ErrShutdown.Error()},
		"lines of another kind":       {events(end, strings.ReplaceAll(event, "\n", "\r\n")), 1, storemanager.ErrShutdown.Error()},
		"cut":                         {events(cut, event), 1, "unexpected EOF"},
		"cut at once":                 {events(cut), 0, "EOF"},
		"silent":                      {events(hang, event), 1, "it was silent for"},
		"silent from the start":       {hang, 0, "it was silent for"},
		"not JSON":                    {events(end, "data: {\n\n"), 0, "read change of store manager"},
		"an endless line":             {events(hang, strings.Repeat("x", 1<<17)), 0, "token too long"},
		"a page of a proxy":           {func(w http.ResponseWriter, _ *http.Request) { httpserver.WriteJSON(w, http.StatusOK, nothing{}) }, 0, "no event stream"},
		"a proxy without the manager": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, 0, "answered 502"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := answering(t, test.handler)
			c.silence = 10 * time.Second
			if strings.Contains(test.want, "silent") {
				c.silence = 100 * time.Millisecond
			}
			told := 0
			err := c.Watch(t.Context(), "", func(got storemanager.Change) error {
				require.Equal(t, storemanager.Change{ID: "e-1", Lost: true}, got)
				told++
				return nil
			})
			require.ErrorContains(t, err, test.want)
			require.Equal(t, test.want == storemanager.ErrShutdown.Error(), errors.Is(err, storemanager.ErrShutdown))
			require.Equal(t, test.told, told)
		})
	}
}

func TestClientDoesNotTakeItsOwnSlownessForSilence(t *testing.T) {
	t.Parallel()
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", eventStreamType)
		for i := range 3 {
			_, _ = io.WriteString(w, "data: {\"id\":\""+strconv.Itoa(i)+"\"}\n\n")
			_ = http.NewResponseController(w).Flush()
		}
	})
	c.silence = 200 * time.Millisecond
	busy := time.NewTicker(300 * time.Millisecond)
	defer busy.Stop()
	told := 0
	require.ErrorIs(t, c.Watch(t.Context(), "", func(storemanager.Change) error {
		<-busy.C
		told++
		return nil
	}), storemanager.ErrShutdown)
	require.Equal(t, 3, told)
}

func (failing) Watch(context.Context, string, func(storemanager.Change) error) error {
	return errSecret
}

// idOf is the id of the log's change of that number.
func idOf(t *testing.T, log *changelog.Log, n int) string {
	t.Helper()
	var epoch string
	enough := errors.New("enough")
	require.ErrorIs(t, log.Watch(t.Context(), "", func(c storemanager.Change) error {
		epoch, _, _ = strings.Cut(c.ID, "-")
		return enough
	}), enough)
	return fmt.Sprintf("%s-%d", epoch, n)
}
