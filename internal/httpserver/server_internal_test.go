package httpserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAServerHasTheBoundsOfItsOptions(t *testing.T) {
	t.Parallel()
	server := New(Options{
		ReadHeaderTimeout: time.Second, ReadTimeout: 2 * time.Second, WriteTimeout: 3 * time.Second, IdleTimeout: 4 * time.Second,
		MaxHeaderBytes: 5, MaxConnections: 6,
	})
	require.Equal(t, time.Second, server.server.ReadHeaderTimeout)
	require.Equal(t, 2*time.Second, server.server.ReadTimeout)
	require.Zero(t, server.server.WriteTimeout, "it would count from the head of the request; see Options")
	require.Equal(t, 3*time.Second, server.door.writeTimeout)
	require.Equal(t, 4*time.Second, server.server.IdleTimeout)
	require.Equal(t, 5, server.server.MaxHeaderBytes)
	require.Equal(t, 6, server.door.limit)
}
