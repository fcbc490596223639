package actions

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"storekeeper/contract"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	storeA = edgetest.StoreA
	storeB = "store-b"
	alice  = "token-of-alice"
)

// setup returns actions that are served. The bypass token has no name, the other one is alice's.
func setup(t *testing.T) *edgetest.Bundle {
	t.Helper()
	b := edgetest.New(t)
	a := New(Options{Orchestrator: b.Temporal, StoreManager: b.Registry, Log: b.Logger})
	tokens := httpserver.NewTokens(edgetest.Token)
	tokens.Add(alice, httpserver.Caller{Name: "alice"})
	r := chi.NewRouter()
	r.Use(httpserver.Identify, httpserver.Prepare, httpserver.Require(func(r *http.Request) (httpserver.Caller, bool) { return tokens.Caller(httpserver.Bearer(r)) },
		func(w http.ResponseWriter, _ *http.Request) {
			problem.Write(w, problem.KindUnauthorized, "Unauthorized")
		}))
	for _, verb := range Verbs() {
		r.Post("/stores/{id}/"+verb, a.Act(verb))
	}
	r.Get("/stores/{id}/history", a.History)
	r.Get("/audit", a.Audit)
	r.Post("/admin/bulk", a.Bulk)
	b.Serve(t, r)
	return b
}

func as(t *testing.T, b *edgetest.Bundle, token, path, body string, headers ...string) edgetest.Response {
	t.Helper()
	return b.Do(t, http.MethodPost, path, body, append([]string{"Authorization", "Bearer " + token}, headers...)...)
}

func TestEachVerbIsAnEventThatNamesWhoAsksAndWhy(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for verb, test := range map[string]struct {
		body string
		want contract.Event
	}{
		VerbProvision:      {`{"reason":"because"}`, contract.Event{Type: contract.WorkspaceCreated}},
		VerbDelete:         {`{"reason":"because","gracePeriod":"90m"}`, contract.Event{Type: contract.WorkspaceDeleted, GracePeriod: new(90 * time.Minute)}},
		VerbHold:           {fmt.Sprintf(`{"reason":"because","expiresAt":%q}`, until.Format(time.RFC3339)), contract.Event{Type: contract.StoreHold, Hold: &contract.Cancellation{Reason: "because", Actor: "alice", ExpiresAt: &until}}},
		VerbCancelDeletion: {fmt.Sprintf(`{"reason":"because","expiresAt":%q}`, until.Format(time.RFC3339)), contract.Event{Type: contract.StoreHold, Hold: &contract.Cancellation{Reason: "because", Actor: "alice", ExpiresAt: &until}}},
		VerbRelease:        {`{"reason":"because"}`, contract.Event{Type: contract.StoreRelease}},
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.Ensure(t, storeA)
			_, err := b.Registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
				StoreID: storeA, At: time.Now().Add(time.Second), DeleteAt: time.Now().Add(time.Hour), Owner: "run",
			})
			require.NoError(t, err)
			b.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
				return contract.Result{Status: contract.StatusHeld, Detail: "as it is"}, nil
			}
			resp := as(t, b, alice, "/stores/"+storeA+"/"+verb, test.body)
			require.Equal(t, 200, resp.Status, resp.Body)
			require.Equal(t, "held", resp.JSON(t)["status"])

			events := b.Temporal.Applied()
			require.Len(t, events, 1)
			got := events[0]
			require.Equal(t, resp.JSON(t)["deliveryId"], got.DeliveryID)
			require.WithinDuration(t, time.Now(), got.Timestamp, time.Minute)
			want := test.want
			want.InstanceID, want.Source, want.DeliveryID, want.Timestamp = storeA, contract.SourceOperator, got.DeliveryID, got.Timestamp
			want.Origin = contract.Origin{Source: contract.SourceOperator, Actor: "alice", Via: "api", Reason: "because", RequestID: resp.Header.Get("X-Request-Id")}
			require.Equal(t, want, got)
			require.Contains(t, b.Logs.String(), `"actor":"alice"`)
			require.Contains(t, b.Logs.String(), `"reason":"because"`)
		})
	}
}

func TestAHoldLastsAWeekUnlessItIsSaid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, 200, as(t, b, alice, "/stores/"+storeA+"/hold", `{"reason":"r"}`).Status)
	require.WithinDuration(t, time.Now().Add(contract.DefaultHold), *b.Temporal.Applied()[0].Hold.ExpiresAt, time.Minute)
}

func TestTheCLIIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, 200, as(t, b, edgetest.Token, "/stores/"+storeA+"/release", `{"actor":"ann"}`, "Storekeeper-Via", "cli").Status)
	require.Equal(t, "cli", b.Temporal.Applied()[0].Origin.Via)
	require.Equal(t, "ann", b.Temporal.Applied()[0].Origin.Actor)
}

