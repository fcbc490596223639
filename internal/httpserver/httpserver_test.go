package httpserver_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"storekeeper/internal/httpserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second

type bundle struct {
	server  *httpserver.Server
	address string
	// served counts the requests that handlers have begun with.
	served atomic.Int64
	// stuck requests wait until it is closed.
	release chan struct{}
	cutOff  atomic.Bool // of the large answer
}

// setup serves; "Authorization: known" is trusted.
func setup(t *testing.T, change func(*httpserver.Options)) *bundle {
	t.Helper()
	b := &bundle{release: make(chan struct{})}
	r := chi.NewRouter()
	r.Use(httpserver.Prepare)
	r.HandleFunc("/fine", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "known" {
			httpserver.Trust(r.Context())
		}
		b.served.Add(1)
		_, _ = io.Copy(w, r.Body)
	})
	r.HandleFunc("/stuck", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "known" {
			httpserver.Trust(r.Context())
		}
		b.served.Add(1)
		select {
		case <-b.release:
			_, _ = io.WriteString(w, "late")
		case <-r.Context().Done():
		}
	})
	r.HandleFunc("/unread", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "not read") })
	r.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		b.served.Add(1)
		for range 1024 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				b.cutOff.Store(true)
				return
			}
		}
	})
	r.HandleFunc("/things/{id}", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, httpserver.PathParam(r, "id")) })
	o := httpserver.Options{
		Handler: r, ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: patience, MaxConnections: 4,
	}
	if change != nil {
		change(&o)
	}
	b.server = httpserver.New(o)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b.address = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- b.server.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, b.server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return b
}

type connection struct {
	net.Conn
	answers *bufio.Reader
}

func (b *bundle) dial(t *testing.T) *connection {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &connection{conn, bufio.NewReader(conn)}
}

