package activities_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"storekeeper/activities"
	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
)

// listCases is how many random lists are compared with random stores in every run of the tests.
const listCases = 400

// What protects a store of a listCase.
const (
	unprotected = iota
	byHold
	byPin
	byDeletion // that is pending
	byAge      // it came after the list was asked for
	byPause
	protections
)

type listedStore struct {
	protected int
	sighted   bool // as missing, by an earlier list
}

// listCase is an Auth Worker's answer, and what is monitored.
type listCase struct {
	body    string
	damaged bool
	valid   map[string]bool // of the list, each once
	invalid map[string]bool
	stores  map[string]listedStore
	// readOnly asks what would be done, as an operator does.
	readOnly bool
}

var badIDs = []string{"a/b", "../x", "no id", "-store", "ab", "größe", `quoted"id`}

func genListCases() *rapid.Generator[listCase] {
	return rapid.Custom(func(t *rapid.T) listCase {
		c := listCase{
			valid: map[string]bool{}, invalid: map[string]bool{}, stores: map[string]listedStore{}, readOnly: rapid.IntRange(0, 3).Draw(t, "read only") == 0,
		}
		entries := []map[string]any{}
		list := func(id string) { // once for each of its members
			for member := range rapid.IntRange(1, 3).Draw(t, "members") {
				entries = append(entries, map[string]any{"instanceId": id, "userId": fmt.Sprint("user-", member), "name": "A workspace"})
			}
		}
		empty := rapid.IntRange(0, 9).Draw(t, "empty") == 0
		for i := range rapid.IntRange(0, 20).Draw(t, "size") {
			id := ids(i, i+1)[0]
			side := rapid.IntRange(0, 2).Draw(t, "side")
			if side > 0 && !empty {
				c.valid[id] = true
				list(id)
			}
			if side < 2 {
				s := listedStore{protected: rapid.IntRange(0, 2*protections).Draw(t, "protected") % protections, sighted: rapid.Bool().Draw(t, "sighted")}
				s.sighted = s.sighted && s.protected != byAge
				c.stores[id] = s
			}
		}
		for _, id := range badIDs {
			if rapid.IntRange(0, 5).Draw(t, "bad") == 0 {
				c.invalid[id] = true
				list(id)
			}
		}
		c.body, c.damaged = answer(t, rapid.Permutation(entries).Draw(t, "order"))
		return c
	})
}

// answer is the list, damaged in one of several ways or in none.
func answer(t *rapid.T, entries []map[string]any) (body string, damaged bool) {
	total, fault := len(entries), rapid.IntRange(0, 7).Draw(t, "fault")
	switch fault {
	case 1:
		total += rapid.IntRange(1, 3).Draw(t, "more than there are")
	case 2:
		entries = slices.Insert(slices.Clone(entries), rapid.IntRange(0, len(entries)).Draw(t, "where"), map[string]any{"userId": "nobody's"})
		total++
	}
	encoded, err := json.Marshal(map[string]any{"workspaces": entries, "metadata": map[string]int{"totalUsers": 1, "totalWorkspaces": total}})
	if err != nil {
		t.Fatal(err)
	}
	if fault == 3 {
		encoded = encoded[:rapid.IntRange(0, len(encoded)-1).Draw(t, "cut")]
	}
	return string(encoded), 1 <= fault && fault <= 3
}

// fill makes a registry with the stores, whose clock stands at the moment of the list then.
func (c listCase) fill(t *testing.T, listAt time.Time) *storemanager.Registry {
	t.Helper()
	now := listAt.Add(-time.Hour)
	r, err := storemanager.Open(t.Context(), storemanager.Options{Now: func() time.Time { return now }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	of := func(protection int) (stores []string) {
		for id, s := range c.stores {
			if s.protected == protection {
				stores = append(stores, id)
			}
		}
		return stores
	}
	var sighted []string
	for id, s := range c.stores {
		now = listAt.Add(-time.Hour)
		if s.protected == byAge {
			now = listAt.Add(time.Second)
		}
		_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: now})
		require.NoError(t, err)
		if s.sighted {
			sighted = append(sighted, id)
		}
	}
	now = listAt.Add(-time.Hour)
	require.NoError(t, r.SetPins(t.Context(), of(byPin)))
	for _, id := range of(byHold) {
		_, err := r.Hold(t.Context(), id, storemanager.Hold{Reason: "r", Actor: "a"})
		require.NoError(t, err)
	}
	for _, id := range of(byPause) {
		_, err := r.Pause(t.Context(), storemanager.Pause{StoreID: id, Reason: "r", Actor: "a"})
		require.NoError(t, err)
	}
	for _, id := range of(byDeletion) {
		_, err := r.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: id, At: now, DeleteAt: listAt.Add(time.Hour), Owner: "run"})
		require.NoError(t, err)
	}
	require.NoError(t, r.MarkMissing(t.Context(), storemanager.MissingMarks{ListAt: listAt.Add(-time.Minute), Missing: sighted}))
	now = listAt
	return r
}

