package e2e_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
)

func TestACreatedWorkspaceIsMonitored(t *testing.T) {
	t.Parallel()
	in := harness.Start(t)
	user := in.SignUp()
	id := user.Create()
	in.Eventually("the default workspace is monitored", func() bool { return in.Monitored(user.Default) })
	in.Eventually("the new workspace is monitored", func() bool { return in.Monitored(id) })

	in.Eventually("and connected to the sync backend", func() bool {
		return in.Edge(http.MethodGet, "/stores/"+id).JSON("status") == "connected"
	})
}

func TestALostWebhookIsRepairedByReconciliation(t *testing.T) {
	t.Parallel()
	in := harness.Start(t)
	in.Auth.SetWebhooksLost(true)
	user := in.SignUp()
	id := user.Create()
	r := in.Reconcile()
	require.Equal(t, http.StatusOK, r.Code, r.Body)
	require.EqualValues(t, 2, r.JSON("result.added"))
	require.True(t, in.Monitored(id))
	require.EqualValues(t, 0, in.Reconcile().JSON("result.driftCount"))
}

func TestTheScheduleRepairsWithoutBeingAsked(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WORKSPACE_RECONCILE_INTERVAL_MS=1000")
	in.Auth.SetWebhooksLost(true)
	user := in.SignUp()
	in.Eventually("the schedule finds the workspace", func() bool { return in.Monitored(user.Default) })
}

func TestADeletedWorkspaceIsPendingAndThenStopped(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "DELETION_GRACE_PERIOD=2s")
	user := in.SignUp()
	id := user.Create()
	in.Eventually("monitored", func() bool { return in.Monitored(id) })
	user.Delete(id)
	in.Eventually("pending", func() bool {
		r := in.Edge(http.MethodGet, "/stores/"+id)
		return r.JSON("lifecycle.state") == contract.StateDeletionPending && r.JSON("deletion.deleteAt") != nil
	})
	require.True(t, in.Monitored(id), "it stays monitored during the grace period")
	deleteAt, err := time.Parse(time.RFC3339, in.Edge(http.MethodGet, "/stores/"+id).JSON("deletion.deleteAt").(string))
	require.NoError(t, err)
	in.Eventually("stopped", func() bool { return !in.Monitored(id) })
	require.False(t, time.Now().Before(deleteAt))
}

func TestADeletionWithoutAGracePeriodIsAnsweredWithItsEnd(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "DELETION_GRACE_PERIOD=0s", "WEBHOOK_WAIT=30s")
	id := uuid.NewString()
	require.Equal(t, "monitoring_started", in.Webhook("workspace.created", id, time.Now()).JSON("status"))
	r := in.Webhook("workspace.deleted", id, time.Now())
	require.Equal(t, http.StatusOK, r.Code)
	require.Equal(t, "monitoring_stopped", r.JSON("status"))
	require.Equal(t, "already_stopped", in.Webhook("workspace.deleted", id, time.Now()).JSON("status"))
	require.False(t, in.Monitored(id))
}

func TestACancelledDeletionIsKeptAndNotScheduledAgain(t *testing.T) {
	t.Parallel()
	in := harness.Start(t)
	user := in.SignUp()
	id := user.Create()
	in.Eventually("monitored", func() bool { return in.Monitored(id) })
	user.Delete(id)
	in.Eventually("pending", func() bool { return in.Edge(http.MethodGet, "/stores/"+id).JSON("deletion") != nil })

	result, err := in.Orchestrator.CancelDeletion(t.Context(), id, contract.Cancellation{Reason: "customer called", Actor: "ann"})
	require.NoError(t, err)
	require.Equal(t, contract.StatusDeletionCancelled, result.Status)
	for range 3 {
		r := in.Reconcile()
		require.EqualValues(t, 0, r.JSON("result.removed"), r.Body)
		require.EqualValues(t, 1, r.JSON("result.skipped.held"), r.Body)
	}
	r := in.Edge(http.MethodGet, "/stores/"+id)
	require.Nil(t, r.JSON("deletion"))
	require.Equal(t, "customer called", r.JSON("hold.reason"))
	require.True(t, in.Monitored(id))
}

func TestTenParallelCreationsOfOneWorkspaceProvisionItOnce(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WEBHOOK_WAIT=30s")
	id, at := uuid.NewString(), time.Now()
	statuses := make([]any, 10)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() { statuses[i] = in.Webhook("workspace.created", id, at).JSON("status") })
	}
	wg.Wait()
	count := map[any]int{}
	for _, s := range statuses {
		count[s]++
	}
	require.Equal(t, map[any]int{"monitoring_started": 1, "already_monitored": 9}, count)
	require.EqualValues(t, 1, in.Do(http.MethodGet, in.EdgeURL+"/health", "").JSON("orchestrator.totalProvisioned"))
}

