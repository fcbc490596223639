package livestore_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
)

func TestADialShowsItsPayloadToTheBackendAlone(t *testing.T) {
	t.Parallel()

	t.Run("the URL carries the store and the payload, encoded twice, and keeps what it had", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		s.options.URL = strings.Replace(s.options.URL, "http:", "ws:", 1) + "/some/path?key=1#part"
		s.dial()
		u := (<-s.requests).URL
		require.Equal(t, "/some/path", u.Path)
		require.Equal(t, "1", u.Query().Get("key"))
		require.Equal(t, "store-1", u.Query().Get("storeId"))
		require.Equal(t, "ws", u.Query().Get("transport"))
		once := u.Query().Get("payload")
		require.NotContains(t, once, "{")
		text, err := url.PathUnescape(once) // like decodeURIComponent, it leaves a + alone
		require.NoError(t, err)
		require.JSONEq(t, `{"serverBypass":"`+token+`","instanceId":"store-1"}`, text)
	})

	t.Run("without a payload there is none in the URL", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		s.options.Payload = nil
		p := pullOn(t, s.dial(), livestore.Cursor{}, nil)
		require.False(t, (<-s.requests).URL.Query().Has("payload"))
		require.NotContains(t, s.hear(), `"payload":null`)
		s.say(chunk("0", 1, 0, noMore))
		p.page()
	})

	t.Run("options that make no sense are refused without quoting them", func(t *testing.T) {
		t.Parallel()
		for want, o := range map[string]livestore.Options{
			"store id":         {URL: "ws://127.0.0.1:1"},
			"cannot be parse":  {URL: "ws://user:secret@host:bad\x7f/", StoreID: "s"},
			`begins with "ftp`: {URL: "ftp://user:secret@host/", StoreID: "s"},
			"no host":          {URL: "ws:///path", StoreID: "s"},
			"as JSON":          {URL: "ws://127.0.0.1:1", StoreID: "s", Payload: func() {}},
			"ping interval":    {URL: "ws://127.0.0.1:1", StoreID: "s", PingInterval: time.Minute},
			"less than the":    {URL: "ws://127.0.0.1:1", StoreID: "s", SilenceTimeout: time.Second},
		} {
			_, err := livestore.Dial(t.Context(), o)
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "secret")
		}
	})

	// refusal requires a *DialError without a secret in all its chain, and returns its status.
	refusal := func(t *testing.T, err error) int {
		t.Helper()
		var dial *livestore.DialError
		require.ErrorAs(t, err, &dial)
		for e := err; e != nil; {
			for _, form := range []string{token, url.QueryEscape(token), url.QueryEscape(url.QueryEscape(token))} {
				require.NotContains(t, e.Error(), form)
			}
			unwrapping, ok := e.(interface{ Unwrap() error })
			if !ok {
				break
			}
			e = unwrapping.Unwrap()
		}
		return dial.Status
	}

	t.Run("a refusal has its status and no secret", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.SetFault(demo.SyncFaultRefuse)
		_, err := livestore.Dial(t.Context(), b.options)
		require.Equal(t, http.StatusServiceUnavailable, refusal(t, err))

		b.SetFault(demo.SyncFaultNone)
		b.options.Payload = map[string]string{"serverBypass": "wrong"}
		_, err = livestore.Dial(t.Context(), b.options)
		require.Equal(t, http.StatusBadRequest, refusal(t, err))
	})

	t.Run("a port that nobody listens on is told without the URL", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, listener.Close())
		_, err = livestore.Dial(t.Context(), livestore.Options{URL: "ws://" + listener.Addr().String(), StoreID: "s", Payload: payload()})
		require.Zero(t, refusal(t, err))
		var op *net.OpError
		require.ErrorAs(t, err, &op)
	})

	t.Run("a host that does not exist is told", func(t *testing.T) {
		t.Parallel()
		client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true}
		}}}
		_, err := livestore.Dial(t.Context(), livestore.Options{URL: "ws://nowhere.invalid", StoreID: "s", Payload: payload(), HTTPClient: client})
		require.Zero(t, refusal(t, err))
		var dns *net.DNSError
		require.ErrorAs(t, err, &dns)
	})

	t.Run("a handshake that is never answered ends with the context", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = listener.Close() })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = livestore.Dial(ctx, livestore.Options{URL: "ws://" + listener.Addr().String(), StoreID: "s", Payload: payload()})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, refusal(t, err))
	})

	t.Run("an answer that echoes the request holds no secret", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			buf := make([]byte, 4096)
			n, _ := conn.Read(buf)
			_, _ = conn.Write(buf[:n])
		}()
		_, err = livestore.Dial(t.Context(), livestore.Options{URL: "ws://" + listener.Addr().String(), StoreID: "s", Payload: payload()})
		require.Zero(t, refusal(t, err))
	})

	t.Run("a redirect is refused, for it would carry the payload elsewhere", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/elsewhere", http.StatusFound))
		t.Cleanup(server.Close)
		_, err := livestore.Dial(t.Context(), livestore.Options{URL: server.URL, StoreID: "s", Payload: payload()})
		require.Equal(t, http.StatusFound, refusal(t, err))
	})

	t.Run("an answer that is no WebSocket is refused with its status", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		t.Cleanup(server.Close)
		_, err := livestore.Dial(t.Context(), livestore.Options{URL: server.URL, StoreID: "s", Payload: payload()})
		require.Equal(t, http.StatusOK, refusal(t, err))
	})
}

