package demo_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"storekeeper/internal/demo"
)

const (
	bypassToken   = "bypass-token"
	webhookSecret = "webhook-secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a demo Auth Worker and a caller of it.
type bundle struct {
	*demo.AuthWorker
	t    *testing.T
	http *http.Client
	// stop ends the worker, and with it all deliveries under way. At the end of the test it happens by itself.
	stop func()
}

// setup starts a worker; adjust may be nil.
func setup(t *testing.T, adjust func(*demo.AuthWorkerOptions)) *bundle {
	t.Helper()
	o := demo.AuthWorkerOptions{
		WebhookSecret: webhookSecret, BypassToken: bypassToken,
		RetryDelays: []time.Duration{time.Millisecond, time.Millisecond},
	}
	if adjust != nil {
		adjust(&o)
	}
	worker, err := demo.StartAuthWorker(t.Context(), o)
	require.NoError(t, err)
	b := &bundle{AuthWorker: worker, t: t, http: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	b.stop = sync.OnceFunc(func() {
		b.http.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, worker.Stop(ctx))
	})
	t.Cleanup(b.stop)
	return b
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// message is the reason of an error, in whichever shape.
func (a answer) message(t *testing.T) string {
	t.Helper()
	var body struct{ Error any }
	require.NoError(t, json.Unmarshal(a.body, &body), string(a.body))
	if nested, ok := body.Error.(map[string]any); ok {
		return nested["message"].(string)
	}
	return body.Error.(string)
}

func (b *bundle) do(method, path, token string, body any, headers ...string) answer {
	b.t.Helper()
	var payload io.Reader
	switch v := body.(type) {
	case nil:
	case string:
		payload = strings.NewReader(v)
	default:
		text, err := json.Marshal(v)
		require.NoError(b.t, err)
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.URL()+path, payload)
	require.NoError(b.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.http.Do(req)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return answer{resp.StatusCode, resp.Header, text}
}

type account struct {
	AccessToken       string `json:"accessToken"`
	DefaultInstanceID string `json:"defaultInstanceId"`
	User              struct {
		ID string `json:"id"`
	} `json:"user"`
}

func (b *bundle) signup(email string) account {
	b.t.Helper()
	got := b.do("POST", "/signup", "", map[string]string{"email": email, "password": "correct horse"})
	require.Equal(b.t, 200, got.status, string(got.body))
	var a account
	require.NoError(b.t, json.Unmarshal(got.body, &a))
	require.NotEmpty(b.t, a.AccessToken)
	return a
}

func (b *bundle) create(token, name string) (id string) {
	b.t.Helper()
	got := b.do("POST", "/workspaces", token, map[string]string{"name": name})
	require.Equal(b.t, 201, got.status, string(got.body))
	var body struct {
		Instance struct{ ID string }
	}
	require.NoError(b.t, json.Unmarshal(got.body, &body))
	return body.Instance.ID
}

type list struct {
	Workspaces []struct {
		InstanceID, UserID, Name, CreatedAt, LastAccessedAt string
		IsDefault                                           bool
	}
	Metadata struct{ TotalUsers, TotalWorkspaces int }
}

func (b *bundle) list() list {
	b.t.Helper()
	got := b.do("GET", "/internal/workspaces?limit=1", bypassToken, nil)
	require.Equal(b.t, 200, got.status, string(got.body))
	var l list
	require.NoError(b.t, json.Unmarshal(got.body, &l))
	return l
}

func (l list) ids() []string {
	ids := []string{}
	for _, w := range l.Workspaces {
		ids = append(ids, w.InstanceID)
	}
	return ids
}

func TestUsersManageTheirWorkspaces(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ann := b.signup("ann@example.com")
	id := b.create(ann.AccessToken, "Garden")
	require.ElementsMatch(t, []string{ann.DefaultInstanceID, id}, b.list().ids())

	got := b.do("POST", "/login", "", map[string]string{"email": " Ann@example.com", "password": "correct horse"})
	require.Equal(t, 200, got.status)
	var again account
	require.NoError(t, json.Unmarshal(got.body, &again))
	require.Equal(t, ann.DefaultInstanceID, again.DefaultInstanceID)
	require.NotEqual(t, ann.AccessToken, again.AccessToken)

	require.Contains(t, string(b.do("GET", "/workspaces", again.AccessToken, nil).body), id)
	require.Equal(t, 200, b.do("DELETE", "/workspaces/"+id, again.AccessToken, nil).status)
	require.Equal(t, []string{ann.DefaultInstanceID}, b.list().ids())
}

func TestRequestsThatBreakARuleAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ann, bob := b.signup("ann@example.com"), b.signup("bob@example.com")
	id := b.create(ann.AccessToken, "Garden")
	login := func(email, password string) map[string]string {
		return map[string]string{"email": email, "password": password}
	}
	name := func(n string) map[string]string { return map[string]string{"name": n} }

	for _, c := range []struct { //nolint:paralleltest // the last line looks at what all of them left
		name, method, path, token string
		body                      any
		status                    int
	}{
		{"an email that has an account", "POST", "/signup", "", login("ANN@example.com", "x"), 400},
		{"an email that is none", "POST", "/signup", "", login("ann", "x"), 400},
		{"a signup without a password", "POST", "/signup", "", login("eve@example.com", ""), 400},
		{"a password longer than the hash takes", "POST", "/signup", "", login("eve@example.com", strings.Repeat("x", 73)), 400},
		{"a body that is no JSON", "POST", "/signup", "", "{", 400},
		{"a body that is too large", "POST", "/signup", "", login("eve@example.com", strings.Repeat("x", 65<<10)), 413},
		{"a wrong password", "POST", "/login", "", login("ann@example.com", "wrong"), 401},
		{"an unknown user", "POST", "/login", "", login("eve@example.com", "correct horse"), 401},
		{"no access token", "GET", "/workspaces", "", nil, 401},
		{"a wrong access token", "POST", "/workspaces", "wrong", name("x"), 401},
		{"the bypass token in the public part", "GET", "/workspaces", bypassToken, nil, 401},
		{"a name that is taken", "POST", "/workspaces", ann.AccessToken, name("Garden"), 400},
		{"an empty name", "POST", "/workspaces", ann.AccessToken, name(" "), 400},
		{"deleting the default workspace", "DELETE", "/workspaces/" + ann.DefaultInstanceID, ann.AccessToken, nil, 400},
		{"deleting another's workspace", "DELETE", "/workspaces/" + id, bob.AccessToken, nil, 403},
		{"deleting an unknown workspace", "DELETE", "/workspaces/unknown", ann.AccessToken, nil, 404},
		{"a wrong method", "PUT", "/workspaces", ann.AccessToken, nil, 405},
		{"an unknown path", "GET", "/nowhere", "", nil, 404},
		{"the list without a token", "GET", "/internal/workspaces", "", nil, 403},
		{"the list with a user's token", "GET", "/internal/workspaces", ann.AccessToken, nil, 403},
		{"the list with a wrong method", "POST", "/internal/workspaces", bypassToken, nil, 405},
		{"the older per-user list", "GET", "/internal/users/" + ann.User.ID + "/instances", bypassToken, nil, 404},
		{"administration without a token", "DELETE", "/internal/admin/users/" + ann.User.ID, "", nil, 403},
		{"deleting an unknown user", "DELETE", "/internal/admin/users/unknown", bypassToken, nil, 404},
		{"adding a store id to an unknown user", "POST", "/internal/admin/users/unknown/instances", bypassToken, map[string]string{"instanceId": "x"}, 404},
		{"adding no store id", "POST", "/internal/admin/users/" + ann.User.ID + "/instances", bypassToken, "{}", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := b.do(c.method, c.path, c.token, c.body)
			require.Equal(t, c.status, got.status, string(got.body))
			require.NotEmpty(t, got.message(t))
		})
	}
	require.Len(t, b.list().Workspaces, 3, "refused requests change nothing")
}

func TestATokenIsTakenAsTheStandInAlwaysTookIt(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ann := b.signup("ann@example.com")
	for before, taken := range map[string]bool{"Bearer ": true, "": true, "bearer ": false, "BEARER ": false, "Bearer  ": false, "Basic ": false} {
		for path, of := range map[string]struct {
			token   string
			refused int
		}{
			"/internal/workspaces": {bypassToken, 403},
			"/workspaces":          {ann.AccessToken, 401},
		} {
			want := of.refused
			if taken {
				want = 200
			}
			require.Equal(t, want, b.do("GET", path, "", nil, "Authorization", before+of.token).status, "%q at %s", before, path)
		}
	}
}

func TestErrorsComeInTwoShapes(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	require.JSONEq(t, `{"error":"Forbidden"}`, string(b.do("GET", "/internal/workspaces", "wrong", nil).body))
	require.JSONEq(t, `{"success":false,"error":{"message":"Method not allowed"}}`,
		string(b.do("PUT", "/internal/workspaces", bypassToken, nil).body))
}

func TestTheQuotaCountsTheDefaultWorkspace(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ann := b.signup("ann@example.com")
	for i := range 9 {
		b.create(ann.AccessToken, fmt.Sprint("w", i))
	}
	require.Equal(t, 400, b.do("POST", "/workspaces", ann.AccessToken, map[string]string{"name": "one more"}).status)
}

func TestAdministratorsChangeTheListWithoutWebhooks(t *testing.T) {
	t.Parallel()
	receiver := newReceiver(t)
	b := setup(t, nil)
	ann, bob := b.signup("ann@example.com"), b.signup("bob@example.com")
	b.SetWebhookURL(receiver.URL)
	instances := "/internal/admin/users/" + bob.User.ID + "/instances"
	add := func(id string) {
		got := b.do("POST", instances, bypassToken, map[string]string{"instanceId": id})
		require.Equal(t, 201, got.status, string(got.body))
	}

	add("../../etc x")
	add(ann.DefaultInstanceID)
	add(ann.DefaultInstanceID)
	l := b.list()
	require.ElementsMatch(t,
		[]string{ann.DefaultInstanceID, ann.DefaultInstanceID, bob.DefaultInstanceID, "../../etc x"}, l.ids())
	require.Equal(t, 4, l.Metadata.TotalWorkspaces)
	require.Equal(t, 2, l.Metadata.TotalUsers)
	require.Equal(t, 403, b.do("DELETE", "/workspaces/"+ann.DefaultInstanceID, bob.AccessToken, nil).status, "shared is not owned")

	require.Equal(t, 200, b.do("DELETE", instances+"?instanceId="+url.QueryEscape("../../etc x"), bypassToken, nil).status)
	require.Equal(t, 404, b.do("DELETE", instances+"?instanceId="+url.QueryEscape("../../etc x"), bypassToken, nil).status)
	require.Equal(t, 200, b.do("DELETE", "/internal/admin/users/"+ann.User.ID, bypassToken, nil).status)
	require.ElementsMatch(t, []string{ann.DefaultInstanceID, bob.DefaultInstanceID}, b.list().ids())
	require.Equal(t, 401, b.do("GET", "/workspaces", ann.AccessToken, nil).status)

	b.stop()
	require.Empty(t, receiver.deliveries)
}

func TestTheListIsCompressedWhenAsked(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.signup("ann@example.com")
	got := b.do("GET", "/internal/workspaces", bypassToken, nil, "Accept-Encoding", "gzip")
	require.Equal(t, "gzip", got.header.Get("Content-Encoding"))
	plain, err := gzip.NewReader(bytes.NewReader(got.body))
	require.NoError(t, err)
	var l list
	require.NoError(t, json.NewDecoder(plain).Decode(&l))
	require.Len(t, l.Workspaces, 1)
	require.True(t, l.Workspaces[0].IsDefault)
	_, err = time.Parse("2006-01-02T15:04:05.000Z", l.Workspaces[0].CreatedAt)
	require.NoError(t, err)
}

func TestTheRateLimitAnswers429(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *demo.AuthWorkerOptions) { o.RateLimitPerMinute = 2 })
	b.list()
	b.list()
	got := b.do("GET", "/internal/workspaces", bypassToken, nil)
	require.Equal(t, 429, got.status)
	require.Equal(t, "Too many requests", got.message(t))
}

func TestAFileKeepsUsersAndWorkspacesAcrossRestarts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "auth.db")
	withFile := func(o *demo.AuthWorkerOptions) { o.DatabasePath = path }
	b := setup(t, withFile)
	ann := b.signup("ann@example.com")
	b.stop()

	b = setup(t, withFile)
	require.Equal(t, []string{ann.DefaultInstanceID}, b.list().ids())
	require.Equal(t, 200, b.do("GET", "/workspaces", ann.AccessToken, nil).status)
}

func TestStartFailsWithoutSecretsOrOnATakenAddress(t *testing.T) {
	t.Parallel()
	_, err := demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{WebhookSecret: webhookSecret})
	require.Error(t, err)
	b := setup(t, nil)
	_, err = demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{
		Listen: strings.TrimPrefix(b.URL(), "http://"), WebhookSecret: webhookSecret, BypassToken: bypassToken,
	})
	require.ErrorContains(t, err, "address already in use")
}
