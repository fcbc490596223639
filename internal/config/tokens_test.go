package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
)

func TestOperatorsHaveNamesTokensAndRights(t *testing.T) {
	t.Parallel()
	c, err := config.Load(append(complete, "OPERATOR_TOKENS=alice:aaa, bob@example.com:b-1|b.2/+=, grafana:ccc:read"), config.RoleStandalone)
	require.NoError(t, err)
	require.Equal(t, config.Operators{
		{Name: "alice", Tokens: []config.Secret{"aaa"}},
		{Name: "bob@example.com", Tokens: []config.Secret{"b-1", "b.2/+="}},
		{Name: "grafana", Tokens: []config.Secret{"ccc"}, ReadOnly: true},
	}, c.Operators)
	for _, token := range []string{"aaa", "b-1", "b.2/+=", "ccc"} {
		require.Contains(t, c.Secrets(), token)
	}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", c.Operators, *c, *c), "b.2")
}

func TestOperatorsThatAreNotClearAreRefused(t *testing.T) {
	t.Parallel()
	for name, given := range map[string]string{
		"no token":                      "alice",
		"an empty token":                "alice:",
		"an empty one of two":           "alice:hunter2|",
		"no name":                       ":hunter2",
		"a name that is too long":       strings.Repeat("a", 65) + ":hunter2",
		"a name with a space":           "al ice:hunter2",
		"another right":                 "alice:hunter2:write",
		"an empty right":                "alice:hunter2:",
		"a token with a colon":          "alice:hunter2:hunter3:read",
		"a token beyond the characters": "alice:hünter2",
		"an empty entry":                "alice:hunter2,,bob:hunter3",
		"a name that comes twice":       "alice:hunter2,alice:hunter3:read",
		"a token that comes twice":      "alice:hunter2,bob:hunter2",
		"a token twice in an entry":     "alice:hunter2|hunter2",
	} {
		_, err := config.Load(append(complete, "OPERATOR_TOKENS="+given), config.RoleStandalone)
		require.ErrorContains(t, err, "OPERATOR_TOKENS=[redacted] is not accepted: want NAME:TOKEN", name)
		require.NotContains(t, err.Error(), "hunter", name)
	}
	_, err := config.Load(append(complete, "OPERATOR_TOKENS=alice:hunter2", "SERVER_BYPASS_TOKEN=other,hunter2"), config.RoleStandalone)
	require.EqualError(t, err, "OPERATOR_TOKENS and SERVER_BYPASS_TOKEN share a token: give the operator one of its own")
}

func TestTheFirstBypassTokenIsSentAndAllAreKeptOutOfLogs(t *testing.T) {
	t.Parallel()
	c, err := config.Load(append(complete, "SERVER_BYPASS_TOKEN=new-token, old-token"), config.RoleStandalone)
	require.NoError(t, err)
	require.Equal(t, "new-token", c.BypassToken())
	require.Equal(t, config.Secrets{"new-token", "old-token"}, c.BypassTokens)
	require.Subset(t, c.Secrets(), []string{"new-token", "old-token"})
	require.Empty(t, (&config.Config{}).BypassToken())
	_, err = config.Load(append(complete, "SERVER_BYPASS_TOKEN=hunter2,"), config.RoleStandalone)
	require.ErrorContains(t, err, "SERVER_BYPASS_TOKEN=[redacted] is not accepted: want a token")
	require.NotContains(t, err.Error(), "hunter2")
}
