// Package problem is how the edge refuses: the kinds of problems that it answers with, and how they are written. What intake and status both
// hold requests against is here too, because they know only this of each other: how bodies are read and decoded, and the rule of ids.
package problem

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
)

const (
	// MaxBody is how many bytes a body may have.
	MaxBody = 64 << 10
	// RetryLater is when a request is worth a repeat that a dependency's absence refused.
	RetryLater = 5 * time.Second
	// StoreIDRule is storemanager.ValidID in words.
	StoreIDRule = "3 to 64 letters, digits, _ and -, the first a letter or digit"
)

// Refusal is an answer to a request that is not served. A nil *Refusal is none.
type Refusal struct {
	*Kind
	// Message is for the caller: a sentence of ours, never the text of an error.
	Message string
	// RetryAfter is when a repeat is worth it; 0 says nothing about that.
	RetryAfter time.Duration
}

// Invalid refuses what is not right in itself.
func Invalid(message string) *Refusal { return &Refusal{Kind: KindInvalid, Message: message} }

// Write answers with the refusal.
func (r *Refusal) Write(w http.ResponseWriter) {
	if r.RetryAfter > 0 {
		httpserver.SetRetryAfter(w, r.RetryAfter)
	}
	httpserver.WriteProblem(w, r.Status, api.Problem{
		Type: Path + r.Code, Title: r.Title, Status: r.Status, Detail: r.Message, Error: r.Message,
		RequestID: httpserver.RequestID(w), RetryAfterMs: r.RetryAfter.Milliseconds(),
	})
}

// Write answers with a problem of a kind.
func Write(w http.ResponseWriter, k *Kind, message string) {
	(&Refusal{Kind: k, Message: message}).Write(w)
}

// WriteUnavailable answers 503 with a Retry-After.
func WriteUnavailable(w http.ResponseWriter, message string) {
	(&Refusal{Kind: KindUnavailable, Message: message, RetryAfter: RetryLater}).Write(w)
}

// ReadBody reads all of a body that is not too large.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, *Refusal) {
	body, err := httpserver.ReadBody(w, r, MaxBody)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &Refusal{Kind: KindTooLarge, Message: "The body is over 64 KiB"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Refusal{Kind: KindTooSlow, Message: "The body took too long"}
	case err != nil:
		return nil, Invalid("The body could not be read")
	}
	return body, nil
}

// Decode reads a body that is one JSON value. It refuses unknown members, for a misspelt one would be left undone, and what comes after the value.
func Decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// StoreID is the id in the path. It has answered when it returns false.
func StoreID(w http.ResponseWriter, r *http.Request) (string, bool) {
	id := httpserver.PathParam(r, "id")
	if storemanager.ValidID(id) {
		return id, true
	}
	Write(w, KindInvalid, "this is not a valid store id: "+StoreIDRule)
	return "", false
}
