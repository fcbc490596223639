package storemanager

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (on suite) TestStoreEvents(t *testing.T) {
	t.Parallel()
	ensure := func(t *testing.T, b *bundle, seconds int, requestID string) {
		_, err := b.Ensure(t.Context(), EnsureRequest{StoreID: id, At: at(seconds), RequestID: requestID})
		require.NoError(t, err)
	}
	for name, test := range map[string]func(t *testing.T, b *bundle){
		"each decision is one, the newest first": func(t *testing.T, b *bundle) {
			now := 0
			step := func() { now++; b.clock.Set(at(now)) }
			b.ensure(t, 1)
			step()
			b.begin(t, 5, "internal-run-id")
			step()
			_, err := b.CancelDeletion(t.Context(), CancelRequest{StoreID: id})
			require.NoError(t, err)
			step()
			b.hold(t, Hold{Reason: "r", Actor: "a", ExpiresAt: new(at(50))})
			step()
			b.begin(t, 6, "run")
			step()
			_, err = b.Release(t.Context(), id)
			require.NoError(t, err)
			step()
			b.pause(t, onePaused)
			step()
			b.resume(t, id)
			step()
			b.begin(t, 7, "run")
			b.clock.Set(at(100))
			b.stop(t, "run")
			require.Equal(t, []StoreEvent{
				{at(100), "stop", "stopped", ""},
				{at(8), "deletion", "scheduled", "due 2026-11-23T12:01:40Z"},
				{at(7), "resume", "done", ""},
				{at(6), "pause", "done", "by ops@example.com: under repair"},
				{at(5), "release", "done", ""},
				{at(4), "deletion", "held", "by a until 2026-11-23T12:00:50Z: r"},
				{at(3), "hold", "done", "by a until 2026-11-23T12:00:50Z: r"},
				{at(2), "cancel_deletion", "done", ""},
				{at(1), "deletion", "scheduled", "due 2026-11-23T12:01:40Z"},
				{at(0), "ensure", "created", ""},
			}, b.events(t))
		},
		"what says the same as the newest takes its place": func(t *testing.T, b *bundle) {
			ensure(t, b, 1, "delivery-1")
			for i := range 20 {
				b.clock.Set(at(10 + i))
				ensure(t, b, 1, "reconcile/"+fmt.Sprint(i))
			}
			b.clock.Set(at(50))
			ensure(t, b, 1, "delivery-2")
			b.clock.Set(at(51))
			ensure(t, b, 1, "delivery-3")
			require.Equal(t, []StoreEvent{
				{at(51), "ensure", "exists", ""},
				{at(29), "ensure", "exists", "from reconciliation"},
				{at(0), "ensure", "created", ""},
			}, b.events(t))
		},
		"a store that reconciliation creates says so": func(t *testing.T, b *bundle) {
			ensure(t, b, 1, "reconcile/1")
			require.Equal(t, []StoreEvent{{t0, "ensure", "created", "from reconciliation"}}, b.events(t))
		},
		"an ensure that cancels a deletion says so": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 5, "run")
			ensure(t, b, 6, "reconcile/1")
			require.Equal(t, StoreEvent{t0, "ensure", "exists", "from reconciliation, listed again, cancelled the pending deletion"}, b.events(t)[0])
		},
		"what is refused as too old is one": func(t *testing.T, b *bundle) {
			b.begin(t, 5, "run")
			b.ensure(t, 4)
			require.Equal(t, []StoreEvent{{t0, "ensure", "stale", ""}, {t0, "deletion", "already_stopped", ""}}, b.events(t))
		},
		"what ended in an error or changed nothing is none": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 5, "run")
			before := b.events(t)
			_, err := b.Stop(t.Context(), StopRequest{StoreID: id, Owner: "run", AbsentAt: b.clock.Now()})
			require.ErrorIs(t, err, ErrTooEarly)
			_, err = b.Hold(t.Context(), id, Hold{Reason: "r", Actor: "a", ExpiresAt: new(t0)})
			require.ErrorIs(t, err, ErrInvalid)
			_, err = b.Release(t.Context(), id)
			require.NoError(t, err)
			b.resume(t, id)
			require.Equal(t, before, b.events(t))
			_, err = b.CancelDeletion(t.Context(), CancelRequest{StoreID: id})
			require.NoError(t, err)
			before = b.events(t)
			_, err = b.CancelDeletion(t.Context(), CancelRequest{StoreID: id})
			require.NoError(t, err)
			require.Equal(t, before, b.events(t))
		},
		"the newest are kept": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			for i := range 3 * KeptStoreEvents {
				b.clock.Set(at(i))
				b.hold(t, Hold{Reason: fmt.Sprint("reason ", i), Actor: "a"})
			}
			events := b.events(t)
			require.Len(t, events, KeptStoreEvents)
			for i, e := range events {
				require.Equal(t, at(3*KeptStoreEvents-1-i), e.At)
			}
			require.Equal(t, KeptStoreEvents, b.keptEvents(t))
		},
		"a batch has those of each store, and answers none": func(t *testing.T, b *bundle) {
			qs := batch(0, 3, t0)
			_, err := b.EnsureBatch(t.Context(), append(qs, qs[1], qs[1]))
			require.NoError(t, err)
			for i, want := range []int{1, 2, 1} {
				s, err := b.Get(t.Context(), qs[i].StoreID)
				require.NoError(t, err)
				require.Len(t, s.Events, want)
			}
			page, err := b.List(t.Context(), ListRequest{})
			require.NoError(t, err)
			for _, s := range page.Stores {
				require.Nil(t, s.Events)
			}
			held, err := b.Hold(t.Context(), qs[0].StoreID, someHold)
			require.NoError(t, err)
			require.Nil(t, held.Events)
		},
		"a store that is not known has none": func(t *testing.T, b *bundle) {
			require.Equal(t, StopAlreadyStopped, b.stop(t, "run"))
			b.pause(t, onePaused)
			b.resume(t, id)
			require.Zero(t, b.keptEvents(t))
		},
		"a pruned tombstone takes them along, and its pause stays": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 2, "run")
			b.clock.Set(at(100))
			b.stop(t, "run")
			b.pause(t, onePaused)
			require.Len(t, b.events(t), 4)
			b.clock.Set(at(100).Add(defaultTombstoneRetention + time.Second))
			_, err := b.BeginDeletion(t.Context(), DeletionRequest{StoreID: "another-one", At: at(200), DeleteAt: at(200), Owner: "run"})
			require.NoError(t, err)
			require.Equal(t, 1, b.keptEvents(t), "that of the other one")
			b.ensure(t, 300)
			require.Len(t, b.events(t), 1, "it begins anew")
			require.NotNil(t, b.get(t).Pause)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, test)
		})
	}
}

// keptEvents counts them, of all stores.
func (b *bundle) keptEvents(t *testing.T) (n int) {
	t.Helper()
	b.registry.Query(t, `SELECT count(*) FROM store_events`).Scan(&n)
	return n
}

func (on suite) TestStoreEventsAreThereAfterClose(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.ensure(t, 1)
	b.hold(t, someHold)
	want := b.events(t)
	require.NoError(t, b.registry.Close())
	s, err := on.open(t, Settings{Path: b.path, Now: b.clock.Now}).Get(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, want, s.Events)
}
