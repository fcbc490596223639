package activities_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/telemetry"
	"storekeeper/tests/sentrytest"
)

// news has the bundle's activities tell a fake of Sentry, and returns what that has been told.
func (b *bundle) news() (told func() []string, sentry *telemetry.Sentry) {
	b.t.Helper()
	fake := sentrytest.Start(b.t)
	sentry, err := telemetry.NewSentry(telemetry.SentryOptions{DSN: fake.DSN})
	require.NoError(b.t, err)
	b.t.Cleanup(sentry.Close)
	b.act.Sentry = sentry
	return func() []string {
		require.True(b.t, sentry.Flush(30*time.Second))
		var all []string
		for _, event := range fake.Events() {
			all = append(all, event.Issue()+": "+event.Text())
		}
		return all
	}, sentry
}

// recordRun records a run, a minute after the one before.
func (b *bundle) recordRun(n int, failure string) {
	b.t.Helper()
	b.now = b.now.Add(time.Minute)
	_, err := b.env.ExecuteActivity(b.act.RecordRun, contract.RecordInput{
		RunID: fmt.Sprintf("run-%d", n), Error: failure,
		Report: contract.ReconcileReport{Trigger: "schedule", StartedAt: b.now, CompletedAt: b.now.Add(time.Second)},
	})
	require.NoError(b.t, err)
}

func TestRunsThatFailAreToldOnceAndTheirEndOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	told, _ := b.news()
	for n, failure := range []string{"", "boom", "boom", "cancelled", "bang", "bang", "", ""} {
		b.recordRun(n, failure)
	}
	events := told()
	require.Len(t, events, 2, events)
	require.Equal(t, "ReconcileWorkspaces | reconcile | failing: reconcile runs fail: boom", events[0])
	require.Contains(t, events[1], "ReconcileWorkspaces | reconcile | over: reconcile runs succeed again: 4 failed after ")
	b.recordRun(100, "boom")
	require.Len(t, told(), 3, "it is news again")
}

func TestRunsThatFailOfAnOutageAreToldAsThatOutage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.now = time.Now().UTC().Add(-time.Hour)
	told, sentry := b.news()
	called := sentry.Watch(telemetry.SideAuthWorker)
	b.recordRun(1, "")
	called(errors.New("no route"), false)
	b.recordRun(2, "the auth worker is away")
	b.recordRun(3, "the auth worker is away")
	called(nil, false)
	b.recordRun(4, "")
	events := told()
	require.Len(t, events, 2, events)
	require.Equal(t, "auth_worker_outage |  | away: the auth worker fails: no route", events[0])
	require.Contains(t, events[1], "auth_worker_outage |  | over: ")
}

func TestATrippedGuardIsToldOnceAndItsEndOnce(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*bundle) string{
		"by a list that lacks nothing": func(b *bundle) string {
			b.mustRun(ids(0, 40), "")
			return "a list lacks nothing"
		},
		"by an approval": func(b *bundle) string {
			plan := b.mustRun(ids(20, 40), "").PlanHash
			b.mustRun(ids(20, 40), plan)
			return "removals were approved by an operator"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			told, _ := b.news()
			b.monitored(ids(0, 40))
			for range 4 {
				b.mustRun(ids(20, 40), "")
			}
			events := told()
			require.Len(t, events, 1, events)
			require.Contains(t, events[0], "CompareLists | guard | tripped: the guard of reconciliation holds removals back")
			require.Contains(t, events[0], "lacks 20 of 40 stores")
			how := end(b)
			events = told()
			require.Len(t, events, 2, events)
			require.Contains(t, events[1], "CompareLists | guard | over: the guard of reconciliation holds nothing back any more: "+how)
		})
	}
}

func TestListsThatProveNothingAreToldOnceAndTheirEndOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	told, _ := b.news()
	b.monitored(ids(0, 40))
	for range 3 {
		b.mustRun(nil, "")
	}
	events := told()
	require.Len(t, events, 1, events)
	require.Contains(t, events[0], "CompareLists | list | unproven: ")
	b.mustRun(ids(0, 40), "")
	b.mustRun(ids(0, 40), "")
	require.Equal(t, "CompareLists | list | over: the lists can be believed again", told()[1])
	require.Len(t, told(), 2)
}
