package activities

import (
	"context"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// smallPages is a store manager with a few stores, of which it shows a few at a time.
type smallPages struct {
	stores    map[string]storemanager.Store
	size      int
	meanwhile func() // what happens before a page is read
	rows      int    // how many stores were read with all that is known of them
	marks     storemanager.ListMarks
}

func (m *smallPages) List(_ context.Context, q storemanager.ListRequest) (page storemanager.Page, _ error) {
	m.meanwhile()
	for _, id := range slices.Sorted(maps.Keys(m.stores)) {
		if id <= q.Cursor {
			continue
		}
		if n := len(page.Stores); n == min(m.size, q.Limit) {
			page.NextCursor = page.Stores[n-1].ID
			break
		}
		page.Stores = append(page.Stores, m.stores[id])
	}
	m.rows += len(page.Stores)
	return page, nil
}

func (m *smallPages) ListIDs(ctx context.Context, cursor string) (page storemanager.IDPage, _ error) {
	stores, err := m.List(ctx, storemanager.ListRequest{Cursor: cursor, Limit: storemanager.MaxBatch})
	m.rows -= len(stores.Stores)
	for _, s := range stores.Stores {
		page.IDs = append(page.IDs, s.ID)
		if page.Unsettled == "" && (s.UnlistedSince != nil || s.Deletion != nil || s.EventAt.Unix() == 0) {
			page.Unsettled = s.ID
		}
	}
	page.NextCursor = stores.NextCursor
	return page, err
}

func (m *smallPages) MarkUnlisted(_ context.Context, marks storemanager.ListMarks) error {
	m.marks.ListAt = marks.ListAt
	m.marks.Unlisted, m.marks.Listed = append(m.marks.Unlisted, marks.Unlisted...), append(m.marks.Listed, marks.Listed...)
	return nil
}

// merged compares the world's list with what m monitors.
func (w world) merged(t require.TestingT, m *smallPages) *planner {
	c := comparison{planner: w.planner(), manager: m, alive: func() {}, list: func(yield func(string, error) bool) {
		for _, id := range slices.Sorted(maps.Keys(w.listed)) {
			if !yield(id, nil) {
				return
			}
		}
	}}
	require.NoError(t, c.compare(context.Background()))
	return c.planner
}

func TestComparingIDsFindsWhatComparingStoresFinds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		m := &smallPages{stores: w.stores, size: rapid.IntRange(1, 7).Draw(t, "size"), meanwhile: func() {}}
		want, got := w.plan(), w.merged(t, m)
		require.Equal(t, want.finish(), got.finish())
		require.Equal(t, want.marks.Unlisted, m.marks.Unlisted)
		require.Equal(t, want.marks.Listed, m.marks.Listed)
	})
}

// Stores that come and go between two pages are taken for what they were at one moment or another, once; nothing else changes.
func TestStoresThatComeAndGoMeanwhileChangeNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		w.in.Mode = contract.ModeFull
		want := w.plan().finish()
		touched := map[string]bool{}
		m := &smallPages{stores: maps.Clone(w.stores), size: rapid.IntRange(1, 7).Draw(t, "size")}
		least, most := len(m.stores), len(m.stores)
		known := slices.Sorted(maps.Keys(w.paused)) // all ids of the world
		m.meanwhile = func() {
			if len(known) == 0 || !rapid.Bool().Draw(t, "something happens") {
				return
			}
			id := rapid.SampledFrom(known).Draw(t, "to")
			if touched[id] {
				return
			}
			touched[id] = true
			if _, ok := m.stores[id]; ok {
				delete(m.stores, id)
				least--
				return
			}
			m.stores[id] = storemanager.Store{ID: id, EventAt: planStart}
			most++
		}
		got := w.merged(t, m).finish()
		require.GreaterOrEqual(t, got.MonitoredCount, least)
		require.LessOrEqual(t, got.MonitoredCount, most)
		told := map[string]bool{}
		for _, item := range got.Items {
			require.False(t, told[item.StoreID], "%s comes twice", item.StoreID)
			told[item.StoreID] = true
		}
		others := func(items []contract.PlanItem) []contract.PlanItem {
			return append([]contract.PlanItem{}, slices.DeleteFunc(items, func(i contract.PlanItem) bool { return touched[i.StoreID] })...)
		}
		require.Equal(t, others(want.Items), others(got.Items))
	})
}

func TestAStoreThatVanishesBetweenItsIDAndItsRowIsNoOrphan(t *testing.T) {
	t.Parallel()
	w := someWorld(100)
	delete(w.listed, storeID(50))
	m := &smallPages{stores: w.stores, size: storemanager.MaxBatch}
	reads := 0
	m.meanwhile = func() {
		if reads++; reads == 2 {
			delete(m.stores, storeID(50))
		}
	}
	plan := w.merged(t, m).finish()
	require.Equal(t, 99, plan.MonitoredCount)
	require.Empty(t, plan.Items)
	require.Empty(t, m.marks)
}

func TestOnlyWhatDiffersIsReadInFull(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(w world)
		most   int
	}{
		"nothing":          {func(world) {}, 0},
		"what is missing":  {func(w world) { delete(w.stores, storeID(7)) }, 0},
		"one orphan":       {func(w world) { delete(w.listed, storeID(7)) }, fewStores},
		"orphans far away": {func(w world) { delete(w.listed, storeID(7)); delete(w.listed, storeID(4000)) }, 2 * fewStores},
		"all":              {func(w world) { clear(w.listed); w.listed[storeID(0)] = true }, 5000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := someWorld(5000)
			test.change(w)
			want := w.plan()
			m := &smallPages{stores: w.stores, size: storemanager.MaxBatch, meanwhile: func() {}}
			require.Equal(t, want.finish(), w.merged(t, m).finish())
			require.LessOrEqual(t, m.rows, test.most)
		})
	}
}

func TestAListThatCannotBeReadToItsEndIsNoList(t *testing.T) {
	t.Parallel()
	w := someWorld(10)
	broken := iter.Seq2[string, error](func(yield func(string, error) bool) { _ = yield(storeID(0), nil) && yield("", context.Canceled) })
	m := &smallPages{stores: w.stores, size: 3, meanwhile: func() {}}
	c := comparison{planner: w.planner(), manager: m, alive: func() {}, list: broken}
	require.ErrorIs(t, c.compare(t.Context()), context.Canceled)
	require.Empty(t, m.marks, "the others are not sighted")
}
