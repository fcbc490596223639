// Package storehttptest serves the store manager of a test over HTTP.
package storehttptest

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/storemanager/storetest"
)

// Serve puts a client in front of m and memory. All that they say to each other must be as openapi.json describes it.
func Serve(t *testing.T, m storemanager.Manager, memory deliveries.Memory) *storehttp.Client {
	t.Helper()
	srv := httptest.NewServer(storetest.Documented(t, storehttp.Handler(m, memory, storetest.Token, nil)))
	t.Cleanup(srv.Close)
	c, err := storehttp.NewClient(srv.URL, storetest.Token, nil)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// ServeDatabase is Serve for both in one.
func ServeDatabase(t *testing.T, s *storetest.Database) *storehttp.Client {
	t.Helper()
	return Serve(t, s, s)
}
