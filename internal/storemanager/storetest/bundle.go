package storetest

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/openapi"
)

// T0 is the first moment of every test.
var T0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// At is the moment that many seconds after T0.
func At(seconds int) time.Time { return T0.Add(time.Duration(seconds) * time.Second) }

// Clock stands still until it is set.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a Clock that stands at T0.
func NewClock() *Clock { return &Clock{now: T0} }

// Now is where the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set puts the clock to a moment.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// Bundle is a registry on disk with its clock, and the Manager and Memory under test: the registry itself, or a client of it.
type Bundle struct {
	storemanager.Manager
	deliveries.Memory
	Registry *Database
	Clock    *Clock
	Path     string
}

// Token is what the API of a test wants.
const Token = "the-token"

// Setup opens a registry on disk with a clock at T0.
func Setup(t *testing.T) *Bundle {
	t.Helper()
	b := &Bundle{Clock: NewClock(), Path: filepath.Join(t.TempDir(), "data", "registry.db")}
	b.Registry = Open(t, Settings{Path: b.Path, Now: b.Clock.Now})
	b.Manager, b.Memory = b.Registry, b.Registry
	return b
}

// ID is the store of tests that need only one.
const ID = "workspace-1"

// The methods that begin with Must fail the test on an error. They are about the store ID.

// MustEnsure ensures the store, as of At(seconds).
func (b *Bundle) MustEnsure(t *testing.T, seconds int) storemanager.EnsureOutcome {
	t.Helper()
	res, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: ID, At: At(seconds)})
	require.NoError(t, err)
	require.Equal(t, ID, res.StoreID)
	return res.Outcome
}

// MustBegin asks for a deletion as of At(seconds), whose grace period ends at At(100).
func (b *Bundle) MustBegin(t *testing.T, seconds int, owner string) storemanager.DeletionOutcome {
	t.Helper()
	res, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: ID, At: At(seconds), DeleteAt: At(100), Owner: owner})
	require.NoError(t, err)
	return res.Outcome
}

// MustStop stops the store on an answer of now.
func (b *Bundle) MustStop(t *testing.T, owner string) storemanager.StopOutcome {
	t.Helper()
	res, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: ID, Owner: owner, AbsentAt: b.Clock.Now()})
	require.NoError(t, err)
	return res.Outcome
}

// MustGet returns the store without its history, to which a request that changes nothing may add an entry.
func (b *Bundle) MustGet(t *testing.T) storemanager.Store {
	t.Helper()
	s, err := b.Get(t.Context(), ID)
	require.NoError(t, err)
	s.History = nil
	return s
}

// MustHistory returns the history of the store, newest first: when, what and with which outcome, without origin and evidence.
func (b *Bundle) MustHistory(t *testing.T) []storemanager.AuditEntry {
	t.Helper()
	s, err := b.Get(t.Context(), ID)
	require.NoError(t, err)
	var history []storemanager.AuditEntry
	for _, e := range s.History {
		history = append(history, storemanager.AuditEntry{At: e.At, Kind: e.Kind, Outcome: e.Outcome, Detail: e.Detail})
	}
	return history
}

// MustAudit returns what the audit trail has for a query, newest first, without the numbers.
func (b *Bundle) MustAudit(t *testing.T, q storemanager.AuditQuery) []storemanager.AuditEntry {
	t.Helper()
	page, err := b.Audit(t.Context(), q)
	require.NoError(t, err)
	for i := range page.Entries {
		page.Entries[i].Seq = 0
	}
	return page.Entries
}

// MustHold holds the store.
func (b *Bundle) MustHold(t *testing.T, h storemanager.Hold) storemanager.Store {
	t.Helper()
	s, err := b.Hold(t.Context(), ID, storemanager.HoldRequest{Hold: h})
	require.NoError(t, err)
	return s
}

// MustOverview counts. It does not say which process has answered.
func (b *Bundle) MustOverview(t *testing.T) storemanager.Overview {
	t.Helper()
	o, err := b.Overview(t.Context())
	require.NoError(t, err)
	o.Host = nil
	return o
}

// MustPin makes ids the pinned stores.
func (b *Bundle) MustPin(t *testing.T, ids ...string) {
	t.Helper()
	require.NoError(t, b.Registry.SetPins(t.Context(), ids))
}

// MustPause pauses the scope of p.
func (b *Bundle) MustPause(t *testing.T, p storemanager.Pause) storemanager.Pause {
	t.Helper()
	p, err := b.Pause(t.Context(), storemanager.PauseRequest{Pause: p})
	require.NoError(t, err)
	return p
}

// MustResume ends the pause of a scope.
func (b *Bundle) MustResume(t *testing.T, storeID string) {
	t.Helper()
	require.NoError(t, b.Resume(t.Context(), storemanager.ResumeRequest{StoreID: storeID}))
}

// MustPauses returns the pauses in force.
func (b *Bundle) MustPauses(t *testing.T) []storemanager.Pause {
	t.Helper()
	ps, err := b.Pauses(t.Context())
	require.NoError(t, err)
	return ps
}

// SomeHold is a hold that does not expire.
var SomeHold = storemanager.Hold{Reason: "under investigation", Actor: "ops@example.com"}

// Documented is h, a store manager's API, but fails the test when an exchange is not as its openapi.json says.
func Documented(t *testing.T, h http.Handler) http.Handler {
	t.Helper()
	described, err := Describe(t, h)
	require.NoError(t, err)
	return described.Handler(t, h)
}

// Describe reads the description that h serves. Each document is read once: its examples take longer to check than most tests.
func Describe(t *testing.T, h http.Handler) (*openapi.Description, error) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/openapi.json", nil))
	once, _ := descriptions.LoadOrStore(w.Body.String(), sync.OnceValues(func() (*openapi.Description, error) { return describe(w.Body.Bytes()) }))
	return once.(func() (*openapi.Description, error))()
}

// descriptions has a func() (*openapi.Description, error) for each document.
var descriptions sync.Map

func describe(document []byte) (*openapi.Description, error) {
	const stream = "text/event-stream"
	d, err := openapi.Read(document, stream, "application/x-tar")
	if err != nil {
		return nil, err
	}
	d.Unrouted = append(d.Unrouted, http.StatusUnauthorized)
	d.Further = func(answer *openapi.Answer) error {
		if answer.Header().Get("Content-Type") != stream {
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
}

// MustCancel ends the pending deletion of the store, whichever it is.
func (b *Bundle) MustCancel(t *testing.T) {
	t.Helper()
	_, err := b.CancelDeletion(t.Context(), storemanager.CancelRequest{StoreID: ID})
	require.NoError(t, err)
}
