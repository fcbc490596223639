package notifier

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf8"
)

// Type is what has happened to a workspace.
type Type string

// The types of events.
const (
	Created Type = "workspace.created"
	Deleted Type = "workspace.deleted"
)

// Event is something that has happened to a workspace. All fields are required. The receiver checks them; the notifier checks only
// that the timestamp can be written.
type Event struct {
	Type Type
	// InstanceID is the workspace's id.
	InstanceID string
	// UserID is the id of the workspace's owner.
	UserID string
	// Timestamp is when it happened. It orders the events of a workspace. It is sent in milliseconds; what is finer is cut off. Its
	// year, in UTC, must be 0 to 9999, since RFC 3339 can write no others.
	Timestamp time.Time
}

// body returns the JSON of an event. The TypeScript notifier makes the same bytes of the same event, which encoding/json would not:
// it escapes other characters.
func (ev Event) body() []byte {
	b := make([]byte, 0, 160+len(ev.InstanceID)+len(ev.UserID))
	b = appendString(append(b, `{"event":`...), string(ev.Type))
	b = appendString(append(b, `,"instanceId":`...), ev.InstanceID)
	b = appendString(append(b, `,"userId":`...), ev.UserID)
	b = appendString(append(b, `,"timestamp":`...), ev.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z"))
	return append(b, '}')
}

// appendString appends s in quotes, escaped as JavaScript's JSON.stringify does. Each byte that is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s { // r is utf8.RuneError, U+FFFD, where s is not UTF-8
		switch r {
		case '"', '\\':
			b = append(b, '\\', byte(r))
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			if r < ' ' {
				b = fmt.Appendf(b, `\u%04x`, r)
			} else {
				b = utf8.AppendRune(b, r)
			}
		}
	}
	return append(b, '"')
}

// deliveryID returns an id that depends on the body alone. So all attempts at an event have the same id, even in another process or
// a day later, and the receiver recognizes a repeat.
func deliveryID(body []byte) string {
	sum := sha256.Sum256(body)
	return "evt_" + base64.RawURLEncoding.EncodeToString(sum[:24]) // 24 bytes are 32 characters
}
