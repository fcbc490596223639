package registrytest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestAnySequenceOfRequestsKeepsTheFencingRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			clock: storetest.NewClock(), stores: map[string]*modelStore{"store-a": {}, "store-b": {}, "store-c": {}},
			paused: map[string]time.Time{}, events: map[string][]storemanager.AuditEntry{},
		}
		var err error
		m.registry, err = on.tryOpen(t.Context(), storetest.Settings{Now: m.clock.Now})
		require.NoError(t, err)
		defer func() { require.NoError(t, m.registry.Close()) }()
		t.Repeat(rapid.StateMachineActions(m))
		m.checkAtTheEnd(t)
	})
}

// An older event never undoes a newer one: whatever the order in which events arrive, and however often, what they leave is
// what the newest of them says.
func (on suite) TestTheOrderOfEventsDoesNotMatter(t *testing.T) {
	t.Parallel()
	type event struct {
		Second  int
		Deleted bool
	}
	rapid.Check(t, func(t *rapid.T) {
		c := storetest.NewClock()
		r, err := on.tryOpen(t.Context(), storetest.Settings{Now: c.Now})
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()

		seconds := rapid.SliceOfNDistinct(rapid.IntRange(0, 20), 1, 6, rapid.ID).Draw(t, "seconds")
		var newest event
		var events []event
		for _, second := range seconds {
			e := event{second, rapid.Bool().Draw(t, "deleted")}
			events = append(events, e)
			if len(events) == 1 || e.Second > newest.Second {
				newest = e
			}
		}
		deliveries := rapid.Permutation(append(events, events...)).Draw(t, "deliveries")
		for i, e := range deliveries {
			owner := fmt.Sprint("run-", i)
			if !e.Deleted {
				_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(e.Second)})
				require.NoError(t, err)
				continue
			}
			_, err := r.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: storetest.ID, At: storetest.At(e.Second), DeleteAt: storetest.T0, Owner: owner})
			require.NoError(t, err)
			if rapid.Bool().Draw(t, "stop now") {
				_, err := r.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: owner, AbsentAt: c.Now()})
				require.NoError(t, err)
			}
		}
		s, err := r.Get(t.Context(), storetest.ID)
		require.NoError(t, err)
		gone := s.State == storemanager.StateStopped || s.Deletion != nil
		require.Equal(t, newest.Deleted, gone, "%+v", s)
	})
}
