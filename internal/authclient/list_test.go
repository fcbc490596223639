package authclient_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"storekeeper/internal/authclient"
	"storekeeper/internal/demo"
	"storekeeper/internal/httpclient"
)

const token = "s3cret-bypass-token"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient returns a client of url whose connections end with the test; adjust may be nil.
func newClient(t *testing.T, url string, adjust func(*authclient.Options)) *authclient.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	o := authclient.Options{BaseURL: url, Token: httpclient.Fixed(token), HTTPClient: &http.Client{Transport: transport}}
	if adjust != nil {
		adjust(&o)
	}
	c, err := authclient.New(o)
	require.NoError(t, err)
	return c
}

// serve answers all requests with h.
func serve(t *testing.T, h http.HandlerFunc) (url string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func serveText(t *testing.T, text string) (url string) {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func ignore(authclient.Workspace) error { return nil }

// startDemo starts a demo Auth Worker with one user.
func startDemo(t *testing.T, adjust func(*demo.AuthWorkerOptions)) (worker *demo.AuthWorker, userID, instanceID string) {
	t.Helper()
	o := demo.AuthWorkerOptions{WebhookSecret: "secret", BypassToken: token}
	if adjust != nil {
		adjust(&o)
	}
	worker, err := demo.StartAuthWorker(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, worker.Stop(ctx))
	})
	var account struct {
		DefaultInstanceID string
		User              struct{ ID string }
	}
	post(t, worker.URL()+"/signup", `{"email":"ann@example.com","password":"correct horse"}`, &account)
	return worker, account.User.ID, account.DefaultInstanceID
}

// addInstance does what an administrator does.
func addInstance(t *testing.T, worker *demo.AuthWorker, userID, id string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"instanceId": id})
	require.NoError(t, err)
	post(t, worker.URL()+"/internal/admin/users/"+userID+"/instances", string(body), nil)
}

func post(t *testing.T, url, body string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Less(t, resp.StatusCode, 300)
	if into != nil {
		require.NoError(t, json.NewDecoder(resp.Body).Decode(into))
	}
}

func TestTheListOfAnAuthWorkerIsStreamed(t *testing.T) {
	t.Parallel()
	worker, userID, first := startDemo(t, nil)
	addInstance(t, worker, userID, "../../etc x")
	before := time.Now()
	var ids []string
	summary, err := newClient(t, worker.URL(), nil).List(t.Context(), func(w authclient.Workspace) error {
		require.Equal(t, userID, w.UserID)
		ids = append(ids, w.InstanceID)
		return nil
	})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{first, "../../etc x"}, ids)
	require.Equal(t, 2, summary.Entries)
	require.Equal(t, 1, summary.InvalidEntries)
	require.Equal(t, 2, *summary.ClaimedEntries)
	require.WithinRange(t, summary.FetchStartedAt, before, time.Now())
}

func TestFaultsOfAnAuthWorkerNeverLookLikeACompleteList(t *testing.T) {
	t.Parallel()
	worker, userID, _ := startDemo(t, nil)
	addInstance(t, worker, userID, "another")
	patient := newClient(t, worker.URL(), nil)
	hasty := newClient(t, worker.URL(), func(o *authclient.Options) { o.IdleTimeout = 50 * time.Millisecond })
	for name, f := range map[string]struct { //nolint:paralleltest // they share the worker and its fault
		fault demo.Fault
		want  error
	}{
		"truncated":                  {demo.FaultTruncated, authclient.ErrDamaged},
		"garbage":                    {demo.FaultGarbage, authclient.ErrDamaged},
		"an entry without an id":     {demo.FaultEntryWithoutID, authclient.ErrDamaged},
		"fewer entries than claimed": {demo.FaultFewerThanClaimed, authclient.ErrDamaged},
		"slow":                       {demo.FaultSlow, authclient.ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			worker.SetFault(f.fault)
			c := patient
			if f.fault == demo.FaultSlow {
				c = hasty
			}
			_, err := c.List(t.Context(), ignore)
			require.ErrorIs(t, err, f.want)
			_, err = c.Sorted(t.Context(), nil)
			require.ErrorIs(t, err, f.want)
		})
	}
	worker.SetFault(demo.FaultFailing)
	_, err := patient.List(t.Context(), ignore)
	var status *authclient.StatusError
	require.ErrorAs(t, err, &status)
	require.Equal(t, &authclient.StatusError{Code: 500, Message: "Internal error"}, status)
}

