package livestore_test

import (
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/livestore"
	"storekeeper/internal/tunnel/tunneltest"
)

func TestAProxyHearsTheBackendsHostAndNoSecret(t *testing.T) {
	t.Parallel()
	for name, proxy := range map[string]func(*testing.T) *tunneltest.Proxy{
		"HTTP":                 func(t *testing.T) *tunneltest.Proxy { return tunneltest.HTTP(t, nil) },
		"HTTP with a password": func(t *testing.T) *tunneltest.Proxy { return tunneltest.HTTP(t, url.UserPassword("me", "p%w")) },
		"SOCKS5":               func(t *testing.T) *tunneltest.Proxy { return tunneltest.SOCKS(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := newScript(t), proxy(t)
			s.options.HTTPClient = livestore.NewClient(http.ProxyURL(p.URL))
			s.options.URL = strings.Replace(s.options.URL, "http:", "ws:", 1)
			pull := pullOn(t, s.dial(), livestore.Cursor{}, nil)
			s.hear()
			s.say(chunk("0", 1, 3, noMore))
			inOrder(t, pull.page().Events, 1, 3)
			heads := strings.Join(p.Heads(), "\n")
			require.Contains(t, heads, strings.TrimPrefix(s.options.URL, "ws://"))
			for _, secret := range []string{"payload", "serverBypass", token, url.QueryEscape(token)} {
				require.NotContains(t, heads, secret)
			}
			p.DropConnections()
			require.ErrorIs(t, pull.end(), livestore.ErrDisconnected)
		})
	}

	t.Run("a proxy that refuses is told, and is no answer of the backend", func(t *testing.T) {
		t.Parallel()
		s, p := newScript(t), tunneltest.HTTP(t, url.UserPassword("me", "right"))
		s.options.HTTPClient = livestore.NewClient(http.ProxyURL(&url.URL{Scheme: "http", Host: p.URL.Host}))
		_, err := livestore.Dial(t.Context(), s.options)
		var dial *livestore.DialError
		require.ErrorAs(t, err, &dial)
		require.Zero(t, dial.Status)
		require.ErrorContains(t, err, "the proxy refused a tunnel")
		require.NotContains(t, err.Error(), token)
	})
}

// refused dials a backend that answers with the handler.
func refused(t *testing.T, answer http.HandlerFunc) *livestore.DialError {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	_, err := livestore.Dial(t.Context(), livestore.Options{URL: server.URL, StoreID: "s", Payload: payload()})
	var dial *livestore.DialError
	require.ErrorAs(t, err, &dial)
	return dial
}

func TestARefusalSaysWhatTheBackendSaid(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status     int
		body, says string
	}{
		"a wrong token":              {400, "Invalid payload\n", "status 400 (the token may be wrong): Invalid payload"},
		"one that is not authorized": {401, `{"error":"no"}`, `status 401 (the token may be wrong): {"error":"no"}`},
		"one that is forbidden":      {403, "", "status 403 (the token may be wrong)"},
		"a path that is not there":   {404, "Not\tfound\x1b[31m", "status 404: Not found [31m"},
		"a page of HTML":             {502, "<!DOCTYPE html><html><head><style>x</style><title>\nBad\n gateway</title></head>", "status 502: Bad gateway"},
		"HTML without a title":       {500, "<h1>Oh</h1><p>no</p>", "status 500: Oh no"},
		"the token in many forms": {400, "a " + token + " b " + url.QueryEscape(token) + " c " + url.QueryEscape(url.QueryEscape(token)) + " d " + url.PathEscape(token) +
			" e " + strings.ToLower(url.QueryEscape(token)) + " f " + html.EscapeString(token), "a [payload] b [payload] c [payload] d [payload] e [payload] f [payload]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := refused(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			require.Equal(t, tc.status, err.Status)
			require.Truef(t, strings.HasSuffix(err.Error(), tc.says), "%s", err)
		})
	}

	t.Run("what is cut off in the middle of the token holds no part of it", func(t *testing.T) {
		t.Parallel()
		for tail := range len(token) {
			err := refused(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, "so"+strings.Repeat(" ", 1022-tail)+token+" and more")
			})
			require.NotContains(t, err.Error(), token[:4])
		}
	})

	t.Run("a long one is shortened", func(t *testing.T) {
		t.Parallel()
		err := refused(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, strings.Repeat("long ", 100_000))
		})
		require.Less(t, len(err.Error()), 300)
	})
}

func TestARefusalSaysHowLongToStayAway(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{"120": 2 * time.Minute, "86400": 5 * time.Minute, "soon": 0, "": 0} {
		err := refused(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		require.Equal(t, want, err.RetryAfter, "%q", header)
	}
}
