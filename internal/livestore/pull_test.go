package livestore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
)

func TestAPullBringsEachEventOnceAndInOrder(t *testing.T) {
	t.Parallel()
	dialects := map[string]demo.SyncDialect{"dev22": demo.SyncDev22, "v040": demo.SyncV040}

	t.Run("an empty store answers with an empty page, and then with what is pushed", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		p := b.pull(livestore.Cursor{})
		first := p.page()
		require.Empty(t, first.Events)
		require.NotEmpty(t, first.BackendID)
		require.Zero(t, first.Remaining)

		b.push(0, 2)
		live := p.page()
		inOrder(t, live.Events, 1, 2)
		require.Equal(t, first.BackendID, live.BackendID)
		e := live.Events[0]
		require.WithinDuration(t, time.Now(), e.CreatedAt, time.Minute)
		e.CreatedAt = time.Time{}
		require.JSONEq(t, string(events(0, 1)[0].Args), string(e.Args))
		e.Args = events(0, 1)[0].Args
		require.Equal(t, events(0, 1)[0], e)
	})

	t.Run("a long history comes in pages of 100, each after the acknowledgement of the one before", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.push(0, 350)
		p := b.pull(livestore.Cursor{})
		for i, remaining := range []int64{250, 150, 50, 0} {
			page := p.page()
			require.Equal(t, remaining, page.Remaining)
			first := int64(i)*100 + 1
			inOrder(t, page.Events, first, min(first+99, 350))
		}
		p.stop()
		require.ErrorIs(t, p.end(), context.Canceled)
	})

	t.Run("a cursor resumes after its event", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.push(0, 150)
		p := b.pull(livestore.Cursor{})
		id := p.page().BackendID
		p.stop()
		p = b.pull(livestore.Cursor{BackendID: id, Seq: 120})
		inOrder(t, p.page().Events, 121, 150)
		b.push(150, 1)
		inOrder(t, p.page().Events, 151, 151)
	})

	t.Run("a cursor at the head gets an empty page", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.push(0, 3)
		id := b.pull(livestore.Cursor{}).page().BackendID
		require.Empty(t, b.pull(livestore.Cursor{BackendID: id, Seq: 3}).page().Events)
	})

	t.Run("events that are pushed while pages are due arrive once and in order", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.push(0, 250)
		release := make(chan struct{})
		p := pullOn(t, b.dial(), livestore.Cursor{}, func() { <-release })
		first := p.page()
		b.push(250, 120)
		close(release)
		inOrder(t, append(first.Events, p.until(370)...), 1, 370)
	})

	for name, dialect := range dialects {
		t.Run("a cursor of another backend id is a mismatch in "+name, func(t *testing.T) {
			t.Parallel()
			b := setupWith(t, demo.SyncBackendOptions{Token: token, Dialect: dialect})
			require.ErrorIs(t, b.pull(livestore.Cursor{BackendID: "other", Seq: 1}).end(), livestore.ErrBackendIDMismatch)
		})

		t.Run("a failure of the backend is told in "+name, func(t *testing.T) {
			t.Parallel()
			b := setupWith(t, demo.SyncBackendOptions{Token: token, Dialect: dialect})
			b.SetFault(demo.SyncFaultFailing)
			var remote *livestore.RemoteError
			require.ErrorAs(t, b.pull(livestore.Cursor{}).end(), &remote)
			require.Equal(t, livestore.RemoteError{Kind: "UnknownError", Message: "the demo backend was told to fail"}, *remote)
		})
	}

	t.Run("a backend id survives a restart, and with it the cursor", func(t *testing.T) {
		t.Parallel()
		o := demo.SyncBackendOptions{Token: token, DatabasePath: t.TempDir() + "/sync.db"}
		first, err := demo.StartSyncBackend(t.Context(), o)
		require.NoError(t, err)
		b := &bundle{first, t, livestore.Options{URL: first.URL(), StoreID: "store-1", Payload: payload()}}
		b.push(0, 5)
		p := b.pull(livestore.Cursor{})
		id := p.page().BackendID
		stop(t, first)
		require.ErrorIs(t, p.end(), livestore.ErrDisconnected)

		b = setupWith(t, o)
		p = b.pull(livestore.Cursor{BackendID: id, Seq: 3})
		inOrder(t, p.page().Events, 4, 5)
	})

	t.Run("an error of the handler ends the pull and the connection, and the event comes again", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.push(0, 1)
		broken := errors.New("broken")
		err := b.dial().Pull(t.Context(), livestore.Cursor{}, func(_ context.Context, _ livestore.Page) error { return broken })
		require.ErrorIs(t, err, broken)
		require.Eventually(t, func() bool { return b.Connections() == 0 }, patience, time.Millisecond)
		inOrder(t, b.pull(livestore.Cursor{}).page().Events, 1, 1)
	})

	t.Run("closing ends the pull", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		p := b.pull(livestore.Cursor{})
		p.page()
		require.NoError(t, p.conn.Close())
		require.ErrorIs(t, p.end(), livestore.ErrClosed)
		require.NoError(t, p.conn.Close())
		require.ErrorIs(t, p.conn.Pull(t.Context(), livestore.Cursor{}, nil), livestore.ErrClosed)
		require.ErrorIs(t, p.conn.Push(t.Context(), "", events(0, 1)), livestore.ErrClosed)
		require.Eventually(t, func() bool { return b.Pulls("store-1") == 0 }, patience, time.Millisecond)
	})
}

