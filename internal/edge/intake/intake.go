// Package intake is the way in of the Auth Worker's webhooks. way.go has the steps of an event in their order; the other files are what the steps
// need. The package decides nothing about stores: an event is handed to the workflows, and what comes of it is the answer.
package intake

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"storekeeper/contract"
	"storekeeper/internal/config"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/webhookauth"
)

// Orchestrator is what the intake asks of Temporal.
type Orchestrator interface {
	Apply(ctx context.Context, ev contract.Event, wait time.Duration) (contract.Result, error)
	Reachable(ctx context.Context) error
	Backlog(ctx context.Context) (time.Duration, error)
}

// Memory is what the intake has the store manager remember: the answers to deliveries, and events that were answered without an outcome.
type Memory interface {
	Delivery(ctx context.Context, id string) (*deliveries.Delivery, error)
	Remember(ctx context.Context, d deliveries.Delivery) (deliveries.Delivery, error)
	KeepAccepted(ctx context.Context, e deliveries.AcceptedEvent) error
}

// Options of an Intake. All are required but Sentry and Bounds.
type Options struct {
	Config       *config.Config
	Orchestrator Orchestrator
	Memory       Memory
	// RequestReconcile requests a reconcile run, and says whether it did: not when reconciliation is disabled or paused.
	RequestReconcile func(context.Context) (requested bool, err error)
	Metrics          *telemetry.Metrics
	// Sentry nil: failures are only logged.
	Sentry *telemetry.Sentry
	Log    *zap.Logger
	// Frequent logs what strangers can cause in any quantity. It leaves lines out; the metrics count everything.
	Frequent *zap.Logger
	// Bounds are those of a process where they are zero.
	Bounds Bounds
}

// Bounds are set by tests, which can't send as much, nor wait as long.
type Bounds struct {
	// Events is how many events may be on their way to Temporal or wait for their turn.
	Events int
	// Bodies is how many bodies of senders with a right secret may be on their way to the edge at a time, UnprovenBodies how many of senders
	// whose signature only the body can prove.
	Bodies, UnprovenBodies int
	// BacklogPoll is how often the age of the backlog is asked for, OutagePoll how often Temporal is looked for while it is away.
	BacklogPoll, OutagePoll time.Duration
	// RepairAfter is how long no event must have been refused before a reconcile run is worth it.
	RepairAfter time.Duration
}

const (
	maxEvents = 512
	// maxBodies is so large because bodies have 10 s, and strangers, who can only be among the unproven, can send slowly.
	maxBodies   = 2048
	backlogPoll = time.Second
	outagePoll  = time.Second
	// repairAfter: an edge on the brink refuses some and takes others, and would otherwise ask for a run each second.
	repairAfter = 5 * time.Second
	// askTimeout bounds each question to Temporal that no event waits for.
	askTimeout = 2 * time.Second
)

func (b Bounds) withDefaults() Bounds {
	return Bounds{
		Events: cmp.Or(b.Events, maxEvents), Bodies: cmp.Or(b.Bodies, maxBodies), UnprovenBodies: cmp.Or(b.UnprovenBodies, maxBodies),
		BacklogPoll: cmp.Or(b.BacklogPoll, backlogPoll), OutagePoll: cmp.Or(b.OutagePoll, outagePoll),
		RepairAfter: cmp.Or(b.RepairAfter, repairAfter),
	}
}

// Intake takes webhooks. Make it with New.
type Intake struct {
	config           *config.Config
	orchestrator     Orchestrator
	memory           Memory
	requestReconcile func(context.Context) (bool, error)
	metrics          *telemetry.Metrics
	sentry           *telemetry.Sentry
	log, frequent    *zap.Logger
	bounds           Bounds

	steps   []step
	keyring *webhookauth.Keyring
	limits  limits
	ids     idLocks // of deliveries under way
	// bodies are those of senders with a right secret, unprovenBodies all others; underWay are events.
	bodies, unprovenBodies, underWay gate
	lane                             *lane
	trial                            gate // of one event while Temporal takes none
	backlog                          backlog
	conflicts                        rate.Sometimes // bounds how often Sentry is told of them

	// refused counts the events that the outage under way has cost; 0: there is none. outage wakes Run when one begins.
	refused atomic.Int64
	outage  chan struct{}
	// refusedSince is when that outage began.
	refusedSince moment
	// refusedLast is when refused was last added to. notTaken is when Temporal did not take the newest event.
	refusedLast, notTaken moment
	// memoryAway is when the memory could not be asked. notRemembered is when it did not keep the newest answer.
	memoryAway, notRemembered moment
}

// New returns an Intake that has asked nobody anything yet. The error is that of Config.Keyring.
func New(o Options) (*Intake, error) {
	keyring, err := o.Config.Keyring()
	if err != nil {
		return nil, err
	}
	bounds := o.Bounds.withDefaults()
	in := &Intake{
		config: o.Config, orchestrator: o.Orchestrator, memory: o.Memory, requestReconcile: o.RequestReconcile,
		metrics: o.Metrics, sentry: o.Sentry, log: o.Log, frequent: o.Frequent, bounds: bounds,
		keyring: keyring, limits: limits{perSecond: int(o.Config.WebhookRateLimit)},
		bodies: make(gate, bounds.Bodies), unprovenBodies: make(gate, bounds.UnprovenBodies), underWay: make(gate, bounds.Events),
		lane: newLane(o.Config.WebhookWait), trial: make(gate, 1),
		conflicts: rate.Sometimes{Interval: conflictInterval},
		outage:    make(chan struct{}, 1),
	}
	in.steps = in.way()
	return in, nil
}

// Run looks after what is between events, until ctx ends: how long events wait for a worker, and what an outage has cost.
func (in *Intake) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { in.repairOutages(ctx) })
	all.Go(func() { in.watchBacklog(ctx) })
	all.Wait()
}
