package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/config"
	"storekeeper/internal/process"
	"storekeeper/internal/telemetry"
)

func newProcess(t *testing.T, log *zap.Logger, settings ...string) *process.Process {
	t.Helper()
	cfg, err := config.Load(append(settings, "SERVER_BYPASS_TOKEN=x", "AUTH_WORKER_INTERNAL_URL=http://127.0.0.1:1", "STORE_MANAGER_URL=http://127.0.0.1:1"), config.RoleWorker)
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	return &process.Process{Config: cfg, Log: log, Metrics: metrics}
}

func TestAWorkerThatCannotServeItsMetricsSaysWhatToDo(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	err = run(t.Context(), newProcess(t, zap.NewNop(), "METRICS_LISTEN="+l.Addr().String()))
	require.ErrorContains(t, err, "METRICS_LISTEN: listen tcp "+l.Addr().String())
	require.ErrorContains(t, err, "each worker of a machine needs an address of its own, or off")
}

func TestAWorkerServesMetricsUnlessTheyAreOff(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	serving, silent := newProcess(t, zap.New(core), "METRICS_LISTEN=127.0.0.1:0"), newProcess(t, zap.New(core), "METRICS_LISTEN=off")
	go func() { ended <- run(ctx, serving) }()
	served := func() []observer.LoggedEntry { return logs.FilterMessage("metrics and probes are served").All() }
	require.Eventually(t, func() bool { return len(served()) == 1 }, 30*time.Second, time.Millisecond)
	resp, err := http.Get("http://" + served()[0].ContextMap()["address"].(string) + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "storekeeper_build_info{")
	require.Contains(t, string(body), "storekeeper_temporal_reachable 0\n")
	require.Contains(t, string(body), "storekeeper_store_manager_reachable 0\n")

	go func() { ended <- run(ctx, silent) }()
	require.Eventually(t, func() bool { // both have come so far that they wait for Temporal
		return logs.FilterMessage("temporal is not ready for the worker, trying again").Len() >= 2
	}, 60*time.Second, time.Millisecond)
	require.Len(t, served(), 1)
	stop()
	for range 2 {
		require.ErrorIs(t, <-ended, context.Canceled)
	}
}
