package storetest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/tunnel"
)

// Watchable is a Manager that tells of changes, and does nothing else.
type Watchable struct {
	storemanager.Manager
	storemanager.Watcher
}

func SomeChange(i int) storemanager.Change {
	return storemanager.Change{
		StoreID: fmt.Sprintf("store-%06d", i), Previous: storemanager.ConnectionConnecting, Connection: storemanager.ConnectionConnected, At: At(i),
		Reason: "line\nbreak",
	}
}

// Watch passes on what w tells until the test ends; the second channel has how it ended.
func Watch(t *testing.T, w storemanager.Watcher, after string) (<-chan storemanager.Change, <-chan error) {
	t.Helper()
	told, ended := make(chan storemanager.Change), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		ended <- w.Watch(ctx, after, func(c storemanager.Change) error {
			select {
			case told <- c:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return told, ended
}

func Next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		require.FailNow(t, "nothing comes")
		panic("unreachable")
	}
}

// RequirePings fails the test unless the client's connections are pinged, kept for more than one call at a time, and given up when they are
// dead.
func RequirePings(t *testing.T, c *http.Client) *tunnel.Transport {
	t.Helper()
	transport := c.Transport.(*tunnel.Transport)
	require.Positive(t, transport.HTTP2.SendPingTimeout)
	require.Positive(t, transport.HTTP2.PingTimeout)
	require.Positive(t, transport.MaxIdleConnsPerHost)
	return transport
}
