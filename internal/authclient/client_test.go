package authclient_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/authclient"
	"storekeeper/internal/demo"
	"storekeeper/internal/httpclient"
)

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]authclient.Options{
		"no URL":                 {Token: httpclient.Fixed(token)},
		"a relative URL":         {BaseURL: "auth.example.com", Token: httpclient.Fixed(token)},
		"another scheme":         {BaseURL: "ftp://auth.example.com", Token: httpclient.Fixed(token)},
		"an unparsable URL":      {BaseURL: "http://user:hunter2@host:port", Token: httpclient.Fixed(token)},
		"credentials in the URL": {BaseURL: "http://user:hunter2@auth.example.com", Token: httpclient.Fixed(token)},
		"no token":               {BaseURL: "http://auth.example.com", Token: httpclient.Fixed(" ")},
		"a negative limit":       {BaseURL: "http://auth.example.com", Token: httpclient.Fixed(token), IdleTimeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := authclient.New(o)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestOtherStatusesAreErrorsWithAReason(t *testing.T) {
	t.Parallel()
	const inHalfAMinute = "in half a minute"
	for _, c := range []struct {
		name         string
		code         int
		body         string
		retryAfter   string
		message      string
		wait         time.Duration
		unauthorized bool
	}{
		{"the flat shape", 403, `{"error":"Forbidden"}`, "", "Forbidden", 0, true},
		{"the nested shape", 429, `{"success":false,"error":{"message":"Too many requests"}}`, "", "Too many requests", 0, false},
		{"seconds to wait", 429, `{}`, "7", "", 7 * time.Second, false},
		{"a date to wait for", 503, `{}`, inHalfAMinute, "", 30 * time.Second, false},
		{"an absurd time to wait", 429, `{}`, "999999999", "", time.Minute, false},
		{"a date far away", 429, `{}`, "Fri, 31 Dec 9999 23:59:59 GMT", "", time.Minute, false},
		{"more than any number has", 429, `{}`, "99999999999999999999999", "", time.Minute, false},
		{"a time to wait that is none", 429, `{}`, "soon", "", 0, false},
		{"401", 401, `{"error":"no"}`, "", "no", 0, true},
		{"a page of HTML", 502, `<html>bad gateway</html>`, "", "", 0, false},
		{"a reason that repeats the token", 500, `{"error":"no user for ` + token + `"}`, "", "no user for [token]", 0, false},
		{"a reason with line breaks", 500, `{"error":"a\r\nb\u001b[1mc"}`, "", "a b [1mc", 0, false},
		{"a long reason", 500, `{"error":"` + strings.Repeat("ä", 300) + `"}`, "", strings.Repeat("ä", 200) + "…", 0, false},
		{"a redirect", 302, ``, "", "", 0, false},
		{"a success without a list", 204, ``, "", "", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					t.Error("the redirect was followed")
				}
				w.Header().Set("Location", "/elsewhere")
				switch c.retryAfter {
				case "":
				case inHalfAMinute:
					w.Header().Set("Retry-After", time.Now().Add(30*time.Second).UTC().Format(http.TimeFormat))
				default:
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.body)
			})
			_, err := newClient(t, url, nil).List(t.Context(), ignore)
			var status *authclient.StatusError
			require.ErrorAs(t, err, &status)
			require.Equal(t, c.code, status.Code)
			require.Equal(t, c.message, status.Message)
			require.InDelta(t, c.wait, status.RetryAfter, float64(5*time.Second))
			require.Equal(t, c.wait == 0, status.RetryAfter == 0)
			if c.unauthorized {
				require.ErrorIs(t, err, authclient.ErrUnauthorized)
			} else {
				require.NotErrorIs(t, err, authclient.ErrUnauthorized)
			}
			require.NotContains(t, err.Error(), token)
		})
	}
}

func TestAPrefixInTheURLIsKept(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/auth/internal/workspaces" || r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, `{"workspaces":[]}`)
	})
	_, err := newClient(t, url+"/auth/", nil).List(t.Context(), ignore)
	require.NoError(t, err)
}

func TestAnAuthWorkerThatIsAwayIsNoDamage(t *testing.T) {
	t.Parallel()
	worker, err := demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{WebhookSecret: "secret", BypassToken: token})
	require.NoError(t, err)
	c := newClient(t, worker.URL(), nil)
	_, err = c.List(t.Context(), ignore)
	require.NoError(t, err)
	require.NoError(t, worker.Stop(t.Context()))
	_, err = c.List(t.Context(), ignore)
	require.ErrorContains(t, err, "connection refused")
	require.NotErrorIs(t, err, authclient.ErrDamaged)
	require.NotContains(t, err.Error(), token)
}
