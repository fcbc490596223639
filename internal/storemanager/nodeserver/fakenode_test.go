package nodeserver

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

const fakeNodeSecret = "the-webhook-secret"

// fakeNode is a fake of a Node multi-store server as docs/contracts/multi-store-server.md has it, down to its fault of opening a
// second subscription for a store that is being added. Work that has begun goes on when the caller gives up.
type fakeNode struct {
	url string

	mu            sync.Mutex
	stores        map[string]fakeNodeStore
	subscriptions map[string]int // ever opened, by store
	told          []string       // "created <id>" and "deleted <id>" that were carried out, in their order
	lists         int
	busy, most    int  // events under way, now and at the most
	reconciles    bool // its own reconcile is on

	// Faults; nil and zero mean none. They are called without the lock.
	delay  time.Duration
	refuse func(event, id string) int             // the status to answer with, 0 for none
	hang   func(event, id string) <-chan struct{} // the work is done once it is closed
	answer func(w http.ResponseWriter) bool       // answers GET /stores; false: not
}

type fakeNodeStore struct {
	status string
	boot   bool // has it since its start
}

func startFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	f := &fakeNode{stores: map[string]fakeNodeStore{}, subscriptions: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/webhooks/workspaces", f.webhook)
	mux.HandleFunc("GET /stores", f.list)
	srv := httptest.NewServer(f.counting(mux))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

// set changes the fake under its lock.
func (f *fakeNode) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// boot adds stores that the server has had since its start.
func (f *fakeNode) boot(ids ...string) {
	f.set(func() {
		for _, id := range ids {
			f.stores[id] = fakeNodeStore{status: "connected", boot: true}
		}
	})
}

// restart loses what was added at run time.
func (f *fakeNode) restart() {
	f.set(func() {
		for id, s := range f.stores {
			if !s.boot {
				delete(f.stores, id)
			}
		}
	})
}

func (f *fakeNode) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := []string{}
	for id := range f.stores {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (f *fakeNode) events() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told)
}

// listed is how often the list was asked for.
func (f *fakeNode) listed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists
}

func (f *fakeNode) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		f.set(func() {
			f.busy++
			f.most = max(f.most, f.busy)
		})
		defer f.set(func() { f.busy-- })
		next.ServeHTTP(w, r)
	})
}

func (f *fakeNode) webhook(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, message string) {
		writeJSON(w, status, map[string]string{"error": message})
	}
	if r.Method != http.MethodPost {
		fail(http.StatusMethodNotAllowed, "Method not allowed")
		return
	}
	if r.Header.Get("X-Webhook-Secret") != fakeNodeSecret {
		fail(http.StatusUnauthorized, "Unauthorized")
		return
	}
	var payload any
	if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &payload) != nil {
		fail(http.StatusBadRequest, "Invalid JSON payload")
		return
	}
	fields, ok := payload.(map[string]any)
	if !ok {
		fail(http.StatusBadRequest, "Payload must be an object")
		return
	}
	event, known := strings.CutPrefix(fmt.Sprint(fields["event"]), "workspace.")
	if !known || event != "created" && event != "deleted" {
		fail(http.StatusBadRequest, "Unsupported event type")
		return
	}
	for _, name := range []string{"instanceId", "userId", "timestamp"} {
		if s, ok := fields[name].(string); !ok || s == "" {
			fail(http.StatusBadRequest, name+" is required")
			return
		}
	}
	id, _ := fields["instanceId"].(string)
	if !storemanager.ValidID(id) {
		fail(http.StatusInternalServerError, "Internal server error")
		return
	}
	status, answer := f.carryOut(event, id)
	if status != http.StatusOK {
		fail(status, "Internal server error, and by the way: "+fakeNodeSecret)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"status": answer, "receivedAt": time.Now()})
}

func (f *fakeNode) carryOut(event, id string) (status int, answer string) {
	f.mu.Lock()
	delay, refuse, hang := f.delay, f.refuse, f.hang
	_, there := f.stores[id]
	f.mu.Unlock()
	if refuse != nil {
		if status := refuse(event, id); status != 0 {
			return status, ""
		}
	}
	if event == "created" && there {
		return http.StatusOK, "already_monitored"
	}
	if hang != nil {
		if held := hang(event, id); held != nil {
			<-held
		}
	}
	<-time.After(delay)
	f.mu.Lock()
	defer f.mu.Unlock()
	_, there = f.stores[id]
	f.told = append(f.told, event+" "+id)
	if event == "created" {
		f.subscriptions[id]++
		f.stores[id] = fakeNodeStore{status: "connected"}
		return http.StatusOK, "monitoring_started"
	}
	delete(f.stores, id)
	if there {
		return http.StatusOK, "monitoring_stopped"
	}
	return http.StatusOK, "already_stopped"
}

func (f *fakeNode) list(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	answer := f.answer
	f.lists++
	entries := []any{}
	for id, s := range f.stores {
		entries = append(entries, fakeNodeEntry(id, s))
	}
	reconciles := f.reconciles
	f.mu.Unlock()
	if answer != nil && answer(w) {
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"stores": entries, "orchestrator": map[string]any{"totalProvisioned": len(entries)},
		"reconciliation": map[string]any{"enabled": reconciles, "intervalMs": 300000}, "manualReconcile": map[string]any{},
	})
}

func fakeNodeEntry(id string, s fakeNodeStore) map[string]any {
	entry := map[string]any{
		"id": id, "status": s.status, "connectedAt": storetest.At(-20), "lastConnectedAt": storetest.At(-20), "lastDisconnectedAt": nil,
		"statusHistory": []any{
			map[string]any{"status": "connecting", "timestamp": storetest.At(-30)}, map[string]any{"status": s.status, "timestamp": storetest.At(-20)},
		},
		"lastActivity": storetest.At(-10), "errorCount": 3, "reconnectAttempts": 2,
		"networkStatus": map[string]any{"isConnected": s.status == "connected"},
	}
	if !s.boot {
		entry["orchestrator"] = map[string]any{
			"storeId": id, "status": "monitoring", "firstMonitoredAt": storetest.At(-40), "lastEnsuredAt": storetest.At(-35), "lastStoppedAt": nil,
		}
	}
	return entry
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller is gone
}
