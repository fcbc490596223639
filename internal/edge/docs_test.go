package edge

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/edge/problem"
)

// docsReferences are what docsPage loads.
func docsReferences() []string {
	var references []string
	for _, found := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(docsPage, -1) {
		references = append(references, found[1])
	}
	return references
}

func TestTheDocsLoadOnlyWhatTheEdgeServes(t *testing.T) {
	t.Parallel()
	f := setup(t)
	page := f.Do(t, http.MethodGet, "/docs", "")
	require.Equal(t, 200, page.Status)
	require.Equal(t, docsPage, page.Body)
	require.NotContains(t, page.Body, "//", "no other host")
	require.NotRegexp(t, `<script>|<style| style=| on[a-z]+=`, page.Body, "the policy allows no code within the page")

	references := docsReferences()
	require.Len(t, references, len(docsAssets))
	for _, reference := range references {
		name, ok := strings.CutPrefix(reference, "docs/assets/")
		require.True(t, ok, reference)
		require.Contains(t, docsAssets, name)
		resp := f.Do(t, http.MethodGet, "/"+reference, "")
		require.Equal(t, 200, resp.Status, reference)
		require.NotEmpty(t, resp.Body, reference)
		require.Equal(t, docsAssets[name].contentType, resp.Header.Get("Content-Type"), reference)
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), "the type is what it says")
	}

	script := f.Do(t, http.MethodGet, "/docs/assets/start.js", "").Body
	urls := regexp.MustCompile(`(?i)url: (.*),`).FindAllStringSubmatch(script, -1)
	require.Len(t, urls, 2)
	require.Equal(t, `"openapi.json"`, urls[0][1])
	require.Equal(t, "null", urls[1][1], "no host validates the document")
	require.NotContains(t, script, "//")
	require.Equal(t, 200, f.Do(t, http.MethodGet, "/openapi.json", "").Status)
	require.NotContains(t, f.Do(t, http.MethodGet, "/docs/assets/swagger-ui.css", "").Body, "@import")
}

func TestTheDocsPolicyAllowsNoOtherHost(t *testing.T) {
	t.Parallel()
	policy := setup(t).Do(t, http.MethodGet, "/docs", "").Header.Get("Content-Security-Policy")
	allowed := map[string]string{}
	for directive := range strings.SplitSeq(policy, "; ") {
		name, sources, _ := strings.Cut(directive, " ")
		allowed[name] = sources
		for source := range strings.FieldsSeq(sources) {
			require.Contains(t, []string{"'none'", "'self'", "data:"}, source, name)
		}
	}
	require.Equal(t, "'none'", allowed["default-src"])
	for _, without := range []string{"base-uri", "form-action", "frame-ancestors"} { // they don't fall back to default-src
		require.Equal(t, "'none'", allowed[without], without)
	}
	require.Equal(t, "'self'", allowed["script-src"], "neither within the page nor by eval")
	require.Equal(t, "'self' data:", allowed["img-src"])
}

func TestTheDocsAssetsAreLoadedOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tags := map[string]bool{}
	for name := range docsAssets {
		path := "/docs/assets/" + name
		first := f.Do(t, http.MethodGet, path, "")
		require.Equal(t, "no-cache", first.Header.Get("Cache-Control"), "kept, and asked for each time")
		tag := first.Header.Get("ETag")
		tags[tag] = true
		again := f.Do(t, http.MethodGet, path, "", "If-None-Match", `"another", `+tag)
		require.Equal(t, 304, again.Status)
		require.Empty(t, again.Body)
		require.Equal(t, tag, again.Header.Get("ETag"))
		require.Equal(t, 200, f.Do(t, http.MethodGet, path, "", "If-None-Match", `W/"another"`).Status)
	}
	require.Len(t, tags, len(docsAssets))
}

func TestTheDocsAssetsAreCompressedForThoseWhoWantThat(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const path = "/docs/assets/swagger-ui-bundle.js"
	plain := f.Do(t, http.MethodGet, path, "", "Accept-Encoding", "identity")
	require.Empty(t, plain.Header.Get("Content-Encoding"))
	require.Contains(t, plain.Body, "SwaggerUIBundle")
	compressed := f.Do(t, http.MethodGet, path, "", "Accept-Encoding", "br, gzip")
	require.Equal(t, "gzip", compressed.Header.Get("Content-Encoding"))
	require.Less(t, len(compressed.Body), len(plain.Body)/2)
	require.Equal(t, "Accept-Encoding", compressed.Header.Get("Vary"))
	require.Equal(t, plain.Body, f.Do(t, http.MethodGet, path, "").Body, "the client inflates it")
}

func TestTheDocsHaveNoOtherAssets(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, path := range []string{"/docs/assets/", "/docs/assets/swagger-ui.js", "/docs/assets/..%2Fopenapi.json", "/docs/nothing"} {
		require.Equal(t, 404, f.Do(t, http.MethodGet, path, "").Status, path)
	}
}

func TestEveryProblemHasItsPage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, k := range problem.Kinds {
		page := f.Do(t, http.MethodGet, problem.Path+k.Code, "")
		require.Equal(t, 200, page.Status, k.Code)
		require.Contains(t, page.Body, k.Title)
		require.Contains(t, page.Body, k.Advice)
	}
	require.Equal(t, 404, f.Do(t, http.MethodGet, problem.Path+"none", "").Status)
}
