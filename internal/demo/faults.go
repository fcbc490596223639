package demo

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Fault is a way in which GET /internal/workspaces goes wrong. All faults except FaultFailing answer with status 200.
type Fault int

// The faults.
const (
	// FaultNone: the list is right.
	FaultNone Fault = iota
	// FaultEmpty: a well-formed list without entries, whose metadata counts none.
	FaultEmpty
	// FaultTruncated: the JSON ends in the middle, though HTTP says that the body is complete.
	FaultTruncated
	// FaultFailing: status 500.
	FaultFailing
	// FaultSlow: half of the body comes at once, and the rest when the fault is replaced. The caller may hang up before.
	FaultSlow
	// FaultGarbage: a page of HTML.
	FaultGarbage
	// FaultEntryWithoutID: one entry lacks its instanceId.
	FaultEntryWithoutID
	// FaultFewerThanClaimed: half of the entries are missing, and the metadata counts all.
	FaultFewerThanClaimed
	// FaultPartial: half of the entries or more are missing, and the metadata does not show it. They are picked at random each time.
	FaultPartial
)

type faults struct {
	mu       sync.Mutex
	fault    Fault
	replaced chan struct{} // closed when fault is replaced
}

func (f *faults) set(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.replaced)
	f.fault, f.replaced = fault, make(chan struct{})
}

func (f *faults) current() (fault Fault, replaced <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault, f.replaced
}

type list struct {
	Workspaces []listing `json:"workspaces"`
	Metadata   metadata  `json:"metadata"`
}

type metadata struct {
	TotalUsers      int `json:"totalUsers"`
	TotalWorkspaces int `json:"totalWorkspaces"`
}

func newList(entries []listing) list {
	users := map[string]bool{}
	for _, l := range entries {
		users[l.UserID] = true
	}
	return list{Workspaces: entries, Metadata: metadata{TotalUsers: len(users), TotalWorkspaces: len(entries)}}
}

// writeList answers with the list of all entries, or with what the fault makes of it.
func (f *faults) writeList(w http.ResponseWriter, r *http.Request, all []listing) error {
	fault, replaced := f.current()
	if fault == FaultFailing {
		return refuse(http.StatusInternalServerError, "Internal error")
	}
	if fault == FaultGarbage {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>Worker threw exception</title>")
		return nil
	}
	// The list has no order, whatever the database's may be.
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // nothing secret
	body, err := json.Marshal(fault.spoil(all))
	if err != nil {
		return fmt.Errorf("encoding the workspace list: %w", err)
	}
	wait := func() {}
	if fault == FaultTruncated {
		body = body[:len(body)/2]
	}
	if fault == FaultSlow {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // the rest may come much later
		wait = func() {
			select {
			case <-replaced:
			case <-r.Context().Done():
			}
		}
	}
	sendList(w, r, body, wait)
	return nil
}

// spoil returns the list of the entries as the fault changes it.
func (f Fault) spoil(entries []listing) list {
	switch f {
	case FaultEmpty:
		return newList([]listing{})
	case FaultEntryWithoutID:
		if len(entries) == 0 {
			entries = []listing{{}}
		}
		entries[0].InstanceID = ""
	case FaultFewerThanClaimed:
		spoiled := newList(entries[:len(entries)/2])
		spoiled.Metadata.TotalWorkspaces = max(len(entries), 1)
		return spoiled
	case FaultPartial:
		kept := rand.IntN(len(entries)/2 + 1) //nolint:gosec // nothing secret
		return newList(entries[:kept])
	default: // the other faults do not change the list itself
	}
	return newList(entries)
}

// sendList sends the body in two halves with a pause between them. It compresses the body if the caller accepts gzip.
func sendList(w http.ResponseWriter, r *http.Request, body []byte, wait func()) {
	w.Header().Set("Content-Type", "application/json")
	out, flush := io.Writer(w), func() {}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		compressed := gzip.NewWriter(w)
		defer func() { _ = compressed.Close() }()
		out, flush = compressed, func() { _ = compressed.Flush() }
	}
	// Writing fails only when the caller has gone.
	half := len(body) / 2
	_, _ = out.Write(body[:half])
	flush()
	_ = http.NewResponseController(w).Flush()
	wait()
	_, _ = out.Write(body[half:])
}
