package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/livestore"
)

func TestTheClientUnderstandsTheGenuineBackend(t *testing.T) {
	t.Parallel()
	requireInstalled(t)
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b := serve(t, version, t.TempDir())
			for name, test := range map[string]func(*testing.T, *backend){
				"an empty store answers with an empty page":           testEmptyStore,
				"a pushed event arrives live":                         testLive,
				"ids and payloads of any characters arrive whole":     testAnyCharacters,
				"a pull goes on after its cursor":                     testResume,
				"many events come in pages":                           testPages,
				"an event that overtakes the pages comes in its turn": testOvertaking,
				"a push must follow the head":                         testHeadCheck,
				"another incarnation of the store is noticed":         testBackendIDMismatch,
				"a wrong token is refused":                            testWrongToken,
				"pings keep a quiet connection":                       testPings,
				"an event of 890 kB passes":                           testBigEvent,
				"an event over the backend's limit blocks the store":  testOversizeEvent,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, b)
				})
			}
		})
	}
}

func TestAStoreSurvivesTheDeathOfItsBackend(t *testing.T) {
	t.Parallel()
	requireInstalled(t)
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			b := serve(t, version, dir)
			pull := b.pull(t, "s", livestore.Cursor{})
			backendID := pull.next(t).BackendID
			b.push(t, "s", events(1, 2))
			require.Equal(t, []int64{1, 2}, seqs(pull.next(t)))

			b.kill()
			require.ErrorIs(t, pull.err(t), livestore.ErrDisconnected)

			b = serve(t, version, dir)
			pull = b.pull(t, "s", livestore.Cursor{BackendID: backendID, Seq: 1})
			page := pull.next(t)
			require.Equal(t, backendID, page.BackendID)
			require.Equal(t, []int64{2}, seqs(page))
			b.push(t, "s", events(3, 1))
			require.Equal(t, []int64{3}, seqs(pull.next(t)))
		})
	}
}

func testEmptyStore(t *testing.T, b *backend) {
	page := b.pull(t, uuid.NewString(), livestore.Cursor{}).next(t)
	require.NotEmpty(t, page.BackendID)
	require.Empty(t, page.Events)
	require.Zero(t, page.Remaining)
}

func testLive(t *testing.T, b *backend) {
	store := uuid.NewString()
	pull := b.pull(t, store, livestore.Cursor{})
	backendID := pull.next(t).BackendID
	pushed := livestore.Event{
		Name: "v1.TodoCreated", Args: json.RawMessage(`{"text":"grüße \u003c\"\\","n":1.5}`), Seq: 1, ClientID: "client", SessionID: "session",
	}
	before := time.Now().Add(-time.Second) // the backend's clock has milliseconds
	require.NoError(t, b.dial(t, store).Push(t.Context(), backendID, []livestore.Event{pushed}))

	page := pull.next(t)
	require.Equal(t, backendID, page.BackendID)
	require.Zero(t, page.Remaining)
	require.Len(t, page.Events, 1)
	got := page.Events[0]
	require.WithinRange(t, got.CreatedAt, before, time.Now().Add(time.Second))
	require.JSONEq(t, string(pushed.Args), string(got.Args))
	got.CreatedAt, got.Args = pushed.CreatedAt, pushed.Args
	require.Equal(t, pushed, got)
}

func testAnyCharacters(t *testing.T, b *backend) {
	store := uuid.NewString() + " ä/?&=+#%20"
	b.push(t, store, events(1, 1))
	require.Equal(t, []int64{1}, seqs(b.pull(t, store, livestore.Cursor{}).next(t)))
}

func testResume(t *testing.T, b *backend) {
	store := uuid.NewString()
	b.push(t, store, events(1, 3))
	all := b.pull(t, store, livestore.Cursor{}).next(t)
	require.Equal(t, []int64{1, 2, 3}, seqs(all))

	rest := b.pull(t, store, livestore.Cursor{BackendID: all.BackendID, Seq: 1})
	require.Equal(t, []int64{2, 3}, seqs(rest.next(t)))
	none := b.pull(t, store, livestore.Cursor{BackendID: all.BackendID, Seq: 3})
	require.Empty(t, none.next(t).Events)

	b.push(t, store, events(4, 1))
	require.Equal(t, []int64{4}, seqs(rest.next(t)))
	require.Equal(t, []int64{4}, seqs(none.next(t)))
}

