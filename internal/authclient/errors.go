package authclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"storekeeper/internal/retryafter"
)

// Errors to branch on with errors.Is. Any other error comes from the network and is worth a retry, or is the cause of the end of the
// caller's own context. The texts of all errors may be shown: they hold no token, and of an answer's body at most a short, printable
// message.
var (
	// ErrDamaged: an answer came, but it is no complete authoritative list. Nothing of it may be acted on. Worth a retry.
	ErrDamaged = errors.New("the workspace list is damaged")
	// ErrCached: a list came, but a cache on the way has kept it for too long. Worth a retry.
	ErrCached = errors.New("the workspace list comes out of a cache")
	// ErrUnauthorized: the token was refused (401 or 403). No retry helps until the token is corrected.
	ErrUnauthorized = errors.New("the auth worker refused the token")
	// ErrTimeout: the answer did not start, stood still or did not end within the client's own limits. Worth a retry.
	ErrTimeout = errors.New("the auth worker took too long")

	errAsking  = errors.New("asking the auth worker")
	errReading = errors.New("reading the workspace list")
)

const (
	maxMessageLength = 200
	// maxRetryAfter is the longest Retry-After that is obeyed. The Auth Worker counts by the minute, so after a minute it takes requests
	// again. A header that asks for more is a mistake, or a proxy's, and deletions and repair would wait for it.
	maxRetryAfter = time.Minute
)

// StatusError is any answer but 200. With 401 and 403 it is also ErrUnauthorized.
type StatusError struct {
	// Code is the HTTP status.
	Code int
	// Message is what the answer gave as the reason, shortened; empty when it gave none that could be read.
	Message string
	// RetryAfter is how long the Auth Worker asked to be left alone; 0 when it did not say, at most 1 min.
	RetryAfter time.Duration
}

// Error implements error.
func (e *StatusError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the auth worker answered with status %d", e.Code)
	}
	return fmt.Sprintf("the auth worker answered with status %d: %s", e.Code, e.Message)
}

// Is makes the refusal of the token ErrUnauthorized.
func (e *StatusError) Is(target error) bool {
	return target == ErrUnauthorized && (e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden)
}

var statusText = regexp.MustCompile(`the auth worker answered with status ([0-9]{3})`)

// FromText finds the error in a text that has come through a workflow's history or a record: an error to branch on with errors.Is, or a
// *StatusError. Nil means that the text is not of a failed list.
func FromText(text string) error {
	if m := statusText.FindStringSubmatch(text); m != nil {
		code, _ := strconv.Atoi(m[1]) // three digits
		return &StatusError{Code: code}
	}
	for _, err := range []error{ErrDamaged, ErrCached, ErrTimeout, errAsking, errReading} {
		if strings.Contains(text, err.Error()) {
			return err
		}
	}
	return nil
}

// statusError reads the reason from the answer's body, which comes in two shapes: {"error":"text"} and
// {"error":{"message":"text"}}. A body that is neither gives no message: it may be a page of some proxy.
func (c *Client) statusError(resp *http.Response, body io.Reader) error {
	e := &StatusError{Code: resp.StatusCode, RetryAfter: retryafter.Parse(resp.Header, time.Now(), maxRetryAfter)}
	text, err := io.ReadAll(io.LimitReader(body, 4<<10))
	if err != nil {
		return e // the status says enough
	}
	var answer struct {
		Error json.RawMessage `json:"error"`
	}
	var nested struct {
		Message string `json:"message"`
	}
	var message string
	if json.Unmarshal(text, &answer) == nil && json.Unmarshal(answer.Error, &message) != nil {
		if json.Unmarshal(answer.Error, &nested) == nil {
			message = nested.Message
		}
	}
	e.Message = printable(strings.ReplaceAll(message, c.token(), "[token]"))
	return e
}

// printable makes text of a foreign body fit for a log line.
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
