package cli

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/internal/config"
	"storekeeper/internal/httpclient"
)

// healthTimeout is shorter than what containers give a health check by default.
const healthTimeout = 3 * time.Second

func (a *app) healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "healthcheck URL",
		Short:   "Ask a URL for its health, for containers",
		Long:    "GET the URL. Exit code 0 for a status 2xx within 3 s, else 1: container platforms know no other code.",
		Example: "  starter healthcheck http://127.0.0.1:3003/livez",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var target config.URL
			if err := target.UnmarshalText([]byte(args[0])); err != nil {
				return usageError("the URL is not accepted: " + err.Error())
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, string(target), http.NoBody)
			if err != nil {
				return unexpected(err)
			}
			client := http.Client{
				Transport: httpclient.Through(httpclient.Transport()),
				Timeout:   healthTimeout,
				// A redirect is no health.
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
			resp, err := client.Do(req)
			if err != nil {
				return &failure{exitFailed, "unhealthy", fmt.Sprintf("%s: %s", target, innermost(err)), ""}
			}
			defer resp.Body.Close()
			_, _ = io.CopyN(io.Discard, resp.Body, 1<<20) // spares the server a broken connection; only the status counts
			if resp.StatusCode/100 != 2 {
				return &failure{exitFailed, "unhealthy", fmt.Sprintf("%s answers %d %s", target, resp.StatusCode, http.StatusText(resp.StatusCode)), ""}
			}
			if a.json {
				a.writeJSON(map[string]int{"status": resp.StatusCode})
			}
			return nil
		},
	}
}
