// Package storehttptest serves the store manager of a test over HTTP.
package storehttptest

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/httpclient"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/storemanager/storetest"
)

// Serve puts a client in front of what o serves, with the token of tests. All that they say to each other must be as openapi.json describes it.
func Serve(t *testing.T, o storehttp.Options) *storehttp.Client {
	t.Helper()
	o.Tokens = httpserver.FixedTokens(storetest.Token)
	srv := httptest.NewServer(storetest.Documented(t, storehttp.Handler(o)))
	t.Cleanup(srv.Close)
	c, err := storehttp.NewClient(srv.URL, httpclient.Fixed(storetest.Token), nil)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// ServeDatabase is Serve for a registry and its memory.
func ServeDatabase(t *testing.T, s *storetest.Database) *storehttp.Client {
	t.Helper()
	return Serve(t, storehttp.Options{Manager: s, Memory: s, Ping: s.Ping})
}
