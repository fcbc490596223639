package registrytest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/storetest"
)

// someOrigin has all that an origin can have.
var someOrigin = storemanager.Origin{
	Source: storemanager.SourceOperator, Actor: oddText, Via: "cli", Reason: oddText, DeliveryID: "delivery", RunID: "run", RequestID: "request",
	TraceID: "trace", Batch: "batch", Plan: "plan", UserID: oddText,
}

// numbered is the least that an entry has, a number of seconds after T0.
func numbered(id string, second int) storemanager.AuditEntry {
	return storemanager.AuditEntry{At: storetest.At(second), Kind: "kind", StoreID: id, Outcome: "outcome"}
}

func appending(t *testing.T, entries ...storemanager.AuditEntry) func(registry.Tx) error {
	return func(tx registry.Tx) error {
		for _, e := range entries {
			if err := tx.Append(t.Context(), e); err != nil {
				return err
			}
		}
		return nil
	}
}

// auditOf reads entries, and takes off their numbers, after it has compared these with the order that was asked for.
func auditOf(t *testing.T, d registry.Driver, q storemanager.AuditQuery) []storemanager.AuditEntry {
	t.Helper()
	entries, err := d.Audit(t.Context(), q)
	require.NoError(t, err)
	require.NotNil(t, entries)
	require.True(t, slices.IsSortedFunc(entries, func(a, b storemanager.AuditEntry) int {
		if q.OldestFirst {
			return int(a.Seq - b.Seq)
		}
		return int(b.Seq - a.Seq)
	}))
	for i := range entries {
		require.Positive(t, entries[i].Seq)
		entries[i].Seq = 0
	}
	return entries
}

func (on suite) TestDriverKeepsAnEntryExactly(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	at := func(n int) time.Time { return storetest.T0.Add(time.Duration(n) * time.Microsecond) }
	list := storemanager.ListRef{At: at(2), Hash: "hash", Entries: 7}
	deletion := storemanager.Deletion{
		EventAt: at(3), Since: at(4), DeleteAt: at(5), ByList: true, Owner: oddText,
		Cause: storemanager.Cause{Origin: someOrigin, FirstList: list, SecondList: storemanager.ListRef{At: at(6)}},
	}
	full := storemanager.AuditEntry{
		At: at(1), Kind: "stop", StoreID: storetest.ID, Outcome: oddText, Detail: oddText, Origin: someOrigin,
		Evidence: &storemanager.Evidence{Deletion: &deletion, Recheck: list, Lists: []storemanager.ListRef{list, list}, StoreIDs: []string{"a", oddText}},
	}
	none := storemanager.AuditEntry{At: time.UnixMicro(-1).UTC(), Kind: "k"}
	change(t, d, appending(t, full, none, full))
	require.Equal(t, []storemanager.AuditEntry{full, none, full}, auditOf(t, d, storemanager.AuditQuery{Limit: 9}))
}

func (on suite) TestDriverKnowsTheNewestEntryOfAStoreAndThatOfNone(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	newest := func(tx registry.Tx, id string) storemanager.AuditEntry {
		e, err := tx.NewestEntry(t.Context(), id)
		require.NoError(t, err)
		e.Seq = 0
		return e
	}
	second := numbered("a-a", 1) // the clock was set back
	second.Detail, second.Origin = oddText, someOrigin
	withEvidence := second
	withEvidence.Evidence = &storemanager.Evidence{StoreIDs: []string{"x"}}
	change(t, d, func(tx registry.Tx) error {
		require.Zero(t, newest(tx, "a-a"))
		require.Zero(t, newest(tx, ""))
		return nil
	}, appending(t, numbered("a-a", 2), withEvidence, numbered("A-a", 3), numbered("", 4), numbered("a-a1", 5)), func(tx registry.Tx) error {
		require.Equal(t, second, newest(tx, "a-a"), "without its evidence")
		require.Equal(t, numbered("", 4), newest(tx, ""))
		require.Zero(t, newest(tx, "a-"))
		return nil
	})
}

// someEntries are a hundred entries that differ in all that can be asked for.
func someEntries() (entries []storemanager.AuditEntry) {
	texts := func(name string, i, n int) string {
		if i%n == 0 {
			return ""
		}
		return fmt.Sprint(name, i%n)
	}
	for i := range 100 {
		entries = append(entries, storemanager.AuditEntry{
			At:   storetest.At((i * 7) % 100), // not in the order of the numbers, because clocks are set
			Kind: storemanager.AuditKind(fmt.Sprint("kind", i%5)), StoreID: texts("store-", i, 3), Outcome: texts("outcome", i, 4),
			Origin: storemanager.Origin{
				Source: storemanager.Source(texts("source", i, 3)), Actor: texts("actor", i, 6), RunID: texts("run", i, 7), Batch: texts("batch", i, 8),
				UserID: texts("user", i, 9),
			},
		})
	}
	return entries
}

