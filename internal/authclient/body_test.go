package authclient

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"storekeeper/internal/httpclient"
	"storekeeper/internal/tracing"
	"storekeeper/internal/tunnel"

	"github.com/stretchr/testify/require"
)

func TestABodyIsBoundedAsAWholeAndInEachOfItsValues(t *testing.T) {
	t.Parallel()
	id := func(length int) string { return `{"instanceId":"` + strings.Repeat("a", length) + `"}` }
	many := func(length int) string { // of different users
		var text strings.Builder
		for i := range 1000 {
			_, _ = fmt.Fprintf(&text, `,{"instanceId":"%s","userId":"%d"}`, strings.Repeat("a", length), i)
		}
		return `{"workspaces":[` + text.String()[1:] + `]}`
	}
	for _, c := range []struct {
		name, body string
		limits     bodyLimits
		says       string // empty: it is taken
	}{
		{"many values within the limit", many(200), bodyLimits{1 << 20, 1000}, ""},
		{"a long entry", `{"workspaces":[` + id(2000) + `]}`, bodyLimits{1 << 20, 1000}, "a value that is too long"},
		{"a long value that is none of ours", `{"other":"` + strings.Repeat("a", 2000) + `"}`, bodyLimits{1 << 20, 1000}, "a value that is too long"},
		{"a long name of a member", `{"` + strings.Repeat("a", 2000) + `":1}`, bodyLimits{1 << 20, 1000}, "a value that is too long"},
		{"a long body", many(20), bodyLimits{10_000, 1000}, "it is too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.body) }))
			t.Cleanup(server.Close)
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			client, err := New(Options{BaseURL: server.URL, Token: httpclient.Fixed("token"), HTTPClient: &http.Client{Transport: transport}})
			require.NoError(t, err)
			client.limits = c.limits
			_, err = client.List(t.Context(), func(Workspace) error { return nil })
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestADeadConnectionToTheAuthWorkerIsGivenUp(t *testing.T) {
	t.Parallel()
	client, err := New(Options{BaseURL: "https://auth.example.com", Token: httpclient.Fixed("token")})
	require.NoError(t, err)
	transport := client.http.Transport.(tracing.Transport).Base.(*tunnel.Transport) // internal/httpclient tests what that means
	require.Positive(t, transport.HTTP2.SendPingTimeout)
	require.Positive(t, transport.HTTP2.PingTimeout)
}
