package storemanager

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// watchable is a Manager that tells of the changes of a log.
type watchable struct {
	Manager
	log *changeLog
}

func (w watchable) Watch(ctx context.Context, after string, fn func(Change) error) error {
	return w.log.watch(ctx, after, fn)
}

func someChange(i int) Change {
	return Change{
		StoreID: fmt.Sprintf("store-%06d", i), Previous: ConnectionConnecting, Connection: ConnectionConnected, At: at(i),
		Reason: "line\nbreak",
	}
}

// watch passes on what w tells until the test ends; the second channel has how it ended.
func watch(t *testing.T, w Watcher, after string) (<-chan Change, <-chan error) {
	t.Helper()
	told, ended := make(chan Change), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		ended <- w.Watch(ctx, after, func(c Change) error {
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

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		require.FailNow(t, "nothing comes")
		panic("unreachable")
	}
}
