package activities_test

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.uber.org/zap"

	"storekeeper/activities"
	"storekeeper/contract"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
	"storekeeper/workflows"
)

// keeper is a store manager into which a test can reach.
type keeper struct {
	activities.ReconcileKeeper
	compared  int // comparisons that have begun
	beginning func(comparison int)
	ensure    error
}

func (k *keeper) Overview(ctx context.Context) (storemanager.Overview, error) {
	k.compared++
	if k.beginning != nil {
		k.beginning(k.compared)
	}
	return k.ReconcileKeeper.Overview(ctx)
}

func (k *keeper) EnsureBatch(ctx context.Context, rs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error) {
	if k.ensure != nil {
		return nil, k.ensure
	}
	return k.ReconcileKeeper.EnsureBatch(ctx, rs)
}

func (k *keeper) RecordReconcile(ctx context.Context, run storemanager.ReconcileRun) error {
	run.RunID = cmp.Or(run.RunID, "run") // the test environment gives none
	return k.ReconcileKeeper.RecordReconcile(ctx, run)
}

// run is a whole run, a minute after whatever came before: the real workflow with the real activities.
func (b *bundle) run(listed []string, approved string) (contract.ReconcileReport, error) {
	b.t.Helper()
	return b.runAs(listed, contract.ReconcileInput{Trigger: "manual", Confirm: true, ApprovedPlan: approved})
}

func (b *bundle) runAs(listed []string, in contract.ReconcileInput) (contract.ReconcileReport, error) {
	b.t.Helper()
	b.now = b.now.Add(time.Minute)
	b.lister.ids, b.lister.at = listed, b.now
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(telemetry.SDKLogger(zap.NewNop()))
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartTime(b.now)
	env.SetTestTimeout(time.Minute) // of the whole run: thousands of stores, and a machine with other work
	if _, ok := b.act.Manager.(*keeper); !ok {
		b.act.Manager = &keeper{ReconcileKeeper: b.act.Manager}
	}
	env.RegisterActivity(b.act)
	env.ExecuteWorkflow(workflows.ReconcileWorkspaces, in)
	var report contract.ReconcileReport
	if err := env.GetWorkflowError(); err != nil {
		return report, err
	}
	return report, env.GetWorkflowResult(&report)
}

func (b *bundle) mustRun(listed []string, approved string) contract.ReconcileReport {
	b.t.Helper()
	report, err := b.run(listed, approved)
	require.NoError(b.t, err)
	return report
}

func (b *bundle) held() bool {
	b.t.Helper()
	o, err := b.registry.Overview(b.t.Context())
	require.NoError(b.t, err)
	return o.Guard != nil
}

func (b *bundle) approvedAt() *time.Time {
	b.t.Helper()
	o, err := b.registry.Overview(b.t.Context())
	require.NoError(b.t, err)
	return o.GuardApprovedAt
}

func TestTheListOfAnotherInstallationRemovesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 40))
	foreign := append(ids(0, 3), ids(1000, 2000)...) // hardly any
	first := b.mustRun(foreign, "")
	require.Contains(t, first.Guard, "the list has 3 of the 40 stores")
	require.Empty(t, first.PlanHash, "the next list makes another plan of it")
	require.Zero(t, first.Added)
	for range 3 {
		run := b.mustRun(foreign, "")
		require.Contains(t, run.Guard, "the list has 3 of the 40 stores that it should have, and may be that of another installation: "+
			"nothing is added or removed before plan "+run.PlanHash+" is approved")
		require.Zero(t, run.Added+run.Removed)
		require.Equal(t, contract.GuardKeepsBack, run.GuardVerdict)
	}
	require.True(t, b.held())

	plan := b.mustRun(foreign, "").PlanHash
	approved := b.mustRun(foreign, plan)
	require.Equal(t, 1000, approved.Added)
	require.Equal(t, 37, approved.Removed)
	require.False(t, b.held())
}

