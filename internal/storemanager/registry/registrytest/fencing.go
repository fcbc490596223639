package registrytest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestOlderKnowledgeUndoesNothingNewer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, b *storetest.Bundle){
		"an unknown store is created": func(t *testing.T, b *storetest.Bundle) {
			require.Equal(t, storemanager.EnsureCreated, b.MustEnsure(t, 1))
			require.Equal(t, storemanager.Store{
				ID: storetest.ID, State: storemanager.StateMonitored, Connection: storemanager.ConnectionNotConfigured, EventAt: storetest.At(1),
				FirstMonitoredAt: new(storetest.T0), LastEnsuredAt: new(storetest.T0),
			}, b.MustGet(t))
		},
		"a monitored store exists, and keeps the newest knowledge": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 5)
			b.Clock.Set(storetest.At(10))
			require.Equal(t, storemanager.EnsureExists, b.MustEnsure(t, 7))
			require.Equal(t, storemanager.EnsureExists, b.MustEnsure(t, 3))
			s := b.MustGet(t)
			require.Equal(t, storetest.At(7), s.EventAt)
			require.Equal(t, storetest.At(10), *s.LastEnsuredAt)
			require.Equal(t, storetest.T0, *s.FirstMonitoredAt)
		},
		"the request that created a store hears created again, and counts once": func(t *testing.T, b *storetest.Bundle) {
			q := storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(1), RequestID: "delivery-1"}
			for range 3 {
				res, err := b.Ensure(t.Context(), q)
				require.NoError(t, err)
				require.Equal(t, storemanager.EnsureResult{StoreID: storetest.ID, Outcome: storemanager.EnsureCreated, Connection: storemanager.ConnectionNotConfigured}, res)
			}
			q.RequestID = "delivery-2"
			res, err := b.Ensure(t.Context(), q)
			require.NoError(t, err)
			require.Equal(t, storemanager.EnsureExists, res.Outcome)
			require.EqualValues(t, 1, b.MustOverview(t).TotalProvisioned)
		},
		"the repeat of the creation does not cancel a newer deletion": func(t *testing.T, b *storetest.Bundle) {
			q := storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(1), RequestID: "delivery-1"}
			_, err := b.Ensure(t.Context(), q)
			require.NoError(t, err)
			b.MustBegin(t, 2, "run")
			res, err := b.Ensure(t.Context(), q)
			require.NoError(t, err)
			require.Equal(t, storemanager.EnsureResult{StoreID: storetest.ID, Outcome: storemanager.EnsureStale, Connection: storemanager.ConnectionNotConfigured}, res)
			require.NotNil(t, b.MustGet(t).Deletion)
		},
		"nothing is stopped on an answer that is older than a minute": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(200))
			for _, absentAt := range []time.Time{storetest.At(144), storetest.At(206)} {
				res, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: absentAt})
				require.NoError(t, err)
				require.Equal(t, storemanager.StopAnswerTooOld, res.Outcome, "%s", absentAt)
				require.NotNil(t, b.MustGet(t).Deletion)
			}
			res, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: storetest.At(145)})
			require.NoError(t, err)
			require.Equal(t, storemanager.StopStopped, res.Outcome)
			res, err = b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: storetest.At(20)})
			require.NoError(t, err)
			require.Equal(t, storemanager.StopStopped, res.Outcome, "a repeat stops nothing")
		},
		"a list speaks against a pending deletion if it was asked for since, and the list before too": func(t *testing.T, b *storetest.Bundle) {
			list := func(seconds int, has bool) {
				marks := storemanager.ListMarks{ListAt: storetest.At(seconds), Unlisted: []string{storetest.ID}}
				if has {
					marks = storemanager.ListMarks{ListAt: storetest.At(seconds), Listed: []string{storetest.ID}}
				}
				require.NoError(t, b.MarkUnlisted(t.Context(), marks))
			}
			b.MustEnsure(t, 1)
			b.Clock.Set(storetest.At(10))
			b.MustBegin(t, 5, "run")
			list(10, true)
			require.Nil(t, b.MustGet(t).ListedSince, "asked for before the registry knew of the deletion")
			list(11, true)
			list(12, true)
			require.Equal(t, new(storetest.At(11)), b.MustGet(t).ListedSince)
			list(13, false)
			require.Nil(t, b.MustGet(t).ListedSince, "no consecutive lists")
			require.Nil(t, b.MustGet(t).UnlistedSince, "what an event deletes is no sighting")
			list(14, true)
			b.MustBegin(t, 20, "run")
			require.Nil(t, b.MustGet(t).ListedSince, "the list is older than what is known now")
			list(21, true)
			b.MustBegin(t, 20, "another-run")
			require.NotNil(t, b.MustGet(t).ListedSince, "the same deletion")
			b.MustBegin(t, 22, "another-run")
			require.Nil(t, b.MustGet(t).ListedSince, "another one")
			list(23, true)
			require.NotNil(t, b.MustGet(t).ListedSince)
			b.MustEnsure(t, 23)
			require.Nil(t, b.MustGet(t).ListedSince)
		},
		"what ends a deletion ends no newer one": func(t *testing.T, b *storetest.Bundle) {
			cancel := func(q storemanager.CancelRequest) *storemanager.Deletion {
				q.StoreID = storetest.ID
				s, err := b.CancelDeletion(t.Context(), q)
				require.NoError(t, err)
				return s.Deletion
			}
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.MustBegin(t, 3, "run")
			require.NotNil(t, cancel(storemanager.CancelRequest{Owner: "run", EventAt: storetest.At(2)}), "reported since")
			require.NotNil(t, cancel(storemanager.CancelRequest{Owner: "another-run", EventAt: storetest.At(3)}))
			require.Nil(t, cancel(storemanager.CancelRequest{Owner: "run", EventAt: storetest.At(3)}))
			b.MustBegin(t, 4, "run")
			require.Nil(t, cancel(storemanager.CancelRequest{}), "any")
			require.Equal(t, storemanager.DeletionStale, b.MustBegin(t, 4, "run"))
		},
		"another run goes on with a pending deletion as it is": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			before := *b.MustGet(t).Deletion
			b.Clock.Set(storetest.At(50))
			s, err := b.TakeOverDeletion(t.Context(), storemanager.TakeOverRequest{StoreID: storetest.ID, Owner: "run-2"})
			require.NoError(t, err)
			before.Owner = "run-2"
			require.Equal(t, &before, s.Deletion)
			b.Clock.Set(storetest.At(100))
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "run"))
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run-2"))
			_, err = b.TakeOverDeletion(t.Context(), storemanager.TakeOverRequest{StoreID: storetest.ID, Owner: "run-3"})
			require.ErrorIs(t, err, storemanager.ErrNotFound)
		},
		"a late created does not bring a stopped store back": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 5, "run")
			b.Clock.Set(storetest.At(100))
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
			require.Equal(t, storemanager.EnsureStale, b.MustEnsure(t, 4))
			require.Equal(t, storemanager.EnsureStale, b.MustEnsure(t, 5))
			require.Equal(t, storemanager.StateStopped, b.MustGet(t).State)
			require.Equal(t, storemanager.EnsureCreated, b.MustEnsure(t, 6))
			require.Equal(t, storemanager.Store{
				ID: storetest.ID, State: storemanager.StateMonitored, Connection: storemanager.ConnectionNotConfigured, EventAt: storetest.At(6),
				FirstMonitoredAt: new(storetest.At(100)), LastEnsuredAt: new(storetest.At(100)),
			}, b.MustGet(t))
			require.EqualValues(t, 2, b.MustOverview(t).TotalProvisioned)
		},
		"a created that comes after a deleted of an unknown store stays gone": func(t *testing.T, b *storetest.Bundle) {
			require.Equal(t, storemanager.DeletionAlreadyStopped, b.MustBegin(t, 5, "run"))
			require.Equal(t, storemanager.EnsureStale, b.MustEnsure(t, 4))
			s := b.MustGet(t)
			require.Equal(t, storemanager.StateStopped, s.State)
			require.Nil(t, s.LastStoppedAt, "it never ran")
			require.Equal(t, storemanager.Overview{Connections: map[storemanager.ConnectionState]int{}, Tombstones: 1}, b.MustOverview(t))
		},
		"a tombstone keeps the newest deletion": func(t *testing.T, b *storetest.Bundle) {
			b.MustBegin(t, 5, "run")
			b.MustBegin(t, 9, "run")
			b.MustBegin(t, 7, "run")
			require.Equal(t, storetest.At(9), b.MustGet(t).EventAt)
			require.Equal(t, storemanager.EnsureStale, b.MustEnsure(t, 9))
			require.Equal(t, storemanager.EnsureCreated, b.MustEnsure(t, 10))
		},
		"a pending store is monitored until it is stopped": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 2, "run"))
			s := b.MustGet(t)
			require.Equal(t, storemanager.StateMonitored, s.State)
			require.Equal(t, &storemanager.Deletion{EventAt: storetest.At(2), Since: storetest.T0, DeleteAt: storetest.At(100), Owner: "run"}, s.Deletion)
			o := b.MustOverview(t)
			require.Equal(t, 1, o.Monitored)
			require.Equal(t, 1, o.DeletionPending)
		},
		"a newer created cancels a pending deletion, an older one does not": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 5, "run")
			require.Equal(t, storemanager.EnsureStale, b.MustEnsure(t, 5))
			require.NotNil(t, b.MustGet(t).Deletion)
			res, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(6)})
			require.NoError(t, err)
			require.Equal(t, storemanager.EnsureExists, res.Outcome)
			require.True(t, res.DeletionCancelled)
			require.Nil(t, b.MustGet(t).Deletion)
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "run"))
		},
		"a deletion that is older than what is known is stale": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 5)
			require.Equal(t, storemanager.DeletionStale, b.MustBegin(t, 4, "run"))
			require.Nil(t, b.MustGet(t).Deletion)
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 5, "run"), "at the same moment the deletion wins")
		},
		"a repeated deletion keeps its moment, whoever brings it; a newer one of another run replaces it": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			begin := func(owner string, event, deleteAt int) storemanager.DeletionResult {
				res, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: storetest.ID, At: storetest.At(event), DeleteAt: storetest.At(deleteAt), Owner: owner})
				require.NoError(t, err)
				return res
			}
			scheduled := func(event, deleteAt int) storemanager.DeletionResult {
				return storemanager.DeletionResult{Outcome: storemanager.DeletionScheduled, EventAt: storetest.At(event), DeleteAt: storetest.At(deleteAt)}
			}
			require.Equal(t, scheduled(5, 50), begin("first", 5, 50))
			require.Equal(t, scheduled(6, 50), begin("first", 6, 60))
			require.Equal(t, scheduled(6, 50), begin("second", 6, 70), "the run that waited is no more, the deletion is the same")
			require.Equal(t, scheduled(7, 70), begin("third", 7, 70))
			begin("second", 4, 80)
			require.Equal(t, &storemanager.Deletion{EventAt: storetest.At(7), Since: storetest.T0, DeleteAt: storetest.At(70), Owner: "second"}, b.MustGet(t).Deletion)
			b.Clock.Set(storetest.At(80))
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "first"))
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "second"))
		},
		"a cancelled deletion does not come back, a newer one may": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 5, "run")
			s, err := b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			require.Nil(t, s.Deletion)
			require.Equal(t, storemanager.DeletionStale, b.MustBegin(t, 5, "run"))
			require.Equal(t, storemanager.DeletionStale, b.MustBegin(t, 4, "another run"))
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 6, "run"))
		},
		"knowledge from the far future counts as five minutes ahead": func(t *testing.T, b *storetest.Bundle) {
			require.Equal(t, storemanager.DeletionAlreadyStopped, b.MustBegin(t, 80000, "run"))
			require.Equal(t, storetest.T0.Add(5*time.Minute), b.MustGet(t).EventAt)
			b.Clock.Set(storetest.At(301))
			require.Equal(t, storemanager.EnsureCreated, b.MustEnsure(t, 301))
		},
		"cancelling nothing changes nothing": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			before := b.MustGet(t)
			s, err := b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			require.Equal(t, before, s)
			require.Equal(t, storemanager.DeletionScheduled, b.MustBegin(t, 1, "run"))
		},
		"a store is not stopped before its time": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100).Add(-time.Microsecond))
			_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
			require.ErrorIs(t, err, storemanager.ErrTooEarly)
			require.Equal(t, storemanager.StateMonitored, b.MustGet(t).State)
			b.Clock.Set(storetest.At(100))
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
			require.Equal(t, storemanager.Store{
				ID: storetest.ID, State: storemanager.StateStopped, Connection: storemanager.ConnectionStopped, EventAt: storetest.At(2),
				FirstMonitoredAt: new(storetest.T0), LastEnsuredAt: new(storetest.T0), LastStoppedAt: new(storetest.At(100)),
			}, b.MustGet(t))
			require.Equal(t, storemanager.Overview{
				Connections: map[storemanager.ConnectionState]int{},
				Tombstones:  1, TotalProvisioned: 1, TotalStopped: 1, LastProvisionedAt: new(storetest.T0), LastStoppedAt: new(storetest.At(100)),
			}, b.MustOverview(t))
		},
		"a store is stopped by the owner of its deletion only": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "run"))
			b.MustBegin(t, 2, "run")
			require.Equal(t, storemanager.StopNotPending, b.MustStop(t, "another run"))
		},
		"the owner that stopped a store hears stopped again, and counts once": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
			require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
			require.Equal(t, storemanager.StopAlreadyStopped, b.MustStop(t, "another run"))
			require.EqualValues(t, 1, b.MustOverview(t).TotalStopped)
		},
		"stopping an unknown store finds it stopped": func(t *testing.T, b *storetest.Bundle) {
			require.Equal(t, storemanager.StopAlreadyStopped, b.MustStop(t, "run"))
			_, err := b.Get(t.Context(), storetest.ID)
			require.ErrorIs(t, err, storemanager.ErrNotFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, test)
		})
	}
}
