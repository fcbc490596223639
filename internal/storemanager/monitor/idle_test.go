package monitor

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/tests/proctest"
)

// backendEnv makes the test binary a demo sync backend that lives until its standard input ends, so that a profile shows the
// store manager alone.
const backendEnv = "STOREMANAGER_TEST_BACKEND"

func serveBackend() {
	backend, err := demo.StartSyncBackend(context.Background(), demo.SyncBackendOptions{Token: storetest.Token})
	if err != nil {
		panic(err)
	}
	fmt.Println(backend.URL())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// BenchmarkIdleStores says what a connected idle store consists of; make bench-stores measures what it costs.
//
//	STORES=10000 PROFILE=/tmp/heap.out go test -run '^$' -bench IdleStores -benchtime 1x -memprofilerate 512 ./internal/storemanager
//	go tool pprof -sample_index inuse_space -top /tmp/heap.out
func BenchmarkIdleStores(b *testing.B) {
	n := 1000
	if s := os.Getenv("STORES"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	child := proctest.StartSelf(b, backendEnv+"=1")
	url := child.Line()

	r, err := storetest.TryOpen(b.Context(), storetest.Settings{Path: b.TempDir() + "/stores.db"})
	require.NoError(b, err)
	for b.Loop() {
		s, err := Supervise(b.Context(), r.Registry, Options{
			SyncURL: func(string) string { return url }, Token: httpclient.Fixed(storetest.Token), Processor: newRecorder(),
		})
		require.NoError(b, err)
		before := heap()
		storetest.Fill(b, s, n)
		require.Eventually(b, func() bool {
			o, err := s.Overview(b.Context())
			return err == nil && o.Connections[storemanager.ConnectionConnected] == n
		}, time.Minute, 10*time.Millisecond)
		after := heap()
		b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/float64(n), "heapB/store")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/float64(n), "stackB/store")
		if path := os.Getenv("PROFILE"); path != "" {
			f, err := os.Create(path)
			require.NoError(b, err)
			require.NoError(b, pprof.WriteHeapProfile(f))
			require.NoError(b, f.Close())
		}
		require.NoError(b, s.Close())
	}
	require.NoError(b, r.Close())
	require.NoError(b, child.Stdin.Close())
	require.NoError(b, child.Wait())
}

func heap() runtime.MemStats {
	for range 3 { // stacks shrink by half at each collection
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m
}
