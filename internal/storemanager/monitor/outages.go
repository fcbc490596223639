package monitor

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/backoff"
	"storekeeper/internal/storemanager"
)

// outageAgain is the least time between two outages of a backend that are told. An outage that comes and goes is one piece of news.
const outageAgain = 10 * time.Minute

// The things that all stores need.
const (
	SyncBackend = "sync_backend"
	EventSink   = "event_sink"
)

// Outage is news of an outage that concerns most stores.
type Outage struct {
	// Of is SyncBackend or EventSink.
	Of string
	// Err says what is lost, with how many stores, and why; it may be shown. Nil: the outage is over.
	Err error
	// Over says what is back; "" while Err is not nil.
	Over string
	// Lasted is for how long, and Stores how many stores it concerned at its worst. Both are 0 while it lasts.
	Lasted time.Duration
	Stores int
}

// outage is that of a backend: most of its stores have no subscription; or of the sink: it takes nothing. The zero value is none.
type outage struct {
	since  time.Time // zero: there is none
	told   bool
	toldAt time.Time // of the newest that was told; zero: never
	most   int       // stores that it concerns at its worst
}

// due says whether an outage that goes on is to be told now.
func (o *outage) due(now time.Time, lasting time.Duration) bool {
	return !o.told && !o.since.IsZero() && now.Sub(o.since) >= lasting && (o.toldAt.IsZero() || now.Sub(o.toldAt) >= outageAgain)
}

// begin notes that the outage is told.
func (o *outage) begin(now time.Time) { o.told, o.toldAt = true, now }

// end ends the outage, and says whether it was told.
func (o *outage) end() (told bool) {
	told = o.told
	o.since, o.told, o.most = time.Time{}, false, 0
	return told
}

// changed counts the state that a monitor of the backend shows.
func (b *backend) changed(c storemanager.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.states[c.Previous]--
	b.states[c.Connection]++
}

// subscribed counts the subscriptions of the backend's stores.
func (b *backend) subscribed(change int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscriptions += change
}

// failed notes why an attempt to subscribe failed, or why a subscription ended.
func (b *backend) failed(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reason = reason
}

// news is what there is to tell of a backend's outage.
type news struct {
	began, over  bool
	since        time.Time
	offline, all int // stores: those without a subscription, and in all
	most         int // the most that were without one
	reason       string
}

// look follows the outage. It begins when more than half of the stores have no subscription, and is told when that has lasted. It is over when no more
// than a quarter have none.
func (b *backend) look(now time.Time, lasting time.Duration) news {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := news{since: b.outage.since, reason: b.reason}
	for state, stores := range b.states {
		if state != storemanager.ConnectionStopped {
			n.all += stores
		}
	}
	connecting := b.states[storemanager.ConnectionConnecting]
	n.offline = max(0, n.all-connecting-b.subscriptions) // a store that is stuck may have a subscription, or not
	o := &b.outage
	if 2*n.offline > n.all && o.since.IsZero() {
		o.since = now
		return n
	}
	o.most = max(o.most, n.offline)
	n.most = o.most
	switch {
	case o.since.IsZero():
		o.most = 0
	case 4*n.offline <= n.all && n.offline+connecting < max(n.all, 1):
		n.over = o.end()
	case 2*n.offline > n.all && o.due(now, lasting):
		n.began = true
		o.begin(now)
	}
	return n
}

// watchOutages tells of outages until the supervisor ends. It looks again and again, because only an outage that lasts is told.
func (s *Supervisor) watchOutages() {
	for backoff.Sleep(s.ctx, s.timing.look) {
		for _, b := range s.dials.backends() {
			s.tell(b, b.look(time.Now(), s.timing.outage))
		}
		s.tellSink(s.taking.look(time.Now(), s.timing.outage))
	}
}

func (s *Supervisor) tell(b *backend, n news) {
	fields := []zap.Field{
		zap.String("syncBackend", b.host), zap.Int("lost", n.offline), zap.Int("stores", n.all), zap.Time("since", n.since),
	}
	switch {
	case n.began:
		s.log.Warn("sync backend lost", append(fields, zap.String("reason", n.reason))...)
		s.outage(Outage{Of: SyncBackend, Err: fmt.Errorf("the sync backend %s is lost, with %d of its %d stores: %s", b.host, n.offline, n.all, n.reason)})
	case n.over:
		s.outage(Outage{Of: SyncBackend, Over: "the sync backend " + b.host + " is back", Lasted: time.Since(n.since), Stores: n.most})
		s.log.Info("sync backend is back", append(fields, zap.Duration("after", time.Since(n.since)))...)
	}
}

// taking is whether the processor, which all stores share, takes events. It takes nothing when a batch was refused and no store's was taken since.
type taking struct {
	mu      sync.Mutex
	failing int // stores whose batch was refused, and waits
	reason  string
	outage  outage
}

// refused counts a store whose batch is refused from now on, unless it was before.
func (t *taking) refused(before bool, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !before {
		t.failing++
	}
	if t.outage.since.IsZero() {
		t.outage.since = time.Now()
	}
	t.outage.most = max(t.outage.most, t.failing)
	t.reason = reason
}

// settled uncounts a store whose batch was taken, or that waits no more.
func (t *taking) settled() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failing--
}

// took is for each batch that was taken. An outage that was not told is none any more. look ends the others.
func (t *taking) took() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.outage.told {
		t.outage.end()
	}
}

// look follows the outage. One that was told is over when no more than a quarter of its stores wait: a store that is refused for itself makes no outage
// that comes and goes with the batches of others.
func (t *taking) look(now time.Time, lasting time.Duration) news {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := news{since: t.outage.since, offline: t.failing, most: t.outage.most, reason: t.reason}
	switch o := &t.outage; {
	case o.told && 4*t.failing <= o.most:
		n.over = o.end()
	case t.failing == 0:
		o.end()
	case o.due(now, lasting):
		n.began = true
		o.begin(now)
	}
	return n
}

func (s *Supervisor) tellSink(n news) {
	fields := []zap.Field{zap.Int("waiting", n.offline), zap.Time("since", n.since)}
	switch {
	case n.began:
		s.log.Warn("event processor takes nothing", append(fields, zap.String("reason", n.reason))...)
		s.outage(Outage{Of: EventSink, Err: fmt.Errorf("no events are taken, those of %d stores wait: %s", n.offline, n.reason)})
	case n.over:
		s.log.Info("event processor takes events again", append(fields, zap.Duration("after", time.Since(n.since)))...)
		s.outage(Outage{Of: EventSink, Over: "events are taken again", Lasted: time.Since(n.since), Stores: n.most})
	}
}
