package registrytest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestTheFirstSightingOfAnUnlistedStoreStays(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		b.MustEnsure(t, 1)
		require.Equal(t, storemanager.DeletionAlreadyStopped, func() storemanager.DeletionOutcome {
			res, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: "gone", At: storetest.At(1), DeleteAt: storetest.At(1), Owner: "run"})
			require.NoError(t, err)
			return res.Outcome
		}())
		mark := func(m storemanager.ListMarks) *time.Time {
			require.NoError(t, b.MarkUnlisted(t.Context(), m))
			return b.MustGet(t).UnlistedSince
		}
		ids := []string{storetest.ID, "gone", "unknown"}
		require.Nil(t, mark(storemanager.ListMarks{ListAt: storetest.At(0), Unlisted: ids}), "the store is newer than the list")
		require.Equal(t, new(storetest.At(2)), mark(storemanager.ListMarks{ListAt: storetest.At(2), Unlisted: ids}))
		require.Equal(t, new(storetest.At(2)), mark(storemanager.ListMarks{ListAt: storetest.At(3), Unlisted: ids}), "the first sighting stays")
		require.Nil(t, mark(storemanager.ListMarks{ListAt: storetest.At(4), Listed: ids}))
		require.Equal(t, new(storetest.At(5)), mark(storemanager.ListMarks{ListAt: storetest.At(5), Unlisted: ids}))
		b.MustEnsure(t, 6)
		require.Nil(t, b.MustGet(t).UnlistedSince)

		gone, err := b.Get(t.Context(), "gone")
		require.NoError(t, err)
		require.Nil(t, gone.UnlistedSince)
		_, err = b.Get(t.Context(), "unknown")
		require.ErrorIs(t, err, storemanager.ErrNotFound)
	})
}

func (on suite) TestListPagesByTheBytesOfIDs(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		page, err := b.List(t.Context(), storemanager.ListRequest{})
		require.NoError(t, err)
		require.Equal(t, storemanager.Page{Stores: []storemanager.Store{}}, page)

		// By bytes: digits, capitals, "_", small letters; "-" before all of them.
		want := []string{"0aa", "Zaa", "a-a", "a0a", "aAa", "a_a", "aaa"}
		var qs []storemanager.EnsureRequest
		for _, i := range []int{3, 0, 6, 1, 5, 2, 4} {
			qs = append(qs, storemanager.EnsureRequest{StoreID: want[i], At: storetest.At(1)})
		}
		_, err = b.EnsureBatch(t.Context(), qs)
		require.NoError(t, err)
		_, err = b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: "a11", At: storetest.At(1), DeleteAt: storetest.At(1), Owner: "run"})
		require.NoError(t, err)

		for limit := range len(want) + 2 {
			var got []string
			for cursor, pages := "", 0; ; pages++ {
				page, err := b.List(t.Context(), storemanager.ListRequest{Cursor: cursor, Limit: limit})
				require.NoError(t, err)
				for _, s := range page.Stores {
					got = append(got, s.ID)
				}
				if cursor = page.NextCursor; cursor == "" {
					break
				}
				require.Len(t, page.Stores, limit)
			}
			require.Equal(t, want, got, "limit %d", limit)
		}
	})
}

func (on suite) TestListKeepsTheStatesThatWereAskedFor(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		_, err := b.EnsureBatch(t.Context(), storetest.Batch(0, 4, storetest.T0))
		require.NoError(t, err)
		page, err := b.List(t.Context(), storemanager.ListRequest{})
		require.NoError(t, err)
		ids := map[string]string{}
		for i, name := range []string{"plain", "pending", "held", "pinned"} {
			ids[page.Stores[i].ID] = name
			switch name {
			case "pending":
				_, err = b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: page.Stores[i].ID, At: storetest.At(1), DeleteAt: storetest.At(9), Owner: "run"})
			case "held":
				_, err = b.Hold(t.Context(), page.Stores[i].ID, storemanager.HoldRequest{Hold: storetest.SomeHold})
			case "pinned":
				b.MustPin(t, page.Stores[i].ID)
			}
			require.NoError(t, err)
		}
		for _, scope := range []string{"", page.Stores[0].ID, "unknown-1"} {
			_, err = b.Registry.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: scope, Reason: "r", Actor: "ann"}})
			require.NoError(t, err)
		}
		for _, test := range []struct {
			states, want []string
		}{
			{[]string{storemanager.StorePaused}, []string{"plain"}},
			{[]string{storemanager.StorePaused, storemanager.StoreHeld}, []string{"plain", "held"}},
			{nil, []string{"plain", "pending", "held", "pinned"}},
			{[]string{storemanager.StoreDeletionPending}, []string{"pending"}},
			{[]string{storemanager.StoreHeld}, []string{"held"}},
			{[]string{storemanager.StorePinned}, []string{"pinned"}},
			{[]string{storemanager.StorePinned, storemanager.StoreHeld, storemanager.StoreHeld}, []string{"held", "pinned"}},
			{[]string{string(storemanager.ConnectionNotConfigured)}, []string{"plain", "pending", "held", "pinned"}},
			{[]string{string(storemanager.ConnectionConnected), storemanager.StoreHeld}, []string{"held"}},
			{[]string{string(storemanager.ConnectionConnected)}, nil},
		} {
			for limit := range 5 {
				var got []string
				for q := (storemanager.ListRequest{Limit: limit, States: test.states}); ; {
					page, err := b.List(t.Context(), q)
					require.NoError(t, err)
					for _, s := range page.Stores {
						got = append(got, ids[s.ID])
					}
					if q.Cursor = page.NextCursor; q.Cursor == "" {
						break
					}
				}
				require.Equal(t, test.want, got, "%v, limit %d", test.states, limit)
			}
		}
		_, err = b.List(t.Context(), storemanager.ListRequest{States: []string{storemanager.StoreHeld, "on fire"}})
		require.ErrorContains(t, err, `"on fire" is no state to list, these are: deletion_pending, held, pinned, paused, not_configured, connecting`)
	})
}