func TestTheHashOfItsRemovalsAloneReleasesNoForeignList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 40))
	foreign := ids(1000, 1100)
	b.compare(foreign, "")
	plan := b.compare(foreign, "")
	require.NotEqual(t, plan.Approve, plan.RemovalHash)
	_, err := b.tryCompare(foreign, plan.RemovalHash)
	require.ErrorContains(t, err, "nothing is added or removed before plan "+plan.Approve+" is approved")
	require.True(t, b.compare(foreign, plan.Approve).Released)
}

func TestAListWithoutMostOfFewStoresIsNoneOfAnotherInstallation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 9))
	require.Equal(t, 10, b.mustRun(ids(100, 110), "").Added)
}

// What events have deleted the list need not have.
func TestAListIsNotForeignBecauseOfWhatEventsHaveDeleted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 40))
	b.now = b.now.Add(time.Second)
	b.deletedByEvents(ids(0, 40))
	require.Equal(t, 5, b.mustRun(ids(100, 105), "").Added)
}

func TestIDsThatDifferInCaseAloneAreNeitherAddedNorRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(append(ids(0, 20), "Mixed-Case"))
	listed := append(ids(2, 20), "STORE-000000", "stoRE-000001", "mixed-case", "MIXED-case", "NEW-store", "new-STORE")
	for range 3 {
		run := b.mustRun(listed, "")
		require.Equal(t, 4, run.SetAsideCount)
		require.ElementsMatch(t, []string{"STORE-000000", "stoRE-000001", "mixed-case", "MIXED-case"}, run.SetAside)
		require.Empty(t, run.Guard)
		require.Zero(t, run.Orphaned+run.FirstSightings+run.Removed)
	}
	page, err := b.registry.List(t.Context(), storemanager.ListRequest{Limit: 1000})
	require.NoError(t, err)
	require.Len(t, page.Stores, 23, "of new ones each is added: none of them is monitored")
	for _, s := range page.Stores {
		require.Nil(t, s.UnlistedSince, s.ID)
	}
	require.Equal(t, 1, b.mustRun(append(ids(0, 20), "Mixed-Case", "NEW-store", "new-STORE", "store-000020"), "").Added)
}

func TestOrphansThatDifferInCaseFromEachOtherAloneGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(append(ids(0, 40), "Twin-store", "twin-STORE"))
	require.Equal(t, 2, b.mustRun(ids(0, 40), "").FirstSightings)
	run := b.mustRun(ids(0, 40), "")
	require.Equal(t, 2, run.Removed)
	require.ElementsMatch(t, []string{"Twin-store", "twin-STORE"}, b.deletion.ids)
	require.Zero(t, b.mustRun(append(ids(0, 40), "TWIN-store"), "").Added, "which of them the list means nobody can tell")
}

func TestALimitCountsWhatListsHaveRemovedWithinADayWhateverTheGracePeriod(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 200))
	removed := 0
	for call := 1; call <= 60; call++ { // one less in each, and no grace period
		plan := b.compare(ids(call, 200), "")
		for _, id := range plan.Orphans {
			_, err := b.registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
				StoreID: id, At: plan.ListAt, DeleteAt: b.now, Owner: "run", ByList: true,
			})
			require.NoError(t, err)
			_, err = b.registry.Stop(t.Context(), storemanager.StopRequest{StoreID: id, Owner: "run", AbsentAt: b.now})
			require.NoError(t, err)
			removed++
		}
	}
	require.Equal(t, 18, removed, "the 19th and the first sighting beside it make a tenth of 200")
	require.True(t, b.held())
}

func TestExactlyTheLimitIsTooMuch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 100))
	require.Empty(t, b.mustRun(ids(9, 100), "").Guard)
	require.Contains(t, b.mustRun(ids(10, 100), "").Guard, "the list lacks 10 of 100 stores, RECONCILE_MAX_DELETE_PERCENT (10) or more")
}

