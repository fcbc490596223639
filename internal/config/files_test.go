package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
)

// file writes a file that only its owner may read, and returns its path.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestEverySecretCanBeInAFile(t *testing.T) {
	t.Parallel()
	environ := []string{"AUTH_WORKER_INTERNAL_URL=http://127.0.0.1", "EVENT_SINK_URL=http://sink.example.com"}
	for name, value := range map[string]string{
		"WEBHOOK_SECRET": "one,two", "SERVER_BYPASS_TOKEN": "bypass", "OPERATOR_TOKENS": "alice:aaa", "NODE_SERVER_WEBHOOK_SECRET": "node",
		"EVENT_SINK_SECRET": hmacKey, "SENTRY_DSN": "https://key@sentry.example.com/1", "TEMPORAL_DB": "postgres://u:pw@host/db",
		"TEMPORAL_API_KEY": "api-key", "STOREKEEPER_TOKEN": "own",
	} {
		environ = append(environ, name+"_FILE="+file(t, value+"\r\n"))
	}
	c, err := config.Load(environ, config.RoleStandalone)
	require.NoError(t, err)
	require.Equal(t, config.Secrets{"one", "two"}, c.WebhookSecrets)
	require.Equal(t, "bypass", c.BypassToken())
	require.Equal(t, "alice", c.Operators[0].Name)
	require.EqualValues(t, "node", c.NodeServerSecret)
	require.EqualValues(t, hmacKey, c.EventSinkSecret)
	require.EqualValues(t, "https://key@sentry.example.com/1", c.SentryDSN)
	require.EqualValues(t, "postgres://u:pw@host/db", c.TemporalDB)
	require.EqualValues(t, "api-key", c.TemporalAPIKey)
	require.EqualValues(t, "own", c.StorekeeperToken)
	require.Subset(t, c.Secrets(), []string{"one", "two", "bypass", "aaa", "node", hmacKey, "pw", "api-key", "own"})
	require.Len(t, c.Files(), 9, "and no other setting")
	require.Empty(t, c.OpenFiles())
}

func TestAFileThatCannotBeUsedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ path, want string }{
		"it is not there":        {"/nowhere/secret", `SERVER_BYPASS_TOKEN_FILE="/nowhere/secret" is not accepted: the file can't be read (no such file or directory), see that it is there`},
		"it is a directory":      {t.TempDir(), "it is no regular file"},
		"it is empty":            {file(t, "\n"), "the file is empty, write the secret into it"},
		"it is too large":        {file(t, strings.Repeat("x", 70_000)), "the file is over 64 KiB"},
		"it is no text":          {file(t, "hunter2\x00"), "the file is no text"},
		"it has two lines":       {file(t, "hunter2\nhunter3"), "is not accepted: it holds the invisible character U+000A, take it out"},
		"it has a quoted secret": {file(t, `"hunter2"`), "is not accepted: it begins or ends with a quotation mark"},
		"it has two words":       {file(t, "hunter2 hunter3"), "is not accepted: want a token without white space"},
	} {
		_, err := config.Load([]string{"WEBHOOK_SECRET=s", "AUTH_WORKER_INTERNAL_URL=http://a", "SERVER_BYPASS_TOKEN_FILE=" + test.path}, config.RoleStandalone)
		require.ErrorContains(t, err, test.want, name)
		require.ErrorContains(t, err, `SERVER_BYPASS_TOKEN_FILE="`+test.path+`"`, name)
		require.NotContains(t, err.Error(), "hunter", name)
		require.NotContains(t, err.Error(), "required and not set", name)
	}
	_, err := config.Load(append(complete, "SERVER_BYPASS_TOKEN_FILE="+file(t, "x")), config.RoleStandalone)
	require.EqualError(t, err, "SERVER_BYPASS_TOKEN and SERVER_BYPASS_TOKEN_FILE are both set: leave one of them out")
	_, err = config.Load(append(complete, `SENTRY_DSN_FILE="/secret"`), config.RoleStandalone)
	require.ErrorContains(t, err, "take the quotes off")
}

