package activities_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.uber.org/zap"

	"storekeeper/activities"
	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"
)

// authWorker serves a list, in random order like the real one, to the real client.
type authWorker struct {
	*authclient.Client
	ids     []string
	at      time.Time
	damaged bool
}

func startAuthWorker(t *testing.T) *authWorker {
	t.Helper()
	a := &authWorker{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var list struct {
			Workspaces []map[string]string `json:"workspaces"`
			Metadata   map[string]int      `json:"metadata"`
		}
		list.Workspaces = []map[string]string{}
		for _, i := range rand.Perm(len(a.ids)) {
			list.Workspaces = append(list.Workspaces, map[string]string{"instanceId": a.ids[i], "userId": fmt.Sprint("user-", i)})
		}
		list.Metadata = map[string]int{"totalWorkspaces": len(a.ids)}
		if a.damaged {
			list.Metadata["totalWorkspaces"]++
		}
		_ = json.NewEncoder(w).Encode(list)
	}))
	t.Cleanup(server.Close)
	var err error
	a.Client, err = authclient.New(authclient.Options{BaseURL: server.URL, Token: httpclient.Fixed("token"), Now: func() time.Time { return a.at }})
	require.NoError(t, err)
	return a
}

// fakeLifecycles note what they were told.
type fakeLifecycles struct {
	mu      sync.Mutex
	ids     []string // whose deletions were requested
	listed  []string
	resumed []string
	pending map[string]bool
	fail    map[string]bool
	// sightings are what was said of the ids and of those that are listed again.
	sightings map[string]contract.Sighting
	// engine is a name of the database; repeated are the events that it was told of again.
	engine   string
	repeated []string
}

func (f *fakeLifecycles) Engine(context.Context) (string, error) {
	return cmp.Or(f.engine, "first"), nil
}

func (f *fakeLifecycles) Repeat(_ context.Context, event []byte) error {
	return f.note(&f.repeated, string(event))
}

func (f *fakeLifecycles) note(list *[]string, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail[id] {
		return fmt.Errorf("temporal is away")
	}
	*list = append(*list, id)
	return nil
}

func (f *fakeLifecycles) ReportListed(_ context.Context, id string, s contract.Sighting) error {
	return f.sight(&f.listed, id, s)
}

func (f *fakeLifecycles) sight(list *[]string, id string, s contract.Sighting) error {
	err := f.note(list, id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sightings == nil {
		f.sightings = map[string]contract.Sighting{}
	}
	f.sightings[id] = s
	return err
}

func (f *fakeLifecycles) ResumeDeletion(_ context.Context, id string) error {
	return f.note(&f.resumed, id)
}

func (f *fakeLifecycles) DeletionsPending(context.Context) (map[string]bool, error) {
	return f.pending, nil
}

func (f *fakeLifecycles) RequestDeletion(_ context.Context, id string, s contract.Sighting) error {
	return f.sight(&f.ids, id, s)
}

type bundle struct {
	t        *testing.T
	env      *testsuite.TestActivityEnvironment
	now      time.Time
	lister   *authWorker
	registry *storetest.Database
	deletion *fakeLifecycles
	act      *activities.Reconcile
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), lister: startAuthWorker(t), deletion: &fakeLifecycles{}}
	registry, err := storetest.TryOpen(t.Context(), storetest.Settings{Now: func() time.Time { return b.now }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	b.registry = registry
	b.act = &activities.Reconcile{
		AuthWorker: b.lister, Manager: registry, Accepted: registry, Lifecycles: b.deletion, Metrics: metrics,
		Guard: activities.GuardLimits{MaxDeletePercent: 10, MaxDeletes: 50},
	}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(telemetry.SDKLogger(zap.NewNop()))
	b.env = suite.NewTestActivityEnvironment()
	b.env.RegisterActivity(b.act)
	return b
}

func ids(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("store-%06d", i))
	}
	return out
}

func (b *bundle) monitored(list []string) {
	b.t.Helper()
	for len(list) > 0 {
		n := min(len(list), storemanager.MaxBatch)
		var requests []storemanager.EnsureRequest
		for _, id := range list[:n] {
			requests = append(requests, storemanager.EnsureRequest{StoreID: id, At: b.now})
		}
		_, err := b.registry.EnsureBatch(b.t.Context(), requests)
		require.NoError(b.t, err)
		list = list[n:]
	}
}

