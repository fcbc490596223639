package edge

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/openapi"
)

func TestTheDescriptionIsServedToEverybody(t *testing.T) {
	t.Parallel()
	resp := setup(t).Do(t, http.MethodGet, "/openapi.json", "")
	require.Equal(t, http.StatusOK, resp.Status)
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	require.Equal(t, string(openAPI), resp.Body)
}

func TestTheDescriptionHasTheRoutes(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	described.RequireRoutes(t, setup(t).routes())
}

func TestTheIndexHasTheRoutes(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	for path, item := range described.Closed.Paths.Map() {
		if path == "/" || path == "/openapi.json" || strings.HasPrefix(path, "/docs/") { // they are reached from what the index has
			continue
		}
		for method := range item.Operations() {
			require.Contains(t, endpoints, method+" "+path)
		}
	}
}

func TestWhoIsRefusedIsDescribed(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	f := setup(t)
	for path, item := range described.Closed.Paths.Map() {
		for method, operation := range item.Operations() {
			require.NotNil(t, operation.Security, "%s %s", method, path)
			open := len(*operation.Security) == 0 || slices.ContainsFunc(*operation.Security, func(r openapi3.SecurityRequirement) bool { return len(r) == 0 })
			require.Equal(t, !open, f.Do(t, method, replaceParameters(path), "").Status == http.StatusUnauthorized, "%s %s", method, path)
		}
	}
}

func replaceParameters(path string) string {
	return strings.NewReplacer("{id}", storeA, "{name}", "start.js", "{code}", "invalid").Replace(path)
}

// guarded says whether the operation wants a token, whoever asks.
func guarded(operation *openapi3.Operation) bool {
	if len(*operation.Security) == 0 {
		return false
	}
	_, bearer := (*operation.Security)[0]["bearer"]
	return bearer
}

func TestTheDescriptionHasTheProblems(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	byType := map[string]*problem.Kind{}
	for _, k := range problem.Kinds {
		byType[problem.Path+k.Code] = k
	}
	types := described.Closed.Components.Schemas["Problem"].Value.Properties["type"].Value.Enum
	require.Len(t, types, len(problem.Kinds))
	seen := map[string]bool{}
	for path, item := range described.Closed.Paths.Map() {
		for method, operation := range item.Operations() {
			for status, response := range operation.Responses.Map() {
				media := response.Value.Content["application/problem+json"]
				if media == nil {
					continue
				}
				examples := []any{media.Example}
				if media.Example == nil {
					examples = nil
					for _, example := range media.Examples {
						examples = append(examples, example.Value.Value)
					}
				}
				require.NotEmpty(t, examples)
				for _, example := range examples {
					example := example.(map[string]any)
					where := method + " " + path + " " + status
					k := byType[example["type"].(string)]
					require.NotNil(t, k, "%s: %v", where, example)
					seen[k.Code] = true
					require.EqualValues(t, k.Status, example["status"], where)
					require.Equal(t, strconv.Itoa(k.Status), status, where)
					require.Equal(t, k.Title, example["title"], where)
					require.Equal(t, example["detail"], example["error"], where)
				}
			}
		}
	}
	require.Len(t, seen, len(problem.Kinds)-1, "all but that of unknown methods")
}

func TestTheDescriptionHasTheConstants(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	schemas := described.Closed.Components.Schemas
	require.ElementsMatch(t, storemanager.ListStates(), openapi.Enumeration(schemas["ListState"]))
	connections := []string{string(storemanager.ConnectionStopped)}
	for _, c := range storemanager.ConnectionStates() {
		connections = append(connections, string(c))
	}
	require.ElementsMatch(t, connections, openapi.Enumeration(schemas["Connection"]))
	require.Equal(t, []string{string(contract.WorkspaceCreated), string(contract.WorkspaceDeleted)},
		openapi.Enumeration(schemas["WorkspaceEvent"].Value.Properties["event"]))
	for _, id := range []string{"abc", "0-_", "ab", "-ab", strings.Repeat("a", 64), strings.Repeat("a", 65)} {
		require.Equal(t, storemanager.ValidID(id), schemas["StoreID"].Value.VisitJSON(id) == nil, id)
	}
	for name, limit := range map[string]struct {
		want int
		got  *uint64
	}{
		"page":    {storemanager.MaxBatch, schemas["StoresPage"].Value.Properties["stores"].Value.MaxItems},
		"events":  {storemanager.ShownHistory, schemas["Store"].Value.Properties["events"].Value.MaxItems},
		"history": {storemanager.KeptConnectionChanges, schemas["Store"].Value.Properties["statusHistory"].Value.MaxItems},
	} {
		require.EqualValues(t, limit.want, *limit.got, name)
	}
}

