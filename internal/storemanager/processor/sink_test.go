package processor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager/storetest"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/livestore"
	"storekeeper/internal/tracing"
	"storekeeper/internal/tunnel"
)

const testSinkSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// sink is a receiver of events and a processor that POSTs to it.
type sink struct {
	*Sink
	server *httptest.Server

	mu       sync.Mutex
	received []post
	conns    int // how many there were
}

// post is what the receiver got.
type post struct {
	header http.Header
	body   []byte
}

// setupSink starts a receiver that answers as it is told after it has noted what it got; nil answers 200.
func setupSink(t *testing.T, answer http.HandlerFunc) *sink {
	t.Helper()
	s := &sink{}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // whoever has sent it is gone
		}
		s.mu.Lock()
		s.received = append(s.received, post{r.Header, body})
		s.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}))
	s.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if state == http.StateNew {
			s.conns++
		}
	}
	s.server.Start()
	t.Cleanup(s.server.Close)
	s.Sink = newSink(t, SinkOptions{URL: s.server.URL + "/events"})
	return s
}

func newSink(t *testing.T, o SinkOptions) *Sink {
	t.Helper()
	o.Secret = httpclient.Fixed(testSinkSecret)
	p, err := NewSink(o)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// posts returns what was received, after the reference library has verified all of it.
func (s *sink) posts(t *testing.T) []post {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	webhook, err := standardwebhooks.NewWebhook(testSinkSecret)
	require.NoError(t, err)
	for _, p := range s.received {
		require.NoError(t, webhook.Verify(p.body, p.header))
	}
	return s.received
}

// batchOf is a batch of the events first to last.
func batchOf(storeID string, first, last int64) Batch {
	b := Batch{storeID, "8pu-i-Rz5kQH3RFXkk5Js", nil}
	for seq := first; seq <= last; seq++ {
		b.Events = append(b.Events, livestore.Event{
			Name: "v1.Noted", Args: json.RawMessage(`{"text":"ünïcode <&>"}`), Seq: seq, Parent: seq - 1, ClientID: "c", SessionID: "s",
			CreatedAt: storetest.At(int(seq)),
		})
	}
	return b
}

func TestASinkGetsASignedBatch(t *testing.T) {
	t.Parallel()
	s := setupSink(t, nil)
	require.NoError(t, s.Process(t.Context(), batchOf("store-1", 2, 3)))
	unknown := batchOf("store-1", 4, 4)
	unknown.Events[0].Args, unknown.Events[0].CreatedAt = nil, time.Time{}
	require.NoError(t, s.Process(t.Context(), unknown))
	s.Stop("store-1")

	posts := s.posts(t)
	require.Len(t, posts, 2)
	require.Equal(t, "application/json", posts[0].header.Get("Content-Type"))
	require.JSONEq(t, `{"type":"store.events","timestamp":"2026-11-23T12:00:03Z","data":{"storeId":"store-1","backendId":"8pu-i-Rz5kQH3RFXkk5Js","events":[
		{"name":"v1.Noted","args":{"text":"ünïcode <&>"},"seqNum":2,"parentSeqNum":1,"clientId":"c","sessionId":"s","createdAt":"2026-11-23T12:00:02Z"},
		{"name":"v1.Noted","args":{"text":"ünïcode <&>"},"seqNum":3,"parentSeqNum":2,"clientId":"c","sessionId":"s","createdAt":"2026-11-23T12:00:03Z"}]}}`,
		string(posts[0].body))

	var sent struct {
		Timestamp time.Time
		Data      struct{ Events []map[string]any }
	}
	require.NoError(t, json.Unmarshal(posts[1].body, &sent))
	require.WithinDuration(t, time.Now(), sent.Timestamp, time.Minute)
	require.Equal(t, map[string]any{
		"name": "v1.Noted", "args": nil, "seqNum": 4.0, "parentSeqNum": 3.0, "clientId": "c", "sessionId": "s",
	}, sent.Data.Events[0])
}

func TestARepeatedBatchHasTheSameIDAndNoOtherHasIt(t *testing.T) {
	t.Parallel()
	fails := true
	s := setupSink(t, func(w http.ResponseWriter, _ *http.Request) {
		if fails {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	require.Error(t, s.Process(t.Context(), batchOf("store-1", 1, 3)))
	require.Error(t, s.Process(t.Context(), batchOf("store-1", 1, 3)))
	fails = false
	require.NoError(t, s.Process(t.Context(), batchOf("store-1", 1, 3)))
	repeated := s.posts(t)
	require.Len(t, repeated, 3, "one POST for each call")
	ids := map[string]bool{}
	for _, p := range repeated {
		require.JSONEq(t, string(repeated[0].body), string(p.body))
		ids[p.header.Get("webhook-id")] = true
	}
	require.Len(t, ids, 1)

	reset := batchOf("store-1", 1, 3)
	reset.BackendID = "any text.\r\nX-Other: " + strings.Repeat("x", 1000)
	for _, b := range []Batch{batchOf("store-2", 1, 3), batchOf("store-1", 1, 2), batchOf("store-1", 2, 3), reset} {
		require.NoError(t, s.Process(t.Context(), b))
		ids[b.messageID()] = true
		require.Regexp(t, `^[A-Za-z0-9_-]{1,128}$`, b.messageID())
	}
	require.Len(t, ids, 5)
	for _, p := range s.posts(t) {
		require.Contains(t, ids, p.header.Get("webhook-id"))
	}
}

func TestOnlyAStatusOf2xxTakesABatch(t *testing.T) {
	t.Parallel()
	for status, taken := range map[int]bool{
		200: true, 201: true, 202: true, 204: true, 299: true,
		300: false, 301: false, 302: false, 303: false, 304: false, 307: false, 308: false,
		400: false, 401: false, 404: false, 410: false, 429: false, 500: false, 503: false, 599: false,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := setupSink(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
			})
			err := s.Process(t.Context(), batchOf("store-1", 1, 1))
			require.Len(t, s.posts(t), 1, "redirects are not followed")
			if taken {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, fmt.Sprintf("the event sink answered with status %d", status))
			}
		})
	}
}

func TestASinkSaysWhenToTryAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		header string
		want   time.Time // zero: it does not say
	}{
		"in seconds":                       {429, "7", storetest.At(7)},
		"in seconds, when it is away":      {503, "120", storetest.At(120)},
		"as a date":                        {503, storetest.At(42).Format(http.TimeFormat), storetest.At(42)},
		"in too many seconds":              {429, "86400", storetest.At(300)},
		"with more seconds than time has":  {429, "99999999999999999999", storetest.At(300)},
		"as a date that is too far away":   {429, storetest.At(86400).Format(http.TimeFormat), storetest.At(300)},
		"as a date of the past":            {429, storetest.At(-1).Format(http.TimeFormat), time.Time{}},
		"at once":                          {429, "0", time.Time{}},
		"with a negative number":           {429, "-5", time.Time{}},
		"in other words":                   {429, "soon", time.Time{}},
		"not at all":                       {429, "", time.Time{}},
		"with a status that has no if yet": {500, "7", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setupSink(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", tc.header)
				w.WriteHeader(tc.status)
			})
			s.now = func() time.Time { return storetest.T0 }
			err := s.Process(t.Context(), batchOf("store-1", 1, 1))
			require.EqualError(t, err, fmt.Sprintf("the event sink answered with status %d", tc.status))
			var later *RetryAfterError
			if tc.want.IsZero() {
				require.NotErrorAs(t, err, &later)
				return
			}
			require.ErrorAs(t, err, &later)
			require.WithinDuration(t, tc.want, later.At, 0)
		})
	}
}

func TestWhatASinkAnswersIsReadInPart(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"an answer without an end": func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; {
				_, err = w.Write(make([]byte, 1<<20))
			}
		},
		"an answer that stands still": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"an answer that is cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusOK)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, setupSink(t, answer).Process(t.Context(), batchOf("store-1", 1, 1)))
		})
	}
}

func TestConnectionsToASinkAreUsedAgain(t *testing.T) {
	t.Parallel()
	s := setupSink(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write(make([]byte, maxSinkAnswer/2))
	})
	for range 20 {
		require.Error(t, s.Process(t.Context(), batchOf("store-1", 1, 1)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Equal(t, 1, s.conns)
}

func TestASinkMaySpeakHTTP2(t *testing.T) {
	t.Parallel()
	versions := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { versions <- r.Proto }))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = zap.NewStdLog(zap.NewNop()) // it would tell of the first attempt
	server.StartTLS()
	t.Cleanup(server.Close)
	err := newSink(t, SinkOptions{URL: server.URL}).Process(t.Context(), batchOf("store-1", 1, 1))
	require.ErrorContains(t, err, "certificate", "it is not one that anybody knows")

	p := newSink(t, SinkOptions{URL: server.URL})
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	p.http.Transport.(tracing.Transport).Base.(*tunnel.Transport).TLSClientConfig = &tls.Config{RootCAs: trusted}
	require.NoError(t, p.Process(t.Context(), batchOf("store-1", 1, 1)))
	require.Equal(t, "HTTP/2.0", <-versions)
}

