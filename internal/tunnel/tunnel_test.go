package tunnel_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/tunnel"
	"storekeeper/internal/tunnel/tunneltest"
)

// get asks the server for a path with a secret in it, through the proxy, and returns its answer.
func get(t *testing.T, server *httptest.Server, proxy func(*http.Request) (*url.URL, error)) (string, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: tunnel.New(transport, proxy)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/path?token=the-secret", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer the-secret")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body), nil
}

func TestAProxyHearsTheTargetAndNothingElse(t *testing.T) {
	t.Parallel()
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) })
	plain, secure := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for name, server := range map[string]*httptest.Server{"http": plain, "https": secure} {
		for who, user := range map[string]*url.Userinfo{"nobody": nil, "a user": url.UserPassword("me", "pass%word")} {
			t.Run(name+" for "+who, func(t *testing.T) {
				t.Parallel()
				proxy := tunneltest.HTTP(t, user)
				got, err := get(t, server, http.ProxyURL(proxy.URL))
				require.NoError(t, err)
				require.Equal(t, "/path?token=the-secret", got)
				require.Len(t, proxy.Heads(), 1)
				require.Contains(t, proxy.Heads()[0], "CONNECT "+server.Listener.Addr().String()+" HTTP/1.1\r\n")
				require.NotContains(t, proxy.Heads()[0], "the-secret")
			})
		}
		t.Run(name+" through SOCKS5", func(t *testing.T) {
			t.Parallel()
			proxy := tunneltest.SOCKS(t)
			got, err := get(t, server, http.ProxyURL(proxy.URL))
			require.NoError(t, err)
			require.Equal(t, "/path?token=the-secret", got)
			require.Equal(t, []string{server.Listener.Addr().String()}, proxy.Heads())
		})
		t.Run(name+" without a proxy", func(t *testing.T) {
			t.Parallel()
			got, err := get(t, server, func(*http.Request) (*url.URL, error) { return nil, nil })
			require.NoError(t, err)
			require.Equal(t, "/path?token=the-secret", got)
		})
	}
}

func TestAProxyThatRefusesIsToldWithoutItsPassword(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	proxy := tunneltest.HTTP(t, url.UserPassword("me", "right"))
	wrong := *proxy.URL
	wrong.User = url.UserPassword("me", "wrong-password")
	_, err := get(t, server, http.ProxyURL(&wrong))
	require.ErrorContains(t, err, "refused a tunnel to "+server.Listener.Addr().String()+" with status 407")
	require.NotContains(t, err.Error(), "wrong-password")

	nobody := *proxy.URL
	nobody.Host = "127.0.0.1:1"
	_, err = get(t, server, http.ProxyURL(&nobody))
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), "right")
}

func TestAProxyThatTalksNonsenseIsAnError(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for name, answer := range map[string]string{
		"no HTTP": "hello\r\n\r\n", "more than an answer": "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "nothing": "",
		"headers without an end": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := tunneltest.Speaking(t, answer)
			_, err := get(t, server, http.ProxyURL(proxy.URL))
			require.ErrorContains(t, err, "proxy: ")
		})
	}
}
