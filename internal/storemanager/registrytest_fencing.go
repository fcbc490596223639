package storemanager

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (on suite) TestFencing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *bundle){
		"an unknown store is created": func(t *testing.T, b *bundle) {
			require.Equal(t, EnsureCreated, b.ensure(t, 1))
			require.Equal(t, Store{
				ID: id, State: StateMonitored, Connection: ConnectionNotConfigured, EventAt: at(1),
				FirstMonitoredAt: new(t0), LastEnsuredAt: new(t0),
			}, b.get(t))
		},
		"a monitored store exists, and keeps the newest knowledge": func(t *testing.T, b *bundle) {
			b.ensure(t, 5)
			b.clock.Set(at(10))
			require.Equal(t, EnsureExists, b.ensure(t, 7))
			require.Equal(t, EnsureExists, b.ensure(t, 3))
			s := b.get(t)
			require.Equal(t, at(7), s.EventAt)
			require.Equal(t, at(10), *s.LastEnsuredAt)
			require.Equal(t, t0, *s.FirstMonitoredAt)
		},
		"the request that created a store hears created again, and counts once": func(t *testing.T, b *bundle) {
			q := EnsureRequest{StoreID: id, At: at(1), RequestID: "delivery-1"}
			for range 3 {
				res, err := b.Ensure(t.Context(), q)
				require.NoError(t, err)
				require.Equal(t, EnsureResult{StoreID: id, Outcome: EnsureCreated, Connection: ConnectionNotConfigured}, res)
			}
			q.RequestID = "delivery-2"
			res, err := b.Ensure(t.Context(), q)
			require.NoError(t, err)
			require.Equal(t, EnsureExists, res.Outcome)
			require.EqualValues(t, 1, b.overview(t).TotalProvisioned)
		},
		"the repeat of the creation does not cancel a newer deletion": func(t *testing.T, b *bundle) {
			q := EnsureRequest{StoreID: id, At: at(1), RequestID: "delivery-1"}
			_, err := b.Ensure(t.Context(), q)
			require.NoError(t, err)
			b.begin(t, 2, "run")
			res, err := b.Ensure(t.Context(), q)
			require.NoError(t, err)
			require.Equal(t, EnsureResult{StoreID: id, Outcome: EnsureStale, Connection: ConnectionNotConfigured}, res)
			require.NotNil(t, b.get(t).Deletion)
		},
		"nothing is stopped on an answer that is older than a minute": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 2, "run")
			b.clock.Set(at(200))
			for _, absentAt := range []time.Time{at(144), at(206)} {
				res, err := b.Stop(t.Context(), StopRequest{StoreID: id, Owner: "run", AbsentAt: absentAt})
				require.NoError(t, err)
				require.Equal(t, StopAnswerTooOld, res.Outcome, "%s", absentAt)
				require.NotNil(t, b.get(t).Deletion)
			}
			res, err := b.Stop(t.Context(), StopRequest{StoreID: id, Owner: "run", AbsentAt: at(145)})
			require.NoError(t, err)
			require.Equal(t, StopStopped, res.Outcome)
			res, err = b.Stop(t.Context(), StopRequest{StoreID: id, Owner: "run", AbsentAt: at(20)})
			require.NoError(t, err)
			require.Equal(t, StopStopped, res.Outcome, "a repeat stops nothing")
		},
		"a list speaks against a pending deletion if it was asked for since, and the list before too": func(t *testing.T, b *bundle) {
			list := func(seconds int, has bool) {
				marks := MissingMarks{ListAt: at(seconds), Missing: []string{id}}
				if has {
					marks = MissingMarks{ListAt: at(seconds), Listed: []string{id}}
				}
				require.NoError(t, b.MarkMissing(t.Context(), marks))
			}
			b.ensure(t, 1)
			b.clock.Set(at(10))
			b.begin(t, 5, "run")
			list(10, true)
			require.Nil(t, b.get(t).ListedSince, "asked for before the registry knew of the deletion")
			list(11, true)
			list(12, true)
			require.Equal(t, new(at(11)), b.get(t).ListedSince)
			list(13, false)
			require.Nil(t, b.get(t).ListedSince, "no consecutive lists")
			require.Nil(t, b.get(t).MissingSince, "what an event deletes is no sighting")
			list(14, true)
			b.begin(t, 20, "run")
			require.Nil(t, b.get(t).ListedSince, "the list is older than what is known now")
			list(21, true)
			b.begin(t, 20, "another-run")
			require.NotNil(t, b.get(t).ListedSince, "the same deletion")
			b.begin(t, 22, "another-run")
			require.Nil(t, b.get(t).ListedSince, "another one")
			list(23, true)
			require.NotNil(t, b.get(t).ListedSince)
			b.ensure(t, 23)
			require.Nil(t, b.get(t).ListedSince)
		},
		"what ends a deletion ends no newer one": func(t *testing.T, b *bundle) {
			cancel := func(q CancelRequest) *Deletion {
				q.StoreID = id
				s, err := b.CancelDeletion(t.Context(), q)
				require.NoError(t, err)
				return s.Deletion
			}
			b.ensure(t, 1)
			b.begin(t, 2, "run")
			b.begin(t, 3, "run")
			require.NotNil(t, cancel(CancelRequest{Owner: "run", EventAt: at(2)}), "reported since")
			require.NotNil(t, cancel(CancelRequest{Owner: "another-run", EventAt: at(3)}))
			require.Nil(t, cancel(CancelRequest{Owner: "run", EventAt: at(3)}))
			b.begin(t, 4, "run")
			require.Nil(t, cancel(CancelRequest{}), "any")
			require.Equal(t, DeletionStale, b.begin(t, 4, "run"))
		},
		"another run goes on with a pending deletion as it is": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 2, "run")
			before := *b.get(t).Deletion
			b.clock.Set(at(50))
			s, err := b.TakeOverDeletion(t.Context(), TakeOverRequest{StoreID: id, Owner: "run-2"})
			require.NoError(t, err)
			before.Owner = "run-2"
			require.Equal(t, &before, s.Deletion)
			b.clock.Set(at(100))
			require.Equal(t, StopNotPending, b.stop(t, "run"))
			require.Equal(t, StopStopped, b.stop(t, "run-2"))
			_, err = b.TakeOverDeletion(t.Context(), TakeOverRequest{StoreID: id, Owner: "run-3"})
			require.ErrorIs(t, err, ErrNotFound)
		},
		"a late created does not bring a stopped store back": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 5, "run")
			b.clock.Set(at(100))
			require.Equal(t, StopStopped, b.stop(t, "run"))
			require.Equal(t, EnsureStale, b.ensure(t, 4))
			require.Equal(t, EnsureStale, b.ensure(t, 5))
			require.Equal(t, StateStopped, b.get(t).State)
			require.Equal(t, EnsureCreated, b.ensure(t, 6))
			require.Equal(t, Store{
				ID: id, State: StateMonitored, Connection: ConnectionNotConfigured, EventAt: at(6),
				FirstMonitoredAt: new(at(100)), LastEnsuredAt: new(at(100)),
			}, b.get(t))
			require.EqualValues(t, 2, b.overview(t).TotalProvisioned)
		},
		"a created that comes after a deleted of an unknown store stays gone": func(t *testing.T, b *bundle) {
			require.Equal(t, DeletionAlreadyStopped, b.begin(t, 5, "run"))
			require.Equal(t, EnsureStale, b.ensure(t, 4))
			s := b.get(t)
			require.Equal(t, StateStopped, s.State)
			require.Nil(t, s.LastStoppedAt, "it never ran")
			require.Equal(t, Overview{Connections: map[ConnectionState]int{}, Tombstones: 1}, b.overview(t))
		},
		"a tombstone keeps the newest deletion": func(t *testing.T, b *bundle) {
			b.begin(t, 5, "run")
			b.begin(t, 9, "run")
			b.begin(t, 7, "run")
			require.Equal(t, at(9), b.get(t).EventAt)
			require.Equal(t, EnsureStale, b.ensure(t, 9))
			require.Equal(t, EnsureCreated, b.ensure(t, 10))
		},
		"a pending store is monitored until it is stopped": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			require.Equal(t, DeletionScheduled, b.begin(t, 2, "run"))
			s := b.get(t)
			require.Equal(t, StateMonitored, s.State)
			require.Equal(t, &Deletion{EventAt: at(2), Since: t0, DeleteAt: at(100), Owner: "run"}, s.Deletion)
			o := b.overview(t)
			require.Equal(t, 1, o.Monitored)
			require.Equal(t, 1, o.DeletionPending)
		},
		"a newer created cancels a pending deletion, an older one does not": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 5, "run")
			require.Equal(t, EnsureStale, b.ensure(t, 5))
			require.NotNil(t, b.get(t).Deletion)
			res, err := b.Ensure(t.Context(), EnsureRequest{StoreID: id, At: at(6)})
			require.NoError(t, err)
			require.Equal(t, EnsureExists, res.Outcome)
			require.True(t, res.DeletionCancelled)
			require.Nil(t, b.get(t).Deletion)
			require.Equal(t, StopNotPending, b.stop(t, "run"))
		},
		"a deletion that is older than what is known is stale": func(t *testing.T, b *bundle) {
			b.ensure(t, 5)
			require.Equal(t, DeletionStale, b.begin(t, 4, "run"))
			require.Nil(t, b.get(t).Deletion)
			require.Equal(t, DeletionScheduled, b.begin(t, 5, "run"), "at the same moment the deletion wins")
		},
		"a repeated deletion keeps its moment, whoever brings it; a newer one of another run replaces it": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			begin := func(owner string, event, deleteAt int) DeletionResult {
				res, err := b.BeginDeletion(t.Context(), DeletionRequest{StoreID: id, At: at(event), DeleteAt: at(deleteAt), Owner: owner})
				require.NoError(t, err)
				return res
			}
			scheduled := func(event, deleteAt int) DeletionResult {
				return DeletionResult{Outcome: DeletionScheduled, EventAt: at(event), DeleteAt: at(deleteAt)}
			}
			require.Equal(t, scheduled(5, 50), begin("first", 5, 50))
			require.Equal(t, scheduled(6, 50), begin("first", 6, 60))
			require.Equal(t, scheduled(6, 50), begin("second", 6, 70), "the run that waited is no more, the deletion is the same")
			require.Equal(t, scheduled(7, 70), begin("third", 7, 70))
			begin("second", 4, 80)
			require.Equal(t, &Deletion{EventAt: at(7), Since: t0, DeleteAt: at(70), Owner: "second"}, b.get(t).Deletion)
			b.clock.Set(at(80))
			require.Equal(t, StopNotPending, b.stop(t, "first"))
			require.Equal(t, StopStopped, b.stop(t, "second"))
		},
		"a cancelled deletion does not come back, a newer one may": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 5, "run")
			s, err := b.CancelDeletion(t.Context(), CancelRequest{StoreID: id})
			require.NoError(t, err)
			require.Nil(t, s.Deletion)
			require.Equal(t, DeletionStale, b.begin(t, 5, "run"))
			require.Equal(t, DeletionStale, b.begin(t, 4, "another run"))
			require.Equal(t, DeletionScheduled, b.begin(t, 6, "run"))
		},
		"knowledge from the far future counts as five minutes ahead": func(t *testing.T, b *bundle) {
			require.Equal(t, DeletionAlreadyStopped, b.begin(t, 80000, "run"))
			require.Equal(t, t0.Add(5*time.Minute), b.get(t).EventAt)
			b.clock.Set(at(301))
			require.Equal(t, EnsureCreated, b.ensure(t, 301))
		},
		"cancelling nothing changes nothing": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			before := b.get(t)
			s, err := b.CancelDeletion(t.Context(), CancelRequest{StoreID: id})
			require.NoError(t, err)
			require.Equal(t, before, s)
			require.Equal(t, DeletionScheduled, b.begin(t, 1, "run"))
		},
		"a store is not stopped before its time": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 2, "run")
			b.clock.Set(at(100).Add(-time.Microsecond))
			_, err := b.Stop(t.Context(), StopRequest{StoreID: id, Owner: "run", AbsentAt: b.clock.Now()})
			require.ErrorIs(t, err, ErrTooEarly)
			require.Equal(t, StateMonitored, b.get(t).State)
			b.clock.Set(at(100))
			require.Equal(t, StopStopped, b.stop(t, "run"))
			require.Equal(t, Store{
				ID: id, State: StateStopped, Connection: ConnectionStopped, EventAt: at(2),
				FirstMonitoredAt: new(t0), LastEnsuredAt: new(t0), LastStoppedAt: new(at(100)),
			}, b.get(t))
			require.Equal(t, Overview{
				Connections: map[ConnectionState]int{},
				Tombstones:  1, TotalProvisioned: 1, TotalStopped: 1, LastProvisionedAt: new(t0), LastStoppedAt: new(at(100)),
			}, b.overview(t))
		},
		"a store is stopped by the owner of its deletion only": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			require.Equal(t, StopNotPending, b.stop(t, "run"))
			b.begin(t, 2, "run")
			require.Equal(t, StopNotPending, b.stop(t, "another run"))
		},
		"the owner that stopped a store hears stopped again, and counts once": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 2, "run")
			b.clock.Set(at(100))
			require.Equal(t, StopStopped, b.stop(t, "run"))
			require.Equal(t, StopStopped, b.stop(t, "run"))
			require.Equal(t, StopAlreadyStopped, b.stop(t, "another run"))
			require.EqualValues(t, 1, b.overview(t).TotalStopped)
		},
		"stopping an unknown store finds it stopped": func(t *testing.T, b *bundle) {
			require.Equal(t, StopAlreadyStopped, b.stop(t, "run"))
			_, err := b.Get(t.Context(), id)
			require.ErrorIs(t, err, ErrNotFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, test)
		})
	}
}

