package storemanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
)

// description is openapi.json twice: as it is, and closed. Callers must put up with fields that they don't know, but the
// handlers may answer none that is not described.
type description struct {
	routes routers.Router
	closed *openapi3.T
}

var describe = sync.OnceValues(func() (description, error) {
	openapi3filter.RegisterBodyDecoder(eventStreamType, openapi3filter.PlainBodyDecoder)
	asItIs, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		return description{}, err
	}
	if err := asItIs.Validate(context.Background()); err != nil {
		return description{}, err
	}
	routes, err := gorillamux.NewRouter(asItIs)
	if err != nil {
		return description{}, err
	}
	var tree any
	if err := json.Unmarshal(openAPI, &tree); err != nil {
		return description{}, err
	}
	closeObjects(tree)
	data, err := json.Marshal(tree)
	if err != nil {
		return description{}, err
	}
	closed, err := openapi3.NewLoader().LoadFromData(data)
	return description{routes, closed}, err
})

func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		_, open := node["additionalProperties"]
		if _, ok := node["properties"].(map[string]any); ok && node["type"] == "object" && !open {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			closeObjects(child)
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// documented fails the test when an exchange with h is not as openapi.json says: the answer must be described, and a request
// that is not described must be refused.
func documented(t *testing.T, h http.Handler) http.Handler {
	t.Helper()
	described, err := describe()
	require.NoError(t, err)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("%s %s: read the request: %v", r.Method, r.URL.Path, err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		copied := r.Clone(r.Context())
		copied.Body = io.NopCloser(bytes.NewReader(body))
		out := &recorded{ResponseWriter: w}
		defer func() { // also of a stream that is broken off
			if err := described.check(copied, out); err != nil {
				t.Errorf("%s %s -> %d %s: %v", r.Method, r.URL, out.status, &out.body, err)
			}
		}()
		h.ServeHTTP(out, r)
	})
}

// recorded keeps what goes through it.
type recorded struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *recorded) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorded) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *recorded) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (d description) check(r *http.Request, answer *recorded) error {
	route, params, err := d.routes.FindRoute(r)
	if err != nil {
		refusals := []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnauthorized}
		if !slices.Contains(refusals, answer.status) {
			return err
		}
		var p problem
		if err := json.Unmarshal(answer.body.Bytes(), &p); err != nil {
			return err
		}
		return d.matches("Problem", answer.body.Bytes())
	}
	for name, value := range params { // the router leaves them escaped
		if params[name], err = url.PathUnescape(value); err != nil {
			return err
		}
	}
	request := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: hasToken, RejectWhenRequestBodyNotSpecified: true},
	}
	if err := openapi3filter.ValidateRequest(r.Context(), request); err != nil && answer.status < http.StatusBadRequest {
		return err
	}
	closed := *route
	closed.Spec = d.closed
	closed.PathItem = d.closed.Paths.Value(route.Path)
	closed.Operation = closed.PathItem.GetOperation(route.Method)
	request.Route = &closed
	if err := openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: request, Status: answer.status, Header: answer.Header(),
		Body:    io.NopCloser(bytes.NewReader(answer.body.Bytes())),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}); err != nil {
		return err
	}
	if answer.Header().Get("Content-Type") != eventStreamType {
		return nil
	}
	for line := range strings.Lines(answer.body.String()) {
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			if err := d.matches("Change", []byte(data)); err != nil {
				return err
			}
		}
	}
	return nil
}

// matches reports how data differs from a schema.
func (d description) matches(schema string, data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	return d.closed.Components.Schemas[schema].Value.VisitJSON(v, openapi3.EnableJSONSchema2020())
}

func hasToken(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	if in.RequestValidationInput.Request.Header.Get("Authorization") == "" {
		return errors.New("there is no token")
	}
	return nil
}

func TestTheDescriptionIsServedWithoutAToken(t *testing.T) {
	t.Parallel()
	resp := send(t, Handler(open(t, Options{}), testToken, nil), http.MethodGet, "/openapi.json", "", "")
	require.Equal(t, http.StatusOK, resp.status)
	require.Equal(t, "application/json", resp.header.Get("Content-Type"))
	require.Equal(t, string(openAPI), resp.body)
}

func TestTheDescriptionHasTheRoutes(t *testing.T) {
	t.Parallel()
	described, err := describe()
	require.NoError(t, err)
	var want, got []string
	require.NoError(t, chi.Walk(Handler(open(t, Options{}), testToken, nil).(chi.Routes),
		func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			want = append(want, method+" "+route)
			return nil
		}))
	for path, item := range described.closed.Paths.Map() {
		for method := range item.Operations() {
			got = append(got, method+" "+path)
		}
	}
	require.NotEmpty(t, want)
	require.ElementsMatch(t, want, got)
}