func (c *connection) write(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

// answer is what came of one.
type answer struct {
	status int
	close  bool // the connection is over
	body   string
}

// read returns the next answer.
func (c *connection) read(t *testing.T) answer {
	t.Helper()
	resp, err := http.ReadResponse(c.answers, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Close, string(text)}
}

func (c *connection) get(t *testing.T, path, header string) {
	t.Helper()
	c.write(t, "GET "+path+" HTTP/1.1\r\nHost: here\r\n"+header+"\r\n")
}

func (c *connection) requireClosed(t *testing.T) {
	t.Helper()
	_, err := c.answers.ReadByte()
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestStrangersThatStayMakeRoomTheLongestIdleFirst(t *testing.T) {
	t.Parallel()
	for name, stay := range map[string]func(t *testing.T, c *connection){
		"after a request": func(t *testing.T, c *connection) {
			t.Helper()
			c.get(t, "/fine", "")
			c.read(t)
		},
		"and send nothing":    func(*testing.T, *connection) {},
		"in the head":         func(t *testing.T, c *connection) { t.Helper(); c.write(t, "GET /fine HTTP/1.1\r\nHost: he") },
		"in the next head":    func(t *testing.T, c *connection) { t.Helper(); c.get(t, "/fine", ""); c.read(t); c.write(t, "GET /fi") },
		"in the request line": func(t *testing.T, c *connection) { t.Helper(); c.write(t, "G") },
		"in the body": func(t *testing.T, c *connection) {
			t.Helper()
			c.get(t, "/fine", "Content-Length: 10\r\n")
			c.write(t, "half")
		},
		"in a chunk": func(t *testing.T, c *connection) {
			t.Helper()
			c.get(t, "/fine", "Transfer-Encoding: chunked\r\n")
			c.write(t, "a\r\n")
		},
		"while they are served": func(t *testing.T, c *connection) { t.Helper(); c.get(t, "/stuck", "") },
		"without reading":       func(t *testing.T, c *connection) { t.Helper(); c.get(t, "/large", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			known := b.dial(t)
			known.get(t, "/fine", "Authorization: known\r\n")
			known.read(t)
			var strangers []*connection
			for i := range 7 {
				c := b.dial(t)
				stay(t, c)
				strangers = append(strangers, c)
				// A probe in between has its answer, however many have come, and so has a known sender that was idle.
				probe := b.dial(t)
				probe.get(t, "/fine", "Connection: close\r\n")
				resp := probe.read(t)
				require.Equal(t, 200, resp.status, i)
				known.get(t, "/fine", "Authorization: known\r\n")
				resp = known.read(t)
				require.Equal(t, 200, resp.status, i)
				require.LessOrEqual(t, b.server.Connections(), 4)
			}
			require.True(t, b.server.Crowded(time.Minute))
			if name != "without reading" { // there is much to read first
				strangers[0].requireClosed(t)
			}
		})
	}
}

func TestKnownSendersThatAreServedMakeNoRoom(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	var known []*connection
	for i := range 4 {
		c := b.dial(t)
		c.get(t, "/stuck", "Authorization: known\r\n")
		known = append(known, c)
		require.Eventually(t, func() bool { return b.served.Load() == int64(i+1) }, patience, time.Millisecond)
	}
	b.dial(t).requireClosed(t)
	close(b.release)
	for _, c := range known {
		require.Equal(t, "late", c.read(t).body)
	}
	probe := b.dial(t)
	probe.get(t, "/fine", "")
	resp := probe.read(t)
	require.Equal(t, 200, resp.status, "they are idle now")
}

func TestAConnectionThatIsClosedLeavesItsPlace(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for range 20 {
		c := b.dial(t)
		c.get(t, "/fine", "Connection: close\r\n")
		c.read(t)
		require.Eventually(t, func() bool { return b.server.Connections() == 0 }, patience, time.Millisecond)
	}
	require.False(t, b.server.Crowded(time.Minute))
}

func TestAHandlerHasAllTheTimeThatItTakes(t *testing.T) {
	t.Parallel()
	const short = 200 * time.Millisecond
	b := setup(t, func(o *httpserver.Options) { o.ReadTimeout, o.ReadHeaderTimeout, o.WriteTimeout = short, short, short })
	var waiting []*connection
	for _, request := range []string{
		"GET /stuck HTTP/1.1\r\nHost: here\r\n\r\n",
		"POST /stuck HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n",
	} {
		c := b.dial(t)
		c.write(t, request)
		waiting = append(waiting, c)
	}
	require.Eventually(t, func() bool { return b.served.Load() == 2 }, patience, time.Millisecond)
	<-time.After(3 * short) // what must not happen can't be waited for
	close(b.release)
	for _, c := range waiting {
		resp := c.read(t)
		require.Equal(t, 200, resp.status)
		require.Equal(t, "late", resp.body)
		c.get(t, "/fine", "")
		resp = c.read(t)
		require.Equal(t, 200, resp.status, "the connection goes on")
	}
}

func TestAnAnswerThatIsNotReadEnds(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpserver.Options) { o.WriteTimeout = 100 * time.Millisecond })
	b.dial(t).get(t, "/large", "")
	require.Eventually(t, b.cutOff.Load, patience, time.Millisecond)
}