func TestTwoListsThatHaveAWorkspaceAgainEndItsDeletion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.now = b.now.Add(time.Second)
	id := ids(0, 1)[0]
	begin := func() { b.deletedByEvents([]string{id}) }
	begin()
	require.Zero(t, b.mustRun(ids(0, 20), "").ListedAgain)
	require.Zero(t, b.mustRun(ids(1, 20), "").ListedAgain)
	require.Zero(t, b.mustRun(ids(0, 20), "").ListedAgain, "they must be consecutive")
	begin()
	require.Zero(t, b.mustRun(ids(0, 20), "").ListedAgain, "and both be asked for after all that is known")
	require.Empty(t, b.deletion.listed)
	require.Equal(t, 1, b.mustRun(ids(0, 20), "").ListedAgain)
	require.Equal(t, []string{id}, b.deletion.listed)

	b.act.Mode = contract.ModeObserve
	require.Zero(t, b.mustRun(ids(0, 20), "").ListedAgain)
	require.Len(t, b.deletion.listed, 1)
}

func TestPendingDeletionsWithoutALifecycleAreResumedInEachRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.now = b.now.Add(time.Second)
	b.deletedByEvents(ids(0, 3))
	b.deletion.pending = map[string]bool{ids(0, 1)[0]: true, "another": true}
	b.deletion.fail = map[string]bool{ids(2, 3)[0]: true}
	b.act.Mode = contract.ModeObserve // whoever only looks at lists loses no deletion of an event
	run := b.mustRun(ids(3, 20), "")
	require.Equal(t, 1, run.Resumed)
	require.Equal(t, 1, run.Restored, "of one that the registry should know")
	require.Equal(t, append(ids(1, 2), "another"), b.deletion.resumed)
}

// Temporal's lists come from another database than its lifecycles: one may have been put back without the other.
func TestADeletionThatIsLongOverdueIsResumedThoughTemporalListsItsLifecycle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.now = b.now.Add(time.Second)
	b.deletedUntil(ids(0, 1), time.Now().Add(-4*time.Minute))
	b.deletedUntil(ids(1, 2), time.Now().Add(-6*time.Minute))
	b.deletion.pending = map[string]bool{ids(0, 1)[0]: true, ids(1, 2)[0]: true}
	require.Equal(t, 1, b.mustRun(ids(2, 20), "").Resumed)
	require.Equal(t, ids(1, 2), b.deletion.resumed)
}

func TestTheGuardKeepsBackBeforeAnythingIsAdded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.act.Manager = &keeper{ReconcileKeeper: b.act.Manager, ensure: temporal.NewNonRetryableApplicationError("broken", "X", nil)}
	_, err := b.run(ids(10, 30), "")
	require.Error(t, err)
	require.True(t, b.held(), "although the run was never recorded as one that tripped")
}

func TestATrippedRunComparesAsOftenAsItsAdditionsNeed(t *testing.T) {
	t.Parallel()
	const monitored, orphans = contract.MaxPlanned + 1000, contract.MaxPlanned + 500
	for listed, rounds := range map[int]int{monitored: 1, monitored + contract.MaxPlanned + 1: 2} {
		b := setup(t)
		b.monitored(ids(0, monitored))
		require.NotEmpty(t, b.mustRun(ids(orphans, monitored), "").Guard)
		report := b.mustRun(ids(orphans, listed), "")
		require.NotEmpty(t, report.Guard)
		require.Equal(t, rounds, report.Rounds)
		require.Equal(t, listed-monitored, report.Added)
		require.Equal(t, orphans, report.Orphaned)
		require.Zero(t, report.Removed)
	}
}

