package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/storemanager/storetest"
)

func TestAnActorIsTheFlagTheVariableTheUserOrTheUsersIDInThisOrder(t *testing.T) {
	t.Parallel()
	nobodys := &app{}
	url := edgeOver(t, storetest.Open(t, storetest.Settings{}))
	me := nobodys.userName(os.Getuid()) // of /etc/passwd, or an id
	for name, tc := range map[string]struct {
		environ []string
		flags   []string
		want    string
	}{
		"the flag":                          {[]string{"STOREKEEPER_ACTOR=ops", "USER=ann"}, []string{"--actor", " bob "}, "bob"},
		"the variable":                      {[]string{"STOREKEEPER_ACTOR=on-call", "USER=ann"}, nil, "on-call"},
		"an empty flag is none":             {[]string{"STOREKEEPER_ACTOR=on-call"}, []string{"--actor", " "}, "on-call"},
		"USER":                              {[]string{"STOREKEEPER_ACTOR=", "USER=ann", "LOGNAME=bob"}, nil, "ann"},
		"LOGNAME":                           {[]string{"USER=", "LOGNAME=bob"}, nil, "bob"},
		"an empty environment":              {nil, nil, me},
		"an empty environment, empty flag":  {nil, []string{"--actor="}, me},
		"a space is no name of a user":      {[]string{"USER= "}, nil, me},
		"a name may have letters of others": {[]string{"USER=žofie"}, nil, "žofie"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &operator{append(tc.environ, "SERVER_BYPASS_TOKEN="+testToken)}
			out := c.run(t, append([]string{"pause", "ws-1", "--reason", "r", "--json", "--url", url}, tc.flags...)...)
			require.Equal(t, exit.Done, out.exit, out.stderr)
			require.Equal(t, tc.want, out.fields(t)["actor"])
		})
	}
	require.Equal(t, "uid 4294967", nobodys.userName(4294967), "a container's user need not be in /etc/passwd")
}

func TestTheEmergencyCommandsWorkInAnEmptyEnvironment(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := &operator{}
	require.Equal(t, exit.Done, c.run(t, "provision", "ws-empty-env", "--address", in.address).exit)
	require.Equal(t, exit.Done, c.run(t, "delete", "ws-empty-env", "--reason", "r", "--grace", "1h", "--address", in.address).exit)
	out := c.run(t, "cancel-delete", "ws-empty-env", "--reason", "a mistake", "--address", in.address)
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, string(contract.StatusDeletionCancelled))
	store, err := in.registry.Get(t.Context(), "ws-empty-env")
	require.NoError(t, err)
	require.NotEmpty(t, store.Hold.Actor)
	out = c.run(t, "hold", "ws-empty-env", "--reason", "an export", "--address", in.address)
	require.Equal(t, exit.Done, out.exit, out.stderr)
}

func TestASettingInQuotesStopsEveryCommandThatReadsSettings(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{`TEMPORAL_ADDRESS="127.0.0.1:7233"`, `STOREKEEPER_ACTOR='ann'`} {
		c := setup(t, setting)
		for _, args := range [][]string{{"list"}, {"status", "ws-1"}, {"release", "ws-1"}, {"push", "ws-1"}, {"cancel-delete", "ws-1", "--reason", "r"}} {
			out := c.run(t, args...)
			require.Equal(t, exit.Usage, out.exit, out.stderr)
			require.Contains(t, out.stderr, "take the quotes off")
		}
	}
	out := setup(t, `WEBHOOK_SECRET="whsec_`+strings.Repeat("QUJD", 8)+`"`).run(t, "emit", "created", "ws-1")
	require.Equal(t, exit.Usage, out.exit)
	require.Contains(t, out.stderr, "take the quotes off")
}

func TestABadSettingOfAnotherProgramStandsInTheWayOfNoDeletionToCancel(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := &operator{environ: []string{"PORT=tcp://10.0.0.1:80", "LOG_LEVEL=nope", `SENTRY_DSN="x"`}}
	require.Equal(t, exit.Done, c.run(t, "provision", "ws-others-port", "--address", in.address).exit)
	require.Equal(t, exit.Done, c.run(t, "delete", "ws-others-port", "--reason", "r", "--grace", "1h", "--address", in.address).exit)
	for _, args := range [][]string{{"cancel-delete"}, {"hold"}} {
		out := c.run(t, append(args, "ws-others-port", "--reason", "a mistake", "--address", in.address)...)
		require.Equal(t, exit.Done, out.exit, out.stderr)
	}
	for _, misspelt := range []string{"export TEMPORAL_ADDRESS=x", `TEMPORAL_NAMESPACE="x"`, "STOREKEEPER_ACTOR='ann'"} {
		out := (&operator{environ: []string{misspelt}}).run(t, "hold", "ws-others-port", "--reason", "r", "--address", in.address)
		require.Equal(t, exit.Usage, out.exit, misspelt)
	}
}

func TestTheSendersSecretIsNoConcernOfOtherCommands(t *testing.T) {
	t.Parallel()
	c := setup(t, "WEBHOOK_SECRET=whsk_"+strings.Repeat("QUJD", 16), "TEMPORAL_CONFIG_FILE="+filepath.Join(t.TempDir(), "none.toml"))
	out := c.run(t, "list", "--url", "http://"+closedPort(t))
	require.Equal(t, exit.Unreachable, out.exit, out.stderr)
}
