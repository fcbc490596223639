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

// Event is something that has happened to a workspace. All fields are required; whether they make sense the receiver says.
type Event struct {
	Type Type
	// InstanceID is the workspace's id.
	InstanceID string
	// UserID is that of its owner.
	UserID string
	// Timestamp is when it happened, down to the millisecond; what is finer is cut off. It orders the events of a workspace. Its
	// year, in UTC, is 0 to 9999: others have no form in RFC 3339.
	Timestamp time.Time
}

// body is the JSON of an event: the same bytes, for the same event, as those of the TypeScript notifier. encoding/json
// has other ideas of what to escape.
func (ev Event) body() []byte {
	b := make([]byte, 0, 160+len(ev.InstanceID)+len(ev.UserID))
	b = appendString(append(b, `{"event":`...), string(ev.Type))
	b = appendString(append(b, `,"instanceId":`...), ev.InstanceID)
	b = appendString(append(b, `,"userId":`...), ev.UserID)
	b = appendString(append(b, `,"timestamp":`...), ev.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z"))
	return append(b, '}')
}

// appendString appends s in quotes and escaped as JavaScript's JSON.stringify does it. Bytes that are no UTF-8 become U+FFFD, each of them.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s { // r is utf8.RuneError where s is no UTF-8
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

// deliveryID depends on the body alone. So all attempts at an event have one id, also those of another process or a day
// later, and the receiver knows the second for a repeat of the first.
func deliveryID(body []byte) string {
	sum := sha256.Sum256(body)
	return "evt_" + base64.RawURLEncoding.EncodeToString(sum[:24]) // 24 bytes are 32 characters
}