func TestAnApprovedPlanIsCarriedOutOverAllItsRounds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 7100))
	b.mustRun(ids(7000, 7100), "")
	tripped := b.mustRun(ids(7000, 7100), "")
	report := b.mustRun(ids(7000, 7100), tripped.PlanHash)
	require.Equal(t, 7000, report.Removed)
	require.Equal(t, 3, report.Rounds)
	require.Empty(t, report.Guard)
	require.Equal(t, contract.GuardApproved, report.GuardVerdict)
	require.ElementsMatch(t, ids(0, 7000), b.deletion.ids, "each once")
	require.False(t, b.held())
	require.Equal(t, report.ListAt, *b.approvedAt())
}

func TestAnApprovedRunEndsItsRemovalsWhenWhatIsLeftIsAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 7100))
	last := ids(6999, 7000)[0]
	_, err := b.registry.Hold(t.Context(), last, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a"}})
	require.NoError(t, err)
	require.NoError(t, b.registry.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: b.now, Unlisted: []string{last}}))
	b.mustRun(ids(7000, 7100), "")
	tripped := b.mustRun(ids(7000, 7100), "")
	k := b.act.Manager.(*keeper)
	k.compared = 0
	k.beginning = func(comparison int) {
		if comparison == 2 {
			_, err := b.registry.Release(t.Context(), storemanager.ReleaseRequest{StoreID: last})
			require.NoError(t, err)
		}
	}
	report := b.mustRun(ids(7000, 7100), tripped.PlanHash)
	require.Equal(t, contract.MaxPlanned, report.Removed)
	require.NotEmpty(t, report.Guard)
	require.NotEmpty(t, report.PlanHash)
	require.NotContains(t, b.deletion.ids, last)
}

func TestAnApprovalThatReleasesNothingForgivesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.mustRun(ids(5, 20), "")
	require.True(t, b.held())
	listed := append(ids(0, 20), "zzz")
	listed = listed[1:] // the five but one are back, and one more is to be created
	plan := b.compare(listed, "")
	require.Equal(t, 1, plan.OrphanCount)
	b.mustRun(listed, "") // adds it
	only := append(ids(1, 20), "yyy", "zzz")
	before := b.compare(only, "")
	require.True(t, before.KeptBack)

	b.deletion.fail = map[string]bool{ids(0, 1)[0]: true}
	report := b.mustRun(only, before.RemovalHash)
	require.Equal(t, 1, report.FailedRemovals)
	require.True(t, b.held(), "nothing was removed")
	require.Nil(t, b.approvedAt())
}

func TestAPlanThatNeedsNoApprovalForgivesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 100))
	b.mustRun(ids(1, 100), "")
	plan := b.compare(ids(1, 101), "")
	require.Empty(t, plan.Guard)
	report := b.mustRun(ids(1, 101), plan.Hash)
	require.Equal(t, 1, report.Added)
	require.Equal(t, 1, report.Removed)
	require.NotEqual(t, contract.GuardApproved, report.GuardVerdict)
	require.Nil(t, b.approvedAt())
}

func TestWithoutRemovalsThereIsNothingToKeepBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.act.Mode = contract.ModeCreateOnly
	b.monitored(ids(0, 200))
	for range 2 {
		report := b.mustRun(ids(100, 200), "")
		require.Empty(t, report.Guard)
		require.Empty(t, report.GuardVerdict)
		require.Equal(t, 1, report.Rounds)
	}
	require.False(t, b.held())
}

func TestAReportSaysWhatItsFirstRoundFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 40))
	for _, id := range ids(0, 40) {
		_, err := b.registry.Hold(t.Context(), id, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a"}})
		require.NoError(t, err)
	}
	report := b.mustRun(ids(40, 40+contract.MaxPlanned+100), "")
	require.Equal(t, 2, report.Rounds)
	require.Equal(t, contract.Skipped{Held: 40}, report.Skipped)
	require.Equal(t, contract.MaxPlanned+100, report.Missing)
	require.Equal(t, contract.MaxPlanned+100, report.Added)
}

