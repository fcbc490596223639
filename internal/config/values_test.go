package config

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettingsAreShownWithoutSecrets(t *testing.T) {
	t.Parallel()
	const secret = "c2VjcmV0LXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bg"
	c, err := Load([]string{
		"WEBHOOK_SECRET=" + secret, "SERVER_BYPASS_TOKEN=" + secret + "2", "OPERATOR_TOKENS=ann:" + secret + "3", "AUTH_WORKER_INTERNAL_URL=http://auth",
		"TEMPORAL_DB=postgres://user:" + secret + "@host/temporal", "LIVESTORE_SYNC_URL=wss://sync.example.com/store?token=" + secret,
		"STORE_ws-1_SYNC_URL=wss://sync.example.com/other?token=" + secret, "STORE_IDS=ws-1,ws-2", "DELETION_GRACE_PERIOD=1h", "WORKSPACE_RECONCILE_INTERVAL_MS=60000",
	}, RoleStandalone)
	require.NoError(t, err)
	shown := c.Shown()
	require.NotContains(t, fmt.Sprint(shown), secret)
	for name, want := range map[string]string{
		"WEBHOOK_SECRET": "set", "SERVER_BYPASS_TOKEN": "set", "OPERATOR_TOKENS": "set", "TEMPORAL_DB": "set", "SENTRY_DSN": "unset", "EVENT_SINK_SECRET": "unset",
		"LIVESTORE_SYNC_URL": "wss://sync.example.com/store", "STORE_<ID>_SYNC_URL": "1 stores", "STORE_IDS": "ws-1,ws-2", "DELETION_GRACE_PERIOD": "1h0m0s",
		"WORKSPACE_RECONCILE_INTERVAL_MS": "1m0s", "RECONCILE_MODE": "full", "AUTH_WORKER_INTERNAL_URL": "http://auth", "WORKSPACE_RECONCILE_ENABLED": "true",
	} {
		require.Equal(t, want, shown[name], name)
	}
	for field := range fields(c) {
		if isSecret(field.Type) {
			require.Contains(t, []string{"set", "unset"}, shown[field.Tag.Get("env")], field.Name)
		}
	}
	require.NotContains(t, shown, "LISTEN", "two edges may listen elsewhere")
}
