package activities_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// The contract may not import the store manager, and the activities pass these values on as they are.
func TestContractAndStoreManagerHaveTheSameValues(t *testing.T) {
	t.Parallel()
	ours, theirs := valuesOf(t, "../contract"), valuesOf(t, "../internal/storemanager")
	var both []string
	for kind := range ours {
		if theirs[kind] != nil {
			both = append(both, kind)
			require.Equal(t, theirs[kind], ours[kind], kind)
		}
	}
	require.ElementsMatch(t, []string{"DeletionOutcome", "GuardVerdict", "Source"}, both)
	require.Len(t, ours["DeletionOutcome"], 5)
	require.Len(t, ours["GuardVerdict"], 3)
	require.Len(t, ours["Source"], 4)
	require.Equal(t, storemanager.ReconcileRequest, contract.ReconcileDelivery, "the registry tells by it what no event has asked for")
}

func TestContractAndStoreManagerHaveTheSameOrigin(t *testing.T) {
	t.Parallel()
	for name, types := range map[string][2]reflect.Type{
		"Origin":  {reflect.TypeFor[contract.Origin](), reflect.TypeFor[storemanager.Origin]()},
		"ListRef": {reflect.TypeFor[contract.ListRef](), reflect.TypeFor[storemanager.ListRef]()},
	} {
		require.Equal(t, types[1].NumField(), types[0].NumField(), name)
		for i := range types[0].NumField() {
			ours, theirs := types[0].Field(i), types[1].Field(i)
			require.Equal(t, theirs.Name, ours.Name)
			require.Equal(t, theirs.Tag, ours.Tag, ours.Name)
			require.Equal(t, theirs.Type.Kind(), ours.Type.Kind(), ours.Name)
		}
	}
}

// valuesOf are the constants of each type that the package in the folder declares, by their names.
func valuesOf(t *testing.T, folder string) map[string]map[string]string {
	t.Helper()
	values := map[string]map[string]string{}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			kind, typed := spec.Type.(*ast.Ident)
			if !typed || len(spec.Values) != 1 {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
				if values[kind.Name] == nil {
					values[kind.Name] = map[string]string{}
				}
				values[kind.Name][spec.Names[0].Name] = literal.Value
			}
			return true
		})
	}
	return values
}
