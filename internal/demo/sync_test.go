package demo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
)

// syncBundle is a demo sync backend and a client that speaks in frames.
type syncBundle struct {
	*demo.SyncBackend
	t *testing.T
}

func setupSync(t *testing.T, o demo.SyncBackendOptions) *syncBundle {
	t.Helper()
	backend, err := demo.StartSyncBackend(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { stopSync(t, backend) })
	return &syncBundle{backend, t}
}

func stopSync(t *testing.T, backend *demo.SyncBackend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, backend.Stop(ctx))
}

func (b *syncBundle) address(token string) string {
	payload := url.QueryEscape(fmt.Sprintf(`{"serverBypass":%q,"instanceId":"S"}`, token))
	return b.URL() + "/?storeId=S&transport=ws&payload=" + url.QueryEscape(payload)
}

type syncClient struct {
	t  *testing.T
	ws *websocket.Conn
}

func (b *syncBundle) connect() *syncClient {
	b.t.Helper()
	ws, _, err := websocket.Dial(b.t.Context(), b.address(bypassToken), nil) //nolint:bodyclose // nobody has to
	require.NoError(b.t, err)
	ws.SetReadLimit(-1)
	b.t.Cleanup(func() { _ = ws.CloseNow() })
	return &syncClient{b.t, ws}
}

func (c *syncClient) say(frame string) {
	c.t.Helper()
	require.NoError(c.t, c.ws.Write(c.t.Context(), websocket.MessageText, []byte(frame)))
}

// hears requires the next frame. ANY in want stands for any text without a quotation mark.
func (c *syncClient) hears(want string) {
	c.t.Helper()
	got := c.next()
	pattern := strings.Split(want, "ANY")
	rest := got
	for i, part := range pattern {
		at := strings.Index(rest, part)
		require.True(c.t, at == 0 || i > 0 && at > 0 && !strings.Contains(rest[:at], `"`), "want %s\ngot  %s", want, got)
		rest = rest[at+len(part):]
	}
	require.Empty(c.t, rest)
}

func (c *syncClient) next() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	_, text, err := c.ws.Read(ctx)
	require.NoError(c.t, err)
	return string(text)
}

// silent requires that the answer to a ping is all that comes.
func (c *syncClient) silent() {
	c.t.Helper()
	c.say(`{"_tag":"Ping"}`)
	c.hears(`{"_tag":"Pong"}`)
}

func (c *syncClient) pull(id, cursor string) {
	c.say(`{"_tag":"Request","id":"` + id + `","tag":"SyncWsRpc.Pull","payload":{"storeId":"S","live":true,"cursor":` + cursor + `},"headers":[]}`)
}

// push appends the events first to last.
func (c *syncClient) push(id string, first, last int) {
	c.t.Helper()
	var batch []string
	for n := first; n <= last; n++ {
		batch = append(batch, fmt.Sprintf(`{"name":"v1.X","args":{"n":1},"seqNum":%d,"parentSeqNum":%d,"clientId":"c","sessionId":"s"}`, n, n-1))
	}
	c.say(`{"_tag":"Request","id":"` + id + `","tag":"SyncWsRpc.Push","payload":{"storeId":"S","batch":[` + strings.Join(batch, ",") +
		`],"backendId":{"_tag":"None"}},"headers":[]}`)
}

// seqs returns the sequence numbers in the next frame, a chunk.
func (c *syncClient) seqs() (first, last int) {
	c.t.Helper()
	var chunk struct {
		Values []struct {
			Batch []struct {
				EventEncoded struct{ SeqNum int }
			}
		}
	}
	text := c.next()
	require.NoError(c.t, json.Unmarshal([]byte(text), &chunk))
	require.NotEmpty(c.t, chunk.Values, text)
	batch := chunk.Values[0].Batch
	return batch[0].EventEncoded.SeqNum, batch[len(batch)-1].EventEncoded.SeqNum
}

const (
	none    = `{"_tag":"None"}`
	pushed  = `{"_tag":"Success","value":{}}`
	anExit  = `{"_tag":"Exit"`
	ackPull = `{"_tag":"Ack","requestId":"0"}`
)

