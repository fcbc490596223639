package postgres

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestAStartGivesUpOnAPostgreSQLThatStaysAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	core, logs := observer.New(zap.DebugLevel)
	_, err = Open(t.Context(), "postgres://somebody:verysecret@"+address+"/temporal", time.Second, zap.New(core))
	require.ErrorContains(t, err, "PostgreSQL, database temporal at "+address+": it could not be reached for 1s: start it, or correct the URL: ")
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), "\n")
	require.NotContains(t, err.Error(), "verysecret")
	require.Equal(t, 1, logs.Len(), "that it waits")
	require.Contains(t, logs.All()[0].Message, "can't be reached yet, waiting for it")
}

func TestTheURLOfPostgreSQLIsCheckedAndNeverShown(t *testing.T) {
	t.Parallel()
	long := "a-name-of-more-than-fifty-two-bytes-cant-have-a-suffix"
	for name, test := range map[string]struct{ url, want string }{
		"what can't be parsed":       {"postgres://u:very%secret@h/temporal", "the URL of PostgreSQL can't be parsed"},
		"a port that is none":        {"postgres://u:verysecret@h:port/temporal", "the URL of PostgreSQL can't be parsed"},
		"no database":                {"postgres://u:verysecret@h/", "names no database"},
		"a name that would be cut":   {"postgres://u:verysecret@h/" + long, "the name of the database is too long"},
		"a mode of TLS that is none": {"postgres://u:verysecret@h/temporal?sslmode=maybe", "sslmode is invalid"},
		"a certificate that is not there": {
			"postgres://u:verysecret@h/temporal?sslmode=verify-full&sslrootcert=/no/such.pem", "unable to read CA file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(t.Context(), test.url, time.Second, zap.NewNop())
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "verysecret")
		})
	}
}

func TestBothDatabasesAreReachedWithWhatTheURLSays(t *testing.T) {
	t.Parallel()
	executions, visibility, err := parse("postgresql://me:p%40ss%2Fword@h1:1,h2:2/my%20db?sslmode=disable&connect_timeout=2&search_path=s")
	require.NoError(t, err)
	for d, name := range map[*database]string{&executions: "my db", &visibility: "my db_visibility"} {
		require.Equal(t, name, d.config.Database)
		require.Equal(t, "me", d.config.User)
		require.Equal(t, "p@ss/word", d.config.Password)
		require.Equal(t, 2*time.Second, d.config.ConnectTimeout)
		require.Equal(t, "s", d.config.RuntimeParams["search_path"])
		require.Len(t, d.config.Fallbacks, 1, "the second host")
		require.Equal(t, "database "+name+" at h1:1", d.where())
	}
}
