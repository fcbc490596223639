package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
)

var complete = []string{"WEBHOOK_SECRET=hook-secret", "SERVER_BYPASS_TOKEN=bypass-token", "AUTH_WORKER_INTERNAL_URL=http://127.0.0.1:8788"}

func TestWhatIsNotSetHasItsDefault(t *testing.T) {
	t.Parallel()
	c, err := config.Load(complete, config.RoleStandalone)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:3003", c.Listen())
	require.Equal(t, 24*time.Hour, c.DeletionGracePeriod)
	require.Equal(t, 5*time.Second, c.WebhookWait)
	require.Equal(t, 5*time.Minute, time.Duration(c.ReconcileInterval))
	require.True(t, c.ReconcileEnabled)
	require.EqualValues(t, 10, c.MaxDeletePercent)
	require.EqualValues(t, 50, c.MaxDeletes)
}

func TestEverySettingIsRead(t *testing.T) {
	t.Parallel()
	c, err := config.Load(append(complete,
		"WEBHOOK_SECRET=old-secret, new-secret", "LISTEN=0.0.0.0:9", "STORE_IDS=aaa, b-b_b,", "MANUAL_RECONCILE_MIN_INTERVAL_MS=0",
		"AUTH_WORKER_INTERNAL_URL=https://auth.example.com/", "DELETION_GRACE_PERIOD=0s", "WORKSPACE_RECONCILE_ENABLED=false",
	), config.RoleStandalone)
	require.NoError(t, err)
	require.Equal(t, config.Secrets{"old-secret", "new-secret"}, c.WebhookSecrets)
	require.Equal(t, "0.0.0.0:9", c.Listen())
	require.Equal(t, config.IDs{"aaa", "b-b_b"}, c.StoreIDs)
	require.Zero(t, c.ManualReconcileLimit)
	require.Equal(t, config.URL("https://auth.example.com"), c.AuthWorkerURL)
	require.Zero(t, c.DeletionGracePeriod)
	require.False(t, c.ReconcileEnabled)
}

func TestAWorkersMetricsAreServedOnLoopbackUnlessTheyAreOff(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"": "127.0.0.1:3006", "off": "", "0.0.0.0:9": "0.0.0.0:9"} {
		c, err := config.Load(append(slices.Clone(complete), "METRICS_LISTEN="+given), config.RoleStandalone)
		require.NoError(t, err)
		require.Equal(t, want, c.MetricsListen.Address(), given)
	}
}

