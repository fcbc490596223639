package edge

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
	"storekeeper/internal/edge/edgetest"
)

// operators are alice, who acts, and grafana, which reads.
func operators(t *testing.T) config.Operators {
	t.Helper()
	var o config.Operators
	require.NoError(t, o.UnmarshalText([]byte("alice:token-of-alice|next-token-of-alice,grafana:token-of-grafana:read")))
	return o
}

func TestTheNameOfATokenIsTheActor(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Config.Operators = operators(t) })
	pause := func(token, body string) (status int, actor any) {
		resp := f.Do(t, http.MethodPut, "/admin/pause", body, "Authorization", "Bearer "+token)
		return resp.Status, resp.JSON(t)["actor"]
	}
	for token, want := range map[string]string{"token-of-alice": "alice", "next-token-of-alice": "alice", edgetest.Token: "bob"} {
		status, actor := pause(token, `{"reason":"audit","actor":"bob"}`)
		require.Equal(t, 200, status)
		require.Equal(t, want, actor, "a name goes before what the body says")
	}
	status, actor := pause("token-of-alice", `{"reason":"audit"}`)
	require.Equal(t, 200, status)
	require.Equal(t, "alice", actor)
	status, _ = pause(edgetest.Token, `{"reason":"audit"}`)
	require.Equal(t, 400, status, "a token without a name needs an actor")
	require.Equal(t, 200, f.Do(t, http.MethodDelete, "/admin/pause", "", "X-Server-Token", "token-of-alice").Status)
	require.Contains(t, f.Logs.String(), `"actor":"alice"`)
	require.Equal(t, 204, f.Do(t, http.MethodPost, acknowledgeLossPath, `{"reason":"known"}`, "X-Server-Token", "token-of-alice").Status)
}

func TestAReadOnlyTokenSeesAllAndDoesNothing(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Config.Operators = operators(t) })
	described, err := edgetest.Describe()
	require.NoError(t, err)
	acting := 0
	for path, item := range described.Closed.Paths.Map() {
		for method, operation := range item.Operations() {
			_, forbids := operation.Responses.Map()["403"]
			if forbids {
				acting++
				resp := f.Do(t, method, replaceParameters(path), `{"reason":"audit","actor":"bob"}`, "Authorization", "Bearer token-of-grafana")
				edgetest.RequireProblem(t, resp, 403, "forbidden", "This token may only read")
			}
			require.Equal(t, guarded(operation) && method != http.MethodGet, forbids, "%s %s", method, path)
		}
	}
	require.NotZero(t, acting)
	for _, path := range []string{"/stores", "/admin/reconcile/runs"} {
		require.Equal(t, 200, f.Do(t, http.MethodGet, path, "", "Authorization", "Bearer token-of-grafana").Status, path)
		require.Equal(t, 401, f.Do(t, http.MethodGet, path, "", "Authorization", "Bearer token-of-grafana2").Status, path)
	}
	pauses, err := f.Registry.Pauses(t.Context())
	require.NoError(t, err)
	require.Empty(t, pauses)
}

func TestTheEdgeAcceptsEachOfSeveralBypassTokens(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Config.BypassTokens = config.Secrets{"the-next-token", edgetest.Token} })
	for token, status := range map[string]int{"the-next-token": 200, edgetest.Token: 200, "the-next-token," + edgetest.Token: 401, "": 401} {
		require.Equal(t, status, f.Do(t, http.MethodGet, "/stores", "", "Authorization", "Bearer "+token).Status, token)
	}
}

func TestTheEdgeUsesTheNewestSecretsAndSaysWhenTheyAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	environ := []string{"STORE_MANAGER_URL=http://127.0.0.1"}
	for name, content := range map[string]string{"WEBHOOK_SECRET": "an-old-secret", "SERVER_BYPASS_TOKEN": "an-old-token", "OPERATOR_TOKENS": "alice:an-old-key"} {
		write(name, content)
		environ = append(environ, name+"_FILE="+filepath.Join(dir, name))
	}
	f := setup(t, func(f *fixture) {
		var err error
		f.Config, err = config.Load(environ, config.RoleWebhook)
		require.NoError(t, err)
	})
	reload := func() error {
		_, err := f.Config.Reload(func(*config.Config) error { return nil })
		return err
	}
	require401 := func(unknown bool, secret, token, key string) {
		t.Helper()
		for _, got := range []edgetest.Response{
			f.Do(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", "application/json"),
			f.Do(t, http.MethodGet, "/stores", "", "Authorization", "Bearer "+token),
			f.Do(t, http.MethodGet, "/stores", "", "Authorization", "Bearer "+key),
		} {
			require.Equal(t, unknown, got.Status == 401, got.Body)
		}
	}
	require401(false, "an-old-secret", "an-old-token", "an-old-key")
	write("WEBHOOK_SECRET", "a-new-secret")
	write("SERVER_BYPASS_TOKEN", "a-new-token")
	write("OPERATOR_TOKENS", "alice:a-new-key")
	require401(true, "a-new-secret", "a-new-token", "a-new-key")
	require.NoError(t, reload())
	require401(false, "a-new-secret", "a-new-token", "a-new-key")
	require401(true, "an-old-secret", "an-old-token", "an-old-key")
	require.NotContains(t, f.Do(t, http.MethodGet, "/health", "").Body, "secrets: ")

	write("OPERATOR_TOKENS", "alice")
	require.Error(t, reload())
	require401(false, "a-new-secret", "a-new-token", "a-new-key")
	require.Contains(t, f.Do(t, http.MethodGet, "/health", "").Body, "secrets: what their files have is refused since ")
	require.Contains(t, f.Do(t, http.MethodGet, "/health", "").Body, "(OPERATOR_TOKENS")
}
