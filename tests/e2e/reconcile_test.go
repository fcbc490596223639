package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/demo"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/harness"
)

// admin adds an id to what the Auth Worker lists for the user, or takes it away, as an administrator does: no webhook tells of it.
func admin(in *harness.Installation, user *harness.User, id string, listed bool) {
	in.T.Helper()
	where := in.AuthURL + "/internal/admin/users/" + user.ID + "/instances"
	token := []string{"Content-Type", "application/json", "Authorization", "Bearer " + standalone.DemoBypassToken}
	var r harness.Response
	if listed {
		r = in.Do(http.MethodPost, where, fmt.Sprintf(`{"instanceId":%q}`, id), token...)
	} else {
		r = in.Do(http.MethodDelete, where+"?instanceId="+url.QueryEscape(id), "", token...)
	}
	require.Less(in.T, r.Code, 300, r.Body)
}

// monitored returns all monitored stores by their ids.
func monitored(t *testing.T, stores storemanager.Manager) map[string]storemanager.Store {
	t.Helper()
	all := map[string]storemanager.Store{}
	for cursor, more := "", true; more; {
		page, err := stores.List(t.Context(), storemanager.ListRequest{Cursor: cursor, Limit: storemanager.MaxBatch})
		require.NoError(t, err)
		for _, s := range page.Stores {
			s.Connection, s.Monitor = "", nil // no business of reconciliation
			all[s.ID] = s
		}
		cursor, more = page.NextCursor, page.NextCursor != ""
	}
	return all
}

// ids are those of the set, sorted.
func ids[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }

// reconcile runs one run that starts after the call, and returns its report.
func reconcile(in *harness.Installation, mode contract.Mode) (contract.ReconcileReport, error) {
	in.T.Helper()
	input := reconcileInput
	input.Mode = mode
	for {
		run, err := in.Orchestrator.StartReconcile(in.T.Context(), input)
		if err == nil {
			return run.Wait(in.T.Context())
		}
		// The one under way may be over now; how it ended does not matter.
		_ = in.Temporal.GetWorkflow(in.T.Context(), contract.ReconcileID, "").Get(in.T.Context(), nil)
	}
}

// setMonitored makes a store monitored, or ends that, as if somebody had done so of whom the Auth Worker knows nothing.
func setMonitored(t *testing.T, stores storemanager.Manager, id string, wanted bool) {
	t.Helper()
	now, owner := time.Now(), "test"
	if wanted {
		_, err := stores.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: now})
		require.NoError(t, err)
		return
	}
	begun, err := stores.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: id, At: now, DeleteAt: now, Owner: owner})
	require.NoError(t, err)
	if begun.Outcome == storemanager.DeletionScheduled {
		_, err = stores.Stop(t.Context(), storemanager.StopRequest{StoreID: id, Owner: owner, AbsentAt: now})
		require.NoError(t, err)
	}
}

func TestAFaultyListLeavesADriftAsItWas(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "DELETION_GRACE_PERIOD=0s", "RECONCILE_MAX_DELETE_PERCENT=100")
	missing, orphan := in.SignUpSilently(), uuid.NewString()
	setMonitored(t, in.Stores, orphan, true)
	_, err := reconcile(in, contract.ModeCreateOnly) // the next complete list would confirm the orphan
	require.NoError(t, err)
	setMonitored(t, in.Stores, missing, false)
	before := monitored(t, in.Stores)
	require.NotNil(t, before[orphan].UnlistedSince)

	for name, fault := range map[string]demo.Fault{ //nolint:paralleltest // one installation, one fault at a time
		"truncated":              demo.FaultTruncated,
		"failing":                demo.FaultFailing,
		"garbage":                demo.FaultGarbage,
		"an entry without an id": demo.FaultEntryWithoutID,
		"fewer than it claims":   demo.FaultFewerThanClaimed,
	} {
		t.Run(name, func(t *testing.T) {
			in.Auth.SetFault(fault)
			defer in.Auth.SetFault(demo.FaultNone)
			_, err := reconcile(in, "")
			require.Error(t, err)
			require.Equal(t, before, monitored(t, in.Stores))
		})
	}
	t.Run("empty", func(t *testing.T) {
		in.Auth.SetFault(demo.FaultEmpty)
		defer in.Auth.SetFault(demo.FaultNone)
		report, err := reconcile(in, "")
		require.NoError(t, err)
		require.Contains(t, report.Guard, "empty")
		require.Equal(t, before, monitored(t, in.Stores))
	})

	_, err = reconcile(in, "")
	require.NoError(t, err)
	in.Eventually("one right list is enough for all that was left", func() bool {
		return slices.Equal([]string{missing}, ids(monitored(t, in.Stores)))
	})
}

