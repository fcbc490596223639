package crash_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"storekeeper/internal/standalone"
)

// span is a time during which a workspace was listed.
type span struct {
	from, to time.Time // to is zero while it lasts
}

// list is one answer of the authoritative list.
type list struct {
	asked time.Time // when the request came
	at    time.Time // the moment that it shows
}

// truth is what was so at each moment: which workspaces were listed, and what lists were given.
type truth struct {
	spans map[string][]span // of each workspace, in order
	lists []list
}

// listedAt says whether the workspace was listed at that moment.
func (w truth) listedAt(id string, at time.Time) bool {
	return slices.ContainsFunc(w.spans[id], func(s span) bool { return !at.Before(s.from) && (s.to.IsZero() || at.Before(s.to)) })
}

// listedWithin says whether the workspace was listed at any moment after from, up to to.
func (w truth) listedWithin(id string, from, to time.Time) bool {
	return slices.ContainsFunc(w.spans[id], func(s span) bool { return !s.from.After(to) && (s.to.IsZero() || s.to.After(from)) })
}

// authWorker is the Auth Worker's internal side. It lives in the process of the test, which nobody kills, and forgets nothing.
// Who tells of its changes is a sender.
type authWorker struct {
	url string

	mu    sync.Mutex
	truth truth
	users map[string][]string // of each workspace
	// answering is called, if set, when a list has been made and before it is sent.
	answering func(l list)
}

func startAuthWorker(t *testing.T) *authWorker {
	t.Helper()
	a := &authWorker{truth: truth{spans: map[string][]span{}}, users: map[string][]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/internal/workspaces", a.serveList)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func (a *authWorker) serveList(w http.ResponseWriter, r *http.Request) {
	asked := time.Now()
	switch {
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case r.Header.Get("Authorization") != "Bearer "+standalone.DemoBypassToken:
		http.Error(w, `{"error":"Forbidden"}`, http.StatusForbidden)
		return
	}
	a.mu.Lock()
	l := list{asked: asked, at: time.Now()}
	body := a.body(l.at)
	a.truth.lists = append(a.truth.lists, l)
	answering := a.answering
	a.mu.Unlock()
	if answering != nil {
		answering(l)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // it fails only when the caller was killed
}

// body is the list in the words of the contract: a workspace once per member.
func (a *authWorker) body(at time.Time) []byte {
	type entry struct {
		InstanceID     string    `json:"instanceId"`
		UserID         string    `json:"userId"`
		Name           string    `json:"name"`
		CreatedAt      time.Time `json:"createdAt"`
		LastAccessedAt time.Time `json:"lastAccessedAt"`
		IsDefault      bool      `json:"isDefault"`
	}
	entries, users := []entry{}, map[string]bool{}
	for id, spans := range a.truth.spans {
		if !a.truth.listedAt(id, at) {
			continue
		}
		for _, user := range a.users[id] {
			users[user] = true
			entries = append(entries, entry{InstanceID: id, UserID: user, Name: id, CreatedAt: spans[0].from, LastAccessedAt: spans[0].from})
		}
	}
	body, err := json.Marshal(map[string]any{
		"workspaces": entries, "metadata": map[string]int{"totalUsers": len(users), "totalWorkspaces": len(entries)},
	})
	if err != nil {
		panic(err) // strings and times can't fail
	}
	return body
}

// add lists a workspace from now on, for so many members, and returns the moment.
func (a *authWorker) add(id string, members int) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.users[id]) < members {
		a.users[id] = append(a.users[id], uuid.NewString())
	}
	now := time.Now()
	a.truth.spans[id] = append(a.truth.spans[id], span{from: now})
	return now
}

// remove lists a workspace no longer, and returns the moment.
func (a *authWorker) remove(id string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	spans := a.truth.spans[id]
	spans[len(spans)-1].to = now
	return now
}

// owner is the first member of a workspace.
func (a *authWorker) owner(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.users[id][0]
}

// listed are the workspaces of now.
func (a *authWorker) listed() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, all := time.Now(), map[string]bool{}
	for id := range a.truth.spans {
		if a.truth.listedAt(id, now) {
			all[id] = true
		}
	}
	return all
}

// onAnswer calls fn with each further list, before it is sent; nil ends that.
func (a *authWorker) onAnswer(fn func(l list)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answering = fn
}

// history is what was so until now.
func (a *authWorker) history() truth {
	a.mu.Lock()
	defer a.mu.Unlock()
	copied := truth{spans: map[string][]span{}, lists: slices.Clone(a.truth.lists)}
	for id, spans := range a.truth.spans {
		copied.spans[id] = slices.Clone(spans)
	}
	return copied
}
