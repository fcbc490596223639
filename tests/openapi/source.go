package openapi

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
)

// RequireRoutes wants the description to have an operation for each route, and no other. routes is a chi.Routes.
func (d *Description) RequireRoutes(t testing.TB, routes http.Handler) {
	t.Helper()
	var want, got []string
	require.NoError(t, chi.Walk(routes.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		want = append(want, method+" "+route)
		return nil
	}))
	for path, item := range d.Closed.Paths.Map() {
		for method := range item.Operations() {
			got = append(got, method+" "+path)
		}
	}
	require.NotEmpty(t, want)
	require.ElementsMatch(t, want, got)
}

// RequireMembers wants a schema to have these members and no others, and to require these and no others. See Members.
func (d *Description) RequireMembers(t testing.TB, schema string, members, required []string) {
	t.Helper()
	described := d.Closed.Components.Schemas[schema]
	require.NotNil(t, described, schema)
	require.ElementsMatch(t, members, slices.Collect(maps.Keys(described.Value.Properties)), schema)
	require.ElementsMatch(t, required, described.Value.Required, schema)
}

// Members are those of the struct in JSON, and required are those of them that are never left out. Those of without are in neither.
func Members(structure any, without ...string) (members, required []string) {
	members, required = membersOf(reflect.TypeOf(structure))
	left := func(name string) bool { return slices.Contains(without, name) }
	return slices.DeleteFunc(members, left), slices.DeleteFunc(required, left)
}

func membersOf(structure reflect.Type) (members, required []string) {
	for field := range structure.Fields() {
		name, omitted, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			optional := field.Type.Kind() == reflect.Pointer
			embedded := field.Type
			if optional {
				embedded = embedded.Elem()
			}
			more, moreRequired := membersOf(embedded)
			members = append(members, more...)
			if !optional {
				required = append(required, moreRequired...)
			}
			continue
		}
		members = append(members, name)
		if omitted == "" {
			required = append(required, name)
		}
	}
	return members, required
}

// Enumeration are the values that the schema of a string allows.
func Enumeration(schema *openapi3.SchemaRef) (values []string) {
	for _, v := range schema.Value.Enum {
		values = append(values, v.(string))
	}
	return values
}
