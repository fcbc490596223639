package edge

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed" // openapi.json
	"fmt"
	"io"
	"net/http"
	"strings"

	"storekeeper/internal/build"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"

	"github.com/go-chi/chi/v5"
	"github.com/swaggest/swgui/v5/static"
)

// openAPI describes all that the edge serves; the tests hold both against each other.
//
//go:embed openapi.json
var openAPI []byte

// docsPage shows openAPI by Swagger UI. All that it loads is named relative to where it is, so that it works behind a proxy
// that serves the edge under a path of its own.
const docsPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Storekeeper: the edge</title>
<link rel="icon" href="docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
</body>
</html>
`

// docsScript is a file of its own because docsPolicy allows no script within the page. Without validatorUrl, Swagger UI would have another host
// validate the document.
const docsScript = `SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
`

// docsPolicy makes browsers refuse whatever is not from this host. Swagger UI has its icons in data: URLs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsAssets are the files that docsPage consists of, by their names.
var docsAssets = map[string]docsAsset{
	"start.js":             newDocsAsset("text/javascript; charset=utf-8", []byte(docsScript), false),
	"swagger-ui-bundle.js": swaggerUI("text/javascript; charset=utf-8", "swagger-ui-bundle.js.gz"),
	"swagger-ui.css":       swaggerUI("text/css; charset=utf-8", "swagger-ui.css.gz"),
	"favicon-32x32.png":    swaggerUI("image/png", "favicon-32x32.png"),
}

type docsAsset struct {
	contentType string
	data        []byte
	compressed  bool
	// tag is a weak one: the same for data and what is compressed in it.
	tag string
}

func newDocsAsset(contentType string, data []byte, compressed bool) docsAsset {
	hash := sha256.Sum256(data)
	return docsAsset{contentType, data, compressed, fmt.Sprintf(`W/"%x"`, hash[:16])}
}

// swaggerUI panics without the file, which would be the compiler's mistake or a new version's.
func swaggerUI(contentType, file string) docsAsset {
	data, err := static.FS.ReadFile(file)
	if err != nil {
		panic(err)
	}
	return newDocsAsset(contentType, data, strings.HasSuffix(file, ".gz"))
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // it fails only when the caller has gone
}

func serveDocs(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", docsPolicy)
	_, _ = io.WriteString(w, docsPage)
}

// serveDocsAsset has browsers keep the files, and ask each time whether they have changed.
func serveDocsAsset(w http.ResponseWriter, r *http.Request) {
	asset, ok := docsAssets[chi.URLParam(r, "name")]
	if !ok {
		problem.Write(w, problem.KindNotFound, "Not found")
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", asset.tag)
	w.Header().Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("If-None-Match"), asset.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", asset.contentType)
	switch {
	case !asset.compressed:
		_, _ = w.Write(asset.data)
	case strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"):
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(asset.data)
	default:
		if plain, err := gzip.NewReader(bytes.NewReader(asset.data)); err == nil {
			_, _ = io.Copy(w, plain) //nolint:gosec // our own file
		}
	}
}

// explainProblem is the page that a problem's type names.
func explainProblem(w http.ResponseWriter, r *http.Request) {
	for _, k := range problem.Kinds {
		if k.Code == chi.URLParam(r, "code") {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = fmt.Fprintf(w, "%s (%d)\n\n%s\n", k.Title, k.Status, k.Advice)
			return
		}
	}
	problem.Write(w, problem.KindNotFound, "No such kind of problem")
}

// endpoints are what index names, with what each does.
var endpoints = map[string]string{
	"POST /webhooks/workspaces":         "takes workspace.created and workspace.deleted (X-Webhook-Secret, or a Standard Webhooks signature)",
	"GET /health":                       "how the system is; 503 when it can't keep its promise (a token adds store ids)",
	"GET /livez":                        "200 while the process serves",
	"GET /readyz":                       "200 while a webhook would be taken and worked off",
	"GET /metrics":                      "Prometheus metrics",
	"GET /docs":                         "all of this, to browse",
	"GET /openapi.json":                 "all of this as OpenAPI 3.1",
	"GET /docs/problems/{code}":         "what an error means, and what to do",
	"GET /stores":                       "the monitored stores, in pages: ?limit=&cursor= (token)",
	"GET /stores/{id}":                  "one store: its conditions, newest events and what is under way for it (token)",
	"GET /stores/{id}/history":          "what was decided about the store, by whom and why, in pages: ?since=&kind=&actor=&limit=&cursor= (token)",
	"POST /stores/{id}/provision":       "has the store monitored: {actor} (token)",
	"POST /stores/{id}/delete":          "has the store removed after a grace period: {reason, actor, gracePeriod} (token)",
	"POST /stores/{id}/cancel-deletion": "ends its pending deletion, and holds it: {reason, actor, expiresAt} (token)",
	"POST /stores/{id}/hold":            "keeps the store from every deletion: {reason, actor, expiresAt} (token)",
	"POST /stores/{id}/release":         "ends that (token)",
	"POST /admin/bulk":                  "does the same with several stores: {verb, ids, reason, actor} (token)",
	"GET /audit":                        "the audit trail, in pages: ?store=&since=&until=&kind=&actor=&source=&run=&batch=&order=&limit=&cursor= (token)",
	"GET /admin/pause":                  "all pauses, whatever they were made with (token)",
	"POST /admin/approve":               "carries out a plan whose removals the guard keeps back: {plan, reason, actor} (token)",
	"PUT /stores/{id}/pause":            "makes reconciliation leave the store alone: {reason, actor, expiresAt} (token)",
	"DELETE /stores/{id}/pause":         "ends that (token)",
	"PUT /admin/pause":                  "makes reconciliation change nothing: {reason, actor, expiresAt} (token)",
	"DELETE /admin/pause":               "ends that (token)",
	"POST " + acknowledgeLossPath:       "lets stores be stopped again after the registry was lost: {reason, actor} (token)",
	"POST /admin/reconcile":             "starts a reconcile run and waits for its report (token)",
	"GET /admin/reconcile/runs":         "the newest reconcile runs and their reports (token)",
	"POST /admin/backup":                "a backup of the databases, as a tar (token)",
	"GET /admin/doctor":                 "what is wrong with the installation, and what to do (token)",
}

// index is for whoever looks at the edge for the first time.
func index(w http.ResponseWriter, _ *http.Request) {
	httpserver.WriteJSON(w, http.StatusOK, api.Index{
		Service: "storekeeper", Version: build.Version, Endpoints: endpoints,
		Token: "Authorization: Bearer <a token of SERVER_BYPASS_TOKEN or OPERATOR_TOKENS>, or X-Server-Token",
	})
}
