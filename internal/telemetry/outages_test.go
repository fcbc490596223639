package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"storekeeper/internal/telemetry"
	"storekeeper/tests/sentrytest"
)

func TestTenThousandEqualFailuresAreOneIssueAndAHandfulOfEvents(t *testing.T) {
	t.Parallel()
	s, fake := newSentry(t)
	const failures = 10_000
	for i := range failures {
		s.Capture(t.Context(), fmt.Errorf("store %d is away", i), telemetry.Operation{
			StoreID: fmt.Sprint(i), Name: "EnsureStore", Phase: "provision", Outcome: telemetry.OutcomeFailed,
		})
	}
	s.Capture(t.Context(), errors.New("another operation"), telemetry.Operation{Name: "StopStore", Phase: "deletion"})
	events, count, issues := sent(t, s, fake), 0, map[string]int{}
	for _, event := range events {
		issues[event.Issue()]++
		count += event.Count()
	}
	require.Len(t, issues, 2)
	require.Equal(t, 2, issues["EnsureStore | provision | *errors.errorString"])
	require.Equal(t, failures+1, count, "none is left out of the count")
	require.Equal(t, "9999", events[len(events)-1].Tags["storeId"], "the newest stands for the others")
}

func TestEventsSayWhoSendsThem(t *testing.T) {
	t.Parallel()
	fake := sentrytest.Start(t)
	s, err := telemetry.NewSentry(telemetry.SentryOptions{DSN: fake.DSN, Environment: "staging", Role: "worker"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.Capture(t.Context(), errors.New("boom"), telemetry.Operation{Name: "StopStore"})
	event := sent(t, s, fake)[0]
	require.Equal(t, "storekeeper@dev", event.Release)
	require.Equal(t, "staging", event.Environment)
	require.Equal(t, "worker", event.Tags["role"])
	require.NotEmpty(t, event.ServerName)
}

func TestASentryThatWantsNoMoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	s, fake := newSentry(t)
	fake.Limit(time.Hour)
	for i := range 5 {
		s.Capture(t.Context(), errors.New("boom"), telemetry.Operation{Name: fmt.Sprint(i)})
		require.True(t, s.Flush(10*time.Second))
	}
	require.Equal(t, 1, fake.Refused(), "the first answer has said for how long")
}

func TestASentryThatHangsKeepsNoProcessFromEnding(t *testing.T) {
	t.Parallel()
	s, fake := newSentry(t)
	fake.Hang()
	s.Capture(t.Context(), errors.New("boom"), telemetry.Operation{Name: "StopStore"})
	require.Eventually(t, func() bool { return fake.Refused() == 1 }, 10*time.Second, time.Millisecond)
	ended := make(chan bool)
	go func() {
		s.Flush(100 * time.Millisecond)
		s.Close()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(4 * time.Second): // the client alone would take 5 s and more
		t.Fatal("it waits for a server that hangs")
	}
}

// away is a failure that the side is to blame for.
func away(side string, refused bool) error {
	return temporal.NewApplicationErrorWithOptions("away", "Unavailable", temporal.ApplicationErrorOptions{
		Details: []any{telemetry.Blame{Side: side, Refused: refused}},
	})
}

// fail runs an activity for the store that fails so often, with at most six attempts.
func (b bundle) fail(t *testing.T, store string, times int32, err error) {
	t.Helper()
	env := b.newWorkflowEnv(func(ctx context.Context, _ storeInput) error {
		if activity.GetInfo(ctx).Attempt <= times {
			return err
		}
		return nil
	}, runActivity(temporal.RetryPolicy{MaximumAttempts: 6}))
	env.ExecuteWorkflow("W", storeInput{store})
}

func TestAnOutageOfASideIsOneEventAndItsEndAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	called := b.sentry.Watch(telemetry.SideStoreManager)
	called(nil, false)
	called(errors.New("connection refused"), false)
	b.fail(t, "s0", 2, away(telemetry.SideStoreManager, false))
	require.Empty(t, b.events(t), "nothing that would have been captured has failed yet")
	began := time.Now()
	for i := range 20 {
		b.fail(t, fmt.Sprintf("s%d", i), 10, away(telemetry.SideStoreManager, false)) // activity and workflow fail for good
	}
	require.True(t, b.sentry.OutageSince(began))
	events := b.events(t)
	require.Len(t, events, 1)
	require.Equal(t, "store_manager_outage", events[0].Tags["operation"])
	require.Equal(t, "the store manager fails: connection refused", events[0].Text())

	b.fail(t, "other", 10, temporal.NewApplicationError("its own fault", "Other"))
	require.Len(t, b.events(t), 3, "activity and workflow: the outage explains nothing else")

	called(nil, false)
	called(nil, false)
	events = b.events(t)
	require.Len(t, events, 4)
	require.Equal(t, "info", events[3].Level)
	require.True(t, strings.HasPrefix(events[3].Text(), "the store manager does its part again after "), events[3].Text())
	require.Contains(t, events[3].Text(), "it concerned 20 stores")
	require.EqualValues(t, 20, events[3].Contexts["outage"]["stores"])
	require.True(t, b.sentry.OutageSince(began))
	require.False(t, b.sentry.OutageSince(time.Now()))

	b.fail(t, "late", 10, away(telemetry.SideStoreManager, false))
	require.Len(t, b.events(t), 6, "the side answers, so what fails is no outage")
}

func TestARefusedTokenIsToldAtOnceAndOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	called := b.sentry.Watch(telemetry.SideAuthWorker)
	called(errors.New("the auth worker refused the token"), true)
	b.fail(t, "s", 1, away(telemetry.SideAuthWorker, true))
	b.fail(t, "s", 6, away(telemetry.SideAuthWorker, true))
	events := b.events(t)
	require.Len(t, events, 1)
	require.Equal(t, "auth_worker_outage |  | refused", events[0].Issue())
	require.True(t, b.sentry.TellOutages(), "it is told already")
	require.Len(t, b.events(t), 1)
	called(nil, false)
	require.False(t, b.sentry.TellOutages())
	require.Len(t, b.events(t), 2)
}