func TestAQuietConnectionStaysUpAndASilentBackendIsGivenUp(t *testing.T) {
	t.Parallel()

	t.Run("a quiet connection is pinged and stays up", func(t *testing.T) {
		t.Parallel()
		b := setup(t).impatient()
		p := b.pull(livestore.Cursor{})
		p.page()
		require.Never(t, func() bool { return len(p.ended) > 0 }, 3*b.options.SilenceTimeout, b.options.PingInterval)
		b.push(0, 1)
		inOrder(t, p.page().Events, 1, 1)
	})

	t.Run("a backend that falls silent is given up", func(t *testing.T) {
		t.Parallel()
		b := setup(t).impatient()
		p := b.pull(livestore.Cursor{})
		p.page()
		b.SetFault(demo.SyncFaultMute)
		require.ErrorIs(t, p.end(), livestore.ErrSilence)
	})

	t.Run("any frame is a sign of life, and a connection that is not quiet is not pinged", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		s.options.PingInterval, s.options.SilenceTimeout = 2*time.Second, 4*time.Second
		c := s.dial()
		for range 50 {
			s.say(`{"_tag":"Novelty"}`)
			<-time.After(50 * time.Millisecond)
		}
		require.EqualValues(t, 50, c.Ignored())
		require.Empty(t, s.received)
	})

	t.Run("a slow handler is no silence", func(t *testing.T) {
		t.Parallel()
		b := setup(t).impatient()
		b.push(0, 150) // two pages: the reader waits with the second one
		p := pullOn(t, b.dial(), livestore.Cursor{}, func() {
			select {
			case <-time.After(2 * b.options.SilenceTimeout):
			case <-t.Context().Done(): // the last page's handler need not outlive the test
			}
		})
		inOrder(t, p.until(150), 1, 150)
		b.push(150, 1)
		inOrder(t, p.until(151), 151, 151)
	})
}

