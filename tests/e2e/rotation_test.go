package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/standalone"
	"storekeeper/internal/temporalserver"
	"storekeeper/tests/harness"
	"storekeeper/tests/proctest"
)

// rotationStep is a row of the table of docs/rotation.md.
type rotationStep struct {
	secret, step string
	who          []string
	// value has OLD and NEW for the two secrets.
	value string
}

func rotationSteps(t *testing.T) (steps []rotationStep) {
	t.Helper()
	page, err := os.ReadFile("../../docs/rotation.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "| secret | step | who | has then |\n|---|---|---|---|\n")
	require.True(t, found)
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.ReplaceAll(strings.Trim(line, "| \n"), `\|`, "\x00"), " | ")
		if len(cells) != 4 {
			break
		}
		value := strings.ReplaceAll(strings.Trim(cells[3], "`"), "\x00", "|")
		steps = append(steps, rotationStep{strings.Trim(cells[0], "`"), cells[1], strings.Split(cells[2], ", "), value})
	}
	require.NotEmpty(t, steps)
	return steps
}

// old and next are the two values of each secret; %s is where Sentry is.
var rotated = map[string]struct{ old, next string }{
	"WEBHOOK_SECRET":      {"the-old-webhook-secret", "the-new-webhook-secret"},
	"SERVER_BYPASS_TOKEN": {"the-old-bypass-token", "the-new-bypass-token"},
	"OPERATOR_TOKENS":     {"the-old-token-of-alice", "the-new-token-of-alice"},
	"EVENT_SINK_SECRET":   {"whsec_" + strings.Repeat("b2xk", 8), "whsec_" + strings.Repeat("bmV3", 8)},
	"TEMPORAL_API_KEY":    {"the-old-api-key", "the-new-api-key"},
	"SENTRY_DSN":          {"http://theoldkey@%s/1", "http://thenewkey@%s/1"},
}

// rotation is an installation of processes whose secrets are in files, between systems that count whom they refuse.
type rotation struct {
	t       *testing.T
	write   write
	hangup  bool // tell the processes that files have changed
	dir     string
	edgeURL string

	others    map[string]*accepted // by the names of the page
	auth      *demo.AuthWorker
	sync      *demo.SyncBackend
	temporal  string           // its address, where no key is wanted
	storeID   string           // of the store that all is about
	loads     map[string]*load // by the names of the page for who sends
	processes map[string]*proctest.Child
	logs      map[string]*proctest.Log
}

// ours are the processes with the secrets that each reads.
var ours = map[string][]string{
	"edge":          {"WEBHOOK_SECRET", "SERVER_BYPASS_TOKEN", "OPERATOR_TOKENS", "TEMPORAL_API_KEY", "SENTRY_DSN"},
	"worker":        {"SERVER_BYPASS_TOKEN", "TEMPORAL_API_KEY", "SENTRY_DSN"},
	"store manager": {"SERVER_BYPASS_TOKEN", "EVENT_SINK_SECRET", "SENTRY_DSN"},
}

func TestTheStepsOfTheRotationPageRefuseNothing(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct {
		write  write
		hangup bool
	}{
		"files that are replaced, and SIGHUP": {replace, true},
		"links that are turned, and nothing":  {turn, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRotation(t, how.write, how.hangup)
			steps := rotationSteps(t)
			covered := map[string]bool{}
			for _, s := range steps {
				r.do(s)
				covered[s.secret] = true
			}
			require.ElementsMatch(t, slices.Collect(maps.Keys(rotated)), slices.Collect(maps.Keys(covered)), "the page rotates each secret")
			r.requireNoneRefused()
		})
	}
}

// do does a step, and waits until it has reached everybody.
func (r *rotation) do(s rotationStep) {
	r.t.Helper()
	values, known := rotated[s.secret]
	require.True(r.t, known, s.secret)
	value := r.filled(strings.NewReplacer("OLD", values.old, "NEW", values.next).Replace(s.value))
	reloads := map[string]int{}
	for _, who := range s.who {
		if _, process := ours[who]; !process {
			continue
		}
		reloads[who] = r.reloads(who, s.secret)
		r.write(r.t, r.file(who, s.secret), value)
		if r.hangup {
			require.NoError(r.t, r.processes[who].Process.Signal(syscall.SIGHUP))
		}
	}
	for _, who := range s.who {
		switch {
		case r.loads[who] != nil:
			r.loads[who].use(r.t, value)
		case r.others[who] != nil:
			r.others[who].set(value)
		default:
			require.Contains(r.t, ours, who, "%s %s", s.secret, s.step)
			r.eventually(fmt.Sprintf("%s of %s reaches the %s", s.step, s.secret, who), func() bool { return r.reloads(who, s.secret) > reloads[who] })
		}
	}
	r.prove()
}

