package demo_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
)

func TestAPageThatRebindsItsNameHearsNothingOfTheDemo(t *testing.T) {
	t.Parallel()
	auth, err := demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{BypassToken: bypassToken, WebhookSecret: "secret"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, auth.Stop(context.Background())) })
	backend := setupSync(t, demo.SyncBackendOptions{Token: bypassToken})
	for url, token := range map[string]string{
		auth.URL() + "/internal/workspaces":                              "Bearer " + bypassToken, // published in a demo
		strings.Replace(backend.address(bypassToken), "ws:", "http:", 1): "",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		r.Host = "evil.example:8788"
		r.Header.Set("Authorization", token)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusMisdirectedRequest, resp.StatusCode)
	}
}

func TestAPageOfAnotherHostReadsNoEventsOfTheDemo(t *testing.T) {
	t.Parallel()
	backend := setupSync(t, demo.SyncBackendOptions{Token: bypassToken})
	for origin, answered := range map[string]bool{"http://evil.example": false, "null": false, "http://localhost:60000": true} {
		ws, resp, err := websocket.Dial(t.Context(), backend.address(bypassToken), &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}}) //nolint:bodyclose // nobody has to
		if answered {
			require.NoError(t, err)
			require.NoError(t, ws.CloseNow())
			continue
		}
		require.Error(t, err)
		require.Equal(t, http.StatusForbidden, resp.StatusCode, origin)
	}
}
