package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"storekeeper/internal/cli/exit"

	"github.com/stretchr/testify/require"
)

func TestAnErrorPassesOnWhatTheEdgeSaidAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status  int
		headers map[string]string
		body    string
		exit    exit.Code
		says    []string
	}{
		"a dependency is away": {
			http.StatusServiceUnavailable,
			map[string]string{"Retry-After": "5"},
			`{"title":"Unavailable","detail":"The store manager can't be asked"}`,
			exit.Unreachable,
			[]string{"answers 503: The store manager can't be asked", "try again in 5s", "starter doctor"},
		},
		"only a title is there": {
			http.StatusServiceUnavailable, nil, `{"title":"Disabled"}`, exit.Unreachable, []string{"answers 503: Disabled"},
		},
		"a fault of its own": {
			http.StatusInternalServerError,
			map[string]string{"X-Request-Id": "r-17"},
			`{"detail":"Internal server error"}`,
			exit.Unreachable,
			[]string{"answers 500: Internal server error", "request id r-17"},
		},
		"too many requests": {
			http.StatusTooManyRequests,
			map[string]string{"Retry-After": "90"},
			`{"detail":"too many at once"}`,
			exit.Unreachable,
			[]string{"answers 429: too many at once", "try again in 1m30s"},
		},
		"an older edge": {
			http.StatusMethodNotAllowed, nil, `{"detail":"Method not allowed"}`, exit.Unreachable, []string{"compare starter version"},
		},
		"a token with a reason": {
			http.StatusForbidden, nil, `{"detail":"the token ci may only read"}`,
			exit.Refused,
			[]string{"refused the token: the token ci may only read", "take a token that may act"},
		},
		"a proxy that wants a login": {
			http.StatusForbidden,
			map[string]string{"Content-Type": "text/html"},
			`<html>log in</html>`,
			exit.Refused,
			[]string{"the answer is not Storekeeper's", "a proxy"},
		},
		"a proxy whose edge is gone": {
			http.StatusBadGateway,
			map[string]string{"Content-Type": "text/html; charset=utf-8", "Server": "nginx/1.22"},
			`<h1>502</h1>`,
			exit.Unreachable,
			[]string{"answers 502 Bad Gateway (text/html)", "nginx/1.22", "runs behind it"},
		},
		"a page in place of JSON": {
			http.StatusOK,
			map[string]string{"Content-Type": "text/html"},
			`<html>`,
			exit.Unreachable,
			[]string{"answers 200 OK (text/html)", "a page of its own"},
		},
		"a path too many": {
			http.StatusNotFound,
			map[string]string{"Content-Type": "text/plain"},
			`404 page not found`,
			exit.Unreachable,
			[]string{"answers 404", "a path too many"},
		},
		"a redirect": {
			http.StatusMovedPermanently,
			map[string]string{"Location": "https://elsewhere.example/stores"},
			``,
			exit.Unreachable,
			[]string{"leads elsewhere, to https://elsewhere.example/stores", "--url or STOREKEEPER_URL"},
		},
		"control characters": {
			http.StatusServiceUnavailable, nil, `{"detail":"gone\u001b[2J"}`, exit.Unreachable, []string{"gone [2J"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range tc.headers {
					w.Header().Set(name, value)
				}
				w.WriteHeader(tc.status)
				_, _ = fmt.Fprint(w, tc.body)
			})
			out := setup(t).run(t, "list", "--url", url)
			require.Equal(t, tc.exit, out.exit, out.stderr)
			require.Contains(t, out.stderr, url)
			for _, said := range tc.says {
				require.Contains(t, out.stderr, said)
			}
			require.NotContains(t, out.stderr, "\x1b")
		})
	}
}

func TestARequestThatGetsNoAnswerSaysWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{"stores":[]}`) })
	secure := httptest.NewTLSServer(answer)
	t.Cleanup(secure.Close)
	open := serve(t, answer)
	for name, tc := range map[string]struct{ url, says string }{
		"nobody vouches for the certificate": {secure.URL, "SSL_CERT_FILE"},
		"TLS is wanted":                      {strings.Replace(secure.URL, "https:", "http:", 1), "write https:// in --url"},
		"there is no TLS":                    {strings.Replace(open, "http:", "https:", 1), "write http:// in --url"},
		"the name is not known":              {"http://edge.invalid:3003", "its name is not known here"},
		"nobody listens":                     {"http://" + closedPort(t), "nothing listens there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := setup(t).run(t, "list", "--url", tc.url)
			require.Equal(t, exit.Unreachable, out.exit, out.stderr)
			require.Contains(t, out.stderr, tc.says)
			require.Contains(t, out.stderr, tc.url)
		})
	}
}

func TestTheExitCodeIsInTheJSONForWhoDoesNotSeeIt(t *testing.T) {
	t.Parallel()
	out := setup(t).run(t, "list", "--json", "--url", "http://"+closedPort(t))
	var said exit.Body
	require.NoError(t, json.Unmarshal([]byte(out.stderr), &said))
	require.Equal(t, int(exit.Unreachable), said.Error.ExitCode)
	require.Equal(t, exit.Unreachable, out.exit)
}
