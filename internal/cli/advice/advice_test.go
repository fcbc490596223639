package advice

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// literals are all texts in what makes /health's answer, with something in place of their verbs.
func literals(t *testing.T) (all []string) {
	t.Helper()
	verbs := regexp.MustCompile(`%[.0-9]*[a-zA-Z%]`)
	for _, dir := range []string{"../../edge", "../../edge/intake", "../../edge/status"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					text, err := strconv.Unquote(lit.Value)
					require.NoError(t, err)
					all = append(all, verbs.ReplaceAllString(text, "7"))
				}
				return true
			})
		}
	}
	require.NotEmpty(t, all)
	return all
}

func TestEachKindOfReasonAndWarningHasAnAdvice(t *testing.T) {
	t.Parallel()
	warning := regexp.MustCompile(`^(temporal|workers|backlog|storeManager|authWorker|registry|connections|reconciliation|deletions|versions|clocks|disk|secrets|webhooks): .`)
	found := 0
	for _, text := range literals(t) {
		if warning.MatchString(text) {
			e := find(text)
			require.NotNil(t, e, text)
			require.NotEmpty(t, e.words, "only the general advice: %s", text)
			found++
		}
	}
	require.Greater(t, found, 15)

	// A part that is none of these would be missed above.
	source, err := os.ReadFile("../../edge/status/health.go")
	require.NoError(t, err)
	parts := regexp.MustCompile(`(?m)^\t\t\{"([a-zA-Z]+)", `).FindAllStringSubmatch(string(source), -1)
	require.Len(t, parts, 8)
	for _, part := range parts {
		require.NotNil(t, find(part[1]+": whatever"), part[1])
	}
	for _, text := range literals(t) {
		if regexp.MustCompile(`^[a-z][a-zA-Z]+: [a-z7]`).MatchString(text) && !strings.HasPrefix(text, "refused: ") {
			require.Regexp(t, warning, text, "is it a warning? Then it wants an advice")
		}
	}
	require.Equal(t, "starter doctor says more", For("of a newer edge: something"))
}

func TestEachAdviceIsForWhatIsReallySaidAndItsRunbookIsThere(t *testing.T) {
	t.Parallel()
	texts := strings.Join(literals(t), "\n")
	for _, e := range entries {
		require.Contains(t, texts, e.words)
		require.NotEmpty(t, e.todo)
		if e.runbook != "" {
			require.FileExists(t, filepath.Join("../../../docs/runbooks", e.runbook+".md"))
		}
	}
}
