// Package docs_test holds the documentation against the repository: links lead somewhere, what pages and comments name exists, and each
// decision is in the index.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// files returns the text of every file of the repository whose name ends so, by its path from the root with slashes.
func files(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "node_modules", "bin", "data", "dist"}, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || !slices.ContainsFunc(endings, func(end string) bool { return strings.HasSuffix(path, end) }):
			return nil
		}
		text, err := os.ReadFile(path)
		relative, _ := filepath.Rel(root, path) // both begin at the root
		found[filepath.ToSlash(relative)] = string(text)
		return err
	}))
	require.NotEmpty(t, found)
	return found
}

// pages are all pages but the change log, which tells of what may be gone.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := files(t, ".md")
	delete(all, "CHANGELOG.md")
	require.Contains(t, all, "README.md")
	return all
}

func exists(path string) bool {
	_, err := os.Stat(filepath.Join(root, path))
	return err == nil
}

var (
	fence     = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	remote    = regexp.MustCompile(`^[a-z]+:`)
	heading   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	linked    = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	noAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	pageName  = regexp.MustCompile(`(?:[\w.-]+/)*[\w-][\w.-]*\.md\b`)
	testName  = regexp.MustCompile("`(Test[A-Z]\\w+)`")
	pathName  = regexp.MustCompile("`((?:activities|cmd|contract|deploy|docs|integrations|internal|notifier|tests|tools|workflows)/[\\w./-]*)`")
	packages  = regexp.MustCompile(`(?:^|[^.])\./((?:activities|cmd|contract|integrations|internal|notifier|tests|workflows)(?:/\w+)*)`)
	testFunc  = regexp.MustCompile(`(?m)^func (Test[A-Z]\w+)\(`)
	indexLine = regexp.MustCompile(`(?m)^\| (\d{4}) \| \[(.*)\]\((\S+)\) \| (.*) \|$`)
)

// anchors are those of a page's headings, as GitHub and GitLab make them.
func anchors(page string) (all []string) {
	for _, h := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		text := noAnchor.ReplaceAllString(strings.ToLower(linked.ReplaceAllString(h[1], "$1")), "")
		all = append(all, strings.ReplaceAll(text, " ", "-"))
	}
	return all
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	t.Parallel()
	all := files(t, ".md")
	for name, text := range all {
		for _, found := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			if remote.MatchString(found[1]) {
				continue
			}
			target, anchor, anchored := strings.Cut(found[1], "#")
			path := name
			if target != "" {
				path = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
			}
			require.True(t, exists(path), "%s links to %s, which is not there", name, found[1])
			if anchored {
				require.Contains(t, anchors(all[path]), anchor, "%s links to %s, and no heading of that page gives this anchor", name, found[1])
			}
		}
	}
}

func TestEveryPageThatSourcesNameExists(t *testing.T) {
	t.Parallel()
	for name, text := range files(t, ".go", ".ts", ".mjs", ".sh", ".yml", "Makefile", "Dockerfile", ".ci/run", "tools/gobuild") {
		if name == "tests/docs/docs_test.go" {
			continue
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, "://") {
				continue // a page of somebody else
			}
			for _, page := range pageName.FindAllString(line, -1) {
				require.True(t, exists(page) || exists(filepath.Join(filepath.Dir(name), page)), "%s names %s, which is not there", name, page)
			}
		}
	}
}

func TestEveryTestAndFileThatAPageNamesExists(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	for _, text := range files(t, "_test.go") {
		for _, found := range testFunc.FindAllStringSubmatch(text, -1) {
			tests[found[1]] = true
		}
	}
	for name, text := range pages(t) {
		for _, found := range testName.FindAllStringSubmatch(text, -1) {
			require.True(t, tests[found[1]], "%s names the test %s, which is not there", name, found[1])
		}
		for _, found := range append(pathName.FindAllStringSubmatch(text, -1), packages.FindAllStringSubmatch(text, -1)...) {
			require.True(t, exists(found[1]), "%s names %s, which is not there", name, found[1])
		}
	}
}

func TestEveryDecisionIsOnePageOfTheIndex(t *testing.T) {
	t.Parallel()
	const folder = "docs/designs/"
	index := map[string][]string{}
	all := pages(t)
	for i, found := range indexLine.FindAllStringSubmatch(all[folder+"README.md"], -1) {
		require.Equal(t, i+1, number(t, found[1]), "the decisions are numbered on")
		require.True(t, strings.HasPrefix(found[3], found[1]+"-"), "%s is decision %s", found[3], found[1])
		index[folder+found[3]] = found
	}
	require.NotEmpty(t, index)
	for name, text := range all {
		if !strings.HasPrefix(name, folder) || name == folder+"README.md" {
			continue
		}
		line, ok := index[name]
		require.True(t, ok, "%s is not in the index", name)
		require.True(t, strings.HasPrefix(text, "# "+line[1]+": "+line[2]+"\n\nStatus: "+line[4]+"\n\n"), "%s and the index agree", name)
		for _, part := range []string{"\n## Context\n", "\n## Decision\n", "\n## Price\n"} {
			require.Contains(t, text, part, name)
		}
		require.LessOrEqual(t, strings.Count(text, "\n"), 60, "%s: one decision a page, at most 60 lines", name)
		delete(index, name)
	}
	require.Empty(t, index, "the index has pages that are not there")
}

func number(t *testing.T, digits string) int {
	t.Helper()
	n, err := strconv.Atoi(digits)
	require.NoError(t, err)
	return n
}
