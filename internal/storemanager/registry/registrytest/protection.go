package registrytest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestHeldAndPinnedStoresAreNotDeleted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *storetest.Bundle){
		"a hold cancels a pending deletion and refuses others until released": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 5, "run")
			held := storemanager.Hold{Reason: storetest.SomeHold.Reason, Actor: storetest.SomeHold.Actor, Since: storetest.T0}
			require.Equal(t, storemanager.Store{
				ID: storetest.ID, State: storemanager.StateMonitored, Connection: storemanager.ConnectionNotConfigured, EventAt: storetest.At(1),
				FirstMonitoredAt: new(storetest.T0), LastEnsuredAt: new(storetest.T0), Hold: &held,
			}, b.MustHold(t, storetest.SomeHold))
			require.Equal(t, storemanager.DeletionStale, b.MustBegin(t, 5, "run"), "stale comes first")
			res, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: storetest.ID, At: storetest.At(6), DeleteAt: storetest.At(7), Owner: "run"})
			require.NoError(t, err)
			require.Equal(t, storemanager.DeletionResult{Outcome: storemanager.DeletionHeld, Hold: &held}, res)
			b.Clock.Set(storetest.At(200))
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "run"))
			require.Equal(t, 1, b.MustOverview(t).Held)

			s, err := b.Release(t.Context(), storemanager.ReleaseRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			require.Nil(t, s.Hold)
			require.Equal(t, storemanager.DeletionStale, b.MustBegin(t, 5, "run"), "what the hold cancelled stays cancelled")
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 6, "run"))
		},
		"a hold that has expired counts as none": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustHold(t, storemanager.Hold{Reason: "r", Actor: "a", ExpiresAt: new(storetest.At(10))})
			b.Clock.Set(storetest.At(10).Add(-time.Microsecond))
			require.Equal(t, storetest.At(10), *b.MustGet(t).Hold.ExpiresAt)
			require.Equal(t, 1, b.MustOverview(t).Held)
			require.Equal(t, storemanager.DeletionHeld, b.MustBegin(t, 5, "run"))
			b.Clock.Set(storetest.At(10))
			require.Nil(t, b.MustGet(t).Hold)
			require.Zero(t, b.MustOverview(t).Held)
			page, err := b.List(t.Context(), storemanager.ListRequest{})
			require.NoError(t, err)
			require.Nil(t, page.Stores[0].Hold)
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 5, "run"))
		},
		"the same hold again keeps its start, another replaces it": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			first := b.MustHold(t, storetest.SomeHold)
			b.Clock.Set(storetest.At(5))
			require.Equal(t, first, b.MustHold(t, storetest.SomeHold))
			other := b.MustHold(t, storemanager.Hold{Reason: "another", Actor: storetest.SomeHold.Actor, Since: storetest.At(1), ExpiresAt: new(storetest.At(9))})
			require.Equal(t, &storemanager.Hold{Reason: "another", Actor: storetest.SomeHold.Actor, Since: storetest.At(5), ExpiresAt: new(storetest.At(9))}, other.Hold)
		},
		"a hold with a long story is kept, the story is cut": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			story := storemanager.Hold{Reason: strings.Repeat("ü", storemanager.MaxText), Actor: strings.Repeat("a", storemanager.MaxText)}
			first := b.MustHold(t, story)
			require.LessOrEqual(t, len(first.Hold.Reason), storemanager.MaxText)
			require.True(t, strings.HasSuffix(first.Hold.Reason, "üü…"))
			require.Equal(t, story.Actor, first.Hold.Actor)
			b.Clock.Set(storetest.At(5))
			require.Equal(t, first, b.MustHold(t, story))
		},
		"releasing a store that is not held changes nothing": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			before := b.MustGet(t)
			s, err := b.Release(t.Context(), storemanager.ReleaseRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			require.Equal(t, before, s)
		},
		"a hold, a release and a cancellation want a monitored store": func(t *testing.T, b *storetest.Bundle) {
			refused := func(why string) {
				_, err := b.Hold(t.Context(), storetest.ID, storemanager.HoldRequest{Hold: storetest.SomeHold})
				require.ErrorIs(t, err, storemanager.ErrNotFound, why)
				_, err = b.Release(t.Context(), storemanager.ReleaseRequest{StoreID: storetest.ID})
				require.ErrorIs(t, err, storemanager.ErrNotFound, why)
				_, err = b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
				require.ErrorIs(t, err, storemanager.ErrNotFound, why)
			}
			refused("unknown")
			b.MustBegin(t, 1, "run")
			refused("a tombstone")
		},
		"a pinned store is not deleted until it is no longer pinned": func(t *testing.T, b *storetest.Bundle) {
			b.MustPin(t, storetest.ID)
			require.True(t, b.MustGet(t).Pinned)
			require.Equal(t, storemanager.DeletionPinned, b.MustBegin(t, 5, "run"))
			require.Equal(t, 1, b.MustOverview(t).Pinned)
			b.MustPin(t)
			require.False(t, b.MustGet(t).Pinned)
			require.Equal(t, storemanager.StateMonitored, b.MustGet(t).State)
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 5, "run"))
		},
		"a pin cancels a pending deletion": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 5, "run") // of minute 5, and it is minute 0: the event's clock is ahead of ours
			b.MustPin(t, storetest.ID)
			require.Nil(t, b.MustGet(t).Deletion)
			b.Clock.Set(storetest.At(100))
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "run"))
			require.Equal(t, storemanager.DeletionStale, b.MustBegin(t, 5, "run"))
		},
		"a pin brings a stopped store back, whatever its tombstone says": func(t *testing.T, b *storetest.Bundle) {
			b.MustBegin(t, 5, "run")
			b.MustPin(t, storetest.ID, "pinned-2")
			s := b.MustGet(t)
			require.Equal(t, storemanager.StateMonitored, s.State)
			require.Equal(t, storetest.At(5), s.EventAt)
			require.True(t, s.Pinned)
			o := b.MustOverview(t)
			require.Equal(t, 2, o.Pinned)
			require.EqualValues(t, 2, o.TotalProvisioned)
		},
		"a pin that is no id changes nothing": func(t *testing.T, b *storetest.Bundle) {
			b.MustPin(t, storetest.ID)
			err := b.Registry.SetPins(t.Context(), []string{"fine-1", "../../etc x"})
			require.ErrorIs(t, err, storemanager.ErrInvalid)
			require.ErrorContains(t, err, `"../../etc x"`)
			require.Equal(t, 1, b.MustOverview(t).Monitored)
			require.True(t, b.MustGet(t).Pinned)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, test)
		})
	}
}