func (on suite) TestListFiltersWhatIsShown(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	_, err := b.EnsureBatch(t.Context(), storetest.Batch(0, 3, storetest.T0))
	require.NoError(t, err)
	n := 0
	page, err := b.Registry.ListShown(t.Context(), storemanager.ListRequest{States: []string{string(storemanager.ConnectionStuck)}}, func(s *storemanager.Store) {
		if n++; n == 2 {
			s.Connection, s.Monitor = storemanager.ConnectionStuck, &storemanager.MonitorStatus{Head: 7}
		}
	})
	require.NoError(t, err)
	require.Len(t, page.Stores, 1)
	require.EqualValues(t, 7, page.Stores[0].Monitor.Head)
}

func (on suite) TestListLooksAtABoundedNumberOfStores(t *testing.T) {
	t.Parallel()
	r := on.open(t, storetest.Settings{})
	storetest.Fill(t, r, 10_002)
	q := storemanager.ListRequest{States: []string{storemanager.StorePinned}}
	page, err := r.List(t.Context(), q)
	require.NoError(t, err)
	require.Empty(t, page.Stores)
	require.NotEmpty(t, page.NextCursor)

	rest, err := r.List(t.Context(), storemanager.ListRequest{Cursor: page.NextCursor})
	require.NoError(t, err)
	require.Len(t, rest.Stores, 2)
	require.NoError(t, r.SetPins(t.Context(), []string{rest.Stores[1].ID}))
	q.Cursor = page.NextCursor
	page, err = r.List(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, page.Stores, 1)
	require.Empty(t, page.NextCursor)
}

func (on suite) TestABatchAnswersInTheOrderOfItsRequests(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		res, err := b.EnsureBatch(t.Context(), []storemanager.EnsureRequest{
			{StoreID: "store-b", At: storetest.At(1)},
			{StoreID: "no id", At: storetest.At(1)},
			{StoreID: "store-a", At: storetest.At(1)},
			{StoreID: "store-b", At: storetest.At(1)},
			{StoreID: "store-c"},
		})
		require.NoError(t, err)
		require.Equal(t, []storemanager.EnsureResult{
			{StoreID: "store-b", Outcome: storemanager.EnsureCreated, Connection: storemanager.ConnectionNotConfigured},
			{StoreID: "no id", Outcome: storemanager.EnsureInvalid},
			{StoreID: "store-a", Outcome: storemanager.EnsureCreated, Connection: storemanager.ConnectionNotConfigured},
			{StoreID: "store-b", Outcome: storemanager.EnsureExists, Connection: storemanager.ConnectionNotConfigured},
			{StoreID: "store-c", Outcome: storemanager.EnsureInvalid},
		}, res)
		require.Equal(t, storemanager.Overview{
			Connections: map[storemanager.ConnectionState]int{storemanager.ConnectionNotConfigured: 2}, Monitored: 2,
			TotalProvisioned: 2, LastProvisionedAt: new(storetest.T0),
		}, b.MustOverview(t))

		res, err = b.EnsureBatch(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, res)
		_, err = b.EnsureBatch(t.Context(), make([]storemanager.EnsureRequest, storemanager.MaxBatch+1))
		require.ErrorIs(t, err, storemanager.ErrInvalid)
	})
}

