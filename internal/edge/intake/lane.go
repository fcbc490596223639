package intake

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
)

const (
	// At first 8 events may be at Temporal at once: that many keep an embedded server busy. The limiter finds out how many a larger one can use.
	firstAtTemporal, maxAtTemporal = 8, 256
	// limiterSamples make a window of the limiter. They are few: a Temporal with little processor time does less than twenty events a second.
	limiterSamples = 10
	// limiterRoom bounds the limit to so many times the events that are under way. Without it the limit rises while it is not reached.
	limiterRoom = 2
	// firstPace is what is assumed of Temporal before it has shown its pace: some ten times what an idle machine takes (docs/benchmarks.md, case e).
	firstPace = 100 * time.Millisecond
	// paceSamples is over how many events the pace is smoothed.
	paceSamples = 16
	// leastInLane are always let in: a pace that is bad can only be found to be better by events. With fewer inside nothing is measured, for then the
	// pace is that of the senders.
	leastInLane = 8
	// leastPatience is for a short WEBHOOK_WAIT. Its events are answered without their outcome, and that takes time, too.
	leastPatience = time.Second
	// longestSpread bounds the spread. Senders that are refused are told to wait for one spread, and up to one more at random, so that they do
	// not all come again at once. Senders give up after some 25 s.
	longestSpread = 5 * time.Second
)

// lane is where events wait for their turn at Temporal. Those that would wait too long are not let in: to refuse is cheap, to begin what can't be
// finished in time is not.
type lane struct {
	limiter  adaptivelimiter.AdaptiveLimiter[any] // first come, first served
	patience time.Duration

	mu sync.Mutex
	// inside have entered and not left.
	inside int
	// pace is the smoothed time between two events that Temporal is done with, measured while at least leastInLane are inside.
	pace time.Duration
	// last is when Temporal was done with the newest event, or since when so many are inside, whichever is later.
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

// full returns after how long to come again; 0 when there is room.
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

// enter returns 0 when the event is let in; leave must follow then. Otherwise it returns after how long to come again.
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

// turn waits for the event's turn as long as time is left. If it comes, done must follow; false: it did not.
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