func TestTheDescriptionHasTheFields(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	for schema, of := range map[string]any{
		"Problem":           api.Problem{},
		"WebhookAnswer":     api.WebhookAnswer{},
		"Status":            api.Status{},
		"Health":            api.Health{},
		"Check":             api.Check{},
		"DerivedCheck":      api.DerivedCheck{},
		"Orchestrator":      api.StoreTotals{},
		"OrchestratedStore": api.KnownStore{},
		"Reconciliation":    api.Reconciliation{},
		"ReconcileTotals":   api.ReconcileTotals{},
		"ReconcileFailure":  api.ReconcileFailure{},
		"Pauses":            api.Pauses{},
		"Pause":             storemanager.Pause{},
		"PauseRequest":      api.PauseRequest{},
		"ManualReconcile":   api.ManualReconcile{},
		"StoresPage":        api.StoresPage{},
		"Store":             api.StoreDetails{},
		"StatusChange":      api.StatusChange{},
		"Deletion":          storemanager.Deletion{},
		"Hold":              storemanager.Hold{},
		"AuditEntry":        storemanager.AuditEntry{},
		"Condition":         api.Condition{},
		"Lifecycle":         contract.LifecycleStatus{},
		"PendingDeletion":   contract.PendingDeletion{},
		"LifecycleEvent":    contract.Event{},
		"LifecycleResult":   contract.Result{},
		"ReconcileAnswer":   api.ReconcileAnswer{},
		"ReconcileRun":      storemanager.ReconcileRun{},
		"ReconcileReport":   contract.ReconcileReport{},
		"Origin":            storemanager.Origin{},
		"Installation":      api.Installation{},
		"Worker":            api.Worker{},
		"Database":          storemanager.DatabaseSize{},
		"Cause":             storemanager.Cause{},
		"ListRef":           storemanager.ListRef{},
		"Evidence":          storemanager.Evidence{},
		"AuditPage":         storemanager.AuditPage{},
		"ActionRequest":     api.ActionRequest{},
		"ActionAnswer":      api.ActionAnswer{},
		"BulkRequest":       api.BulkRequest{},
		"BulkAnswer":        api.BulkAnswer{},
		"ApproveRequest":    api.ApproveRequest{},
		"PauseState":        api.PauseState{},
		"PausesAnswer":      api.PausesAnswer{},
		"ResumeAnswer":      api.ResumeAnswer{},
		"Acknowledgement":   api.Acknowledgement{},
	} {
		var without []string
		if schema == "ReconcileRun" { // an approval, and whose it is, is not kept with the run, but in its report
			without = []string{"approvedListAt", "actor", "origin", "summary", "lists", "refused"}
		}
		members, required := openapi.Members(of, without...)
		if schema == "Store" { // what GET /stores/{id} alone has is required there
			_, required = openapi.Members(api.Store{})
		}
		described.RequireMembers(t, schema, members, required)
	}
}

func TestAnExchangeThatIsNotDescribedIsFound(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	const (
		problemType = "application/problem+json"
		fine        = `{"status":"ok"`
		problem     = `{"type":"/docs/problems/not_found","title":"Not found","status":404,"detail":"d","error":"d","requestId":"1"}`
	)
	for name, test := range map[string]struct {
		path   string
		status int
		media  string
		body   string
		want   string
	}{
		"nothing wrong":               {"/livez", 200, "application/json", fine + "}", ""},
		"another member":              {"/livez", 200, "application/json", fine + `,"more":1}`, "more"},
		"another value":               {"/livez", 200, "application/json", `{"status":"fine"}`, "/status"},
		"another status":              {"/livez", 202, "application/json", fine + "}", "status"},
		"another type":                {"/livez", 200, "text/plain", fine + "}", "Content-Type"},
		"another path":                {"/nothing", 200, "application/json", "{}", "no matching operation"},
		"a missing header":            {"/docs", 200, "text/html", "", "Content-Security-Policy"},
		"a body where there is none":  {"/docs/assets/start.js", 304, "", "x", "a body"},
		"a bad request taken":         {"/stores?limit=-1", 200, "application/json", "{}", "limit"},
		"a request without the token": {"/stores", 200, "application/json", "{}", "security"},
		"a problem":                   {"/stores/abc", 404, problemType, problem, ""},
		"a problem of another status": {"/stores/abc", 400, problemType, problem, "/type"},
		"a problem that is plain":     {"/nothing", 404, "application/json", `{"error":"Not found"}`, "type"},
		"an error without a problem":  {"/stores/abc", 404, "application/json", `{"error":"d"}`, "Content-Type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.path, http.NoBody)
			require.NoError(t, err)
			if !strings.Contains(name, "without the token") {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			header := http.Header{}
			header.Set("Content-Type", test.media)
			header.Set("ETag", "1")
			header.Set(httpserver.HeaderRequestID, "1")
			err = described.Check(r, openapi.NewAnswer(test.status, header, test.body))
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.want)
			}
		})
	}
}