func TestARunDoesNoMoreThanItsModeAllows(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "DELETION_GRACE_PERIOD=0s", "RECONCILE_MODE=observe")
	missing, orphan := in.SignUpSilently(), uuid.NewString()
	setMonitored(t, in.Stores, orphan, true)
	for range 2 { // the second confirms what the first has sighted
		report, err := reconcile(in, "")
		require.NoError(t, err)
		require.Equal(t, contract.ModeObserve, report.Mode, "the setting's")
		require.Equal(t, 2, report.DriftCount)
		require.Zero(t, report.Added+report.Removed)
	}
	require.Equal(t, []string{orphan}, ids(monitored(t, in.Stores)))

	report, err := reconcile(in, contract.ModeCreateOnly)
	require.NoError(t, err)
	require.Equal(t, 1, report.Added)
	require.Equal(t, 1, report.Orphaned, "it says what it would have removed")
	require.Zero(t, report.Removed)
	require.Contains(t, monitored(t, in.Stores), missing)
	require.Contains(t, monitored(t, in.Stores), orphan)

	report, err = reconcile(in, contract.ModeFull)
	require.NoError(t, err)
	require.Equal(t, 1, report.Removed)
	in.Eventually("the orphan goes", func() bool { return slices.Equal([]string{missing}, ids(monitored(t, in.Stores))) })
}

func TestAPausedReconciliationRepairsNothingAndResumesByItself(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WORKSPACE_RECONCILE_INTERVAL_MS=1000")
	expiry := time.Now().Add(5 * time.Second)
	pause, err := in.Stores.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{Reason: "maintenance", Actor: "ann", ExpiresAt: &expiry}})
	require.NoError(t, err)
	missing := in.SignUpSilently()
	in.Eventually("a run has found it and left it", func() bool {
		known, err := in.Stores.Reconciliation(t.Context())
		require.NoError(t, err)
		var report contract.ReconcileReport
		require.NoError(t, json.Unmarshal(known.Recent[0].Report, &report))
		return report.Missing == 1 && report.Paused == "ann: maintenance" && report.Mode == contract.ModeObserve && report.Added == 0
	})
	in.Eventually("the schedule repairs again", func() bool { return in.Monitored(missing) })
	store, err := in.Stores.Get(t.Context(), missing)
	require.NoError(t, err)
	require.False(t, store.FirstMonitoredAt.Before(*pause.ExpiresAt), "not before the pause ends")
}

func TestAPausedStoreIsLeftAloneAndNoOther(t *testing.T) {
	t.Parallel()
	in := harness.Start(t)
	paused, other := in.SignUpSilently(), in.SignUpSilently()
	_, err := in.Stores.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: paused, Reason: "being migrated", Actor: "ann"}})
	require.NoError(t, err)
	report, err := reconcile(in, "")
	require.NoError(t, err)
	require.Equal(t, 1, report.Skipped.Paused)
	require.Equal(t, []string{other}, ids(monitored(t, in.Stores)))
	require.NoError(t, in.Stores.Resume(t.Context(), storemanager.ResumeRequest{StoreID: paused}))
	_, err = reconcile(in, "")
	require.NoError(t, err)
	require.True(t, in.Monitored(paused))
}

// longList is an Auth Worker with nothing but a list of workspaces.
type longList struct {
	asked   chan struct{} // gets an element when the list has been asked for and its content is settled
	release chan struct{} // the answer waits until it is closed; nil: it does not wait
	body    []byte
}

// withList returns s for workers that ask for a list of so many workspaces.
func withList(t *testing.T, s *split, workspaces int, l *longList) *split {
	t.Helper()
	type entry struct {
		InstanceID string `json:"instanceId"`
	}
	list := struct {
		Workspaces []entry        `json:"workspaces"`
		Metadata   map[string]int `json:"metadata"`
	}{Metadata: map[string]int{"totalWorkspaces": workspaces}}
	for range workspaces {
		list.Workspaces = append(list.Workspaces, entry{uuid.NewString()})
	}
	var err error
	l.body, err = json.Marshal(list)
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case l.asked <- struct{}{}:
		default:
		}
		if l.release != nil {
			select {
			case <-l.release:
			case <-r.Context().Done():
			}
		}
		_, _ = w.Write(l.body) // fails only when the worker has gone
	}))
	t.Cleanup(server.Close)
	other := *s // the edge under way has the original
	other.authURL = server.URL
	other.auth, err = authclient.New(authclient.Options{BaseURL: server.URL, Token: httpclient.Fixed(standalone.DemoBypassToken), ListMaxAge: time.Second})
	require.NoError(t, err)
	return &other
}

