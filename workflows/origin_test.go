package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
	"storekeeper/workflows"
)

func TestARunSaysWhoAskedForWhatItAsksFor(t *testing.T) {
	t.Parallel()
	list := contract.ListRef{At: time.Date(2020, 11, 24, 12, 0, 0, 0, time.UTC), Hash: "first", Entries: 7}
	released := contract.Plan{
		Mode: contract.ModeFull, ListAt: list.At, ListHash: list.Hash, AuthoritativeCount: list.Entries, PendingCount: 1, Missing: []string{"missing"}, Orphans: []string{"orphan"},
		OrphanCount: 1, ListedAgain: []string{"listed"}, ListedAgainCount: 1, Released: true, RestHash: "rest", Next: contract.Cursor{Missing: "missing", Orphans: "orphan"},
	}
	later := contract.Plan{Mode: contract.ModeFull, ListAt: list.At.Add(time.Second), ListHash: "last", AuthoritativeCount: 8, Orphans: []string{"another"}, OrphanCount: 1}
	given := contract.Origin{Source: contract.SourceOperator, Via: contract.ViaCLI, Reason: "reviewed", RequestID: "request"}

	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	register := func(name string, fn any) { env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name}) }
	var asked []contract.CompareInput
	var ensured []contract.EnsureMissingInput
	var removed, ended []contract.RequestDeletionsInput
	var recorded contract.RecordInput
	register("CompareLists", func(_ context.Context, in contract.CompareInput) (contract.Plan, error) {
		asked = append(asked, in)
		return []contract.Plan{released, later}[len(asked)-1], nil
	})
	register("EnsureMissing", func(_ context.Context, in contract.EnsureMissingInput) (contract.EnsureMissingResult, error) {
		ensured = append(ensured, in)
		return contract.EnsureMissingResult{}, nil
	})
	register("RequestDeletions", func(_ context.Context, in contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
		removed = append(removed, in)
		return contract.RequestDeletionsResult{}, nil
	})
	register(contract.ActivityEndDeletions, func(_ context.Context, in contract.RequestDeletionsInput) (contract.RequestDeletionsResult, error) {
		ended = append(ended, in)
		return contract.RequestDeletionsResult{}, nil
	})
	register(contract.ActivityResumeDeletions, func(context.Context) (contract.ResumeResult, error) { return contract.ResumeResult{}, nil })
	register("RecordRun", func(_ context.Context, in contract.RecordInput) error {
		recorded = in
		return nil
	})
	env.ExecuteWorkflow(workflows.ReconcileWorkspaces, contract.ReconcileInput{Confirm: true, Actor: "ann", ApprovedPlan: "plan", Origin: given})
	require.NoError(t, env.GetWorkflowError())

	by := contract.Origin{
		Source: contract.SourceReconcile, Actor: "ann", Via: contract.ViaCLI, Reason: "reviewed", RequestID: "request", RunID: asked[0].RunID,
	}
	approved := by
	approved.Plan = "plan"
	require.Len(t, ensured, 1)
	require.Equal(t, by, ensured[0].Origin, "what is added needs no approval")
	require.Len(t, ended, 1)
	require.Equal(t, by, ended[0].Origin)
	require.Equal(t, list, ended[0].List)
	require.Len(t, removed, 2)
	require.Equal(t, approved, removed[0].Origin)
	require.Equal(t, list, removed[0].List)
	require.Equal(t, by, removed[1].Origin, "no approval has released it")
	require.Equal(t, contract.ListRef{At: later.ListAt, Hash: "last", Entries: 8}, removed[1].List)
	require.Equal(t, approved, recorded.Origin)
	require.Equal(t, []string{"first", "last"}, []string{recorded.Report.FirstListHash, recorded.Report.ListHash})
}

// told is what the audit trail says of the store: the kind and the outcome of each entry with its origin, the oldest first.
func (b *bundle) told() (said []string, by []storemanager.Origin, newest storemanager.AuditEntry) {
	b.t.Helper()
	page, err := b.store.Audit(b.t.Context(), storemanager.AuditQuery{StoreID: storeID, OldestFirst: true})
	require.NoError(b.t, err)
	for _, e := range page.Entries {
		said = append(said, string(e.Kind)+" "+e.Outcome)
		by = append(by, e.Origin)
		newest = e
	}
	return said, by, newest
}

