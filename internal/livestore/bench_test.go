package livestore_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
	"storekeeper/tests/proctest"
)

// backendEnv makes the test binary a demo sync backend that lives until its standard input ends, so that a benchmark measures
// the client alone.
const backendEnv = "LIVESTORE_TEST_BACKEND"

func servedForBenchmark() bool {
	if os.Getenv(backendEnv) == "" {
		return false
	}
	backend, err := demo.StartSyncBackend(context.Background(), demo.SyncBackendOptions{Token: token})
	if err != nil {
		panic(err)
	}
	fmt.Println(backend.URL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Printf("backend: %d connections, %d KiB resident\n", backend.Connections(), resident()>>10)
	return true
}

// BenchmarkIdleConnections says what a connection with an idle live pull costs:
//
//	CONNECTIONS=1000 go test -run "^$" -bench Idle -benchtime 1x -v ./internal/livestore
func BenchmarkIdleConnections(b *testing.B) {
	n := 1000
	if s := os.Getenv("CONNECTIONS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	child := proctest.StartSelf(b, backendEnv+"=1")
	url := child.Line()

	for b.Loop() {
		before, start := measure(), time.Now()
		ctx, cancel := context.WithCancel(b.Context())
		var pulls, up sync.WaitGroup
		var dialing errgroup.Group
		dialing.SetLimit(50)
		up.Add(n)
		for i := range n {
			dialing.Go(func() error {
				c, err := livestore.Dial(ctx, livestore.Options{
					URL: url, StoreID: fmt.Sprintf("store-%d", i), Payload: payload(),
				})
				if err != nil {
					return err
				}
				pulls.Go(func() {
					_ = c.Pull(ctx, livestore.Cursor{}, func(_ context.Context, _ livestore.Page) error { up.Done(); return nil })
				})
				return nil
			})
		}
		require.NoError(b, dialing.Wait())
		up.Wait()
		b.ReportMetric(time.Since(start).Seconds(), "s-to-connect")
		after := measure()
		per := func(x, y uint64) float64 { return float64(int64(y)-int64(x)) / float64(n) }
		b.ReportMetric(per(before.heap, after.heap), "heapB/conn")
		b.ReportMetric(per(before.stack, after.stack), "stackB/conn")
		b.ReportMetric(per(before.resident, after.resident), "residentB/conn")
		b.ReportMetric(per(uint64(before.goroutines), uint64(after.goroutines)), "goroutines/conn")
		cancel()
		pulls.Wait()
	}
	require.NoError(b, child.Stdin.Close())
	for line, more := child.Next(); more; line, more = child.Next() {
		b.Log(line)
	}
	_ = child.Wait()
}

type figures struct {
	heap, stack, resident uint64
	goroutines            int
}

func measure() figures {
	for range 3 { // stacks shrink by half at each collection
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return figures{m.HeapInuse, m.StackInuse, resident(), runtime.NumGoroutine()}
}

// resident is the process's resident memory in bytes, 0 where it cannot be told.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}