func TestAWorkspaceCreatedWhileTheListIsInFlightIsNoOrphan(t *testing.T) {
	t.Parallel()
	list := &longList{asked: make(chan struct{}, 1), release: make(chan struct{})}
	s := withList(t, startSplit(t, "WEBHOOK_WAIT=30s", "DELETION_GRACE_PERIOD=0s"), 3, list)
	s.startWorker(t)
	run, err := s.Orchestrator.JoinReconcile(t.Context(), reconcileInput)
	require.NoError(t, err)
	<-list.asked
	// Its event is late: by its time stamp the workspace is older than the list that lacks it.
	id := uuid.NewString()
	require.Equal(t, "monitoring_started", s.Webhook("workspace.created", id, time.Now().Add(-time.Minute)).JSON("status"))
	close(list.release)
	report, err := run.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, report.Added)
	require.Equal(t, 1, report.Skipped.TooYoung)
	require.Zero(t, report.FirstSightings+report.Orphaned+report.Removed)
	require.True(t, s.Monitored(id))
	store, err := s.Stores.Get(t.Context(), id)
	require.NoError(t, err)
	require.Nil(t, store.UnlistedSince, "the list says nothing of it, so it is not even a first sighting")
}

func TestARepairGoesOnWhereItWasWhenItsWorkerIsGone(t *testing.T) {
	t.Parallel()
	const (
		missing = 3000
		unsure  = 1000 // the batch under way, and what was done since Temporal was told the last time
	)
	s := withList(t, startSplit(t), missing, &longList{})
	stop := s.startWorker(t)
	run, err := s.Orchestrator.JoinReconcile(t.Context(), reconcileInput)
	require.NoError(t, err)
	count := func() int {
		o, err := s.Stores.Overview(t.Context())
		require.NoError(t, err)
		return o.Monitored
	}
	s.Eventually("the repair is in the middle", func() bool { return count() > missing/2 })
	stop()
	done := count()
	require.Less(t, done, missing, "it was not in the middle any more")
	progress, err := s.Orchestrator.ReconcileProgress(t.Context(), run)
	require.NoError(t, err)
	require.NotNil(t, progress)
	require.GreaterOrEqual(t, progress.Done, done-unsure, "Temporal knows how far the worker got")

	s.startWorker(t)
	report, err := run.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, missing, report.Added)
	require.Equal(t, 1, report.Rounds)
	twice := 0
	for _, store := range monitored(t, s.Stores) {
		if !store.LastEnsuredAt.Equal(*store.FirstMonitoredAt) {
			twice++
		}
	}
	require.LessOrEqual(t, twice, unsure, "it did not begin again")
}

func TestANewWorkspaceDoesNotWaitForARepairOfTenThousand(t *testing.T) {
	t.Parallel()
	const missing = 10_000
	s := withList(t, startSplit(t, "WEBHOOK_WAIT=30s"), missing, &longList{})
	s.startWorker(t)
	run, err := s.Orchestrator.JoinReconcile(t.Context(), reconcileInput)
	require.NoError(t, err)
	count := func() int {
		o, err := s.Stores.Overview(t.Context())
		require.NoError(t, err)
		return o.Monitored
	}
	s.Eventually("the repair has begun", func() bool { return count() > 0 })
	var longest time.Duration
	for range 5 {
		started := time.Now()
		require.Equal(t, "monitoring_started", s.Webhook("workspace.created", uuid.NewString(), started).JSON("status"))
		longest = max(longest, time.Since(started))
	}
	require.Less(t, count(), missing, "the repair was over: nothing had to be overtaken")
	t.Logf("the slowest webhook was answered after %s", longest)
	require.Less(t, longest, harness.Patience/4)
	require.NoError(t, s.client.CancelWorkflow(context.WithoutCancel(t.Context()), contract.ReconcileID, run.ID()))
}
