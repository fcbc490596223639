package intake

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret   = edgetest.Secret
	storeA   = edgetest.StoreA
	webhooks = edgetest.Webhooks
)

var event = edgetest.Event

type fixture struct {
	*Intake
	*edgetest.Bundle
	options Options
	handler http.Handler
}

// setup returns an intake that is served, with the metrics beside it; each of with applies before it is made.
func setup(t *testing.T, with ...func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{Bundle: edgetest.New(t)}
	f.options.Bounds = Bounds{BacklogPoll: time.Millisecond, OutagePoll: time.Millisecond, RepairAfter: time.Millisecond}
	for _, apply := range with {
		apply(f)
	}
	o := f.options
	o.Config, o.Orchestrator, o.Memory, o.Metrics = f.Config, f.Temporal, f.Registry, f.Metrics
	o.Log, o.Frequent, o.RequestReconcile = f.Logger, telemetry.Sampled(f.Logger), f.Temporal.Request
	var err error
	f.Intake, err = New(o)
	require.NoError(t, err)
	r := chi.NewRouter()
	r.Use(httpserver.Identify, httpserver.Prepare)
	r.Post(webhooks, f.Webhook)
	r.Method(http.MethodGet, "/metrics", f.Metrics.Handler())
	f.handler = edgetest.Documented(t, r)
	f.Serve(t, r)
	return f
}

// run has Run run, and returns the address of the server and what ends it.
func (f *fixture) run(t *testing.T) (address string, stop func()) {
	t.Helper()
	return strings.TrimPrefix(f.URL, "http://"), edgetest.Run(t, f.Run)
}
