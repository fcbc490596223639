package sqlite_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp/storehttptest"
	"storekeeper/internal/storemanager/storetest"
)

// delivered is a delivery that was answered.
func delivered(id string) deliveries.Delivery {
	return deliveries.Delivery{
		ID: id, BodyHash: strings.Repeat("ab", 32), Status: 200, Answer: json.RawMessage(`{"status":"monitoring_started","n":1}`),
	}
}

func TestARepeatedDeliveryGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *storetest.Bundle){
		"what nobody has delivered is not known": func(t *testing.T, b *storetest.Bundle) {
			d, err := b.Delivery(t.Context(), "evt_1")
			require.NoError(t, err)
			require.Nil(t, d)
		},
		"it is remembered as it was answered, byte for byte": func(t *testing.T, b *storetest.Bundle) {
			for _, id := range []string{"evt_1", "a/b?c=d&e#f%41+~!", strings.Repeat("x", 128)} {
				want := delivered(id)
				kept, err := b.Remember(t.Context(), want)
				require.NoError(t, err)
				want.At = storetest.At(0)
				require.Equal(t, want, kept)
				found, err := b.Delivery(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, &want, found)
			}
		},
		"the first of an id stays, and whoever comes later is told": func(t *testing.T, b *storetest.Bundle) {
			first, err := b.Remember(t.Context(), delivered("evt_1"))
			require.NoError(t, err)
			b.Clock.Set(storetest.At(5))
			other := delivered("evt_1")
			other.BodyHash, other.Answer = strings.Repeat("cd", 32), json.RawMessage(`{}`)
			kept, err := b.Remember(t.Context(), other)
			require.NoError(t, err)
			require.Equal(t, first, kept)
		},
		"it is forgotten after its time and not before, a hundred at once": func(t *testing.T, b *storetest.Bundle) {
			for i := range 150 {
				_, err := b.Remember(t.Context(), delivered(fmt.Sprintf("old_%d", i)))
				require.NoError(t, err)
			}
			known := func() (n int) {
				for i := range 150 {
					d, err := b.Delivery(t.Context(), fmt.Sprintf("old_%d", i))
					require.NoError(t, err)
					if d != nil {
						n++
					}
				}
				return n
			}
			b.Clock.Set(storetest.At(0).Add(deliveries.DeliveryRetention))
			for i, left := range []int{150, 50, 0} {
				_, err := b.Remember(t.Context(), delivered(fmt.Sprintf("new_%d", i)))
				require.NoError(t, err)
				require.Equal(t, left, known())
				b.Clock.Set(storetest.At(1).Add(deliveries.DeliveryRetention))
			}
		},
		"they are counted: a repeat is none, and what is forgotten is none any more": func(t *testing.T, b *storetest.Bundle) {
			require.Zero(t, count(t, b))
			for _, id := range []string{"evt_1", "evt_2", "evt_2"} {
				_, err := b.Remember(t.Context(), delivered(id))
				require.NoError(t, err)
			}
			require.EqualValues(t, 2, count(t, b))
			b.Clock.Set(storetest.At(1).Add(deliveries.DeliveryRetention))
			_, err := b.Remember(t.Context(), delivered("evt_3"))
			require.NoError(t, err)
			require.EqualValues(t, 1, count(t, b))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, test)
		})
	}
}

func TestADeliveryThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b *storetest.Bundle) {
		for name, spoil := range map[string]func(*deliveries.Delivery){
			"no id":                   func(d *deliveries.Delivery) { d.ID = "" },
			"an id with a space":      func(d *deliveries.Delivery) { d.ID = "a b" },
			"an id too long":          func(d *deliveries.Delivery) { d.ID = strings.Repeat("x", 129) },
			"a hash that is none":     func(d *deliveries.Delivery) { d.BodyHash = "abc" },
			"a status that is none":   func(d *deliveries.Delivery) { d.Status = 0 },
			"an answer that is large": func(d *deliveries.Delivery) { d.Answer = json.RawMessage(`"` + strings.Repeat("x", 4<<10) + `"`) },
		} {
			d := delivered("evt_1")
			spoil(&d)
			_, err := b.Remember(t.Context(), d)
			require.Error(t, err, name)
			found, err := b.Delivery(t.Context(), "evt_1")
			require.NoError(t, err, name)
			require.Nil(t, found, name)
		}
		_, err := b.Remember(t.Context(), deliveries.Delivery{})
		require.ErrorIs(t, err, storemanager.ErrInvalid)
		_, err = b.Delivery(t.Context(), "a b")
		require.ErrorIs(t, err, storemanager.ErrInvalid)
	})
}

func TestOfTooManyDeliveriesTheOldestAreForgottenEarly(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	path := t.TempDir() + "/registry.db"
	r := storetest.Open(t, storetest.Settings{Path: path, Now: clock.Now, MaxDeliveries: 5})
	remember := func(i int) {
		clock.Set(storetest.At(i))
		_, err := r.Remember(t.Context(), delivered(fmt.Sprint(i)))
		require.NoError(t, err)
	}
	known := func() (ids []int) {
		for i := range 20 {
			d, err := r.Delivery(t.Context(), fmt.Sprint(i))
			require.NoError(t, err)
			if d != nil {
				ids = append(ids, i)
			}
		}
		require.EqualValues(t, len(ids), count(t, r))
		return ids
	}
	for i := range 5 {
		remember(i)
	}
	remember(0) // a repeat makes them no more
	require.Equal(t, []int{0, 1, 2, 3, 4}, known())
	remember(5)
	require.Equal(t, []int{1, 2, 3, 4, 5}, known())
	remember(6)
	require.Equal(t, []int{2, 3, 4, 5, 6}, known())

	require.NoError(t, r.Close())
	r = storetest.Open(t, storetest.Settings{Path: path, Now: clock.Now, MaxDeliveries: 3})
	require.Equal(t, []int{2, 3, 4, 5, 6}, known())
	remember(7)
	require.Equal(t, []int{5, 6, 7}, known(), "a smaller bound is reached with the next")

	clock.Set(storetest.T0)
	_, err := r.Remember(t.Context(), delivered("8"))
	require.NoError(t, err)
	d, err := r.Delivery(t.Context(), "8")
	require.NoError(t, err)
	require.NotNil(t, d, "a clock that was set back takes nothing from the newest")
}

func TestDeliveriesAreThereAfterClose(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	_, err := b.Remember(t.Context(), delivered("evt_1"))
	require.NoError(t, err)
	require.NoError(t, b.Registry.Close())
	again := storetest.Open(t, storetest.Settings{Path: b.Path, Now: b.Clock.Now})
	found, err := again.Delivery(t.Context(), "evt_1")
	require.NoError(t, err)
	require.NotNil(t, found)
}

// onEach runs a test against both forms of the Manager.
func onEach(t *testing.T, test func(t *testing.T, b *storetest.Bundle)) {
	t.Helper()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		test(t, storetest.Setup(t))
	})
	t.Run("over HTTP", func(t *testing.T) {
		t.Parallel()
		b := storetest.Setup(t)
		client := storehttptest.ServeDatabase(t, b.Registry)
		b.Manager, b.Memory = client, client
		test(t, b)
	})
}

func count(t *testing.T, m deliveries.Memory) int64 {
	t.Helper()
	n, err := m.Count(t.Context())
	require.NoError(t, err)
	return n
}
