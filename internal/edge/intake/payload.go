package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"storekeeper/contract"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/storemanager"
)

const (
	// maxClockLead is how far ahead the sender's clock may be. An event of the far future would make all later ones stale.
	maxClockLead = 24 * time.Hour
	// maxDepth is how deep arrays and objects may be within each other. An event needs 1.
	maxDepth = 16
	// maxUserID is how many bytes a user id may have. It is only passed on.
	maxUserID = 256
)

// dateTimePattern is RFC 3339's; time.Parse takes more, such as a comma.
var dateTimePattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// parseDateTime reads what RFC 3339 allows. A leap second is the second after it.
func parseDateTime(text string) (time.Time, error) {
	if !dateTimePattern.MatchString(text) {
		return time.Time{}, errNoDateTime
	}
	text = strings.ToUpper(text)
	const seconds = len("2006-01-02T15:04:")
	leap := text[seconds:seconds+2] == "60"
	if leap {
		text = text[:seconds] + "59" + text[seconds+2:]
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || !leap {
		return at, err
	}
	if utc := at.UTC(); utc.Hour() != 23 || utc.Minute() != 59 {
		return time.Time{}, errNoDateTime
	}
	return at.Add(time.Second), nil
}

var errNoDateTime = errors.New("no RFC 3339 date-time")

// earliest is before any workspace. A time stamp before it is somebody's default value.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// parseEvent reads the body of a webhook. The checks of the contract come first, in its order; our own come after the blank line.
func parseEvent(body []byte, now time.Time) (contract.Event, *problem.Refusal) {
	body = bytes.TrimPrefix(body, []byte("\ufeff")) // RFC 8259 lets a reader ignore it
	if refused := checkJSON(body); refused != nil {
		return contract.Event{}, refused
	}
	// A map, for the names of a struct's fields would match in any case.
	var fields map[string]json.RawMessage
	switch {
	case !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")), json.Unmarshal(body, &fields) != nil:
		return contract.Event{}, problem.Invalid("Payload must be an object")
	}
	ev := contract.Event{
		Type: contract.EventType(text(fields["event"])), InstanceID: text(fields["instanceId"]), UserID: text(fields["userId"]),
	}
	timestamp := text(fields["timestamp"])
	at, err := parseDateTime(timestamp)
	switch {
	case ev.Type != contract.WorkspaceCreated && ev.Type != contract.WorkspaceDeleted:
		return contract.Event{}, problem.Invalid("Unsupported event type")
	case ev.InstanceID == "":
		return contract.Event{}, problem.Invalid("instanceId is required")
	case ev.UserID == "":
		return contract.Event{}, problem.Invalid("userId is required")
	case timestamp == "":
		return contract.Event{}, problem.Invalid("timestamp is required")

	case !storemanager.ValidID(ev.InstanceID):
		return contract.Event{}, problem.Invalid("instanceId is not a valid store id: " + problem.StoreIDRule)
	case len(ev.UserID) > maxUserID:
		return contract.Event{}, problem.Invalid("userId is over 256 bytes")
	case err != nil:
		return contract.Event{}, problem.Invalid("timestamp must be an RFC 3339 date-time")
	case at.Before(earliest):
		return contract.Event{}, problem.Invalid("timestamp is before the year 2000")
	case at.After(now.Add(maxClockLead)):
		return contract.Event{}, problem.Invalid("timestamp is more than 24 hours in the future")
	}
	ev.Timestamp = at.UTC()
	return ev, nil
}

// checkJSON refuses what two readers could understand in two ways: keys that come twice (RFC 8259 leaves open which one counts),
// text that is no UTF-8, and more than one value.
func checkJSON(body []byte) *problem.Refusal {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	for values := 0; ; {
		switch _, err := d.ReadToken(); {
		case errors.Is(err, io.EOF) && values == 1:
			return nil
		case errors.Is(err, jsontext.ErrDuplicateName):
			return problem.Invalid("Payload has the same key twice")
		case err != nil:
			return problem.Invalid("Invalid JSON payload")
		case d.StackDepth() > maxDepth:
			return problem.Invalid("Payload is nested more than " + strconv.Itoa(maxDepth) + " deep")
		case d.StackDepth() == 0:
			if values++; values > 1 {
				return problem.Invalid("Invalid JSON payload")
			}
		}
	}
}

// text is "" for whatever is no string.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
