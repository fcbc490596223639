package intake

import (
	"sync/atomic"
	"time"
)

// moment is when something happened last, for all goroutines; the zero moment is never.
type moment struct{ nanos atomic.Int64 }

func (m *moment) set()   { m.nanos.Store(time.Now().UnixNano()) }
func (m *moment) clear() { m.nanos.Store(0) }

// ago is how long ago it was; 0 for never.
func (m *moment) ago() time.Duration {
	at := m.nanos.Load()
	if at == 0 {
		return 0
	}
	return time.Since(time.Unix(0, at))
}

// within says whether it was less than d ago.
func (m *moment) within(d time.Duration) bool {
	at := m.nanos.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < d
}
