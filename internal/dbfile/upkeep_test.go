package dbfile_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/dbfile"
)

func TestTheEndOfAnUpkeepInterruptsALookAndWaitsForIt(t *testing.T) {
	t.Parallel()
	caller, cancel := context.WithCancel(t.Context())
	looks := make(chan int)
	var interrupted atomic.Bool
	n := 0
	end := dbfile.Upkeep(caller, time.Millisecond, func(ctx context.Context) {
		n++
		looks <- n
		if n == 3 {
			<-ctx.Done()
			interrupted.Store(true)
		}
	})
	cancel() // it does not end the upkeep
	for want := 1; want <= 3; want++ {
		require.Equal(t, want, <-looks)
	}
	require.False(t, interrupted.Load())
	end()
	require.True(t, interrupted.Load())
	end() // a second time it does nothing
}