func TestErrorsOfASinkShowNothingOfWhatIsSent(t *testing.T) {
	t.Parallel()
	echo := func(t *testing.T) string { // answers with what it was sent, which is no HTTP
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				buffer := make([]byte, 16<<10)
				n, _ := conn.Read(buffer)
				_, _ = conn.Write(buffer[:n])
				_ = conn.Close()
			}
		}()
		return l.Addr().String()
	}
	for name, address := range map[string]func(*testing.T) string{
		"a status": func(t *testing.T) string {
			t.Helper()
			s := setupSink(t, func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, testSinkSecret, http.StatusForbidden)
			})
			return s.server.Listener.Addr().String()
		},
		"nobody listens": func(t *testing.T) string {
			t.Helper()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			require.NoError(t, l.Close())
			return l.Addr().String()
		},
		"an echo": echo,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newSink(t, SinkOptions{URL: "http://user:pass-word@" + address(t) + "/secret-path?token=secret-query"})
			err := p.Process(t.Context(), batchOf("store-1", 1, 1))
			require.Error(t, err)
			for _, hidden := range []string{"pass-word", "secret", testSinkSecret[6:], "ünïcode", "v1.Noted", "POST"} {
				require.NotContains(t, err.Error(), hidden)
			}
		})
	}
}

func TestAURLWithAPasswordAuthenticates(t *testing.T) {
	t.Parallel()
	s := setupSink(t, nil)
	p := newSink(t, SinkOptions{URL: strings.Replace(s.server.URL, "http://", "http://user:pass-word@", 1)})
	require.NoError(t, p.Process(t.Context(), batchOf("store-1", 1, 1)))
	got := http.Request{Header: s.posts(t)[0].header}
	user, password, ok := got.BasicAuth()
	require.True(t, ok)
	require.Equal(t, []string{"user", "pass-word"}, []string{user, password})
}

func TestASinkNeedsAURLAndASecret(t *testing.T) {
	t.Parallel()
	const address = "http://127.0.0.1:1"
	for name, o := range map[string]SinkOptions{
		"no URL":                         {"", httpclient.Fixed(testSinkSecret), nil, nil, nil},
		"a URL without a scheme":         {"pass-word.example.com/x", httpclient.Fixed(testSinkSecret), nil, nil, nil},
		"a URL of another kind":          {"ftp://pass-word.example.com", httpclient.Fixed(testSinkSecret), nil, nil, nil},
		"a URL without a host":           {"http:///pass-word", httpclient.Fixed(testSinkSecret), nil, nil, nil},
		"a URL that can't be parsed":     {"http://user:pass-word@[::1", httpclient.Fixed(testSinkSecret), nil, nil, nil},
		"no secret":                      {address, httpclient.Fixed(""), nil, nil, nil},
		"a secret that is only a prefix": {address, httpclient.Fixed("whsec_"), nil, nil, nil},
		"a secret that is no base64":     {address, httpclient.Fixed("whsec_pass-word!"), nil, nil, nil},
		"a secret that is too short":     {address, httpclient.Fixed("whsec_c2hvcnQ="), nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewSink(o)
			require.ErrorContains(t, err, "event sink")
			require.NotContains(t, err.Error(), "pass-word")
			require.NotContains(t, err.Error(), "c2hvcnQ")
		})
	}
	_, err := NewSink(SinkOptions{URL: address, Secret: httpclient.Fixed(strings.TrimPrefix(testSinkSecret, "whsec_"))})
	require.NoError(t, err)
}

func TestHTMLInAnEventIsPostedAsItIs(t *testing.T) {
	t.Parallel()
	s := setupSink(t, nil)
	b := batchOf("store-1", 1, 1)
	b.Events[0].Args = []byte(`{"html":"<b>&</b>"}`)
	require.NoError(t, s.Process(t.Context(), b))
	require.Contains(t, string(s.posts(t)[0].body), `{"html":"<b>&</b>"}`, "escaped, a page would be six times as long as what receivers must take")
}

func TestASinksClientGivesDeadConnectionsUp(t *testing.T) {
	t.Parallel()
	storetest.RequirePings(t, sinkClient(nil))
}
