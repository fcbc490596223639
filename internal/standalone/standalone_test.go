package standalone

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/config"
	"storekeeper/internal/manager"
	"storekeeper/internal/process"
	"storekeeper/internal/telemetry"
)

const (
	shared  = "a-shared-secret@home"
	key     = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	another = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
	window  = "@2026-01-01T00:00:00Z/"
	public  = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
)

func settings(t *testing.T, environ ...string) *config.Config {
	t.Helper()
	withDefaults, _ := DemoEnviron(environ)
	c, err := config.Load(withDefaults, config.RoleStandalone)
	require.NoError(t, err)
	return c
}

func TestTheDemosSenderHasWhatTheEdgeTakes(t *testing.T) {
	t.Parallel()
	all := strings.Join([]string{public, shared, key + window, another}, ",")
	for name, tc := range map[string]struct {
		mode, secrets string
		want          string
		says          string // when it has nothing
	}{
		"the published secret":                       {"any", "", DemoWebhookSecret, ""},
		"secrets, and keys without their windows":    {"any", all, shared + "," + key + "," + another, ""},
		"keys alone, where secrets are not taken":    {"signature", all, key + "," + another, ""},
		"secrets alone, where keys are not taken":    {"secret", all, shared, ""},
		"a key that is limited in time":              {"any", key + window, key, ""},
		"nothing, with public keys alone":            {"any", public, "", "WEBHOOK_AUTH=any: add a whsec_ key"},
		"nothing, where only public keys are taken":  {"signature", public + "," + shared, "", "WEBHOOK_AUTH=signature: add a whsec_ key"},
		"a secret that is none of the kinds of keys": {"secret", "WHSEC_x@y", "WHSEC_x@y", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := senderSecret(settings(t, "WEBHOOK_AUTH="+tc.mode, "WEBHOOK_SECRET="+tc.secrets))
			require.Equal(t, tc.want, got)
			if tc.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.says)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), public)
		})
	}
}

func TestADemoThatCouldSendNothingDoesNotStart(t *testing.T) {
	t.Parallel()
	c := settings(t, "WEBHOOK_AUTH=signature", "WEBHOOK_SECRET="+public)
	p := &process.Process{Config: c, Log: zap.NewNop()}
	data := t.TempDir() + "/data"
	err := Run(t.Context(), p, Options{Demo: true, DataDir: data, Listen: "127.0.0.1:0"})
	require.ErrorContains(t, err, "add a whsec_ key")
	require.NoDirExists(t, data)
}

func TestNothingCanBeKeptInMemoryAndInAPostgreSQL(t *testing.T) {
	t.Parallel()
	p := &process.Process{Config: settings(t, "TEMPORAL_DB=postgres://me:verysecret@127.0.0.1:1/temporal"), Log: zap.NewNop()}
	err := Run(t.Context(), p, Options{Demo: true, Ephemeral: true, Listen: "127.0.0.1:0"})
	require.ErrorContains(t, err, "--ephemeral keeps nothing, and TEMPORAL_DB (--temporal-db) says where")
	require.NotContains(t, err.Error(), "verysecret")
}

func TestWhatIsKeptIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	c := settings(t)
	metrics, err := telemetry.NewMetrics(zap.NewNop())
	require.NoError(t, err)
	p := &process.Process{Role: config.RoleStandalone, Config: c, Log: zap.NewNop(), Metrics: metrics}
	data := filepath.Join(t.TempDir(), "data")
	const local = "127.0.0.1:0"
	err = Run(t.Context(), p, Options{Demo: true, DataDir: data, Listen: local, AuthListen: local, SyncListen: local, TemporalListen: "nowhere"})
	require.ErrorContains(t, err, "temporal server", "the last that is started")
	for name, mode := range map[string]fs.FileMode{"": 0o700, "stores.db": 0o600, "auth.db": 0o600, "sync.db": 0o600, "registry-mark-of-stores.db": 0o600} {
		info, err := os.Stat(filepath.Join(data, name))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}
}

func TestARestoreNeedsADisk(t *testing.T) {
	t.Parallel()
	p := &process.Process{Config: &config.Config{}, Log: zap.NewNop()}
	for _, o := range []Options{
		{Ephemeral: true, Restore: manager.Restore{From: "backup"}},
		{DataDir: t.TempDir(), Restore: manager.Restore{SetAside: true}},
		{DataDir: t.TempDir(), Restore: manager.Restore{From: t.TempDir()}},
	} {
		o.Listen = "127.0.0.1:0"
		require.ErrorContains(t, Run(t.Context(), p, o), "--restore")
	}
}
