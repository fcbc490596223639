package storehttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/httpclient"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// answering is a client of a server that answers everything in one way.
func answering(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	c, err := NewClient(srv.URL+"/prefix/", httpclient.Fixed(storetest.Token), nil)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestClientRefusesSettingsThatCannotWork(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"no URL": "", "no scheme": "localhost:3004", "another scheme": "ftp://host", "no host": "http://", "garbage": "http://a b\x7f",
		"a password": "http://user:hunter2@host", "a password in garbage": "http://user:hunter2@host:x", "a query": "http://host?a=b",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewClient(url, httpclient.Fixed(storetest.Token), nil)
			require.ErrorContains(t, err, "store manager URL")
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	_, err := NewClient("http://host", httpclient.Fixed(""), nil)
	require.ErrorContains(t, err, "token")
}

func TestClientWithAWrongTokenIsUnauthorized(t *testing.T) {
	t.Parallel()
	stores := storetest.Open(t, storetest.Settings{})
	good := serve(t, Options{Manager: stores, Memory: stores})
	require.NoError(t, good.Ping(t.Context()))
	bad, err := NewClient(good.base.String(), httpclient.Fixed("hunter2"), nil)
	require.NoError(t, err)
	t.Cleanup(bad.CloseIdleConnections)
	err = bad.Ping(t.Context())
	require.ErrorIs(t, err, storemanager.ErrUnauthorized)
	require.NotContains(t, err.Error(), "hunter2")
	_, err = bad.List(t.Context(), storemanager.ListRequest{})
	require.ErrorIs(t, err, storemanager.ErrUnauthorized)
}

func TestClientTakesNothingElseForAnAnswer(t *testing.T) {
	t.Parallel()
	text := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a page of a proxy":         {text(200, "text/html", "<html>"), "read answer of store manager"},
		"a proxy's not found":       {text(404, "text/html", "<html>"), "the store manager answered 404: Not Found"},
		"not found, but no problem": {text(404, "application/json", `{"code":"not_found"}`), "answered 404"},
		"a wrong path":              {text(404, "application/problem+json", `{"code":"no_route","detail":"no such route"}`), "404: no such route"},
		"a code of another version": {text(400, "application/problem+json", `{"code":"new","detail":"news"}`), "answered 400: news"},
		"an error without a body":   {text(502, "", ""), "answered 502: Bad Gateway"},
		"success of another kind":   {text(204, "", ""), "answered 204"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"id":`)
		}, "unexpected EOF"},
		"an endless answer": {func(w http.ResponseWriter, r *http.Request) {
			for piece := strings.Repeat(" ", 1<<20); r.Context().Err() == nil; {
				if _, err := io.WriteString(w, piece); err != nil {
					return
				}
			}
		}, "is over 33554432 bytes"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "answered 307"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := answering(t, test.handler)
			_, err := c.Get(t.Context(), storetest.ID)
			require.ErrorContains(t, err, test.want)
			for _, typed := range []error{storemanager.ErrNotFound, storemanager.ErrInvalid, storemanager.ErrTooEarly, storemanager.ErrUnauthorized, storemanager.ErrShutdown} {
				require.NotErrorIs(t, err, typed)
			}
			require.NotContains(t, err.Error(), storetest.Token)
		})
	}
}

// ending is a Manager that no longer does anything.
type ending struct{ storemanager.Manager }

func (ending) Ensure(context.Context, storemanager.EnsureRequest) (storemanager.EnsureResult, error) {
	return storemanager.EnsureResult{}, fmt.Errorf("ensure: %w", storemanager.ErrShutdown)
}

func TestClientHearsOfAShutdown(t *testing.T) {
	t.Parallel()
	_, err := serve(t, Options{Manager: ending{}}).Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.T0})
	require.ErrorIs(t, err, storemanager.ErrShutdown)
}

func TestClientWantsAResultForEachStore(t *testing.T) {
	t.Parallel()
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) { httpserver.WriteJSON(w, http.StatusOK, batchResponse{}) })
	_, err := c.EnsureBatch(t.Context(), storetest.Batch(0, 2, storetest.T0))
	require.ErrorContains(t, err, "0 results for 2 stores")
}

func TestClientEndsWithItsContext(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	c := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := c.Get(ctx, storetest.ID)
	require.ErrorIs(t, err, context.Canceled)
}

func TestClientSendsItsTokenAndKeepsThePrefix(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[http.Request]
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r)
		httpserver.WriteJSON(w, http.StatusOK, nothing{})
	})
	require.NoError(t, c.RecordReconcile(t.Context(), storemanager.ReconcileRun{RunID: "a/b %41", StartedAt: storetest.T0, CompletedAt: storetest.T0}))
	r := seen.Load()
	require.Equal(t, "/prefix/v1/reconciliation/runs/a%2Fb%20%2541", r.URL.EscapedPath())
	require.Equal(t, bearer, r.Header.Get("Authorization"))
	require.NotContains(t, r.Header, "Idempotency-Key")
}

func TestAClientGivesDeadConnectionsUp(t *testing.T) {
	t.Parallel()
	client, err := NewClient("https://manager.example.com", httpclient.Fixed("token"), nil)
	require.NoError(t, err)
	storetest.RequirePings(t, client.http)
}

// serve puts a client in front of what o serves, with the token of tests.
func serve(t *testing.T, o Options) *Client {
	t.Helper()
	o.Tokens = httpserver.FixedTokens(storetest.Token)
	srv := httptest.NewServer(storetest.Documented(t, Handler(o)))
	t.Cleanup(srv.Close)
	c, err := NewClient(srv.URL, httpclient.Fixed(storetest.Token), nil)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}
