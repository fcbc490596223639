package livestore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Errors to branch on with errors.Is. The texts of all errors may be shown.
var (
	// ErrBackendIDMismatch: the cursor or the push belongs to another incarnation of the store: it was reset. Pull again from
	// the zero Cursor, and say so.
	ErrBackendIDMismatch = errors.New("the store was reset at the sync backend: its backend id is another one")
	// ErrSilence: the backend said nothing for Options.SilenceTimeout, or owed a page of events for as long.
	ErrSilence = errors.New("the sync backend fell silent")
	// ErrProtocol: a frame was no JSON, or one for us made no sense.
	ErrProtocol = errors.New("the sync backend sent a broken frame")
	// ErrTooLarge: a frame was larger than Options.MaxFrame. It will be so again until the limit is raised.
	ErrTooLarge = errors.New("the sync backend sent a frame over the size limit")
	// ErrDisconnected: the connection ended without our doing.
	ErrDisconnected = errors.New("the connection to the sync backend was lost")
	// ErrBehind: live events came faster than they were handled, and there was no more room for them. Those handed over follow
	// each other without a gap, as ever.
	ErrBehind = errors.New("the sync backend sent events faster than they were taken")
	// ErrClosed: Close was called, or the pull that owned the connection is over.
	ErrClosed = errors.New("the connection to the sync backend is closed")
)

// DialError is a handshake that failed.
type DialError struct {
	// Status is the HTTP status of the refusal, 0 when no HTTP answer came.
	Status int

	text  string
	cause error // nil when it might hold a secret
}

// Error implements error.
func (e *DialError) Error() string { return e.text }

// Unwrap returns the cause, of the network or a context; nil for a refusal.
func (e *DialError) Unwrap() error { return e.cause }

// ServerAheadError is the refusal of a push whose first event does not follow the store's head.
type ServerAheadError struct {
	// Minimum is the head: the Parent that the first event must have.
	Minimum int64
	// Provided is the Parent that it had.
	Provided int64
}

// Error implements error.
func (e *ServerAheadError) Error() string {
	return fmt.Sprintf("the sync backend is at event %d, the push follows event %d", e.Minimum, e.Provided)
}

// RemoteError is a failure that the backend reports about itself, or the end of a pull that should not end.
type RemoteError struct {
	// Kind is the backend's word for it: UnknownError, Defect (all requests of the connection failed), Die, Interrupt,
	// Success (a live pull ended as if it was not live), or a kind of its own.
	Kind string
	// Message is the backend's explanation, shortened; it may be empty.
	Message string
}

// Error implements error.
func (e *RemoteError) Error() string {
	if e.Message == "" {
		return "the sync backend reported " + e.Kind
	}
	return "the sync backend reported " + e.Kind + ": " + e.Message
}

// SequenceError is an event that does not follow those before it. The events up to Head were handed over.
type SequenceError struct {
	// Head is the Seq of the last event in order.
	Head int64
	// Seq and Parent are those of the event that does not follow it.
	Seq, Parent int64
}

// Error implements error.
func (e *SequenceError) Error() string {
	return fmt.Sprintf("event %d (parent %d) does not follow event %d", e.Seq, e.Parent, e.Head)
}

const maxMessageLength = 200

// printable makes foreign text fit for a log line.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxMessageLength {
		return string(runes[:maxMessageLength]) + "…"
	}
	return text
}

// secret is the encoded payload. Empty means none.
type secret []byte

// scrub makes foreign text fit to be shown: printable, and without the payload or a value of it, escaped or not.
func (s secret) scrub(text string) string {
	if len(s) > 0 {
		text = strings.ReplaceAll(text, string(s), "[payload]")
	}
	var payload any
	_ = json.Unmarshal(s, &payload) // we encoded it ourselves; without one there are no values
	values := stringsIn(payload)
	// The longest first: a value that begins with another one must not leave its tail behind.
	slices.SortFunc(values, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, value := range values {
		once := url.QueryEscape(value)
		for _, form := range []string{url.QueryEscape(once), once, value} {
			text = strings.ReplaceAll(text, form, "[payload]")
		}
	}
	return printable(text)
}

// stringsIn returns the strings in a decoded JSON value. One of under 4 bytes is no secret, but in every other word.
func stringsIn(v any) (all []string) {
	switch v := v.(type) {
	case string:
		if len(v) >= 4 {
			all = append(all, v)
		}
	case []any:
		for _, item := range v {
			all = append(all, stringsIn(item)...)
		}
	case map[string]any:
		for _, item := range v {
			all = append(all, stringsIn(item)...)
		}
	}
	return all
}

// dialError strips the cause of the URL, which holds the payload. status is 0 when no HTTP answer came.
func (s secret) dialError(status int, cause error) error {
	if status != 0 && status != switchingProtocols {
		return &DialError{Status: status, text: fmt.Sprintf("the sync backend refused the connection with status %d", status)}
	}
	if quoting, ok := errors.AsType[*url.Error](cause); ok { // of net/http; it quotes the URL
		cause = quoting.Err
	}
	text := s.scrub(cause.Error())
	e := &DialError{Status: status, text: "dialing the sync backend: " + text}
	switch {
	case text == cause.Error():
		e.cause = cause
	case errors.Is(cause, context.Canceled):
		e.cause = context.Canceled
	case errors.Is(cause, context.DeadlineExceeded):
		e.cause = context.DeadlineExceeded
	}
	return e
}