func testPages(t *testing.T, b *backend) {
	store := uuid.NewString()
	b.push(t, store, events(1, 100), events(101, 100), events(201, 50))
	pull := b.pull(t, store, livestore.Cursor{})
	for _, want := range []struct{ first, n, remaining int64 }{{1, 100, 150}, {101, 100, 50}, {201, 50, 0}} {
		page := pull.next(t)
		require.Equal(t, seqs(livestore.Page{Events: events(want.first, want.n)}), seqs(page))
		require.Equal(t, want.remaining, page.Remaining)
	}
}

// The backend sends a live event at once, though the puller has not seen the pages before it, and then sends it once more.
func testOvertaking(t *testing.T, b *backend) {
	store := uuid.NewString()
	b.push(t, store, events(1, 100), events(101, 100), events(201, 50))
	enough := errors.New("seen them all")
	var got []int64
	err := b.dial(t, store).Pull(t.Context(), livestore.Cursor{}, func(_ context.Context, p livestore.Page) error {
		if len(got) == 0 {
			b.push(t, store, events(251, 1)) // before the first page is acknowledged
		}
		if got = append(got, seqs(p)...); len(got) >= 251 {
			return enough
		}
		return nil
	})
	require.ErrorIs(t, err, enough)
	require.Equal(t, seqs(livestore.Page{Events: events(1, 251)}), got)
}

func testHeadCheck(t *testing.T, b *backend) {
	store := uuid.NewString()
	b.push(t, store, events(1, 2))
	for name, push := range map[string]struct{ seq, parent int64 }{"behind the head": {2, 1}, "ahead of it": {8, 7}} {
		event := livestore.Event{Name: "v1.X", Args: json.RawMessage("{}"), Seq: push.seq, Parent: push.parent, ClientID: "c", SessionID: "s"}
		var ahead *livestore.ServerAheadError
		require.ErrorAs(t, b.dial(t, store).Push(t.Context(), "", []livestore.Event{event}), &ahead, name)
		require.Equal(t, &livestore.ServerAheadError{Minimum: 2, Provided: push.parent}, ahead, name)
	}
}

func testBackendIDMismatch(t *testing.T, b *backend) {
	store := uuid.NewString()
	b.push(t, store, events(1, 1))
	require.ErrorIs(t, b.pull(t, store, livestore.Cursor{BackendID: "another", Seq: 1}).err(t), livestore.ErrBackendIDMismatch)
	require.ErrorIs(t, b.dial(t, store).Push(t.Context(), "another", events(2, 1)), livestore.ErrBackendIDMismatch)
	require.Equal(t, []int64{1}, seqs(b.pull(t, store, livestore.Cursor{}).next(t)), "starting again from the beginning")
}

func testWrongToken(t *testing.T, b *backend) {
	store := uuid.NewString()
	_, err := livestore.Dial(t.Context(), livestore.Options{URL: b.url, StoreID: store, Payload: payload("wrong-token", store)})
	var refused *livestore.DialError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 400, refused.Status)
	require.NotContains(t, err.Error(), "wrong-token")
}

func testPings(t *testing.T, b *backend) {
	const silence = 2 * time.Second
	store := uuid.NewString()
	conn, err := livestore.Dial(t.Context(), livestore.Options{
		URL: b.url, StoreID: store, Payload: payload(token, store), PingInterval: silence / 10, SilenceTimeout: silence,
	})
	require.NoError(t, err)
	pull := start(t, conn, livestore.Cursor{})
	pull.next(t)
	select {
	case err := <-pull.end:
		require.NoError(t, err, "the connection ended, though pongs should have come")
	case <-time.After(2 * silence): // long enough to be given up, had no pong come
	}
	b.push(t, store, events(1, 1))
	require.Equal(t, []int64{1}, seqs(pull.next(t)))
}

