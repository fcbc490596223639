package status

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/edge/edgetest"
)

func TestHealthFailsUntilALossIsAcknowledged(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Registry = edgetest.Lose(t) })
	resp := f.Do(t, http.MethodGet, "/health", "")
	require.Equal(t, 503, resp.Status)
	reasons := resp.JSON(t)["reasons"].([]any)
	require.Len(t, reasons, 1)
	require.Contains(t, reasons[0], "registry: it was lost")
	require.Contains(t, reasons[0], "the registry is new, though one with 1 changes was here")
	require.Empty(t, resp.JSON(t)["warnings"])

	for name, body := range map[string]string{
		"no JSON": "known", "no reason": `{"actor":"ann","reason":" "}`, "no actor": `{"reason":"known"}`, "a misspelt one": `{"reason":"known","aktor":"ann"}`,
	} {
		require.Equal(t, 400, f.Ask(t, http.MethodPost, "/admin/acknowledge-loss", body).Status, name)
	}
	require.Equal(t, 401, f.Do(t, http.MethodPost, "/admin/acknowledge-loss", `{"reason":"known","actor":"ann"}`).Status)
	require.Equal(t, 503, f.Do(t, http.MethodGet, "/health", "").Status)

	for range 2 { // the second time nothing is lost
		require.Equal(t, 204, f.Ask(t, http.MethodPost, "/admin/acknowledge-loss", `{"reason":"known","actor":"ann"}`).Status)
	}
	require.Eventually(t, func() bool { return f.Do(t, http.MethodGet, "/health", "").Status == 200 }, time.Minute, 10*time.Millisecond)
	require.Contains(t, f.Logs.String(), `"actor":"ann"`)

	require.NoError(t, f.Registry.Close())
	require.Equal(t, 503, f.Ask(t, http.MethodPost, "/admin/acknowledge-loss", `{"reason":"known","actor":"ann"}`).Status)
}
