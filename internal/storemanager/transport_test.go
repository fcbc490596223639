package storemanager

import (
	"net/http"
	"testing"

	"storekeeper/internal/tunnel"

	"github.com/stretchr/testify/require"
)

func TestEveryClientGivesDeadConnectionsUp(t *testing.T) {
	t.Parallel()
	client, err := NewClient("https://manager.example.com", "token", nil)
	require.NoError(t, err)
	node, err := newNodeClient(NodeOptions{URL: "https://node.example.com", WebhookSecret: "secret", Parallelism: 2})
	require.NoError(t, err)
	for name, c := range map[string]*http.Client{"of a store manager": client.http, "of a Node server": node.http, "of the sink": sinkClient(nil)} {
		transport := c.Transport.(*tunnel.Transport)
		require.Positive(t, transport.HTTP2.SendPingTimeout, name)
		require.Positive(t, transport.HTTP2.PingTimeout, name)
		require.Positive(t, transport.MaxIdleConnsPerHost, name)
	}
	require.Equal(t, nodeIdleTimeout, node.http.Transport.(*tunnel.Transport).IdleConnTimeout)
}
