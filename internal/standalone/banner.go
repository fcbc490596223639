package standalone

import (
	"fmt"
	"strings"
)

// Banner tells a newcomer where everything is and what to try first. It holds no secret except the published ones of the demo.
func Banner(sys *System, demoToken bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nStorekeeper is ready.\n\n")
	row := func(name, url string) { fmt.Fprintf(&b, "  %-17s %s\n", name, url) }
	row("webhooks", sys.EdgeURL+"/webhooks/workspaces")
	row("health", sys.EdgeURL+"/health")
	row("metrics", sys.EdgeURL+"/metrics")
	row("Temporal", sys.TemporalAddress)
	if sys.UIURL != "" {
		row("Temporal Web UI", sys.UIURL)
	}
	row("Auth Worker", sys.AuthURL)
	if sys.Sync != nil {
		row("sync backend", sys.Sync.URL())
	}
	if sys.Auth == nil {
		return b.String()
	}
	token := "$SERVER_BYPASS_TOKEN" //nolint:gosec // the name of a variable
	if demoToken {
		token = DemoBypassToken
	}
	fmt.Fprintf(&b, `
Try it, in another terminal:

  # 1. sign up
  TOKEN=$(curl -s %[1]s/signup -H 'Content-Type: application/json' \
    -d "{\"email\":\"me-$(date +%%s)@example.com\",\"password\":\"correct-horse\"}" | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')

  # 2. create a workspace
  curl -s %[1]s/workspaces -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"name":"first"}'

  # 3. see it monitored (its webhook takes a moment)
  sleep 1; curl -s %[2]s/stores -H "Authorization: Bearer %[3]s"

  # 4. push an event to its store, by the id that step 2 has answered, and watch it arrive
  SERVER_BYPASS_TOKEN=%[3]s bin/starter push ID

`, sys.AuthURL, sys.EdgeURL, token)
	return b.String()
}
