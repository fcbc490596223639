package storemanager

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	allPaused = Pause{Reason: "the list is being repaired", Actor: "ops@example.com"}
	onePaused = Pause{StoreID: id, Reason: "under repair", Actor: "ops@example.com"}
)

func (on suite) TestPauses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *bundle){
		"without any the list is empty": func(t *testing.T, b *bundle) {
			require.Equal(t, []Pause{}, b.pauses(t))
			o := b.overview(t)
			require.Nil(t, o.Paused)
			require.Zero(t, o.PausedStores)
		},
		"that of all comes first, the others by id": func(t *testing.T, b *bundle) {
			for _, scope := range []string{"zzz", "", "AAA", "0_0"} {
				b.pause(t, Pause{StoreID: scope, Reason: "r", Actor: "a"})
			}
			var scopes []string
			for _, p := range b.pauses(t) {
				scopes = append(scopes, p.StoreID)
			}
			require.Equal(t, []string{"", "0_0", "AAA", "zzz"}, scopes)
		},
		"one of all shows in the overview, one of a store at the store": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.clock.Set(at(5))
			all, one := allPaused, onePaused
			all.Since, one.Since = at(5), at(5)
			require.Equal(t, all, b.pause(t, allPaused))
			require.Nil(t, b.get(t).Pause, "the pause of all is not its own")
			require.Equal(t, &all, b.overview(t).Paused)
			require.Zero(t, b.overview(t).PausedStores)

			require.Equal(t, one, b.pause(t, onePaused))
			require.Equal(t, &one, b.get(t).Pause)
			require.Equal(t, &one, b.hold(t, someHold).Pause)
			page, err := b.List(t.Context(), ListRequest{States: []string{StoreHeld}})
			require.NoError(t, err)
			require.Equal(t, &one, page.Stores[0].Pause)
			require.Equal(t, 1, b.overview(t).PausedStores)

			b.resume(t, id)
			require.Nil(t, b.get(t).Pause)
			require.Equal(t, []Pause{all}, b.pauses(t))
			b.resume(t, "")
			require.Empty(t, b.pauses(t))
			require.Nil(t, b.overview(t).Paused)
		},
		"a page shows those of its stores": func(t *testing.T, b *bundle) {
			_, err := b.EnsureBatch(t.Context(), batch(0, 5, t0))
			require.NoError(t, err)
			for _, i := range []int{1, 2, 4} {
				b.pause(t, Pause{StoreID: batch(i, 1, t0)[0].StoreID, Reason: "r", Actor: "a"})
			}
			b.pause(t, Pause{StoreID: "store-0000002-unknown", Reason: "r", Actor: "a"})
			var paused []bool
			for q := (ListRequest{Limit: 2}); ; {
				page, err := b.List(t.Context(), q)
				require.NoError(t, err)
				for _, s := range page.Stores {
					paused = append(paused, s.Pause != nil)
				}
				if q.Cursor = page.NextCursor; q.Cursor == "" {
					break
				}
			}
			require.Equal(t, []bool{false, true, true, false, true}, paused)
		},
		"one that has expired counts as none": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			for _, p := range []Pause{allPaused, onePaused} {
				p.ExpiresAt = new(at(10))
				b.pause(t, p)
			}
			b.clock.Set(at(10).Add(-time.Microsecond))
			require.Len(t, b.pauses(t), 2)
			require.Equal(t, at(10), *b.get(t).Pause.ExpiresAt)
			b.clock.Set(at(10))
			require.Empty(t, b.pauses(t))
			require.Nil(t, b.get(t).Pause)
			require.Nil(t, b.hold(t, someHold).Pause)
			page, err := b.List(t.Context(), ListRequest{})
			require.NoError(t, err)
			require.Nil(t, page.Stores[0].Pause)
			require.Nil(t, b.overview(t).Paused)
			require.Zero(t, b.overview(t).PausedStores)
			b.resume(t, id)
			require.NotEqual(t, eventResume, b.events(t)[0].Kind, "there was nothing to resume")
			var kept int
			b.registry.Query(t, `SELECT count(*) FROM pauses`).Scan(&kept)
			require.Zero(t, kept, "any change removes them")
		},
		"the same again keeps its start, another replaces it": func(t *testing.T, b *bundle) {
			first := b.pause(t, onePaused)
			b.clock.Set(at(5))
			require.Equal(t, first, b.pause(t, onePaused))
			other := onePaused
			other.ExpiresAt = new(at(9))
			require.Equal(t, at(5), b.pause(t, other).Since)
			b.clock.Set(at(9))
			again := b.pause(t, onePaused)
			require.Equal(t, at(9), again.Since, "the one before has expired")
			require.Equal(t, []Pause{again}, b.pauses(t))
		},
		"a store need not be known": func(t *testing.T, b *bundle) {
			p := b.pause(t, onePaused)
			_, err := b.Get(t.Context(), id)
			require.ErrorIs(t, err, ErrNotFound)
			b.ensure(t, 1)
			require.Equal(t, &p, b.get(t).Pause)
			require.Len(t, b.events(t), 1, "the pause of a store that was not known is no event of it")
		},
		"a store may be called all": func(t *testing.T, b *bundle) {
			b.pause(t, Pause{StoreID: "all", Reason: "r", Actor: "a"})
			require.Nil(t, b.overview(t).Paused)
			b.pause(t, allPaused)
			b.resume(t, "all")
			require.NotNil(t, b.overview(t).Paused)
		},
		"a paused store is changed by events as ever": func(t *testing.T, b *bundle) {
			b.pause(t, allPaused)
			b.pause(t, onePaused)
			require.Equal(t, EnsureCreated, b.ensure(t, 1))
			require.Equal(t, DeletionScheduled, b.begin(t, 2, "run"))
			b.clock.Set(at(100))
			require.Equal(t, StopStopped, b.stop(t, "run"))
			require.NotNil(t, b.get(t).Pause)
		},
		"a long story is cut": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			p := b.pause(t, Pause{StoreID: id, Reason: strings.Repeat("ü", maxText), Actor: strings.Repeat("a", maxText)})
			require.LessOrEqual(t, len(p.Reason), maxText)
			require.Equal(t, &p, b.get(t).Pause)
			require.LessOrEqual(t, len(b.events(t)[0].Detail), maxText)
		},
		"what can't be is refused, and changes nothing": func(t *testing.T, b *bundle) {
			first := b.pause(t, allPaused)
			for name, p := range map[string]Pause{
				"no id":        {StoreID: "..", Reason: "r", Actor: "a"},
				"no reason":    {Actor: "a"},
				"no actor":     {StoreID: id, Reason: "r"},
				"ends now":     {Reason: "r", Actor: "a", ExpiresAt: new(t0)},
				"ends at zero": {Reason: "r", Actor: "a", ExpiresAt: new(time.Time{})},
			} {
				_, err := b.Pause(t.Context(), p)
				require.ErrorIs(t, err, ErrInvalid, name)
			}
			require.ErrorIs(t, b.Resume(t.Context(), "a/b"), ErrInvalid)
			require.Equal(t, []Pause{first}, b.pauses(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, test)
		})
	}
}

func (on suite) TestPausesAreThereAfterClose(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.pause(t, allPaused)
	b.pause(t, onePaused)
	want := b.pauses(t)
	require.NoError(t, b.registry.Close())
	got, err := on.open(t, Settings{Path: b.path, Now: b.clock.Now}).Pauses(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
}
