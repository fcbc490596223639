package storehttp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/tests/openapi"
)

func TestTheDescriptionIsServedWithoutAToken(t *testing.T) {
	t.Parallel()
	resp := send(t, handler(storetest.Open(t, storetest.Settings{}), storetest.Token), http.MethodGet, "/openapi.json", "", "")
	require.Equal(t, http.StatusOK, resp.status)
	require.Equal(t, "application/json", resp.header.Get("Content-Type"))
	require.Equal(t, string(openAPI), resp.body)
}

func TestTheDescriptionHasTheRoutes(t *testing.T) {
	t.Parallel()
	described, err := storetest.Describe(t, handler(storetest.Open(t, storetest.Settings{}), storetest.Token))
	require.NoError(t, err)
	described.RequireRoutes(t, newServer(Options{}).routes())
}

func TestTheDescriptionHasTheConstants(t *testing.T) {
	t.Parallel()
	described, err := storetest.Describe(t, handler(storetest.Open(t, storetest.Settings{}), storetest.Token))
	require.NoError(t, err)
	constants := constantsByType(t)
	schemas := described.Closed.Components.Schemas
	for _, name := range []string{"State", "ConnectionState", "EnsureOutcome", "DeletionOutcome", "StopOutcome", "GuardVerdict", "AuditKind"} {
		require.NotEmpty(t, constants[name], name)
		require.ElementsMatch(t, constants[name], openapi.Enumeration(schemas[name]), name)
	}
	states := append([]string{storemanager.StoreDeletionPending, storemanager.StoreHeld, storemanager.StorePinned, storemanager.StorePaused}, constants["ConnectionState"]...)
	require.ElementsMatch(t, states, append(storemanager.ListStates(), string(storemanager.ConnectionStopped)))
	require.ElementsMatch(t, storemanager.ListStates(), openapi.Enumeration(schemas["ListState"]))

	codes := []string{codeInternal}
	for _, p := range problems {
		codes = append(codes, p.code)
	}
	require.ElementsMatch(t, codes, openapi.Enumeration(schemas["Problem"].Value.Properties["code"]))

	require.Equal(t, storemanager.IDPattern, schemas["StoreID"].Value.Pattern)
	for _, source := range constants["Source"] {
		require.Contains(t, schemas["Origin"].Value.Properties["source"].Value.Description, "`"+source+"`")
	}
	for name, limit := range map[string]struct {
		want int
		got  *uint64
	}{
		"entries": {storemanager.MaxBatch, schemas["AuditPage"].Value.Properties["entries"].Value.MaxItems},
		"batch":   {storemanager.MaxBatch, schemas["BatchNote"].Value.Properties["storeIds"].Value.MaxItems},
		"page":    {storemanager.MaxBatch, schemas["Page"].Value.Properties["stores"].Value.MaxItems},
		"ids":     {storemanager.MaxBatch, schemas["IDPage"].Value.Properties["ids"].Value.MaxItems},
		"events":  {storemanager.ShownHistory, schemas["Store"].Value.Properties["events"].Value.MaxItems},
		"history": {storemanager.KeptConnectionChanges, schemas["MonitorStatus"].Value.Properties["history"].Value.MaxItems},
		"runs":    {storemanager.KeptReconcileRuns, schemas["Reconciliation"].Value.Properties["recent"].Value.MaxItems},
	} {
		require.EqualValues(t, limit.want, *limit.got, name)
	}
}

