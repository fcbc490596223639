package livestore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/livestore"
)

// script is a backend that says what a test tells it to.
type script struct {
	t        *testing.T
	options  livestore.Options
	requests chan *http.Request
	received chan string // the frames of the client
	ws       *websocket.Conn
	ready    chan struct{}
}

func newScript(t *testing.T) *script {
	t.Helper()
	s := &script{t: t, requests: make(chan *http.Request, 10), received: make(chan string, 100), ready: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests <- r
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		s.ws = ws
		close(s.ready)
		for {
			_, text, err := ws.Read(context.WithoutCancel(r.Context()))
			if err != nil {
				return
			}
			s.received <- string(text)
		}
	}))
	t.Cleanup(server.Close)
	s.options = livestore.Options{URL: server.URL, StoreID: "store-1", Payload: payload()}
	return s
}

// dial connects the one client of the script.
func (s *script) dial() *livestore.Conn {
	s.t.Helper()
	c, err := livestore.Dial(s.t.Context(), s.options)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, c.Close()) })
	<-s.ready
	return c
}

func (s *script) say(frames ...string) {
	s.t.Helper()
	for _, text := range frames {
		require.NoError(s.t, s.ws.Write(s.t.Context(), websocket.MessageText, []byte(text)))
	}
}

// hear returns the client's next frame that is no ping.
func (s *script) hear() string {
	s.t.Helper()
	for {
		select {
		case text := <-s.received:
			if !strings.Contains(text, `"Ping"`) {
				return text
			}
		case <-time.After(patience):
			require.Fail(s.t, "the client said nothing")
		}
	}
}

// chunk is a frame with events from first to last.
func chunk(requestID string, first, last int64, pageInfo string) string {
	var batch []string
	for _, e := range events(first-1, int(last-first+1)) {
		text, _ := json.Marshal(e)
		batch = append(batch, `{"eventEncoded":`+string(text)+`,"metadata":{"_tag":"None"}}`)
	}
	return `{"_tag":"Chunk","requestId":"` + requestID + `","values":[{"batch":[` + strings.Join(batch, ",") +
		`],"pageInfo":` + pageInfo + `,"backendId":"B"}]}`
}

const noMore = `{"_tag":"NoMore"}`

// pongs sends pongs, asked or not, until the returned function is called.
func (s *script) pongs() (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_ = s.ws.Write(context.Background(), 1, []byte(`{"_tag":"Pong"}`))
			}
		}
	}()
	return func() { close(done) }
}

