package storemanager

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (on suite) TestMissing(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		b.ensure(t, 1)
		require.Equal(t, DeletionAlreadyStopped, func() DeletionOutcome {
			res, err := b.BeginDeletion(t.Context(), DeletionRequest{StoreID: "gone", At: at(1), DeleteAt: at(1), Owner: "run"})
			require.NoError(t, err)
			return res.Outcome
		}())
		mark := func(m MissingMarks) *time.Time {
			require.NoError(t, b.MarkMissing(t.Context(), m))
			return b.get(t).MissingSince
		}
		ids := []string{id, "gone", "unknown"}
		require.Nil(t, mark(MissingMarks{ListAt: at(0), Missing: ids}), "the store is newer than the list")
		require.Equal(t, new(at(2)), mark(MissingMarks{ListAt: at(2), Missing: ids}))
		require.Equal(t, new(at(2)), mark(MissingMarks{ListAt: at(3), Missing: ids}), "the first sighting stays")
		require.Nil(t, mark(MissingMarks{ListAt: at(4), Listed: ids}))
		require.Equal(t, new(at(5)), mark(MissingMarks{ListAt: at(5), Missing: ids}))
		b.ensure(t, 6)
		require.Nil(t, b.get(t).MissingSince)

		gone, err := b.Get(t.Context(), "gone")
		require.NoError(t, err)
		require.Nil(t, gone.MissingSince)
		_, err = b.Get(t.Context(), "unknown")
		require.ErrorIs(t, err, ErrNotFound)
	})
}