func TestTheDescriptionHasTheConstants(t *testing.T) {
	t.Parallel()
	described, err := describe()
	require.NoError(t, err)
	constants := constantsByType(t)
	enumeration := func(schema *openapi3.SchemaRef) (values []string) {
		for _, v := range schema.Value.Enum {
			values = append(values, v.(string))
		}
		return values
	}
	schemas := described.closed.Components.Schemas
	for _, name := range []string{"State", "ConnectionState", "EnsureOutcome", "DeletionOutcome", "StopOutcome", "GuardVerdict"} {
		require.NotEmpty(t, constants[name], name)
		require.ElementsMatch(t, constants[name], enumeration(schemas[name]), name)
	}
	states := append([]string{StoreDeletionPending, StoreHeld, StorePinned}, constants["ConnectionState"]...)
	require.ElementsMatch(t, states, append(ListStates(), string(ConnectionStopped)))
	require.ElementsMatch(t, ListStates(), enumeration(schemas["ListState"]))

	codes := []string{codeInternal}
	for _, p := range problems {
		codes = append(codes, p.code)
	}
	require.ElementsMatch(t, codes, enumeration(schemas["Problem"].Value.Properties["code"]))

	require.Equal(t, idPattern.String(), schemas["StoreID"].Value.Pattern)
	for name, limit := range map[string]struct {
		want int
		got  *uint64
	}{
		"page":    {MaxBatch, schemas["Page"].Value.Properties["stores"].Value.MaxItems},
		"ids":     {MaxBatch, schemas["IDPage"].Value.Properties["ids"].Value.MaxItems},
		"events":  {KeptStoreEvents, schemas["Store"].Value.Properties["events"].Value.MaxItems},
		"history": {KeptConnectionChanges, schemas["MonitorStatus"].Value.Properties["history"].Value.MaxItems},
		"runs":    {KeptReconcileRuns, schemas["Reconciliation"].Value.Properties["recent"].Value.MaxItems},
	} {
		require.EqualValues(t, limit.want, *limit.got, name)
	}
}

func TestTheDescriptionHasTheFields(t *testing.T) {
	t.Parallel()
	described, err := describe()
	require.NoError(t, err)
	for _, test := range []struct {
		schema  string
		of      any
		without string // of a request: ignored in its body
	}{
		{"Store", Store{}, ""},
		{"MonitorStatus", MonitorStatus{}, ""},
		{"ConnectionChange", ConnectionChange{}, ""},
		{"Deletion", Deletion{}, ""},
		{"Hold", Hold{}, ""},
		{"Pause", Pause{}, ""},
		{"Delivery", Delivery{}, ""},
		{"StoreEvent", StoreEvent{}, ""},
		{"Failure", Failure{}, ""},
		{"EnsureResult", EnsureResult{}, ""},
		{"DeletionResult", DeletionResult{}, ""},
		{"StopResult", StopResult{}, ""},
		{"Page", Page{}, ""},
		{"IDPage", IDPage{}, ""},
		{"Change", Change{}, ""},
		{"Overview", Overview{}, ""},
		{"MonitorTotals", MonitorTotals{}, ""},
		{"GuardHold", GuardHold{}, ""},
		{"ReconcileRun", ReconcileRun{}, "approvedListAt"},
		{"Reconciliation", Reconciliation{}, ""},
		{"Problem", problem{}, ""},
		{"Status", statusBody{}, ""},
		{"Nothing", nothing{}, ""},
		{"EnsureRequest", EnsureRequest{}, "storeId"},
		{"BatchItem", EnsureRequest{}, ""},
		{"DeletionRequest", DeletionRequest{}, "storeId"},
		{"StopRequest", StopRequest{}, "storeId"},
		{"HoldRequest", Hold{}, "since"},
		{"PauseRequest", Pause{}, "since,storeId"},
		{"MissingMarks", MissingMarks{}, ""},
		{"RunRequest", ReconcileRun{}, "runId"},
	} {
		var fields, required []string
		for field := range reflect.TypeOf(test.of).Fields() {
			name, omitted, _ := strings.Cut(field.Tag.Get("json"), ",")
			if slices.Contains(strings.Split(test.without, ","), name) {
				continue
			}
			fields = append(fields, name)
			if omitted == "" {
				required = append(required, name)
			}
		}
		schema := described.closed.Components.Schemas[test.schema]
		require.NotNil(t, schema, test.schema)
		require.ElementsMatch(t, fields, slices.Collect(maps.Keys(schema.Value.Properties)), test.schema)
		require.ElementsMatch(t, required, schema.Value.Required, test.schema)
	}
}

// constantsByType are the values of this package's string constants that have a type of their own.
func constantsByType(t *testing.T) map[string][]string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
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
	described, err := describe()
	require.NoError(t, err)
	answer := func(status int, contentType, body string) *recorded {
		w := &recorded{ResponseWriter: headers{"Content-Type": {contentType}, requestIDHeader: {"1"}}, status: status}
		w.body.WriteString(body)
		return w
	}
	const fine = `{"id":"abc","state":"monitored","connection":"connected","eventAt":"2026-11-23T12:00:00Z"`
	for name, test := range map[string]struct {
		target string
		answer *recorded
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
			err = described.check(r, test.answer)
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.want)
			}
		})
	}
}

// headers are those of an answer without a connection.
type headers http.Header

func (h headers) Header() http.Header       { return http.Header(h) }
func (headers) Write(p []byte) (int, error) { return len(p), nil }
func (headers) WriteHeader(int)             {}
