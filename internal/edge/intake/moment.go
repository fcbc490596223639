package intake

import (
	"sync/atomic"
	"time"
)

// moment is when something happened last, for all goroutines; the zero moment is never.
type moment struct{ nanos atomic.Int64 }

func (m *moment) set()   { m.nanos.Store(time.Now().UnixNano()) }
func (m *moment) clear() { m.nanos.Store(0) }

// within says whether it was less than d ago.
func (m *moment) within(d time.Duration) bool {
	at := m.nanos.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < d
}