func TestAWholeListIsTakenHoweverOdd(t *testing.T) {
	t.Parallel()
	claim := func(n int) *int { return &n }
	for _, c := range []struct {
		name, body       string
		entries, invalid int
		claimed          *int
	}{
		{"empty", `{"workspaces":[],"metadata":{"totalUsers":0,"totalWorkspaces":0}}`, 0, 0, claim(0)},
		{"without metadata", `{"workspaces":[{"instanceId":"abc"}]}`, 1, 0, nil},
		{"without the number of users", `{"workspaces":[{"instanceId":"abc","userId":"a"}],"metadata":{"totalWorkspaces":1}}`, 1, 0, claim(1)},
		{"with metadata first", `{"metadata":{"totalWorkspaces":1},"workspaces":[{"instanceId":"abc"}]}`, 1, 0, claim(1)},
		{"a shared workspace once per member", `{"workspaces":[{"instanceId":"abc","userId":"a"},{"instanceId":"abc","userId":"b"}],"metadata":{"totalUsers":2,"totalWorkspaces":2}}`, 2, 0, claim(2)},
		{"a user of several", `{"workspaces":[{"instanceId":"abc","userId":"a"},{"instanceId":"abd","userId":"b"},{"instanceId":"abd","userId":"a"}],"metadata":{"totalUsers":2,"totalWorkspaces":3}}`, 3, 0, claim(3)},
		{"a workspace that has the id of its user", `{"workspaces":[{"instanceId":"abc","userId":"abc"},{"instanceId":"abd","userId":"abd"}]}`, 2, 0, nil},
		{"two in which ids and users change places", `{"workspaces":[{"instanceId":"abc","userId":"abd"},{"instanceId":"abd","userId":"abc"}],"metadata":{"totalUsers":2,"totalWorkspaces":2}}`, 2, 0, claim(2)},
		{"other members that agree with it", `{"status":"ok","next":null,"workspaces":[],"metadata":{"totalWorkspaces":0,"page":1,"totalPages":1}}`, 0, 0, claim(0)},
		{"members that agree with it", `{"success":true,"error":null,"errors":[],"partial":false,"workspaces":[],"hasMore":false,"metadata":{"totalWorkspaces":0,"truncated":false}}`, 0, 0, claim(0)},
		{"a name that ends in half a character", `{"workspaces":[{"instanceId":"abc","name":"\ud83d"},{"instanceId":"abd","name":"` + "\xf0\x9f" + `"}]}`, 2, 0, nil},
		{"ids that no store can have", `{"workspaces":[{"instanceId":"ab"},{"instanceId":"../x"},{"instanceId":"_abc"}]}`, 3, 3, nil},
		{"odd or missing fields beside the id", `{"workspaces":[{"instanceId":"abc","userId":null,"name":7,"createdAt":"yesterday"},{"instanceId":"abd","createdAt":{}}]}`, 2, 0, nil},
		{"members that are new to us", `{"version":[1,{"a":2}],"workspaces":[{"instanceId":"abc","plan":{}}],"next":null} ` + "\n", 1, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			summary, err := newClient(t, serveText(t, c.body), nil).List(t.Context(), func(w authclient.Workspace) error {
				require.NotEmpty(t, w.InstanceID)
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, c.entries, summary.Entries)
			require.Equal(t, c.invalid, summary.InvalidEntries)
			require.Equal(t, c.claimed, summary.ClaimedEntries)
		})
	}
}

// manyMembers are so many that mean nothing to us.
func manyMembers(n int) string {
	var text strings.Builder
	for i := range n {
		_, _ = fmt.Fprintf(&text, `,"member-%d":%d`, i, i)
	}
	return text.String()
}

func TestADamagedListIsNeverTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, says string }{
		{"no body", ``, "cut off"},
		{"a page of HTML", `<html><body>` + token + `</body></html>`, `text/html`},
		{"an array", `[]`, "'{'"},
		{"null", `null`, "'{'"},
		{"an error in a 200", `{"error":"oops"}`, "it has error"},
		{"an object without a list", `{"data":[]}`, "workspaces is missing"},
		{"workspaces that are null", `{"workspaces":null}`, "'['"},
		{"workspaces that are an object", `{"workspaces":{}}`, "'['"},
		{"workspaces twice", `{"workspaces":[{"instanceId":"abc"}],"workspaces":[]}`, "comes twice"},
		{"workspaces twice, differently spelt", `{"workspaces":[{"instanceId":"abc"}],"\u0077orkspaces":[]}`, "comes twice"},
		{"metadata twice", `{"metadata":{"totalWorkspaces":0},"workspaces":[],"metadata":{"totalWorkspaces":0}}`, "comes twice"},
		{"a claim twice", `{"metadata":{"totalWorkspaces":0,"totalWorkspaces":1},"workspaces":[]}`, "comes twice"},
		{"any other member twice", `{"version":1,"version":1,"workspaces":[]}`, "comes twice"},
		{"a member of an entry twice", `{"workspaces":[{"instanceId":"abc","plan":1,"plan":2}]}`, "entry 1 can't be read: a name comes twice"},
		{"two ids in an entry", `{"workspaces":[{"instanceId":"abc","instanceId":"abc"}]}`, "comes twice"},
		{"two users in an entry", `{"workspaces":[{"instanceId":"abc","userId":"a","userId":"b"}]}`, "comes twice"},
		{"cut in an entry", `{"workspaces":[{"instanceId":"abc"},{"instan`, "cut off"},
		{"cut between entries", `{"workspaces":[{"instanceId":"abc"},`, "cut off"},
		{"cut after the entries", `{"workspaces":[{"instanceId":"abc"}]`, "cut off"},
		{"cut in the metadata", `{"workspaces":[],"metadata":{`, "cut off"},
		{"an entry that is null", `{"workspaces":[{"instanceId":"abc"},null]}`, "entry 2 has no id"},
		{"an entry that is a string", `{"workspaces":["abc"]}`, "entry 1 is no object with an id"},
		{"an entry without an id", `{"workspaces":[{"userId":"abc"}]}`, "entry 1 has no id"},
		{"an id that is null", `{"workspaces":[{"instanceId":null}]}`, "entry 1 has no id"},
		{"an id that is empty", `{"workspaces":[{"instanceId":""}]}`, "entry 1 has no id"},
		{"an id that is a number", `{"workspaces":[{"instanceId":7}]}`, "entry 1 is no object with an id"},
		{"a missing comma", `{"workspaces":[{"instanceId":"abc"} {"instanceId":"abd"}]}`, "entry 2"},
		{"fewer entries than claimed", `{"metadata":{"totalWorkspaces":2},"workspaces":[{"instanceId":"abc"}]}`, "it has 1 entries and says that it has 2"},
		{"more entries than claimed", `{"workspaces":[{"instanceId":"abc"}],"metadata":{"totalWorkspaces":0}}`, "it has 1 entries and says that it has 0"},
		{"none of the claimed entries", `{"workspaces":[],"metadata":{"totalWorkspaces":1}}`, "it has 0 entries and says that it has 1"},
		{"none of the claimed users", `{"workspaces":[],"metadata":{"totalUsers":3,"totalWorkspaces":0}}`, "it has 0 users and says that it has 3"},
		{"fewer users than claimed", `{"workspaces":[{"instanceId":"abc","userId":"a"},{"instanceId":"abd","userId":"a"}],"metadata":{"totalUsers":2,"totalWorkspaces":2}}`, "it has 1 users and says that it has 2"},
		{"more users than claimed", `{"workspaces":[{"instanceId":"abc","userId":"a"},{"instanceId":"abd","userId":"b"}],"metadata":{"totalUsers":1,"totalWorkspaces":2}}`, "it has 2 users and says that it has 1"},
		{"a negative claim", `{"workspaces":[],"metadata":{"totalWorkspaces":-5}}`, "totalWorkspaces"},
		{"a claim that is null", `{"workspaces":[],"metadata":{"totalUsers":0,"totalWorkspaces":null}}`, "totalWorkspaces"},
		{"a claim in fractions", `{"workspaces":[{"instanceId":"abc"}],"metadata":{"totalWorkspaces":1.5}}`, "totalWorkspaces"},
		{"a claim beyond all numbers", `{"workspaces":[],"metadata":{"totalWorkspaces":99999999999999999999}}`, "totalWorkspaces"},
		{"a claim that is not a number", `{"workspaces":[],"metadata":{"totalWorkspaces":NaN}}`, "can't be read"},
		{"users that are null", `{"workspaces":[],"metadata":{"totalUsers":null,"totalWorkspaces":0}}`, "totalUsers"},
		{"users that are a string", `{"workspaces":[],"metadata":{"totalUsers":"0","totalWorkspaces":0}}`, "totalUsers"},
		{"metadata that claim nothing", `{"workspaces":[],"metadata":{}}`, "no totalWorkspaces"},
		{"metadata that claim but the users", `{"workspaces":[],"metadata":{"totalUsers":0}}`, "no totalWorkspaces"},
		{"metadata that are null", `{"workspaces":[],"metadata":null}`, "metadata are no object"},
		{"a row that comes twice", `{"workspaces":[{"instanceId":"abc","userId":"a"},{"instanceId":"abd","userId":"a"},{"instanceId":"abc","userId":"a"}],"metadata":{"totalUsers":1,"totalWorkspaces":3}}`, "1 of its 3 entries come twice"},
		{"a row that comes twice, differently spelt", `{"workspaces":[{"instanceId":"abc","userId":"a"},{"instanceId":"ab\u0063","userId":"\u0061"}]}`, "1 of its 2 entries come twice"},
		{"a row of a quarantined id that comes twice", `{"workspaces":[{"instanceId":"a b","userId":"a"},{"instanceId":"a b","userId":"a"}]}`, "1 of its 2 entries come twice"},
		{"an id that comes twice without users", `{"workspaces":[{"instanceId":"abc"},{"instanceId":"abc"}]}`, "1 of its 2 entries come twice"},
		{"some entries without a user", `{"workspaces":[{"instanceId":"abc","userId":"a"},{"instanceId":"abd"},{"instanceId":"abe","userId":null},{"instanceId":"abf","userId":""}]}`, "3 of its 4 entries name no user"},
		{"a user that is a number", `{"workspaces":[{"instanceId":"abc","userId":7}]}`, "entry 1 has a userId that is no string"},
		{"an id with a byte that fell over", `{"workspaces":[{"instanceId":"ab` + "\xe3" + `"}]}`, "entry 1 has an id that is no UTF-8"},
		{"a status that says no", `{"status":"error","workspaces":[{"instanceId":"abc"}]}`, "status is error"},
		{"a status of a part", `{"workspaces":[{"instanceId":"abc"}],"metadata":{"totalWorkspaces":1,"status":"Partial"}}`, "status is partial"},
		{"a next page by token", `{"workspaces":[{"instanceId":"abc"}],"nextPageToken":"x"}`, "another page"},
		{"a next page by address", `{"workspaces":[{"instanceId":"abc"}],"next":"/internal/workspaces?page=2"}`, "another page"},
		{"one page of two", `{"workspaces":[{"instanceId":"abc"}],"metadata":{"totalWorkspaces":1,"page":1,"totalPages":2}}`, "it has 1 pages and says that it has 2"},
		{"no success beside entries", `{"success":false,"workspaces":[{"instanceId":"abc"}]}`, "success"},
		{"no success behind entries", `{"workspaces":[{"instanceId":"abc"}],"success":false}`, "success"},
		{"a success that is a string", `{"success":"false","workspaces":[]}`, "success"},
		{"an error beside entries", `{"workspaces":[{"instanceId":"abc"}],"error":"storage timed out"}`, "error"},
		{"an error's object beside entries", `{"error":{"message":"x"},"workspaces":[{"instanceId":"abc"}]}`, "error"},
		{"errors beside entries", `{"workspaces":[{"instanceId":"abc"}],"errors":[{"message":"x"}]}`, "errors"},
		{"an error in the metadata", `{"workspaces":[],"metadata":{"totalWorkspaces":0,"error":"x"}}`, "error"},
		{"a part", `{"workspaces":[{"instanceId":"abc"}],"truncated":true}`, "truncated"},
		{"a part, in the metadata", `{"workspaces":[],"metadata":{"totalWorkspaces":0,"partial":true}}`, "partial"},
		{"more without a way to it", `{"workspaces":[{"instanceId":"abc"}],"hasMore":true,"nextCursor":null}`, "nextCursor"},
		{"more without a way to it, in the metadata", `{"workspaces":[],"metadata":{"totalWorkspaces":0,"hasNextPage":true}}`, "nextCursor"},
		{"too many members", `{"workspaces":[]` + manyMembers(200) + `}`, "more than 100 members"},
		{"a claim that is a string", `{"workspaces":[],"metadata":{"totalWorkspaces":"1"}}`, "totalWorkspaces"},
		{"metadata that are a list", `{"workspaces":[],"metadata":[]}`, "metadata"},
		{"another list behind it", `{"workspaces":[]}{"workspaces":[]}`, "something follows"},
		{"garbage behind it", `{"workspaces":[]}x`, "something follows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, serveText(t, c.body), nil)
			for name, ask := range map[string]func() error{
				"list":   func() error { _, err := client.List(t.Context(), ignore); return err },
				"sorted": func() error { _, err := client.Sorted(t.Context(), nil); return err },
				"absent": func() error { _, err := client.Absent(t.Context(), "gone"); return err },
			} {
				err := ask()
				require.ErrorIs(t, err, authclient.ErrDamaged, name)
				require.ErrorContains(t, err, c.says, name)
				require.NotContains(t, err.Error(), token)
			}
			require.Zero(t, client.Status().ListAt)
		})
	}
}

