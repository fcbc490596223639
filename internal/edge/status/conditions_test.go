package status

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

func TestConditionsSayHowAStoreIs(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(minutes int) *time.Time { return new(now.Add(time.Duration(minutes) * time.Minute)) }
	monitored := func(change func(*storemanager.Store)) storemanager.Store {
		st := storemanager.Store{
			ID: storeA, State: storemanager.StateMonitored, Connection: storemanager.ConnectionConnected, FirstMonitoredAt: at(-60),
			Monitor: &storemanager.MonitorStatus{Since: *at(-30), ConnectedAt: at(-30)},
		}
		change(&st)
		return st
	}
	stuck := func(st *storemanager.Store) {
		st.Connection = storemanager.ConnectionStuck
		st.Monitor.Since, st.Monitor.NextAttemptAt = *at(-5), at(1)
		st.Monitor.Reason = "the sink takes nothing"
	}
	failing := func(st *storemanager.Store) {
		st.Failing = &storemanager.Failure{Since: *at(-9), Attempts: 4, LastError: "the node server can't be reached", NextAttemptAt: *at(2)}
	}
	deletion := func(deleteAt *time.Time) func(*storemanager.Store) {
		return func(st *storemanager.Store) {
			st.Deletion = &storemanager.Deletion{EventAt: *at(-20), DeleteAt: *deleteAt, Owner: "run"}
		}
	}
	pause := func(since int, until *time.Time) *storemanager.Pause {
		return &storemanager.Pause{Reason: "audit", Actor: "ann", Since: *at(since), ExpiresAt: until}
	}
	no := func(c api.ConditionType, reason string) api.Condition { return api.Condition{Type: c, Reason: reason} }
	protected := api.Condition{
		Type: api.ConditionDrifted, Unknown: true, Reason: "Protected",
		Message: "reconciliation takes no note of what lists lack while the store is held, pinned or paused, or its deletion is pending",
	}
	for name, tt := range map[string]struct {
		store     storemanager.Store
		all       *storemanager.Pause
		lifecycle *contract.LifecycleStatus
		auth      string
		// want are those of interest; every other is as with a healthy store.
		want []api.Condition
	}{
		"a healthy store": {store: monitored(func(*storemanager.Store) {})},
		"a tombstone": {
			store: storemanager.Store{State: storemanager.StateStopped, Connection: storemanager.ConnectionStopped, LastStoppedAt: at(-1)},
			want:  []api.Condition{{Type: api.ConditionProvisioned, Reason: "Stopped", Since: at(-1)}, no(api.ConditionConnected, "Stopped")},
		},
		"without monitors": {
			store: monitored(func(st *storemanager.Store) { st.Connection, st.Monitor = storemanager.ConnectionNotConfigured, nil }),
			want:  []api.Condition{no(api.ConditionConnected, "NotConfigured")},
		},
		"the backend is away": {
			store: monitored(func(st *storemanager.Store) {
				st.Connection = storemanager.ConnectionDisconnected
				st.Monitor = &storemanager.MonitorStatus{
					Since: *at(-3), NextAttemptAt: at(1), Reason: "fell silent", History: []storemanager.ConnectionChange{{Reason: "first"}},
				}
			}),
			want: []api.Condition{{Type: api.ConditionConnected, Reason: "Disconnected", Message: "fell silent", Since: at(-3), NextAttempt: at(1)}},
		},
		"a stuck store keeps its subscription and has stalled": {
			store: monitored(stuck),
			want: []api.Condition{
				{Type: api.ConditionConnected, Status: true, Reason: "Stuck", Message: "the sink takes nothing", Since: at(-30), NextAttempt: at(1)},
				{Type: api.ConditionStalled, Status: true, Reason: "EventsStuck", Message: "the sink takes nothing", Since: at(-5), NextAttempt: at(1)},
			},
		},
		"a store whose repair fails is not provisioned and has stalled": {
			store: monitored(failing),
			want: []api.Condition{
				{
					Type: api.ConditionProvisioned, Reason: "RepairFailing", Message: "the node server can't be reached (attempts: 4)",
					Since: at(-9), NextAttempt: at(2),
				},
				{
					Type: api.ConditionStalled, Status: true, Reason: "RepairFailing", Message: "the node server can't be reached (attempts: 4)",
					Since: at(-9), NextAttempt: at(2),
				},
			},
		},
		"a store that the list lacks": {
			store: monitored(func(st *storemanager.Store) { st.UnlistedSince = at(-7) }),
			want: []api.Condition{{
				Type: api.ConditionDrifted, Status: true, Reason: "NotListed", Message: "the Auth Worker's list lacks the workspace", Since: at(-7),
			}},
		},
		"a deletion in its grace period": {
			store:     monitored(deletion(at(10))),
			lifecycle: &contract.LifecycleStatus{Deletion: &contract.PendingDeletion{Source: contract.SourceWebhook}},
			want: []api.Condition{protected, {
				Type: api.ConditionDeletionPending, Status: true, Reason: "GracePeriod", Since: at(-20), NextAttempt: at(10),
				Message: "the store is to be stopped when the grace period ends and a re-check agrees; asked for by webhook",
			}},
		},
		"a deletion that is due has not stalled yet, and no next attempt": {
			store:     monitored(deletion(at(-1))),
			lifecycle: &contract.LifecycleStatus{Deletion: &contract.PendingDeletion{Source: contract.SourceWebhook}},
			want: []api.Condition{protected, {
				Type: api.ConditionDeletionPending, Status: true, Reason: "Recheck", Since: at(-20),
				Message: "the grace period has ended, the re-check with the Auth Worker is under way; asked for by webhook",
			}},
		},
		"a deletion that is overdue because the Auth Worker can't be asked": {
			store: monitored(deletion(at(-2))), auth: "the Auth Worker can't be reached",
			lifecycle: &contract.LifecycleStatus{Deletion: &contract.PendingDeletion{Source: contract.SourceReconcile}},
			want: []api.Condition{
				protected,
				{
					Type: api.ConditionDeletionPending, Status: true, Reason: "Recheck", Since: at(-20),
					Message: "the grace period has ended, and the re-check waits: the Auth Worker can't be reached; asked for by reconcile",
				},
				{
					Type: api.ConditionStalled, Status: true, Reason: "DeletionOverdue", Since: at(-2),
					Message: "the store is not stopped: the grace period has ended, and the re-check waits: the Auth Worker can't be reached",
				},
			},
		},
		"a deletion that is overdue and that nobody works at": {
			store: monitored(deletion(at(-2))),
			want: []api.Condition{
				protected,
				{
					Type: api.ConditionDeletionPending, Status: true, Reason: "Recheck", Since: at(-20),
					Message: "the grace period has ended, and no re-check is known to be under way",
				},
				{
					Type: api.ConditionStalled, Status: true, Reason: "DeletionOverdue", Since: at(-2),
					Message: "the store is not stopped: the grace period has ended, and no re-check is known to be under way",
				},
			},
		},
		"a pinned store": {store: monitored(func(st *storemanager.Store) { st.Pinned = true }), want: []api.Condition{protected}},
		"a held store that the list lacked before": {
			store: monitored(func(st *storemanager.Store) {
				st.UnlistedSince, st.Hold = at(-7), &storemanager.Hold{Reason: "export", Actor: "bob", Since: *at(-4)}
			}),
			want: []api.Condition{
				{
					Type: api.ConditionDrifted, Status: true, Reason: "NotListed", Message: "the Auth Worker's list lacks the workspace",
					Since: at(-7),
				},
				{Type: api.ConditionHeld, Status: true, Reason: "Hold", Message: "by bob until released: export", Since: at(-4)},
			},
		},
		"a held store": {
			store: monitored(func(st *storemanager.Store) {
				st.Hold = &storemanager.Hold{Reason: "export", Actor: "bob", Since: *at(-4), ExpiresAt: at(0)}
			}),
			want: []api.Condition{protected, {
				Type: api.ConditionHeld, Status: true, Reason: "Hold", Message: "by bob until 2026-01-02T03:04:05Z: export", Since: at(-4),
			}},
		},
		"a pause of its own": {
			store: monitored(func(st *storemanager.Store) { st.Pause = pause(-4, nil) }),
			want: []api.Condition{
				protected,
				{Type: api.ConditionPaused, Status: true, Reason: "StorePaused", Message: "by ann until resumed: audit", Since: at(-4)},
			},
		},
		"the pause of all stores": {
			store: monitored(func(*storemanager.Store) {}), all: pause(-4, at(0)),
			want: []api.Condition{{
				Type: api.ConditionPaused, Status: true, Reason: "AllPaused", Message: "by ann until 2026-01-02T03:04:05Z: audit",
				Since: at(-4), NextAttempt: at(0),
			}},
		},
		"two pauses last as long as the longer": {
			store: monitored(func(st *storemanager.Store) { st.Pause = pause(-4, at(-1)) }), all: pause(-6, at(0)),
			want: []api.Condition{protected, {
				Type: api.ConditionPaused, Status: true, Reason: "StorePaused", Since: at(-6), NextAttempt: at(0),
				Message: "by ann until 2026-01-02T03:03:05Z: audit; all stores are paused by ann until 2026-01-02T03:04:05Z: audit",
			}},
		},
		"two pauses of which one does not end by itself": {
			store: monitored(func(st *storemanager.Store) { st.Pause = pause(-4, at(1)) }), all: pause(-2, nil),
			want: []api.Condition{protected, {
				Type: api.ConditionPaused, Status: true, Reason: "StorePaused", Since: at(-4),
				Message: "by ann until 2026-01-02T03:05:05Z: audit; all stores are paused by ann until resumed: audit",
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := []api.Condition{
				{Type: api.ConditionProvisioned, Status: true, Reason: "Monitored", Since: at(-60)},
				{Type: api.ConditionConnected, Status: true, Reason: "Subscribed", Since: at(-30)},
				no(api.ConditionDrifted, "NotMissed"),
				no(api.ConditionDeletionPending, "None"),
				no(api.ConditionHeld, "NoHold"),
				no(api.ConditionPaused, "NoPause"),
				no(api.ConditionStalled, "GettingOn"),
			}
			for _, c := range tt.want {
				for i := range want {
					if want[i].Type == c.Type {
						want[i] = c
					}
				}
			}
			require.Equal(t, want, conditions(tt.store, surroundings{
				now: now, overview: storemanager.Overview{Paused: tt.all}, lifecycle: tt.lifecycle, authWorker: tt.auth,
			}))
		})
	}
}

func TestEveryConnectionStateHasAReason(t *testing.T) {
	t.Parallel()
	for _, state := range append(storemanager.ConnectionStates(), storemanager.ConnectionStopped) {
		require.Contains(t, connectionReasons, state)
	}
}

func TestADeletionThatALossHoldsUpSaysSo(t *testing.T) {
	t.Parallel()
	now := time.Now()
	st := storemanager.Store{State: storemanager.StateMonitored, Deletion: &storemanager.Deletion{EventAt: now.Add(-time.Hour), DeleteAt: now.Add(-2 * time.Minute)}}
	c := stalled(st, surroundings{now: now, overview: storemanager.Overview{Guard: &storemanager.KeptBack{Lost: true}}})
	require.Equal(t, "DeletionOverdue", c.Reason)
	require.Contains(t, c.Message, "before the loss of the registry is acknowledged")
}
