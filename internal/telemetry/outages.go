package telemetry

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/temporal"
)

// The sides that the work for all stores needs.
const (
	SideAuthWorker   = "auth_worker"
	SideStoreManager = "store_manager"
)

// Blame stands in the details of an activity's error that another side is to blame for.
type Blame struct {
	// Side is one of the Side constants.
	Side string `json:"side"`
	// Refused: the side refused our token. No attempt helps before somebody has corrected it.
	Refused bool `json:"refused,omitempty"`
}

// blameOf returns the zero Blame for an error that no other side is to blame for.
func blameOf(err error) Blame {
	var b Blame
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	if !ok || !app.HasDetails() || app.Details(&b) != nil {
		return Blame{}
	}
	return b
}

// sides are those whose calls are watched.
type sides struct {
	mu    sync.Mutex
	known map[string]*side
}

// side is another side, as the calls of this process find it.
type side struct {
	name    string
	failing bool // its newest call failed
	since   time.Time
	refused bool
	reason  error
	told    bool                // of the failing under way
	stores  map[string]struct{} // those that it has failed for
	overAt  time.Time           // when the newest outage that was told was over; zero for none
}

func (o *side) operation() Operation { return Operation{Name: o.name + "_outage"} }

func (o *side) words() string { return strings.ReplaceAll(o.name, "_", " ") }

// Watch returns what is to be called with how each call of the side ended: nil when it did its part, and whether it refused our token otherwise.
//
// Failures that the side is to blame for (Blame) are not captured one by one then, but as one outage of the side, at the first of them that would have
// been captured; its end is told too, with how many stores it concerned.
func (s *Sentry) Watch(name string) func(err error, refused bool) {
	if s == nil {
		return func(error, bool) {}
	}
	watched := &side{name: name, stores: map[string]struct{}{}}
	s.sides.mu.Lock()
	if s.sides.known == nil {
		s.sides.known = map[string]*side{}
	}
	s.sides.known[name] = watched
	s.sides.mu.Unlock()
	return func(err error, refused bool) { s.called(watched, err, refused) }
}

// called takes how a call of the side ended.
func (s *Sentry) called(o *side, err error, refused bool) {
	s.sides.mu.Lock()
	if err != nil {
		if !o.failing {
			o.failing, o.since = true, time.Now()
		}
		o.refused, o.reason = refused, err
		s.sides.mu.Unlock()
		return
	}
	told, since, stores := o.told, o.since, len(o.stores)
	if o.failing {
		o.failing, o.told = false, false
		clear(o.stores)
	}
	if told {
		o.overAt = time.Now()
	}
	s.sides.mu.Unlock()
	if told {
		s.Over(o.operation(), "the "+o.words()+" does its part again", time.Since(since), stores)
	}
}

// blame says whether the failure is part of an outage of the side that is to blame for it. If the failure is worth an event, the outage is told of,
// unless it was.
func (s *Sentry) blame(err error, op Operation, worthAnEvent bool) bool {
	if s == nil {
		return false
	}
	s.sides.mu.Lock()
	o := s.sides.known[blameOf(err).Side]
	if o == nil || !o.failing {
		s.sides.mu.Unlock()
		return false
	}
	if op.StoreID != "" {
		o.stores[op.StoreID] = struct{}{}
	}
	tell := s.begin(o, worthAnEvent)
	s.sides.mu.Unlock()
	tell()
	return true
}

// begin returns what tells of the outage, if that is to be told. The lock is held.
func (s *Sentry) begin(o *side, worthAnEvent bool) (tell func()) {
	if o.told || !worthAnEvent {
		return func() {}
	}
	o.told = true
	op, err := o.operation(), fmt.Errorf("the %s fails: %w", o.words(), o.reason)
	op.Kind = "away"
	if o.refused {
		op.Kind, err = "refused", fmt.Errorf("the %s refuses our token: %w", o.words(), o.reason)
	}
	return func() { s.capture(err, op, nil) }
}

// TellOutages tells of the outages under way that were not told of yet, because something has failed that they explain. It says whether there is any.
func (s *Sentry) TellOutages() (underWay bool) {
	if s == nil {
		return false
	}
	var tell []func()
	s.sides.mu.Lock()
	for _, o := range s.sides.known {
		if o.failing {
			underWay = true
			tell = append(tell, s.begin(o, true))
		}
	}
	s.sides.mu.Unlock()
	for _, one := range tell {
		one()
	}
	return underWay
}

// OutageSince says whether an outage was told of that was under way at that moment or later.
func (s *Sentry) OutageSince(at time.Time) bool {
	if s == nil {
		return false
	}
	s.sides.mu.Lock()
	defer s.sides.mu.Unlock()
	for _, o := range s.sides.known {
		if o.told || o.overAt.After(at) {
			return true
		}
	}
	return false
}
