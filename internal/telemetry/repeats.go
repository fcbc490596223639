package telemetry

import (
	"cmp"
	"sync"
	"time"
)

const (
	// repeatWindow is for how long news like those that were sent are only counted, and longestWindow what that grows to while they go on.
	repeatWindow  = time.Minute
	longestWindow = time.Hour
)

// repeats bounds how often equal news are sent. An operation that fails for ten thousand stores is a handful of events.
type repeats struct {
	window time.Duration // the first one

	mu     sync.Mutex
	open   map[string]*repeated // by what makes news equal: a few hundred, because operations, phases and kinds are fixed sets
	closed bool
}

// repeated are equal news within a window.
type repeated struct {
	count  int       // of those that were not sent
	since  time.Time // the first of them
	newest func(*repeated)
	window time.Duration
	timer  *time.Timer
}

func newRepeats(window time.Duration) *repeats {
	return &repeats{window: cmp.Or(window, repeatWindow), open: map[string]*repeated{}}
}

// take has send called at once, with nil, if such news were not sent within the window. Otherwise it counts them: send may be called when the window is
// over, with what was counted.
func (r *repeats) take(key string, send func(*repeated)) {
	r.mu.Lock()
	known := r.open[key]
	if known != nil {
		if known.count++; known.count == 1 {
			known.since = time.Now()
		}
		known.newest = send
		r.mu.Unlock()
		return
	}
	if !r.closed {
		fresh := &repeated{window: r.window}
		fresh.timer = time.AfterFunc(r.window, func() { r.windowEnds(key, fresh) })
		r.open[key] = fresh
	}
	r.mu.Unlock()
	send(nil)
}

// windowEnds sends what was counted, and opens a longer window. Nothing was counted: the next such news are sent at once.
func (r *repeats) windowEnds(key string, known *repeated) {
	r.mu.Lock()
	counted := known.counted()
	switch {
	case r.closed:
	case counted == nil:
		delete(r.open, key)
	default:
		known.window = min(2*known.window, max(longestWindow, r.window))
		known.timer.Reset(known.window)
	}
	r.mu.Unlock()
	counted.send()
}

// flush sends what was counted so far.
func (r *repeats) flush() {
	r.mu.Lock()
	var all []*repeated
	for _, known := range r.open {
		all = append(all, known.counted())
	}
	r.mu.Unlock()
	for _, counted := range all {
		counted.send()
	}
}

// close ends all windows. What is counted is lost.
func (r *repeats) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for key, known := range r.open {
		known.timer.Stop()
		delete(r.open, key)
	}
}

// counted takes what was counted, and begins to count anew; nil for nothing.
func (k *repeated) counted() *repeated {
	if k.count == 0 {
		return nil
	}
	taken := &repeated{count: k.count, since: k.since, newest: k.newest}
	k.count, k.newest = 0, nil
	return taken
}

func (k *repeated) send() {
	if k != nil {
		k.newest(k)
	}
}
