package edge

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/telemetry"
)

// backlogPoll is how often the age of the backlog is asked for.
const backlogPoll = time.Second

// Why events are refused although Temporal would take them.
var (
	errBacklog  = errors.New("events wait too long for a worker")
	errNotTaken = errors.New("temporal took no event a moment ago")
	errTooMany  = errors.New("too many webhooks at once")
	overloaded  = &refusal{kind: kindOverloaded, message: "Events wait too long to be worked off; send it again", retryAfter: 10 * time.Second}
	tooManyOnce = &refusal{kind: kindOverloaded, message: "Too many webhooks at once; send it again", retryAfter: time.Second}
)

// backlog is what is known of events that wait for a worker.
type backlog struct {
	age  atomic.Int64 // in nanoseconds, of the oldest
	over atomic.Bool  // webhooks are refused
}

// watchBacklog asks for the age of the backlog until ctx ends. What is over the bound stays so until it is down to half of that:
// an edge on the brink would otherwise take and refuse in turn.
func (s *Server) watchBacklog(ctx context.Context) {
	tick := time.NewTicker(s.backlogPoll)
	defer tick.Stop()
	for {
		s.askBacklog(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askBacklog leaves the door as it is when Temporal can't be asked: then it takes no events either.
func (s *Server) askBacklog(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	age, err := s.orchestrator.Backlog(ctx)
	if err != nil {
		s.log.Debug("backlog not asked for", zap.Error(err))
		s.metrics.EventBacklogUnknown()
		return
	}
	s.backlog.age.Store(int64(age))
	s.metrics.EventBacklog(age)
	limit := s.config.WebhookMaxBacklog
	switch over := s.backlog.over.Load(); {
	case !over && age > limit:
		s.backlog.over.Store(true)
		s.log.Warn("events wait too long for a worker, webhooks are refused", zap.Duration(keyBacklogMs, age))
	case over && age <= limit/2:
		s.backlog.over.Store(false)
		s.log.Info("events no longer wait too long", zap.Duration(keyBacklogMs, age))
	}
}

const keyBacklogMs = "backlogMs"

// crowdMemory is how long it is a warning that there was no room for a connection.
const crowdMemory = time.Minute

// gate lets as many in at a time as it has room for.
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

// doorWarnings say what the edge itself is short of.
func (s *Server) doorWarnings() []string {
	found := []string{}
	for _, room := range []struct {
		gate gate
		of   string
	}{
		{s.bodies, "bodies of senders with a secret"},
		{s.unprovenBodies, "bodies of senders with a signature"},
		{s.events, "events"},
	} {
		if room.gate.full() {
			found = append(found, fmt.Sprintf("webhooks: %d %s are under way, more are refused", cap(room.gate), room.of))
		}
	}
	if server := s.server.Load(); server != nil && server.Crowded(crowdMemory) {
		found = append(found, fmt.Sprintf("connections: %d are open, strangers' are closed to make room", server.Connections()))
	}
	if s.notRemembered.within(forgetfulness) {
		found = append(found, "webhooks: answers can't be remembered; what is sent again is applied again")
	}
	return found
}

func (s *Server) checkBacklog() api.DerivedCheck {
	age := time.Duration(s.backlog.age.Load())
	if s.backlog.over.Load() {
		return api.DerivedCheck{Error: "events wait " + age.Round(time.Second).String() + " for a worker; webhooks are refused"}
	}
	return api.DerivedCheck{OK: true}
}

// noteRefusal remembers that an event had to be refused. It reports the first of an outage alone: the rest are in the metrics.
func (s *Server) noteRefusal(ctx context.Context, requestID zap.Field, err error) {
	s.refusedLast.set()
	if s.refused.Add(1) > 1 {
		return
	}
	s.log.Error("webhooks are refused", requestID, zap.Error(err))
	s.sentry.Capture(ctx, err, telemetry.Operation{Name: operationWebhook})
	select {
	case s.outage <- struct{}{}:
	default: // Run has not yet got to the one before, and will do for both
	}
}