func TestABadValueIsOneLineThatNamesTheVariableTheValueAndWhatIsAccepted(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"PORT=abc":                              `PORT="abc" is not accepted: want 0 to 65535`,
		"PORT=65536":                            `PORT="65536" is not accepted`,
		"LISTEN=nowhere":                        `LISTEN="nowhere" is not accepted: want host:port`,
		"METRICS_LISTEN=nowhere":                `METRICS_LISTEN="nowhere" is not accepted: want host:port, or off`,
		"WORKSPACE_RECONCILE_INTERVAL_MS=999":   `WORKSPACE_RECONCILE_INTERVAL_MS="999" is not accepted: want whole milliseconds, at least 1000`,
		"WORKSPACE_RECONCILE_INTERVAL_MS=5m":    `WORKSPACE_RECONCILE_INTERVAL_MS="5m" is not accepted`,
		"MANUAL_RECONCILE_MIN_INTERVAL_MS=-1":   `MANUAL_RECONCILE_MIN_INTERVAL_MS="-1" is not accepted`,
		"WORKSPACE_RECONCILE_ENABLED=yes-sure":  `WORKSPACE_RECONCILE_ENABLED="yes-sure" is not accepted: want true or false`,
		"STORE_IDS=ok-1,../../etc":              `STORE_IDS="ok-1,../../etc" is not accepted: want store ids`,
		"AUTH_WORKER_INTERNAL_URL=ftp://x":      `AUTH_WORKER_INTERNAL_URL=[redacted] is not accepted: want an http or https URL`,
		"AUTH_WORKER_INTERNAL_URL=http://h?t=x": `AUTH_WORKER_INTERNAL_URL=[redacted] is not accepted: want an http or https URL without`,
		"TEMPORAL_DB=data/temporal.db":          `TEMPORAL_DB=[redacted] is not accepted: want a postgres or postgresql URL with the name of a database: postgres://user`,
		"TEMPORAL_DB=mysql://u:pw@host/db":      `TEMPORAL_DB=[redacted] is not accepted: want a postgres or postgresql URL`,
		"TEMPORAL_DB=postgres://u:pw@host":      `TEMPORAL_DB=[redacted] is not accepted`,
		"TEMPORAL_DB=postgres://u:p%w@host/db":  `TEMPORAL_DB=[redacted] is not accepted`,
		"TEMPORAL_DB=postgres://u:p#w@host/db":  `TEMPORAL_DB=[redacted] is not accepted`,
		"DELETION_GRACE_PERIOD=-1s":             `DELETION_GRACE_PERIOD="-1s" is not accepted`,
		"DELETION_GRACE_PERIOD=1 day":           `DELETION_GRACE_PERIOD="1 day" is not accepted`,
		"TEMPORAL_RETENTION=1s":                 `TEMPORAL_RETENTION="1s" is not accepted: want a duration such as 72h, from 1m to 8760h (a year)`,
		"AUDIT_RETENTION=1h":                    `AUDIT_RETENTION="1h" is not accepted: want a duration such as 9600h, at least 24h`,
		"TEMPORAL_RETENTION=876000h":            `TEMPORAL_RETENTION="876000h" is not accepted`,
		"TEMPORAL_RETENTION=9999999999h":        `TEMPORAL_RETENTION="9999999999h" is not accepted`,
		"RECONCILE_MAX_DELETE_PERCENT=101":      `RECONCILE_MAX_DELETE_PERCENT="101" is not accepted: want 0 to 100`,
		"RECONCILE_MAX_DELETES=-1":              `RECONCILE_MAX_DELETES="-1" is not accepted`,
		"LOG_LEVEL=loud":                        `LOG_LEVEL="loud" is not accepted: want debug, info, warn or error`,
		"STORE_MANAGER_KIND=mainframe":          `STORE_MANAGER_KIND="mainframe" is not accepted`,
		"SERVER_BYPASS_TOKEN=two words":         `SERVER_BYPASS_TOKEN=[redacted] is not accepted: want a token without white space`,
		"WEBHOOK_SECRET=one,,two":               `WEBHOOK_SECRET=[redacted] is not accepted`,
		"LIVESTORE_SYNC_URL=//host":             `LIVESTORE_SYNC_URL=[redacted] is not accepted: want a ws, wss, http or https URL`,
		"LIVESTORE_SYNC_URL=ws://me:pw@host":    `LIVESTORE_SYNC_URL=[redacted] is not accepted`,
		"LIVESTORE_SYNC_MAX_DIALS=0":            `LIVESTORE_SYNC_MAX_DIALS="0" is not accepted: want a whole number, at least 1`,
		"STORE_ws-1_SYNC_URL=ftp://host":        `STORE_ws-1_SYNC_URL=[redacted] is not accepted: want a ws, wss`,
		"STORE_a b c_SYNC_URL=ws://host":        `STORE_a b c_SYNC_URL=[redacted] is not accepted`,
		"EVENT_SINK_URL=https://sink":           `EVENT_SINK_URL and EVENT_SINK_SECRET need each other`,
		"STORE_MANAGER_KIND=node":               `STORE_MANAGER_KIND=node needs NODE_SERVER_URL and NODE_SERVER_WEBHOOK_SECRET`,
	} {
		t.Run(given, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(append(complete, given), config.RoleStandalone)
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestTheSinksSecretMustBeAStandardWebhooksKey(t *testing.T) {
	t.Parallel()
	sink := append(complete, "EVENT_SINK_URL=https://sink.example.com/events")
	_, err := config.Load(append(sink, "EVENT_SINK_SECRET=whsec_"+strings.Repeat("QUJD", 8)), config.RoleStoreManager)
	require.NoError(t, err)
	for _, bad := range []string{"plain-secret", "whsec_QUJD", "whsec_not/base64!" + strings.Repeat("A", 40)} {
		_, err := config.Load(append(sink, "EVENT_SINK_SECRET="+bad), config.RoleStoreManager)
		require.ErrorContains(t, err, "EVENT_SINK_SECRET=[redacted] is not accepted: want whsec_ and 24 to 64 bytes in base64")
		require.NotContains(t, err.Error(), bad)
	}
}

func TestAStoreMayHaveASyncBackendOfItsOwn(t *testing.T) {
	t.Parallel()
	c, err := config.Load(append(complete,
		"LIVESTORE_SYNC_URL=wss://sync.example.com/path?x=1", "STORE_ws-1_SYNC_URL=ws://one", "STORE_MY_STORE_SYNC_URL=ws://two",
		"STORE_IDS=ws-3", "STORE__SYNC_URL=not about a store",
	), config.RoleStandalone)
	require.NoError(t, err)
	for id, want := range map[string]string{
		"ws-1": "ws://one", "my-store": "ws://two", "My_Store": "ws://two", "MY_STORE": "ws://two", "WS-1": "wss://sync.example.com/path?x=1",
	} {
		require.Equal(t, want, c.StoreSyncURL(id), id)
	}
	c, err = config.Load(complete, config.RoleStandalone)
	require.NoError(t, err)
	require.Empty(t, c.StoreSyncURL("ws-1"))
}

func TestANodeServerIsDrivenByTheStoreManagerAlone(t *testing.T) {
	t.Parallel()
	node := append(complete, "STORE_MANAGER_KIND=node", "NODE_SERVER_URL=http://node:3003", "NODE_SERVER_WEBHOOK_SECRET=secret", "STORE_MANAGER_URL=http://sm")
	for _, role := range []config.Role{config.RoleStoreManager, config.RoleStandalone} {
		_, err := config.Load(node, role)
		require.NoError(t, err)
	}
	_, err := config.Load(append(node, "EVENT_SINK_URL=https://sink", "EVENT_SINK_SECRET=whsec_"+strings.Repeat("QUJD", 8)), config.RoleStoreManager)
	require.ErrorContains(t, err, "EVENT_SINK_URL is of no use with STORE_MANAGER_KIND=node")
	for _, role := range []config.Role{config.RoleWebhook, config.RoleWorker} {
		_, err := config.Load(node, role)
		require.ErrorContains(t, err, "STORE_MANAGER_KIND=node is not accepted here: set it for cmd/storemanager")
	}
}

func TestWhatARoleNeedsIsRequired(t *testing.T) {
	t.Parallel()
	for role, missing := range map[config.Role][]string{
		config.RoleStandalone:   {"WEBHOOK_SECRET", "SERVER_BYPASS_TOKEN", "AUTH_WORKER_INTERNAL_URL"},
		config.RoleWebhook:      {"WEBHOOK_SECRET", "SERVER_BYPASS_TOKEN", "STORE_MANAGER_URL"},
		config.RoleWorker:       {"SERVER_BYPASS_TOKEN", "AUTH_WORKER_INTERNAL_URL", "STORE_MANAGER_URL"},
		config.RoleStoreManager: {"SERVER_BYPASS_TOKEN"},
		config.RoleStarter:      nil,
	} {
		_, err := config.Load([]string{"WEBHOOK_SECRET="}, role)
		if missing == nil {
			require.NoError(t, err)
			continue
		}
		require.Error(t, err)
		require.NotContains(t, err.Error(), "\n")
		require.Equal(t, len(missing), strings.Count(err.Error(), " ("), err.Error())
		for _, name := range missing {
			require.Contains(t, err.Error(), name+" (", role)
		}
	}
}

func TestASecretPrintsAsNothing(t *testing.T) {
	t.Parallel()
	c, err := config.Load(append(complete, "SENTRY_DSN=https://key@sentry.example.com/1", "NODE_SERVER_WEBHOOK_SECRET=node-secret",
		"TEMPORAL_DB=postgres://me:p%40ssw0rd@host/temporal",
		"EVENT_SINK_URL=https://sink.example.com", "EVENT_SINK_SECRET=whsec_"+strings.Repeat("QUJD", 8)), config.RoleStandalone)
	require.NoError(t, err)
	asJSON, err := json.Marshal(c)
	require.NoError(t, err)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v", *c, *c, *c), string(asJSON)} {
		for _, secret := range c.Secrets() {
			require.NotContains(t, text, secret)
		}
	}
	require.Contains(t, c.Secrets(), "p@ssw0rd")
	require.Len(t, c.Secrets(), 8, "all that the log must leave out")
}

func TestTheSettingsPageIsUpToDate(t *testing.T) {
	t.Parallel()
	if os.Getenv("UPDATE_DOCS") != "" {
		require.NoError(t, os.WriteFile("../../docs/settings.md", []byte(config.Markdown()), 0o600))
	}
	page, err := os.ReadFile("../../docs/settings.md")
	require.NoError(t, err)
	require.Equal(t, config.Markdown(), string(page), "run make docs")
}
