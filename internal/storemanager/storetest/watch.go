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
	"storekeeper/internal/tracing"
	"storekeeper/internal/tunnel"
)

// SomeChange is a change of the store of that number.
func SomeChange(i int) storemanager.Change {
	return storemanager.Change{
		StoreID: fmt.Sprintf("store-%06d", i), Previous: storemanager.ConnectionConnecting, Connection: storemanager.ConnectionConnected, At: At(i),
		Reason: "line\nbreak",
	}
}

// Watch passes on what w tells, until the test ends. The second channel has the error with which it ended.
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

// Next receives from c. It fails the test when nothing comes within 10 s.
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

// RequirePings fails the test unless the client's connections are pinged, given up when they are dead, and kept for more than one call at a time.
func RequirePings(t *testing.T, c *http.Client) *tunnel.Transport {
	t.Helper()
	transport := c.Transport.(tracing.Transport).Base.(*tunnel.Transport)
	require.Positive(t, transport.HTTP2.SendPingTimeout)
	require.Positive(t, transport.HTTP2.PingTimeout)
	require.Positive(t, transport.MaxIdleConnsPerHost)
	return transport
}