// prove has everything that is sent go its way once more.
func (r *rotation) prove() {
	r.t.Helper()
	before := map[string]int64{}
	for name, a := range r.others {
		before[name] = a.taken.Load()
	}
	for _, l := range r.loads {
		l.use(r.t, *l.secret.Load())
	}
	r.monitorOneMore()
	r.eventually("the sink and Sentry and Temporal are reached", func() bool {
		for name, times := range map[string]int64{"event sink": 1, "Temporal": 1, "Sentry": 15} { // of Sentry, what was captured before is sent by then
			if r.others[name].taken.Load() < before[name]+times {
				return false
			}
		}
		return true
	})
}

func (r *rotation) requireNoneRefused() {
	r.t.Helper()
	for name, l := range r.loads {
		require.Empty(r.t, l.failures(), name)
		require.NotZero(r.t, l.done.Load(), name)
	}
	for name, a := range r.others {
		require.Zero(r.t, a.refused.Load(), name)
	}
	for who, log := range r.logs {
		require.NotContains(r.t, log.String(), "secrets not reloaded", who)
		require.NotContains(r.t, log.String(), "refused the token", who)
		for name, values := range rotated {
			for _, secret := range []string{r.filled(values.old), r.filled(values.next)} {
				require.NotContains(r.t, log.String(), secret, "%s shows %s", who, name)
			}
		}
	}
}

func (r *rotation) file(who, secret string) string { return filepath.Join(r.dir, who, secret, "file") }

// reloads counts how often the process has said that it took a new value of the secret.
func (r *rotation) reloads(who, secret string) (n int) {
	for line := range strings.Lines(r.logs[who].String()) {
		if strings.Contains(line, `"secrets reloaded"`) && strings.Contains(line, `"`+secret+`"`) {
			n++
		}
	}
	return n
}

func (r *rotation) eventually(what string, condition func() bool) {
	r.t.Helper()
	require.Eventually(r.t, condition, harness.Patience, 20*time.Millisecond, what)
}

// filled puts in where Sentry is.
func (r *rotation) filled(value string) string {
	return strings.ReplaceAll(value, "%s", r.others["Sentry"].address)
}