func TestALifecycleSaysWhoAskedForWhatItAsksFor(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	withOrigin := func(ev contract.Event, actor string) contract.Event {
		ev.Origin = contract.Origin{Actor: actor, RequestID: "request"}
		return ev
	}
	sender := func(delivery string) storemanager.Origin {
		return storemanager.Origin{Source: "webhook", Actor: "sender", DeliveryID: delivery, RequestID: "request"}
	}
	operator := func(delivery string) storemanager.Origin {
		return storemanager.Origin{Source: "operator", Actor: "ann", Reason: "why", DeliveryID: delivery, RequestID: "request"}
	}
	for name, tt := range map[string]struct {
		send func(b *bundle)
		said []string
		by   []storemanager.Origin
	}{
		"a workspace that comes and goes": {func(b *bundle) {
			b.send(0, withOrigin(b.event(contract.WorkspaceCreated, "d1", 0), "sender"))
			b.send(0, withOrigin(b.event(contract.WorkspaceDeleted, "d2", time.Second), "sender"))
		}, []string{"ensure created", "deletion scheduled", "stop stopped"}, []storemanager.Origin{sender("d1"), sender("d2"), sender("d2")}},
		"a hold and its release": {
			func(b *bundle) {
				b.send(0, withOrigin(b.event(contract.WorkspaceCreated, "d1", 0), "sender"))
				b.send(0, withOrigin(b.event(contract.WorkspaceDeleted, "d2", time.Second), "sender"))
				hold, release := b.event(contract.StoreHold, "d3", hour), withOrigin(b.event(contract.StoreRelease, "d4", hour), "ann")
				hold.Hold, hold.Source, release.Source = &contract.Cancellation{Actor: "ann", Reason: "why"}, contract.SourceOperator, contract.SourceOperator
				hold.Origin.RequestID, release.Origin.Reason = "request", "why"
				b.send(hour, hold)
				b.send(hour, release)
			},
			[]string{"ensure created", "deletion scheduled", "hold done", "release done"},
			[]storemanager.Origin{sender("d1"), sender("d2"), operator("d3"), operator("d4")},
		},
		"a cancel signal": {
			func(b *bundle) {
				b.monitored()
				b.send(0, withOrigin(b.event(contract.WorkspaceDeleted, "d2", time.Second), "sender"))
				b.RegisterDelayedCallback(func() {
					b.SignalWorkflow(contract.CancelDeletion, contract.Cancellation{Reason: "why", Actor: "ann"})
				}, hour)
			},
			[]string{"ensure created", "deletion scheduled", "hold done"},
			[]storemanager.Origin{{}, sender("d2"), {Source: "operator", Actor: "ann", Reason: "why", Via: "temporal"}},
		},
		"a workflow that is cancelled": {
			func(b *bundle) {
				b.monitored()
				b.send(0, withOrigin(b.event(contract.WorkspaceDeleted, "d2", time.Second), "sender"))
				b.RegisterDelayedCallback(b.CancelWorkflow, hour)
			},
			[]string{"ensure created", "deletion scheduled", "cancel_deletion done"},
			[]storemanager.Origin{{}, sender("d2"), {Source: "operator", Reason: "the workflow was cancelled", Via: "temporal"}},
		},
		"a workspace that is still listed": {
			func(b *bundle) {
				b.monitored()
				b.auth.set(func(f *fakeAuthWorker) { f.listed[storeID] = true })
				b.send(0, withOrigin(b.event(contract.WorkspaceDeleted, "d2", time.Second), "sender"))
			},
			[]string{"ensure created", "deletion scheduled", "cancel_deletion done"},
			[]storemanager.Origin{{}, sender("d2"), {Source: "system", Reason: "the Auth Worker still lists the workspace"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tt.send(b)
			b.ExecuteWorkflow(workflows.WorkspaceLifecycle, contract.LifecycleInput{InstanceID: storeID})
			require.True(t, b.IsWorkflowCompleted())
			said, by, _ := b.told()
			require.Equal(t, tt.said, said)
			require.Equal(t, tt.by, by)
		})
	}
}

func TestAStopNamesTheListsThatItIsBasedOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored()
	second := contract.ListRef{At: b.start, Hash: "second", Entries: 5}
	b.auth.set(func(f *fakeAuthWorker) { f.hash = "third" })
	ev := b.event(contract.WorkspaceDeleted, "reconcile/1", 0)
	ev.Source, ev.List, ev.Origin = contract.SourceReconcile, second, contract.Origin{RunID: "run-1", Actor: "ann", Plan: "plan"}
	b.send(0, ev)
	b.run()
	said, _, stop := b.told()
	require.Equal(t, "stop stopped", said[len(said)-1])
	by := storemanager.Origin{Source: "reconcile", DeliveryID: "reconcile/1", RunID: "run-1", Actor: "ann", Plan: "plan"}
	require.Equal(t, by, stop.Origin)
	require.Equal(t, by, stop.Evidence.Deletion.Cause.Origin)
	require.Equal(t, storemanager.ListRef(second), stop.Evidence.Deletion.Cause.SecondList)
	require.Equal(t, storemanager.ListRef{At: b.start.Add(24 * time.Hour), Hash: "third", Entries: 5}, stop.Evidence.Recheck)
}