func TestABodyThatEndsOrBreaksOnTheWayIsDamaged(t *testing.T) {
	t.Parallel()
	const whole = `{"workspaces":[{"instanceId":"abc"}]}`
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, whole)
	require.NoError(t, z.Close())
	flipped := bytes.Clone(packed.Bytes())
	flipped[len(flipped)-6] ^= 1 // in the checksum
	compressed := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(body)
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"said to be a part": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "items 0-99/200")
			_, _ = io.WriteString(w, whole)
		},
		"shorter than its Content-Length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, whole)
		},
		"a chunk is missing": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, whole)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"compressed and cut":                    compressed(packed.Bytes()[:packed.Len()-9]),
		"compressed, with a wrong checksum":     compressed(flipped),
		"said to be compressed though it isn't": compressed([]byte(whole)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, serve(t, h), nil).List(t.Context(), ignore)
			require.ErrorIs(t, err, authclient.ErrDamaged)
		})
	}
	summary, err := newClient(t, serve(t, compressed(packed.Bytes())), nil).List(t.Context(), ignore)
	require.NoError(t, err)
	require.Equal(t, 1, summary.Entries)
}

func TestAnErrorOfTheReceiverEndsTheListAsItIs(t *testing.T) {
	t.Parallel()
	full := errors.New("the disk is full")
	seen := 0
	_, err := newClient(t, serveText(t, `{"workspaces":[{"instanceId":"abc"},{"instanceId":"abd"}]}`), nil).
		List(t.Context(), func(authclient.Workspace) error { seen++; return full })
	require.ErrorIs(t, err, full)
	require.EqualError(t, err, full.Error())
	require.Equal(t, 1, seen)
}