func (on suite) TestList(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		page, err := b.List(t.Context(), ListRequest{})
		require.NoError(t, err)
		require.Equal(t, Page{Stores: []Store{}}, page)

		// By bytes: digits, capitals, "_", small letters; "-" before all of them.
		want := []string{"0aa", "Zaa", "a-a", "a0a", "aAa", "a_a", "aaa"}
		var qs []EnsureRequest
		for _, i := range []int{3, 0, 6, 1, 5, 2, 4} {
			qs = append(qs, EnsureRequest{StoreID: want[i], At: at(1)})
		}
		_, err = b.EnsureBatch(t.Context(), qs)
		require.NoError(t, err)
		_, err = b.BeginDeletion(t.Context(), DeletionRequest{StoreID: "a11", At: at(1), DeleteAt: at(1), Owner: "run"})
		require.NoError(t, err)

		for limit := range len(want) + 2 {
			var got []string
			for cursor, pages := "", 0; ; pages++ {
				page, err := b.List(t.Context(), ListRequest{Cursor: cursor, Limit: limit})
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

func (on suite) TestListByState(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		_, err := b.EnsureBatch(t.Context(), batch(0, 4, t0))
		require.NoError(t, err)
		page, err := b.List(t.Context(), ListRequest{})
		require.NoError(t, err)
		ids := map[string]string{}
		for i, name := range []string{"plain", "pending", "held", "pinned"} {
			ids[page.Stores[i].ID] = name
			switch name {
			case "pending":
				_, err = b.BeginDeletion(t.Context(), DeletionRequest{StoreID: page.Stores[i].ID, At: at(1), DeleteAt: at(9), Owner: "run"})
			case "held":
				_, err = b.Hold(t.Context(), page.Stores[i].ID, someHold)
			case "pinned":
				b.pin(t, page.Stores[i].ID)
			}
			require.NoError(t, err)
		}
		for _, test := range []struct {
			states, want []string
		}{
			{nil, []string{"plain", "pending", "held", "pinned"}},
			{[]string{StoreDeletionPending}, []string{"pending"}},
			{[]string{StoreHeld}, []string{"held"}},
			{[]string{StorePinned}, []string{"pinned"}},
			{[]string{StorePinned, StoreHeld, StoreHeld}, []string{"held", "pinned"}},
			{[]string{string(ConnectionNotConfigured)}, []string{"plain", "pending", "held", "pinned"}},
			{[]string{string(ConnectionConnected), StoreHeld}, []string{"held"}},
			{[]string{string(ConnectionConnected)}, nil},
		} {
			for limit := range 5 {
				var got []string
				for q := (ListRequest{Limit: limit, States: test.states}); ; {
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
		_, err = b.List(t.Context(), ListRequest{States: []string{StoreHeld, "on fire"}})
		require.ErrorContains(t, err, `"on fire" is no state to list, these are: deletion_pending, held, pinned, not_configured, connecting`)
	})
}

func (on suite) TestListFiltersWhatIsShown(t *testing.T) {
	t.Parallel()
	b := on.setup(t)
	_, err := b.EnsureBatch(t.Context(), batch(0, 3, t0))
	require.NoError(t, err)
	n := 0
	page, err := b.registry.list(t.Context(), ListRequest{States: []string{string(ConnectionStuck)}}, func(s *Store) {
		if n++; n == 2 {
			s.Connection, s.Monitor = ConnectionStuck, &MonitorStatus{Head: 7}
		}
	})
	require.NoError(t, err)
	require.Len(t, page.Stores, 1)
	require.EqualValues(t, 7, page.Stores[0].Monitor.Head)
}

func (on suite) TestListLooksAtABoundedNumberOfStores(t *testing.T) {
	t.Parallel()
	r := on.open(t, Settings{})
	r.Exec(t, `
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO stores (id, event_at, created_by, pinned, deletion_owner, stopped_by, hold_reason, hold_actor)
			SELECT printf('store-%06d', i), 1, '', 0, '', '', '', '' FROM n`, maxScanned+2)
	q := ListRequest{States: []string{StorePinned}}
	page, err := r.List(t.Context(), q)
	require.NoError(t, err)
	require.Empty(t, page.Stores)
	require.NotEmpty(t, page.NextCursor)

	rest, err := r.List(t.Context(), ListRequest{Cursor: page.NextCursor})
	require.NoError(t, err)
	require.Len(t, rest.Stores, 2)
	require.NoError(t, r.SetPins(t.Context(), []string{rest.Stores[1].ID}))
	q.Cursor = page.NextCursor
	page, err = r.List(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, page.Stores, 1)
	require.Empty(t, page.NextCursor)
}

func (on suite) TestEnsureBatch(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		res, err := b.EnsureBatch(t.Context(), []EnsureRequest{
			{StoreID: "store-b", At: at(1)},
			{StoreID: "no id", At: at(1)},
			{StoreID: "store-a", At: at(1)},
			{StoreID: "store-b", At: at(1)},
			{StoreID: "store-c"},
		})
		require.NoError(t, err)
		require.Equal(t, []EnsureResult{
			{StoreID: "store-b", Outcome: EnsureCreated, Connection: ConnectionNotConfigured},
			{StoreID: "no id", Outcome: EnsureInvalid},
			{StoreID: "store-a", Outcome: EnsureCreated, Connection: ConnectionNotConfigured},
			{StoreID: "store-b", Outcome: EnsureExists, Connection: ConnectionNotConfigured},
			{StoreID: "store-c", Outcome: EnsureInvalid},
		}, res)
		require.Equal(t, Overview{
			Connections: map[ConnectionState]int{ConnectionNotConfigured: 2}, Monitored: 2,
			TotalProvisioned: 2, LastProvisionedAt: new(t0),
		}, b.overview(t))

		res, err = b.EnsureBatch(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, res)
		_, err = b.EnsureBatch(t.Context(), make([]EnsureRequest, MaxBatch+1))
		require.ErrorIs(t, err, ErrInvalid)
	})
}

func (on suite) TestOneIDInParallelIsCreatedOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, 50} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			on.each(t, func(t *testing.T, b *bundle) {
				outcomes := make([]EnsureOutcome, n)
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() {
						res, err := b.Ensure(t.Context(), EnsureRequest{StoreID: id, At: at(1), RequestID: fmt.Sprint("delivery-", i)})
						if err == nil {
							outcomes[i] = res.Outcome
						}
					})
				}
				wg.Wait()
				count := map[EnsureOutcome]int{}
				for _, o := range outcomes {
					count[o]++
				}
				require.Equal(t, map[EnsureOutcome]int{EnsureCreated: 1, EnsureExists: n - 1}, count)
				require.EqualValues(t, 1, b.overview(t).TotalProvisioned)
			})
		})
	}
}

