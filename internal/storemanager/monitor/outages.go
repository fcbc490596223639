package monitor

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/backoff"
	"storekeeper/internal/storemanager"
)

// outageAgain is the least time between two outages of a backend that are told. An outage that comes and goes is one piece of news.
const outageAgain = 10 * time.Minute

// outage is that of a backend: most of its stores have no subscription. The zero value is none.
type outage struct {
	since  time.Time // zero: there is none
	told   bool
	toldAt time.Time // of the newest that was told; zero: never
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
	switch {
	case o.since.IsZero():
		if 2*n.offline > n.all {
			o.since = now
		}
	case 4*n.offline <= n.all && n.offline+connecting < max(n.all, 1):
		n.over = o.told
		o.since, o.told = time.Time{}, false
	case !o.told && 2*n.offline > n.all && now.Sub(o.since) >= lasting && (o.toldAt.IsZero() || now.Sub(o.toldAt) >= outageAgain):
		n.began = true
		o.told, o.toldAt = true, now
	}
	return n
}

// watchOutages tells of outages until the supervisor ends. It looks again and again, because only an outage that lasts is told.
func (s *Supervisor) watchOutages() {
	for backoff.Sleep(s.ctx, s.timing.look) {
		for _, b := range s.dials.backends() {
			s.tell(b, b.look(time.Now(), s.timing.outage))
		}
	}
}

func (s *Supervisor) tell(b *backend, n news) {
	fields := []zap.Field{
		zap.String("syncBackend", b.host), zap.Int("lost", n.offline), zap.Int("stores", n.all), zap.Time("since", n.since),
	}
	switch {
	case n.began:
		s.log.Warn("sync backend lost", append(fields, zap.String("reason", n.reason))...)
		s.outage(fmt.Errorf("the sync backend %s is lost, with %d of its %d stores: %s", b.host, n.offline, n.all, n.reason))
	case n.over:
		s.log.Info("sync backend is back", append(fields, zap.Duration("after", time.Since(n.since)))...)
	}
}
