package ownhost_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/ownhost"
)

// ask returns the status of a request for the host.
func ask(g *ownhost.Guard, method, host string, headers ...string) int {
	r := httptest.NewRequest(method, "/", nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
	return w.Code
}

func TestOnlyOwnHostsAreAnswered(t *testing.T) {
	t.Parallel()
	loopback := []string{
		"localhost", "localhost:8233", "LocalHost.", "127.0.0.1", "127.0.0.1:1", "127.8.9.10", "[::1]", "[::1]:8233", "[::ffff:127.0.0.1]:8233",
	}
	foreign := []string{
		"", "evil.example", "evil.example:8233", "localhost.evil.example", "evil-localhost", "127.0.0.1.evil.example", "127.1", "0x7f000001", "2130706433",
		"localhost evil", "user@127.0.0.1.evil.example", "[::1].evil.example", "localhost..", "sub.localhost",
	}
	addresses := []string{"10.1.2.3", "10.1.2.3:8233", "[2001:db8::1]", "0.0.0.0", "[::]:8233", "[fe80::1%25eth0]"}
	for listen, tc := range map[string]struct {
		names         []string
		own, notOwned [][]string
	}{
		"127.0.0.1:8233": {nil, [][]string{loopback}, [][]string{foreign, addresses, {"ui.example"}}},
		"[::1]:0":        {nil, [][]string{loopback}, [][]string{foreign, addresses}},
		"localhost:8233": {nil, [][]string{loopback}, [][]string{foreign, addresses}},
		"10.1.2.3:8233":  {[]string{"UI.example"}, [][]string{loopback, addresses[:2], {"ui.example", "UI.EXAMPLE.:443"}}, [][]string{foreign, addresses[2:]}},
		"0.0.0.0:8233":   {nil, [][]string{loopback, addresses}, [][]string{foreign, {"ui.example"}}},
		":8233":          {nil, [][]string{loopback, addresses}, [][]string{foreign}},
		"ui.example:1":   {nil, [][]string{loopback, {"ui.example:8233"}}, [][]string{foreign, addresses}},
	} {
		g := ownhost.New(listen, tc.names...)
		for _, hosts := range tc.own {
			for _, host := range hosts {
				require.Equal(t, http.StatusOK, ask(g, http.MethodGet, host), "%q on %s", host, listen)
			}
		}
		for _, hosts := range tc.notOwned {
			for _, host := range hosts {
				require.Equal(t, http.StatusMisdirectedRequest, ask(g, http.MethodGet, host), "%q on %s", host, listen)
			}
		}
	}
}

func TestAPageOfAnotherOriginChangesNothing(t *testing.T) {
	t.Parallel()
	g := ownhost.New("127.0.0.1:8233")
	const host = "127.0.0.1:8233"
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		require.Equal(t, http.StatusOK, ask(g, method, host), "no browser")
		require.Equal(t, http.StatusOK, ask(g, method, host, "Sec-Fetch-Site", "same-origin", "Origin", "http://"+host))
		require.Equal(t, http.StatusOK, ask(g, method, host, "Origin", "http://"+host), "an old browser")
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Origin", "http://evil.example"},
			{"Origin", "null"},
			{"Origin", "http://127.0.0.1:1"},
			{"Sec-Fetch-Site", "cross-site", "Origin", "http://" + host},
		} {
			require.Equal(t, http.StatusForbidden, ask(g, method, host, headers...), "%s %v", method, headers)
		}
	}
	require.Equal(t, http.StatusOK, ask(g, http.MethodGet, host, "Sec-Fetch-Site", "cross-site"), "a link is followed")
}

func TestAPageOfAnotherHostOpensNoWebSocket(t *testing.T) {
	t.Parallel()
	g := ownhost.New("127.0.0.1:8787")
	open := func(origin string) int {
		headers := []string{"Upgrade", "websocket", "Connection", "Upgrade", "Sec-Fetch-Site", "cross-site"}
		if origin != "" {
			headers = append(headers, "Origin", origin)
		}
		return ask(g, http.MethodGet, "127.0.0.1:8787", headers...)
	}
	require.Equal(t, http.StatusOK, open(""), "no browser")
	require.Equal(t, http.StatusOK, open("http://localhost:60000"), "an application that is being developed")
	for _, origin := range []string{"http://evil.example", "null", "file://", "http://127.0.0.1.evil.example", "https://localhost.evil.example", "%"} {
		require.Equal(t, http.StatusForbidden, open(origin), origin)
	}
}
