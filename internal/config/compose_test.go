package config_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
)

// readers says which processes read a setting. What is not here is read by all three.
var readers = map[string][]config.Role{
	"WEBHOOK_SECRET":                       {config.RoleWebhook},
	"OPERATOR_TOKENS":                      {config.RoleWebhook},
	"WEBHOOK_AUTH":                         {config.RoleWebhook},
	"WEBHOOK_RATE_LIMIT":                   {config.RoleWebhook},
	"WEBHOOK_MAX_BACKLOG_AGE":              {config.RoleWebhook},
	"WEBHOOK_WAIT":                         {config.RoleWebhook},
	"MANUAL_RECONCILE_MIN_INTERVAL_MS":     {config.RoleWebhook},
	"ORCHESTRATION_INCIDENT_DASHBOARD_URL": {config.RoleWebhook},

	"STORE_MANAGER_URL":               {config.RoleWebhook, config.RoleWorker},
	"WORKSPACE_RECONCILE_ENABLED":     {config.RoleWebhook, config.RoleWorker},
	"WORKSPACE_RECONCILE_INTERVAL_MS": {config.RoleWebhook, config.RoleWorker},

	"TEMPORAL_API_KEY":             {config.RoleWebhook, config.RoleWorker},
	"AUTH_WORKER_INTERNAL_URL":     {config.RoleWorker},
	"DELETION_GRACE_PERIOD":        {config.RoleWorker},
	"AUTH_LIST_MAX_AGE":            {config.RoleWorker},
	"RECONCILE_MODE":               {config.RoleWorker},
	"RECONCILE_MAX_RATE":           {config.RoleWorker},
	"RECONCILE_MAX_DELETES":        {config.RoleWorker},
	"RECONCILE_MAX_DELETE_PERCENT": {config.RoleWorker},

	"STORE_MANAGER_KIND":         {config.RoleStoreManager},
	"NODE_SERVER_URL":            {config.RoleStoreManager},
	"NODE_SERVER_WEBHOOK_SECRET": {config.RoleStoreManager},
	"STORE_IDS":                  {config.RoleStoreManager},
	"AUDIT_RETENTION":            {config.RoleStoreManager},
	"LIVESTORE_SYNC_URL":         {config.RoleStoreManager},
	"LIVESTORE_SYNC_MAX_DIALS":   {config.RoleStoreManager},
	"EVENT_SINK_URL":             {config.RoleStoreManager},
	"EVENT_SINK_SECRET":          {config.RoleStoreManager},

	// The images say where their processes listen and keep data, and a container is no terminal.
	"LISTEN": nil, "PORT": nil, "STORE_MANAGER_LISTEN": nil, "METRICS_LISTEN": nil, "STORE_DATA_PATH": nil, "LOG_FORMAT": nil,
	"TEMPORAL_DB":         nil,                                                     // of cmd/standalone
	"STORE_<ID>_SYNC_URL": nil,                                                     // a comment there says how
	"STOREKEEPER_URL":     nil, "STOREKEEPER_ACTOR": nil, "STOREKEEPER_TOKEN": nil, // of cmd/starter
	"TEMPORAL_RETENTION": nil, // of the embedded server
}

func TestContainersGetEverySettingThatTheirProcessReads(t *testing.T) {
	t.Parallel()
	const file = "../../docker-compose.temporal.yml"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	names := settingNames()
	for name := range readers {
		require.Contains(t, names, name, "there is no such setting any more")
	}
	for _, role := range []config.Role{config.RoleWebhook, config.RoleWorker, config.RoleStoreManager} {
		given := environment(t, string(text), string(role))
		for _, name := range names {
			by, some := readers[name]
			if !some || slices.Contains(by, role) {
				require.Contains(t, given, name, "%s: the environment of %s lacks it", file, role)
			}
		}
	}
}

// settingNames are the variables, in the order of docs/settings.md.
func settingNames() (names []string) {
	for line := range strings.Lines(config.Markdown()) {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ = strings.Cut(name, "`")
			names = append(names, name)
		}
	}
	return names
}

// environment returns the names that a service's environment sets, with those of what it merges.
func environment(t *testing.T, compose, service string) (names []string) {
	t.Helper()
	_, rest, found := strings.Cut(compose, "\n  "+service+":\n")
	require.True(t, found, service)
	_, rest, found = strings.Cut(rest, "\n    environment:\n")
	require.True(t, found, service)
	return entries(t, compose, rest, "      ")
}

// entries returns the names at the beginning of text that stand at the indent.
func entries(t *testing.T, compose, text, indent string) (names []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		entry, inside := strings.CutPrefix(line, indent)
		if !inside {
			break
		}
		name, value, _ := strings.Cut(entry, ":")
		if name != "<<" {
			names = append(names, name)
			continue
		}
		_, merged, found := strings.Cut(compose, ": &"+strings.TrimPrefix(strings.TrimSpace(value), "*")+"\n")
		require.True(t, found, line)
		names = append(names, entries(t, compose, merged, "  ")...)
	}
	return names
}
