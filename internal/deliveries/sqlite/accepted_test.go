package sqlite_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func accepted(delivery, storeID string, second int) deliveries.AcceptedEvent {
	return deliveries.AcceptedEvent{DeliveryID: delivery, StoreID: storeID, EventAt: storetest.At(second), Event: json.RawMessage(`{"type":"workspace.created"}`)}
}

func TestAnAcceptedEventIsToldUntilItsStoreHasHeardOfIt(t *testing.T) {
	t.Parallel()
	unheard := func(t *testing.T, b *storetest.Bundle, engine string) (ids []string) {
		t.Helper()
		events, err := b.Unheard(t.Context(), deliveries.UnheardRequest{Engine: engine})
		require.NoError(t, err)
		for _, e := range events {
			ids = append(ids, e.DeliveryID)
		}
		return ids
	}
	keep := func(t *testing.T, b *storetest.Bundle, events ...deliveries.AcceptedEvent) {
		t.Helper()
		for _, e := range events {
			require.NoError(t, b.KeepAccepted(t.Context(), e))
		}
	}
	for name, test := range map[string]func(t *testing.T, b *storetest.Bundle){
		"they are told as they were kept, to an engine that is new": func(t *testing.T, b *storetest.Bundle) {
			want := accepted("evt_1", storetest.ID, 3)
			keep(t, b, want)
			again := want
			again.Event = json.RawMessage(`{}`)
			keep(t, b, again) // the first of a delivery stays
			for range 2 {     // until it says that it was told
				events, err := b.Unheard(t.Context(), deliveries.UnheardRequest{Engine: "one"})
				require.NoError(t, err)
				require.Equal(t, []deliveries.AcceptedEvent{want}, events)
			}
			require.NoError(t, b.EngineTold(t.Context(), deliveries.EngineRequest{Engine: "one"}))
			require.Empty(t, unheard(t, b, "one"))
			require.Equal(t, []string{"evt_1"}, unheard(t, b, "two"))
		},
		"what the store has heard, or something newer, is not told": func(t *testing.T, b *storetest.Bundle) {
			keep(t, b, accepted("created", storetest.ID, 3), accepted("another", "other", 3))
			b.MustEnsure(t, 2)
			require.Equal(t, []string{"another", "created"}, unheard(t, b, "one"))
			b.MustEnsure(t, 3)
			require.Equal(t, []string{"another"}, unheard(t, b, "one"))
			keep(t, b, accepted("deleted", storetest.ID, 5))
			require.Equal(t, []string{"another", "deleted"}, unheard(t, b, "one"))
			b.MustBegin(t, 5, "run")
			require.Equal(t, []string{"another"}, unheard(t, b, "one"))
			_, err := b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			require.Equal(t, []string{"another"}, unheard(t, b, "one"), "a deletion that was cancelled was heard")
		},
		"they come in pages": func(t *testing.T, b *storetest.Bundle) {
			for i := range storemanager.MaxBatch + 1 {
				keep(t, b, accepted(fmt.Sprintf("evt_%05d", i), storetest.ID, 3))
			}
			events, err := b.Unheard(t.Context(), deliveries.UnheardRequest{Engine: "one"})
			require.NoError(t, err)
			require.Len(t, events, storemanager.MaxBatch)
			events, err = b.Unheard(t.Context(), deliveries.UnheardRequest{Engine: "one", After: events[storemanager.MaxBatch-1].DeliveryID})
			require.NoError(t, err)
			require.Len(t, events, 1)
		},
		"what nobody will hear, and what was heard, is forgotten": func(t *testing.T, b *storetest.Bundle) {
			rows := func() (n int) {
				require.NoError(t, b.Registry.Query(t, "SELECT count(*) FROM accepted_events").Scan(&n))
				return n
			}
			keep(t, b, accepted("evt_1", storetest.ID, 3), accepted("evt_2", "other", 3))
			require.Equal(t, 2, rows())
			b.MustEnsure(t, 3)
			keep(t, b, accepted("evt_3", "other", 4))
			require.Equal(t, 2, rows())
			b.Clock.Set(storetest.T0.Add(deliveries.DeliveryRetention + time.Second))
			keep(t, b, accepted("evt_4", "other", 5))
			require.Equal(t, 1, rows())
		},
		"one that is too old is not told": func(t *testing.T, b *storetest.Bundle) {
			keep(t, b, accepted("evt_1", storetest.ID, 3))
			b.Clock.Set(storetest.T0.Add(deliveries.DeliveryRetention))
			require.Len(t, unheard(t, b, "one"), 1)
			b.Clock.Set(storetest.T0.Add(deliveries.DeliveryRetention + time.Second))
			require.Empty(t, unheard(t, b, "one"))
		},
		"many that nobody hears keep none that was heard": func(t *testing.T, b *storetest.Bundle) {
			for i := range 100 {
				keep(t, b, accepted(fmt.Sprintf("evt_%05d", i), "never-heard", 3))
			}
			keep(t, b, accepted("heard", storetest.ID, 3))
			b.MustEnsure(t, 3)
			keep(t, b, accepted("the-next", storetest.ID, 4))
			var n int
			require.NoError(t, b.Registry.Query(t, "SELECT count(*) FROM accepted_events WHERE store_id = ?", storetest.ID).Scan(&n))
			require.Equal(t, 1, n)
		},
		"what is none is refused": func(t *testing.T, b *storetest.Bundle) {
			for name, spoil := range map[string]func(*deliveries.AcceptedEvent){
				"no delivery":             func(e *deliveries.AcceptedEvent) { e.DeliveryID = "" },
				"no store":                func(e *deliveries.AcceptedEvent) { e.StoreID = "../x" },
				"an event that is large":  func(e *deliveries.AcceptedEvent) { e.Event = json.RawMessage(`"` + strings.Repeat("x", 4<<10) + `"`) },
				"a delivery with a space": func(e *deliveries.AcceptedEvent) { e.DeliveryID = "a b" },
			} {
				e := accepted("evt_1", storetest.ID, 3)
				spoil(&e)
				require.Error(t, b.KeepAccepted(t.Context(), e), name)
			}
			require.ErrorIs(t, b.KeepAccepted(t.Context(), deliveries.AcceptedEvent{DeliveryID: "evt_1", StoreID: storetest.ID, Event: json.RawMessage(`{}`)}), storemanager.ErrInvalid)
			for _, engine := range []string{"", strings.Repeat("x", 129)} {
				_, err := b.Unheard(t.Context(), deliveries.UnheardRequest{Engine: engine})
				require.ErrorIs(t, err, storemanager.ErrInvalid)
				require.ErrorIs(t, b.EngineTold(t.Context(), deliveries.EngineRequest{Engine: engine}), storemanager.ErrInvalid)
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
