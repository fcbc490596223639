package edge

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/orchestrator"
)

const refused = "the auth worker answered with status 403: no user of " + storeA

// lists is what /health says of the Auth Worker.
func (f *fixture) lists(t *testing.T, headers ...string) map[string]any {
	t.Helper()
	return f.do(t, http.MethodGet, "/health", "", headers...).json(t)["checks"].(map[string]any)["authWorker"].(map[string]any)
}

func TestHealthKnowsOfTheNewestListAndOfTheNextTry(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	f := setup(t, func(f *fixture) {
		f.auth.status = &authclient.Status{
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
	f := setup(t, func(f *fixture) { f.auth = nil })
	require.Equal(t, true, f.lists(t)["ok"], "nobody has asked yet")

	f.temporal.set(func(o *fakeOrchestrator) {
		o.list = &orchestrator.ListAttempt{EndedAt: now, Failure: refused, NextAt: now.Add(30 * time.Second)}
	})
	resp := f.do(t, http.MethodGet, "/health", "", "Authorization", "Bearer "+token)
	require.Equal(t, 503, resp.status)
	require.Equal(t, []any{"authWorker: the Auth Worker refused the token"}, resp.json(t)["reasons"])
	require.Equal(t, refused, f.lists(t, "Authorization", "Bearer "+token)["detail"])
	require.Equal(t, now.Add(30*time.Second).Format(time.RFC3339), f.lists(t)["nextAttemptAt"])
	require.NotContains(t, f.do(t, http.MethodGet, "/health", "").body, storeA)

	f.temporal.set(func(o *fakeOrchestrator) { o.list = &orchestrator.ListAttempt{EndedAt: now.Add(time.Second)} })
	require.Equal(t, true, f.lists(t, "Authorization", "Bearer "+token)["ok"], "the next attempt gave a list, which is being repaired from")
}

func TestAnEdgeApartFromTheWorkersGoesByTheNewestRun(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	f := setup(t, func(f *fixture) {
		f.auth, f.config.ReconcileInterval = nil, config.Milliseconds(time.Hour)
		f.temporal.every = 10 * time.Minute // what the workers have been told counts
	})
	ok := func() any { return f.lists(t, "Authorization", "Bearer "+token)["ok"] }

	f.record(t, "r1", refused, contract.ReconcileReport{CompletedAt: at(-50)})
	require.Equal(t, false, ok())
	next, err := time.Parse(time.RFC3339, f.lists(t)["nextAttemptAt"].(string))
	require.NoError(t, err)
	require.WithinRange(t, next, now, now.Add(11*time.Minute))
	require.Zero(t, next.Unix()%600, "the schedule's next time")

	f.record(t, "r2", "database is locked", contract.ReconcileReport{CompletedAt: at(-40)})
	require.Equal(t, false, ok(), "a run that failed before it asked says nothing")
	f.record(t, "r3", "", contract.ReconcileReport{CompletedAt: at(-30), ListAt: at(-31)})
	require.Equal(t, true, ok())
	f.record(t, "r4", "the store manager can't be reached", contract.ReconcileReport{CompletedAt: at(-20), ListAt: at(-22)})
	require.Equal(t, true, ok(), "the list was not what failed")
	f.record(t, "r5", "the workspace list is damaged: it is cut off", contract.ReconcileReport{CompletedAt: at(-10)})
	require.Equal(t, false, ok())
	require.Equal(t, at(-31).UTC().Format(time.RFC3339), f.lists(t)["listAt"])
	f.record(t, "r6", "", contract.ReconcileReport{CompletedAt: at(-1), ListAt: at(-3600)})
	require.Equal(t, true, ok(), "an old list out of a cache, but a newer run")
}

func TestTheNewestNewsOfAListCountsWhoeverHasIt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := setup(t, func(f *fixture) {
		f.auth.status = &authclient.Status{EndedAt: now.Add(-5 * time.Second), Err: &authclient.StatusError{Code: 401}}
		f.temporal.list = &orchestrator.ListAttempt{EndedAt: now.Add(-10 * time.Second)}
	})
	require.Equal(t, false, f.lists(t)["ok"], "a re-check of this process failed since")
	f.temporal.set(func(o *fakeOrchestrator) { o.list.EndedAt = now })
	require.Equal(t, true, f.lists(t, "Authorization", "Bearer "+token)["ok"])
	f.temporal.set(func(o *fakeOrchestrator) {
		o.list.EndedAt, o.list.Failure = now.Add(time.Second), "store manager: it can't be reached"
	})
	require.Equal(t, false, f.lists(t, "Authorization", "Bearer "+token)["ok"], "what failed was no list, and says nothing of one")
}

func TestNoNextTryIsPromisedWhileTheScheduleIsPaused(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.temporal.paused, f.temporal.every = true, time.Minute })
	require.Nil(t, f.lists(t)["nextAttemptAt"])
	f = setup(t, func(f *fixture) { f.temporal.every = time.Minute })
	require.NotNil(t, f.lists(t)["nextAttemptAt"])
	f = setup(t)
	require.Nil(t, f.lists(t)["nextAttemptAt"], "no worker has created one yet")
}

func TestOneListThatFailedForWhatMayPassIsAWarning(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := setup(t, func(f *fixture) {
		f.config.ReconcileInterval = config.Milliseconds(10 * time.Minute)
		f.auth.status = &authclient.Status{ListAt: now.Add(-time.Minute), EndedAt: now, Err: &authclient.StatusError{Code: http.StatusTooManyRequests}}
	})
	resp := f.get(t, "/health")
	require.Equal(t, 200, resp.status, resp.body)
	require.Equal(t, []any{"authWorker: the Auth Worker has had too many requests"}, resp.json(t)["warnings"])
	require.Equal(t, false, f.lists(t)["ok"])

	for why, status := range map[string]authclient.Status{
		"a token that is refused does not pass": {ListAt: now.Add(-time.Minute), EndedAt: now, Err: &authclient.StatusError{Code: http.StatusForbidden}},
		"no list for two intervals":             {ListAt: now.Add(-21 * time.Minute), EndedAt: now, Err: authclient.ErrDamaged},
		"no list ever":                          {EndedAt: now, Err: authclient.ErrTimeout},
	} {
		f := setup(t, func(f *fixture) {
			f.config.ReconcileInterval, f.auth.status = config.Milliseconds(10*time.Minute), &status
		})
		require.Equal(t, 503, f.get(t, "/health").status, why)
	}
}
