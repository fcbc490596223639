package cli

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestALossIsAcknowledgedAtTheEdge(t *testing.T) {
	t.Parallel()
	var asked []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+strings.TrimSpace(string(body)))
		w.WriteHeader(http.StatusNoContent)
	})
	c := setup(t, "STOREKEEPER_URL="+url)
	out := c.run(t, "acknowledge", "--reason", "the disk was replaced")
	require.Equal(t, exitDone, out.exit, out.stderr)
	require.Contains(t, out.stdout, "acknowledged")
	require.JSONEq(t, `{"status":"acknowledged"}`, c.run(t, "acknowledge", "--reason", "again", "--actor", "bob", "--json").stdout)
	require.Equal(t, []string{
		`POST /admin/acknowledge-loss {"reason":"the disk was replaced","actor":"ann"}`,
		`POST /admin/acknowledge-loss {"reason":"again","actor":"bob"}`,
	}, asked)
	for _, args := range [][]string{{"acknowledge"}, {"acknowledge", "--reason", " "}, {"acknowledge", "ws-1", "--reason", "r"}} {
		require.Equal(t, exitUsage, c.run(t, args...).exit, args)
	}
	require.Len(t, asked, 2)

	older := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	require.Equal(t, exitUnreachable, setup(t, "STOREKEEPER_URL="+older).run(t, "acknowledge", "--reason", "r").exit)
}
