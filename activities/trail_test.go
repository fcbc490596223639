package activities_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.uber.org/zap"

	"storekeeper/activities"
	"storekeeper/contract"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"
)

var (
	askedBy = contract.Origin{
		Source: contract.SourceOperator, Actor: "ann", Via: contract.ViaAPI, Reason: "why", DeliveryID: "delivery", RunID: "run", RequestID: "request",
		TraceID: "trace", Batch: "batch", Plan: "plan", UserID: "user",
	}
	keptAs = storemanager.Origin{
		Source: "operator", Actor: "ann", Via: "api", Reason: "why", DeliveryID: "delivery", RunID: "run", RequestID: "request", TraceID: "trace",
		Batch: "batch", Plan: "plan", UserID: "user",
	}
)

func newStores(t *testing.T, registry *storetest.Database, now func() time.Time) *activities.Stores {
	t.Helper()
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	return &activities.Stores{Manager: registry, Metrics: metrics, Now: now}
}

func TestWhoAsksReachesTheAuditTrail(t *testing.T) {
	t.Parallel()
	const id = "some-store"
	clock := storetest.NewClock()
	bySystem := keptAs
	bySystem.Source = storemanager.SourceSystem
	ensured := func(ctx context.Context, s *activities.Stores) error {
		_, err := s.EnsureStore(ctx, contract.EnsureInput{InstanceID: id, At: storetest.T0})
		return err
	}
	list := contract.ListRef{At: storetest.At(1), Hash: "second", Entries: 7}
	pending := func(ctx context.Context, s *activities.Stores) error {
		_, err := s.BeginDeletion(ctx, contract.DeletionInput{InstanceID: id, At: storetest.At(1), Owner: "run", ByList: true, List: list})
		return err
	}
	input := contract.StoreInput{InstanceID: id, Owner: "run", Origin: askedBy}
	type step func(context.Context, *activities.Stores) error
	for kind, tt := range map[storemanager.AuditKind]struct {
		steps []step
		want  storemanager.Origin
	}{
		storemanager.AuditEnsure: {[]step{func(ctx context.Context, s *activities.Stores) error {
			_, err := s.EnsureStore(ctx, contract.EnsureInput{InstanceID: id, At: storetest.T0, Origin: askedBy})
			return err
		}}, keptAs},
		storemanager.AuditDeletion: {[]step{ensured, func(ctx context.Context, s *activities.Stores) error {
			_, err := s.BeginDeletion(ctx, contract.DeletionInput{InstanceID: id, At: storetest.At(1), Owner: "run", Origin: askedBy})
			return err
		}}, keptAs},
		storemanager.AuditCancelDeletion: {[]step{ensured, pending, func(ctx context.Context, s *activities.Stores) error {
			_, err := s.CancelDeletion(ctx, input)
			return err
		}}, keptAs},
		"take over": {[]step{ensured, pending, func(ctx context.Context, s *activities.Stores) error {
			_, err := s.TakeOverDeletion(ctx, contract.StoreInput{InstanceID: id, Owner: "another", Origin: askedBy})
			return err
		}}, bySystem},
		"restore": {[]step{func(ctx context.Context, s *activities.Stores) error {
			_, err := s.RestoreDeletion(ctx, contract.RestoreInput{InstanceID: id, EventAt: storetest.T0, DeleteAt: storetest.T0, Owner: "run", Origin: askedBy})
			return err
		}}, keptAs},
		storemanager.AuditHold: {[]step{ensured, func(ctx context.Context, s *activities.Stores) error {
			_, err := s.HoldStore(ctx, contract.HoldInput{InstanceID: id, Reason: "r", Actor: "a", ExpiresAt: storetest.At(9), Origin: askedBy})
			return err
		}}, keptAs},
		storemanager.AuditRelease: {[]step{ensured, func(ctx context.Context, s *activities.Stores) error {
			_, err := s.HoldStore(ctx, contract.HoldInput{InstanceID: id, Reason: "r", Actor: "a", ExpiresAt: storetest.At(9)})
			return err
		}, func(ctx context.Context, s *activities.Stores) error {
			_, err := s.ReleaseStore(ctx, input)
			return err
		}}, keptAs},
		storemanager.AuditStop: {[]step{ensured, pending, func(ctx context.Context, s *activities.Stores) error {
			in := input
			in.AbsentAt, in.List = storetest.T0, contract.ListRef{At: storetest.T0, Hash: "third", Entries: 6}
			_, err := s.StopStore(ctx, in)
			return err
		}}, storemanager.Origin{Source: storemanager.SourceReconcile}}, // what asked for the deletion
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			registry := storetest.Open(t, storetest.Settings{Now: clock.Now})
			s := newStores(t, registry, clock.Now)
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			env.RegisterActivity(s)
			env.RegisterActivityWithOptions(func(ctx context.Context) error {
				for _, step := range tt.steps {
					if err := step(ctx, s); err != nil {
						return err
					}
				}
				return nil
			}, activity.RegisterOptions{Name: "steps"})
			_, err := env.ExecuteActivity("steps")
			require.NoError(t, err)
			page, err := registry.Audit(t.Context(), storemanager.AuditQuery{StoreID: id})
			require.NoError(t, err)
			require.Equal(t, tt.want, page.Entries[0].Origin)
			if kind == storemanager.AuditStop {
				evidence := page.Entries[0].Evidence
				require.Equal(t, storemanager.ListRef{At: storetest.T0, Hash: "third", Entries: 6}, evidence.Recheck)
				require.Equal(t, storemanager.ListRef(list), evidence.Deletion.Cause.SecondList)
			}
		})
	}
}

