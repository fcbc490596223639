package livestore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"storekeeper/internal/retryafter"
)

// Errors to branch on with errors.Is. The texts of all errors may be shown.
var (
	// ErrBackendIDMismatch: the store was reset. The cursor, or the push, belongs to an earlier incarnation of it. Pull again
	// from the zero Cursor, and tell somebody.
	ErrBackendIDMismatch = errors.New("the store was reset at the sync backend: its backend id is another one")
	// ErrSilence: the backend sent nothing for Options.SilenceTimeout, or owed a page of events for that long.
	ErrSilence = errors.New("the sync backend fell silent")
	// ErrProtocol: a frame was not JSON, or it answered a request of ours and made no sense.
	ErrProtocol = errors.New("the sync backend sent a broken frame")
	// ErrTooLarge: a frame was larger than Options.MaxFrame. The same happens again until the limit is raised.
	ErrTooLarge = errors.New("the sync backend sent a frame over the size limit")
	// ErrDisconnected: the connection ended, and not because of anything done here.
	ErrDisconnected = errors.New("the connection to the sync backend was lost")
	// ErrBehind: live events came faster than they were handled, and there was no more room for them. The events that were
	// handed over follow each other without a gap all the same. Pull again from the cursor.
	ErrBehind = errors.New("the sync backend sent events faster than they were taken")
	// ErrClosed: Close was called, or the Pull on this connection is over.
	ErrClosed = errors.New("the connection to the sync backend is closed")
)

// DialError is a handshake that failed.
type DialError struct {
	// Status is the HTTP status of the answer; 0 when none came.
	Status int
	// RetryAfter is how long the refusal asks to stay away, at most 5 min; 0 when it does not ask.
	RetryAfter time.Duration

	text  string
	cause error // nil for a refusal, and when it might hold a secret
}

// Error implements error.
func (e *DialError) Error() string { return e.text }

// Unwrap returns the error of the network or of the context that is the cause; nil for a refusal.
func (e *DialError) Unwrap() error { return e.cause }

// ServerAheadError is the refusal of a push whose first event does not follow the store's head.
type ServerAheadError struct {
	// Minimum is the Seq of the head: the Parent that the first event of a push must have.
	Minimum int64
	// Provided is the Parent that the first event had.
	Provided int64
}

// Error implements error.
func (e *ServerAheadError) Error() string {
	return fmt.Sprintf("the sync backend is at event %d, the push follows event %d", e.Minimum, e.Provided)
}

// RemoteError is a failure that the backend reports, or the end of a pull that should not end.
type RemoteError struct {
	// Kind is the backend's word for the failure: UnknownError, Defect (all requests of the connection failed), Die, Interrupt,
	// Success (a live pull ended as if it were not live), or a word that is not known here.
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

// SequenceError says that an event does not follow those before it. The events up to Head were handed over.
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

// printable makes foreign text fit for one log line: it replaces what can't be printed and cuts off what is too long.
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

// secret is the payload as JSON. Empty means that there is none.
type secret []byte

// scrub makes foreign text fit to be shown: printable, and without the payload or one of its values, escaped or not.
func (s secret) scrub(text string) string {
	return printable(redact(text, s.forms()))
}

func redact(text string, forms []string) string {
	for _, form := range forms {
		text = strings.ReplaceAll(text, form, "[payload]")
	}
	return text
}

// forms are the texts that would give the payload away. The longest come first, so that a value that begins with another value
// does not leave its tail behind.
func (s secret) forms() []string {
	if len(s) == 0 {
		return nil
	}
	var payload any
	_ = json.Unmarshal(s, &payload) // it can't fail: Dial has encoded it
	seen := map[string]bool{}
	for _, value := range append(stringsIn(payload), string(s)) {
		quoted, _ := json.Marshal(value) // a string can always be encoded
		for _, form := range []string{value, url.PathEscape(value), html.EscapeString(value), strings.Trim(string(quoted), `"`)} {
			for range 3 { // as it is, escaped once, and escaped twice, as it is in the URL
				seen[form], seen[lowerEscapes(form)] = true, true
				form = url.QueryEscape(form)
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}

var escapes = regexp.MustCompile(`%[0-9A-F]{2}`)

// lowerEscapes writes escapes such as %2F as %2f, which means the same.
func lowerEscapes(text string) string { return escapes.ReplaceAllStringFunc(text, strings.ToLower) }

// stringsIn returns the strings in a decoded JSON value that have at least 4 bytes. A shorter one is no secret, and would be
// found within ordinary words.
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

// Token says whether the backend may have refused the token: its status is 400, 401 or 403.
func (e *DialError) Token() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	return false
}

// dialError makes a *DialError without the URL, which holds the payload. resp is nil when no HTTP answer came.
func (s secret) dialError(resp *http.Response, cause error) error {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return s.refusal(resp)
	}
	if quoting, ok := errors.AsType[*url.Error](cause); ok { // net/http's error, which quotes the URL
		cause = quoting.Err
	}
	text := s.scrub(cause.Error())
	e := &DialError{text: "dialing the sync backend: " + text}
	if resp != nil {
		e.Status = resp.StatusCode
	}
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

// refusal returns the error of a handshake that the backend refuses, with what it says about that.
func (s secret) refusal(resp *http.Response) *DialError {
	e := &DialError{Status: resp.StatusCode, RetryAfter: retryafter.Parse(resp.Header, time.Now(), maxRetryAfter)}
	e.text = fmt.Sprintf("the sync backend refused the connection with status %d", e.Status)
	if e.Token() {
		e.text += " (the token may be wrong)"
	}
	if e.RetryAfter > 0 {
		e.text += fmt.Sprintf(" and asks to wait %s", e.RetryAfter.Round(time.Second))
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // as much as has come
	if said := s.scrubPart(string(body)); said != "" {
		e.text += ": " + said
	}
	return e
}

// maxRefusal is how much of a refusal's body the WebSocket library keeps, in bytes.
const maxRefusal = 1024

var (
	title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
	tags  = regexp.MustCompile(`(?s)<[^>]*>`)
)

// scrubPart scrubs the beginning of a text. A text of maxRefusal bytes may have been cut off in the middle of a secret, so it is
// shortened by the length of the longest secret. Of a page of HTML only the title is kept.
func (s secret) scrubPart(text string) string {
	cut := len(text) == maxRefusal
	forms := s.forms()
	text = redact(text, forms)
	if cut && len(forms) > 0 {
		text = text[:max(0, len(text)-len(forms[0]))]
	}
	if found := title.FindStringSubmatch(text); found != nil {
		text = found[1]
	}
	return printable(tags.ReplaceAllString(text, " "))
}
