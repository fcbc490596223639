package standalone

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http/httpproxy"
)

func TestConnectionsWithinTheProcessUseNoProxy(t *testing.T) {
	for name, tc := range map[string]struct {
		listens, own, others []string
	}{
		"on loopback":           {[]string{"127.0.0.1:7233", "[::1]:0", "localhost:1", ""}, []string{"127.0.0.1:7233", "[::1]:55", "localhost:1"}, []string{"192.0.2.7:1"}},
		"on an address":         {[]string{"192.0.2.7:7233", "127.0.0.1:1"}, []string{"192.0.2.7:7233", "127.0.0.1:1"}, []string{"192.0.2.8:1", "kept-out.example:1"}},
		"on another one":        {[]string{"[2001:db8::7]:7233"}, []string{"[2001:db8::7]:7233"}, []string{"[2001:db8::8]:1"}},
		"on all, in one form":   {[]string{":7233"}, []string{"[::]:7233", "0.0.0.0:7233"}, []string{"192.0.2.7:1"}},
		"on all, in another":    {[]string{"0.0.0.0:7233"}, []string{"[::]:7233", "0.0.0.0:7233"}, []string{"192.0.2.7:1"}},
		"on what can't be used": {[]string{"no port", "no-such-host.invalid:1"}, nil, []string{"192.0.2.7:1"}},
	} {
		for _, variable := range []string{"NO_PROXY", "no_proxy"} {
			t.Run(name+" with "+variable, func(t *testing.T) {
				for _, each := range []string{"NO_PROXY", "no_proxy"} {
					t.Setenv(each, "")
				}
				t.Setenv(variable, "exempt.example")
				t.Setenv("HTTP_PROXY", "http://proxy.example:3128")
				t.Setenv("HTTPS_PROXY", "http://proxy.example:3128")
				require.NoError(t, exemptFromProxies(t.Context(), tc.listens...))
				proxied := func(host string) bool {
					direct := 0
					for _, scheme := range []string{"http", "https"} {
						proxy, err := httpproxy.FromEnvironment().ProxyFunc()(&url.URL{Scheme: scheme, Host: host})
						require.NoError(t, err)
						if proxy == nil {
							direct++
						}
					}
					return direct == 0
				}
				for _, host := range append(tc.own, "exempt.example:1") {
					require.False(t, proxied(host), host)
				}
				for _, host := range tc.others {
					require.True(t, proxied(host), host)
				}
			})
		}
	}
}
