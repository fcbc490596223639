package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"storekeeper/internal/config"
	"storekeeper/internal/edge"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/manager"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/process"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/worker"
)

// envRotationRole makes the test binary one of the processes whose secrets are rotated.
const envRotationRole = "STOREKEEPER_TEST_ROTATION_ROLE"

// runRotationRole is a process of ours, as cmd/ has it, that also tells Sentry of a failure many times a second.
func runRotationRole(name string) {
	run, role := map[string]func(context.Context, *process.Process) error{
		"edge": runRotationEdge, "worker": runRotationWorker, "store manager": func(ctx context.Context, p *process.Process) error {
			return manager.Run(ctx, p, manager.Restore{From: os.Getenv(restoreFrom), SetAside: os.Getenv(restoreFrom) != ""})
		},
	}[name], map[string]config.Role{"edge": config.RoleWebhook, "worker": config.RoleWorker, "store manager": config.RoleStoreManager}[name]
	process.Main(process.Command(process.Options{Use: "child", Role: role, Run: func(ctx context.Context, p *process.Process) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return run(ctx, p) })
		g.Go(func() error {
			// Failures of one operation are counted, and sent as one.
			for n, tick := 0, time.NewTicker(200*time.Millisecond); ; n++ {
				select {
				case <-ctx.Done():
					return nil
				case <-tick.C:
					p.Sentry.Capture(ctx, errors.New("a failure of the "+name), telemetry.Operation{Name: fmt.Sprint("rotation", n)})
				}
			}
		})
		return g.Wait()
	}}))
}

func runRotationEdge(ctx context.Context, p *process.Process) error {
	clients, err := p.Clients()
	if err != nil {
		return err
	}
	defer clients.Temporal.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.Config.Listen())
	if err != nil {
		return err
	}
	server, err := edge.New(edge.Options{
		Config: p.Config, Orchestrator: orchestrator.New(clients.Temporal, clients.Namespace), Workspaces: clients.AuthWorker,
		StoreManager: clients.Manager, Backup: clients.Manager.Backup, Examine: clients.Manager.Examine, Metrics: p.Metrics, Sentry: p.Sentry, Log: p.Log,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return server.Run(ctx, l)
}

func runRotationWorker(ctx context.Context, p *process.Process) error {
	clients, err := p.Clients()
	if err != nil {
		return err
	}
	defer clients.Temporal.Close()
	auth, err := p.AuthWorker(string(p.Config.AuthWorkerURL), "")
	if err != nil {
		return err
	}
	return worker.Run(ctx, worker.Options{
		Temporal: clients.Temporal, Namespace: clients.Namespace, Manager: clients.Manager, AuthWorker: auth,
		Config: p.Config, Log: p.Log, Sentry: p.Sentry, Metrics: p.Metrics,
	})
}

// accepted is what another system accepts: some secrets at a time. It counts who came with one, and who was refused.
type accepted struct {
	address        string // where it listens, if a secret says so
	secrets        atomic.Pointer[[]string]
	taken, refused atomic.Int64
}

func (a *accepted) set(value string) {
	all := strings.Split(value, ",")
	a.secrets.Store(&all)
}

// check says whether one of the secrets fits.
func (a *accepted) check(fits func(secret string) bool) bool {
	ok := slices.ContainsFunc(*a.secrets.Load(), fits)
	if ok {
		a.taken.Add(1)
	} else {
		a.refused.Add(1)
	}
	return ok
}

// tokens are for a demo of ours, which counts nobody.
func (a *accepted) tokens() httpserver.Tokens { return httpserver.NewTokens(*a.secrets.Load()...) }

// serveSink is a receiver of events that verifies their signatures with the reference library.
func (a *accepted) serveSink(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !a.check(func(secret string) bool {
		webhook, err := standardwebhooks.NewWebhook(secret)
		return err == nil && webhook.Verify(body, r.Header) == nil
	}) {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
	}
}

// serveSentry takes the envelopes of the keys that are accepted: a DSN's user.
func (a *accepted) serveSentry(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !a.check(func(dsn string) bool {
		u, err := url.Parse(dsn)
		return err == nil && strings.Contains(r.Header.Get("X-Sentry-Auth")+string(body), u.User.Username())
	}) {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
	}
}

// frontOfTemporal is what a Temporal with API keys has before it: it lets calls with a right key through.
func frontOfTemporal(t *testing.T, temporal string, keys *accepted) (address string) {
	t.Helper()
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: temporal}) },
		Transport:     &http.Transport{Protocols: h2c},
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // the caller has gone
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !keys.check(func(key string) bool { return httpserver.Bearer(r) == key }) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "16") // UNAUTHENTICATED
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	server.Config.Protocols = h2c
	server.Start()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.Listener.Addr().String()
}

// load sends requests one after the other until the test ends, and keeps what was not answered 2xx.
type load struct {
	name string
	// secret is what the requests bring.
	secret  atomic.Pointer[string]
	request func(secret string) *http.Request
	done    atomic.Int64

	mu     sync.Mutex
	failed []string
}

func (l *load) run(ctx context.Context) {
	for pace := rate.NewLimiter(20, 1); pace.Wait(ctx) == nil; {
		resp, err := http.DefaultClient.Do(l.request(*l.secret.Load()).WithContext(ctx))
		if ctx.Err() != nil {
			return
		}
		var text bytes.Buffer
		if err == nil {
			_, err = text.ReadFrom(io.LimitReader(resp.Body, 1<<20))
			_ = resp.Body.Close()
		}
		if err != nil || resp.StatusCode/100 != 2 {
			l.mu.Lock()
			l.failed = append(l.failed, fmt.Sprint(err, " ", text.String()))
			l.mu.Unlock()
		}
		l.done.Add(1)
	}
}

// failures are those so far.
func (l *load) failures() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failed)
}

// use has the requests from now on bring the secret, and returns when none with another is under way.
func (l *load) use(t *testing.T, secret string) {
	t.Helper()
	l.secret.Store(&secret)
	before := l.done.Load()
	require.Eventually(t, func() bool { return l.done.Load() >= before+2 }, time.Minute, 10*time.Millisecond, l.name)
}

// write makes the file have the content.
type write func(t *testing.T, path, content string)

// replace puts a new file in the place of the old one.
func replace(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(content+"\n"), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// turn is how Kubernetes changes a mounted secret: the name is a link into ..data, which is a link to a directory, and that one is turned.
func turn(t *testing.T, path, content string) {
	t.Helper()
	mount, name := path[:strings.LastIndexByte(path, '/')], path[strings.LastIndexByte(path, '/')+1:]
	version, err := os.MkdirTemp(mount, "..") //nolint:usetesting // it must lie beside the link
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(version+"/"+name, []byte(content), 0o600))
	require.NoError(t, os.Symlink(version, mount+"/..data.new"))
	require.NoError(t, os.Rename(mount+"/..data.new", mount+"/..data"))
	if _, err := os.Lstat(path); err != nil {
		require.NoError(t, os.Symlink("..data/"+name, path))
	}
}
