package status

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/authclient"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/storemanager"
)

const workspaces = `{"workspaces":[
	{"instanceId":"store-1","userId":"u-ann","name":"Family","createdAt":"2026-01-02T03:04:05Z"},
	{"instanceId":"store-2","userId":"u-bob","name":"Work"},
	{"instanceId":"store-2","userId":"u-ann","name":"Work"},
	{"instanceId":"store-4","userId":"u-ann","name":"family of the future"}]}`

// named returns a status over store-1, store-2 and store-3, the last of which the Auth Worker does not list. It lists a store-4.
func named(t *testing.T) *fixture {
	t.Helper()
	f := setup(t, func(f *fixture) { f.Directory = &edgetest.Directory{List: workspaces} })
	f.Ensure(t, "store-1", "store-2", "store-3")
	return f
}

func (f *fixture) storeIDs(t *testing.T, path string) []string {
	t.Helper()
	ids := []string{}
	for path != "" {
		got := f.Get(t, path).JSON(t)
		for _, st := range got["stores"].([]any) {
			ids = append(ids, st.(map[string]any)["id"].(string))
		}
		path, _ = got["next"].(string)
	}
	return ids
}

func TestStoresHaveTheNamesOfTheirWorkspacesWhenAskedFor(t *testing.T) {
	t.Parallel()
	f := named(t)
	got := f.Get(t, "/stores?workspaces=true").JSON(t)
	stores := got["stores"].([]any)
	require.Equal(t, map[string]any{"name": "Family", "userIds": []any{"u-ann"}, "createdAt": "2026-01-02T03:04:05Z"}, stores[0].(map[string]any)["workspace"])
	require.Equal(t, map[string]any{"name": "Work", "userIds": []any{"u-ann", "u-bob"}}, stores[1].(map[string]any)["workspace"])
	require.NotContains(t, stores[2], "workspace")
	require.NotNil(t, got["workspaces"].(map[string]any)["listAt"])
	require.NotContains(t, got["workspaces"], "note")

	for range 3 {
		f.Get(t, "/stores?workspaces=true&limit=1")
	}
	require.EqualValues(t, 1, f.Directory.Asked.Load(), "one list is enough for a while")

	got = f.Get(t, "/stores").JSON(t)
	require.NotContains(t, got, "workspaces")
	require.NotContains(t, got["stores"].([]any)[0], "workspace")
	require.Equal(t, 400, f.Get(t, "/stores?workspaces=maybe").Status)
}

func TestStoresAreFoundByOwnerAndName(t *testing.T) {
	t.Parallel()
	f := named(t)
	_, err := f.Registry.Hold(t.Context(), "store-2", storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "audit", Actor: "bob"}})
	require.NoError(t, err)
	for query, want := range map[string][]string{
		"owner=u-ann":                       {"store-1", "store-2"},
		"owner=u-ann&limit=1":               {"store-1", "store-2"},
		"owner=u-b":                         {"store-2"},
		"name=famil":                        {"store-1"},
		"name=FAMIL":                        {"store-1"},
		"name=fam&owner=u-bob":              {},
		"owner=u-ann&state=held":            {"store-2"},
		"owner=" + url.QueryEscape("%' OR"): {},
	} {
		require.Equal(t, want, f.storeIDs(t, "/stores?"+query), query)
	}
}

func TestStoresOfWorkspacesThatAreGoneAreFoundByTheirOwner(t *testing.T) {
	t.Parallel()
	f := named(t)
	own := func(id, user string) {
		_, err := f.Registry.Ensure(t.Context(), storemanager.EnsureRequest{
			StoreID: id, At: time.Now(), Origin: storemanager.Origin{Source: storemanager.SourceWebhook, UserID: user},
		})
		require.NoError(t, err)
	}
	own("store-1", "u-cat") // but the list says that it is ann's
	own("lost-1", "u-ann")
	own("lost-2", "u-ann")
	own("lost-3", "u-dan") // who has no other workspace
	own("lost-4", "u-bob")
	_, err := f.Registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: "lost-1", At: time.Now().Add(time.Second), DeleteAt: time.Now().Add(time.Hour), Owner: "run",
	})
	require.NoError(t, err)
	for query, want := range map[string][]string{
		"owner=u-ann":                        {"lost-1", "lost-2", "store-1", "store-2"},
		"owner=u-ann&limit=1":                {"lost-1", "lost-2", "store-1", "store-2"},
		"owner=u-ann&limit=3":                {"lost-1", "lost-2", "store-1", "store-2"},
		"owner=FAMILY":                       {"lost-1", "lost-2", "store-1", "store-2"},
		"owner=work":                         {"lost-1", "lost-2", "lost-4", "store-1", "store-2"},
		"owner=u-ann&state=deletion_pending": {"lost-1"},
		"owner=u-ann&name=family":            {"store-1"},
		"owner=u-dan":                        {"lost-3"},
		"owner=u-cat":                        {},
	} {
		require.Equal(t, want, f.storeIDs(t, "/stores?"+query), query)
	}
	stores := f.Get(t, "/stores?owner=u-dan").JSON(t)["stores"].([]any)
	require.Equal(t, "u-dan", stores[0].(map[string]any)["userId"])
	require.NotContains(t, stores[0], "workspace")
	require.Equal(t, 400, f.Get(t, "/stores?owner="+strings.Repeat("u", 1001)).Status)
}

func TestTheAuthWorkersAbsenceTakesNamesAndNoStores(t *testing.T) {
	t.Parallel()
	f := named(t)
	f.Directory.Set(func(d *edgetest.Directory) { d.Err = authclient.ErrUnauthorized })
	got := f.Get(t, "/stores?workspaces=true").JSON(t)
	require.Len(t, got["stores"], 3)
	require.Equal(t, "names and owners are not known: the Auth Worker refused the token", got["workspaces"].(map[string]any)["note"])
	resp := f.Get(t, "/stores?owner=u-ann")
	require.Equal(t, 503, resp.Status)
	edgetest.RequireError(t, resp, "Stores can't be found by owner or name: names and owners are not known: the Auth Worker refused the token")
	require.EqualValues(t, 1, f.Directory.Asked.Load(), "who is away is not asked again at once")

	f.Directory.Set(func(d *edgetest.Directory) { d.Err = nil })
	later := func() { f.directory.asked = time.Time{} }
	later()
	require.Len(t, f.storeIDs(t, "/stores?owner=u-ann"), 2)
	f.Directory.Set(func(d *edgetest.Directory) { d.Err = authclient.ErrTimeout })
	later()
	got = f.Get(t, "/stores?owner=u-ann").JSON(t)
	require.Len(t, got["stores"], 2, "the names of the list before are there still")
	require.Contains(t, got["workspaces"].(map[string]any)["note"], "names and owners are those of 20")

	none := setup(t)
	none.Ensure(t, "store-1")
	got = none.Get(t, "/stores?workspaces=true").JSON(t)
	require.Len(t, got["stores"], 1)
	require.Equal(t, notConfigured, got["workspaces"].(map[string]any)["note"])
}

func TestNamesThatNobodyAsksForAreForgotten(t *testing.T) {
	t.Parallel()
	f := named(t)
	f.Get(t, "/stores?workspaces=true")
	f.directory.forget()
	require.Nil(t, f.directory.list)
	require.Len(t, f.storeIDs(t, "/stores?owner=u-ann"), 2)
}