func TestAFileThatOthersMayReadIsNamed(t *testing.T) {
	t.Parallel()
	path := file(t, "https://key@sentry.example.com/1")
	require.NoError(t, os.Chmod(path, 0o644))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755))
	c, err := config.Load(append(complete, "SENTRY_DSN_FILE="+path), config.RoleStandalone)
	require.NoError(t, err)
	require.Equal(t, []string{"SENTRY_DSN_FILE=" + path}, c.OpenFiles())
}

func TestAChangedFileIsTheNewestOnceItIsReloaded(t *testing.T) {
	t.Parallel()
	path := file(t, "old")
	c, err := config.Load([]string{"WEBHOOK_SECRET=s", "AUTH_WORKER_INTERNAL_URL=http://a", "SERVER_BYPASS_TOKEN_FILE=" + path}, config.RoleStandalone)
	require.NoError(t, err)
	before := c.FilesNow()
	require.Same(t, c, c.Newest())
	changed, err := c.Reload(func(*config.Config) error { t.Error("nothing has changed"); return nil })
	require.NoError(t, err)
	require.Empty(t, changed)

	require.NoError(t, os.WriteFile(path, []byte("new,old"), 0o600))
	require.NotEqual(t, before, c.FilesNow())
	require.Equal(t, "old", c.BypassToken())
	changed, err = c.Reload(func(next *config.Config) error {
		require.Equal(t, "new", next.BypassToken())
		require.Equal(t, "old", c.BypassToken(), "nobody uses it before it was seen")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"SERVER_BYPASS_TOKEN"}, changed)
	require.Equal(t, "new", c.BypassToken())
	require.Equal(t, config.Secrets{"new", "old"}, c.Newest().BypassTokens)
	require.Equal(t, c.Newest(), c.Newest().Newest())
	require.Nil(t, c.Refused())
}

func TestWhatIsNotAcceptedLeavesTheOldSecretsAndIsKnown(t *testing.T) {
	t.Parallel()
	path := file(t, "old")
	c, err := config.Load([]string{"WEBHOOK_SECRET=s", "AUTH_WORKER_INTERNAL_URL=http://a", "SERVER_BYPASS_TOKEN_FILE=" + path}, config.RoleStandalone)
	require.NoError(t, err)
	accept := func(*config.Config) error { return nil }
	for _, bad := range []string{"", "hunter2 hunter3", "hunter2,"} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
		_, err = c.Reload(accept)
		require.ErrorContains(t, err, "SERVER_BYPASS_TOKEN_FILE=")
		require.NotContains(t, err.Error(), "hunter")
		require.Equal(t, err, c.Refused().Err)
		require.Equal(t, "old", c.BypassToken())
	}
	since := c.Refused().At
	require.NoError(t, os.Remove(path))
	_, err = c.Reload(accept)
	require.ErrorContains(t, err, "can't be read")
	require.Equal(t, since, c.Refused().At, "since the first refusal")
	require.NoError(t, os.WriteFile(path, []byte("new"), 0o600))
	_, err = c.Reload(func(*config.Config) error { return errors.New("not this one") })
	require.EqualError(t, err, "not this one")
	require.Equal(t, "old", c.BypassToken())
	_, err = c.Reload(accept)
	require.NoError(t, err)
	require.Equal(t, "new", c.BypassToken())
	require.Nil(t, c.Refused())
}

func TestOnlyTheSecretsThatAreAskedForAreResolved(t *testing.T) {
	t.Parallel()
	environ := []string{"TEMPORAL_API_KEY_FILE=" + file(t, "key"), "EVENT_SINK_SECRET_FILE=/nowhere"}
	resolved, err := config.Resolve(environ, "TEMPORAL_API_KEY")
	require.NoError(t, err)
	require.Equal(t, append(environ, "TEMPORAL_API_KEY=key"), resolved)
	_, err = config.Resolve(environ, "EVENT_SINK_SECRET")
	require.ErrorContains(t, err, `EVENT_SINK_SECRET_FILE="/nowhere" is not accepted`)
}
