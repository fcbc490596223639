package storemanager

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func accepted(delivery, storeID string, second int) AcceptedEvent {
	return AcceptedEvent{DeliveryID: delivery, StoreID: storeID, EventAt: at(second), Event: json.RawMessage(`{"type":"workspace.created"}`)}
}

func TestAcceptedEvents(t *testing.T) {
	t.Parallel()
	unheard := func(t *testing.T, b *bundle, engine string) (ids []string) {
		t.Helper()
		events, err := b.Unheard(t.Context(), UnheardRequest{Engine: engine})
		require.NoError(t, err)
		for _, e := range events {
			ids = append(ids, e.DeliveryID)
		}
		return ids
	}
	keep := func(t *testing.T, b *bundle, events ...AcceptedEvent) {
		t.Helper()
		for _, e := range events {
			require.NoError(t, b.KeepAccepted(t.Context(), e))
		}
	}
	for name, test := range map[string]func(t *testing.T, b *bundle){
		"they are told as they were kept, to an engine that is new": func(t *testing.T, b *bundle) {
			want := accepted("evt_1", id, 3)
			keep(t, b, want)
			again := want
			again.Event = json.RawMessage(`{}`)
			keep(t, b, again) // the first of a delivery stays
			for range 2 {     // until it says that it was told
				events, err := b.Unheard(t.Context(), UnheardRequest{Engine: "one"})
				require.NoError(t, err)
				require.Equal(t, []AcceptedEvent{want}, events)
			}
			require.NoError(t, b.EngineTold(t.Context(), EngineRequest{"one"}))
			require.Empty(t, unheard(t, b, "one"))
			require.Equal(t, []string{"evt_1"}, unheard(t, b, "two"))
		},
		"what the store has heard, or something newer, is not told": func(t *testing.T, b *bundle) {
			keep(t, b, accepted("created", id, 3), accepted("another", "other", 3))
			b.ensure(t, 2)
			require.Equal(t, []string{"another", "created"}, unheard(t, b, "one"))
			b.ensure(t, 3)
			require.Equal(t, []string{"another"}, unheard(t, b, "one"))
			keep(t, b, accepted("deleted", id, 5))
			require.Equal(t, []string{"another", "deleted"}, unheard(t, b, "one"))
			b.begin(t, 5, "run")
			require.Equal(t, []string{"another"}, unheard(t, b, "one"))
			_, err := b.CancelDeletion(t.Context(), CancelRequest{StoreID: id})
			require.NoError(t, err)
			require.Equal(t, []string{"another"}, unheard(t, b, "one"), "a deletion that was cancelled was heard")
		},
		"they come in pages": func(t *testing.T, b *bundle) {
			for i := range MaxBatch + 1 {
				keep(t, b, accepted(fmt.Sprintf("evt_%05d", i), id, 3))
			}
			events, err := b.Unheard(t.Context(), UnheardRequest{Engine: "one"})
			require.NoError(t, err)
			require.Len(t, events, MaxBatch)
			events, err = b.Unheard(t.Context(), UnheardRequest{Engine: "one", After: events[MaxBatch-1].DeliveryID})
			require.NoError(t, err)
			require.Len(t, events, 1)
		},
		"what nobody will hear, and what was heard, is forgotten": func(t *testing.T, b *bundle) {
			rows := func() (n int) {
				b.registry.Query(t, "SELECT count(*) FROM accepted_events").Scan(&n)
				return n
			}
			keep(t, b, accepted("evt_1", id, 3), accepted("evt_2", "other", 3))
			require.Equal(t, 2, rows())
			b.ensure(t, 3)
			keep(t, b, accepted("evt_3", "other", 4))
			require.Equal(t, 2, rows())
			b.clock.Set(t0.Add(DeliveryRetention + time.Second))
			keep(t, b, accepted("evt_4", "other", 5))
			require.Equal(t, 1, rows())
		},
		"one that is too old is not told": func(t *testing.T, b *bundle) {
			keep(t, b, accepted("evt_1", id, 3))
			b.clock.Set(t0.Add(DeliveryRetention))
			require.Len(t, unheard(t, b, "one"), 1)
			b.clock.Set(t0.Add(DeliveryRetention + time.Second))
			require.Empty(t, unheard(t, b, "one"))
		},
		"many that nobody hears keep none that was heard": func(t *testing.T, b *bundle) {
			for i := range 100 {
				keep(t, b, accepted(fmt.Sprintf("evt_%05d", i), "never-heard", 3))
			}
			keep(t, b, accepted("heard", id, 3))
			b.ensure(t, 3)
			keep(t, b, accepted("the-next", id, 4))
			var n int
			b.registry.Query(t, "SELECT count(*) FROM accepted_events WHERE store_id = ?", id).Scan(&n)
			require.Equal(t, 1, n)
		},
		"what is none is refused": func(t *testing.T, b *bundle) {
			for name, spoil := range map[string]func(*AcceptedEvent){
				"no delivery":             func(e *AcceptedEvent) { e.DeliveryID = "" },
				"no store":                func(e *AcceptedEvent) { e.StoreID = "../x" },
				"an event that is large":  func(e *AcceptedEvent) { e.Event = json.RawMessage(`"` + strings.Repeat("x", 4<<10) + `"`) },
				"a delivery with a space": func(e *AcceptedEvent) { e.DeliveryID = "a b" },
			} {
				e := accepted("evt_1", id, 3)
				spoil(&e)
				require.Error(t, b.KeepAccepted(t.Context(), e), name)
			}
			require.ErrorIs(t, b.KeepAccepted(t.Context(), AcceptedEvent{DeliveryID: "evt_1", StoreID: id, Event: json.RawMessage(`{}`)}), ErrInvalid)
			for _, engine := range []string{"", strings.Repeat("x", 129)} {
				_, err := b.Unheard(t.Context(), UnheardRequest{Engine: engine})
				require.ErrorIs(t, err, ErrInvalid)
				require.ErrorIs(t, b.EngineTold(t.Context(), EngineRequest{engine}), ErrInvalid)
			}
			require.Empty(t, unheard(t, b, "one"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, test)
		})
	}
}