func testBigEvent(t *testing.T, b *backend) {
	store := uuid.NewString()
	live := b.pull(t, store, livestore.Cursor{})
	live.next(t)
	big := bigEvent(890_000)
	b.push(t, store, []livestore.Event{big})
	require.Equal(t, string(big.Args), string(live.next(t).Events[0].Args))
	require.Equal(t, string(big.Args), string(b.pull(t, store, livestore.Cursor{}).next(t).Events[0].Args))
}

// The backend takes the event, tells nobody of it, and from then on fails every pull that would have to bring it.
func testOversizeEvent(t *testing.T, b *backend) {
	store := uuid.NewString()
	b.push(t, store, []livestore.Event{bigEvent(900_000)})
	err := b.pull(t, store, livestore.Cursor{}).err(t)
	var remote *livestore.RemoteError
	require.ErrorAs(t, err, &remote)
	require.Contains(t, remote.Message, "900000", "it says what the limit is")
}

func payload(token, storeID string) map[string]string {
	return map[string]string{"serverBypass": token, "instanceId": storeID}
}

// events returns n events from the sequence number first on.
func events(first, n int64) []livestore.Event {
	batch := make([]livestore.Event, n)
	for i := range batch {
		seq := first + int64(i)
		args := json.RawMessage(`{"n":` + strconv.FormatInt(seq, 10) + `}`)
		batch[i] = livestore.Event{Name: "v1.X", Args: args, Seq: seq, Parent: seq - 1, ClientID: "client", SessionID: "session"}
	}
	return batch
}

func bigEvent(size int) livestore.Event {
	event := events(1, 1)[0]
	event.Args = json.RawMessage(`{"text":"` + strings.Repeat("x", size) + `"}`)
	return event
}

func seqs(p livestore.Page) []int64 {
	got := make([]int64, len(p.Events))
	for i, e := range p.Events {
		got[i] = e.Seq
	}
	return got
}

func (b *backend) dial(t *testing.T, storeID string) *livestore.Conn {
	t.Helper()
	conn, err := livestore.Dial(t.Context(), livestore.Options{URL: b.url, StoreID: storeID, Payload: payload(token, storeID)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (b *backend) push(t *testing.T, storeID string, batches ...[]livestore.Event) {
	t.Helper()
	conn := b.dial(t, storeID)
	for _, batch := range batches {
		require.NoError(t, conn.Push(t.Context(), "", batch))
	}
}

// subscription is a live pull in a goroutine of its own.
type subscription struct {
	pages chan livestore.Page // acknowledged when taken
	end   chan error          // what Pull returned; then closed
}

func (b *backend) pull(t *testing.T, storeID string, from livestore.Cursor) *subscription {
	t.Helper()
	return start(t, b.dial(t, storeID), from)
}

func start(t *testing.T, conn *livestore.Conn, from livestore.Cursor) *subscription {
	s := &subscription{pages: make(chan livestore.Page), end: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(s.end)
		s.end <- conn.Pull(ctx, from, func(_ context.Context, p livestore.Page) error {
			select {
			case s.pages <- p:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		for range s.end { // until it is closed
		}
	})
	return s
}

const patience = 20 * time.Second

func (s *subscription) next(t *testing.T) livestore.Page {
	t.Helper()
	select {
	case p := <-s.pages:
		return p
	case err := <-s.end:
		require.NoError(t, err, "the pull ended where a page was due")
	case <-time.After(patience):
		require.Fail(t, "no page came")
	}
	return livestore.Page{}
}

func (s *subscription) err(t *testing.T) error {
	t.Helper()
	select {
	case p := <-s.pages:
		require.Failf(t, "a page came where the pull should have ended", "%v", seqs(p))
	case err := <-s.end:
		return err
	case <-time.After(patience):
		require.Fail(t, "the pull did not end")
	}
	return nil
}