// check compares the plan with what the sets say; sighted are the stores whose mark the comparison must have left.
func (c listCase) check(t require.TestingT, plan activities.Plan) (sighted map[string]bool) {
	var missing, orphans []string
	skipped, sightings := map[int]int{}, 0
	sighted = map[string]bool{}
	for id := range c.valid {
		if _, monitored := c.stores[id]; !monitored {
			missing = append(missing, id)
		}
	}
	for id, s := range c.stores {
		sighted[id] = s.sighted
		switch {
		case c.valid[id]:
			sighted[id] = false
		case len(c.valid) == 0: // says nothing of any store
		case s.protected != unprotected:
			skipped[s.protected]++
		case s.sighted:
			orphans = append(orphans, id)
		default:
			sightings++
			sighted[id] = true
		}
	}
	slices.Sort(missing)
	slices.Sort(orphans)
	require.Equal(t, len(c.valid), plan.AuthoritativeCount)
	require.Equal(t, len(c.stores), plan.MonitoredCount)
	require.Equal(t, missing, plan.Missing)
	require.Equal(t, orphans, plan.Orphans)
	require.Equal(t, sightings, plan.FirstSightings)
	require.Equal(t, activities.Skipped{
		Held: skipped[byHold], Pinned: skipped[byPin], Pending: skipped[byDeletion], TooYoung: skipped[byAge], Paused: skipped[byPause],
	}, plan.Skipped)
	require.Equal(t, len(c.valid) == 0 && len(c.stores) > 0, plan.Guard != "", plan.Guard)
	require.Equal(t, len(c.invalid), plan.QuarantinedCount)
	require.ElementsMatch(t, slices.Collect(maps.Keys(c.invalid)), plan.Quarantined)
	var named []string
	for _, item := range plan.Items {
		if item.Reason == activities.ReasonInvalidID {
			require.Equal(t, activities.ActionSkip, item.Action)
			named = append(named, item.StoreID)
		}
	}
	if c.readOnly {
		require.ElementsMatch(t, plan.Quarantined, named, "people are told of them")
	}
	return sighted
}

// The whole way of a list, from its bytes to the plan and to what is kept of it. It is no rapid.Check, of which the planner needs
// many more cases; a failure names the case.
func TestAListIsTheSetOfItsIDsOrNothing(t *testing.T) {
	t.Parallel()
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	t.Cleanup(server.Close)
	b := setup(t)
	listAt := b.now
	auth, err := authclient.New(authclient.Options{BaseURL: server.URL, Token: "token", Now: func() time.Time { return listAt }})
	require.NoError(t, err)
	b.act.AuthWorker = auth
	b.act.Guard = activities.Guard{MaxDeletePercent: 100, MaxDeletes: 100} // of its limits the planner's tests know
	cases, damaged := genListCases(), 0
	for seed := range listCases {
		c := cases.Example(seed)
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { //nolint:paralleltest // one server, one list at a time
			registry := c.fill(t, listAt)
			b.act.Manager, body = registry, c.body
			before := dump(t, registry)
			v, err := b.env.ExecuteActivity(b.act.CompareLists, activities.CompareInput{RunStartedAt: listAt, Confirm: true, ReadOnly: c.readOnly})
			if c.damaged {
				damaged++
				require.Error(t, err, c.body)
				require.Equal(t, before, dump(t, registry), "it changes nothing")
				return
			}
			require.NoError(t, err, c.body)
			var plan activities.Plan
			require.NoError(t, v.Get(&plan))
			sighted, after := c.check(t, plan), dump(t, registry)
			if c.readOnly {
				require.Equal(t, before, after, "a look changes nothing")
				return
			}
			for i, s := range after {
				require.Equal(t, sighted[s.ID], s.MissingSince != nil, s.ID)
				before[i].MissingSince = s.MissingSince
			}
			require.Equal(t, before, after, "only sightings are kept")
		})
		if !ok {
			return
		}
	}
	require.Greater(t, damaged, listCases/5)
}

func dump(t *testing.T, r *storemanager.Registry) []storemanager.Store {
	t.Helper()
	page, err := r.List(t.Context(), storemanager.ListRequest{Limit: storemanager.MaxBatch})
	require.NoError(t, err)
	require.Empty(t, page.NextCursor)
	return page.Stores
}
