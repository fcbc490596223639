package authclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"
)

// storeID is what the Auth Worker's contract says a store's id looks like.
var storeID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,63}$`)

// Workspace is one entry of the authoritative list: one workspace as one of its members has it.
type Workspace struct {
	// InstanceID is never empty, but may be no valid store id: an administrator can add any string.
	InstanceID string
	// UserID and Name are empty when the entry has none.
	UserID string
	Name   string
	// CreatedAt is zero when the entry has none or one that is no RFC 3339 time.
	CreatedAt time.Time
}

// ListSummary says what a complete list held.
type ListSummary struct {
	// FetchStartedAt is the moment before the request was sent: all that the list lacks was created later, or is gone.
	FetchStartedAt time.Time
	// Entries counts what was yielded, a shared workspace once per member.
	Entries int
	// InvalidEntries counts those of Entries whose InstanceID is no valid store id.
	InvalidEntries int
	// ClaimedEntries is how many entries the list says it has, never more than Entries; nil when it does not say.
	ClaimedEntries *int
}

// List streams the authoritative list and calls yield with each entry, in the order of the list, which is none; a workspace
// with several members comes several times. Nothing but the entry in hand is kept in memory.
//
// Only when the error is nil was the list complete; whatever was yielded before an error must not be acted on. An error
// of yield ends the list and is returned as it is. The others are *StatusError, ErrUnauthorized, ErrDamaged, ErrTimeout,
// the cause of ctx's end, or one of the network.
func (c *Client) List(ctx context.Context, yield func(Workspace) error) (ListSummary, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.listTimeout, ErrTimeout)
	defer cancel()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	idle := time.AfterFunc(c.idleTimeout, func() { abort(ErrTimeout) })
	defer idle.Stop()

	summary := ListSummary{FetchStartedAt: c.now()}
	resp, err := c.send(ctx, http.MethodGet)
	if err != nil {
		return ListSummary{}, err
	}
	defer resp.Body.Close()
	body := &listBody{ctx: ctx, r: resp.Body, idle: idle, idleTimeout: c.idleTimeout, left: c.limits}
	if resp.StatusCode != http.StatusOK {
		return ListSummary{}, c.statusError(resp, body)
	}
	d := listDecoder{
		body: body, maxValue: c.limits.value, json: json.NewDecoder(body),
		contentType: resp.Header.Get("Content-Type"), summary: &summary, yield: yield,
	}
	if err := d.decode(); err != nil {
		return ListSummary{}, err
	}
	return summary, nil
}

// listDecoder reads {"workspaces":[…],"metadata":{…}} token by token, the two members in any order.
type listDecoder struct {
	body        *listBody
	maxValue    int64
	json        *json.Decoder
	contentType string
	summary     *ListSummary
	yield       func(Workspace) error
}

func (d *listDecoder) decode() error {
	if err := d.delim('{'); errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w (its type is %q)", err, printable(d.contentType)) // a proxy's page, most likely
	} else if err != nil {
		return err
	}
	seen := map[string]bool{} // of the two members that count
	for d.json.More() {
		d.body.left.value = d.maxValue
		token, err := d.json.Token()
		if err != nil {
			return d.failure("the JSON can't be read", err)
		}
		key, _ := token.(string) // what else could be a key ends in an error of Token
		if seen[key] {
			return damaged("%s comes twice", key)
		}
		switch key {
		case "workspaces":
			seen[key] = true
			err = d.workspaces()
		case "metadata":
			seen[key] = true
			err = d.metadata()
		default: // a newer version may say more
			err = d.value(new(json.RawMessage), "the JSON can't be read")
		}
		if err != nil {
			return err
		}
	}
	if err := d.delim('}'); err != nil {
		return err
	}
	// Reading on to the end also verifies the checksum of a compressed body.
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) || d.body.err != nil {
		return d.failure("something follows the list", err)
	}
	if !seen["workspaces"] {
		return damaged("workspaces is missing")
	}
	if claimed := d.summary.ClaimedEntries; claimed != nil && d.summary.Entries < *claimed {
		return damaged("it has %d entries of the %d that it claims", d.summary.Entries, *claimed)
	}
	return nil
}

// entry is a list entry as it stands in the list. Only the id must be right; a list is not damaged by an odd name.
type entry struct {
	InstanceID *string       `json:"instanceId"`
	UserID     lenientString `json:"userId"`
	Name       lenientString `json:"name"`
	CreatedAt  lenientString `json:"createdAt"`
}

func (d *listDecoder) workspaces() error {
	if err := d.delim('['); err != nil {
		return err
	}
	for d.json.More() {
		position := d.summary.Entries + 1
		var e entry // null leaves it empty
		if err := d.value(&e, "entry %d is no object with an id", position); err != nil {
			return err
		}
		if e.InstanceID == nil || *e.InstanceID == "" {
			return damaged("entry %d has no id", position)
		}
		createdAt, _ := time.Parse(time.RFC3339, string(e.CreatedAt)) // zero if it is none, as promised
		d.summary.Entries++
		if !storeID.MatchString(*e.InstanceID) {
			d.summary.InvalidEntries++
		}
		w := Workspace{InstanceID: *e.InstanceID, UserID: string(e.UserID), Name: string(e.Name), CreatedAt: createdAt}
		if err := d.yield(w); err != nil {
			return err
		}
	}
	return d.delim(']')
}

func (d *listDecoder) metadata() error {
	var m *struct {
		TotalWorkspaces *int `json:"totalWorkspaces"`
	}
	if err := d.value(&m, "its metadata can't be read"); err != nil {
		return err
	}
	if m != nil {
		d.summary.ClaimedEntries = m.TotalWorkspaces
	}
	return nil
}

// delim takes the next token, which must be want.
func (d *listDecoder) delim(want json.Delim) error {
	d.body.left.value = d.maxValue
	token, err := d.json.Token()
	if err != nil {
		return d.failure("the JSON can't be read", err)
	}
	if token != want {
		return damaged("there is no %q where one must be", rune(want))
	}
	return nil
}

// value decodes the next value into v.
func (d *listDecoder) value(v any, whenDamaged string, args ...any) error {
	d.body.left.value = d.maxValue
	if err := d.json.Decode(v); err != nil {
		return d.failure(fmt.Sprintf(whenDamaged, args...), err)
	}
	return nil
}

// failure tells the two reasons why decoding stops apart: the body could not be read any further, or what was read is damaged.
func (d *listDecoder) failure(what string, err error) error {
	if d.body.err != nil {
		return d.body.err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it is cut off")
	}
	return damaged("%s", what)
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// lenientString is the text of a JSON string, and empty for any other JSON value.
type lenientString string

// UnmarshalJSON implements json.Unmarshaler.
func (s *lenientString) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(s))
	}
	return nil
}