// deletedByEvents begins deletions, for a day.
func (b *bundle) deletedByEvents(list []string) {
	b.t.Helper()
	b.deletedUntil(list, time.Now().Add(24*time.Hour))
}

func (b *bundle) deletedUntil(list []string, deleteAt time.Time) {
	b.t.Helper()
	for _, id := range list {
		_, err := b.registry.BeginDeletion(b.t.Context(), storemanager.DeletionRequest{
			StoreID: id, At: b.now, DeleteAt: deleteAt, Owner: "run",
		})
		require.NoError(b.t, err)
	}
}

// compare is one comparison, a minute after whatever came before.
func (b *bundle) compare(listed []string, approved string) contract.Plan {
	b.t.Helper()
	plan, err := b.tryCompare(listed, approved)
	require.NoError(b.t, err)
	return plan
}

func (b *bundle) tryCompare(listed []string, approved string) (contract.Plan, error) {
	b.now = b.now.Add(time.Minute)
	b.lister.ids, b.lister.at = listed, b.now
	v, err := b.env.ExecuteActivity(b.act.CompareLists, contract.CompareInput{RunStartedAt: b.now, ApprovedPlan: approved, Confirm: true})
	if err != nil {
		return contract.Plan{}, err
	}
	var plan contract.Plan
	return plan, v.Get(&plan)
}

func TestMissingStoresAreFoundAndASharedWorkspaceCountsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 3))
	plan := b.compare(append(ids(0, 5), ids(4, 5)...), "")
	require.Equal(t, ids(3, 5), plan.Missing)
	require.Equal(t, 5, plan.AuthoritativeCount)
	require.Equal(t, 3, plan.MonitoredCount)
	require.Zero(t, plan.OrphanCount)
}

func TestAnOrphanIsOneWhenTwoConsecutiveListsLackIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	first := b.compare(ids(1, 20), "")
	require.Zero(t, first.OrphanCount)
	require.Equal(t, 1, first.FirstSightings)
	require.Empty(t, first.Hash)

	require.Zero(t, b.compare(ids(0, 20), "").FirstSightings, "listed again: the sighting is forgotten")
	require.Equal(t, 1, b.compare(ids(1, 20), "").FirstSightings)

	second := b.compare(ids(1, 20), "")
	require.Equal(t, ids(0, 1), second.Orphans)
	require.NotEmpty(t, second.Hash)
	require.Empty(t, second.Guard)
}

func TestASightingDoesNotConfirmItselfWithinTheSameRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	started := b.now.Add(time.Minute)
	for range 2 {
		b.now = b.now.Add(time.Minute)
		b.lister.ids, b.lister.at = ids(1, 20), b.now
		v, err := b.env.ExecuteActivity(b.act.CompareLists, contract.CompareInput{RunStartedAt: started, Confirm: true})
		require.NoError(t, err)
		var plan contract.Plan
		require.NoError(t, v.Get(&plan))
		require.Zero(t, plan.OrphanCount)
		require.Equal(t, 1, plan.FirstSightings)
	}
}

func TestARunThatDoesNotConfirmOnlyTakesNote(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	for range 3 {
		b.now = b.now.Add(time.Minute)
		b.lister.ids, b.lister.at = ids(1, 20), b.now
		v, err := b.env.ExecuteActivity(b.act.CompareLists, contract.CompareInput{RunStartedAt: b.now})
		require.NoError(t, err)
		var plan contract.Plan
		require.NoError(t, v.Get(&plan))
		require.Zero(t, plan.OrphanCount)
		require.Equal(t, 1, plan.FirstSightings)
	}
	require.Equal(t, 1, b.compare(ids(1, 20), "").OrphanCount)
}

func TestWhatIsProtectedIsNoOrphan(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		protect func(b *bundle, id string) error
		want    contract.Skipped
	}{
		"held": {func(b *bundle, id string) error {
			_, err := b.registry.Hold(b.t.Context(), id, storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "r", Actor: "a"}})
			return err
		}, contract.Skipped{Held: 1}},
		"pinned": {func(b *bundle, id string) error {
			return b.registry.SetPins(b.t.Context(), []string{id})
		}, contract.Skipped{Pinned: 1}},
		"pending": {func(b *bundle, id string) error {
			_, err := b.registry.BeginDeletion(b.t.Context(), storemanager.DeletionRequest{
				StoreID: id, At: b.now, DeleteAt: b.now.Add(24 * time.Hour), Owner: "o",
			})
			return err
		}, contract.Skipped{Pending: 1}},
		"too young": {func(b *bundle, id string) error {
			_, err := b.registry.Ensure(b.t.Context(), storemanager.EnsureRequest{StoreID: id, At: b.now.Add(time.Hour)})
			return err
		}, contract.Skipped{TooYoung: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.monitored(ids(0, 20))
			require.NoError(t, tc.protect(b, ids(0, 1)[0]))
			for range 3 {
				plan := b.compare(ids(1, 20), "")
				require.Zero(t, plan.OrphanCount)
				require.Equal(t, tc.want, plan.Skipped)
			}
		})
	}
}

