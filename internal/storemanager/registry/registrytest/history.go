package registrytest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestTheHistoryTellsEachDecision(t *testing.T) {
	t.Parallel()
	ensure := func(t *testing.T, b *storetest.Bundle, seconds int, requestID string) {
		_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(seconds), RequestID: requestID})
		require.NoError(t, err)
	}
	for name, test := range map[string]func(t *testing.T, b *storetest.Bundle){
		"each decision is one, the newest first": func(t *testing.T, b *storetest.Bundle) {
			now := 0
			step := func() { now++; b.Clock.Set(storetest.At(now)) }
			b.MustEnsure(t, 1)
			step()
			b.MustBegin(t, 5, "internal-run-id")
			step()
			_, err := b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			step()
			b.MustHold(t, storemanager.Hold{Reason: "r", Actor: "a", ExpiresAt: new(storetest.At(50))})
			step()
			b.MustBegin(t, 6, "run")
			step()
			_, err = b.Release(t.Context(), storemanager.ReleaseRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			step()
			b.MustPause(t, onePaused)
			step()
			b.MustResume(t, storetest.ID)
			step()
			b.MustBegin(t, 7, "run")
			b.Clock.Set(storetest.At(100))
			b.MustStop(t, "run")
			require.Equal(t, []storemanager.AuditEntry{
				entry(storetest.At(100), "stop", "stopped", ""),
				entry(storetest.At(8), "deletion", "scheduled", "due 2026-11-23T12:01:40Z"),
				entry(storetest.At(7), "resume", "done", ""),
				entry(storetest.At(6), "pause", "done", "by ops@example.com: under repair"),
				entry(storetest.At(5), "release", "done", ""),
				entry(storetest.At(4), "deletion", "held", "by a until 2026-11-23T12:00:50Z: r"),
				entry(storetest.At(3), "hold", "done", "by a until 2026-11-23T12:00:50Z: r"),
				entry(storetest.At(2), "cancel_deletion", "done", ""),
				entry(storetest.At(1), "deletion", "scheduled", "due 2026-11-23T12:01:40Z"),
				entry(storetest.At(0), "ensure", "created", ""),
			}, b.MustHistory(t))
		},
		"what nobody else asks for is told once an hour": func(t *testing.T, b *storetest.Bundle) {
			ensure(t, b, 1, "delivery-1")
			for i := range 20 {
				b.Clock.Set(storetest.At(10 + i))
				ensure(t, b, 1, "reconcile/"+fmt.Sprint(i))
			}
			b.Clock.Set(storetest.At(10 + 3600).Add(-time.Microsecond))
			ensure(t, b, 1, "reconcile/again")
			b.Clock.Set(storetest.At(10 + 3600))
			ensure(t, b, 1, "reconcile/an-hour-later")
			require.Equal(t, []storemanager.AuditEntry{
				entry(storetest.At(3610), "ensure", "exists", "from reconciliation"),
				entry(storetest.At(10), "ensure", "exists", "from reconciliation"),
				entry(storetest.At(0), "ensure", "created", ""),
			}, b.MustHistory(t))
		},
		"a store that reconciliation creates says so": func(t *testing.T, b *storetest.Bundle) {
			ensure(t, b, 1, "reconcile/1")
			require.Equal(t, []storemanager.AuditEntry{entry(storetest.T0, "ensure", "created", "from reconciliation")}, b.MustHistory(t))
		},
		"an ensure that cancels a deletion says so": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 5, "run")
			ensure(t, b, 6, "reconcile/1")
			require.Equal(t, entry(storetest.T0, "ensure", "exists", "from reconciliation, listed again, cancelled the pending deletion"), b.MustHistory(t)[0])
		},
		"what is refused as too old is one": func(t *testing.T, b *storetest.Bundle) {
			b.MustBegin(t, 5, "run")
			b.MustEnsure(t, 4)
			require.Equal(t, []storemanager.AuditEntry{entry(storetest.T0, "ensure", "stale", ""), entry(storetest.T0, "deletion", "already_stopped", "")}, b.MustHistory(t))
		},
		"what ended in an error or changed nothing is none": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 5, "run")
			before := b.MustHistory(t)
			_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: b.Clock.Now()})
			require.ErrorIs(t, err, storemanager.ErrTooEarly)
			_, err = b.Hold(t.Context(), storetest.ID, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a", ExpiresAt: new(storetest.T0)}})
			require.ErrorIs(t, err, storemanager.ErrInvalid)
			_, err = b.Release(t.Context(), storemanager.ReleaseRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			b.MustResume(t, storetest.ID)
			require.Equal(t, before, b.MustHistory(t))
			_, err = b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			before = b.MustHistory(t)
			_, err = b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: storetest.ID})
			require.NoError(t, err)
			require.Equal(t, before, b.MustHistory(t))
		},
		"the newest are shown": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			for i := range 3 * storemanager.ShownHistory {
				b.Clock.Set(storetest.At(i))
				b.MustHold(t, storemanager.Hold{Reason: fmt.Sprint("reason ", i), Actor: "a"})
			}
			events := b.MustHistory(t)
			require.Len(t, events, storemanager.ShownHistory)
			for i, e := range events {
				require.Equal(t, storetest.At(3*storemanager.ShownHistory-1-i), e.At)
			}
			require.Equal(t, 3*storemanager.ShownHistory+1, keptEntries(t, b, storetest.ID), "the trail has all of them")
		},
		"a batch has those of each store, and answers none": func(t *testing.T, b *storetest.Bundle) {
			qs := storetest.Batch(0, 3, storetest.T0)
			_, err := b.EnsureBatch(t.Context(), append(qs, qs[1], qs[1]))
			require.NoError(t, err)
			for i, want := range []int{1, 2, 1} {
				s, err := b.Get(t.Context(), qs[i].StoreID)
				require.NoError(t, err)
				require.Len(t, s.History, want)
			}
			page, err := b.List(t.Context(), storemanager.ListRequest{})
			require.NoError(t, err)
			for _, s := range page.Stores {
				require.Nil(t, s.History)
			}
			held, err := b.Hold(t.Context(), qs[0].StoreID, storemanager.HoldRequest{Hold: storetest.SomeHold})
			require.NoError(t, err)
			require.Nil(t, held.History)
		},
		"a store that is not known has none": func(t *testing.T, b *storetest.Bundle) {
			require.Equal(t, storemanager.StopAlreadyStopped, b.MustStop(t, "run"))
			require.Zero(t, keptEntries(t, b, storetest.ID))
		},
		"a pause is told of a store that is not known, too": func(t *testing.T, b *storetest.Bundle) {
			b.MustPause(t, onePaused)
			b.MustResume(t, storetest.ID)
			require.Equal(t, 2, keptEntries(t, b, storetest.ID))
		},
		"they outlive a pruned tombstone, and so does its pause": func(t *testing.T, b *storetest.Bundle) {
			b.MustEnsure(t, 1)
			b.MustBegin(t, 2, "run")
			b.Clock.Set(storetest.At(100))
			b.MustStop(t, "run")
			b.MustPause(t, onePaused)
			require.Len(t, b.MustHistory(t), 4)
			b.Clock.Set(storetest.At(100).Add(tombstoneRetention + time.Second))
			_, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: "another-one", At: storetest.At(200), DeleteAt: storetest.At(200), Owner: "run"})
			require.NoError(t, err)
			_, err = b.Get(t.Context(), storetest.ID)
			require.ErrorIs(t, err, storemanager.ErrNotFound)
			require.Equal(t, 4, keptEntries(t, b, storetest.ID))
			require.Equal(t, 1, keptEntries(t, b, "another-one"))
			b.MustEnsure(t, 300)
			require.Len(t, b.MustHistory(t), 5)
			require.NotNil(t, b.MustGet(t).Pause)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, test)
		})
	}
}

func (on suite) TestTheHistoryIsThereAfterClose(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	b.MustEnsure(t, 1)
	b.MustHold(t, storetest.SomeHold)
	before, err := b.Get(t.Context(), storetest.ID)
	require.NoError(t, err)
	require.Len(t, before.History, 2)
	require.NoError(t, b.Registry.Close())
	after, err := on.open(t, storetest.Settings{Path: b.Path, Now: b.Clock.Now}).Get(t.Context(), storetest.ID)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// keptEntries is how many entries the driver keeps of a store.
func keptEntries(t *testing.T, b *storetest.Bundle, id string) int {
	t.Helper()
	return len(auditOf(t, b.Registry.Driver, storemanager.AuditQuery{StoreID: id, Limit: storemanager.MaxBatch}))
}

func entry(at time.Time, kind storemanager.AuditKind, outcome, detail string) storemanager.AuditEntry {
	return storemanager.AuditEntry{At: at, Kind: kind, Outcome: outcome, Detail: detail}
}
