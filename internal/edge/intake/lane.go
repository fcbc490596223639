package intake

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
)

const (
	// At Temporal at once are at first 8 events: as many as an embedded server needs to be busy. The limiter finds what a larger one
	// can use.
	firstAtTemporal, maxAtTemporal = 8, 256
	// limiterSamples make a window of the limiter's: few, since a Temporal with little processor time does less than twenty events a second.
	limiterSamples = 10
	// limiterRoom is how many times those under way the limit may be: without a bound it drifts up while it is not reached.
	limiterRoom = 2
	// firstPace is what is assumed of Temporal before it has shown its pace: some ten times what an idle machine takes (docs/benchmarks.md, case e).
	firstPace = 100 * time.Millisecond
	// paceSamples is over how many events the pace is smoothed.
	paceSamples = 16
	// leastInLane are let in whatever the pace was, or it could not be found to have become better. With fewer the pace would be that of
	// the senders.
	leastInLane = 8
	// leastPatience is for a WEBHOOK_WAIT that is shorter: its events go out without their outcome, and that takes time, too.
	leastPatience = time.Second
	// longestSpread is over how long those who are refused come again, after as long a pause. Senders give up after some 25 s.
	longestSpread = 5 * time.Second
)

// lane is the way of events to Temporal. Those that would wait too long for their turn are not let in: to refuse is cheap, to
// begin what can't be finished in time is not.
type lane struct {
	limiter  adaptivelimiter.AdaptiveLimiter[any] // first come, first served
	patience time.Duration

	mu sync.Mutex
	// inside have entered and not left.
	inside int
	// pace is the time from one event that Temporal is done with to the next while at least leastInLane are inside, smoothed; last is when
	// it was done with the newest, or since when so many are inside.
	pace time.Duration
	last time.Time
}

func newLane(wait time.Duration) *lane {
	return &lane{
		// The rest of the wait is for a pace that gets worse.
		patience: max(wait*3/5, leastPatience), pace: firstPace,
		limiter: adaptivelimiter.NewBuilder[any]().
			WithLimits(1, maxAtTemporal, firstAtTemporal).
			WithMaxLimitFactor(limiterRoom).
			WithRecentWindow(time.Second, 30*time.Second, limiterSamples).Build(),
	}
}

// full is when to come again; 0 when there is room.
func (l *lane) full() (retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.overdue()
}

func (l *lane) overdue() time.Duration {
	expected := time.Duration(l.inside+1) * l.pace
	if l.inside < leastInLane || expected <= l.patience {
		return 0
	}
	// Those who come at once should not come again at once.
	spread := min(max(expected, time.Second), longestSpread)
	return spread + rand.N(spread) //nolint:gosec // nothing secret
}

// enter returns 0 when the event is let in; then leave must follow. Otherwise it returns when to come again.
func (l *lane) enter() (retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if retryAfter := l.overdue(); retryAfter > 0 {
		return retryAfter
	}
	if l.inside++; l.inside == leastInLane {
		l.last = time.Now()
	}
	return 0
}

func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside--
}

// turn waits for the event's turn until no time is left; false: it has none. With one, done must follow.
func (l *lane) turn(ctx context.Context, left time.Duration) (done func(), ok bool) {
	permit, err := l.limiter.AcquirePermitWithMaxWait(ctx, max(0, left))
	if err != nil {
		return nil, false
	}
	return func() {
		permit.Record()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.inside >= leastInLane {
			now := time.Now()
			l.pace += (now.Sub(l.last) - l.pace) / paceSamples
			l.last = now
		}
	}, true
}