func TestTheDemosSyncBackendKeepsToTheContract(t *testing.T) {
	t.Parallel()

	t.Run("its frames are those of the contract", func(t *testing.T) {
		t.Parallel()
		c := setupSync(t, demo.SyncBackendOptions{Token: bypassToken}).connect()
		c.say(`{"_tag":"Ping"}`)
		c.hears(`{"_tag":"Pong"}`)
		c.pull("0", none)
		c.hears(`{"_tag":"Chunk","requestId":"0","values":[{"batch":[],"pageInfo":{"_tag":"NoMore"},"backendId":"ANY"}]}`)
		c.push("1", 1, 1)
		first, second := c.next(), c.next() // in either order
		if strings.Contains(second, anExit[1:]) {
			first, second = second, first
		}
		require.JSONEq(t, `{"_tag":"Exit","requestId":"1","exit":`+pushed+`}`, first)
		require.Contains(t, second, `{"_tag":"Chunk","requestId":"0","values":[{"batch":[{"eventEncoded":{"name":"v1.X","args":{"n":1},"seqNum":1,`+
			`"parentSeqNum":0,"clientId":"c","sessionId":"s"},"metadata":{"_tag":"Some","value":{"_tag":"SyncMessage.SyncMetadata","createdAt":"20`)
		require.Contains(t, second, `"}}}],"pageInfo":{"_tag":"NoMore"},"backendId":"`)
	})

	t.Run("a page waits for the acknowledgement of the one before, a live event does not", func(t *testing.T) {
		t.Parallel()
		b := setupSync(t, demo.SyncBackendOptions{})
		pusher, c := b.connect(), b.connect()
		pusher.push("0", 1, 150)
		pusher.next()
		c.pull("0", none)
		first, last := c.seqs()
		require.Equal(t, []int{1, 100}, []int{first, last})
		c.silent()
		pusher.push("1", 151, 151)
		first, last = c.seqs()
		require.Equal(t, []int{151, 151}, []int{first, last})
		c.silent()
		c.say(ackPull)
		first, last = c.seqs()
		require.Equal(t, 101, first)
		require.Equal(t, 151, last, "like the real one it reads on past what there was at first")
	})

	t.Run("a page tells how many events remain", func(t *testing.T) {
		t.Parallel()
		c := setupSync(t, demo.SyncBackendOptions{}).connect()
		c.push("0", 1, 150)
		c.next()
		c.pull("0", none)
		require.Contains(t, c.next(), `"pageInfo":{"_tag":"MoreKnown","remaining":50}`)
		c.say(ackPull)
		require.Contains(t, c.next(), `"pageInfo":{"_tag":"NoMore"}`)
	})

	t.Run("a page stays under a megabyte", func(t *testing.T) {
		t.Parallel()
		c := setupSync(t, demo.SyncBackendOptions{}).connect()
		for n := range 3 {
			c.say(fmt.Sprintf(`{"_tag":"Request","id":"0","tag":"SyncWsRpc.Push","payload":{"batch":[{"name":"v1.X","args":%q,"seqNum":%d,"parentSeqNum":%d}]}}`,
				strings.Repeat("x", 400_000), n+1, n))
			require.Contains(t, c.next(), pushed[1:10])
		}
		c.pull("0", none)
		_, last := c.seqs()
		require.Equal(t, 2, last)
	})

	t.Run("an interrupt ends a pull", func(t *testing.T) {
		t.Parallel()
		b := setupSync(t, demo.SyncBackendOptions{})
		c := b.connect()
		c.pull("0", none)
		c.next()
		require.Equal(t, 1, b.Pulls("S"))
		c.say(`{"_tag":"Interrupt","requestId":"0"}`)
		require.JSONEq(t, `{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure","cause":{"_tag":"Interrupt","fiberId":{"_tag":"None"}}}}`, c.next())
		require.Zero(t, b.Pulls("S"))
		c.push("1", 1, 1)
		require.Contains(t, c.next(), anExit[1:])
		c.silent()
	})

	t.Run("an unknown request dies", func(t *testing.T) {
		t.Parallel()
		c := setupSync(t, demo.SyncBackendOptions{}).connect()
		c.say(`{"_tag":"Request","id":"0","tag":"SyncWsRpc.Odd","payload":{},"headers":[]}`)
		require.JSONEq(t, `{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure","cause":{"_tag":"Die","defect":"Unknown request tag: SyncWsRpc.Odd"}}}`, c.next())
	})

	t.Run("errors are those of their dialect", func(t *testing.T) {
		t.Parallel()
		const elsewhere = `{"_tag":"Some","value":{"backendId":"other","eventSequenceNumber":1}}`
		ahead := `"_tag":"ServerAheadError","minimumExpectedNum":0,"providedNum":4`

		c := setupSync(t, demo.SyncBackendOptions{Dialect: demo.SyncDev22}).connect()
		c.push("0", 5, 5)
		require.JSONEq(t, `{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure","cause":{"_tag":"Fail","error":{"_tag":"InvalidPushError","cause":{`+ahead+`}}}}}`, c.next())
		c.pull("1", elsewhere)
		require.Regexp(t, `"error":{"_tag":"InvalidPullError","cause":{"message":"[^"]+","name":"BackendIdMismatchError"}}`, c.next())

		c = setupSync(t, demo.SyncBackendOptions{Dialect: demo.SyncV040}).connect()
		c.push("0", 5, 5)
		require.JSONEq(t, `{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure","cause":{"_tag":"Fail","error":{`+ahead+`}}}}`, c.next())
		c.pull("1", elsewhere)
		require.Regexp(t, `"error":{"_tag":"BackendIdMismatchError","expected":"[^"]+","received":"other"}`, c.next())
	})

	t.Run("events and backend ids survive a restart", func(t *testing.T) {
		t.Parallel()
		o := demo.SyncBackendOptions{DatabasePath: t.TempDir() + "/sync.db"}
		backend, err := demo.StartSyncBackend(t.Context(), o)
		require.NoError(t, err)
		c := (&syncBundle{backend, t}).connect()
		c.push("0", 1, 3)
		c.next()
		c.pull("0", none)
		before := c.next()
		stopSync(t, backend)

		b := setupSync(t, o)
		c = b.connect()
		c.pull("0", none)
		require.Equal(t, before, c.next())
		require.NoError(t, b.ResetStore(t.Context(), "S"))
		c = b.connect()
		c.pull("0", none)
		after := c.next()
		require.Contains(t, after, `"batch":[]`)
		id := before[strings.Index(before, `"backendId"`):]
		require.NotContains(t, after, id)
	})

	t.Run("a wrong token, a missing store id and another transport are refused", func(t *testing.T) {
		t.Parallel()
		b := setupSync(t, demo.SyncBackendOptions{Token: bypassToken})
		for _, address := range []string{
			b.address("wrong"), strings.Replace(b.address(bypassToken), "storeId=S", "", 1),
			strings.Replace(b.address(bypassToken), "transport=ws", "transport=http", 1), b.URL() + "/?storeId=S&transport=ws&payload=%25zz",
		} {
			_, resp, err := websocket.Dial(t.Context(), address, nil) //nolint:bodyclose // nobody has to
			require.Error(t, err)
			require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		}
		require.Zero(t, b.Connections())
	})

	t.Run("a client that does not read holds up nobody", func(t *testing.T) {
		t.Parallel()
		b := setupSync(t, demo.SyncBackendOptions{})
		deaf, pusher := b.connect(), b.connect()
		deaf.pull("0", none)
		require.Eventually(t, func() bool { return b.Pulls("S") == 1 }, 10*time.Second, time.Millisecond)
		for n := range 40 { // 20 MB, more than sockets hold
			pusher.say(fmt.Sprintf(`{"_tag":"Request","id":"0","tag":"SyncWsRpc.Push","payload":{"batch":[{"name":"v1.X","args":%q,"seqNum":%d,"parentSeqNum":%d}]}}`,
				strings.Repeat("x", 500_000), n+1, n))
			require.Contains(t, pusher.next(), pushed[1:10])
		}
	})

	t.Run("handshakes count until they are over", func(t *testing.T) {
		t.Parallel()
		b := setupSync(t, demo.SyncBackendOptions{})
		var silent []net.Conn
		for n := range 3 {
			conn, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "ws://"))
			require.NoError(t, err)
			silent = append(silent, conn)
			require.Eventually(t, func() bool { return b.PeakHandshakes() == n+1 }, 10*time.Second, time.Millisecond)
		}
		b.connect()
		require.Equal(t, 4, b.PeakHandshakes(), "that one and the silent ones")
		require.Equal(t, 3, b.PeakHandshakes(), "the silent ones go on")
		for _, conn := range silent {
			require.NoError(t, conn.Close())
		}
		require.Eventually(t, func() bool { return b.PeakHandshakes() == 0 }, 10*time.Second, time.Millisecond)
		b.connect()
		require.Equal(t, 1, b.PeakHandshakes())
		require.Eventually(t, func() bool { return b.Connections() == 2 }, 10*time.Second, time.Millisecond, "the backend may count one after the client has it")
		require.Zero(t, b.PeakHandshakes())
	})

	t.Run("a connection that is dropped leaves nothing", func(t *testing.T) {
		t.Parallel()
		b := setupSync(t, demo.SyncBackendOptions{})
		b.connect().pull("0", none)
		require.Eventually(t, func() bool { return b.Pulls("S") == 1 }, 10*time.Second, time.Millisecond)
		b.DropConnections()
		require.Eventually(t, func() bool { return b.Pulls("S")+b.Connections() == 0 }, 10*time.Second, time.Millisecond)
	})
}