func (on suite) TestReconciliation(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		none, err := b.Reconciliation(t.Context())
		require.NoError(t, err)
		require.Equal(t, Reconciliation{Recent: []ReconcileRun{}}, none)

		record := func(run ReconcileRun) {
			require.NoError(t, b.RecordReconcile(t.Context(), run))
		}
		run := func(i int, failure string) ReconcileRun {
			return ReconcileRun{
				RunID: fmt.Sprintf("run/%03d ü%%41", i), StartedAt: at(i), CompletedAt: at(i + 1), Error: failure,
				Report: json.RawMessage(`{"added":1}`),
			}
		}
		record(run(1, ""))
		record(run(2, "the list was damaged"))
		record(run(2, "the list was damaged"))
		got, err := b.Reconciliation(t.Context())
		require.NoError(t, err)
		require.Equal(t, Reconciliation{
			Runs: 2, Successes: 1, Failures: 1, LastSuccessAt: new(at(2)), LastError: new(run(2, "the list was damaged")),
			Recent: []ReconcileRun{run(2, "the list was damaged"), run(1, "")},
		}, got)

		record(run(2, "")) // a repeat that knows better
		for i := 3; i <= KeptReconcileRuns+5; i++ {
			record(run(i, ""))
		}
		got, err = b.Reconciliation(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, KeptReconcileRuns+5, got.Runs)
		require.EqualValues(t, KeptReconcileRuns+5, got.Successes)
		require.Zero(t, got.Failures)
		require.Nil(t, got.LastError)
		require.Len(t, got.Recent, KeptReconcileRuns)
		require.Equal(t, run(KeptReconcileRuns+5, ""), got.Recent[0])
	})
}

