package process_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/config"
	"storekeeper/internal/process"
	"storekeeper/internal/telemetry"
	"storekeeper/tests/sentrytest"
)

// TestOutagesOfTheOtherSidesAreWatched has each side fail, refuse the token, and answer again.
func TestOutagesOfTheOtherSidesAreWatched(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer, refusal string
		call            func(*testing.T, *process.Process, string) func() error
	}{
		"store manager": {`{"connections":{}}`, `{"code":"unauthorized"}`, func(t *testing.T, p *process.Process, _ string) func() error {
			clients, err := p.Clients()
			require.NoError(t, err)
			t.Cleanup(clients.Temporal.Close)
			t.Cleanup(clients.Manager.CloseIdleConnections)
			return func() error { return clients.Manager.Ping(t.Context()) }
		}},
		"auth worker": {`{"workspaces":[],"metadata":{"totalUsers":0,"totalWorkspaces":0}}`, "", func(t *testing.T, p *process.Process, url string) func() error {
			auth, err := p.AuthWorker(url, "")
			require.NoError(t, err)
			return func() error {
				list, err := auth.Sorted(t.Context(), func(int) {})
				if err == nil {
					_ = list.Close()
				}
				return err
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var status atomic.Int64
			side := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				answer, contentType := test.answer, "application/json"
				if status.Load() == http.StatusUnauthorized {
					answer, contentType = test.refusal, "application/problem+json"
				}
				w.Header().Set("Content-Type", contentType)
				w.WriteHeader(int(status.Load()))
				_, _ = w.Write([]byte(answer))
			}))
			t.Cleanup(side.Close)
			fake := sentrytest.Start(t)
			p := &process.Process{Log: zap.NewNop()}
			var err error
			p.Config, err = config.Load([]string{
				"SERVER_BYPASS_TOKEN=the-token", "STORE_MANAGER_URL=" + side.URL, "AUTH_WORKER_INTERNAL_URL=" + side.URL,
			}, config.RoleWorker)
			require.NoError(t, err)
			p.Metrics, err = telemetry.NewMetrics(zap.NewNop())
			require.NoError(t, err)
			p.Sentry, err = telemetry.NewSentry(telemetry.SentryOptions{DSN: fake.DSN})
			require.NoError(t, err)
			t.Cleanup(p.Sentry.Close)
			call := test.call(t, p, side.URL)

			for _, state := range []struct {
				status int
				kind   string
			}{{http.StatusInternalServerError, "away"}, {http.StatusUnauthorized, "refused"}} {
				status.Store(int64(state.status))
				require.Error(t, call())
				require.True(t, p.Sentry.TellOutages())
				status.Store(http.StatusOK)
				require.NoError(t, call())
				require.False(t, p.Sentry.TellOutages())
				require.True(t, p.Sentry.Flush(30*time.Second))
				events := fake.Events()
				require.Contains(t, []string{events[len(events)-1].Fingerprint[2], events[len(events)-2].Fingerprint[2]}, state.kind)
			}
			require.Len(t, fake.Events(), 4)
		})
	}
}
