package httpserver_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/httpserver"
)

// serve answers one request; headers are names and values in turn.
func serve(t *testing.T, h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func fine(w http.ResponseWriter, _ *http.Request) { httpserver.WriteJSON(w, http.StatusOK, "fine") }

func TestAPlainRequestIDIsTheCallersAndAnyOtherIsReplaced(t *testing.T) {
	t.Parallel()
	h := httpserver.Identify(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		httpserver.WriteJSON(w, http.StatusOK, httpserver.RequestID(w))
	}))
	for _, id := range []string{
		"a", strings.Repeat("a", 128), "0b5a3b46-7a2e-4a6a-9a53-0d4c1d0c8f11", "01ARZ3NDEKTSV4RRFFQ69G5FAV",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Root=1-67891233", "YWJj/+==", "a.b:c_d",
	} {
		w := serve(t, h, http.MethodGet, "/", "X-Request-Id", id)
		require.Equal(t, id, w.Header().Get("X-Request-Id"))
		require.JSONEq(t, `"`+id+`"`, w.Body.String())
	}
	for _, id := range []string{"", " ", "a b", "a\tb", "<script>", `"`, "é", "a\nb", "a;b", strings.Repeat("a", 129)} {
		got := serve(t, h, http.MethodGet, "/", "X-Request-Id", id).Header().Get("X-Request-Id")
		require.NotEqual(t, id, got)
		require.Len(t, got, 36, "a UUID")
	}
	first, second := serve(t, h, http.MethodGet, "/"), serve(t, h, http.MethodGet, "/")
	require.NotEqual(t, first.Header().Get("X-Request-Id"), second.Header().Get("X-Request-Id"))
}

func TestWhoBringsTheTokenIsLetIn(t *testing.T) {
	t.Parallel()
	tokens := httpserver.NewTokens("the-token", "the-next-token", "")
	guarded := func(tokens httpserver.Tokens) http.Handler {
		brings := func(r *http.Request) (httpserver.Caller, bool) { return tokens.Caller(httpserver.Bearer(r)) }
		return httpserver.Require(brings, func(w http.ResponseWriter, _ *http.Request) {
			httpserver.WriteProblem(w, http.StatusUnauthorized, struct{}{})
		})(http.HandlerFunc(fine))
	}
	for header, status := range map[string]int{
		"Bearer the-token": 200, "bearer the-token": 200, "BEARER  the-token": 200, "Bearer the-next-token": 200,
		"": 401, "the-token": 401, "Bearer": 401, "Bearer ": 401, "Basic the-token": 401, "Bearer the-token2": 401, "Bearer the": 401, "Bearer,the-token": 401,
	} {
		w := serve(t, guarded(tokens), http.MethodGet, "/", "Authorization", header)
		require.Equal(t, status, w.Code, header)
		require.Equal(t, status == 401, w.Header().Get("WWW-Authenticate") == "Bearer", header)
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer x"} {
		require.Equal(t, 401, serve(t, guarded(httpserver.NewTokens("")), http.MethodGet, "/", "Authorization", header).Code, "nobody has an empty token")
		require.Equal(t, 401, serve(t, guarded(httpserver.Tokens{}), http.MethodGet, "/", "Authorization", header).Code, "nor none at all")
	}
}