func (on suite) TestProtection(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *bundle){
		"a hold cancels a pending deletion and refuses others until released": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 5, "run")
			held := Hold{Reason: someHold.Reason, Actor: someHold.Actor, Since: t0}
			require.Equal(t, Store{
				ID: id, State: StateMonitored, Connection: ConnectionNotConfigured, EventAt: at(1),
				FirstMonitoredAt: new(t0), LastEnsuredAt: new(t0), Hold: &held,
			}, b.hold(t, someHold))
			require.Equal(t, DeletionStale, b.begin(t, 5, "run"), "stale comes first")
			res, err := b.BeginDeletion(t.Context(), DeletionRequest{StoreID: id, At: at(6), DeleteAt: at(7), Owner: "run"})
			require.NoError(t, err)
			require.Equal(t, DeletionResult{Outcome: DeletionHeld, Hold: &held}, res)
			b.clock.Set(at(200))
			require.Equal(t, StopNotPending, b.stop(t, "run"))
			require.Equal(t, 1, b.overview(t).Held)

			s, err := b.Release(t.Context(), id)
			require.NoError(t, err)
			require.Nil(t, s.Hold)
			require.Equal(t, DeletionStale, b.begin(t, 5, "run"), "what the hold cancelled stays cancelled")
			require.Equal(t, DeletionScheduled, b.begin(t, 6, "run"))
		},
		"a hold that has expired counts as none": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.hold(t, Hold{Reason: "r", Actor: "a", ExpiresAt: new(at(10))})
			b.clock.Set(at(10).Add(-time.Microsecond))
			require.Equal(t, at(10), *b.get(t).Hold.ExpiresAt)
			require.Equal(t, 1, b.overview(t).Held)
			require.Equal(t, DeletionHeld, b.begin(t, 5, "run"))
			b.clock.Set(at(10))
			require.Nil(t, b.get(t).Hold)
			require.Zero(t, b.overview(t).Held)
			page, err := b.List(t.Context(), ListRequest{})
			require.NoError(t, err)
			require.Nil(t, page.Stores[0].Hold)
			require.Equal(t, DeletionScheduled, b.begin(t, 5, "run"))
		},
		"the same hold again keeps its start, another replaces it": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			first := b.hold(t, someHold)
			b.clock.Set(at(5))
			require.Equal(t, first, b.hold(t, someHold))
			other := b.hold(t, Hold{Reason: "another", Actor: someHold.Actor, Since: at(1), ExpiresAt: new(at(9))})
			require.Equal(t, &Hold{Reason: "another", Actor: someHold.Actor, Since: at(5), ExpiresAt: new(at(9))}, other.Hold)
		},
		"a hold with a long story is kept, the story is cut": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			story := Hold{Reason: strings.Repeat("ü", maxText), Actor: strings.Repeat("a", maxText)}
			first := b.hold(t, story)
			require.LessOrEqual(t, len(first.Hold.Reason), maxText)
			require.True(t, strings.HasSuffix(first.Hold.Reason, "üü…"))
			require.Equal(t, story.Actor, first.Hold.Actor)
			b.clock.Set(at(5))
			require.Equal(t, first, b.hold(t, story))
		},
		"releasing a store that is not held changes nothing": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			before := b.get(t)
			s, err := b.Release(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, before, s)
		},
		"a hold, a release and a cancellation want a monitored store": func(t *testing.T, b *bundle) {
			refused := func(why string) {
				_, err := b.Hold(t.Context(), id, someHold)
				require.ErrorIs(t, err, ErrNotFound, why)
				_, err = b.Release(t.Context(), id)
				require.ErrorIs(t, err, ErrNotFound, why)
				_, err = b.CancelDeletion(t.Context(), CancelRequest{StoreID: id})
				require.ErrorIs(t, err, ErrNotFound, why)
			}
			refused("unknown")
			b.begin(t, 1, "run")
			refused("a tombstone")
		},
		"a pinned store is not deleted until it is no longer pinned": func(t *testing.T, b *bundle) {
			b.pin(t, id)
			require.True(t, b.get(t).Pinned)
			require.Equal(t, DeletionPinned, b.begin(t, 5, "run"))
			require.Equal(t, 1, b.overview(t).Pinned)
			b.pin(t)
			require.False(t, b.get(t).Pinned)
			require.Equal(t, StateMonitored, b.get(t).State)
			require.Equal(t, DeletionScheduled, b.begin(t, 5, "run"))
		},
		"a pin cancels a pending deletion": func(t *testing.T, b *bundle) {
			b.ensure(t, 1)
			b.begin(t, 5, "run") // of minute 5, and it is minute 0: the event's clock is ahead of ours
			b.pin(t, id)
			require.Nil(t, b.get(t).Deletion)
			b.clock.Set(at(100))
			require.Equal(t, StopNotPending, b.stop(t, "run"))
			require.Equal(t, DeletionStale, b.begin(t, 5, "run"))
		},
		"a pin brings a stopped store back, whatever its tombstone says": func(t *testing.T, b *bundle) {
			b.begin(t, 5, "run")
			b.pin(t, id, "pinned-2")
			s := b.get(t)
			require.Equal(t, StateMonitored, s.State)
			require.Equal(t, at(5), s.EventAt)
			require.True(t, s.Pinned)
			o := b.overview(t)
			require.Equal(t, 2, o.Pinned)
			require.EqualValues(t, 2, o.TotalProvisioned)
		},
		"a pin that is no id changes nothing": func(t *testing.T, b *bundle) {
			b.pin(t, id)
			err := b.registry.SetPins(t.Context(), []string{"fine-1", "../../etc x"})
			require.ErrorIs(t, err, ErrInvalid)
			require.ErrorContains(t, err, `"../../etc x"`)
			require.Equal(t, 1, b.overview(t).Monitored)
			require.True(t, b.get(t).Pinned)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, test)
		})
	}
}
