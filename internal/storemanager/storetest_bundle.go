package storemanager

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"storekeeper/tests/openapi"

	"github.com/stretchr/testify/require"
)

// t0 is the first moment of every test.
var t0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// at is the moment that many seconds after t0.
func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

// clock stands still until it is set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// newClock is at t0.
func newClock() *clock { return &clock{now: t0} }

// Now is where the clock stands.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set puts the clock to a moment.
func (c *clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// bundle is a registry on disk, its clock at t0, and the Manager under test: the registry itself or a client of it.
type bundle struct {
	Manager
	Memory
	registry *TestStores
	clock    *clock
	path     string
}

const testToken = "the-token"

// setup opens a registry with a clock at t0.
func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{clock: newClock(), path: filepath.Join(t.TempDir(), "data", "registry.db")}
	b.registry = Open(t, Settings{Path: b.path, Now: b.clock.Now})
	b.Manager, b.Memory = b.registry, b.registry
	return b
}

// serve puts a client in front of m and memory. All that they say to each other must be as openapi.json describes it.
func serve(t *testing.T, m Manager, memory Memory) *Client {
	t.Helper()
	srv := httptest.NewServer(documented(t, Handler(m, memory, testToken, nil)))
	t.Cleanup(srv.Close)
	c, err := NewClient(srv.URL, testToken, nil)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// serveStores is serve for both in one.
func serveStores(t *testing.T, s *TestStores) *Client {
	t.Helper()
	return serve(t, s, s)
}

const id = "workspace-1"

// These steps fail the test on an error; what they return is the outcome.

func (b *bundle) ensure(t *testing.T, seconds int) EnsureOutcome {
	t.Helper()
	res, err := b.Ensure(t.Context(), EnsureRequest{StoreID: id, At: at(seconds)})
	require.NoError(t, err)
	require.Equal(t, id, res.StoreID)
	return res.Outcome
}

func (b *bundle) begin(t *testing.T, seconds int, owner string) DeletionOutcome {
	t.Helper()
	res, err := b.BeginDeletion(t.Context(), DeletionRequest{StoreID: id, At: at(seconds), DeleteAt: at(100), Owner: owner})
	require.NoError(t, err)
	return res.Outcome
}

func (b *bundle) stop(t *testing.T, owner string) StopOutcome {
	t.Helper()
	res, err := b.Stop(t.Context(), StopRequest{StoreID: id, Owner: owner, AbsentAt: b.clock.Now()})
	require.NoError(t, err)
	return res.Outcome
}

// get leaves out the events: what changes nothing may leave one.
func (b *bundle) get(t *testing.T) Store {
	t.Helper()
	s, err := b.Get(t.Context(), id)
	require.NoError(t, err)
	s.Events = nil
	return s
}

func (b *bundle) events(t *testing.T) []StoreEvent {
	t.Helper()
	s, err := b.Get(t.Context(), id)
	require.NoError(t, err)
	return s.Events
}

func (b *bundle) hold(t *testing.T, h Hold) Store {
	t.Helper()
	s, err := b.Hold(t.Context(), id, h)
	require.NoError(t, err)
	return s
}

func (b *bundle) overview(t *testing.T) Overview {
	t.Helper()
	o, err := b.Overview(t.Context())
	require.NoError(t, err)
	return o
}

func (b *bundle) pin(t *testing.T, ids ...string) {
	t.Helper()
	require.NoError(t, b.registry.SetPins(t.Context(), ids))
}

func (b *bundle) pause(t *testing.T, p Pause) Pause {
	t.Helper()
	p, err := b.Pause(t.Context(), p)
	require.NoError(t, err)
	return p
}

func (b *bundle) resume(t *testing.T, storeID string) {
	t.Helper()
	require.NoError(t, b.Resume(t.Context(), storeID))
}

func (b *bundle) pauses(t *testing.T) []Pause {
	t.Helper()
	ps, err := b.Pauses(t.Context())
	require.NoError(t, err)
	return ps
}

var someHold = Hold{Reason: "under investigation", Actor: "ops@example.com"}

var describe = sync.OnceValues(func() (*openapi.Description, error) {
	d, err := openapi.Read(openAPI, eventStreamType)
	if err != nil {
		return nil, err
	}
	d.Unrouted = append(d.Unrouted, http.StatusUnauthorized)
	d.Further = func(answer *openapi.Answer) error {
		if answer.Header().Get("Content-Type") != eventStreamType {
			return nil
		}
		for line := range strings.Lines(answer.Body.String()) {
			if data, ok := strings.CutPrefix(line, "data:"); ok {
				if err := d.Matches("Change", []byte(data)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return d, nil
})

// documented fails the test when an exchange with h is not as openapi.json says.
func documented(t *testing.T, h http.Handler) http.Handler {
	t.Helper()
	described, err := describe()
	require.NoError(t, err)
	return described.Handler(t, h)
}
