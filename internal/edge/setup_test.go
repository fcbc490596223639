package edge

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"storekeeper/internal/edge/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret   = edgetest.Secret
	token    = edgetest.Token
	storeA   = edgetest.StoreA
	webhooks = edgetest.Webhooks
)

var event = edgetest.Event

type fixture struct {
	*Server
	*edgetest.Bundle
	stores  StoreManager // instead of the registry
	backup  func(context.Context) (io.ReadCloser, error)
	tests   bounds
	examine Examiner
}

// setup returns an edge whose handler is served; each of with applies before it is made.
func setup(t *testing.T, with ...func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{Bundle: edgetest.New(t)}
	f.tests.intake.BacklogPoll, f.tests.intake.OutagePoll, f.tests.intake.RepairAfter = time.Millisecond, time.Millisecond, time.Millisecond
	f.tests.lossPoll = time.Millisecond
	f.stores = f.Registry
	for _, apply := range with {
		apply(f)
	}
	var err error
	o := Options{
		Config: f.Config, Orchestrator: f.Temporal, StoreManager: f.stores, Backup: f.backup, AuthWorker: f.Auth, Examine: f.examine, Metrics: f.Metrics, Log: f.Logger,
	}
	if f.Directory != nil {
		o.Workspaces = f.Directory
	}
	f.Server, err = newServer(o, f.tests)
	require.NoError(t, err)
	f.Serve(t, f.handler)
	f.handler = edgetest.Documented(t, f.handler)
	return f
}

// run serves the edge by Run instead, and returns its address and what ends it.
func (f *fixture) run(t *testing.T) (address string, stop func()) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	f.URL = "http://" + l.Addr().String()
	return l.Addr().String(), stop
}