func (on suite) TestAStoreKeepsTheOwnerThatItsEventsNamed(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		ensure := func(id string, second int, user string) {
			_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: storetest.At(second), Origin: storemanager.Origin{
				Source: storemanager.SourceWebhook, UserID: user,
			}})
			require.NoError(t, err)
		}
		begin := func(id, user string) {
			_, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{
				StoreID: id, At: storetest.At(20), DeleteAt: storetest.At(30), Owner: "run",
				Origin: storemanager.Origin{Source: storemanager.SourceWebhook, UserID: user},
			})
			require.NoError(t, err)
		}
		owner := func(id string) string {
			s, err := b.Get(t.Context(), id)
			require.NoError(t, err)
			return s.UserID
		}
		ensure("store-1", 1, "ann")
		ensure("store-2", 1, "")
		require.Equal(t, "ann", owner("store-1"))
		require.Empty(t, owner("store-2"), "reconciliation added it")
		ensure("store-1", 2, "")
		require.Equal(t, "ann", owner("store-1"), "a list names nobody")
		ensure("store-1", 3, "bob")
		require.Equal(t, "bob", owner("store-1"), "the newest event counts")
		begin("store-1", "cat")
		require.Equal(t, "bob", owner("store-1"), "who deletes need not be the owner")
		begin("store-2", "dan")
		require.Equal(t, "dan", owner("store-2"), "the event of the creation was lost")

		list := func(q storemanager.ListRequest) (ids []string) {
			page, err := b.List(t.Context(), q)
			require.NoError(t, err)
			for _, s := range page.Stores {
				ids = append(ids, s.ID)
			}
			return ids
		}
		ensure("store-3", 1, "bobby")
		require.Equal(t, []string{"store-1", "store-3"}, list(storemanager.ListRequest{UserID: "bob"}))
		require.Equal(t, []string{"store-3"}, list(storemanager.ListRequest{UserID: "bob", Cursor: "store-1"}))
		require.Equal(t, []string{"store-1"}, list(storemanager.ListRequest{UserID: "bob", States: []string{storemanager.StoreDeletionPending}}))

		b.Clock.Set(storetest.At(40))
		_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: "store-1", Owner: "run", AbsentAt: b.Clock.Now()})
		require.NoError(t, err)
		require.Equal(t, "bob", owner("store-1"), "a tombstone has it, too")
		page, err := b.Audit(t.Context(), storemanager.AuditQuery{UserID: "bob", OldestFirst: true})
		require.NoError(t, err)
		var kinds []string
		for _, e := range page.Entries {
			kinds = append(kinds, string(e.Kind)+" "+e.StoreID)
		}
		require.Equal(t, []string{"ensure store-1", "deletion store-1", "stop store-1"}, kinds, "since it is the owner's")
	})
}