func (on suite) TestDriverFindsTheEntriesThatFitInBothOrders(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	all := someEntries()
	change(t, d, appending(t, all...))
	type queries = map[string]struct {
		q    storemanager.AuditQuery
		fits func(e storemanager.AuditEntry) bool
	}
	for name, test := range (queries{
		"all":     {storemanager.AuditQuery{}, func(storemanager.AuditEntry) bool { return true }},
		"store":   {storemanager.AuditQuery{StoreID: "store-1"}, func(e storemanager.AuditEntry) bool { return e.StoreID == "store-1" }},
		"kind":    {storemanager.AuditQuery{Kinds: []storemanager.AuditKind{"kind3"}}, func(e storemanager.AuditEntry) bool { return e.Kind == "kind3" }},
		"kinds":   {storemanager.AuditQuery{Kinds: []storemanager.AuditKind{"kind3", "none", "kind0"}}, func(e storemanager.AuditEntry) bool { return e.Kind == "kind3" || e.Kind == "kind0" }},
		"user":    {storemanager.AuditQuery{UserID: "user2"}, func(e storemanager.AuditEntry) bool { return e.UserID == "user2" }},
		"source":  {storemanager.AuditQuery{Source: "source2"}, func(e storemanager.AuditEntry) bool { return e.Source == "source2" }},
		"actor":   {storemanager.AuditQuery{Actor: "actor5"}, func(e storemanager.AuditEntry) bool { return e.Actor == "actor5" }},
		"run":     {storemanager.AuditQuery{RunID: "run1"}, func(e storemanager.AuditEntry) bool { return e.RunID == "run1" }},
		"batch":   {storemanager.AuditQuery{Batch: "batch7"}, func(e storemanager.AuditEntry) bool { return e.Batch == "batch7" }},
		"outcome": {storemanager.AuditQuery{Outcome: "outcome3"}, func(e storemanager.AuditEntry) bool { return e.Outcome == "outcome3" }},
		"since":   {storemanager.AuditQuery{Since: storetest.At(90)}, func(e storemanager.AuditEntry) bool { return !e.At.Before(storetest.At(90)) }},
		"until":   {storemanager.AuditQuery{Until: storetest.At(10)}, func(e storemanager.AuditEntry) bool { return e.At.Before(storetest.At(10)) }},
		"several": {
			storemanager.AuditQuery{StoreID: "store-2", Source: "source2", Actor: "actor2", Since: storetest.At(30), Until: storetest.At(60), Kinds: []storemanager.AuditKind{"kind1", "kind2"}},
			func(e storemanager.AuditEntry) bool {
				return e.StoreID == "store-2" && e.Actor == "actor2" && !e.At.Before(storetest.At(30)) && e.At.Before(storetest.At(60)) && (e.Kind == "kind1" || e.Kind == "kind2")
			},
		},
		"none": {storemanager.AuditQuery{StoreID: "store-9"}, func(storemanager.AuditEntry) bool { return false }},
	}) {
		want := []storemanager.AuditEntry{}
		for _, e := range all {
			if test.fits(e) {
				want = append(want, e)
			}
		}
		require.Equal(t, name == "none", len(want) == 0, name)
		test.q.Limit, test.q.OldestFirst = len(all), true
		require.Equal(t, want, auditOf(t, d, test.q), name)
		test.q.OldestFirst = false
		slices.Reverse(want)
		require.Equal(t, want, auditOf(t, d, test.q), name)
	}
}

func (on suite) TestDriverGivesEntriesFromAfterTheCursorUpToTheLimit(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	all := someEntries()
	change(t, d, appending(t, all...))
	for _, oldest := range []bool{false, true} {
		q := storemanager.AuditQuery{Source: "source1", OldestFirst: oldest, Limit: len(all)}
		want := auditOf(t, d, q)
		q.Limit = 4
		var got []storemanager.AuditEntry
		for {
			page, err := d.Audit(t.Context(), q)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			require.LessOrEqual(t, len(page), q.Limit)
			q.Cursor = page[len(page)-1].Seq
			for _, e := range page {
				e.Seq = 0
				got = append(got, e)
			}
		}
		require.Equal(t, want, got)
	}
}

func (on suite) TestDriverPrunesSomeOfTheEntriesThatAreOlder(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	kept := func() (seconds []int) {
		for _, e := range auditOf(t, d, storemanager.AuditQuery{OldestFirst: true, Limit: 99}) {
			seconds = append(seconds, int(e.At.Sub(storetest.T0)/time.Second))
		}
		return seconds
	}
	prune := func(oldest, most int) {
		change(t, d, func(tx registry.Tx) error { return tx.PruneAudit(t.Context(), storetest.At(oldest), most) })
	}
	prune(99, 9)
	for i := range 6 {
		change(t, d, appending(t, numbered("", i)))
	}
	prune(0, 9)
	require.Equal(t, []int{0, 1, 2, 3, 4, 5}, kept())
	prune(4, 2)
	require.Equal(t, []int{2, 3, 4, 5}, kept(), "so many at the most, and the first of them")
	prune(4, 9)
	require.Equal(t, []int{4, 5}, kept(), "what is of that moment stays")
	prune(99, 9)
	require.Equal(t, []int{5}, kept(), "the newest stays, for its number must not be given again")
	seq := func() int64 {
		entries, err := d.Audit(t.Context(), storemanager.AuditQuery{Limit: 1})
		require.NoError(t, err)
		return entries[0].Seq
	}
	before := seq()
	change(t, d, appending(t, numbered("", 6)))
	require.Greater(t, seq(), before)
}

func (on suite) TestDriverKeepsTheSettingsOfEachProcess(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	settings := func(process string) (s *storemanager.Settings) {
		change(t, d, func(tx registry.Tx) (err error) {
			s, err = tx.Settings(t.Context(), process)
			return err
		})
		return s
	}
	save := func(s storemanager.Settings) {
		change(t, d, func(tx registry.Tx) error { return tx.SaveSettings(t.Context(), s) })
	}
	require.Nil(t, settings("edge on a"))
	edge := storemanager.Settings{Process: "edge on a", Version: oddText, Values: map[string]string{"A": "1", "B": "", "C": strings.TrimRight(oddText, " ")}}
	worker := storemanager.Settings{Process: "worker on a"}
	save(edge)
	save(worker)
	require.Equal(t, &edge, settings("edge on a"))
	require.Equal(t, &worker, settings("worker on a"))
	edge.Values = map[string]string{"D": "4"}
	save(edge)
	require.Equal(t, &edge, settings("edge on a"))
	require.Nil(t, settings("Edge on a"))
}
