package dbfile

import (
	"context"
	"time"
)

// Upkeep calls look in a goroutine, each time the interval has passed, until end is called. end cancels the context of a look that is under way, and
// returns once no look runs any more. The end of ctx does not end the upkeep: only its values are used.
func Upkeep(ctx context.Context, interval time.Duration, look func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				look(ctx)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