func TestWhatAnotherReaderCouldReadInAnotherWayEndsTheConnection(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpserver.Options) { o.MaxConnections = 100 })
	const chunks = "5\r\nhello\r\n0\r\n\r\n"
	for name, test := range map[string]struct {
		request string
		status  int
		closed  bool
	}{
		"a body with a length": {"POST /fine HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello", 200, false},
		"no body":              {"GET /fine HTTP/1.1\r\nHost: here\r\n\r\n", 200, false},
		"the same length twice": {
			"POST /fine HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 200, false,
		},
		"a length that is expected": {"POST /fine HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello", 100, false},
		"an absolute target":        {"GET http://elsewhere/fine HTTP/1.1\r\nHost: here\r\n\r\n", 200, false},
		"a folded line":             {"GET /fine HTTP/1.1\r\nHost: here\r\nX-More: a\r\n b\r\n\r\n", 200, false},
		"lines without CR":          {"GET /fine HTTP/1.1\nHost: here\n\n", 200, false},
		"an unread body":            {"POST /unread HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello", 200, true},
		"chunks":                    {"POST /fine HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, 200, true},
		"chunks and a length":       {"POST /fine HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, 200, true},
		"a length and chunks in another case": {
			"POST /fine HTTP/1.1\r\nHost: here\r\ntransfer-encoding: CHUNKED\r\ncontent-length: 0\r\n\r\n" + chunks, 200, true,
		},
		"chunks in HTTP/1.0": {
			"POST /fine HTTP/1.0\r\nHost: here\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, 200, true,
		},
		"chunks and a length in HTTP/1.0": {
			"POST /fine HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, 200, true,
		},
		"two lengths":          {"POST /fine HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, true},
		"a list of lengths":    {"POST /fine HTTP/1.1\r\nHost: here\r\nContent-Length: 5, 6\r\n\r\nhello", 400, true},
		"a length with a sign": {"POST /fine HTTP/1.1\r\nHost: here\r\nContent-Length: +5\r\n\r\nhello", 400, true},
		"another coding":       {"POST /fine HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + chunks, 501, true},
		"chunks twice":         {"POST /fine HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked, chunked\r\n\r\n" + chunks, 501, true},
		"no coding":            {"POST /fine HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: identity\r\n\r\nhello", 501, true},
		"two hosts":            {"GET /fine HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n", 400, true},
		"no host":              {"GET /fine HTTP/1.1\r\n\r\n", 400, true},
		"another expectation":  {"POST /fine HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nExpect: more\r\n\r\nhello", 417, true},
		"space before a colon": {"GET /fine HTTP/1.1\r\nHost: here\r\nTransfer-Encoding : chunked\r\n\r\n", 400, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := b.dial(t)
			// What comes behind would be smuggled in if the body were thought to end elsewhere.
			c.write(t, test.request+"GET /fine HTTP/1.1\r\nHost: here\r\nX-Behind: 1\r\n\r\n")
			resp := c.read(t)
			require.Equal(t, test.status, resp.status)
			if test.status == 100 {
				resp = c.read(t)
				require.Equal(t, 200, resp.status)
			}
			if test.closed {
				require.True(t, resp.close)
				c.requireClosed(t)
				return
			}
			require.False(t, resp.close)
			resp = c.read(t)
			require.Equal(t, 200, resp.status)
		})
	}
}

func TestAnEscapeThatIsNotNeededChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpserver.Options) { o.MaxConnections = 100 })
	for path, want := range map[string]string{
		"/things/my-store_1":                    "my-store_1",
		"/things/my%2Dstore%5F1":                "my-store_1",
		"/things/my%2dstore%5f1":                "my-store_1",
		"/%74hings/a%7Eb%2E":                    "a~b.",
		"/things/%61%2F%62":                     "a/b",
		"/things/a%2Fb%3Fc":                     "a/b?c",
		"/things/%2e%2e%2Fetc":                  "../etc",
		"/things/my%252Dstore":                  "my%2Dstore",
		"/things/my%252Dstore%2D":               "my%2Dstore-",
		"/things/caf%C3%A9":                     "café",
		"/things/a%20b":                         "a b",
		"/things/a%2Fb/c":                       "", // not found
		"/things%2Fa":                           "",
		"/things/" + strings.Repeat("%61", 100): strings.Repeat("a", 100),
	} {
		c := b.dial(t)
		c.get(t, path, "")
		resp := c.read(t)
		if want == "" {
			require.Equal(t, 404, resp.status, path)
			continue
		}
		require.Equal(t, want, resp.body, path)
	}
	c := b.dial(t)
	c.get(t, "/things/a%zz", "")
	resp := c.read(t)
	require.Equal(t, 400, resp.status)
}
