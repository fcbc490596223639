package livestore_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
)

const token = "bypass-token/with+signs"

func TestMain(m *testing.M) {
	if servedForBenchmark() {
		return
	}
	goleak.VerifyTestMain(m)
}

func payload() map[string]string {
	return map[string]string{"serverBypass": token, "instanceId": "store-1"}
}

// bundle is a demo sync backend and a client of it.
type bundle struct {
	*demo.SyncBackend
	t       *testing.T
	options livestore.Options
}

func setup(t *testing.T) *bundle { return setupWith(t, demo.SyncBackendOptions{Token: token}) }

func setupWith(t *testing.T, o demo.SyncBackendOptions) *bundle {
	t.Helper()
	backend, err := demo.StartSyncBackend(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, backend) })
	return &bundle{backend, t, livestore.Options{URL: backend.URL(), StoreID: "store-1", Payload: payload()}}
}

func stop(t *testing.T, backend *demo.SyncBackend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, backend.Stop(ctx))
}

// impatient makes silence show soon.
func (b *bundle) impatient() *bundle {
	b.options.PingInterval, b.options.SilenceTimeout = 20*time.Millisecond, time.Second
	return b
}

func (b *bundle) dial() *livestore.Conn {
	b.t.Helper()
	c, err := livestore.Dial(b.t.Context(), b.options)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, c.Close()) })
	return c
}

// events makes n events that follow the event head.
func events(head int64, n int) []livestore.Event {
	all := make([]livestore.Event, n)
	for i := range all {
		head++
		all[i] = livestore.Event{
			Name: "v1.Noted", Args: json.RawMessage(`{"text":"ünïcode <&>"}`), Seq: head, Parent: head - 1,
			ClientID: "c", SessionID: "s",
		}
	}
	return all
}

// push appends n events that follow the event head, a hundred at a time.
func (b *bundle) push(head int64, n int) {
	b.t.Helper()
	c := b.dial()
	for n > 0 {
		batch := events(head, min(n, 100))
		require.NoError(b.t, c.Push(b.t.Context(), "", batch))
		head, n = head+int64(len(batch)), n-len(batch)
	}
	require.NoError(b.t, c.Close())
}

// puller is a pull under way.
type puller struct {
	t     *testing.T
	pages chan livestore.Page
	ended chan error
	stop  context.CancelFunc
	conn  *livestore.Conn
}

// pull starts a pull on a connection of its own.
func (b *bundle) pull(from livestore.Cursor) *puller {
	b.t.Helper()
	return pullOn(b.t, b.dial(), from, nil)
}

// pullOn starts a pull whose handler calls slow, if any, after it has noted a page.
func pullOn(t *testing.T, c *livestore.Conn, from livestore.Cursor, slow func()) *puller {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &puller{t, make(chan livestore.Page, 1000), make(chan error, 1), cancel, c}
	go func() {
		p.ended <- c.Pull(ctx, from, func(_ context.Context, page livestore.Page) error {
			p.pages <- page
			if slow != nil {
				slow()
			}
			return nil
		})
	}()
	t.Cleanup(cancel)
	return p
}

const patience = 10 * time.Second

// page waits for the next page.
func (p *puller) page() livestore.Page {
	p.t.Helper()
	select {
	case page := <-p.pages:
		return page
	case err := <-p.ended:
		require.NoError(p.t, err, "the pull ended")
	case <-time.After(patience):
		require.Fail(p.t, "no page came")
	}
	return livestore.Page{}
}

// until waits until the event seq came and returns all events up to there.
func (p *puller) until(seq int64) []livestore.Event {
	p.t.Helper()
	var all []livestore.Event
	for len(all) == 0 || all[len(all)-1].Seq < seq {
		all = append(all, p.page().Events...)
	}
	return all
}

// end waits for the end of the pull and returns its error.
func (p *puller) end() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		require.Error(p.t, err)
		return err
	case <-time.After(patience):
		require.Fail(p.t, "the pull did not end")
		return nil
	}
}

// inOrder requires the events first to last, each once.
func inOrder(t *testing.T, all []livestore.Event, first, last int64) {
	t.Helper()
	require.Len(t, all, int(last-first+1))
	for i, e := range all {
		require.Equal(t, first+int64(i), e.Seq)
		require.Equal(t, e.Seq-1, e.Parent)
	}
}
