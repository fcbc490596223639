package intake

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// backlog is what is known of events that wait for a worker.
type backlog struct {
	age  atomic.Int64 // in nanoseconds, of the oldest
	over atomic.Bool  // webhooks are refused
}

// watchBacklog asks for the age of the backlog until ctx ends.
func (in *Intake) watchBacklog(ctx context.Context) {
	tick := time.NewTicker(in.bounds.BacklogPoll)
	defer tick.Stop()
	for {
		in.askBacklog(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askBacklog refuses webhooks from when the age is over the bound until it is down to half of it: an edge on the brink would otherwise take and
// refuse by turns. Nothing changes when Temporal can't be asked: then it takes no events either.
func (in *Intake) askBacklog(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	age, err := in.orchestrator.Backlog(ctx)
	if err != nil {
		in.log.Debug("backlog not asked for", zap.Error(err))
		return
	}
	in.backlog.age.Store(int64(age))
	limit := in.config.WebhookMaxBacklog
	switch over := in.backlog.over.Load(); {
	case !over && age > limit:
		in.backlog.over.Store(true)
		in.log.Warn("events wait too long for a worker, webhooks are refused", zap.Duration(keyBacklogMs, age))
	case over && age <= limit/2:
		in.backlog.over.Store(false)
		in.log.Info("events no longer wait too long", zap.Duration(keyBacklogMs, age))
	}
}

const keyBacklogMs = "backlogMs"

// gate lets in as many at a time as it has room for.
type gate chan struct{}

// enter says whether there was room; then leave must follow.
func (g gate) enter() bool {
	select {
	case g <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g gate) leave() { <-g }

func (g gate) full() bool { return len(g) == cap(g) }

// RoomWarnings say what the edge has no room for.
func (in *Intake) RoomWarnings() []string {
	found := []string{}
	for _, room := range []struct {
		gate gate
		of   string
	}{
		{in.bodies, "bodies of senders with a secret"},
		{in.unprovenBodies, "bodies of senders with a signature"},
		{in.underWay, "events"},
	} {
		if room.gate.full() {
			found = append(found, fmt.Sprintf("webhooks: %d %s are under way, more are refused", cap(room.gate), room.of))
		}
	}
	return found
}

// MemoryWarnings say that deliveries can't be remembered.
func (in *Intake) MemoryWarnings() []string {
	if !in.notRemembered.within(forgetfulness) {
		return nil
	}
	return []string{"webhooks: answers can't be remembered; what is sent again is applied again"}
}

// Backlog is for how long the oldest event has waited for a worker, and whether webhooks are refused because of it.
func (in *Intake) Backlog() (age time.Duration, over bool) {
	return time.Duration(in.backlog.age.Load()), in.backlog.over.Load()
}
