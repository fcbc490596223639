package temporalserver

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// Temporal ends the process when a port is taken between the look at it and its use. Start must not.
func TestAPortTakenInTheLastMomentIsAnError(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	addrs, err := reserveAddresses(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	addrs.history = netip.MustParseAddrPort(taken.Addr().String())

	control := newLogControl()
	_, err = launch(serverOptions(addrs, inMemory(), 0, control.wrap(zap.NewNop())), control)
	require.ErrorContains(t, err, "start temporal server: Failed to start gRPC listener: listen tcp "+taken.Addr().String())
	require.ErrorContains(t, err, "address already in use")
}