func TestACallerHasTheNameAndTheRightOfItsToken(t *testing.T) {
	t.Parallel()
	tokens := httpserver.NewTokens("shared")
	tokens.Add("of-ann", httpserver.Caller{Name: "ann"})
	tokens.Add("of-a-dashboard", httpserver.Caller{Name: "grafana", ReadOnly: true})
	var seen httpserver.Caller
	h := httpserver.Require(func(r *http.Request) (httpserver.Caller, bool) { return tokens.Caller(httpserver.Bearer(r)) }, fine)(
		httpserver.RequireActing(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })(
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen = httpserver.CallerOf(r.Context()) })))
	for token, want := range map[string]httpserver.Caller{
		"shared": {}, "of-ann": {Name: "ann"}, "of-a-dashboard": {Name: "grafana", ReadOnly: true},
	} {
		for method, status := range map[string]int{
			http.MethodGet: 200, http.MethodHead: 200, http.MethodPost: 200, http.MethodPut: 200, http.MethodDelete: 200,
		} {
			if want.ReadOnly && method != http.MethodGet && method != http.MethodHead {
				status = http.StatusForbidden
			}
			seen = httpserver.Caller{Name: "nobody has come"}
			require.Equal(t, status, serve(t, h, method, "/", "Authorization", "Bearer "+token).Code, method)
			require.Equal(t, status == 200, seen == want, "%s %s: %v", method, token, seen)
		}
	}
	require.Equal(t, httpserver.Caller{}, httpserver.CallerOf(t.Context()))
	require.Equal(t, "ann", httpserver.Caller{Name: "ann"}.Actor("bob"))
	require.Equal(t, "bob", httpserver.Caller{}.Actor("bob"))
}

func TestARefusedMethodNamesThoseThatAreServed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		head bool
		want []string
	}{
		"with HEAD":    {true, []string{"GET", "HEAD", "DELETE"}},
		"without HEAD": {false, []string{"GET", "DELETE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := chi.NewRouter()
			r.Get("/stores/{id}", fine)
			r.Delete("/stores/{id}", fine)
			r.Put("/pause", fine)
			r.MethodNotAllowed(httpserver.MethodNotAllowed(r, test.head, func(w http.ResponseWriter, _ *http.Request) {
				httpserver.WriteProblem(w, http.StatusMethodNotAllowed, map[string]string{"title": "No"})
			}))
			w := serve(t, r, http.MethodPost, "/stores/abc")
			require.Equal(t, 405, w.Code)
			require.Equal(t, test.want, w.Header().Values("Allow"))
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			require.JSONEq(t, `{"title":"No"}`, w.Body.String())
			require.Equal(t, []string{"PUT"}, serve(t, r, http.MethodGet, "/pause").Header().Values("Allow"))
		})
	}
}

func TestAPanicIsAnsweredUnlessItIsTheServersOwn(t *testing.T) {
	t.Parallel()
	var told error
	h := func(cause any) http.Handler {
		return httpserver.Recover(func(w http.ResponseWriter, _ *http.Request, panicked error) {
			told = panicked
			httpserver.WriteProblem(w, http.StatusInternalServerError, struct{}{})
		})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if cause != nil {
				panic(cause)
			}
			fine(w, r)
		}))
	}
	require.Equal(t, 500, serve(t, h("inner text"), http.MethodGet, "/").Code)
	require.EqualError(t, told, "panic: inner text")
	told = nil
	require.Equal(t, 200, serve(t, h(nil), http.MethodGet, "/").Code)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { serve(t, h(http.ErrAbortHandler), http.MethodGet, "/") })
	require.NoError(t, told)
}

func TestABodyIsReadUpToItsLimit(t *testing.T) {
	t.Parallel()
	read := func(body string, length int64) ([]byte, error) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.ContentLength = length
		return httpserver.ReadBody(httptest.NewRecorder(), r, 4)
	}
	for _, length := range []int64{4, -1} {
		got, err := read("four", length)
		require.NoError(t, err)
		require.Equal(t, "four", string(got))
	}
	for _, length := range []int64{5, -1} {
		_, err := read("fives", length)
		tooLarge, ok := errors.AsType[*http.MaxBytesError](err)
		require.True(t, ok, err)
		require.EqualValues(t, 4, tooLarge.Limit)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", iotest.ErrReader(os.ErrDeadlineExceeded))
	_, err := httpserver.ReadBody(httptest.NewRecorder(), r, 4)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestRetryAfterIsRoundedUpToWholeSeconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60"} {
		w := httptest.NewRecorder()
		httpserver.SetRetryAfter(w, d)
		require.Equal(t, want, w.Header().Get("Retry-After"))
	}
}