func TestAPullKeepsToTheContractWhateverTheBackendSends(t *testing.T) {
	t.Parallel()

	const pullFrame = `{"_tag":"Request","id":"0","tag":"SyncWsRpc.Pull","payload":{"storeId":"store-1",` +
		`"payload":{"instanceId":"store-1","serverBypass":"` + token + `"},"live":true,"cursor":%s},"headers":[]}`

	t.Run("the frames are those of the contract", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		p := pullOn(t, s.dial(), livestore.Cursor{}, nil)
		require.JSONEq(t, fmt.Sprintf(pullFrame, `{"_tag":"None"}`), s.hear())
		s.say(chunk("0", 1, 0, noMore))
		require.JSONEq(t, `{"_tag":"Ack","requestId":"0"}`, s.hear())
		p.page()
	})

	t.Run("a cursor is sent as the contract has it", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		pullOn(t, s.dial(), livestore.Cursor{BackendID: "B", Seq: 7}, nil)
		require.JSONEq(t, fmt.Sprintf(pullFrame, `{"_tag":"Some","value":{"backendId":"B","eventSequenceNumber":7}}`), s.hear())
	})

	t.Run("chunks of other requests are ignored, whatever is in them", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		p := pullOn(t, s.dial(), livestore.Cursor{}, nil)
		s.hear()
		s.say(chunk("9", 1, 1, noMore), `{"_tag":"Chunk","requestId":"9","values":17}`, `{"_tag":"Exit","requestId":"9"}`,
			`{"_tag":"Pong"}`, chunk("0", 1, 2, noMore))
		inOrder(t, p.page().Events, 1, 2)
		require.EqualValues(t, 3, p.conn.Ignored())
	})

	t.Run("a chunk of several values is several pages and one acknowledgement", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		p := pullOn(t, s.dial(), livestore.Cursor{}, nil)
		s.hear()
		s.say(`{"_tag":"Chunk","requestId":"0","values":[` +
			`{"batch":[],"pageInfo":{"_tag":"MoreUnknown"},"backendId":"B"},{"batch":[],"pageInfo":{"_tag":"NoMore"},"backendId":"B"}]}`)
		require.EqualValues(t, -1, p.page().Remaining)
		require.EqualValues(t, 0, p.page().Remaining)
		require.JSONEq(t, `{"_tag":"Ack","requestId":"0"}`, s.hear())
		s.say(chunk("0", 1, 1, noMore))
		require.JSONEq(t, `{"_tag":"Ack","requestId":"0"}`, s.hear())
	})

	t.Run("the acknowledgement goes after the handler has returned", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		release := make(chan struct{})
		p := pullOn(t, s.dial(), livestore.Cursor{}, func() { <-release })
		s.hear()
		s.say(chunk("0", 1, 1, noMore))
		p.page()
		require.Never(t, func() bool { return len(s.received) > 0 }, 100*time.Millisecond, 10*time.Millisecond)
		close(release)
		require.JSONEq(t, `{"_tag":"Ack","requestId":"0"}`, s.hear())
	})

	t.Run("a busy handler keeps nobody from reading, and nothing piles up here", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		s.options.PingInterval, s.options.SilenceTimeout = time.Second, 5*time.Second
		release := make(chan struct{})
		p := pullOn(t, s.dial(), livestore.Cursor{}, func() { <-release })
		s.hear()
		s.say(chunk("0", 1, 0, noMore))
		p.page()
		padding := `{"padding":"` + strings.Repeat("x", 64<<10) + `",`
		const written = 1000
		for seq := range int64(written) {
			s.say(strings.Replace(chunk("0", seq+1, seq+1, noMore), `{`, padding, 1)) // it would stand still if they were not read
		}
		require.NoError(t, s.ws.Ping(t.Context()), "the protocol's own pings are answered")
		require.Empty(t, p.ended, "the connection stays")
		close(release)
		require.ErrorIs(t, p.end(), livestore.ErrBehind)
		var all []livestore.Event
		for len(p.pages) > 0 {
			all = append(all, p.page().Events...)
		}
		require.NotEmpty(t, all)
		require.Less(t, len(all), 10, "it held more than it may")
		inOrder(t, all, 1, int64(len(all)))
	})

	t.Run("a handler that is slow loses no connection, however much comes", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		p := pullOn(t, s.dial(), livestore.Cursor{}, func() { <-time.After(5 * time.Millisecond) })
		s.hear()
		padding := `{"padding":"` + strings.Repeat("x", 64<<10) + `",`
		for seq := range int64(100) {
			s.say(strings.Replace(chunk("0", seq+1, seq+1, noMore), `{`, padding, 1))
		}
		inOrder(t, p.until(100), 1, 100)
		require.Empty(t, p.ended)
	})

	t.Run("live events that come while the handler is busy wait for it", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		release := make(chan struct{})
		p := pullOn(t, s.dial(), livestore.Cursor{}, func() { <-release })
		s.hear()
		for seq := range int64(50) {
			s.say(chunk("0", seq+1, seq+1, noMore))
		}
		require.NoError(t, s.ws.Ping(t.Context()))
		close(release)
		inOrder(t, p.until(50), 1, 50)
	})

	t.Run("a connection that is closed while the handler is busy ends the handler and the pull", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		c := s.dial()
		busy, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- c.Pull(t.Context(), livestore.Cursor{}, func(ctx context.Context, _ livestore.Page) error {
				close(busy)
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		s.hear()
		s.say(chunk("0", 1, 1, noMore))
		<-busy
		require.NoError(t, s.ws.CloseNow())
		select {
		case err := <-ended:
			require.ErrorIs(t, err, livestore.ErrDisconnected)
		case <-time.After(patience):
			require.Fail(t, "nobody noticed")
		}
	})

	t.Run("a backend that falls silent while the handler is busy is given up", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		s.options.PingInterval, s.options.SilenceTimeout = 100*time.Millisecond, 300*time.Millisecond
		c := s.dial()
		ended := make(chan error, 1)
		go func() {
			ended <- c.Pull(t.Context(), livestore.Cursor{}, func(ctx context.Context, _ livestore.Page) error {
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		s.hear()
		s.say(chunk("0", 1, 1, noMore))
		select {
		case err := <-ended:
			require.ErrorIs(t, err, livestore.ErrSilence)
		case <-time.After(patience):
			require.Fail(t, "nobody noticed")
		}
	})

	t.Run("a page that was announced and does not come is silence, though pongs come", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		s.options.PingInterval, s.options.SilenceTimeout = 100*time.Millisecond, 300*time.Millisecond
		p := pullOn(t, s.dial(), livestore.Cursor{}, nil)
		s.hear()
		s.say(chunk("0", 1, 1, `{"_tag":"MoreKnown","remaining":250}`))
		require.EqualValues(t, 250, p.page().Remaining)
		defer s.pongs()()
		require.ErrorIs(t, p.end(), livestore.ErrSilence)
	})

	t.Run("live events that ran ahead and never come again are told", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		s.options.PingInterval, s.options.SilenceTimeout = 100*time.Millisecond, 200*time.Millisecond
		p := pullOn(t, s.dial(), livestore.Cursor{}, nil)
		s.hear()
		s.say(chunk("0", 1, 1, `{"_tag":"MoreKnown","remaining":1}`), chunk("0", 4, 5, noMore), chunk("0", 2, 2, noMore))
		defer s.pongs()()
		var broken *livestore.SequenceError
		require.ErrorAs(t, p.end(), &broken)
		require.Equal(t, livestore.SequenceError{Head: 2, Seq: 5, Parent: 4}, *broken)
	})

	t.Run("an event that the cursor has passed already is told", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		p := pullOn(t, s.dial(), livestore.Cursor{BackendID: "B", Seq: 5}, nil)
		s.hear()
		s.say(chunk("0", 4, 5, noMore))
		var broken *livestore.SequenceError
		require.ErrorAs(t, p.end(), &broken)
	})

	t.Run("an overlapping chunk brings what is new in it", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		p := pullOn(t, s.dial(), livestore.Cursor{}, nil)
		s.hear()
		s.say(chunk("0", 1, 3, noMore), chunk("0", 2, 5, noMore))
		inOrder(t, p.until(5), 1, 5)
	})

	remote := func(kind, message string) func(*testing.T, error) {
		return func(t *testing.T, err error) {
			var e *livestore.RemoteError
			require.ErrorAs(t, err, &e)
			require.Equal(t, livestore.RemoteError{Kind: kind, Message: message}, *e)
		}
	}
	is := func(target error) func(*testing.T, error) {
		return func(t *testing.T, err error) { require.ErrorIs(t, err, target) }
	}
	for name, test := range map[string]struct {
		frame string
		check func(*testing.T, error)
	}{
		"an interrupt": {`{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure","cause":{"_tag":"Interrupt","fiberId":1}}}`, remote("Interrupt", "")},
		"a die":        {`{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure","cause":{"_tag":"Die","defect":"boom"}}}`, remote("Die", "boom")},
		"a success":    {`{"_tag":"Exit","requestId":"0","exit":{"_tag":"Success"}}`, remote("Success", "a live pull ended")},
		"the first of several causes": {`{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure","cause":{"_tag":"Sequential","left":{"_tag":"Empty"},` +
			`"right":{"_tag":"Parallel","left":{"_tag":"Fail","error":{"_tag":"BackendIdMismatchError"}},"right":{"_tag":"Empty"}}}}}`, is(livestore.ErrBackendIDMismatch)},
		"a mismatch in the words of the contract": {`{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure","cause":{"_tag":"Fail","error":{"cause":{` +
			`"name":"BackendIdMismatchError","message":"…"},"_tag":"InvalidPullError"}}}}`, is(livestore.ErrBackendIDMismatch)},
		"an error of a kind of its own": {`{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure","cause":{"_tag":"Fail","error":{"_tag":"Odd","message":"it\nis"}}}}`, remote("Odd", "it is")},
		"a defect that quotes the payload": {
			`{"_tag":"Defect","defect":{"message":"bad ` + token + ` in bypass-token%2Fwith%2Bsigns and bypass-token%252Fwith%252Bsigns"}}`,
			remote("Defect", "bad [payload] in [payload] and [payload]"),
		},
		"no JSON":                       {`{"_tag":"Chu`, is(livestore.ErrProtocol)},
		"no object":                     {`[1]`, is(livestore.ErrProtocol)},
		"an exit without a result":      {`{"_tag":"Exit","requestId":"0"}`, is(livestore.ErrProtocol)},
		"a chunk without values":        {`{"_tag":"Chunk","requestId":"0"}`, is(livestore.ErrProtocol)},
		"a page without a backend id":   {`{"_tag":"Chunk","requestId":"0","values":[{"batch":[],"pageInfo":{"_tag":"NoMore"}}]}`, is(livestore.ErrProtocol)},
		"a page without its info":       {`{"_tag":"Chunk","requestId":"0","values":[{"batch":[],"backendId":"B"}]}`, is(livestore.ErrProtocol)},
		"an entry without its event":    {`{"_tag":"Chunk","requestId":"0","values":[{"batch":[{}],"pageInfo":{"_tag":"NoMore"},"backendId":"B"}]}`, is(livestore.ErrProtocol)},
		"an event with a wrong seqNum":  {`{"_tag":"Chunk","requestId":"0","values":[{"batch":[{"eventEncoded":{"name":"x","seqNum":"1"}}],"pageInfo":{"_tag":"NoMore"},"backendId":"B"}]}`, is(livestore.ErrProtocol)},
		"an event that follows nothing": {chunk("0", 0, 0, noMore), func(t *testing.T, err error) { require.ErrorAs(t, err, new(*livestore.SequenceError)) }},
	} {
		t.Run("the pull ends at "+name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			p := pullOn(t, s.dial(), livestore.Cursor{}, nil)
			s.hear()
			s.say(test.frame)
			test.check(t, p.end())
		})
	}

	t.Run("a close frame's reason is told without secrets", func(t *testing.T) {
		t.Parallel()
		s := newScript(t)
		p := pullOn(t, s.dial(), livestore.Cursor{}, nil)
		s.hear()
		go func() { _ = s.ws.Close(4001, "no "+token) }()
		err := p.end()
		require.ErrorIs(t, err, livestore.ErrDisconnected)
		require.ErrorContains(t, err, "status 4001: no [payload]")
	})
}