func TestALaterRoundBelievesItsListNoMoreThanTheFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 1000))
	b.compare(ids(0, 999), "")
	b.now = b.now.Add(time.Minute)
	b.lister.ids, b.lister.at = ids(600, 999), b.now
	v, err := b.env.ExecuteActivity(b.act.CompareLists, contract.CompareInput{
		RunStartedAt: b.now, Confirm: true, After: contract.Cursor{Missing: "~", Orphans: ids(700, 701)[0]},
	})
	require.NoError(t, err)
	var plan contract.Plan
	require.NoError(t, v.Get(&plan))
	require.Contains(t, plan.Guard, "lacks 601 stores")
	require.Empty(t, plan.Orphans)
}

func TestAListFromWhichStoresAreStillLeavingDoesNotLackNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 1000))
	b.compare(ids(40, 1000), "")
	first := b.compare(ids(40, 1000), "")
	require.Empty(t, first.Guard)
	require.False(t, first.LacksNothing)
	for _, id := range first.Orphans {
		_, err := b.registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
			StoreID: id, At: first.ListAt, DeleteAt: b.now.Add(24 * time.Hour), Owner: "run", ByList: true,
		})
		require.NoError(t, err)
	}
	require.False(t, b.compare(ids(40, 1000), "").LacksNothing)
	require.True(t, b.compare(ids(0, 1000), "").LacksNothing)
}

func TestARetryOfRemovalsGoesOnWhereTheAttemptBeforeHadGotTo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.env.SetHeartbeatDetails(contract.Progress{
		Phase: contract.PhaseRemove, Done: 150, Removed: contract.RequestDeletionsResult{Requested: 148, Failed: 2},
	})
	v, err := b.env.ExecuteActivity(b.act.RequestDeletions, contract.RequestDeletionsInput{IDs: ids(0, 300), ListAt: b.now})
	require.NoError(t, err)
	var res contract.RequestDeletionsResult
	require.NoError(t, v.Get(&res))
	require.Equal(t, contract.RequestDeletionsResult{Requested: 298, Failed: 2}, res)
	require.ElementsMatch(t, ids(150, 300), b.deletion.ids)
}

func TestARefusedApprovalEndsTheRunAndNothingElse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	_, err := b.run(ids(0, 21), "another")
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, contract.ErrTypePlanChanged, app.Type())
	known, err := b.registry.Reconciliation(t.Context())
	require.NoError(t, err)
	require.Zero(t, known.Runs, "it is no failed run")
}

// loseRegistry is how a registry without a mark learns that it is a new one: a run waits for a deletion that it never heard of.
func (b *bundle) loseRegistry() {
	b.t.Helper()
	_, err := b.registry.RestoreDeletion(b.t.Context(), storemanager.RestoreRequest{
		StoreID: "deleted-before", EventAt: b.now, DeleteAt: b.now.Add(24 * time.Hour), Owner: "run",
	})
	require.NoError(b.t, err)
	require.True(b.t, b.held())
}

// What keeps removals back while the registry is lost is not only the loss: once that is acknowledged, the guard still keeps them back.
func TestAGuardThatTripsWhileTheRegistryIsLostOutlivesTheAcknowledgement(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		listed []string
		held   bool
	}{
		"a list that lacks too many":                    {ids(10, 40), true},
		"a list that lacks a few":                       {ids(1, 40), false},
		"one that lacks none after one of too many":     {nil, false},
		"another installation's, whose guard trips too": {ids(1000, 1100), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.monitored(ids(0, 40))
			b.loseRegistry()
			if test.listed == nil {
				b.compare(ids(10, 40), "")
				test.listed = ids(0, 40)
			}
			plan := b.compare(test.listed, "")
			require.Equal(t, !plan.LacksNothing, plan.Guard != "", "the loss alone keeps back whatever is lacking")
			require.NoError(t, b.registry.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ops"}))
			require.Equal(t, test.held, b.held())
		})
	}
}