func (on suite) TestOneIDInParallelIsCreatedOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, 50} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			on.each(t, func(t *testing.T, b *storetest.Bundle) {
				outcomes := make([]storemanager.EnsureOutcome, n)
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() {
						res, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.At(1), RequestID: fmt.Sprint("delivery-", i)})
						if err == nil {
							outcomes[i] = res.Outcome
						}
					})
				}
				wg.Wait()
				count := map[storemanager.EnsureOutcome]int{}
				for _, o := range outcomes {
					count[o]++
				}
				require.Equal(t, map[storemanager.EnsureOutcome]int{storemanager.EnsureCreated: 1, storemanager.EnsureExists: n - 1}, count)
				require.EqualValues(t, 1, b.MustOverview(t).TotalProvisioned)
			})
		})
	}
}

func (on suite) TestARunIsCountedOnceAndTheNewestAreKept(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		none, err := b.Reconciliation(t.Context())
		require.NoError(t, err)
		require.Equal(t, storemanager.Reconciliation{Recent: []storemanager.ReconcileRun{}}, none)

		record := func(run storemanager.ReconcileRun) {
			require.NoError(t, b.RecordReconcile(t.Context(), run))
		}
		run := func(i int, failure string) storemanager.ReconcileRun {
			return storemanager.ReconcileRun{
				RunID: fmt.Sprintf("run/%03d ü%%41", i), StartedAt: storetest.At(i), CompletedAt: storetest.At(i + 1), Error: failure,
				Report: json.RawMessage(`{"added":1}`),
			}
		}
		record(run(1, ""))
		record(run(2, "the list was damaged"))
		record(run(2, "the list was damaged"))
		got, err := b.Reconciliation(t.Context())
		require.NoError(t, err)
		require.Equal(t, storemanager.Reconciliation{
			Runs: 2, Successes: 1, Failures: 1, LastSuccessAt: new(storetest.At(2)), LastError: new(run(2, "the list was damaged")),
			Recent: []storemanager.ReconcileRun{run(2, "the list was damaged"), run(1, "")},
		}, got)

		record(run(2, "")) // a repeat that knows better
		for i := 3; i <= storemanager.KeptReconcileRuns+5; i++ {
			record(run(i, ""))
		}
		got, err = b.Reconciliation(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, storemanager.KeptReconcileRuns+5, got.Runs)
		require.EqualValues(t, storemanager.KeptReconcileRuns+5, got.Successes)
		require.Zero(t, got.Failures)
		require.Nil(t, got.LastError)
		require.Len(t, got.Recent, storemanager.KeptReconcileRuns)
		require.Equal(t, run(storemanager.KeptReconcileRuns+5, ""), got.Recent[0])
	})
}