// carriedOut carries out the deletions that lifecycles were asked for, as lifecycles do.
func (b *bundle) carriedOut() {
	b.t.Helper()
	s := newStores(b.t, b.registry, func() time.Time { return b.now })
	for id, sighting := range b.deletion.sightings {
		ev := contract.Event{Source: contract.SourceReconcile, DeliveryID: "reconcile/1", Origin: sighting.Origin}
		_, err := s.Manager.BeginDeletion(b.t.Context(), storemanager.DeletionRequest{
			StoreID: id, At: sighting.At, DeleteAt: b.now, Owner: "run", ByList: true, List: storemanager.ListRef(sighting.List), Origin: activities.Origin(ev.From()),
		})
		require.NoError(b.t, err)
		_, err = s.Manager.Stop(b.t.Context(), storemanager.StopRequest{StoreID: id, Owner: "run", AbsentAt: b.now})
		require.NoError(b.t, err)
	}
}

func (b *bundle) audit(q storemanager.AuditQuery) []storemanager.AuditEntry {
	b.t.Helper()
	q.Limit = storemanager.MaxBatch
	page, err := b.registry.Audit(b.t.Context(), q)
	require.NoError(b.t, err)
	return page.Entries
}

func TestSixtyRemovalsThatAnOperatorApprovesAreHers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 100))
	listed := ids(60, 100)
	first := b.mustRun(listed, "")
	plan := b.mustRun(listed, "").PlanHash
	require.NotEmpty(t, plan)
	by := contract.Origin{Actor: "ann", Via: contract.ViaAPI, Reason: "these workspaces were closed", RequestID: "request"}
	report, err := b.runAs(listed, contract.ReconcileInput{Trigger: contract.TriggerManual, Actor: "ann", Confirm: true, ApprovedPlan: plan, Origin: by})
	require.NoError(t, err)
	require.Equal(t, 60, report.Removed)
	b.carriedOut()

	approver := storemanager.Origin{Source: "reconcile", Actor: "ann", Via: "api", Reason: "these workspaces were closed", RequestID: "request", Plan: plan}
	approvals := b.audit(storemanager.AuditQuery{Kinds: []storemanager.AuditKind{storemanager.AuditApproval}})
	require.Len(t, approvals, 1)
	require.Equal(t, "approved", approvals[0].Outcome)
	require.Equal(t, []string{"operator", "ann", "these workspaces were closed", plan},
		[]string{string(approvals[0].Source), approvals[0].Actor, approvals[0].Reason, approvals[0].Plan})

	stops := b.audit(storemanager.AuditQuery{Kinds: []storemanager.AuditKind{storemanager.AuditStop}, Outcome: "stopped"})
	require.Len(t, stops, 60)
	var stopped []string
	approver.DeliveryID = "reconcile/1"
	for _, e := range stops {
		stopped = append(stopped, e.StoreID)
		require.Equal(t, approver, e.Origin)
		cause := e.Evidence.Deletion.Cause
		require.Equal(t, approver, cause.Origin)
		require.Equal(t, storemanager.ListRef{At: first.ListAt, Hash: first.ListHash}, cause.FirstList)
		require.Equal(t, storemanager.ListRef{At: report.ListAt, Hash: first.ListHash, Entries: 40}, cause.SecondList)
	}
	slices.Sort(stopped)
	require.Equal(t, ids(0, 60), stopped)
}

func TestARunLeavesItsListsItsVerdictAndItselfInTheAuditTrail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 100))
	listed := ids(60, 100)
	report := b.mustRun(listed, "")
	require.Regexp(t, "^[0-9a-f]{64}$", report.ListHash)
	list := storemanager.ListRef{At: report.ListAt, Hash: report.ListHash, Entries: 40}
	said := func() (all []string) {
		for _, e := range b.audit(storemanager.AuditQuery{OldestFirst: true}) {
			if e.Kind != storemanager.AuditEnsure {
				require.Equal(t, storemanager.SourceReconcile, e.Source)
				all = append(all, fmt.Sprintf("%s %s: %.40s", e.Kind, e.Outcome, e.Detail))
			}
		}
		return all
	}
	require.Equal(t, []string{
		"list first_sighting: 50 stores are not in the list, from stor", "list first_sighting: 10 stores are not in the list, from stor", // two pages
		"guard keeps_back: the list lacks 60 stores, more than RECO",
		"run succeeded: 40 listed, 100 monitored, 0 added, 0 han",
	}, said())
	for _, kind := range []storemanager.AuditKind{storemanager.AuditList, storemanager.AuditRun} {
		require.Equal(t, []storemanager.ListRef{list}, b.audit(storemanager.AuditQuery{Kinds: []storemanager.AuditKind{kind}})[0].Evidence.Lists)
	}
	b.mustRun(listed, "")
	b.mustRun(ids(0, 101), "")
	require.Equal(t, []string{
		"run succeeded: 40 listed, 100 monitored, 0 added, 0 han",
		"guard cleared: ", "run succeeded: 101 listed, 101 monitored, 1 added, 0 ha",
	}, said()[4:], "nothing is sighted twice, and what is kept back is kept back")
}

func TestAnApprovalThatIsRefusedIsInTheAuditTrail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	_, err := b.runAs(ids(0, 21), contract.ReconcileInput{Confirm: true, Actor: "ann", ApprovedPlan: "another"})
	require.Error(t, err)
	entries := b.audit(storemanager.AuditQuery{Kinds: []storemanager.AuditKind{storemanager.AuditApproval, storemanager.AuditRun}})
	require.Len(t, entries, 1)
	require.Equal(t, []string{"approval", "refused", "ann", "another"},
		[]string{string(entries[0].Kind), entries[0].Outcome, entries[0].Actor, entries[0].Plan})
}
