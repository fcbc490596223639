package intake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/orchestrator"
)

// busy is a Temporal that works off nothing before release is closed.
func busy(t *testing.T, with ...func(*fixture)) (f *fixture, release func()) {
	t.Helper()
	released := make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	f = setup(t, append(with, func(f *fixture) {
		f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
			<-released
			return contract.Result{Status: contract.StatusMonitoringStarted}, nil
		}
	})...)
	t.Cleanup(release)
	return f, release
}

// sendMany returns when n events are under way; their statuses come when they are answered.
func (f *fixture) sendMany(t *testing.T, n int) <-chan int {
	t.Helper()
	statuses := make(chan int, n)
	before := len(f.underWay)
	for range n {
		go func() {
			resp, _ := f.Exchange(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", "application/json")
			statuses <- resp.Status
		}()
	}
	require.Eventually(t, func() bool { return len(f.underWay) == before+n }, time.Minute, time.Millisecond)
	return statuses
}

func TestEventsThatWouldWaitTooLongAreRefusedAtOnceAndFillNoLog(t *testing.T) {
	t.Parallel()
	f, release := busy(t)
	f.lane.pace = 250 * time.Millisecond // so that a ninth would wait 2.25 s
	taken := f.sendMany(t, leastInLane)
	// What is known is no exception: to look it up would cost what is scarce.
	for i := range 100 {
		resp := f.Send(t, event("workspace.created"), "webhook-id", fmt.Sprintf("evt_%d", i))
		edgetest.RequireProblem(t, resp, 503, "overloaded", "Too many webhooks at once; send it again")
		require.Contains(t, []string{"3", "4", "5"}, resp.Header.Get("Retry-After"))
	}
	require.Len(t, f.Temporal.Applied(), leastInLane, "nothing of them has reached Temporal")
	require.EqualValues(t, 100, f.refused.Load(), "a reconcile will make up for those that give up")
	require.LessOrEqual(t, strings.Count(f.Logs.String(), `"webhook refused"`), 20)
	require.Regexp(t, `storekeeper_webhook_events_total\{[^}]*outcome="overloaded"[^}]*\} 100`, f.Do(t, http.MethodGet, "/metrics", "").Body)
	release()
	for range leastInLane {
		require.Equal(t, 200, <-taken)
	}
	require.Equal(t, 200, f.Send(t, event("workspace.created")).Status)
}

func TestThePaceIsThatOfTemporalAndNotOfTheSenders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLane(5 * time.Second)
		// crowd has so many events enter, of which Temporal does one each time; it returns how many were let in.
		crowd := func(n int, each time.Duration) (entered int) {
			for range n {
				if l.enter() == 0 {
					entered++
				}
			}
			for range entered {
				done, ok := l.turn(t.Context(), time.Minute)
				require.True(t, ok)
				<-time.After(each)
				done()
				l.leave()
			}
			return entered
		}
		for range 100 { // one event now and then
			<-time.After(time.Second)
			require.Equal(t, 1, crowd(1, 100*time.Millisecond))
		}
		require.Equal(t, 30, crowd(300, 100*time.Millisecond), "as many as are done in 3 s at the pace that is assumed at first")
		for range 10 {
			crowd(300, 20*time.Millisecond)
		}
		require.InDelta(t, 150, crowd(300, 20*time.Millisecond), 15, "it has become faster")
		for range 10 {
			crowd(300, time.Minute)
		}
		require.Equal(t, leastInLane, crowd(300, 20*time.Millisecond), "it hangs, but it must be found out when that is over")
		for range 100 {
			crowd(300, 20*time.Millisecond)
		}
		require.InDelta(t, 150, crowd(300, 20*time.Millisecond), 15)
	})
}

func TestAnEventWhoseTurnComesTooLateGoesByTheWayThatNeedsNone(t *testing.T) {
	t.Parallel()
	f, release := busy(t, func(f *fixture) { f.Config.WebhookWait = 100 * time.Millisecond })
	f.lane.limiter = adaptivelimiter.NewBuilder[any]().WithLimits(1, 1, 1).Build()
	first := f.sendMany(t, 1)
	require.Eventually(t, func() bool { return len(f.Temporal.Applied()) == 1 }, time.Minute, time.Millisecond)
	second := f.sendMany(t, 1)
	require.Eventually(t, func() bool { return len(f.Temporal.Applied()) == 2 }, time.Minute, time.Millisecond)
	require.Positive(t, f.Temporal.Waits()[0])
	require.Zero(t, f.Temporal.Waits()[1], "its outcome is not waited for")
	release()
	require.Equal(t, 200, <-first)
	require.Equal(t, 200, <-second)
}

func TestWhileTemporalTakesNothingOneEventAtATimeFindsOut(t *testing.T) {
	t.Parallel()
	down := errors.Join(orchestrator.ErrUnavailable, edgetest.ErrDown)
	entered, release := make(chan struct{}, 1), make(chan error)
	f := setup(t, func(f *fixture) {
		f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
			entered <- struct{}{}
			return contract.Result{Status: contract.StatusMonitoringStarted}, <-release
		}
	})
	first := f.sendMany(t, 1)
	<-entered
	release <- down
	require.Equal(t, 503, <-first)
	trial := f.sendMany(t, 1)
	<-entered
	for range 20 {
		edgetest.RequireProblem(t, f.Send(t, event("workspace.created")), 503, "unavailable", "The event could not be stored; send it again")
	}
	release <- nil
	require.Equal(t, 200, <-trial)
	next := f.sendMany(t, 2)
	for range 2 {
		<-entered
		release <- nil
	}
	require.Equal(t, 200, <-next)
	require.Equal(t, 200, <-next)
}
