// Package backoff says how long to wait before the next attempt at something that has failed.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Delay returns how long to wait after an attempt that failed; failures is how many in a row had failed before it. After the first it is
// one to two times shortest, then twice as long each time, and never longer than longest. Up to half of it is random, so that those who
// failed together do not come back together.
func Delay(shortest, longest time.Duration, failures int) time.Duration {
	window := min(shortest<<min(failures+1, 16), longest)
	return window - rand.N(window/2+1) //nolint:gosec // it spreads attempts and guards nothing
}

// Sleep waits for d. It returns false when ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