func TestAPushAppendsAllOrSaysWhyNot(t *testing.T) {
	t.Parallel()

	for name, dialect := range map[string]demo.SyncDialect{"dev22": demo.SyncDev22, "v040": demo.SyncV040} {
		t.Run("a push that does not follow the head is refused with the head in "+name, func(t *testing.T) {
			t.Parallel()
			b := setupWith(t, demo.SyncBackendOptions{Token: token, Dialect: dialect})
			b.push(0, 2)
			err := b.dial().Push(t.Context(), "", events(1, 1))
			var ahead *livestore.ServerAheadError
			require.ErrorAs(t, err, &ahead)
			require.Equal(t, livestore.ServerAheadError{Minimum: 2, Provided: 1}, *ahead)
		})

		t.Run("a push to another backend id is a mismatch in "+name, func(t *testing.T) {
			t.Parallel()
			b := setupWith(t, demo.SyncBackendOptions{Token: token, Dialect: dialect})
			require.ErrorIs(t, b.dial().Push(t.Context(), "other", events(0, 1)), livestore.ErrBackendIDMismatch)
		})

		t.Run("a failing push is told in "+name, func(t *testing.T) {
			t.Parallel()
			b := setupWith(t, demo.SyncBackendOptions{Token: token, Dialect: dialect})
			c := b.dial()
			b.SetFault(demo.SyncFaultFailing)
			var remote *livestore.RemoteError
			require.ErrorAs(t, c.Push(t.Context(), "", events(0, 1)), &remote)
			require.Equal(t, "UnknownError", remote.Kind)
		})
	}

	t.Run("pushes and a pull share a connection", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		p := b.pull(livestore.Cursor{})
		id := p.page().BackendID
		for head := range int64(20) {
			require.NoError(t, p.conn.Push(t.Context(), id, events(head, 1)))
		}
		inOrder(t, p.until(20), 1, 20)
	})

	t.Run("of pushes in parallel that follow the same event one succeeds", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.dial()
		results := make(chan error, 10)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { results <- c.Push(t.Context(), "", events(0, 1)) })
		}
		all.Wait()
		close(results)
		succeeded := 0
		for err := range results {
			if err == nil {
				succeeded++
				continue
			}
			require.ErrorAs(t, err, new(*livestore.ServerAheadError))
		}
		require.Equal(t, 1, succeeded)
		inOrder(t, b.pull(livestore.Cursor{}).page().Events, 1, 1)
	})

	t.Run("the frame is that of the contract", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		s.options.Payload = map[string]int{"p": 1}
		c := s.dial()
		done := make(chan error)
		go func() {
			done <- c.Push(t.Context(), "B", []livestore.Event{{
				Name: "v1.X", Args: []byte(`{"a":1}`), Seq: 3, Parent: 2, ClientID: "c", SessionID: "s", CreatedAt: time.Now(),
			}})
		}()
		require.JSONEq(t, `{"_tag":"Request","id":"0","tag":"SyncWsRpc.Push","payload":{"storeId":"store-1","payload":{"p":1},
			"batch":[{"name":"v1.X","args":{"a":1},"seqNum":3,"parentSeqNum":2,"clientId":"c","sessionId":"s"}],
			"backendId":{"_tag":"Some","value":"B"}},"headers":[]}`, s.hear())
		s.say(`{"_tag":"Exit","requestId":"0","exit":{"_tag":"Success","value":{}}}`)
		require.NoError(t, <-done)
	})

	t.Run("a push that is not answered ends with its context, and the connection stays", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		p := b.pull(livestore.Cursor{})
		p.page()
		b.SetFault(demo.SyncFaultMute)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, p.conn.Push(ctx, "", events(0, 1)), context.DeadlineExceeded)
		b.SetFault(demo.SyncFaultNone)
		require.NoError(t, p.conn.Push(t.Context(), "", events(0, 1)))
		inOrder(t, p.page().Events, 1, 1)
	})

	t.Run("a chunk for a push and an answer that comes too late are ignored", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		c := s.dial()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Push(ctx, "", events(0, 1)) }()
		s.hear()
		s.say(chunk("0", 1, 1, noMore))
		require.Eventually(t, func() bool { return c.Ignored() == 1 }, patience, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		s.say(`{"_tag":"Exit","requestId":"0","exit":{"_tag":"Success","value":{}}}`)
		require.Eventually(t, func() bool { return c.Ignored() == 2 }, patience, time.Millisecond)
	})

	t.Run("nothing to push is done", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, setup(t).dial().Push(t.Context(), "", nil))
	})

	t.Run("events of a megabyte pass", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		p := b.pull(livestore.Cursor{})
		p.page()
		large := events(0, 1)
		large[0].Args = []byte(`"` + strings.Repeat("x", 1_000_000) + `"`)
		require.NoError(t, p.conn.Push(t.Context(), "", large))
		require.Equal(t, large[0].Args, p.page().Events[0].Args)
	})
}