func TestAPendingDeletionIsNoSightingHoweverOldItIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	_, err := b.registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: ids(0, 1)[0], At: b.now, DeleteAt: b.now.Add(time.Hour), Owner: "terminated",
	})
	require.NoError(t, err)
	require.Equal(t, 1, b.compare(ids(1, 20), "").Skipped.Pending)
	b.now = b.now.Add(3 * time.Hour)
	require.Equal(t, 1, b.compare(ids(1, 20), "").Skipped.Pending, "whoever waits for it is looked for in each run")
}

func TestTheGuardKeepsBackWhatIsMoreThanItsLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		monitored, listed int
		want              string
	}{
		"an empty list removes nothing":                          {20, 0, "list is empty"},
		"an empty list with few stores removes nothing":          {3, 0, "list is empty"},
		"nothing listed and nothing monitored is fine":           {0, 0, ""},
		"less than a tenth passes":                               {20, 19, ""},
		"a tenth waits":                                          {20, 18, "RECONCILE_MAX_DELETE_PERCENT"},
		"below ten stores a percentage means nothing":            {9, 1, ""},
		"fifty of many pass":                                     {1000, 950, ""},
		"more than fifty wait however many are monitored":        {1000, 949, "RECONCILE_MAX_DELETES"},
		"a list cut to a fifth, as the Node server once removed": {50, 10, "RECONCILE_MAX_DELETE_PERCENT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.monitored(ids(0, tc.monitored))
			b.compare(ids(0, tc.listed), "")
			plan := b.compare(ids(0, tc.listed), "")
			if tc.want == "" {
				require.Empty(t, plan.Guard)
				require.Len(t, plan.Orphans, tc.monitored-tc.listed)
				return
			}
			require.Contains(t, plan.Guard, tc.want)
			require.Empty(t, plan.Orphans)
		})
	}
}

func TestAListThatLacksMuchIsNotBelievedAboutTheLittleThatTwoListsLack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.compare(ids(1, 20), "")
	plan := b.compare(ids(10, 20), "")
	require.Equal(t, 1, plan.OrphanCount)
	require.Contains(t, plan.Guard, "lacks 10 of 20 stores")
	require.Empty(t, plan.Orphans)
}

func TestATrippedGuardIsReleasedByTheHashOfThatVeryPlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.compare(ids(5, 21), "")
	tripped := b.compare(ids(5, 21), "")
	require.NotEmpty(t, tripped.Guard)
	require.Equal(t, ids(20, 21), tripped.Missing, "it still adds")
	_, err := b.tryCompare(ids(5, 21), "another")
	require.ErrorContains(t, err, "plan another was approved, and the plan is now "+tripped.Hash+": nothing was done")
	for _, hash := range []string{tripped.Hash, tripped.RemovalHash} {
		approved := b.compare(ids(5, 21), hash)
		require.Empty(t, approved.Guard)
		require.Equal(t, ids(0, 5), approved.Orphans)
		require.Equal(t, ids(20, 21), approved.Missing, "a store that can't be added does not stand in the way")
	}

	b.monitored(ids(20, 21)) // as the run has done
	other := b.compare(ids(6, 21), tripped.RemovalHash)
	require.Empty(t, other.Guard, "the first sighting is not part of the approved plan")
	require.Equal(t, ids(0, 5), other.Orphans)
	_, err = b.tryCompare(ids(4, 21), tripped.RemovalHash)
	require.ErrorContains(t, err, "nothing was done", "other removals")
}

func TestInvalidIDsAreSetAsideAndStopNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	plan := b.compare([]string{"../../etc x", "ok-1", "no", "../../etc x", "ok-2"}, "")
	require.Equal(t, []string{"ok-1", "ok-2"}, plan.Missing)
	require.Equal(t, 2, plan.QuarantinedCount)
	require.ElementsMatch(t, []string{"../../etc x", "no"}, plan.Quarantined)
}

func TestAFailedListMarksNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.monitored(ids(0, 20))
	b.lister.damaged = true
	_, err := b.tryCompare(ids(0, 10), "")
	require.ErrorContains(t, err, "damaged")
	b.lister.damaged = false
	require.Zero(t, b.compare(ids(0, 20), "").FirstSightings)
	require.Equal(t, 1, b.compare(ids(1, 20), "").FirstSightings, "the failed list was no sighting")
}

func TestThePlanIsBoundedWhateverTheDrift(t *testing.T) {
	t.Parallel()
	b := setup(t)
	plan := b.compare(ids(0, 10000), "")
	require.Len(t, plan.Missing, 3000)
	require.Equal(t, 10000, plan.MissingCount)
}

func TestADeletionKnownSinceTheListWasFetchedWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	plan := b.compare(ids(0, 2), "")
	_, err := b.registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
		StoreID: ids(0, 1)[0], At: b.now.Add(time.Second), DeleteAt: b.now.Add(time.Second), Owner: "o",
	})
	require.NoError(t, err)
	v, err := b.env.ExecuteActivity(b.act.EnsureMissing, contract.EnsureMissingInput{IDs: plan.Missing, ListAt: plan.ListAt, RunID: "r"})
	require.NoError(t, err)
	var res contract.EnsureMissingResult
	require.NoError(t, v.Get(&res))
	require.Equal(t, contract.EnsureMissingResult{Added: 1, Stale: 1}, res)
}

// slowManager ensures at most some stores of each batch, and those whose turn never comes not at all.
type slowManager struct {
	activities.ReconcileKeeper
	atOnce int
	never  string
}

func (m slowManager) EnsureBatch(_ context.Context, rs []storemanager.EnsureRequest) ([]storemanager.EnsureResult, error) {
	results := make([]storemanager.EnsureResult, len(rs))
	done := 0
	for i, r := range rs {
		results[i] = storemanager.EnsureResult{StoreID: r.StoreID, Outcome: storemanager.EnsureFailed}
		if done < m.atOnce && r.StoreID != m.never {
			results[i].Outcome = storemanager.EnsureCreated
			done++
		}
	}
	return results, nil
}

func TestASlowStoreManagerIsAskedAgainAsLongAsItGetsOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.act.Manager = slowManager{b.act.Manager, 3, ids(7, 8)[0]}
	var told []contract.Progress
	b.env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
		var p contract.Progress
		if details.Get(&p) == nil {
			told = append(told, p)
		}
	})
	v, err := b.env.ExecuteActivity(b.act.EnsureMissing, contract.EnsureMissingInput{IDs: ids(0, 250), ListAt: b.now, RunID: "r"})
	require.NoError(t, err)
	var res contract.EnsureMissingResult
	require.NoError(t, v.Get(&res))
	require.NotEmpty(t, told)
	for _, p := range told {
		require.Equal(t, p.Done, p.Ensured.Added+p.Ensured.Failed, "a retry goes on from here, and must count nothing twice")
	}
	require.Equal(t, contract.EnsureMissingResult{Added: 249, Failed: 1, Failing: []contract.FailingStore{{StoreID: ids(7, 8)[0]}}}, res)
}

func TestOneOrphanThatFailsStopsNoneOfTheOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.deletion.fail = map[string]bool{"store-000002": true}
	v, err := b.env.ExecuteActivity(b.act.RequestDeletions, contract.RequestDeletionsInput{IDs: ids(0, 10), ListAt: b.now})
	require.NoError(t, err)
	var res contract.RequestDeletionsResult
	require.NoError(t, v.Get(&res))
	require.Equal(t, contract.RequestDeletionsResult{Requested: 9, Failed: 1}, res)
	require.Len(t, b.deletion.ids, 9)
}

func TestARunIsRecorded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	report := contract.ReconcileReport{Trigger: "manual", StartedAt: b.now, CompletedAt: b.now.Add(time.Second), Added: 3}
	_, err := b.env.ExecuteActivity(b.act.RecordRun, contract.RecordInput{RunID: "r1", Report: report})
	require.NoError(t, err)
	_, err = b.env.ExecuteActivity(b.act.RecordRun, contract.RecordInput{RunID: "r2", Report: report, Error: "the workspace list is damaged"})
	require.NoError(t, err)
	known, err := b.registry.Reconciliation(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, known.Runs)
	require.EqualValues(t, 1, known.Failures)
	require.Equal(t, "the workspace list is damaged", known.LastError.Error)
}