func (on suite) TestInvalidRequestsSaySoAndChangeNothing(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 4000)
	calls := map[string]func(context.Context, Manager) error{}
	for _, bad := range []string{"", "ab", "..", "-abc", "a/b/c", "a b c", "ünïcode", "abc\n", long} {
		for name, call := range map[string]func(context.Context, Manager) error{
			"ensure": func(ctx context.Context, m Manager) error {
				_, err := m.Ensure(ctx, EnsureRequest{StoreID: bad, At: t0})
				return err
			},
			"begin deletion": func(ctx context.Context, m Manager) error {
				_, err := m.BeginDeletion(ctx, DeletionRequest{StoreID: bad, At: t0, DeleteAt: t0, Owner: "o"})
				return err
			},
			"cancel": func(ctx context.Context, m Manager) error {
				_, err := m.CancelDeletion(ctx, CancelRequest{StoreID: bad})
				return err
			},
			"stop": func(ctx context.Context, m Manager) error {
				_, err := m.Stop(ctx, StopRequest{StoreID: bad, Owner: "o"})
				return err
			},
			"hold":    func(ctx context.Context, m Manager) error { _, err := m.Hold(ctx, bad, someHold); return err },
			"release": func(ctx context.Context, m Manager) error { _, err := m.Release(ctx, bad); return err },
			"get":     func(ctx context.Context, m Manager) error { _, err := m.Get(ctx, bad); return err },
			"mark": func(ctx context.Context, m Manager) error {
				return m.MarkMissing(ctx, MissingMarks{ListAt: t0, Listed: []string{"fine", bad}})
			},
		} {
			calls[fmt.Sprintf("%s %.10q", name, bad)] = call
		}
	}
	for name, q := range map[string]EnsureRequest{
		"ensure without a time":                {StoreID: "fine"},
		"ensure in a year that JSON can't say": {StoreID: "fine", At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"ensure with a long request id":        {StoreID: "fine", At: t0, RequestID: long},
	} {
		calls[name] = func(ctx context.Context, m Manager) error { _, err := m.Ensure(ctx, q); return err }
	}
	for name, q := range map[string]DeletionRequest{
		"deletion without a time":  {StoreID: "fine", DeleteAt: t0, Owner: "o"},
		"deletion without an end":  {StoreID: "fine", At: t0, Owner: "o"},
		"deletion without a owner": {StoreID: "fine", At: t0, DeleteAt: t0},
	} {
		calls[name] = func(ctx context.Context, m Manager) error { _, err := m.BeginDeletion(ctx, q); return err }
	}
	for name, h := range map[string]Hold{
		"hold without a reason": {Actor: "a"}, "hold without an actor": {Reason: "r"},
		"hold that ends now": {Actor: "a", Reason: "r", ExpiresAt: new(t0)},
	} {
		calls[name] = func(ctx context.Context, m Manager) error { _, err := m.Hold(ctx, id, h); return err }
	}
	for name, q := range map[string]ListRequest{
		"list below the limits": {Limit: -1}, "list above the limits": {Limit: MaxBatch + 1}, "list from no cursor": {Cursor: "%"},
		"list by no state": {States: []string{""}}, "list by a long state": {States: []string{long}},
		"list by a state of none": {States: []string{StoreHeld, string(ConnectionStopped)}},
	} {
		calls[name] = func(ctx context.Context, m Manager) error { _, err := m.List(ctx, q); return err }
	}
	calls["ids from no cursor"] = func(ctx context.Context, m Manager) error { _, err := m.ListIDs(ctx, "%"); return err }
	for name, run := range map[string]ReconcileRun{
		"run without an id":      {StartedAt: t0, CompletedAt: t0},
		"run without a start":    {RunID: "run", CompletedAt: t0},
		"run with a huge report": {RunID: "run", StartedAt: t0, CompletedAt: t0, Report: json.RawMessage(`"` + strings.Repeat("x", maxReport) + `"`)},
		"run with a bad report":  {RunID: "run", StartedAt: t0, CompletedAt: t0, Report: json.RawMessage("{")},
	} {
		calls[name] = func(ctx context.Context, m Manager) error { return m.RecordReconcile(ctx, run) }
	}
	calls["stop without an owner"] = func(ctx context.Context, m Manager) error {
		_, err := m.Stop(ctx, StopRequest{StoreID: id})
		return err
	}
	calls["too many marks"] = func(ctx context.Context, m Manager) error {
		return m.MarkMissing(ctx, MissingMarks{ListAt: t0, Listed: make([]string, MaxBatch/2), Missing: make([]string, MaxBatch/2+1)})
	}
	calls["marks without a time"] = func(ctx context.Context, m Manager) error { return m.MarkMissing(ctx, MissingMarks{}) }

	on.each(t, func(t *testing.T, b *bundle) {
		b.ensure(t, 0)
		before, store := b.overview(t), b.get(t)
		for name, call := range calls {
			err := call(t.Context(), b.Manager)
			require.ErrorIs(t, err, ErrInvalid, name)
			require.Less(t, len(err.Error()), 600, name)
		}
		require.Equal(t, before, b.overview(t))
		require.Equal(t, store, b.get(t))
	})
}

func (on suite) TestTimesAreKeptInMicrosecondsAndUTC(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		fine := t0.Add(123456789 * time.Nanosecond).In(time.FixedZone("", 5*3600))
		res, err := b.Ensure(t.Context(), EnsureRequest{StoreID: id, At: fine})
		require.NoError(t, err)
		require.Equal(t, EnsureCreated, res.Outcome)
		require.Equal(t, t0.Add(123456*time.Microsecond), b.get(t).EventAt)
	})
}