func TestAnOutcomeThatIsNotKnownInTimeIsAccepted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
		return contract.Result{Status: contract.StatusAccepted}, nil
	}
	require.Equal(t, 202, as(t, b, alice, "/stores/"+storeA+"/provision", "").Status)
}

func TestAnActionThatIsNotRightIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		token, path, body string
		status            int
		want              string
	}{
		"no reason":                   {alice, "/stores/" + storeA + "/hold", `{"reason":" "}`, 400, "reason is required: it is kept in the audit trail"},
		"no body where one is needed": {alice, "/stores/" + storeA + "/delete", "", 400, "reason is required: it is kept in the audit trail"},
		"no actor":                    {edgetest.Token, "/stores/" + storeA + "/hold", `{"reason":"r"}`, 400, "actor is required: the token has no name"},
		"a misspelt member":           {alice, "/stores/" + storeA + "/hold", `{"reason":"r","expires":"2126-01-02T03:04:05Z"}`, 400, "The body must be one JSON object with the members that /docs names, and no others"},
		"two values":                  {alice, "/stores/" + storeA + "/hold", `{"reason":"r"} {}`, 400, "The body must be one JSON object with the members that /docs names, and no others"},
		"an expiry that is over":      {alice, "/stores/" + storeA + "/hold", `{"reason":"r","expiresAt":"2020-01-02T03:04:05Z"}`, 400, "expiresAt is over already"},
		"an expiry of a deletion":     {alice, "/stores/" + storeA + "/delete", `{"reason":"r","expiresAt":"2126-01-02T03:04:05Z"}`, 400, "expiresAt does not belong to delete"},
		"a grace period of a hold":    {alice, "/stores/" + storeA + "/hold", `{"reason":"r","gracePeriod":"1h"}`, 400, "gracePeriod does not belong to hold"},
		"a grace period that is none": {alice, "/stores/" + storeA + "/delete", `{"reason":"r","gracePeriod":"-1h"}`, 400, "gracePeriod must be a duration such as 24h or 30m, not negative"},
		"no id of a store":            {alice, "/stores/ab/hold", `{"reason":"r"}`, 400, "this is not a valid store id: " + problem.StoreIDRule},
		"a deletion of no store":      {alice, "/stores/nobody/cancel-deletion", `{"reason":"r"}`, 404, "No such store is monitored"},
		"no deletion to cancel":       {alice, "/stores/" + storeA + "/cancel-deletion", `{"reason":"r"}`, 404, "No deletion of this store is pending"},
		"no verb":                     {alice, "/admin/bulk", `{"verb":"stop","ids":["store-a"],"reason":"r"}`, 400, "verb must be one of provision, delete, cancel-deletion, hold, release, pause, resume"},
		"no ids":                      {alice, "/admin/bulk", `{"verb":"hold","ids":[],"reason":"r"}`, 400, "ids must be 1 to 1000 store ids, not 0"},
		"a bad id among many":         {alice, "/admin/bulk", `{"verb":"hold","ids":["store-a","a b"],"reason":"r"}`, 400, `"a b" is not a valid store id: ` + problem.StoreIDRule},
		"an id twice":                 {alice, "/admin/bulk", `{"verb":"hold","ids":["store-a","store-a"],"reason":"r"}`, 400, "store-a is in ids twice"},
		"too many ids":                {alice, "/admin/bulk", `{"verb":"hold","ids":["` + strings.Repeat(`abc","`, 1000) + `abc"],"reason":"r"}`, 400, "ids must be 1 to 1000 store ids, not 1001"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.Ensure(t, storeA)
			resp := as(t, b, test.token, test.path, test.body)
			require.Equal(t, test.status, resp.Status, resp.Body)
			edgetest.RequireError(t, resp, test.want)
			require.Empty(t, b.Temporal.Applied(), "nothing was done")
			page, err := b.Registry.Audit(t.Context(), storemanager.AuditQuery{Source: storemanager.SourceOperator})
			require.NoError(t, err)
			require.Empty(t, page.Entries)
		})
	}
}

func TestAnActionWhileTemporalOrTheStoreManagerIsAwaySaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = true })
	resp := as(t, b, alice, "/stores/"+storeA+"/hold", `{"reason":"r"}`)
	require.Equal(t, 503, resp.Status)
	edgetest.RequireError(t, resp, "Temporal can't be reached")
	require.NotContains(t, resp.Body, "10.9.8.7")
	require.NoError(t, b.Registry.Close())
	for _, path := range []string{"/stores/" + storeA + "/cancel-deletion", "/admin/bulk"} {
		resp := as(t, b, alice, path, map[bool]string{true: `{"verb":"hold","ids":["store-a"],"reason":"r"}`, false: `{"reason":"r"}`}[path == "/admin/bulk"])
		require.Equal(t, 503, resp.Status, path)
		edgetest.RequireError(t, resp, "The store manager can't be asked")
	}
	require.Equal(t, 503, b.Get(t, "/audit").Status)
}