func TestACreationThatArrivesAfterItsDeletionDoesNotBringTheStoreBack(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WEBHOOK_WAIT=30s")
	id := uuid.NewString()
	created := time.Now()
	require.Equal(t, "already_stopped", in.Webhook("workspace.deleted", id, created.Add(time.Second)).JSON("status"))
	r := in.Webhook("workspace.created", id, created)
	require.Equal(t, http.StatusOK, r.Code)
	require.Equal(t, "stale_ignored", r.JSON("status"))
	require.False(t, in.Monitored(id))
}

func TestAWebhookIsAcceptedAndTakesEffectWhenTheOutcomeIsLate(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WEBHOOK_WAIT=0s")
	id := uuid.NewString()
	r := in.Webhook("workspace.created", id, time.Now())
	require.Equal(t, http.StatusAccepted, r.Code)
	require.Equal(t, "accepted", r.JSON("status"))
	in.Eventually("monitored", func() bool { return in.Monitored(id) })
}

func TestOrphansAreStoppedAfterTwoListsAndTheGracePeriod(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "DELETION_GRACE_PERIOD=1s")
	in.SignUp()
	orphan := uuid.NewString()
	in.Webhook("workspace.created", orphan, time.Now())
	in.Eventually("monitored", func() bool { return in.Monitored(orphan) })

	first := in.Reconcile()
	require.EqualValues(t, 1, first.JSON("result.firstSightings"), first.Body)
	require.EqualValues(t, 0, first.JSON("result.removed"))
	second := in.Reconcile()
	require.EqualValues(t, 1, second.JSON("result.removed"), second.Body)
	in.Eventually("stopped", func() bool { return !in.Monitored(orphan) })
}

func TestPinnedStoresAreEnsuredAndSurviveReconciliation(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "STORE_IDS=pinned-one,pinned-two")
	in.SignUp()
	for range 3 {
		require.EqualValues(t, 2, in.Reconcile().JSON("result.skipped.pinned"))
	}
	require.True(t, in.Monitored("pinned-one"))

	require.NoError(t, in.Stores.SetPins(t.Context(), []string{"pinned-two"}), "what a restart with a shorter list does")
	in.Reconcile()
	in.Reconcile()
	in.Eventually("the released store is pending deletion", func() bool {
		return in.Edge(http.MethodGet, "/stores/pinned-one").JSON("deletion") != nil
	})
}

func TestStoresArePaged(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "STORE_IDS=aaa,bbb,ccc")
	var seen []string
	path := "/stores?limit=2"
	for path != "" {
		r := in.Edge(http.MethodGet, path)
		require.Equal(t, http.StatusOK, r.Code)
		var page struct {
			Stores     []struct{ ID string }
			NextCursor string
		}
		require.NoError(t, json.Unmarshal([]byte(r.Body), &page))
		for _, s := range page.Stores {
			seen = append(seen, s.ID)
		}
		if path = ""; page.NextCursor != "" {
			path = "/stores?limit=2&cursor=" + page.NextCursor
		}
	}
	require.Equal(t, []string{"aaa", "bbb", "ccc"}, seen)
}

func TestNoSecretIsAnywhere(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "LOG_LEVEL=debug")
	user := in.SignUp()
	in.Eventually("monitored", func() bool { return in.Monitored(user.Default) })
	in.Reconcile()
	texts := map[string]string{
		"logs":    in.Logs.String(),
		"metrics": in.Do(http.MethodGet, in.EdgeURL+"/metrics", "").Body,
		"health":  in.Do(http.MethodGet, in.EdgeURL+"/health", "").Body,
		"stores":  in.Edge(http.MethodGet, "/stores").Body,
	}
	for _, id := range []string{contract.LifecycleID(user.Default), contract.ReconcileID} {
		texts["history of "+id] = history(t, in, id)
	}
	for where, text := range texts {
		require.NotEmpty(t, text, where)
		require.NotContains(t, text, standalone.DemoWebhookSecret, where)
		require.NotContains(t, text, standalone.DemoBypassToken, where)
	}
	require.NotContains(t, texts["health"], user.Default, "no ids without a token")
}

func history(t *testing.T, in *harness.Installation, id string) string {
	t.Helper()
	var text string
	events := in.Temporal.GetWorkflowHistory(t.Context(), id, "", false, 0)
	for events.HasNext() {
		ev, err := events.Next()
		require.NoError(t, err)
		text += ev.String()
	}
	return text
}
