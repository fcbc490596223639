package proctest_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/tests/proctest"
)

const childEnv = "PROCTEST_CHILD"

// TestMain makes the test binary also a process that repeats what it is told.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		_, _ = io.Copy(os.Stdout, os.Stdin)
		return
	}
	os.Exit(m.Run())
}

func TestAChildAnswersUntilItIsKilled(t *testing.T) {
	t.Parallel()
	c := proctest.StartSelf(t, childEnv+"=1")
	_, err := fmt.Fprintln(c.Stdin, "hello")
	require.NoError(t, err)
	require.Equal(t, "hello", c.Line())
	c.Kill()
	_, more := c.Next()
	require.False(t, more)
	c.Kill() // again is no harm
}

func TestAChildThatEndsByItselfEndsWell(t *testing.T) {
	t.Parallel()
	c := proctest.StartSelf(t, childEnv+"=1")
	require.NoError(t, c.Stdin.Close())
	_, more := c.Next()
	require.False(t, more)
	require.NoError(t, c.Wait())
}

//nolint:paralleltest // a process that another test starts would hold the listener for a moment, until it executes its program
func TestAFreeAddressCanBeListenedAtMoreThanOnce(t *testing.T) {
	address, err := proctest.FreeAddress(t.Context())
	require.NoError(t, err)
	for range 2 {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
}
