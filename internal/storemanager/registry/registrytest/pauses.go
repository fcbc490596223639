package registrytest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

var (
	allPaused = storemanager.Pause{Reason: "the list is being repaired", Actor: "ops@example.com"}
	onePaused = storemanager.Pause{StoreID: storetest.ID, Reason: "under repair", Actor: "ops@example.com"}
)

func (on suite) TestAPauseIsInForceUntilItExpiresOrIsResumed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *storetest.Bundle){
		"without any the list is empty": func(t *testing.T, b *storetest.Bundle) {
			require.Equal(t, []storemanager.Pause{}, b.MustPauses(t))
			o := b.MustOverview(t)
			require.Nil(t, o.Paused)
			require.Zero(t, o.PausedStores)
		},
		"that of all comes first, the others by id": func(t *testing.T, b *storetest.Bundle) {
			for _, scope := range []string{"zzz", "", "AAA", "0_0"} {
				b.MustPause(t, storemanager.Pause{StoreID: scope, Reason: "r", Actor: "a"})
			}
			var scopes []string
			for _, p := range b.MustPauses(t) {
				scopes = append(scopes, p.StoreID)
			}
			require.Equal(t, []string{"", "0_0", "AAA", "zzz"}, scopes)
		},
		"one of all shows in the overview, one of a store at the store": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.Clock.Set(storetest.At(5))
			all, one := allPaused, onePaused
			all.Since, one.Since = storetest.At(5), storetest.At(5)
			require.Equal(t, all, b.MustPause(t, allPaused))
			require.Nil(t, b.MustGet(t).Pause, "the pause of all is not its own")
			require.Equal(t, &all, b.MustOverview(t).Paused)
			require.Zero(t, b.MustOverview(t).PausedStores)

			require.Equal(t, one, b.MustPause(t, onePaused))
			require.Equal(t, &one, b.MustGet(t).Pause)
			require.Equal(t, &one, b.MustHold(t, storetest.SomeHold).Pause)
			page, err := b.List(t.Context(), storemanager.ListRequest{States: []string{storemanager.StoreHeld}})
			require.NoError(t, err)
			require.Equal(t, &one, page.Stores[0].Pause)
			require.Equal(t, 1, b.MustOverview(t).PausedStores)

			b.MustResume(t, storetest.ID)
			require.Nil(t, b.MustGet(t).Pause)
			require.Equal(t, []storemanager.Pause{all}, b.MustPauses(t))
			b.MustResume(t, "")
			require.Empty(t, b.MustPauses(t))
			require.Nil(t, b.MustOverview(t).Paused)
		},
		"a page shows those of its stores": func(t *testing.T, b *storetest.Bundle) {
			_, err := b.EnsureBatch(t.Context(), storetest.Batch(0, 5, storetest.T0))
			require.NoError(t, err)
			for _, i := range []int{1, 2, 4} {
				b.MustPause(t, storemanager.Pause{StoreID: storetest.Batch(i, 1, storetest.T0)[0].StoreID, Reason: "r", Actor: "a"})
			}
			b.MustPause(t, storemanager.Pause{StoreID: "store-0000002-unknown", Reason: "r", Actor: "a"})
			var paused []bool
			for q := (storemanager.ListRequest{Limit: 2}); ; {
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
		"one that has expired counts as none": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			for _, p := range []storemanager.Pause{allPaused, onePaused} {
				p.ExpiresAt = new(storetest.At(10))
				b.MustPause(t, p)
			}
			b.Clock.Set(storetest.At(10).Add(-time.Microsecond))
			require.Len(t, b.MustPauses(t), 2)
			require.Equal(t, storetest.At(10), *b.MustGet(t).Pause.ExpiresAt)
			b.Clock.Set(storetest.At(10))
			require.Empty(t, b.MustPauses(t))
			require.Nil(t, b.MustGet(t).Pause)
			require.Nil(t, b.MustHold(t, storetest.SomeHold).Pause)
			page, err := b.List(t.Context(), storemanager.ListRequest{})
			require.NoError(t, err)
			require.Nil(t, page.Stores[0].Pause)
			require.Nil(t, b.MustOverview(t).Paused)
			require.Zero(t, b.MustOverview(t).PausedStores)
			b.MustResume(t, storetest.ID)
			require.NotEqual(t, "resume", b.MustHistory(t)[0].Kind, "there was nothing to resume")
			kept, err := b.Registry.Driver.Pauses(t.Context(), "", "~", storetest.T0)
			require.NoError(t, err)
			require.Empty(t, kept, "any change removes them")
		},
		"the same again keeps its start, another replaces it": func(t *testing.T, b *storetest.Bundle) {
			first := b.MustPause(t, onePaused)
			b.Clock.Set(storetest.At(5))
			require.Equal(t, first, b.MustPause(t, onePaused))
			other := onePaused
			other.ExpiresAt = new(storetest.At(9))
			require.Equal(t, storetest.At(5), b.MustPause(t, other).Since)
			b.Clock.Set(storetest.At(9))
			again := b.MustPause(t, onePaused)
			require.Equal(t, storetest.At(9), again.Since, "the one before has expired")
			require.Equal(t, []storemanager.Pause{again}, b.MustPauses(t))
		},
		"a store need not be known": func(t *testing.T, b *storetest.Bundle) {
			p := b.MustPause(t, onePaused)
			_, err := b.Get(t.Context(), storetest.ID)
			require.ErrorIs(t, err, storemanager.ErrNotFound)
			b.MustEnsure(t, 1)
			require.Equal(t, &p, b.MustGet(t).Pause)
			require.Len(t, b.MustHistory(t), 2, "the pause of a store that was not known is in its history, too")
		},
		"a store may be called all": func(t *testing.T, b *storetest.Bundle) {
			b.MustPause(t, storemanager.Pause{StoreID: "all", Reason: "r", Actor: "a"})
			require.Nil(t, b.MustOverview(t).Paused)
			b.MustPause(t, allPaused)
			b.MustResume(t, "all")
			require.NotNil(t, b.MustOverview(t).Paused)
		},
		"a paused store is changed by events as ever": func(t *testing.T, b *storetest.Bundle) {
			b.MustPause(t, allPaused)
			b.MustPause(t, onePaused)
			require.Equal(t, storemanager.EnsureCreated, b.MustEnsure(t, 1))
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 2, "run"))
			b.Clock.Set(storetest.At(100))
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
			require.NotNil(t, b.MustGet(t).Pause)
		},
		"a long story is cut": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			p := b.MustPause(t, storemanager.Pause{StoreID: storetest.ID, Reason: strings.Repeat("ü", storemanager.MaxText), Actor: strings.Repeat("a", storemanager.MaxText)})
			require.LessOrEqual(t, len(p.Reason), storemanager.MaxText)
			require.Equal(t, &p, b.MustGet(t).Pause)
			require.LessOrEqual(t, len(b.MustHistory(t)[0].Detail), storemanager.MaxText)
		},
		"what can't be is refused, and changes nothing": func(t *testing.T, b *storetest.Bundle) {
			first := b.MustPause(t, allPaused)
			for name, p := range map[string]storemanager.Pause{
				"no id":        {StoreID: "..", Reason: "r", Actor: "a"},
				"no reason":    {Actor: "a"},
				"no actor":     {StoreID: storetest.ID, Reason: "r"},
				"ends now":     {Reason: "r", Actor: "a", ExpiresAt: new(storetest.T0)},
				"ends at zero": {Reason: "r", Actor: "a", ExpiresAt: new(time.Time{})},
			} {
				_, err := b.Pause(t.Context(), storemanager.PauseRequest{Pause: p})
				require.ErrorIs(t, err, storemanager.ErrInvalid, name)
			}
			require.ErrorIs(t, b.Resume(t.Context(), storemanager.ResumeRequest{StoreID: "a/b"}), storemanager.ErrInvalid)
			require.Equal(t, []storemanager.Pause{first}, b.MustPauses(t))
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
	b.MustPause(t, allPaused)
	b.MustPause(t, onePaused)
	want := b.MustPauses(t)
	require.NoError(t, b.Registry.Close())
	got, err := on.open(t, storetest.Settings{Path: b.Path, Now: b.Clock.Now}).Pauses(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
}
