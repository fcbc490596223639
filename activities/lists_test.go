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
	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// In every run of the tests so many random registries are compared with so many random lists each, one after the other.
const (
	listCases = 30
	listsEach = 10
)

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

// listCase is an Auth Worker's answer, and what is monitored then.
type listCase struct {
	listAnswer
	stores map[string]listedStore
}

type listAnswer struct {
	body    string
	damaged bool
	valid   map[string]bool // of the list, each once
	invalid map[string]bool
	// readOnly asks what would be done, as an operator does.
	readOnly bool
}

const mostListed = 20 // stores

var badIDs = []string{"a/b", "../x", "no id", "-store", "ab", "größe", `quoted"id`}

func monitoredStores() *rapid.Generator[map[string]listedStore] {
	return rapid.Custom(func(t *rapid.T) map[string]listedStore {
		stores := map[string]listedStore{}
		for _, id := range ids(0, rapid.IntRange(0, mostListed).Draw(t, "size")) {
			if rapid.IntRange(0, 2).Draw(t, "monitored") > 0 {
				s := listedStore{protected: rapid.IntRange(0, 2*protections).Draw(t, "protected") % protections, sighted: rapid.Bool().Draw(t, "sighted")}
				s.sighted = s.sighted && s.protected != byAge
				stores[id] = s
			}
		}
		return stores
	})
}

func listAnswers() *rapid.Generator[listAnswer] {
	return rapid.Custom(func(t *rapid.T) listAnswer {
		l := listAnswer{valid: map[string]bool{}, invalid: map[string]bool{}, readOnly: rapid.IntRange(0, 3).Draw(t, "read only") == 0}
		entries := []map[string]any{}
		list := func(id string) { // once for each of its members
			for member := range rapid.IntRange(1, 3).Draw(t, "members") {
				entries = append(entries, map[string]any{"instanceId": id, "userId": fmt.Sprint("user-", member), "name": "A workspace"})
			}
		}
		empty := rapid.IntRange(0, 9).Draw(t, "empty") == 0
		for _, id := range ids(0, mostListed) {
			if rapid.IntRange(0, 2).Draw(t, "listed") > 0 && !empty {
				l.valid[id] = true
				list(id)
			}
		}
		for _, id := range badIDs {
			if rapid.IntRange(0, 5).Draw(t, "bad") == 0 {
				l.invalid[id] = true
				list(id)
			}
		}
		if len(entries) > 0 { // else it would become null
			entries = rapid.Permutation(entries).Draw(t, "order")
		}
		l.body, l.damaged = answer(t, entries)
		return l
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
	users := map[any]bool{}
	for _, e := range entries {
		users[e["userId"]] = true
	}
	encoded, err := json.Marshal(map[string]any{"workspaces": entries, "metadata": map[string]int{"totalUsers": len(users), "totalWorkspaces": total}})
	if err != nil {
		t.Fatal(err)
	}
	if fault == 3 {
		encoded = encoded[:rapid.IntRange(0, len(encoded)-1).Draw(t, "cut")]
	}
	return string(encoded), 1 <= fault && fault <= 3
}

// fill makes a registry with the stores as it is when the list is asked for.
func (c listCase) fill(t *testing.T, listAt time.Time) *storetest.Database {
	t.Helper()
	now := listAt.Add(-time.Hour)
	r, err := storetest.TryOpen(t.Context(), storetest.Settings{Now: func() time.Time { return now }})
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
		_, err := r.Hold(t.Context(), id, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a"}})
		require.NoError(t, err)
	}
	for _, id := range of(byPause) {
		_, err := r.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: id, Reason: "r", Actor: "a"}})
		require.NoError(t, err)
	}
	require.NoError(t, r.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: listAt.Add(-time.Minute), Unlisted: sighted}))
	for _, id := range of(byDeletion) {
		_, err := r.BeginDeletion(t.Context(), storemanager.DeletionRequest{
			StoreID: id, At: now, DeleteAt: listAt.Add(time.Hour), Owner: "run", ByList: true,
		})
		require.NoError(t, err)
	}
	now = listAt
	return r
}

