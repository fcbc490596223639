// Package layers_test holds the structure of the code against the plan of docs/architecture.md: what a package links, also through others, which
// package may import which, and how large files and packages may grow. The linter sees direct imports alone.
package layers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module = "storekeeper/"
	tags   = "-tags=disable_grpc_modules" // those of the Makefile
)

// heavy are packages, by the beginnings of their paths, that only some binaries may pay for.
var heavy = map[string][]string{
	"a SQL driver":       {"modernc.org/sqlite", "github.com/jackc/pgx", "github.com/lib/pq", "github.com/mattn/go-sqlite3"},
	"a WebSocket client": {"github.com/coder/websocket", "github.com/gorilla/websocket", "nhooyr.io/websocket"},
	"Temporal's server":  {"go.temporal.io/server", "github.com/temporalio/ui-server"},
}

func TestWhatDecidesAndWhatSendsLinksNothingHeavy(t *testing.T) {
	t.Parallel()
	// starter push is itself a client of the sync backend, which speaks through WebSockets alone.
	exceptions := map[string]string{"cmd/starter": "a WebSocket client"}
	for _, pkg := range []string{"workflows", "cmd/webhook", "cmd/worker", "cmd/starter"} {
		deps := deps(t, pkg)
		for what, beginnings := range heavy {
			if exceptions[pkg] == what {
				continue
			}
			for _, dep := range deps {
				for _, beginning := range beginnings {
					require.False(t, dep.ImportPath == beginning || strings.HasPrefix(dep.ImportPath, beginning+"/"), "%s links %s: %s", pkg, what, dep.ImportPath)
				}
			}
		}
	}
}

func TestTheContractsLinkTheStandardLibraryAlone(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"contract", "internal/storemanager"} {
		for _, dep := range deps(t, pkg) {
			require.True(t, dep.Standard || dep.ImportPath == module+pkg, "%s links %s", pkg, dep.ImportPath)
		}
	}
}

// A registry on another database is another driver, and nothing else.
func TestTheRegistryKnowsNoSQL(t *testing.T) {
	t.Parallel()
	for _, dep := range deps(t, "internal/storemanager/registry") {
		require.NotEqual(t, "database/sql", dep.ImportPath)
	}
	statement := regexp.MustCompile("(?i)[`\"]\\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|PRAGMA)\\s")
	for path, source := range sources(t, "internal/storemanager/registry") {
		require.NotRegexp(t, statement, source, path)
	}
}

// What is for tests is not in the image that binaries are built in (see .dockerignore).
func TestNoBinaryLinksWhatIsForTests(t *testing.T) {
	t.Parallel()
	for _, dep := range deps(t, "cmd/...") {
		pkg, ours := strings.CutPrefix(dep.ImportPath, module)
		require.False(t, ours && forTests(pkg), "a binary links %s", pkg)
	}
}

// layers from the top to the bottom. A package imports those of its own layer and of the layers below; one that is named nowhere is a leaf.
var layers = [][]string{
	{"cmd"},
	{"internal/standalone"},
	{"internal/edge", "internal/worker", "internal/manager", "internal/cli"},
	{"internal/edge/intake", "internal/edge/status", "internal/edge/actions", "internal/figures", "internal/process", "internal/cli/temporalclient"},
	{"internal/orchestrator"},
	{"workflows"},
	{"activities"},
	{"internal/storemanager/monitor", "internal/storemanager/nodeserver", "internal/storemanager/registry/sqlite", "internal/deliveries/sqlite"},
	{"internal/storemanager/registry", "internal/storemanager/storehttp"},
}

// layer is the place of a package in layers; len(layers) for a leaf.
func layer(pkg string) int {
	best, length := len(layers), -1
	for i, names := range layers {
		for _, name := range names {
			if (pkg == name || name == "cmd" && strings.HasPrefix(pkg, "cmd/")) && len(name) > length {
				best, length = i, len(name)
			}
		}
	}
	return best
}

func TestImportsGoDownAlone(t *testing.T) {
	t.Parallel()
	// The client side sends what workflows receive. It knows their contract, and not their code.
	never := map[string][]string{
		"internal/orchestrator": {"workflows", "activities"}, "internal/edge": {"workflows", "activities"}, "internal/cli": {"workflows", "activities"},
		"internal/edge/intake":           {"internal/edge/status", "internal/edge/actions", "workflows", "activities"},
		"internal/edge/status":           {"internal/edge/intake", "internal/edge/actions", "workflows", "activities"},
		"internal/edge/actions":          {"internal/edge/intake", "internal/edge/status", "workflows", "activities"},
		"internal/storemanager/registry": {"internal/storemanager/storehttp"}, "internal/storemanager/storehttp": {"internal/storemanager/registry"},
	}
	seen := map[string]bool{}
	for _, p := range list(t, "./...") {
		pkg := strings.TrimPrefix(p.ImportPath, module)
		if forTests(pkg) {
			continue
		}
		seen[pkg] = true
		for _, imported := range p.Imports {
			name, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			require.LessOrEqual(t, layer(pkg), layer(name), "%s imports %s, which is above it", pkg, name)
			require.NotContains(t, never[pkg], name, "%s imports %s", pkg, name)
		}
	}
	for _, names := range layers[1:] {
		for _, name := range names {
			require.True(t, seen[name], "%s is not there any more", name)
		}
	}
}

const (
	maxFiles = 15  // of a package
	maxLines = 400 // of a file
)

func TestPackagesAndFilesStaySmall(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		require.LessOrEqual(t, len(p.GoFiles), maxFiles, "files of %s", p.ImportPath)
		if forTests(strings.TrimPrefix(p.ImportPath, module)) {
			continue
		}
		for _, name := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, name))
			require.NoError(t, err)
			require.LessOrEqual(t, bytes.Count(source, []byte("\n")), maxLines, "lines of %s", filepath.Join(p.ImportPath, name))
		}
	}
}

// forTests says whether a package is for tests and benchmarks alone.
func forTests(pkg string) bool {
	return strings.HasPrefix(pkg, "tests/") || strings.HasSuffix(pkg, "test")
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir  string
	Standard         bool
	Imports, GoFiles []string
}

// deps is the package, by its path within the module, and all that it links.
func deps(t *testing.T, pkg string) []listed {
	t.Helper()
	return list(t, "-deps", "./"+pkg)
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", tags, "-json=ImportPath,Dir,Standard,Imports,GoFiles"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all = append(all, p)
	}
	require.NotEmpty(t, all)
	return all
}

// sources are the product files of a package, by their paths.
func sources(t *testing.T, pkg string) map[string]string {
	t.Helper()
	found := map[string]string{}
	paths, err := filepath.Glob(filepath.Join("../..", pkg, "*.go"))
	require.NoError(t, err)
	for _, path := range slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, "_test.go") }) {
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		found[path] = string(source)
	}
	require.NotEmpty(t, found)
	return found
}
