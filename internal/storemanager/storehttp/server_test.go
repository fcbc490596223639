package storehttp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// broken is a Manager whose every answer used here is an error that no caller may see.
type broken struct{ storemanager.Manager }

var errSecret = errors.New("open /secret/path: disk on fire")

func (broken) Overview(context.Context) (storemanager.Overview, error) {
	return storemanager.Overview{}, errSecret
}

func (broken) Get(context.Context, string) (storemanager.Store, error) {
	return storemanager.Store{}, errSecret
}

func (broken) Ensure(context.Context, storemanager.EnsureRequest) (storemanager.EnsureResult, error) {
	panic("not called")
}

type response struct {
	status int
	header http.Header
	body   string
}

// send sends a request straight to the handler, and holds both against openapi.json; authorization "" sends none.
func send(t *testing.T, h http.Handler, method, target, authorization, body string) response {
	t.Helper()
	return sendUndescribed(t, storetest.Documented(t, h), method, target, authorization, body)
}

func sendUndescribed(t *testing.T, h http.Handler, method, target, authorization, body string) response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	content, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return response{w.Code, w.Header(), string(content)}
}

func requireProblem(t *testing.T, resp response, status int, code string) {
	t.Helper()
	require.Equal(t, status, resp.status, resp.body)
	require.Equal(t, "application/problem+json", resp.header.Get("Content-Type"))
	var p problem
	require.NoError(t, json.Unmarshal([]byte(resp.body), &p))
	require.Equal(t, code, p.Code)
	require.Equal(t, status, p.Status)
	require.Equal(t, http.StatusText(status), p.Title)
	require.NotEmpty(t, p.Detail)
}

func handler(s *storetest.Database, token string) http.Handler {
	return Handler(Options{Manager: s, Memory: s, Ping: s.Ping, Tokens: httpserver.FixedTokens(token)})
}

const bearer = "Bearer " + storetest.Token

func TestTheTokenIsRequired(t *testing.T) {
	t.Parallel()
	h := handler(storetest.Open(t, storetest.Settings{}), storetest.Token)
	for _, target := range []string{"/v1/overview", "/v1/stores", "/v1/stores/abc", "/v1/no-such-route"} {
		for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer wrong", bearer + "x", "Basic " + storetest.Token, storetest.Token} {
			resp := send(t, h, http.MethodGet, target, authorization, "")
			requireProblem(t, resp, http.StatusUnauthorized, "unauthorized")
			require.Equal(t, "Bearer", resp.header.Get("WWW-Authenticate"))
			require.NotContains(t, resp.body, storetest.Token)
		}
	}
	require.Equal(t, http.StatusOK, send(t, h, http.MethodGet, "/v1/overview", "bearer "+storetest.Token, "").status)
	for _, target := range []string{"/livez", "/readyz"} {
		require.Equal(t, http.StatusOK, send(t, h, http.MethodGet, target, "", "").status)
	}
	requireProblem(t, send(t, handler(storetest.Open(t, storetest.Settings{}), ""), http.MethodGet, "/v1/overview", "Bearer ", ""),
		http.StatusUnauthorized, "unauthorized")
}

func TestBadRequestsAreProblems(t *testing.T) {
	t.Parallel()
	h := handler(storetest.Open(t, storetest.Settings{}), storetest.Token)
	huge := `{"at":"2026-11-23T12:00:00Z","requestId":"` + strings.Repeat("x", maxRequestBody) + `"}`
	for name, test := range map[string]struct {
		method, target, body string
		status               int
		code                 string
	}{
		"no JSON":                     {http.MethodPut, "/v1/stores/abc", "at=now", http.StatusBadRequest, "invalid"},
		"no body":                     {http.MethodPut, "/v1/stores/abc", "", http.StatusBadRequest, "invalid"},
		"null":                        {http.MethodPut, "/v1/stores/abc", "null", http.StatusBadRequest, "invalid"},
		"JSON and more":               {http.MethodPut, "/v1/stores/abc", `{"at":"2026-11-23T12:00:00Z"} {}`, http.StatusBadRequest, "invalid"},
		"a time that is none":         {http.MethodPut, "/v1/stores/abc", `{"at":"yesterday"}`, http.StatusBadRequest, "invalid"},
		"a year out of range":         {http.MethodPut, "/v1/stores/abc", `{"at":"9999-12-31T23:59:59-10:00"}`, http.StatusBadRequest, "invalid"},
		"a body too large":            {http.MethodPut, "/v1/stores/abc", huge, http.StatusRequestEntityTooLarge, "invalid"},
		"an id that is none":          {http.MethodGet, "/v1/stores/..%2F..%2Fetc%20x", "", http.StatusBadRequest, "invalid"},
		"an id escaped twice":         {http.MethodGet, "/v1/stores/%2561bc", "", http.StatusBadRequest, "invalid"},
		"an id with a slash":          {http.MethodGet, "/v1/stores/abc%2Fhold", "", http.StatusBadRequest, "invalid"},
		"a cursor that can't be read": {http.MethodGet, "/v1/stores?cursor=%zz", "", http.StatusBadRequest, "invalid"},
		"a limit that is none":        {http.MethodGet, "/v1/stores?limit=ten", "", http.StatusBadRequest, "invalid"},
		"an unknown store":            {http.MethodGet, "/v1/stores/abc", "", http.StatusNotFound, "not_found"},
		"an unknown route":            {http.MethodGet, "/v1/nothing", "", http.StatusNotFound, "no_route"},
		"an unknown path":             {http.MethodGet, "/", "", http.StatusNotFound, "no_route"},
		"an unknown method":           {http.MethodPatch, "/v1/stores/abc", "", http.StatusMethodNotAllowed, "no_method"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireProblem(t, send(t, h, test.method, test.target, bearer, test.body), test.status, test.code)
		})
	}
}

