package livestore

import (
	"encoding/json"
	"fmt"
	"time"
)

// The tags of frames.
const (
	tagRequest = "Request"
	tagAck     = "Ack"
	tagPing    = "Ping"
	tagPong    = "Pong"
	tagChunk   = "Chunk"
	tagExit    = "Exit"
	tagDefect  = "Defect"
)

// frame is a frame of the backend. Its content is decoded only when it is known to answer a request of ours.
type frame struct {
	Tag       string          `json:"_tag"`
	RequestID string          `json:"requestId"`
	Values    json.RawMessage `json:"values"` // of a Chunk
	Exit      json.RawMessage `json:"exit"`   // of an Exit
	Defect    json.RawMessage `json:"defect"` // of a Defect
}

// decodeFrame decodes a frame. It keeps nothing of text, which may be used again.
func decodeFrame(text []byte) (frame, error) {
	var f frame
	if err := json.Unmarshal(text, &f); err != nil {
		// The decoder's own message may quote the frame.
		return frame{}, fmt.Errorf("%w: no JSON object, or one with fields of wrong types", ErrProtocol)
	}
	return f, nil
}

// option is how Effect encodes a value that may be missing: {"_tag":"Some","value":…} or {"_tag":"None"}.
type option struct {
	Tag   string `json:"_tag"`
	Value any    `json:"value,omitempty"`
}

type chunkValue struct {
	Batch []struct {
		Event    *Event `json:"eventEncoded"`
		Metadata struct {
			Value struct {
				CreatedAt string `json:"createdAt"`
			} `json:"value"`
		} `json:"metadata"`
	} `json:"batch"`
	PageInfo struct {
		Tag       string `json:"_tag"`
		Remaining int64  `json:"remaining"`
	} `json:"pageInfo"`
	BackendID string `json:"backendId"`
}

// pages returns the pages of a Chunk, which is usually one.
func (f *frame) pages() ([]Page, error) {
	var values []chunkValue
	if err := json.Unmarshal(f.Values, &values); err != nil {
		return nil, fmt.Errorf("%w: a chunk without pages of events", ErrProtocol)
	}
	pages := make([]Page, len(values))
	for i, v := range values {
		if v.BackendID == "" {
			return nil, fmt.Errorf("%w: a page without a backend id", ErrProtocol)
		}
		pages[i] = Page{BackendID: v.BackendID, Events: make([]Event, len(v.Batch))}
		switch v.PageInfo.Tag {
		case "NoMore":
		case "MoreKnown":
			pages[i].Remaining = max(v.PageInfo.Remaining, 0)
		case "MoreUnknown":
			pages[i].Remaining = -1
		default:
			return nil, fmt.Errorf("%w: a page that does not say whether there are more", ErrProtocol)
		}
		for j, item := range v.Batch {
			if item.Event == nil || item.Event.Name == "" {
				return nil, fmt.Errorf("%w: an event without a name", ErrProtocol)
			}
			pages[i].Events[j] = *item.Event
			// Nothing depends on this time. One that can't be read counts as none.
			pages[i].Events[j].CreatedAt, _ = time.Parse(time.RFC3339, item.Metadata.Value.CreatedAt)
		}
	}
	return pages, nil
}

// cause is how Effect encodes why something failed.
type cause struct {
	Tag    string          `json:"_tag"`
	Error  json.RawMessage `json:"error"`  // of Fail
	Defect json.RawMessage `json:"defect"` // of Die
	Left   *cause          `json:"left"`   // of Sequential and Parallel
	Right  *cause          `json:"right"`
}

// outcome returns what an Exit says: success, or the typed error of its cause.
func (f *frame) outcome(s secret) (success bool, _ error) {
	var exit struct {
		Tag   string `json:"_tag"`
		Cause cause  `json:"cause"`
	}
	if err := json.Unmarshal(f.Exit, &exit); err != nil {
		return false, fmt.Errorf("%w: an exit that cannot be read", ErrProtocol)
	}
	switch exit.Tag {
	case "Success":
		return true, nil
	case "Failure":
		return false, exit.Cause.typed(s)
	}
	return false, fmt.Errorf("%w: an exit that is neither success nor failure", ErrProtocol)
}

// typed returns the error that a cause stands for. When there are several failures, it is the first.
func (c *cause) typed(s secret) error {
	switch {
	case c.Tag == "Fail":
		return failure(c.Error, s)
	case c.Left != nil && c.Left.Tag != "Empty":
		return c.Left.typed(s)
	case c.Right != nil:
		return c.Right.typed(s)
	}
	return &RemoteError{Kind: kind(c.Tag, "Failure"), Message: s.scrub(explain(c.Defect, 0))}
}

// reported is an error that the backend's handlers return. 0.4.0 sends the error that says what happened as it is. 0.4.0-dev.22
// wraps it into an InvalidPullError or an InvalidPushError; it then has a tag or, when it is encoded as a defect, only a name.
type reported struct {
	Tag      string          `json:"_tag"`
	Name     string          `json:"name"`
	Minimum  int64           `json:"minimumExpectedNum"`
	Provided int64           `json:"providedNum"`
	Cause    json.RawMessage `json:"cause"`
}

func failure(text json.RawMessage, s secret) error {
	var r reported
	_ = json.Unmarshal(text, &r) // an error of another shape may still explain itself
	if r.Tag == "InvalidPullError" || r.Tag == "InvalidPushError" {
		wrapper := r.Tag
		text, r = r.Cause, reported{}
		_ = json.Unmarshal(text, &r)
		r.Name = kind(r.Name, wrapper)
	}
	switch kind(r.Tag, r.Name) {
	case "BackendIdMismatchError":
		return ErrBackendIDMismatch
	case "ServerAheadError":
		return &ServerAheadError{Minimum: r.Minimum, Provided: r.Provided}
	case "UnknownError", "LiveStore.UnknownError": // 0.4.0-dev.22 sends the second
		return &RemoteError{Kind: "UnknownError", Message: s.scrub(explain(text, 0))}
	}
	return &RemoteError{Kind: kind(r.Tag, r.Name, "Failure"), Message: s.scrub(explain(text, 0))}
}

// kind returns the first of the names that is not empty, made printable.
func kind(names ...string) string {
	for _, name := range names {
		if name = printable(name); name != "" {
			return name
		}
	}
	return ""
}

// explain finds the part of an encoded error that people can read: the text itself, or the message, the note or the cause of an
// object. It returns "" when there is none.
func explain(text json.RawMessage, depth int) string {
	var message string
	if json.Unmarshal(text, &message) == nil {
		return message
	}
	var e struct {
		Message string          `json:"message"`
		Note    string          `json:"note"`
		Cause   json.RawMessage `json:"cause"`
	}
	if json.Unmarshal(text, &e) != nil || depth > 4 {
		return ""
	}
	if e.Message != "" {
		return e.Message
	}
	if e.Note != "" {
		return e.Note
	}
	return explain(e.Cause, depth+1)
}