// check compares the plan with what the sets say; sighted are the stores whose mark the comparison must have left.
func (c listCase) check(t require.TestingT, plan contract.Plan) (sighted map[string]bool) {
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
	require.Equal(t, contract.Skipped{
		Held: skipped[byHold], Pinned: skipped[byPin], Pending: skipped[byDeletion], TooYoung: skipped[byAge], Paused: skipped[byPause],
	}, plan.Skipped)
	require.Equal(t, len(c.valid) == 0 && len(c.stores) > 0, plan.Guard != "", plan.Guard)
	require.Equal(t, len(c.invalid), plan.QuarantinedCount)
	require.ElementsMatch(t, slices.Collect(maps.Keys(c.invalid)), plan.Quarantined)
	var named []string
	for _, item := range plan.Items {
		if item.Reason == contract.ReasonInvalidID {
			require.Equal(t, contract.ActionSkip, item.Action)
			named = append(named, item.StoreID)
		}
	}
	if c.readOnly {
		require.ElementsMatch(t, plan.Quarantined, named, "people are told of them")
	}
	return sighted
}

// The whole way of a list, from its bytes to the plan and to what is kept of it. It is no rapid.Check, for the planner's tests have set that to
// many more cases; a failure names its case.
func TestAListIsTheSetOfItsIDsOrNothing(t *testing.T) {
	t.Parallel()
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	t.Cleanup(server.Close)
	b := setup(t)
	at := b.now // the list is asked for
	auth, err := authclient.New(authclient.Options{BaseURL: server.URL, Token: httpclient.Fixed("token"), Now: func() time.Time { return at }})
	require.NoError(t, err)
	b.act.AuthWorker = auth
	b.act.Guard = activities.GuardLimits{MaxDeletePercent: 100, MaxDeletes: 100} // of its limits the planner's tests know
	damaged := 0
	for seed := range listCases {
		c := listCase{stores: monitoredStores().Example(seed)}
		at = b.now
		registry := c.fill(t, at)
		b.act.Manager = registry
		for i := range listsEach {
			c.listAnswer = listAnswers().Example(seed*listsEach + i)
			body = c.body
			before := dump(t, registry)
			v, err := b.env.ExecuteActivity(b.act.CompareLists, contract.CompareInput{RunStartedAt: at, Confirm: true, ReadOnly: c.readOnly})
			require.Equal(t, c.damaged, err != nil, "registry %d, list %d: %v %s", seed, i, err, body)
			if c.damaged {
				damaged++
				require.Equal(t, before, dump(t, registry), "it changes nothing")
				continue
			}
			var plan contract.Plan
			require.NoError(t, v.Get(&plan))
			c.see(t, c.check(t, plan), before, dump(t, registry))
			at = at.Add(time.Minute)
			c.age()
		}
	}
	require.Greater(t, damaged, listCases*listsEach/5)
}

// see compares what the registry has now with what it had, and takes note of the sightings.
func (c listCase) see(t *testing.T, sighted map[string]bool, before, after []storemanager.Store) {
	t.Helper()
	if c.readOnly {
		require.Equal(t, before, after, "a look changes nothing")
		return
	}
	for i, s := range after {
		require.Equal(t, sighted[s.ID], s.UnlistedSince != nil, s.ID)
		if len(c.valid) > 0 {
			require.Equal(t, c.valid[s.ID] && s.Deletion != nil, s.ListedSince != nil, s.ID)
		}
		before[i].UnlistedSince, before[i].ListedSince = s.UnlistedSince, s.ListedSince
		c.stores[s.ID] = listedStore{c.stores[s.ID].protected, sighted[s.ID]}
	}
	require.Equal(t, before, after, "only sightings are kept")
}

// age makes the next list one that knows of the youngest stores.
func (c listCase) age() {
	for id, s := range c.stores {
		if s.protected == byAge {
			c.stores[id] = listedStore{unprotected, s.sighted}
		}
	}
}

func dump(t *testing.T, r *storetest.Database) []storemanager.Store {
	t.Helper()
	page, err := r.List(t.Context(), storemanager.ListRequest{Limit: storemanager.MaxBatch})
	require.NoError(t, err)
	require.Empty(t, page.NextCursor)
	return page.Stores
}