func (on suite) TestInvalidRequestsSaySoAndChangeNothing(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 4000)
	calls := map[string]func(context.Context, storemanager.Manager) error{}
	for _, bad := range []string{"", "ab", "..", "-abc", "a/b/c", "a b c", "ünïcode", "abc\n", long} {
		for name, call := range map[string]func(context.Context, storemanager.Manager) error{
			"ensure": func(ctx context.Context, m storemanager.Manager) error {
				_, err := m.Ensure(ctx, storemanager.EnsureRequest{StoreID: bad, At: storetest.T0})
				return err
			},
			"begin deletion": func(ctx context.Context, m storemanager.Manager) error {
				_, err := m.BeginDeletion(ctx, storemanager.DeletionRequest{StoreID: bad, At: storetest.T0, DeleteAt: storetest.T0, Owner: "o"})
				return err
			},
			"cancel": func(ctx context.Context, m storemanager.Manager) error {
				_, err := m.CancelDeletion(ctx, storemanager.CancelRequest{StoreID: bad})
				return err
			},
			"stop": func(ctx context.Context, m storemanager.Manager) error {
				_, err := m.Stop(ctx, storemanager.StopRequest{StoreID: bad, Owner: "o"})
				return err
			},
			"hold": func(ctx context.Context, m storemanager.Manager) error {
				_, err := m.Hold(ctx, bad, storemanager.HoldRequest{Hold: storetest.SomeHold})
				return err
			},
			"release": func(ctx context.Context, m storemanager.Manager) error {
				_, err := m.Release(ctx, storemanager.ReleaseRequest{StoreID: bad})
				return err
			},
			"get": func(ctx context.Context, m storemanager.Manager) error { _, err := m.Get(ctx, bad); return err },
			"mark": func(ctx context.Context, m storemanager.Manager) error {
				return m.MarkUnlisted(ctx, storemanager.ListMarks{ListAt: storetest.T0, Listed: []string{"fine", bad}})
			},
		} {
			calls[fmt.Sprintf("%s %.10q", name, bad)] = call
		}
	}
	for name, q := range map[string]storemanager.EnsureRequest{
		"ensure without a time":                {StoreID: "fine"},
		"ensure in a year that JSON can't say": {StoreID: "fine", At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"ensure with a long request id":        {StoreID: "fine", At: storetest.T0, RequestID: long},
	} {
		calls[name] = func(ctx context.Context, m storemanager.Manager) error { _, err := m.Ensure(ctx, q); return err }
	}
	for name, q := range map[string]storemanager.DeletionRequest{
		"deletion without a time":  {StoreID: "fine", DeleteAt: storetest.T0, Owner: "o"},
		"deletion without an end":  {StoreID: "fine", At: storetest.T0, Owner: "o"},
		"deletion without a owner": {StoreID: "fine", At: storetest.T0, DeleteAt: storetest.T0},
	} {
		calls[name] = func(ctx context.Context, m storemanager.Manager) error { _, err := m.BeginDeletion(ctx, q); return err }
	}
	for name, h := range map[string]storemanager.Hold{
		"hold without a reason": {Actor: "a"}, "hold without an actor": {Reason: "r"},
		"hold that ends now": {Actor: "a", Reason: "r", ExpiresAt: new(storetest.T0)},
	} {
		calls[name] = func(ctx context.Context, m storemanager.Manager) error {
			_, err := m.Hold(ctx, storetest.ID, storemanager.HoldRequest{Hold: h})
			return err
		}
	}
	for name, q := range map[string]storemanager.ListRequest{
		"list below the limits": {Limit: -1}, "list above the limits": {Limit: storemanager.MaxBatch + 1}, "list from no cursor": {Cursor: "%"},
		"list by no state": {States: []string{""}}, "list by a long state": {States: []string{long}},
		"list by a state of none": {States: []string{storemanager.StoreHeld, string(storemanager.ConnectionStopped)}},
	} {
		calls[name] = func(ctx context.Context, m storemanager.Manager) error { _, err := m.List(ctx, q); return err }
	}
	calls["ids from no cursor"] = func(ctx context.Context, m storemanager.Manager) error { _, err := m.ListIDs(ctx, "%"); return err }
	for name, run := range map[string]storemanager.ReconcileRun{
		"run without an id":      {StartedAt: storetest.T0, CompletedAt: storetest.T0},
		"run without a start":    {RunID: "run", CompletedAt: storetest.T0},
		"run with a huge report": {RunID: "run", StartedAt: storetest.T0, CompletedAt: storetest.T0, Report: json.RawMessage(`"` + strings.Repeat("x", 64<<10) + `"`)},
		"run with a bad report":  {RunID: "run", StartedAt: storetest.T0, CompletedAt: storetest.T0, Report: json.RawMessage("{")},
	} {
		calls[name] = func(ctx context.Context, m storemanager.Manager) error { return m.RecordReconcile(ctx, run) }
	}
	calls["stop without an owner"] = func(ctx context.Context, m storemanager.Manager) error {
		_, err := m.Stop(ctx, storemanager.StopRequest{StoreID: storetest.ID})
		return err
	}
	calls["too many marks"] = func(ctx context.Context, m storemanager.Manager) error {
		return m.MarkUnlisted(ctx, storemanager.ListMarks{ListAt: storetest.T0, Listed: make([]string, storemanager.MaxBatch/2), Unlisted: make([]string, storemanager.MaxBatch/2+1)})
	}
	calls["marks without a time"] = func(ctx context.Context, m storemanager.Manager) error {
		return m.MarkUnlisted(ctx, storemanager.ListMarks{})
	}

	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		b.MustEnsure(t, 0)
		before, store := b.MustOverview(t), b.MustGet(t)
		for name, call := range calls {
			err := call(t.Context(), b.Manager)
			require.ErrorIs(t, err, storemanager.ErrInvalid, name)
			require.Less(t, len(err.Error()), 600, name)
		}
		require.Equal(t, before, b.MustOverview(t))
		require.Equal(t, store, b.MustGet(t))
	})
}

func (on suite) TestTimesAreKeptInMicrosecondsAndUTC(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		fine := storetest.T0.Add(123456789 * time.Nanosecond).In(time.FixedZone("", 5*3600))
		res, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: fine})
		require.NoError(t, err)
		require.Equal(t, storemanager.EnsureCreated, res.Outcome)
		require.Equal(t, storetest.T0.Add(123456*time.Microsecond), b.MustGet(t).EventAt)
	})
}