func TestHowLateARepairCameIsMeasuredFromTheLastListThatWasRepairedFrom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	record := func(id string, minute int, failure string, change func(*contract.ReconcileReport)) string {
		at := b.now.Add(time.Duration(minute) * time.Minute)
		report := contract.ReconcileReport{StartedAt: at, FirstListAt: at, ListAt: at, CompletedAt: at.Add(time.Second), Mode: contract.ModeFull}
		change(&report)
		_, err := b.env.ExecuteActivity(b.act.RecordRun, contract.RecordInput{RunID: id, Report: report, Error: failure})
		require.NoError(t, err)
		w := httptest.NewRecorder()
		b.act.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		return strings.Join(regexp.MustCompile(`storekeeper_repair_age_seconds_(?:sum|count) \S+`).FindAllString(w.Body.String(), -1), ",")
	}
	added := func(r *contract.ReconcileReport) { r.Added = 2 }
	const ages = "storekeeper_repair_age_seconds_sum %d,storekeeper_repair_age_seconds_count %d"
	require.Equal(t, fmt.Sprintf(ages, 0, 0), record("first", 0, "", added), "it is not known how old they are")
	require.Equal(t, fmt.Sprintf(ages, 0, 0), record("quiet", 5, "", func(*contract.ReconcileReport) {}))
	require.Equal(t, fmt.Sprintf(ages, 2*301, 2), record("repairs", 10, "", added))
	require.Equal(t, fmt.Sprintf(ages, 2*301, 2), record("repairs", 10, "", added), "recorded again")
	for i, left := range []func(*contract.ReconcileReport){
		func(r *contract.ReconcileReport) { r.FailedAdds = 1 }, func(r *contract.ReconcileReport) { r.Left = 1 },
		func(r *contract.ReconcileReport) { r.Mode = contract.ModeObserve }, func(r *contract.ReconcileReport) { r.Paused = "ann" },
		func(r *contract.ReconcileReport) { r.Skipped.Paused = 1 }, func(r *contract.ReconcileReport) { r.SetAsideCount = 1 },
		func(r *contract.ReconcileReport) { r.FirstListAt = time.Time{} },
	} {
		record(fmt.Sprint("leaves", i), 11+i, "", left)
	}
	record("fails", 19, "the auth worker took too long", func(*contract.ReconcileReport) {})
	require.Equal(t, fmt.Sprintf(ages, 2*301+2*601, 4), record("late", 20, "", added), "since the last list from which all was added")
}

func TestAPauseDuringARunIsObeyed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pause := func(storeID string) {
		_, err := b.registry.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: storeID, Reason: "r", Actor: "a"}})
		require.NoError(t, err)
	}
	pause(ids(1, 2)[0])
	v, err := b.env.ExecuteActivity(b.act.EnsureMissing, contract.EnsureMissingInput{IDs: ids(0, 3), ListAt: b.now, RunID: "r"})
	require.NoError(t, err)
	var ensured contract.EnsureMissingResult
	require.NoError(t, v.Get(&ensured))
	require.Equal(t, contract.EnsureMissingResult{Added: 2}, ensured)
	_, err = b.env.ExecuteActivity(b.act.RequestDeletions, contract.RequestDeletionsInput{IDs: ids(0, 3), ListAt: b.now})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{ids(0, 1)[0], ids(2, 3)[0]}, b.deletion.ids)

	pause("")
	v, err = b.env.ExecuteActivity(b.act.EnsureMissing, contract.EnsureMissingInput{IDs: ids(5, 9), ListAt: b.now, RunID: "r"})
	require.NoError(t, err)
	require.NoError(t, v.Get(&ensured))
	require.Equal(t, contract.EnsureMissingResult{Left: 4, Paused: "a: r"}, ensured)
	v, err = b.env.ExecuteActivity(b.act.RequestDeletions, contract.RequestDeletionsInput{IDs: ids(5, 9), ListAt: b.now})
	require.NoError(t, err)
	var requested contract.RequestDeletionsResult
	require.NoError(t, v.Get(&requested))
	require.Equal(t, contract.RequestDeletionsResult{Left: 4, Paused: "a: r"}, requested)
	require.Len(t, b.deletion.ids, 2)
}