func TestTheDescriptionHasTheFields(t *testing.T) {
	t.Parallel()
	described, err := storetest.Describe(t, handler(storetest.Open(t, storetest.Settings{}), storetest.Token))
	require.NoError(t, err)
	for _, test := range []struct {
		schema  string
		of      any
		without string // of a request: ignored in its body
	}{
		{"Store", storemanager.Store{}, ""},
		{"MonitorStatus", storemanager.MonitorStatus{}, ""},
		{"ConnectionChange", storemanager.ConnectionChange{}, ""},
		{"Deletion", storemanager.Deletion{}, ""},
		{"Hold", storemanager.Hold{}, ""},
		{"Pause", storemanager.Pause{}, ""},
		{"Delivery", deliveries.Delivery{}, ""},
		{"StoreEvent", storemanager.AuditEntry{}, ""},
		{"Failure", storemanager.Failure{}, ""},
		{"EnsureResult", storemanager.EnsureResult{}, ""},
		{"DeletionResult", storemanager.DeletionResult{}, ""},
		{"StopResult", storemanager.StopResult{}, ""},
		{"Page", storemanager.Page{}, ""},
		{"IDPage", storemanager.IDPage{}, ""},
		{"Change", storemanager.Change{}, ""},
		{"Overview", overviewResponse{}, ""},
		{"Host", storemanager.Host{}, ""},
		{"DatabaseSize", storemanager.DatabaseSize{}, ""},
		{"MonitorTotals", storemanager.MonitorTotals{}, ""},
		{"GuardHold", storemanager.KeptBack{}, ""},
		{"ReconcileRun", storemanager.ReconcileRun{}, "approvedListAt,actor,origin,summary,lists,refused"},
		{"Reconciliation", storemanager.Reconciliation{}, ""},
		{"Problem", problem{}, ""},
		{"Status", statusBody{}, ""},
		{"Nothing", nothing{}, ""},
		{"EnsureRequest", storemanager.EnsureRequest{}, "storeId"},
		{"BatchItem", storemanager.EnsureRequest{}, ""},
		{"DeletionRequest", storemanager.DeletionRequest{}, "storeId"},
		{"StopRequest", storemanager.StopRequest{}, "storeId"},
		{"TakeOverRequest", storemanager.TakeOverRequest{}, "storeId"},
		{"RestoreRequest", storemanager.RestoreRequest{}, "storeId"},
		{"HoldRequest", storemanager.HoldRequest{}, "since"},
		{"PauseRequest", storemanager.PauseRequest{}, "since,storeId"},
		{"Acknowledgement", storemanager.Acknowledgement{}, ""},
		{"Origin", storemanager.Origin{}, ""},
		{"ListRef", storemanager.ListRef{}, ""},
		{"Cause", storemanager.Cause{}, ""},
		{"Evidence", storemanager.Evidence{}, ""},
		{"AuditPage", storemanager.AuditPage{}, ""},
		{"BatchNote", storemanager.Batch{}, ""},
		{"Settings", storemanager.Settings{}, ""},
		{"MissingMarks", storemanager.ListMarks{}, ""},
		{"RunRequest", storemanager.ReconcileRun{}, "runId"},
	} {
		members, required := openapi.Members(test.of, strings.Split(test.without, ",")...)
		described.RequireMembers(t, test.schema, members, required)
	}
}

// constantsByType are the values of the contract's string constants that have a type of their own.
func constantsByType(t *testing.T) map[string][]string {
	t.Helper()
	names, err := filepath.Glob("../*.go")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	values := map[string][]string{}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			typeName, named := spec.Type.(*ast.Ident)
			literal, constant := spec.Values[0].(*ast.BasicLit)
			if named && constant && literal.Kind == token.STRING {
				value, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				values[typeName.Name] = append(values[typeName.Name], value)
			}
			return true
		})
	}
	return values
}

func TestAnExchangeThatIsNotDescribedIsFound(t *testing.T) {
	t.Parallel()
	described, err := storetest.Describe(t, handler(storetest.Open(t, storetest.Settings{}), storetest.Token))
	require.NoError(t, err)
	answer := func(status int, contentType, body string) *openapi.Answer {
		return openapi.NewAnswer(status, http.Header{"Content-Type": {contentType}, httpserver.HeaderRequestID: {"1"}}, body)
	}
	const fine = `{"id":"abc","state":"monitored","connection":"connected","eventAt":"2026-11-23T12:00:00Z"`
	for name, test := range map[string]struct {
		target string
		answer *openapi.Answer
		want   string
	}{
		"nothing wrong":        {"/v1/stores/abc", answer(200, "application/json", fine+"}"), ""},
		"another field":        {"/v1/stores/abc", answer(200, "application/json", fine+`,"more":1}`), "more"},
		"another field deeper": {"/v1/stores", answer(200, "application/json", `{"stores":[`+fine+`,"more":1}]}`), "more"},
		"another state":        {"/v1/stores/abc", answer(200, "application/json", strings.Replace(fine, "monitored", "new", 1)+"}"), "/state"},
		"another time":         {"/v1/stores/abc", answer(200, "application/json", strings.Replace(fine, "T", " ", 1)+"}"), "/eventAt"},
		"another status":       {"/v1/stores/abc", answer(202, "application/json", fine+"}"), "status"},
		"another type":         {"/v1/stores/abc", answer(200, "text/plain", fine+"}"), "Content-Type"},
		"another path":         {"/v1/nothing", answer(200, "application/json", "{}"), "no matching operation"},
		"a bad request taken":  {"/v1/stores?limit=-1", answer(200, "application/json", `{"stores":[]}`), "limit"},
		"a code of another status": {"/v1/stores/abc", answer(404, problemType,
			`{"type":"about:blank","title":"Not Found","status":404,"code":"invalid"}`), "/code"},
		"another field of a change": {"/v1/changes", answer(200, eventStreamType, "id: 1\ndata: {\"id\":\"1\",\"more\":1}\n\n"), "more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.target, http.NoBody)
			require.NoError(t, err)
			r.Header.Set("Authorization", bearer)
			err = described.Check(r, test.answer)
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.want)
			}
		})
	}
}
