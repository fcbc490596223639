package registrytest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestDriverKeepsThePauseOfEachScope(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	pause := func(scope string, expires *time.Time) storemanager.Pause {
		return storemanager.Pause{StoreID: scope, Since: storetest.At(1), ExpiresAt: expires, Reason: oddText, Actor: oddText}
	}
	save := func(tx registry.Tx) (err error) {
		for _, scope := range []string{"", "A-a", "a-a", "a-b", "a_b", "zzz"} {
			err = errors.Join(err, tx.SavePause(t.Context(), pause(scope, nil)))
		}
		return errors.Join(err, tx.SavePause(t.Context(), pause("a-b", new(storetest.At(10)))), tx.SavePause(t.Context(), pause("zzz", new(storetest.At(20)))))
	}
	change(t, d, save)
	scopes := func(first, last string, now time.Time) []string {
		got := []string{}
		pauses, err := d.Pauses(t.Context(), first, last, now)
		require.NoError(t, err)
		require.NotNil(t, pauses)
		for _, p := range pauses {
			got = append(got, p.StoreID)
		}
		return got
	}
	require.Equal(t, []string{"", "A-a", "a-a", "a-b", "a_b", "zzz"}, scopes("", "~", storetest.At(9)))
	require.Equal(t, []string{"a-a", "a-b"}, scopes("a-a", "a-b", storetest.At(9)))
	require.Equal(t, []string{"a-a"}, scopes("a-a", "a-b", storetest.At(10)))
	require.Empty(t, scopes("b", "y", storetest.At(9)))
	for scope, want := range map[string]*storemanager.Pause{"": new(pause("", nil)), "a-b": nil, "zzz": new(pause("zzz", new(storetest.At(20)))), "none": nil} {
		got, err := d.Pause(t.Context(), scope, storetest.At(10))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	change(t, d, func(tx registry.Tx) error {
		got, err := tx.Pause(t.Context(), "a-b", storetest.At(9))
		require.Equal(t, new(pause("a-b", new(storetest.At(10)))), got)
		return err
	}, func(tx registry.Tx) error { return tx.DropExpiredPauses(t.Context(), storetest.At(10)) }, func(tx registry.Tx) error {
		for scope, want := range map[string]bool{"": true, "a-b": false, "A-a": true, "none": false} {
			had, err := tx.DropPause(t.Context(), scope)
			require.NoError(t, err)
			require.Equal(t, want, had, scope)
		}
		return nil
	})
	require.Equal(t, []string{"a-a", "a_b", "zzz"}, scopes("", "~", storetest.T0))
}

func (on suite) TestDriverCountsARunInPlaceOfTheOneThatItReplaces(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	const kept = 3
	run := func(id string, completed int, failure string) storemanager.ReconcileRun {
		return storemanager.ReconcileRun{
			RunID: id, StartedAt: storetest.At(-1), CompletedAt: storetest.At(completed), Error: failure,
			Report: json.RawMessage(`{ "b":1.0, "a":"ü\u0000", "a":2 }`), // as it is, and not as a database would write it
		}
	}
	save := func(run storemanager.ReconcileRun) registry.Runs {
		change(t, d, func(tx registry.Tx) error { return tx.SaveRun(t.Context(), run, kept) })
		runs, err := d.Runs(t.Context())
		require.NoError(t, err)
		return runs
	}
	none, err := d.Runs(t.Context())
	require.NoError(t, err)
	require.Equal(t, registry.Runs{Kept: []storemanager.ReconcileRun{}}, none)

	approved := run("b", 5, "")
	approved.ApprovedListAt, approved.Actor = new(storetest.At(1)), "ann"
	require.Equal(t, registry.Runs{Successes: 1, LastSuccessAt: new(storetest.At(5)), Kept: []storemanager.ReconcileRun{run("b", 5, "")}}, save(approved))
	failed := run("b", 5, oddText)
	require.Equal(t, registry.Runs{Failures: 1, LastSuccessAt: new(storetest.At(5)), Kept: []storemanager.ReconcileRun{failed}}, save(failed))
	again := run("b", 4, "")
	again.Report = nil
	require.Equal(t, registry.Runs{Successes: 1, LastSuccessAt: new(storetest.At(5)), Kept: []storemanager.ReconcileRun{again}}, save(again))
	save(run("c", 4, ""))
	require.Equal(t, []storemanager.ReconcileRun{run("a", 4, "x"), again, run("c", 4, "")}, save(run("a", 4, "x")).Kept, "of one moment by id")
	require.Equal(t, registry.Runs{
		Successes: 3, Failures: 1, LastSuccessAt: new(storetest.At(7)), Kept: []storemanager.ReconcileRun{run("0", 7, ""), run("a", 4, "x"), again},
	}, save(run("0", 7, "")))
	require.Equal(t, registry.Runs{
		Successes: 3, Failures: 2, LastSuccessAt: new(storetest.At(7)), Kept: []storemanager.ReconcileRun{run("0", 7, ""), run("a", 4, "x"), again},
	}, save(run("late", 3, "x")), "one that is older than all that are kept is counted")
}

func (on suite) TestDriverKeepsTheFirstReasonOfTheGuardAndTheNewestApproval(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	after := func(step func(tx registry.Tx) (bool, error)) (changed bool, guard *storemanager.KeptBack, approved *time.Time) {
		change(t, d, func(tx registry.Tx) (err error) {
			changed, err = step(tx)
			return err
		})
		n, err := d.Counts(t.Context(), registry.Moments{Now: storetest.T0})
		require.NoError(t, err)
		return changed, n.Guard, n.Approved
	}
	keepBack := func(reason string, second int) func(registry.Tx) (bool, error) {
		return func(tx registry.Tx) (bool, error) { return tx.KeepBack(t.Context(), reason, storetest.At(second)) }
	}
	approve := func(second int) func(registry.Tx) (bool, error) {
		return func(tx registry.Tx) (bool, error) { return false, tx.Approve(t.Context(), storetest.At(second)) }
	}
	letGo := func(tx registry.Tx) (bool, error) { return tx.LetGo(t.Context()) }
	for _, step := range []struct {
		do       func(registry.Tx) (bool, error)
		changed  bool
		guard    *storemanager.KeptBack
		approved *time.Time
	}{
		{letGo, false, nil, nil},
		{keepBack("", 5), true, &storemanager.KeptBack{Since: storetest.At(5)}, nil},
		{keepBack("later", 4), false, &storemanager.KeptBack{Since: storetest.At(5)}, nil},
		{letGo, true, nil, nil},
		{letGo, false, nil, nil},
		{keepBack(oddText, 6), true, &storemanager.KeptBack{Since: storetest.At(6), Reason: oddText}, nil},
		{approve(3), false, nil, new(storetest.At(3))},
		{keepBack("again", 7), true, &storemanager.KeptBack{Since: storetest.At(7), Reason: "again"}, new(storetest.At(3))},
		{approve(2), false, nil, new(storetest.At(3))},
		{approve(4), false, nil, new(storetest.At(4))},
	} {
		changed, guard, approved := after(step.do)
		require.Equal(t, step.changed, changed)
		require.Equal(t, step.guard, guard)
		require.Equal(t, step.approved, approved)
	}
}

func (on suite) TestDriverKeepsLossesUntilTheyAreAcknowledged(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	loss := func() *storemanager.KeptBack {
		var inside *storemanager.KeptBack
		change(t, d, func(tx registry.Tx) (err error) {
			inside, err = tx.Loss(t.Context())
			return err
		})
		outside, err := d.Loss(t.Context())
		require.NoError(t, err)
		require.Equal(t, inside, outside)
		return outside
	}
	acknowledge := func(before *time.Time) (ended int64) {
		change(t, d, func(tx registry.Tx) (err error) {
			ended, err = tx.Acknowledge(t.Context(), storemanager.Acknowledgement{Reason: oddText, Actor: oddText}, storetest.At(9), before)
			return err
		})
		return ended
	}
	require.Nil(t, loss())
	require.Zero(t, acknowledge(nil))
	change(t, d, func(tx registry.Tx) error {
		return errors.Join(tx.NoteLoss(t.Context(), "z", storetest.At(2)), tx.NoteLoss(t.Context(), "a", storetest.At(1)), tx.NoteLoss(t.Context(), oddText, storetest.At(3)))
	})
	require.Equal(t, &storemanager.KeptBack{Since: storetest.At(1), Reason: "z; a; " + oddText, Lost: true}, loss())
	require.Zero(t, acknowledge(new(storetest.At(1))), "found at that moment is not before it")
	require.EqualValues(t, 2, acknowledge(new(storetest.At(3))))
	require.Equal(t, &storemanager.KeptBack{Since: storetest.At(3), Reason: oddText, Lost: true}, loss())
	require.EqualValues(t, 1, acknowledge(nil))
	require.Nil(t, loss())
}

func (on suite) TestDriverKeepsTheLastCursorOfEachStore(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	for _, kept := range []map[string]registry.Cursor{
		{"a-a": {BackendID: oddText, Seq: 1 << 52}, "a-b": {BackendID: "B", Seq: 7}},
		{"a-b": {BackendID: "C", Seq: 1}}, // the store was reset
		{},
	} {
		change(t, d, func(tx registry.Tx) error { return tx.SaveCursors(t.Context(), kept) })
	}
	for id, want := range map[string]registry.Cursor{"a-a": {BackendID: oddText, Seq: 1 << 52}, "a-b": {BackendID: "C", Seq: 1}, "none": {}} {
		got, err := d.Cursor(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func (on suite) TestDriverTakesOffPinsAlone(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	pinned, too, other := monitoredRecord("pinned"), monitoredRecord("Pinned"), monitoredRecord("other")
	pinned.Pinned, pinned.CreatedBy, too.Pinned = true, "q", true
	unpin := func(want ...string) func(registry.Tx) error {
		return func(tx registry.Tx) error {
			ids, err := tx.Unpin(t.Context())
			require.Equal(t, want, ids)
			return err
		}
	}
	change(t, d, unpin(), saving(t, pinned, too, other), unpin("Pinned", "pinned"), unpin())
	pinned.Pinned, too.Pinned = false, false
	for _, want := range []registry.Record{pinned, too, other} {
		got, err := d.Record(t.Context(), want.ID)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func (on suite) TestDriverFindsTheRecordsOfAUser(t *testing.T) {
	t.Parallel()
	d := on.driver(t)
	owned := func(id, user string) registry.Record {
		s := monitoredRecord(id)
		s.UserID = user
		return s
	}
	gone := tombstone("gone", storetest.T0)
	gone.UserID = "ann"
	change(t, d, saving(t, owned("c", "ann"), owned("a", "ann"), owned("b", "anna"), owned("d", "Ann"), owned("e", "an"), owned("f", "bob"),
		owned("g", "an%"), owned("h", oddText), monitoredRecord("nobodys"), gone))
	for _, test := range []struct {
		user, after string
		limit       int
		want        []string
	}{
		{"ann", "", 9, []string{"a", "b", "c"}},
		{"ann", "a", 9, []string{"b", "c"}},
		{"ann", "", 2, []string{"a", "b"}},
		{"an", "a", 9, []string{"b", "c", "e", "g"}},
		{"an%", "", 9, []string{"g"}},
		{oddText, "", 9, []string{"h"}},
		{"nobody", "", 9, nil},
	} {
		var got []string
		for s, err := range d.RecordsOf(t.Context(), test.user, test.after, test.limit) {
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(s.UserID, test.user))
			got = append(got, s.ID)
		}
		require.Equal(t, test.want, got, "%q after %q", test.user, test.after)
	}
}