// monitorOneMore has a store monitored that has an event for the sink: the token is shown to the sync backend for it.
func (r *rotation) monitorOneMore() {
	r.t.Helper()
	id := uuid.NewString()
	conn, err := livestore.Dial(r.t.Context(), livestore.Options{
		URL: r.sync.URL(), StoreID: id, Payload: map[string]string{"serverBypass": (*r.others["sync backend"].secrets.Load())[0]},
	})
	require.NoError(r.t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(r.t, conn.Push(r.t.Context(), "", []livestore.Event{{Name: "v1.Demo", Args: json.RawMessage(`{}`), Seq: 1}}))
	sender := r.loads["sender"]
	resp, err := http.DefaultClient.Do(r.created(id)(*sender.secret.Load()))
	require.NoError(r.t, err)
	require.NoError(r.t, resp.Body.Close())
	require.Equal(r.t, http.StatusOK, resp.StatusCode)
}

// newRotation is an installation in which nothing runs yet.
func newRotation(t *testing.T, write write, hangup bool) *rotation {
	t.Helper()
	r := &rotation{
		t: t, write: write, hangup: hangup, dir: t.TempDir(), others: map[string]*accepted{}, loads: map[string]*load{},
		processes: map[string]*proctest.Child{}, logs: map[string]*proctest.Log{},
	}
	for name, secret := range map[string]string{
		"Auth Worker": "SERVER_BYPASS_TOKEN", "sync backend": "SERVER_BYPASS_TOKEN", "event sink": "EVENT_SINK_SECRET",
		"Temporal": "TEMPORAL_API_KEY", "Sentry": "SENTRY_DSN",
	} {
		r.others[name] = &accepted{}
		r.others[name].set(rotated[secret].old)
	}
	t.Cleanup(func() {
		for who, log := range r.logs {
			if text := log.String(); t.Failed() {
				t.Logf("the end of the log of the %s:\n%s", who, text[max(0, len(text)-4000):])
			}
		}
	})
	return r
}

func startRotation(t *testing.T, write write, hangup bool) *rotation {
	t.Helper()
	r := newRotation(t, write, hangup)
	settings := r.startOthers()
	for who := range ours {
		r.startProcess(who, settings)
	}
	r.eventually("ready", func() bool {
		resp, err := http.Get(r.edgeURL + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	r.startLoads()
	return r
}

// startOthers starts the systems around ours, and returns the settings that name them.
func (r *rotation) startOthers() (settings []string) {
	t := r.t
	server, err := temporalserver.Start(t.Context(), temporalserver.Options{Listen: "127.0.0.1:0", SearchAttributes: orchestrator.SearchAttributes()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	tokens := rotated["SERVER_BYPASS_TOKEN"].old
	auth, err := demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{
		WebhookSecret: rotated["WEBHOOK_SECRET"].old, BypassToken: tokens, BypassTokens: r.others["Auth Worker"].tokens,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, auth.Stop(context.WithoutCancel(t.Context()))) })
	r.auth, r.temporal = auth, server.Addr()
	r.storeID = (&harness.Installation{T: t, System: &standalone.System{AuthURL: auth.URL()}}).SignUp().Default
	r.sync, err = demo.StartSyncBackend(t.Context(), demo.SyncBackendOptions{Tokens: r.others["sync backend"].tokens})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.sync.Stop(context.WithoutCancel(t.Context()))) })
	sink := httptest.NewServer(http.HandlerFunc(r.others["event sink"].serveSink))
	t.Cleanup(sink.Close)
	sentry := httptest.NewServer(http.HandlerFunc(r.others["Sentry"].serveSentry))
	t.Cleanup(sentry.Close)
	r.others["Sentry"].address = strings.TrimPrefix(sentry.URL, "http://")
	r.others["Sentry"].set(r.filled(rotated["SENTRY_DSN"].old))

	edge, err := proctest.FreeAddress(t.Context())
	require.NoError(t, err)
	manager, err := proctest.FreeAddress(t.Context())
	require.NoError(t, err)
	r.edgeURL = "http://" + edge
	return []string{
		"LISTEN=" + edge, "STORE_MANAGER_LISTEN=" + manager, "STORE_MANAGER_URL=http://" + manager, "STORE_DATA_PATH=" + r.dir,
		"AUTH_WORKER_INTERNAL_URL=" + auth.URL(), "LIVESTORE_SYNC_URL=" + r.sync.URL(), "EVENT_SINK_URL=" + sink.URL,
		"TEMPORAL_ADDRESS=" + frontOfTemporal(t, server.Addr(), r.others["Temporal"]), "TEMPORAL_TLS=false", "LOG_FORMAT=json",
		"WORKSPACE_RECONCILE_INTERVAL_MS=86400000", "RECONCILE_MODE=create-only", "MANUAL_RECONCILE_MIN_INTERVAL_MS=0", "WEBHOOK_WAIT=30s",
	}
}

// startProcess starts a process of ours, with its secrets in files.
func (r *rotation) startProcess(who string, settings []string) {
	for _, secret := range ours[who] {
		file, value := r.file(who, secret), r.filled(rotated[secret].old)
		if secret == "OPERATOR_TOKENS" {
			value = "alice:" + value
		}
		require.NoError(r.t, os.MkdirAll(filepath.Dir(file), 0o700))
		r.write(r.t, file, value)
	}
	r.launch(who, settings)
}

// launch begins a process of ours, whose files of secrets are there.
func (r *rotation) launch(who string, settings []string) {
	environ := append([]string{envRotationRole + "=" + who}, settings...)
	for _, secret := range ours[who] {
		environ = append(environ, secret+"_FILE="+r.file(who, secret))
	}
	cmd := proctest.Self(r.t.Context(), environ)
	r.logs[who] = &proctest.Log{}
	cmd.Stderr = r.logs[who]
	r.processes[who] = proctest.Start(r.t, cmd)
}

// startLoads has the edge asked for everything that wants a secret, until the test ends.
func (r *rotation) startLoads() {
	t := r.t
	r.loads["sender"] = &load{name: "sender", request: r.created(r.storeID)}
	r.loads["caller"] = &load{name: "caller", request: r.request(http.MethodPost, "/admin/reconcile", "", bearer)}
	r.loads["operator"] = &load{name: "operator", request: r.request(http.MethodGet, "/stores", "", bearer)}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); running.Wait() })
	for name, secret := range map[string]string{"sender": "WEBHOOK_SECRET", "caller": "SERVER_BYPASS_TOKEN", "operator": "OPERATOR_TOKENS"} {
		l, old := r.loads[name], rotated[secret].old
		r.eventually("the "+name+" is served", func() bool { // the edge's own first run may still be under way
			resp, err := http.DefaultClient.Do(l.request(old))
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode/100 == 2
		})
		l.secret.Store(&old)
		running.Go(func() { l.run(ctx) })
	}
}

// created makes webhooks that say that the store was created now.
func (r *rotation) created(storeID string) func(secret string) *http.Request {
	body := fmt.Sprintf(`{"event":"workspace.created","instanceId":%q,"userId":%q,"timestamp":"NOW"}`, storeID, uuid.NewString())
	return r.request(http.MethodPost, "/webhooks/workspaces", body, func(secret string) []string {
		return []string{"X-Webhook-Secret", secret, "Content-Type", "application/json"}
	})
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// request makes requests to the edge, with the headers for a secret.
func (r *rotation) request(method, path, body string, headers func(secret string) []string) func(secret string) *http.Request {
	return func(secret string) *http.Request {
		now := strings.ReplaceAll(body, "NOW", time.Now().UTC().Format(time.RFC3339Nano))
		req, err := http.NewRequestWithContext(r.t.Context(), method, r.edgeURL+path, strings.NewReader(now))
		if err != nil {
			panic(err)
		}
		for pair := range slices.Chunk(headers(secret), 2) {
			req.Header.Set(pair[0], pair[1])
		}
		return req
	}
}