func TestTheWireFormIsPlain(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	h := handler(b.Registry, storetest.Token)
	resp := send(t, h, http.MethodPut, "/v1/stores/a%62c", bearer, `{"storeId":"ignored","at":"2026-11-23T12:00:00Z","later":1}`)
	require.Equal(t, http.StatusOK, resp.status)
	require.JSONEq(t, `{"storeId":"abc","outcome":"created","connection":"not_configured"}`, resp.body)
	require.Equal(t, "application/json", resp.header.Get("Content-Type"))
	resp = send(t, h, http.MethodGet, "/v1/stores", bearer, "")
	require.JSONEq(t, `{"stores":[{"id":"abc","state":"monitored","connection":"not_configured","eventAt":"2026-11-23T12:00:00Z",
		"firstMonitoredAt":"2026-11-23T12:00:00Z","lastEnsuredAt":"2026-11-23T12:00:00Z"}]}`, resp.body)
}

func TestAnEscapeThatIsNotNeededNamesTheSameStore(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	h := httpserver.Prepare(handler(b.Registry, storetest.Token)) // as the server that it runs in does
	for _, target := range []string{"/v1/stores/my-store_1", "/v1/stores/my%2Dstore%5F1", "/%76%31/st%6Fres/%6dy-store%5f1"} {
		resp := sendUndescribed(t, h, http.MethodPut, target, bearer, `{"at":"2026-11-23T12:00:00Z"}`)
		require.Equal(t, http.StatusOK, resp.status, resp.body)
		require.Contains(t, resp.body, `"storeId":"my-store_1"`)
	}
	resp := send(t, h, http.MethodGet, "/v1/stores", bearer, "")
	require.Equal(t, 1, strings.Count(resp.body, `"id"`), resp.body)
}

func TestARequestKeepsItsIDIfThatIsPlain(t *testing.T) {
	t.Parallel()
	h := storetest.Documented(t, handler(storetest.Open(t, storetest.Settings{}), storetest.Token))
	for sent, kept := range map[string]bool{"trace/1:a_b+c=": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "a b": false, "": false} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/overview", http.NoBody)
		r.Header.Set("Authorization", bearer)
		r.Header.Set(httpserver.HeaderRequestID, sent)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Header().Get(httpserver.HeaderRequestID)
		require.NotEmpty(t, got)
		require.Equal(t, kept, got == sent, sent)
	}
}

func TestAnUnknownMethodIsToldTheKnownOnes(t *testing.T) {
	t.Parallel()
	resp := send(t, handler(storetest.Open(t, storetest.Settings{}), storetest.Token), http.MethodPatch, "/v1/stores/abc", bearer, "")
	require.Equal(t, []string{http.MethodGet, http.MethodPut}, resp.header.Values("Allow"))
}

// stuck is a Manager that answers nothing before ctx ends.
type stuck struct{ storemanager.Manager }

func (stuck) Get(ctx context.Context, _ string) (storemanager.Store, error) {
	<-ctx.Done()
	return storemanager.Store{}, ctx.Err()
}

func TestWhatTakesTooLongIsAProblemAndNoClosedConnection(t *testing.T) {
	t.Parallel()
	require.Less(t, answerTimeout, clientTimeout)
	synctest.Test(t, func(t *testing.T) {
		requireProblem(t, send(t, Handler(Options{Manager: stuck{}, Tokens: httpserver.FixedTokens(storetest.Token)}), http.MethodGet, "/v1/stores/abc", bearer, ""), http.StatusInternalServerError, "internal")
	})
}

func TestInternalErrorsAreLoggedAndNotShown(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.WarnLevel)
	h := Handler(Options{Manager: broken{}, Tokens: httpserver.FixedTokens(storetest.Token), Logger: zap.New(core)})

	resp := send(t, h, http.MethodGet, "/v1/stores/abc", bearer, "")
	requireProblem(t, resp, http.StatusInternalServerError, "internal")
	require.NotContains(t, resp.body, "secret")
	requestID := resp.header.Get("X-Request-Id")
	require.NotEmpty(t, requestID)
	require.Contains(t, resp.body, requestID)
	entry := logs.FilterMessage("store manager request failed").All()
	require.Len(t, entry, 1)
	fields := entry[0].ContextMap()
	require.Equal(t, requestID, fields["requestId"])
	require.Equal(t, "abc", fields["storeId"])
	require.Equal(t, "/v1/stores/{id}", fields["route"])
	require.Equal(t, errSecret.Error(), fields["error"])

	resp = send(t, h, http.MethodGet, "/readyz", "", "")
	require.Equal(t, http.StatusServiceUnavailable, resp.status)
	require.NotContains(t, resp.body, "secret")
	require.Equal(t, http.StatusOK, send(t, h, http.MethodGet, "/livez", "", "").status)
}
