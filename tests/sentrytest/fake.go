// Package sentrytest has a fake of Sentry's server for tests: it takes envelopes over HTTP as Sentry does, and keeps the events in them.
package sentrytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Event is the part of an event that tests look at.
type Event struct {
	Message     string                    `json:"message"`
	Level       string                    `json:"level"`
	Release     string                    `json:"release"`
	Environment string                    `json:"environment"`
	ServerName  string                    `json:"server_name"`
	Fingerprint []string                  `json:"fingerprint"`
	Tags        map[string]string         `json:"tags"`
	Contexts    map[string]map[string]any `json:"contexts"`
	Request     map[string]any            `json:"request"`
	User        map[string]any            `json:"user"`
	Exception   []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"exception"`
	Breadcrumbs []struct {
		Type     string         `json:"type"`
		Category string         `json:"category"`
		Message  string         `json:"message"`
		Level    string         `json:"level"`
		Data     map[string]any `json:"data"`
	} `json:"breadcrumbs"`
}

// Issue is what Sentry would group the event by.
func (e Event) Issue() string { return strings.Join(e.Fingerprint, " | ") }

// Text is what the event says: its message, or the newest exception's.
func (e Event) Text() string {
	if len(e.Exception) == 0 {
		return e.Message
	}
	return e.Exception[len(e.Exception)-1].Value
}

// Count is how many failures the event stands for.
func (e Event) Count() int {
	if count, ok := e.Contexts["repeats"]["count"].(float64); ok {
		return int(count)
	}
	return 1
}

// Fake is a server that speaks Sentry's envelopes.
type Fake struct {
	// DSN is that of the one project.
	DSN string

	mu       sync.Mutex
	bodies   []string
	events   []Event
	refused  int // requests
	limit    string
	hanging  chan struct{} // nil: it answers
	released bool
}

// Start starts a server that ends with the test. What is no envelope of the project fails the test.
func Start(t *testing.T) *Fake {
	t.Helper()
	f := &Fake{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f.take(w, r); err != nil {
			t.Errorf("the fake of Sentry was sent what Sentry would refuse: %v", err)
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(func() {
		f.Release()
		server.Close()
	})
	f.DSN = strings.Replace(server.URL, "http://", "http://key@", 1) + "/1"
	return f
}

func (f *Fake) take(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return nil //nolint:nilerr // the client has gone
	case r.Method != http.MethodPost || r.URL.Path != "/api/1/envelope/":
		return fmt.Errorf("%s %s", r.Method, r.URL.Path)
	case !strings.Contains(r.Header.Get("X-Sentry-Auth"), "sentry_key=key"):
		return fmt.Errorf("X-Sentry-Auth: %q", r.Header.Get("X-Sentry-Auth"))
	}
	events, err := parse(body)
	if err != nil {
		return fmt.Errorf("%w: %s", err, body)
	}
	f.mu.Lock()
	hanging, limit := f.hanging, f.limit
	f.bodies = append(f.bodies, string(body))
	if limit == "" && hanging == nil {
		f.events = append(f.events, events...)
	} else {
		f.refused++
	}
	f.mu.Unlock()
	if hanging != nil {
		<-hanging
	}
	if limit != "" {
		w.Header().Set("X-Sentry-Rate-Limits", limit)
		w.WriteHeader(http.StatusTooManyRequests)
	}
	return nil
}

// parse returns the events of an envelope: a line of JSON, then for each item a line of JSON, which may say how long its payload is, and the payload.
func parse(envelope []byte) ([]Event, error) {
	_, rest, _ := bytes.Cut(envelope, []byte("\n"))
	var events []Event
	for len(bytes.TrimSpace(rest)) > 0 {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		var item struct {
			Type   string `json:"type"`
			Length *int   `json:"length"`
		}
		if err := json.Unmarshal(line, &item); err != nil {
			return nil, fmt.Errorf("header of an item: %w", err)
		}
		payload, next, _ := bytes.Cut(after, []byte("\n"))
		if item.Length != nil {
			if len(after) < *item.Length {
				return nil, fmt.Errorf("an item of %d bytes has %d", *item.Length, len(after))
			}
			payload, next = after[:*item.Length], bytes.TrimPrefix(after[*item.Length:], []byte("\n"))
		}
		rest = next
		if item.Type != "event" {
			continue
		}
		var event Event
		if err := json.Unmarshal(payload, &event); err != nil {
			return nil, fmt.Errorf("an event: %w", err)
		}
		events = append(events, event)
	}
	return events, nil
}

// Events returns what was taken so far, in order.
func (f *Fake) Events() []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Event(nil), f.events...)
}

// Of returns the events whose operation is one of these.
func (f *Fake) Of(operations ...string) []Event {
	var found []Event
	for _, event := range f.Events() {
		for _, operation := range operations {
			if event.Tags["operation"] == operation {
				found = append(found, event)
			}
		}
	}
	return found
}

// Envelopes returns all bodies as they came.
func (f *Fake) Envelopes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.bodies...)
}

// Limit makes it refuse everything, and say that errors are not wanted for so long, in whole seconds.
func (f *Fake) Limit(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = fmt.Sprintf("%d:error:organization", int(d.Seconds()))
}

// Refused is how many requests were refused, or were not answered.
func (f *Fake) Refused() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused
}

// Hang makes it take requests and answer none, until Release.
func (f *Fake) Hang() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hanging, f.released = make(chan struct{}), false
}

// Release ends Hang.
func (f *Fake) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hanging != nil && !f.released {
		f.released = true
		close(f.hanging)
	}
}