func TestABatchIsBoundByOneEntryAndOneFailureKeepsNoneOfTheOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Temporal.OnApply = func(_ context.Context, ev contract.Event) (contract.Result, error) {
		if ev.InstanceID == storeB {
			return contract.Result{}, edgetest.ErrDown
		}
		return contract.Result{Status: contract.StatusHeld}, nil
	}
	resp := as(t, b, alice, "/admin/bulk", `{"verb":"hold","ids":["store-a","store-b","store-c"],"reason":"export"}`)
	require.Equal(t, 200, resp.Status, resp.Body)
	answer := resp.JSON(t)
	require.InDelta(t, 1, answer["failed"], 0)
	results := answer["results"].([]any)
	require.Len(t, results, 3)
	require.Equal(t, "held", results[0].(map[string]any)["status"])
	require.Equal(t, "Temporal can't be reached", results[1].(map[string]any)["error"])
	require.Equal(t, "store-c", results[2].(map[string]any)["instanceId"])
	for _, ev := range b.Temporal.Applied() {
		require.Equal(t, answer["batch"], ev.Origin.Batch)
		require.Equal(t, "alice", ev.Origin.Actor)
	}
	page, err := b.Registry.Audit(t.Context(), storemanager.AuditQuery{Batch: answer["batch"].(string)})
	require.NoError(t, err)
	require.Len(t, page.Entries, 1)
	entry := page.Entries[0]
	require.Equal(t, storemanager.AuditBatch, entry.Kind)
	require.Equal(t, "hold", entry.Outcome)
	require.Equal(t, "alice", entry.Actor)
	require.Equal(t, "export", entry.Reason)
	require.Equal(t, []string{"store-a", "store-b", "store-c"}, entry.Evidence.StoreIDs)
}

func TestPausesOfSeveralStoresAreOneBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, verb := range []string{VerbPause, VerbResume} {
		resp := as(t, b, alice, "/admin/bulk", fmt.Sprintf(`{"verb":%q,"ids":["store-a","store-b"],"reason":"audit","batch":"b-1"}`, verb))
		require.Equal(t, 200, resp.Status, resp.Body)
		require.InDelta(t, 0, resp.JSON(t)["failed"], 0)
	}
	page, err := b.Registry.Audit(t.Context(), storemanager.AuditQuery{Batch: "b-1", OldestFirst: true})
	require.NoError(t, err)
	var kinds []storemanager.AuditKind
	for _, e := range page.Entries {
		require.Equal(t, "alice", e.Actor)
		kinds = append(kinds, e.Kind)
	}
	require.Equal(t, []storemanager.AuditKind{"batch", "pause", "pause", "batch", "resume", "resume"}, kinds)
}

func TestTheTrailIsShownInPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Ensure(t, storeA, storeB, "store-c")
	_, err := b.Registry.Hold(t.Context(), storeA, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "export", Actor: "ann"}})
	require.NoError(t, err)
	stores := func(path string) (ids []string, next any) {
		resp := b.Get(t, path)
		require.Equal(t, 200, resp.Status, resp.Body)
		for _, e := range resp.JSON(t)["entries"].([]any) {
			ids = append(ids, e.(map[string]any)["storeId"].(string))
		}
		return ids, resp.JSON(t)["nextCursor"]
	}
	ids, next := stores("/audit?limit=3")
	require.Equal(t, []string{storeA, "store-c", storeB}, ids)
	ids, last := stores(fmt.Sprintf("/audit?limit=3&cursor=%v", next))
	require.Equal(t, []string{storeA}, ids)
	require.Nil(t, last)
	ids, _ = stores("/audit?order=oldest&kind=ensure")
	require.Equal(t, []string{storeA, storeB, "store-c"}, ids)
	ids, _ = stores("/audit?actor=ann")
	require.Equal(t, []string{storeA}, ids)
	ids, _ = stores("/stores/" + storeA + "/history")
	require.Equal(t, []string{storeA, storeA}, ids)
	ids, _ = stores("/stores/nobody/history")
	require.Empty(t, ids)
	for path, want := range map[string]string{
		"/audit?kind=hould": `"hould" is no kind of entry`, "/audit?since=yesterday": "since yesterday is no RFC 3339 time", "/audit?limit=1001": "limit 1001",
		"/audit?cursor=x": "x is no cursor", "/audit?order=up": "order up is neither newest nor oldest", "/stores/ab/history": "not a valid store id",
	} {
		resp := b.Get(t, path)
		require.Equal(t, 400, resp.Status, path)
		require.Contains(t, strings.ReplaceAll(resp.JSON(t)["error"].(string), `"`, ""), strings.ReplaceAll(want, `"`, ""), path)
	}
}