func TestPullFromFaultyBackends(t *testing.T) {
	t.Parallel()

	sequence := &livestore.SequenceError{}
	for name, test := range map[string]struct {
		fault demo.SyncFault
		check func(*testing.T, error)
	}{
		"a defect is told": {demo.SyncFaultDefect, func(t *testing.T, err error) {
			remote := &livestore.RemoteError{}
			require.ErrorAs(t, err, &remote)
			require.Equal(t, "Defect", remote.Kind)
		}},
		"a backend that accepts and says nothing is silent": {demo.SyncFaultMute, func(t *testing.T, err error) {
			require.ErrorIs(t, err, livestore.ErrSilence)
		}},
		"half a frame is silence": {demo.SyncFaultHalfFrame, func(t *testing.T, err error) {
			require.ErrorIs(t, err, livestore.ErrSilence)
		}},
		"a frame of 2 MB is too large": {demo.SyncFaultHugeFrame, func(t *testing.T, err error) {
			require.ErrorIs(t, err, livestore.ErrTooLarge)
		}},
		"broken JSON ends the connection": {demo.SyncFaultBrokenJSON, func(t *testing.T, err error) {
			require.ErrorIs(t, err, livestore.ErrProtocol)
		}},
		"events in the wrong order are told": {demo.SyncFaultOutOfOrder, func(t *testing.T, err error) {
			require.ErrorAs(t, err, &sequence)
		}},
		"a gap is told": {demo.SyncFaultGap, func(t *testing.T, err error) { require.ErrorAs(t, err, &sequence) }},
	} {
		t.Run(name+", and nothing is handed over, nor lost once it is mended", func(t *testing.T) {
			t.Parallel()
			b := setup(t).impatient()
			b.push(0, 3)
			b.SetFault(test.fault)
			p := b.pull(livestore.Cursor{})
			err := p.end()
			test.check(t, err)
			require.NotContains(t, err.Error(), token)
			require.Empty(t, p.pages)

			b.SetFault(demo.SyncFaultNone)
			inOrder(t, b.pull(livestore.Cursor{}).page().Events, 1, 3)
		})
	}

	t.Run("a gap among live events is told at once", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		p := b.pull(livestore.Cursor{})
		p.page()
		b.SetFault(demo.SyncFaultGap)
		b.push(0, 2)
		var broken *livestore.SequenceError
		require.ErrorAs(t, p.end(), &broken)
		require.Equal(t, livestore.SequenceError{Head: 0, Seq: 2, Parent: 1}, *broken)
	})

	t.Run("a duplicate is handed over once", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.SetFault(demo.SyncFaultDuplicate)
		b.push(0, 120)
		p := b.pull(livestore.Cursor{})
		inOrder(t, p.until(120), 1, 120)
		b.push(120, 2)
		inOrder(t, p.until(122), 121, 122)
	})

	t.Run("frames of unknown kinds are ignored and counted", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.SetFault(demo.SyncFaultUnknownTag)
		b.push(0, 1)
		p := b.pull(livestore.Cursor{})
		inOrder(t, p.page().Events, 1, 1)
		require.EqualValues(t, 1, p.conn.Ignored())
	})

	t.Run("a new backend id in the middle of a pull is a mismatch", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.push(0, 1)
		p := b.pull(livestore.Cursor{})
		p.page()
		require.NoError(t, b.ResetStore(t.Context(), "store-1"))
		b.push(0, 1)
		require.ErrorIs(t, p.end(), livestore.ErrBackendIDMismatch)
		inOrder(t, b.pull(livestore.Cursor{}).page().Events, 1, 1)
	})

	t.Run("a lost connection is told", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		p := b.pull(livestore.Cursor{})
		p.page()
		b.DropConnections()
		require.ErrorIs(t, p.end(), livestore.ErrDisconnected)
	})
}