// stall sends the text and then nothing until the caller hangs up.
func stall(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if text != "" {
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

func TestAListThatStandsStillIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"before the header": "", "in the middle": `{"workspaces":[{"instanceId":"abc"},`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, stall(text))
			_, err := newClient(t, url, func(o *authclient.Options) { o.IdleTimeout = 20 * time.Millisecond }).List(t.Context(), ignore)
			require.ErrorIs(t, err, authclient.ErrTimeout)
			_, err = newClient(t, url, func(o *authclient.Options) { o.ListTimeout = 20 * time.Millisecond }).List(t.Context(), ignore)
			require.ErrorIs(t, err, authclient.ErrTimeout)
			require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's own deadline is another matter")

			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err = newClient(t, url, nil).List(ctx, ignore)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, authclient.ErrTimeout)
		})
	}
}

// drip is the body of an answer that comes line by line, 20 s apart.
func drip(lines ...string) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		for _, line := range lines {
			<-time.After(20 * time.Second)
			_, _ = io.WriteString(w, line)
		}
		_ = w.Close()
	}()
	return r
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNeitherAListThatDripsNorASlowReceiverIsIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: drip(
				`{"workspaces":[`, `{"instanceId":"abc"}`, `,{"instanceId":"abd"}`, `]`, `}`,
			)}, nil
		})
		c := newClient(t, "http://auth.example.com", func(o *authclient.Options) { o.HTTPClient = &http.Client{Transport: answer} })
		start := time.Now()
		_, err := c.List(t.Context(), func(authclient.Workspace) error {
			<-time.After(time.Minute)
			return nil
		})
		require.NoError(t, err)
		require.Greater(t, time.Since(start), 2*time.Minute, "with 30 s allowed for idleness")
	})
}

func TestALongListIsReadInLittleMemory(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	const entries = 100_000
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		out := bufio.NewWriter(w)
		_, _ = io.WriteString(out, `{"workspaces":[`)
		for i := range entries {
			if i > 0 {
				_, _ = io.WriteString(out, ",")
			}
			_, _ = fmt.Fprintf(out, `{"instanceId":"5f1f6f3e-0000-4000-8000-%012d","userId":"0b6f2a50-0000-4000-8000-%012d",`+
				`"name":"Workspace %d","createdAt":"2026-11-23T18:29:10.028Z","lastAccessedAt":"2026-11-23T18:29:10.028Z","isDefault":false}`, i, i, i)
		}
		_, _ = fmt.Fprintf(out, `],"metadata":{"totalUsers":%d,"totalWorkspaces":%d}}`, entries, entries)
		_ = out.Flush()
	})
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	var most uint64
	seen := 0
	summary, err := newClient(t, url, nil).List(t.Context(), func(authclient.Workspace) error {
		if seen++; seen%(entries/10) == 0 {
			most = max(most, live())
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, entries, summary.Entries)
	require.Less(t, int64(most)-int64(before), int64(8<<20), "the list itself has over 20 MB")
}
