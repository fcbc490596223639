package monitor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// refusing is a sync backend that refuses every handshake, and counts them.
type refusing struct {
	url   string
	dials atomic.Int64
}

func startRefusing(t *testing.T, status int, retryAfter string) *refusing {
	t.Helper()
	r := &refusing{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r.dials.Add(1)
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func TestABackendThatAsksToWaitIsLeftAloneByAllItsStores(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			backend := startRefusing(t, status, "120")
			m := supervise(t, func(o *Options) {
				o.MaxDials = 4
				o.timing.maxBackoff = 30 * time.Second // of what a store waits beyond what was asked
				o.SyncURL = func(id string) string { return backend.url + "/" + id }
			})
			const stores = 200
			began := time.Now()
			for i := range stores {
				m.ensure(fmt.Sprintf("store-%03d", i))
			}
			next := map[time.Time]bool{}
			for i := range stores {
				s := m.until(fmt.Sprintf("store-%03d", i), storemanager.ConnectionDisconnected)
				require.Contains(t, s.Monitor.Reason, fmt.Sprintf("status %d and asks to wait 2m0s", status))
				require.NotNil(t, s.Monitor.NextAttemptAt)
				require.Greater(t, s.Monitor.NextAttemptAt.Sub(began), 119*time.Second)
				require.Less(t, s.Monitor.NextAttemptAt.Sub(began), 160*time.Second)
				next[s.Monitor.NextAttemptAt.Truncate(time.Second)] = true
			}
			require.LessOrEqual(t, backend.dials.Load(), int64(4), "those that were under way when it first said so")
			require.Greater(t, len(next), 15, "they come back spread out")
		})
	}
}

func TestABackendThatAskedToWaitIsDialedAgainAfterwards(t *testing.T) {
	t.Parallel()
	backend := startRefusing(t, http.StatusServiceUnavailable, "1")
	m := supervise(t, func(o *Options) { o.SyncURL = func(string) string { return backend.url } })
	m.ensure(storetest.ID)
	began := time.Now()
	require.Eventually(t, func() bool { return backend.dials.Load() == 2 }, patience, time.Millisecond)
	require.GreaterOrEqual(t, time.Since(began), time.Second)
}

func TestABackendThatIsDownIsDialedByFewOfItsStores(t *testing.T) {
	t.Parallel()
	backend := startRefusing(t, http.StatusBadGateway, "")
	m := supervise(t, func(o *Options) {
		o.MaxDials = 8
		known := o.SyncURL
		o.SyncURL = func(id string) string {
			if id == "elsewhere" {
				return known(id)
			}
			return backend.url
		}
	})
	began := time.Now()
	const stores = 300 // each tries every 20 to 40 ms
	for i := range stores {
		m.ensure(fmt.Sprintf("store-%03d", i))
	}
	for i := range stores {
		require.Contains(t, m.until(fmt.Sprintf("store-%03d", i), storemanager.ConnectionDisconnected).Monitor.Reason, "status 502", "also those that did not dial")
	}
	require.Eventually(t, func() bool { return backend.dials.Load() > downAfter+3*dialsWhileDown }, patience, time.Millisecond, "it is tried all the same")
	most := downAfter + 8 + dialsWhileDown*(1+int64(time.Since(began)/time.Second)+1)
	require.LessOrEqual(t, backend.dials.Load(), most)
	m.ensure("elsewhere")
	m.until("elsewhere", storemanager.ConnectionConnected)
}

func TestABackendThatWasDownIsFullyDialedOnceItIsBack(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	const stores = 100
	m.backend.SetFault(demo.SyncFaultRefuse)
	for i := range stores {
		m.ensure(fmt.Sprintf("store-%03d", i))
	}
	b := m.dials.backend(m.backend.URL())
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.failures > downAfter
	}, patience, time.Millisecond)
	m.backend.SetFault(demo.SyncFaultNone)
	began := time.Now()
	require.Eventually(t, func() bool { return m.backend.Connections() == stores }, patience, time.Millisecond)
	require.Less(t, time.Since(began), stores/dialsWhileDown*time.Second, "the brake is off")
}

func TestADialThatWasUnderWayForgetsNoRefusal(t *testing.T) {
	t.Parallel()
	away := startRefusing(t, http.StatusServiceUnavailable, "120")
	_, refused := livestore.Dial(t.Context(), livestore.Options{URL: away.url, StoreID: storetest.ID})
	require.Error(t, refused)
	d := &dials{atOnce: 1, hosts: map[string]*backend{}}
	b := d.backend(away.url)
	b.dialed(refused, storetest.T0)
	b.dialed(nil, storetest.T0) // it had begun before
	err := b.leaveAlone(storetest.T0.Add(time.Minute))
	require.EqualError(t, err, refused.Error(), "why it is left alone is still known")
	require.NoError(t, b.leaveAlone(storetest.T0.Add(2*time.Minute)))
}
