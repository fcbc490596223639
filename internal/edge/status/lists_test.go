package status

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/orchestrator"
)

const refused = "the auth worker answered with status 403: no user of " + storeA

// lists is what /health says of the Auth Worker.
func (f *fixture) lists(t *testing.T, headers ...string) map[string]any {
	t.Helper()
	return f.Do(t, http.MethodGet, "/health", "", headers...).JSON(t)["checks"].(map[string]any)["authWorker"].(map[string]any)
}

func TestHealthKnowsOfTheNewestListAndOfTheNextTry(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	f := setup(t, func(f *fixture) {
		f.Auth.Is = &authclient.Status{
			ListAt: now.Add(-time.Hour), EndedAt: now.Add(-time.Minute), NextAt: now.Add(30 * time.Second), QuietUntil: now.Add(30 * time.Second),
			Err: &authclient.StatusError{Code: http.StatusTooManyRequests, Message: "Too many requests"},
		}
	})
	got := f.lists(t)
	require.Equal(t, map[string]any{
		"ok":     false,
		"error":  "the Auth Worker has had too many requests, and is left alone until " + now.Add(30*time.Second).Format(time.RFC3339),
		"listAt": now.Add(-time.Hour).Format(time.RFC3339), "checkedAt": now.Add(-time.Minute).Format(time.RFC3339),
		"nextAttemptAt": now.Add(30 * time.Second).Format(time.RFC3339), "quietUntil": now.Add(30 * time.Second).Format(time.RFC3339),
	}, got)
	require.Equal(t, "the auth worker answered with status 429: Too many requests", f.lists(t, "Authorization", "Bearer "+token)["detail"])
}

func TestAnEdgeApartFromTheWorkersLearnsOfAFailedListFromTheRunUnderWay(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	f := setup(t, func(f *fixture) { f.Auth = nil })
	require.Equal(t, true, f.lists(t)["ok"], "nobody has asked yet")

	f.Temporal.Set(func(o *edgetest.Orchestrator) {
		o.List = &orchestrator.ListAttempt{EndedAt: now, Failure: refused, NextAt: now.Add(30 * time.Second)}
	})
	resp := f.Do(t, http.MethodGet, "/health", "", "Authorization", "Bearer "+token)
	require.Equal(t, 503, resp.Status)
	require.Equal(t, []any{"authWorker: the Auth Worker refused the token"}, resp.JSON(t)["reasons"])
	require.Equal(t, refused, f.lists(t, "Authorization", "Bearer "+token)["detail"])
	require.Equal(t, now.Add(30*time.Second).Format(time.RFC3339), f.lists(t)["nextAttemptAt"])
	require.NotContains(t, f.Do(t, http.MethodGet, "/health", "").Body, storeA)

	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.List = &orchestrator.ListAttempt{EndedAt: now.Add(time.Second)} })
	require.Equal(t, true, f.lists(t, "Authorization", "Bearer "+token)["ok"], "the next attempt gave a list, which is being repaired from")
}

func TestAnEdgeApartFromTheWorkersGoesByTheNewestRun(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	f := setup(t, func(f *fixture) {
		f.Auth, f.Config.ReconcileInterval = nil, config.Milliseconds(time.Hour)
		f.Temporal.Every = 10 * time.Minute // what the workers have been told counts
	})
	ok := func() any { return f.lists(t, "Authorization", "Bearer "+token)["ok"] }

	f.Record(t, "r1", refused, contract.ReconcileReport{CompletedAt: at(-50)})
	require.Equal(t, false, ok())
	next, err := time.Parse(time.RFC3339, f.lists(t)["nextAttemptAt"].(string))
	require.NoError(t, err)
	require.WithinRange(t, next, now, now.Add(11*time.Minute))
	require.Zero(t, next.Unix()%600, "the schedule's next time")

	f.Record(t, "r2", "database is locked", contract.ReconcileReport{CompletedAt: at(-40)})
	require.Equal(t, false, ok(), "a run that failed before it asked says nothing")
	f.Record(t, "r3", "", contract.ReconcileReport{CompletedAt: at(-30), ListAt: at(-31)})
	require.Equal(t, true, ok())
	f.Record(t, "r4", "the store manager can't be reached", contract.ReconcileReport{CompletedAt: at(-20), ListAt: at(-22)})
	require.Equal(t, true, ok(), "the list was not what failed")
	f.Record(t, "r5", "the workspace list is damaged: it is cut off", contract.ReconcileReport{CompletedAt: at(-10)})
	require.Equal(t, false, ok())
	require.Equal(t, at(-31).UTC().Format(time.RFC3339), f.lists(t)["listAt"])
	f.Record(t, "r6", "", contract.ReconcileReport{CompletedAt: at(-1), ListAt: at(-3600)})
	require.Equal(t, true, ok(), "an old list out of a cache, but a newer run")
}

func TestTheNewestNewsOfAListCountsWhoeverHasIt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := setup(t, func(f *fixture) {
		f.Auth.Is = &authclient.Status{EndedAt: now.Add(-5 * time.Second), Err: &authclient.StatusError{Code: 401}}
		f.Temporal.List = &orchestrator.ListAttempt{EndedAt: now.Add(-10 * time.Second)}
	})
	require.Equal(t, false, f.lists(t)["ok"], "a re-check of this process failed since")
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.List.EndedAt = now })
	require.Equal(t, true, f.lists(t, "Authorization", "Bearer "+token)["ok"])
	f.Temporal.Set(func(o *edgetest.Orchestrator) {
		o.List.EndedAt, o.List.Failure = now.Add(time.Second), "store manager: it can't be reached"
	})
	require.Equal(t, false, f.lists(t, "Authorization", "Bearer "+token)["ok"], "what failed was no list, and says nothing of one")
}

func TestNoNextTryIsPromisedWhileTheScheduleIsPaused(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Paused, f.Temporal.Every = true, time.Minute })
	require.Nil(t, f.lists(t)["nextAttemptAt"])
	f = setup(t, func(f *fixture) { f.Temporal.Every = time.Minute })
	require.NotNil(t, f.lists(t)["nextAttemptAt"])
	f = setup(t)
	require.Nil(t, f.lists(t)["nextAttemptAt"], "no worker has created one yet")
}

func TestOneListThatFailedForWhatMayPassIsAWarning(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := setup(t, func(f *fixture) {
		f.Config.ReconcileInterval = config.Milliseconds(10 * time.Minute)
		f.Auth.Is = &authclient.Status{ListAt: now.Add(-time.Minute), EndedAt: now, Err: &authclient.StatusError{Code: http.StatusTooManyRequests}}
	})
	resp := f.Get(t, "/health")
	require.Equal(t, 200, resp.Status, resp.Body)
	require.Equal(t, []any{"authWorker: the Auth Worker has had too many requests"}, resp.JSON(t)["warnings"])
	require.Equal(t, false, f.lists(t)["ok"])

	for why, status := range map[string]authclient.Status{
		"a token that is refused does not pass": {ListAt: now.Add(-time.Minute), EndedAt: now, Err: &authclient.StatusError{Code: http.StatusForbidden}},
		"no list for two intervals":             {ListAt: now.Add(-21 * time.Minute), EndedAt: now, Err: authclient.ErrDamaged},
		"no list ever":                          {EndedAt: now, Err: authclient.ErrTimeout},
	} {
		f := setup(t, func(f *fixture) {
			f.Config.ReconcileInterval, f.Auth.Is = config.Milliseconds(10*time.Minute), &status
		})
		require.Equal(t, 503, f.Get(t, "/health").Status, why)
	}
}
